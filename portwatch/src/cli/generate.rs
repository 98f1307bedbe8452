//! `portwatch generate`: texts made from the definitions the program itself uses.

use super::args::{Cli, GenerateArgs, GenerateWhat};
use crate::causes;
use crate::sink::schema::json_schema;
use clap::CommandFactory;
use std::io::{self, Write};

/// Prints what was asked for.
///
/// # Errors
/// Those of `out`.
pub fn run(args: &GenerateArgs, out: &mut dyn Write) -> io::Result<()> {
    let mut text = Vec::new();
    match args.what {
        GenerateWhat::JsonSchema => {
            serde_json::to_writer_pretty(&mut text, &json_schema())?;
            text.push(b'\n');
        }
        GenerateWhat::Causes => {
            let mut page = String::new();
            causes::write(&mut page).map_err(io::Error::other)?;
            text = page.into_bytes();
        }
        GenerateWhat::Man => man(&mut text)?,
        GenerateWhat::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "portwatch", &mut text);
        }
    }
    out.write_all(&text)?;
    out.flush()
}

/// One page: the options of `watch`, which need no command, and the list of commands.
fn man(out: &mut Vec<u8>) -> io::Result<()> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    clap_mangen::Man::new(command).render(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap_complete::Shell;

    fn printed(what: GenerateWhat) -> String {
        let mut out = Vec::new();
        run(&GenerateArgs { what }, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_schema_is_json() {
        let schema: serde_json::Value =
            serde_json::from_str(&printed(GenerateWhat::JsonSchema)).unwrap();
        assert_eq!(schema["oneOf"].as_array().unwrap().len(), 8);
    }

    #[test]
    fn man_and_completions_know_the_options() {
        assert!(printed(GenerateWhat::Man).contains("fail\\-on\\-conflict"));
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            assert!(printed(GenerateWhat::Completions { shell }).contains("fail-on-conflict"));
        }
    }
}
