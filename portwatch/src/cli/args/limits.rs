//! When a run ends, and with what.

use super::parse;
use clap::Args;
use std::num::NonZeroU64;
use std::os::fd::RawFd;
use std::time::Duration;

/// Limits of a run.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// End after this time: 30, 30s, 5m, 2h
    #[arg(long, env = "PORTWATCH_DURATION", value_name = "TIME", value_parser = parse::duration)]
    pub duration: Option<Duration>,

    /// End after so many incidents; repeated attempts of one program are one
    #[arg(long, env = "PORTWATCH_MAX_CONFLICTS", value_name = "N", value_parser = parse::count)]
    pub max_conflicts: Option<NonZeroU64>,

    /// End with status 1 if there was a conflict
    #[arg(long, env = "PORTWATCH_FAIL_ON_CONFLICT", value_parser = parse::flag)]
    pub fail_on_conflict: bool,

    /// An incident without a new attempt for this long is over
    #[arg(long, env = "PORTWATCH_INCIDENT_TIMEOUT", value_name = "TIME", default_value = "30s",
          value_parser = parse::duration)]
    pub incident_timeout: Duration,

    /// Write "ready" and a newline to this descriptor once every hook is attached, and close it
    #[arg(long, env = "PORTWATCH_READY_FD", value_name = "FD", value_parser = parse::ready_fd)]
    pub ready_fd: Option<RawFd>,
}
