//! A machine that lacks something, as the tracer sees it: file systems hidden in a mount namespace
//! of its own, privileges taken away, a cgroup in place of the whole hierarchy.
//!
//! Only the tracer's own process is changed; the machine and the other tests see nothing of it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::{NamedTempFile, TempDir};

use crate::event::{Body, Event};
use crate::netns::NetNs;
use crate::trace::Trace;
use crate::tracer::{Bare, binary};
use crate::wait;

/// The capabilities that tracing needs, as `setpriv` writes them.
pub const NEEDED: [&str; 5] = [
    "bpf",
    "perfmon",
    "net_admin",
    "dac_read_search",
    "sys_ptrace",
];

/// How the tracer is started: commands that each start the next one.
#[derive(Debug, Clone, Default)]
pub struct Machine(Vec<String>);

impl Machine {
    /// As it is.
    #[must_use]
    pub fn whole() -> Self {
        Self::default()
    }

    /// With its mounts changed by a shell script.
    #[must_use]
    pub fn mounts(script: &str) -> Self {
        Self::whole()
            .under(&["unshare", "--mount", "--propagation", "private"])
            .script(script)
    }

    /// A shell script before the tracer, in the same process.
    #[must_use]
    pub fn script(self, script: &str) -> Self {
        let script = format!(r#"set -e; {script}; exec "$@""#);
        self.under(&["sh", "-c", &script, "sh"])
    }

    /// As `nobody` with these capabilities and no other.
    #[must_use]
    pub fn nobody_with(self, capabilities: &[&str]) -> Self {
        let list: String = capabilities
            .iter()
            .map(|capability| format!(",+{capability}"))
            .collect();
        self.under(&[
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            &format!("--inh-caps=-all{list}"),
            &format!("--ambient-caps=-all{list}"),
            // The change of user has cleared it.
            "--pdeathsig=KILL",
        ])
    }

    /// Started by one more command.
    #[must_use]
    pub fn under(mut self, command: &[&str]) -> Self {
        self.0.extend(command.iter().map(|word| (*word).to_owned()));
        self
    }

    fn wrapper(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }

    /// Traces while `scene` plays, then ends the tracer as Ctrl-C does: whatever the scene caused
    /// is in the trace, without a wait.
    pub fn trace<T>(
        &self,
        netns: &NetNs,
        options: &[&str],
        scene: impl FnOnce(&Bare) -> Result<T>,
    ) -> Result<(T, Trace)> {
        let printed = NamedTempFile::new()?;
        let options: Vec<&str> = ["--format", "json"]
            .iter()
            .chain(options)
            .copied()
            .collect();
        let stdout = Stdio::from(printed.reopen()?);
        let mut tracer = Bare::start_under(&self.wrapper(), netns, &options, stdout)?;
        let played = scene(&tracer);
        let status = tracer.end(Some(Signal::INT))?;
        let text = fs::read_to_string(printed.path())?;
        let played = played.with_context(|| format!("it told:\n{text}"))?;
        let events = text.lines().map(Event::parse).collect::<Result<_>>()?;
        let trace = Trace {
            events,
            status,
            talk: String::new(),
        };
        Ok((played, trace))
    }

    /// Starts the tracer, which must refuse: status 2, nothing on stdout. Returns what it said.
    pub fn refusal(&self) -> Result<String> {
        let (_folder, copy) = reachable_binary()?;
        let patience = wait::patient(Duration::from_secs(30)).as_secs().to_string();
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "timeout", &patience])
            .args(&self.0)
            .arg(copy)
            .args(["watch", "--format", "json", "--duration", "100ms"])
            .stdin(Stdio::null());
        let output = command.output()?;
        let talk = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.code() == Some(2) && output.stdout.is_empty(),
            "{}: {talk}",
            output.status
        );
        Ok(talk)
    }
}

/// A copy of the tracer where everybody may go; the build directory may be closed to others.
pub fn reachable_binary() -> Result<(TempDir, PathBuf)> {
    let folder = tempfile::tempdir_in("/tmp")?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
    let copy = folder.path().join("portwatch");
    // By a program of its own: a descriptor for writing, which a program that another thread starts at
    // that moment has too, would let nobody execute the copy.
    let status = Command::new("install")
        .args(["-m", "755"])
        .args([&binary(), &copy])
        .status()?;
    ensure!(status.success(), "no copy of the program: {status}");
    Ok((folder, copy))
}

/// What a run said of itself at its start.
#[derive(Debug)]
pub struct Started<'a>(&'a serde_json::Map<String, Value>);

impl<'a> Started<'a> {
    /// The first line of a trace.
    pub fn of(trace: &'a Trace) -> Result<Self> {
        Self::told_by(trace.events.first().context("no events")?)
    }

    /// The same of the event itself.
    pub fn told_by(event: &'a Event) -> Result<Self> {
        let Body::Start(start) = &event.body else {
            anyhow::bail!("no `start`: {event:?}");
        };
        Ok(Self(start))
    }

    /// Whether a warning has these words.
    #[must_use]
    pub fn warns_of(&self, words: &str) -> bool {
        let warnings = self.0.get("warnings").and_then(Value::as_array);
        let has = |warning: &Value| warning.as_str().is_some_and(|text| text.contains(words));
        warnings.is_some_and(|warnings| warnings.iter().any(has))
    }

    /// What tells the failures.
    #[must_use]
    pub fn backend(&self) -> Option<&'a str> {
        self.0.get("backend")?.as_str()
    }

    /// The attached hooks' targets.
    #[must_use]
    pub fn hooks(&self) -> Vec<&'a str> {
        self.targets("hooks")
    }

    /// The refused hooks' targets; without the functions of the kernel, whose part the exits of
    /// system calls serve where it is refused, as it is on every kernel that has no trampolines.
    #[must_use]
    pub fn refused(&self) -> Vec<&'a str> {
        let hooks = self.0.get("hooks_refused").and_then(Value::as_array);
        let of_functions = |hook: &&Value| {
            let kind = hook.get("kind").and_then(Value::as_str);
            matches!(kind, Some("fentry" | "fexit" | "kprobe" | "kretprobe"))
        };
        hooks
            .into_iter()
            .flatten()
            .filter(|hook| !of_functions(hook))
            .filter_map(|hook| hook.get("target")?.as_str())
            .collect()
    }

    /// Why a hook was refused and what is lost by that.
    #[must_use]
    pub fn refusal_of(&self, target: &str) -> Option<(&'a str, &'a str)> {
        let refused = self.0.get("hooks_refused")?.as_array()?;
        let hook = refused
            .iter()
            .find(|hook| hook.get("target").and_then(Value::as_str) == Some(target))?;
        Some((hook.get("reason")?.as_str()?, hook.get("lost")?.as_str()?))
    }

    /// The same of a hook of one kind.
    #[must_use]
    pub fn refusal_at(&self, kind: &str, target: &str) -> Option<(&'a str, &'a str)> {
        let refused = self.0.get("hooks_refused")?.as_array()?;
        let hook = refused.iter().find(|hook| {
            hook.get("kind").and_then(Value::as_str) == Some(kind)
                && hook.get("target").and_then(Value::as_str) == Some(target)
        })?;
        Some((hook.get("reason")?.as_str()?, hook.get("lost")?.as_str()?))
    }

    /// Whether a hook of that kind is attached there.
    #[must_use]
    pub fn has(&self, kind: &str, target: &str) -> bool {
        let hooks = self.0.get("hooks").and_then(Value::as_array);
        let is = |hook: &Value, field: &str, value: &str| {
            hook.get(field).and_then(Value::as_str) == Some(value)
        };
        hooks
            .into_iter()
            .flatten()
            .any(|hook| is(hook, "kind", kind) && is(hook, "target", target))
    }

    /// What this run says that it cannot see.
    #[must_use]
    pub fn blind_spots(&self) -> Vec<&'a str> {
        let spots = self.0.get("blind_spots").and_then(Value::as_array);
        let spots = spots.into_iter().flatten();
        spots.filter_map(Value::as_str).collect()
    }

    fn targets(&self, list: &str) -> Vec<&'a str> {
        let hooks = self.0.get(list).and_then(Value::as_array);
        hooks
            .into_iter()
            .flatten()
            .filter_map(|hook| hook.get("target")?.as_str())
            .collect()
    }
}

/// Whether the running kernel is older than a version: for what is known to differ, never for what a
/// test may leave out.
pub fn kernel_before(version: (u32, u32)) -> Result<bool> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.trim().split(['.', '-']).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
        anyhow::bail!("`{release}` is no release");
    };
    Ok((major, minor) < version)
}

/// Waits until a process has given a signal's handling back to the kernel's default.
pub fn wait_default(pid: u32, signal: Signal) -> Result<()> {
    let bit = 1_u64 << (signal.as_raw() - 1);
    wait::until("the signal's default", Duration::from_secs(10), || {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let caught = status
            .lines()
            .find_map(|line| line.strip_prefix("SigCgt:"))
            .context("no SigCgt")?;
        let caught = u64::from_str_radix(caught.trim(), 16)?;
        Ok((caught & bit == 0).then_some(()))
    })
}
