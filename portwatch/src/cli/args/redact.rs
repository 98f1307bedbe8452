//! What is left out.

use super::parse;
use crate::capture::Redaction;
use crate::sink::redact::{Cmdline, Redact, RedactKey};
use clap::{Args, ValueEnum};

/// `--redact` and its key.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct RedactArgs {
    /// What to leave out: command lines, addresses (replaced by pseudonyms), user ids
    #[arg(
        long,
        env = "PORTWATCH_REDACT",
        value_name = "WHAT",
        value_delimiter = ','
    )]
    pub redact: Vec<RedactChoice>,

    /// Make pseudonyms from the secret in this file: the same wherever it is used
    ///
    /// 32 hexadecimal digits, as `openssl rand -hex 16` prints them. Without it pseudonyms are
    /// numbered as they come, and mean something in this output alone.
    #[arg(
        long,
        env = "PORTWATCH_REDACT_KEY",
        value_name = "FILE",
        value_parser = parse::redact_key
    )]
    pub redact_key: Option<RedactKey>,
}

/// A word of `--redact`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RedactChoice {
    /// Command lines
    Cmdline,
    /// Addresses
    Address,
    /// User ids
    Uid,
}

impl RedactArgs {
    fn hides(&self, choice: RedactChoice) -> bool {
        self.redact.contains(&choice)
    }

    /// A key that nothing is made from: the output would be in clear.
    pub(super) fn contradiction(&self) -> Option<String> {
        let used = self.hides(RedactChoice::Address) || self.hides(RedactChoice::Uid);
        (self.redact_key.is_some() && !used).then(|| {
            "--redact-key (or PORTWATCH_REDACT_KEY) hides nothing alone: add `--redact address`"
                .to_owned()
        })
    }

    /// What is left out, in the words of the option.
    pub fn words(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.redact.iter().map(|choice| match choice {
            RedactChoice::Cmdline => "cmdline",
            RedactChoice::Address => "address",
            RedactChoice::Uid => "uid",
        })
    }

    /// What never gets into a capture.
    #[must_use]
    pub fn kept_out(&self) -> Redaction {
        let [cmdline, address, uid] = [
            RedactChoice::Cmdline,
            RedactChoice::Address,
            RedactChoice::Uid,
        ]
        .map(|choice| self.hides(choice));
        Redaction::new(cmdline, address, uid).keyed(self.redact_key)
    }

    /// What takes things out of the reports, which tell command lines so far.
    #[must_use]
    pub fn redaction(&self, cmdline: Cmdline) -> Redact {
        let cmdline = match self.hides(RedactChoice::Cmdline) {
            true => Cmdline::None,
            false => cmdline,
        };
        let redact = Redact::new(
            cmdline,
            self.hides(RedactChoice::Address),
            self.hides(RedactChoice::Uid),
        );
        redact.keyed(self.redact_key)
    }
}
