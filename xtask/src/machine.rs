//! What xtask has to know of the machine and of the tree: paths, root, programs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use crate::step::Step;

/// What sudo has to leave in the environment, besides every `PORTWATCH_...`.
const PRESERVED: [&str; 8] = [
    "PATH",
    "CARGO_MANIFEST_DIR",
    "CARGO_TARGET_DIR",
    "CI",
    "NO_COLOR",
    "PORTWATCH_BIN",
    "RUST_BACKTRACE",
    "RUST_LOG",
];

/// The root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let here = env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").into());
    let here = PathBuf::from(here);
    here.parent().map_or_else(|| here.clone(), Path::to_owned)
}

/// Cargo's target directory, absolute.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(target) => std::path::absolute(&target).unwrap_or_else(|_| target.into()),
        None => workspace().join("target"),
    }
}

/// Where xtask keeps what it needs for a moment.
pub(crate) fn scratch() -> PathBuf {
    target().join("xtask")
}

/// The cargo that started us, in the workspace and with the target directory of [`target`].
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .current_dir(workspace())
        .env("CARGO_TARGET_DIR", target());
    cargo
}

/// Whether `program` is on the PATH.
pub(crate) fn has(program: &str) -> bool {
    env::var_os("PATH").is_some_and(|path| {
        env::split_paths(&path).any(|directory| directory.join(program).is_file())
    })
}

/// Whether we are root.
pub(crate) fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| effective_uid(&status) == Some(0))
}

/// The PATH with the directories of root's programs, which a user's PATH may lack.
pub(crate) fn path_with_sbin() -> String {
    let path = env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin")
}

/// Whether `program` is on that PATH.
pub(crate) fn has_with_sbin(program: &str) -> bool {
    env::split_paths(&path_with_sbin()).any(|directory| directory.join(program).is_file())
}

/// The effective uid in the text of `/proc/PID/status`.
fn effective_uid(status: &str) -> Option<u32> {
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    uids.split_whitespace().nth(1)?.parse().ok()
}

/// `program` as root: itself when we are root, through sudo otherwise; nothing without sudo.
pub(crate) fn as_root(program: impl AsRef<std::ffi::OsStr>) -> Option<Command> {
    if is_root() {
        return Some(Command::new(program));
    }
    has("sudo").then(|| {
        let mut sudo = Command::new("sudo");
        sudo.arg(preserved()).arg("--").arg(program);
        sudo
    })
}

/// sudo's option that keeps the variables that portwatch and its tests read.
pub(crate) fn preserved() -> String {
    let ours = env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("PORTWATCH_"));
    let names: Vec<_> = PRESERVED
        .into_iter()
        .map(str::to_owned)
        .chain(ours)
        .collect();
    format!("--preserve-env={}", names.join(","))
}

/// Mounts the trace file system where nothing has (a container, a bare machine): without it no
/// program can be attached to a tracepoint. Systemd mounts it everywhere else.
pub(crate) fn mount_tracefs() -> Result<()> {
    let at = Path::new("/sys/kernel/tracing");
    // Only root may look inside, so a user cannot tell; mountinfo tells everybody.
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounted = mounts
        .lines()
        .any(|mount| mount.split(' ').nth(4).map(Path::new) == Some(at));
    if mounted || !at.is_dir() {
        return Ok(());
    }
    let Some(mut mount) = as_root("mount") else {
        return Ok(());
    };
    mount.args(["-t", "tracefs", "tracefs"]).arg(at);
    Step::new("mount tracefs on /sys/kernel/tracing", mount)
        .fix("this kernel or container refuses it: see `portwatch doctor`")
        .quietly()
}

/// Whether this is a continuous-integration run, where a skipped test is a failure.
pub(crate) fn is_ci() -> bool {
    env::var("CI").is_ok_and(|ci| !matches!(ci.as_str(), "" | "0" | "false"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effective_uid_is_the_second() {
        let status = "Name:\tsu\nUid:\t1000\t0\t0\t0\nGid:\t1000\t1000\t1000\t1000\n";
        assert_eq!(effective_uid(status), Some(0));
        assert_eq!(effective_uid("Name:\tx\n"), None);
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(has("sh"));
        assert!(!has("no-such-program-of-ours"));
    }

    #[test]
    fn the_workspace_is_the_one_of_this_crate() {
        assert!(workspace().join("xtask/Cargo.toml").is_file());
    }
}
