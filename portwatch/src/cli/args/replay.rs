//! Options of `replay`.

use super::{FormatArgs, SelectArgs, ShowArgs, parse};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// Everything `replay` takes.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// Text or JSON.
    #[command(flatten)]
    pub format: FormatArgs,
    /// Which reports pass.
    #[command(flatten)]
    pub select: SelectArgs,
    /// What is shown of them.
    #[command(flatten)]
    pub show: ShowArgs,
    /// What is read, and how well.
    #[command(flatten)]
    pub from: CapturesArgs,
    /// How it is played.
    #[command(flatten)]
    pub play: PlayArgs,
}

/// The captures that are read.
#[derive(Clone, Debug, Args)]
pub struct CapturesArgs {
    /// Captures, directories of them, or - for standard input
    #[arg(required = true, value_name = "FILE|DIR|-")]
    pub captures: Vec<PathBuf>,

    /// End with status 2 if a part of a capture is missing or damaged
    #[arg(long, env = "PORTWATCH_STRICT", help_heading = "Replay", value_parser = parse::flag)]
    pub strict: bool,
}

/// How a capture is played.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Replay")]
pub struct PlayArgs {
    /// N times as fast as it happened; without it as fast as possible
    #[arg(long, env = "PORTWATCH_SPEED", value_name = "N", value_parser = parse::speed)]
    pub speed: Option<f64>,

    /// End with status 1 if there was a conflict
    #[arg(long, env = "PORTWATCH_FAIL_ON_CONFLICT", value_parser = parse::flag)]
    pub fail_on_conflict: bool,

    /// An incident without a new attempt for this long is over; without it as in the live run
    #[arg(long, env = "PORTWATCH_INCIDENT_TIMEOUT", value_name = "TIME",
          value_parser = parse::duration)]
    pub incident_timeout: Option<Duration>,
}
