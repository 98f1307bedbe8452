//! How things are told.

use super::{RedactArgs, parse};
use crate::capture::Redaction;
use crate::sink::output::Output;
use crate::sink::redact::{Cmdline, Redact};
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args, ValueEnum};
use std::path::{Path, PathBuf};

/// `--format`, and its short form.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct FormatArgs {
    /// Text for people or JSON for programs
    #[arg(long, env = "PORTWATCH_FORMAT", default_value = "text")]
    format: Format,

    /// The same as --format json
    #[arg(long, env = "PORTWATCH_JSON", value_parser = parse::flag)]
    json: bool,
}

/// A format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

impl FormatArgs {
    /// The format asked for.
    #[must_use]
    pub fn format(self) -> Format {
        if self.json { Format::Json } else { self.format }
    }

    /// The command line is stronger than a variable; what is wrong if it says both.
    pub(super) fn settle(&mut self, matches: &ArgMatches) -> Result<(), &'static str> {
        let said = |id| matches.value_source(id) == Some(ValueSource::CommandLine);
        match (said("json"), said("format")) {
            (true, true) if self.json && self.format == Format::Text => {
                return Err("--json and --format text cannot both be meant: leave one of them out");
            }
            (false, true) => self.json = false,
            (true | false, _) => {}
        }
        Ok(())
    }
}

/// What is shown of a report, and where.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct ShowArgs {
    /// Append to this file instead of writing to standard output; a live run opens it anew at
    /// SIGHUP
    #[arg(long, env = "PORTWATCH_OUTPUT", value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// How much of the processes' command lines to tell
    #[arg(
        long,
        env = "PORTWATCH_CMDLINE",
        value_name = "HOW",
        default_value = "full"
    )]
    pub cmdline: CmdlineChoice,

    /// What is left out of it.
    #[command(flatten)]
    pub redact: RedactArgs,

    /// List the sockets on the port that do not block it as well
    #[arg(long, env = "PORTWATCH_NEIGHBOURS", value_parser = parse::flag)]
    pub neighbours: bool,

    /// Ask Docker, Podman, CRI-O or containerd for the names of containers; a verdict waits a tenth
    /// of a second for them at most. A replay tells what they answered then
    #[arg(long, env = "PORTWATCH_CONTAINERS", value_parser = parse::flag)]
    pub containers: bool,
}

/// A word of `--cmdline`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CmdlineChoice {
    /// Nothing
    None,
    /// The first argument
    Argv0,
    /// All of it, up to 4 KiB
    Full,
}

impl ShowArgs {
    /// Where it goes; `-` is standard output.
    #[must_use]
    pub fn output(&self) -> Output {
        match &self.output {
            Some(path) if path != Path::new("-") => Output::File(path.clone()),
            Some(_) | None => Output::Stdout,
        }
    }

    /// What never gets into a capture.
    #[must_use]
    pub fn kept_out(&self) -> Redaction {
        self.redact.kept_out()
    }

    /// What takes things out of the reports.
    #[must_use]
    pub fn redaction(&self) -> Redact {
        self.redact.redaction(match self.cmdline {
            CmdlineChoice::None => Cmdline::None,
            CmdlineChoice::Argv0 => Cmdline::Argv0,
            CmdlineChoice::Full => Cmdline::Full,
        })
    }
}

/// Options of every command.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "General")]
pub struct CommonArgs {
    /// Colours; auto asks the terminal and NO_COLOR
    #[arg(
        long,
        env = "PORTWATCH_COLOR",
        value_name = "WHEN",
        default_value = "auto",
        global = true
    )]
    pub color: Colour,

    /// Tell more on standard error; twice for the probes' own diagnostics, which debug builds have
    #[arg(short, long, env = "PORTWATCH_VERBOSE", action = ArgAction::Count, global = true)]
    pub verbose: u8,
}

/// A word of `--color`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Colour {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Colour {
    /// Colours for `stream`.
    #[must_use]
    pub fn wanted(self, stream: &impl anstream::stream::RawStream) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => anstream::AutoStream::choice(stream) != anstream::ColorChoice::Never,
        }
    }
}
