//! More than one socket, more than one process.

use anyhow::{Context, Result, ensure};
use portwatch_tests::event::Event;
use portwatch_tests::machine::Machine;
use portwatch_tests::make::{self, Made};
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{HERE, PORT, Stage};
use portwatch_tests::tracer::Tracer;

use crate::play::refused;

const CONNECTIONS: usize = 300;
/// More than one loop's turns without `bpf_loop`.
const MANY_CONNECTIONS: usize = 1_100;

fn conflict(stage: &Stage, mut tracer: Tracer) -> Result<Event> {
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    refused(&mut binder, "tcp4")?;
    let event = tracer.wait_conflict(PORT)?;
    tracer.finish()?.check(true)?;
    Ok(event)
}

/// The kernel's list of owners ends with the listener, which is the culprit all the same.
#[test]
fn a_listener_behind_a_crowd_of_connections_is_named() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &[])?;
    let made = make::crowd(&stage.netns, CONNECTIONS)?;
    let event = conflict(&stage, tracer)?;
    is_behind_the_crowd(&event, &made, CONNECTIONS)
}

/// A walk without `bpf_loop` goes that far as well.
#[test]
fn a_listener_behind_a_crowd_is_named_without_bpf_loop() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let old = Machine::whole().script("export PORTWATCH_ASSUME_KERNEL=5.8");
    let (made, trace) = old.trace(&stage.netns, &[], |_| {
        let made = make::crowd(&stage.netns, MANY_CONNECTIONS)?;
        let mut binder = Puppet::start(&stage.netns, "made-binder")?;
        refused(&mut binder, "tcp4")?;
        Ok(made)
    })?;
    trace.check(true)?;
    let mut events = trace.events.iter();
    let event = events.find(|event| event.conflict().is_some());
    is_behind_the_crowd(event.context("no conflict")?, &made, MANY_CONNECTIONS)
}

/// What is bound comes before connections, however many are newer.
#[test]
fn a_bound_socket_behind_a_crowd_of_connections_is_named() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let mut holder = Puppet::start(&stage.netns, "made-bound")?;
    let bound = holder.try_bind("o", "tcp4", &["reuseaddr"], &format!("{HERE}:{PORT}"))?;
    ensure!(bound.is_ok(), "{bound:?}");
    let mut made = make::crowd(&stage.netns, 100)?;
    made.holder.tell("close s")?;
    // With SO_REUSEADDR it would share the port with all of them.
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    let refused = binder.try_bind("b", "tcp4", &[], &format!("{HERE}:{PORT}"))?;
    ensure!(refused.is_err(), "{refused:?}");
    let event = tracer.wait_conflict(PORT)?;
    tracer.finish()?.check(true)?;
    let told = event.conflict().context("no conflict")?;
    ensure!(
        told.cause == "bound-not-listening"
            && told.certainty == "exact"
            && told.holders[0].processes[0].pid == holder.pid(),
        "{:#}",
        event.raw
    );
    Ok(())
}

fn is_behind_the_crowd(event: &Event, made: &Made, connections: usize) -> Result<()> {
    let told = event.conflict().context("no conflict")?;
    let first = &told.holders[0];
    ensure!(
        told.cause == "listener"
            && first.kind == "listener"
            && first.inode == made.inode
            && first.processes[0].pid == made.holder.pid(),
        "{:#}",
        event.raw
    );
    ensure!(
        told.holders_total == connections as u64 + 1,
        "{}",
        told.holders_total
    );
    Ok(())
}

fn pids(event: &Event) -> Result<Vec<u32>> {
    let conflict = event.conflict().context("no conflict")?;
    let holder = conflict.holders.first().context("no holder")?;
    let mut pids: Vec<u32> = holder.processes.iter().map(|process| process.pid).collect();
    pids.sort_unstable();
    Ok(pids)
}

/// A child has the descriptor too: both are told.
#[test]
fn a_shared_descriptor_has_two_processes() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &[])?;
    let mut made = make::listener(&stage.netns)?;
    let child = u32::try_from(made.holder.tell_number("lend s")?)?;
    let mut both = [made.holder.pid(), child];
    both.sort_unstable();
    let event = conflict(&stage, tracer)?;
    ensure!(pids(&event)? == both, "not {both:?}: {:#}", event.raw);
    Ok(())
}

/// A connection and a closed one share the port: all blockers are told, the live one first.
#[test]
fn every_blocker_is_told() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &[])?;
    let first = make::time_wait(&stage.netns)?;
    let mut server = Puppet::start(&stage.netns, "other-server")?;
    server.listener("l", "tcp4", &[], "10.10.10.2:7001")?;
    let mut second = Puppet::start(&stage.netns, "other-client")?;
    second.open("c", "tcp4", &[])?;
    let pinned = stage.netns.pin(PORT)?;
    second.tell("connect c 10.10.10.2:7001")?;
    drop(pinned);
    let event = conflict(&stage, tracer)?;
    let conflict = event.conflict().context("no conflict")?;
    let told: Vec<(&str, u32)> = conflict
        .holders
        .iter()
        .map(|holder| (holder.state.as_str(), holder.processes[0].pid))
        .collect();
    let right = [
        ("established", second.pid()),
        ("time_wait", first.holder.pid()),
    ];
    ensure!(told == right, "not {right:?}: {:#}", event.raw);
    Ok(())
}

/// The user's socket is MPTCP, its port belongs to a subflow.
#[test]
fn mptcp_on_both_sides() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let address = format!("0.0.0.0:{PORT}");
    let mut holder = Puppet::start(&stage.netns, "made-holder")?;
    holder.listener("l", "mptcp4", &[], &address)?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    let answer = binder.try_bind("b", "mptcp4", &[], &address)?;
    ensure!(answer.is_err(), "two listeners on one port");
    let event = tracer.wait_conflict(PORT)?;
    tracer.finish()?.check(true)?;
    let conflict = event.conflict().context("no conflict")?;
    ensure!(
        conflict.wanted.transport == "tcp"
            && conflict.cause == "listener"
            && pids(&event)? == [holder.pid()],
        "{:#}",
        event.raw
    );
    Ok(())
}
