//! `cargo xtask run [-- ARGS]`: a release, run as root.

use std::{ffi::OsString, os::unix::process::CommandExt as _};

use anyhow::{Context as _, Result, anyhow};

use crate::{build, machine, step::say};

/// Builds a release and becomes it: its signals, its terminal and its exit status are portwatch's.
/// Returns only when it could not.
pub(crate) fn run(args: &[OsString]) -> Result<()> {
    let portwatch = build::build(false)?;
    let mut command = machine::as_root(&portwatch).with_context(|| {
        format!(
            "portwatch needs root, and there is no sudo here\n  what to do: as root, run `{}`",
            portwatch.display()
        )
    })?;
    if let Err(error) = machine::mount_tracefs() {
        // Half of portwatch's commands do without; the others say so themselves.
        say(format_args!("{error:#}"));
    }
    if !machine::is_root() {
        say("run it as root (sudo may ask for your password)");
    }
    let error = command.args(args).exec();
    Err(anyhow!(error).context(format!("`{}` does not start", portwatch.display())))
}
