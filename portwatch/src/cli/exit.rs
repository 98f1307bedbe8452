//! From what happened to the exit status: the only place that knows the numbers.

use crate::sink::SinkError;
use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It did what it was asked to.
    Ran,
    /// `--fail-on-conflict`, and there was one.
    Conflicts,
    /// Wrong usage, or an error on the way.
    Failed,
    /// `run`: that of the command, or of what kept it from running.
    Command(u8),
}

impl Status {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Ran => 0,
            Self::Conflicts => 1,
            Self::Failed => 2,
            Self::Command(status) => status,
        }
    }

    /// The status of a run that saw so many incidents.
    #[must_use]
    pub fn of_run(incidents: u64, fail_on_conflict: bool) -> Self {
        match fail_on_conflict && incidents > 0 {
            true => Self::Conflicts,
            false => Self::Ran,
        }
    }

    /// The status of an error, and whether it is to be told: a reader that closed the output has
    /// what it wanted.
    #[must_use]
    pub fn of_error(error: &anyhow::Error) -> Self {
        match error.chain().any(is_closed) {
            true => Self::Ran,
            false => Self::Failed,
        }
    }

    /// The status of an error of `run`, whose other numbers are the command's.
    #[must_use]
    pub fn of_run_error(error: &anyhow::Error) -> Self {
        match Self::of_error(error) {
            Self::Failed => Self::Command(125),
            other @ (Self::Ran | Self::Conflicts | Self::Command(_)) => other,
        }
    }

    /// The status of a command line that clap did not take: `--help` and `--version` are none.
    #[must_use]
    pub fn of_usage(error: &clap::Error) -> Self {
        match error.use_stderr() {
            true => Self::Failed,
            false => Self::Ran,
        }
    }
}

impl From<Status> for ExitCode {
    fn from(status: Status) -> Self {
        Self::from(status.code())
    }
}

fn is_closed(error: &(dyn std::error::Error + 'static)) -> bool {
    let broken = |error: &std::io::Error| error.kind() == std::io::ErrorKind::BrokenPipe;
    matches!(error.downcast_ref(), Some(SinkError::Closed))
        || error.downcast_ref().is_some_and(broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};
    use std::io;

    #[test]
    fn a_conflict_fails_only_when_asked_to() {
        assert_eq!(Status::of_run(3, false), Status::Ran);
        assert_eq!(Status::of_run(0, true), Status::Ran);
        assert_eq!(Status::of_run(1, true), Status::Conflicts);
    }

    #[test]
    fn a_closed_output_is_success() {
        let closed = Err::<(), _>(SinkError::Closed)
            .context("while watching")
            .unwrap_err();
        assert_eq!(Status::of_error(&closed), Status::Ran);
        let pipe = Err::<(), _>(io::Error::from(io::ErrorKind::BrokenPipe))
            .context("x")
            .unwrap_err();
        assert_eq!(Status::of_error(&pipe), Status::Ran);
        assert_eq!(Status::of_error(&anyhow!("no BTF")), Status::Failed);
    }

    #[test]
    fn help_is_no_error() {
        use crate::cli::args::Cli;
        let help = Cli::read(["portwatch", "--help"]).unwrap_err();
        assert_eq!(Status::of_usage(&help), Status::Ran);
        let wrong = Cli::read(["portwatch", "--port", "70000"]).unwrap_err();
        assert_eq!(Status::of_usage(&wrong).code(), 2);
    }
}
