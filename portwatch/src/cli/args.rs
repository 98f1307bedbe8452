//! The command line: what every command takes, from its options and from `PORTWATCH_...` variables.
//!
//! Only the shape of the input is judged here (a port is a number from 1 to 65535); what the machine
//! allows is judged by the commands.

mod capture;
mod command;
mod export;
mod limits;
mod parse;
mod redact;
mod replay;
mod run;
mod select;
mod show;
#[cfg(test)]
mod tests;
mod trace;
mod watch;

pub use capture::CaptureArgs;
pub use command::{Command, DemoArgs, DoctorArgs, GenerateArgs, GenerateWhat};
pub use export::{ExportArgs, ExportFormat, ReportArgs};
pub use limits::LimitArgs;
pub use parse::{Netns, ParseError};
pub use redact::{RedactArgs, RedactChoice};
pub use replay::{CapturesArgs, PlayArgs, ReplayArgs};
pub use run::RunArgs;
pub use select::{EventChoice, SelectArgs};
pub use show::{Colour, CommonArgs, Format, FormatArgs, ShowArgs};
pub use trace::{BackendChoice, TraceArgs};
pub use watch::WatchArgs;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};
use std::ffi::OsString;

/// Says which socket of which process has the port that a failed bind wanted.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "portwatch",
    version,
    about,
    long_about = LONG,
    after_long_help = EXAMPLES,
    subcommand_required = false,
    max_term_width = 100
)]
pub struct Cli {
    /// Without one: `watch`.
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    watch: WatchArgs,
    /// Of every command.
    #[command(flatten)]
    pub common: CommonArgs,
}

const LONG: &str = "\
Says which socket of which process has the port that a failed bind wanted.

A program dies with `Address already in use`, yet nothing listens on the port. portwatch watches the \
kernel and names the holder at the moment of the failure: above all an outbound connection whose \
source port the kernel picked from net.ipv4.ip_local_port_range. Without a command it watches.";

const EXAMPLES: &str = "\
Examples:
  sudo portwatch                          watch every bind that fails for want of a port
  sudo portwatch --port 60001,8000-9000   only these ports
  sudo portwatch --json --output /var/log/portwatch.json
  sudo portwatch --events all --comm ceph-osd
  sudo portwatch --duration 5m --fail-on-conflict
  sudo portwatch --capture deploy.pwcap   keep it; portwatch replay deploy.pwcap tells it again
  sudo portwatch demo                     make the founding case and watch it
  sudo portwatch doctor                   what this kernel allows

Every option can also be set as a variable: PORTWATCH_PORT=60001, PORTWATCH_FORMAT=json.
Exit status: 0 it ran, 1 conflicts were seen with --fail-on-conflict, 2 wrong usage or an error.";

impl Cli {
    /// Reads the command line of this process.
    ///
    /// # Errors
    /// clap's, `--help` and `--version` included; `exit::usage` prints them.
    pub fn from_env() -> Result<Self, clap::Error> {
        Self::read(std::env::args_os())
    }

    /// Reads a command line whose first item is the program.
    ///
    /// # Errors
    /// As [`Cli::from_env`].
    pub fn read(
        args: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    ) -> Result<Self, clap::Error> {
        let mut definition = Self::command();
        let matches = definition.try_get_matches_from_mut(args)?;
        if let Some((name, _)) = matches.subcommand()
            && let Some(option) = misplaced(&definition, &matches)
        {
            let text = format!(
                "`{option}` stands before `{name}`; write it behind: portwatch {name} {option} ..."
            );
            return Err(definition.error(clap::error::ErrorKind::ArgumentConflict, text));
        }
        let mut cli = Self::from_arg_matches(&matches)?;
        let inner = matches.subcommand().map_or(&matches, |(_, inner)| inner);
        if let Some(format) = cli.format_mut() {
            format
                .settle(inner)
                .map_err(|text| definition.error(clap::error::ErrorKind::ArgumentConflict, text))?;
        }
        let contradiction = match cli.to_run() {
            Run::Watch(watch) | Run::Run(RunArgs { watch, .. }) => watch.contradiction(),
            Run::Export(export) => export.contradiction(),
            Run::Replay(replay) => replay.show.redact.contradiction(),
            Run::Report(report) => report.redact.contradiction(),
            Run::Demo(_) | Run::Doctor(_) | Run::Generate(_) => None,
        };
        if let Some(text) = contradiction {
            return Err(definition.error(clap::error::ErrorKind::ArgumentConflict, text));
        }
        Ok(cli)
    }

    /// What is to be run.
    #[must_use]
    pub fn to_run(&self) -> Run<'_> {
        match &self.command {
            None => Run::Watch(&self.watch),
            Some(Command::Watch(watch)) => Run::Watch(watch),
            Some(Command::Run(run)) => Run::Run(run),
            Some(Command::Replay(replay)) => Run::Replay(replay),
            Some(Command::Export(export)) => Run::Export(export),
            Some(Command::Report(report)) => Run::Report(report),
            Some(Command::Demo(demo)) => Run::Demo(demo),
            Some(Command::Doctor(doctor)) => Run::Doctor(doctor),
            Some(Command::Generate(generate)) => Run::Generate(generate),
        }
    }

    fn format_mut(&mut self) -> Option<&mut FormatArgs> {
        match &mut self.command {
            None => Some(&mut self.watch.format),
            Some(Command::Watch(watch)) => Some(&mut watch.format),
            Some(Command::Run(run)) => Some(&mut run.watch.format),
            Some(Command::Replay(replay)) => Some(&mut replay.format),
            Some(Command::Demo(demo)) => Some(&mut demo.format),
            Some(Command::Doctor(doctor)) => Some(&mut doctor.format),
            Some(Command::Export(_) | Command::Report(_) | Command::Generate(_)) => None,
        }
    }
}

/// A command with its arguments.
#[derive(Clone, Copy, Debug)]
pub enum Run<'a> {
    /// Trace live.
    Watch(&'a WatchArgs),
    /// Trace live while a command runs.
    Run(&'a RunArgs),
    /// Play captures.
    Replay(&'a ReplayArgs),
    /// Make tables or a timeline of captures.
    Export(&'a ExportArgs),
    /// Make a page of captures.
    Report(&'a ReportArgs),
    /// Make the founding case and trace it.
    Demo(&'a DemoArgs),
    /// Tell what this kernel allows.
    Doctor(&'a DoctorArgs),
    /// Print a generated text.
    Generate(&'a GenerateArgs),
}

/// The first option of `watch` that stands before another command: it would have no effect there.
fn misplaced(definition: &clap::Command, matches: &ArgMatches) -> Option<String> {
    definition
        .get_arguments()
        .filter(|arg| !arg.is_global_set())
        .find(|arg| {
            let id = arg.get_id().as_str();
            matches.try_contains_id(id).is_ok()
                && matches.value_source(id) == Some(ValueSource::CommandLine)
        })
        .map(|arg| format!("--{}", arg.get_long().unwrap_or_default()))
}
