//! Half of the hooks refused: what takes their place tells the same, once, and the start line says
//! what was refused and what is lost by that.

use anyhow::{Context, Result, ensure};
use portwatch_tests::machine::{Machine, Started};
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{HERE, PORT, Stage};

/// A conflict of each transport while these hooks are refused.
fn tried_without(refused: &[&str]) -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut holder = Puppet::start(&stage.netns, "made-holder")?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    let address = format!("{HERE}:{PORT}");
    let machine = Machine::whole().script(&format!(
        "export PORTWATCH_ASSUME_REFUSED={}",
        refused.join(",")
    ));
    let ((), trace) = machine.trace(&stage.netns, &[], |_| {
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
    Ok(())
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

/// Only its trampoline is refused: with `auto` a kprobe takes its place.
#[test]
fn the_trampolines_of_two_functions() -> Result<()> {
    tried_without(&[
        "fexit:inet_csk_get_port",
        "fexit:inet_bind_sk",
        "fexit:inet_bind",
    ])
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
