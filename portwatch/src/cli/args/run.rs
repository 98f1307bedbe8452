//! Options of `run`.

use super::WatchArgs;
use clap::Args;
use std::ffi::OsString;

/// Everything `run` takes.
#[derive(Clone, Debug, Args)]
pub struct RunArgs {
    /// As in `watch`.
    #[command(flatten)]
    pub watch: WatchArgs,

    /// The command and its arguments, after --
    #[arg(required = true, trailing_var_arg = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}
