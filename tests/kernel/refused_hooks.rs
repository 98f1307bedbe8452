//! Half of the hooks refused: what takes their place tells the same, once, and the start line says
//! what was refused and what is lost by that.

use anyhow::{Context, Result, ensure};
use portwatch_tests::event::Event;
use portwatch_tests::machine::{Machine, Started, kernel_before};
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{HERE, PORT, Stage};

/// A conflict of each transport while these hooks are refused, with the backend under test.
fn tried_without(refused: &[&str]) -> Result<()> {
    tried_with(&[], refused).map(drop)
}

/// The same with more options; the start event, if it could be tried.
fn tried_with(options: &[&str], refused: &[&str]) -> Result<Option<Event>> {
    let Some(stage) = Stage::set()? else {
        return Ok(None);
    };
    let mut holder = Puppet::start(&stage.netns, "made-holder")?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    let address = format!("{HERE}:{PORT}");
    let machine = Machine::whole().script(&format!(
        "export PORTWATCH_ASSUME_REFUSED={}",
        refused.join(",")
    ));
    let ((), trace) = machine.trace(&stage.netns, options, |_| {
        for kind in ["tcp4", "udp4"] {
            holder.open(kind, kind, &[])?;
            holder.tell(&format!("bind {kind} {address}"))?;
            let answer = binder.try_bind(kind, kind, &[], &address)?;
            ensure!(answer.is_err(), "{kind}: {answer:?}");
        }
        Ok(())
    })?;
    trace.check(true)?;
    let conflicts = trace.conflicts();
    let transports: Vec<&str> = conflicts
        .iter()
        .map(|conflict| conflict.wanted.transport.as_str())
        .collect();
    ensure!(transports == ["tcp", "udp"], "{conflicts:#?}");
    for conflict in &conflicts {
        let named = conflict
            .holders
            .iter()
            .flat_map(|held| &held.processes)
            .any(|process| process.pid == holder.pid());
        ensure!(named && conflict.certainty == "exact", "{conflict:#?}");
    }
    let started = Started::of(&trace)?;
    for hook in refused {
        let (kind, target) = hook.split_once(':').context("no kind")?;
        // Not every backend asks for every hook.
        let Some((reason, lost)) = started.refusal_at(kind, target) else {
            ensure!(
                !started.has(kind, target),
                "{hook} was not refused: {:?}",
                started.hooks()
            );
            continue;
        };
        ensure!(
            reason.contains("says so") && !lost.is_empty(),
            "{hook}: {reason}; {lost}"
        );
    }
    Ok(trace.events.into_iter().next())
}

/// The function that sees TCP's ports is refused both ways: the exits of system calls serve TCP, the
/// functions the rest.
#[test]
fn the_functions_of_tcp() -> Result<()> {
    tried_without(&[
        "fexit:inet_csk_get_port",
        "kprobe:inet_csk_get_port",
        "fentry:inet_put_port",
        "kprobe:inet_put_port",
    ])
}

/// What `auto` may use of this kernel: no test with one backend has both.
const AUTO: [&str; 2] = ["--backend", "auto"];

/// Only its trampoline is refused: with `auto` a kprobe takes its place, beside the trampolines of the
/// other functions.
#[test]
fn the_trampolines_of_two_functions() -> Result<()> {
    let refused = [
        "fexit:inet_csk_get_port",
        "fexit:inet_bind_sk",
        "fexit:inet_bind",
    ];
    let Some(event) = tried_with(&AUTO, &refused)? else {
        return Ok(());
    };
    let start = Started::told_by(&event)?;
    if !start.has("fexit", "inet_hash_connect") {
        // No trampolines here, or nothing but system calls: nothing is mixed.
        ensure!(start.backend() != Some("trampoline"), "{start:#?}");
        return Ok(());
    }
    ensure!(
        start.backend() == Some("trampoline")
            && start.has("kprobe", "inet_csk_get_port")
            && (start.has("kprobe", "inet_bind_sk") || start.has("kprobe", "inet_bind"))
            && start.has("cgroup", "post_bind4")
            && !start.has("tracepoint", "syscalls:sys_exit_bind"),
        "{start:#?}"
    );
    let told = start.refusal_at("fexit", "inet_csk_get_port");
    ensure!(
        told.is_some_and(|(_, lost)| lost.contains("a kprobe serves")),
        "{start:#?}"
    );
    Ok(())
}

/// Where the best functions are refused both ways and older ones serve, that is told too; where none
/// serves, so is what was not tried for want of them.
#[test]
fn every_refusal_is_told() -> Result<()> {
    let newer = [
        "fexit:inet_bind_sk",
        "kprobe:inet_bind_sk",
        "kretprobe:inet_bind_sk",
    ];
    let older = ["fexit:inet_bind", "kprobe:inet_bind", "kretprobe:inet_bind"];
    let Some(event) = tried_with(&AUTO, &newer)? else {
        return Ok(());
    };
    // Before 6.6 there is no such function, which is no refusal where the older one serves.
    if !kernel_before((6, 6))? {
        let start = Started::told_by(&event)?;
        let (_, lost) = start.refusal_of("inet_bind_sk").context("not told")?;
        let instead = lost.contains("MPTCP")
            && lost.contains("nothing: inet_bind and inet6_bind in its place");
        ensure!(
            start.hooks().contains(&"inet_bind") == instead,
            "{start:#?}"
        );
    }
    let Some(event) = tried_with(&AUTO, &[newer, older].concat())? else {
        return Ok(());
    };
    let start = Started::told_by(&event)?;
    for target in ["inet_dgram_connect", "udp_lib_get_port"] {
        let (reason, lost) = start.refusal_of(target).context("not told")?;
        ensure!(
            reason.contains("not tried") && lost.contains("UDP"),
            "{target}: {reason}; {lost}"
        );
    }
    Ok(())
}

/// The hooks that give sockets their cookies, and two system calls.
#[test]
fn the_cgroup_hooks() -> Result<()> {
    tried_without(&[
        "cgroup:post_bind4",
        "cgroup:post_bind6",
        "cgroup:sock_release",
        "sock_ops:sock_ops",
        "tracepoint:syscalls:sys_exit_listen",
        "tracepoint:syscalls:sys_exit_connect",
    ])
}
