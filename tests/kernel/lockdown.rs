//! `lockdown=confidentiality`: no program may read the kernel's memory, failures are told all the
//! same, nobody is accused without ground, and what is lost is said.
//!
//! This kernel is not locked down; a variable makes the tracer start as it would where it is.

use std::os::unix::net::UnixListener;

use anyhow::{Context, Result, ensure};
use portwatch_tests::contract::Conflict;
use portwatch_tests::event::Event;
use portwatch_tests::machine::{Machine, Started, kernel_before};
use portwatch_tests::make::{self, Made};
use portwatch_tests::netns::NetNs;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{HERE, PORT, Stage, THERE};
use portwatch_tests::trace::Trace;

use crate::causes::LISTENER;
use crate::play::{Case, Verdict, check, one_incident, refused};

fn locked() -> Machine {
    Machine::whole().script("export PORTWATCH_ASSUME_LOCKDOWN=confidentiality")
}

/// What is left of the usual verdict about a listener.
const INFERRED: Verdict = Verdict {
    certainties: &["inferred"],
    origin: None,
    ..LISTENER.right
};

/// A holder and a binder that fails on it.
struct Played {
    made: Made,
    binder: Puppet,
    trace: Trace,
}

fn play(case: &Case, options: &[&str]) -> Result<Option<Played>> {
    let Some(stage) = Stage::set()? else {
        return Ok(None);
    };
    let ((made, binder), trace) = locked().trace(&stage.netns, options, |_| {
        let made = (case.make)(&stage.netns)?;
        let mut binder = Puppet::start(&stage.netns, "made-binder")?;
        refused(&mut binder, case.kind)?;
        Ok((made, binder))
    })?;
    trace.check(true)?;
    one_incident(&trace)?;
    Ok(Some(Played {
        made,
        binder,
        trace,
    }))
}

fn event(trace: &Trace) -> Result<&Event> {
    let conflict = trace.events.iter().find(|event| event.conflict().is_some());
    conflict.context("no conflict")
}

/// Nobody is accused; the failing process and what it wanted are told all the same.
fn nobody(conflict: &Conflict, binder: &Puppet, transport: &str) -> Result<()> {
    ensure!(
        conflict.cause == "unknown"
            && conflict.certainty == "unknown"
            && !conflict.holders.iter().any(|holder| holder.blocking)
            && conflict.truncated == Some(true),
        "{conflict:#?}"
    );
    let requester = &conflict.requester;
    ensure!(
        (requester.pid, requester.comm.as_str()) == (binder.pid(), binder.comm()),
        "{requester:#?}"
    );
    ensure!(
        conflict.wanted.port == Some(PORT) && conflict.wanted.transport == transport,
        "{:#?}",
        conflict.wanted
    );
    Ok(())
}

fn unknown(make: fn(&NetNs) -> Result<Made>, kind: &'static str) -> Result<()> {
    let case = Case {
        make,
        kind,
        right: LISTENER.right,
    };
    let Some(played) = play(&case, &[])? else {
        return Ok(());
    };
    let conflict = event(&played.trace)?.conflict().context("no conflict")?;
    nobody(conflict, &played.binder, &kind[..3])?;
    ensure!(
        conflict.holders.is_empty() && conflict.message.contains("confidentiality"),
        "{conflict:#?}"
    );
    Ok(())
}

#[test]
fn a_listener_is_named_and_inferred() -> Result<()> {
    let Some(played) = play(&LISTENER, &[])? else {
        return Ok(());
    };
    let told = event(&played.trace)?;
    check(told, &played.made, &played.binder, &INFERRED)?;
    let range = &told.conflict().context("no conflict")?.range;
    ensure!(range.low < range.high, "{range:?}");
    Ok(())
}

#[test]
fn what_is_lost_is_said_at_the_start() -> Result<()> {
    let Some(played) = play(&LISTENER, &[])? else {
        return Ok(());
    };
    let start = Started::of(&played.trace)?;
    ensure!(
        start.hooks() == ["bind4", "bind6", "sys_exit"],
        "{start:#?}"
    );
    ensure!(start.warns_of("lockdown=confidentiality"), "{start:#?}");
    ensure!(start.warns_of("never `exact`"), "{start:#?}");
    let told = format!("{start:?}");
    for lost in ["TIME_WAIT", "origins", "failed listen()", "sock_diag"] {
        ensure!(told.contains(lost), "{lost}: {start:#?}");
    }
    Ok(())
}

#[test]
fn a_dual_stack_listener_is_found_by_an_ipv4_bind() -> Result<()> {
    let case = Case {
        make: make::dual_stack_listener,
        ..LISTENER
    };
    let Some(played) = play(&case, &[])? else {
        return Ok(());
    };
    let right = Verdict {
        causes: &["dual-stack-listener"],
        ..INFERRED
    };
    check(event(&played.trace)?, &played.made, &played.binder, &right)
}

#[test]
fn a_connection_may_be_anything() -> Result<()> {
    unknown(make::established, "tcp4")
}

#[test]
fn time_wait_is_nobody() -> Result<()> {
    unknown(make::time_wait, "tcp4")
}

#[test]
fn a_udp_socket_may_share() -> Result<()> {
    unknown(make::udp_bound, "udp4")
}

/// Invisible to sock_diag before 6.8, and not decided by it afterwards.
#[test]
fn a_bound_socket_is_not_accused() -> Result<()> {
    let case = Case {
        make: make::bound_only,
        ..LISTENER
    };
    let Some(played) = play(&case, &[])? else {
        return Ok(());
    };
    let conflict = event(&played.trace)?.conflict().context("no conflict")?;
    nobody(conflict, &played.binder, "tcp")
}

/// Who asks for the neighbours sees the connection with its process, not accused.
#[test]
fn neighbours_are_listed() -> Result<()> {
    let case = Case {
        make: make::established,
        ..LISTENER
    };
    let Some(played) = play(&case, &["--neighbours"])? else {
        return Ok(());
    };
    let conflict = event(&played.trace)?.conflict().context("no conflict")?;
    nobody(conflict, &played.binder, "tcp")?;
    let holder = conflict.holders.first().context("no neighbour")?;
    let process = holder.processes.first().context("no process")?;
    ensure!(
        process.pid == played.made.holder.pid() && holder.origin.is_none(),
        "{holder:#?}"
    );
    Ok(())
}

/// A UDP bind is not blamed on the TCP listener of the same port, nor the other way round.
#[test]
fn the_other_transport_is_not_accused() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let (played, trace) = locked().trace(&stage.netns, &[], |_| {
        let listener = make::listener(&stage.netns)?;
        let udp = make::udp_bound(&stage.netns)?;
        let mut first = Puppet::start(&stage.netns, "udp-binder")?;
        refused(&mut first, "udp4")?;
        let mut second = Puppet::start(&stage.netns, "tcp-binder")?;
        refused(&mut second, "tcp4")?;
        Ok((listener, udp, first, second))
    })?;
    let (listener, _udp, first, second) = &played;
    let conflicts = trace.conflicts();
    ensure!(conflicts.len() == 2, "{conflicts:#?}");
    nobody(conflicts[0], first, "udp")?;
    let mut told = trace
        .events
        .iter()
        .filter(|event| event.conflict().is_some());
    check(
        told.next_back().context("none")?,
        listener,
        second,
        &INFERRED,
    )
}

/// The bound socket blocks, the listener of the other address does not.
#[test]
fn a_listener_on_another_address_is_not_accused() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let ((_held, binder), trace) = locked().trace(&stage.netns, &[], |_| {
        let bound = make::bound_only(&stage.netns)?;
        let mut other = Puppet::start(&stage.netns, "innocent")?;
        other.listener("l", "tcp4", &[], &format!("{THERE}:{PORT}"))?;
        let mut binder = Puppet::start(&stage.netns, "made-binder")?;
        let answer = binder.try_bind("b", "tcp4", &[], &format!("{HERE}:{PORT}"))?;
        ensure!(answer.is_err(), "two sockets on one address");
        Ok(((bound, other), binder))
    })?;
    one_incident(&trace)?;
    nobody(trace.conflicts()[0], &binder, "tcp")
}

/// A name that is taken is no port: a path of AF_UNIX gives the same errno.
#[test]
fn other_families_and_successes_are_silent() -> Result<()> {
    let Some(stage) = Stage::alone()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("socket");
    let options = ["--netns", "/proc/self/ns/net"];
    let ((), trace) = locked().trace(&stage.netns, &options, |_| {
        let _first = UnixListener::bind(&path)?;
        let second = UnixListener::bind(&path);
        ensure!(
            second.is_err_and(|error| error.raw_os_error() == Some(libc::EADDRINUSE)),
            "two sockets of one name"
        );
        let _free = std::net::TcpListener::bind("127.0.0.1:0")?;
        Ok(())
    })?;
    let ours = std::process::id();
    let told = trace.conflicts();
    ensure!(
        !told.iter().any(|conflict| conflict.requester.pid == ours),
        "{told:#?}"
    );
    Ok(())
}

/// A bind that is no system call of its name is not seen, and never taken for the next one that is.
#[test]
fn what_a_ring_wanted_is_not_told_of_another_name() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let ((), trace) = locked().trace(&stage.netns, &[], |_| {
        let made = make::listener(&stage.netns)?;
        let mut binder = Puppet::start(&stage.netns, "ring-binder")?;
        binder.open("b", "tcp4", &[])?;
        let wanted = format!("{HERE}:{PORT}");
        let answer = binder.ask(&format!("ring bind b {wanted}"))?;
        if answer == Err("EINVAL".to_owned()) {
            ensure!(kernel_before((6, 11))?, "this kernel's ring has no bind()");
        } else {
            ensure!(answer == Err("EADDRINUSE".to_owned()), "{answer:?}");
        }
        let taken = binder.ask("taken-name")?;
        ensure!(taken == Err("EADDRINUSE".to_owned()), "{taken:?}");
        drop(made);
        Ok(())
    })?;
    ensure!(trace.conflicts().is_empty(), "{:#?}", trace.conflicts());
    Ok(())
}

/// A listener of the process's namespace is not accused of what its socket meets in another.
#[test]
fn the_namespace_is_that_of_the_socket() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let elsewhere = NetNs::new()?;
    elsewhere.add_address(&format!("{HERE}/32"))?;
    // Which namespace it is cannot be told, so it is none that is asked for.
    let everywhere = locked().script(
        r#"tracer=$1; shift 6; set -- "$tracer" watch --ready-fd 3 --comm far-binder "$@""#,
    );
    let (binder, trace) = everywhere.trace(&stage.netns, &[], |_| {
        let _holder = make::bound_only(&stage.netns)?;
        let _innocent = make::listener(&elsewhere)?;
        let mut binder = Puppet::start(&stage.netns, "far-binder")?;
        binder.open("b", "tcp4", &[])?;
        binder.tell(&format!("enter {}", elsewhere.path().display()))?;
        let answer = binder.ask(&format!("bind b {HERE}:{PORT}"))?;
        ensure!(answer == Err("EADDRINUSE".to_owned()), "{answer:?}");
        Ok(binder)
    })?;
    one_incident(&trace)?;
    let conflict = trace.conflicts()[0];
    nobody(conflict, &binder, "tcp")?;
    ensure!(
        conflict.wanted.netns == 0 && conflict.message.contains("another network namespace"),
        "{conflict:#?}"
    );
    Ok(())
}

/// What a locked kernel does first: its tracepoints are nobody's. The rest goes on.
#[test]
fn a_kernel_that_hides_its_tracepoints_is_traced_blindly() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let machine = Machine::mounts(
        "mount -t tmpfs none /sys/kernel/security; \
         echo 'none integrity [confidentiality]' > /sys/kernel/security/lockdown; \
         mount -t tmpfs none /sys/kernel/tracing/events/syscalls/sys_exit_bind",
    )
    .under(&["env", "PORTWATCH_BACKEND=tracepoint"]);
    let ((made, binder), trace) = machine.trace(&stage.netns, &[], |_| {
        let made = make::listener(&stage.netns)?;
        let mut binder = Puppet::start(&stage.netns, "made-binder")?;
        refused(&mut binder, "tcp4")?;
        Ok((made, binder))
    })?;
    check(event(&trace)?, &made, &binder, &INFERRED)?;
    let start = Started::of(&trace)?;
    ensure!(
        start.hooks() == ["bind4", "bind6", "sys_exit"],
        "{start:#?}"
    );
    Ok(())
}
