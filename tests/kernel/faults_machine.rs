//! A machine without BTF, tracefs, cgroup2, a hook, or with a kernel that is locked down: what is
//! lost is said, and the rest goes on.

use anyhow::{Context, Result, ensure};
use portwatch_tests::machine::{Machine, NEEDED, Started};
use portwatch_tests::make::{self, Made};
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::Stage;
use portwatch_tests::trace::Trace;

use crate::causes::{ESTABLISHED, LISTENER, TIME_WAIT};
use crate::play::{Case, Verdict, check, one_incident, refused};

/// What the kernel says it can mount, without one of them.
fn without_file_system(kind: &str) -> String {
    let list = format!("$(grep -vw {kind} /proc/filesystems)");
    format!(
        r#"list="{list}"; mount -t tmpfs none /mnt; printf '%s\n' "$list" > /mnt/list; mount --bind /mnt/list /proc/filesystems"#
    )
}

/// Whatever has tracepoints is taken away, wherever it is mounted.
const NO_TRACEFS: &str = "umount -a -t tracefs";
const NO_CGROUP2: &str = "umount -a -t cgroup2";

/// Traces a case on a machine; the verdict must be right.
fn right_on(machine: &Machine, case: &Case, right: &Verdict) -> Result<Option<Trace>> {
    let Some(stage) = Stage::set()? else {
        return Ok(None);
    };
    let ((made, binder), trace): ((Made, Puppet), Trace) =
        machine.trace(&stage.netns, &[], |_| {
            let made = (case.make)(&stage.netns)?;
            let mut binder = Puppet::start(&stage.netns, "made-binder")?;
            refused(&mut binder, case.kind)?;
            Ok((made, binder))
        })?;
    let conflict = trace.events.iter().find(|event| event.conflict().is_some());
    check(conflict.context("no conflict")?, &made, &binder, right)?;
    trace.check(true)?;
    one_incident(&trace)?;
    Ok(Some(trace))
}

fn refusal(machine: &Machine, words: &[&str]) -> Result<()> {
    if Stage::set()?.is_none() {
        return Ok(());
    }
    let talk = machine.refusal()?;
    for word in words {
        ensure!(talk.contains(word), "`{word}` is missing: {talk}");
    }
    Ok(())
}

#[test]
fn no_btf() -> Result<()> {
    let machine = Machine::mounts("mount -t tmpfs none /sys/kernel/btf");
    refusal(
        &machine,
        &["/sys/kernel/btf/vmlinux", "CONFIG_DEBUG_INFO_BTF"],
    )
}

/// Mounted where it belongs, and that is said: also where it only is at a place of somebody's own.
#[test]
fn tracefs_that_is_not_mounted() -> Result<()> {
    for script in [
        NO_TRACEFS.to_owned(),
        format!("{NO_TRACEFS}; mount -t tracefs none /mnt"),
    ] {
        let machine = Machine::mounts(&script);
        if let Some(trace) = right_on(&machine, &LISTENER, &LISTENER.right)? {
            let start = Started::of(&trace)?;
            ensure!(start.warns_of("mounted tracefs at"), "{start:#?}");
            ensure!(start.refused().is_empty(), "{start:#?}");
        }
    }
    Ok(())
}

#[test]
fn tracefs_that_may_not_be_mounted() -> Result<()> {
    let machine = Machine::mounts(NO_TRACEFS).nobody_with(&NEEDED);
    refusal(&machine, &["mount -t tracefs tracefs /sys/kernel/tracing"])
}

#[test]
fn a_kernel_without_tracefs() -> Result<()> {
    let script = format!("{NO_TRACEFS}; {}", without_file_system("tracefs"));
    refusal(&Machine::mounts(&script), &["no tracefs", "CONFIG_FTRACE"])
}

/// Only cgroup v1 is mounted (where this machine has it), or nothing: cgroup2 is mounted for a
/// moment, and nothing is lost, neither the name of a holder whose socket is closed.
#[test]
fn cgroup2_that_is_not_mounted() -> Result<()> {
    for script in [
        NO_CGROUP2.to_owned(),
        format!("{NO_CGROUP2}; umount -a -t cgroup"),
    ] {
        let machine = Machine::mounts(&script);
        if let Some(trace) = right_on(&machine, &TIME_WAIT, &TIME_WAIT.right)? {
            let start = Started::of(&trace)?;
            ensure!(start.refused().is_empty(), "{start:#?}");
        }
    }
    let left = std::fs::read_dir(std::env::temp_dir())?
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .find(|name| name.starts_with("portwatch-cgroup2-"));
    ensure!(left.is_none(), "{left:?} was left behind");
    Ok(())
}

/// The walk still proves the holder, /proc names it; only the memory of the dead is gone.
#[test]
fn a_kernel_without_cgroup2() -> Result<()> {
    let script = format!("{NO_CGROUP2}; {}", without_file_system("cgroup2"));
    hooks_of_the_cgroup_are_refused(&Machine::mounts(&script), "no cgroup2")
}

#[test]
fn cgroup2_that_may_not_be_mounted() -> Result<()> {
    let machine = Machine::mounts(NO_CGROUP2).nobody_with(&NEEDED);
    hooks_of_the_cgroup_are_refused(&machine, "cannot be mounted")
}

fn hooks_of_the_cgroup_are_refused(machine: &Machine, warning: &str) -> Result<()> {
    let right = Verdict {
        certainties: &[],
        origin: None,
        ..ESTABLISHED.right
    };
    let Some(trace) = right_on(machine, &ESTABLISHED, &right)? else {
        return Ok(());
    };
    let start = Started::of(&trace)?;
    ensure!(start.warns_of(warning), "{start:#?}");
    for hook in ["sock_ops", "sock_release", "post_bind4", "connect6"] {
        let (_, lost) = start.refusal_of(hook).context(hook)?;
        ensure!(!lost.is_empty(), "{start:#?}");
    }
    let core = ["syscalls:sys_exit_bind", "inet_csk_get_port"];
    ensure!(
        core.iter().any(|hook| start.hooks().contains(hook)),
        "{start:#?}"
    );
    right_about_the_dead(machine)
}

/// Whoever cannot be remembered is not named, and nobody else is.
fn right_about_the_dead(machine: &Machine) -> Result<()> {
    let case = Case {
        make: make::time_wait_of_the_dead,
        ..TIME_WAIT
    };
    let right = Verdict {
        causes: &["outbound-time-wait", "unknown"],
        certainties: &["exact", "remembered", "inferred", "unknown"],
        kinds: &[],
        origin: None,
        named: false,
        ..TIME_WAIT.right
    };
    right_on(machine, &case, &right).map(drop)
}

/// With tracepoints, whatever else this kernel has.
fn without_tracepoint(name: &str) -> Machine {
    Machine::mounts(&format!(
        "mount -t tmpfs none /sys/kernel/tracing/events/syscalls/{name}"
    ))
    .under(&["env", "PORTWATCH_BACKEND=tracepoint"])
}

#[test]
fn a_refused_hook_is_told_and_the_rest_goes_on() -> Result<()> {
    let machine = without_tracepoint("sys_exit_listen");
    if let Some(trace) = right_on(&machine, &ESTABLISHED, &ESTABLISHED.right)? {
        let start = Started::of(&trace)?;
        let target = "syscalls:sys_exit_listen";
        let (reason, lost) = start.refusal_of(target).context("it was not refused")?;
        ensure!(
            start.refused() == [target] && !reason.is_empty() && lost.contains("listen()"),
            "{start:#?}"
        );
    }
    Ok(())
}

#[test]
fn without_the_core_hook_nothing_is_pretended() -> Result<()> {
    refusal(
        &without_tracepoint("sys_exit_bind"),
        &["syscalls:sys_exit_bind", "nothing can be told without it"],
    )
}

fn lockdown() -> Machine {
    Machine::mounts(
        "mount -t tmpfs none /sys/kernel/security; \
         echo 'none integrity [confidentiality]' > /sys/kernel/security/lockdown",
    )
}

/// A kernel that says so and still lets us read is believed in what it does.
#[test]
fn lockdown_is_told() -> Result<()> {
    let machine = lockdown();
    if let Some(trace) = right_on(&machine, &ESTABLISHED, &ESTABLISHED.right)? {
        let start = Started::of(&trace)?;
        ensure!(start.warns_of("lockdown=confidentiality"), "{start:#?}");
    }
    Ok(())
}
