//! Which of the kernel's hooks are taken, and what is said of the others.

use anyhow::{Context, Result, ensure};
use portwatch_tests::event::Body;
use portwatch_tests::machine::{Machine, Started};
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{HERE, PORT, Stage};
use portwatch_tests::tracer::{Tracer, output};

/// What `--backend` is by default in this run: the machines that are emulated run the suite with each.
fn wanted() -> String {
    std::env::var("PORTWATCH_BACKEND").unwrap_or_else(|_| "auto".to_owned())
}

/// `start` names the backend, its hooks are of that kind, and with it a conflict of each transport is
/// told, once.
#[test]
fn the_backend_that_was_asked_for() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let mut holder = Puppet::start(&stage.netns, "made-holder")?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    let address = format!("{HERE}:{PORT}");
    for kind in ["tcp4", "udp4"] {
        holder.tell(&format!("open {kind} {kind}"))?;
        holder.tell(&format!("bind {kind} {address}"))?;
        binder.tell(&format!("open {kind} {kind}"))?;
        let refused = binder.ask(&format!("bind {kind} {address}"))?;
        ensure!(refused.is_err(), "{kind}: {refused:?}");
        tracer.wait_for(kind, portwatch_tests::wait::PATIENCE, |event| {
            event
                .conflict()
                .is_some_and(|conflict| kind.starts_with(conflict.wanted.transport.as_str()))
        })?;
    }
    let trace = tracer.finish()?;
    trace.check(true)?;
    let conflicts = trace.conflicts();
    ensure!(conflicts.len() == 2, "{conflicts:#?}");
    for conflict in conflicts {
        let named = conflict.holders.iter().any(|held| {
            held.processes
                .iter()
                .any(|process| process.pid == holder.pid())
        });
        ensure!(named, "{conflict:#?}");
    }
    let Some(Body::Start(start)) = trace.events.first().map(|event| &event.body) else {
        anyhow::bail!("no start");
    };
    let backend = start
        .get("backend")
        .and_then(serde_json::Value::as_str)
        .context("no backend")?;
    let wanted = wanted();
    ensure!(
        wanted == "auto" || backend == wanted,
        "{backend} instead of {wanted}"
    );
    let hooks = Started::of(&trace)?.hooks();
    let (some, none) = match backend {
        "tracepoint" => ("syscalls:sys_exit_bind", "inet_csk_get_port"),
        _ => ("inet_csk_get_port", "syscalls:sys_exit_bind"),
    };
    ensure!(hooks.contains(&some) && !hooks.contains(&none), "{hooks:?}");
    Ok(())
}

/// Half of the hooks refused (`--backend` of something that this kernel has not, or has) is an error
/// that names the kernel's reason and the way out, or a run with exactly that backend.
#[test]
fn a_backend_that_is_refused_is_an_error_with_its_reason() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    for backend in ["trampoline", "kprobe"] {
        let netns = stage.netns.inode().to_string();
        let done = output(&[
            "watch",
            "--backend",
            backend,
            "--netns",
            &netns,
            "--duration",
            "1",
            "--format",
            "json",
        ])?;
        let talk = String::from_utf8_lossy(&done.stderr);
        if done.status.success() {
            let told = String::from_utf8_lossy(&done.stdout);
            let mark = format!(r#""backend":"{backend}""#);
            ensure!(told.contains(&mark), "{told}");
        } else {
            ensure!(done.status.code() == Some(2), "{:?}", done.status);
            for words in [
                format!("this kernel refuses every hook of `--backend {backend}`"),
                "inet_csk_get_port".to_owned(),
                "`--backend auto`".to_owned(),
            ] {
                ensure!(talk.contains(&words), "`{words}` is not in:\n{talk}");
            }
        }
    }
    Ok(())
}

/// With `auto`, what a better backend lacks is told with the kernel's reason, and what cannot be seen
/// is what the backend in its place cannot see.
#[test]
fn each_refusal_has_its_reason() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let (_, trace) = Machine::whole().trace(&stage.netns, &["--backend", "auto"], |_| Ok(()))?;
    trace.check(true)?;
    let started = Started::of(&trace)?;
    if started.hooks().contains(&"inet_csk_get_port") {
        return Ok(());
    }
    let (reason, lost) = started
        .refusal_of("inet_csk_get_port")
        .context("no refusal is told")?;
    ensure!(
        !reason.is_empty() && lost.contains("TCP"),
        "{reason}: {lost}"
    );
    let Some(Body::Start(start)) = trace.events.first().map(|event| &event.body) else {
        anyhow::bail!("no start");
    };
    let spots = start
        .get("blind_spots")
        .context("no blind spots")?
        .to_string();
    for spot in ["io_uring", "32-bit", "kernel's own sockets"] {
        ensure!(spots.contains(spot), "{spots}");
    }
    Ok(())
}

/// What Linux 5.8 lacks is done without: the flat walk, arguments kept from the entry, the older
/// helper for the current task. Pretended here; the holder is found and named all the same.
#[test]
fn what_the_oldest_kernel_lacks_is_done_without() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut holder = Puppet::start(&stage.netns, "made-holder")?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    let address = format!("{HERE}:{PORT}");
    let old = Machine::whole().script("export PORTWATCH_ASSUME_KERNEL=5.8");
    let (pid, trace) = old.trace(&stage.netns, &[], |_| {
        holder.listener("l", "tcp4", &[], &address)?;
        binder.tell("open b tcp4")?;
        let refused = binder.ask(&format!("bind b {address}"))?;
        ensure!(refused.is_err(), "{refused:?}");
        // The one port of the range is taken: who has it is not counted.
        stage.netns.set_range((PORT, PORT))?;
        binder.tell("open c tcp4")?;
        let refused = binder.ask(&format!("connect c {address}"))?;
        ensure!(refused.is_err(), "{refused:?}");
        Ok(holder.pid())
    })?;
    trace.check(true)?;
    let started = Started::of(&trace)?;
    let hooks = started.hooks();
    ensure!(
        hooks.contains(&"syscalls:sys_enter_bind") != hooks.contains(&"inet_csk_get_port"),
        "{hooks:?}"
    );
    let spots = started.blind_spots().join("\n");
    ensure!(spots.contains("before Linux 5.17"), "{spots}");
    let conflicts = trace.conflicts();
    let [conflict, exhausted] = conflicts.as_slice() else {
        anyhow::bail!("{conflicts:#?}");
    };
    ensure!(
        exhausted.cause == "range-exhausted"
            && exhausted.counted.is_none()
            && exhausted.tally.as_ref().is_none_or(Vec::is_empty),
        "{exhausted:#?}"
    );
    let named = conflict
        .holders
        .iter()
        .any(|held| held.processes.iter().any(|process| process.pid == pid));
    ensure!(named && conflict.wanted.port == Some(PORT), "{conflict:#?}");
    Ok(())
}
