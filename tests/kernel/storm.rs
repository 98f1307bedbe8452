//! A failure is never lost while connects rush by at full speed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Result, anyhow, ensure};
use portwatch_tests::event::{Body, Event};
use portwatch_tests::make;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait::PATIENCE;

use crate::play::refused;

const ATTEMPTS: u64 = 300;
const CONNECTS: u64 = 3000;

fn storm(options: &[&str]) -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, options)?;
    let made = make::established(&stage.netns)?;
    let mut server = Puppet::start(&stage.netns, "storm-server")?;
    server.listener("l", "tcp4", &[], "127.0.0.1:7100")?;
    server.tell("serve l")?;
    let mut clients = Puppet::start(&stage.netns, "storm-client")?;
    clients.tell("storm 127.0.0.1:7100 2")?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    let mut attempts = 0;
    while attempts < ATTEMPTS || clients.tell_number("connects")? < CONNECTS {
        refused(&mut binder, "tcp4")?;
        binder.tell("close b")?;
        attempts += 1;
    }
    let connects = clients.tell_number("calm")?;
    let last = |event: &Event| {
        event
            .conflict()
            .is_some_and(|conflict| conflict.attempt == attempts)
    };
    tracer.wait_for("last attempt", PATIENCE, last)?;
    let trace = tracer.finish()?;
    ensure!(trace.status.success(), "it ended with {}", trace.status);
    let conflicts = trace.conflicts();
    let told: Vec<u64> = conflicts.iter().map(|told| told.attempt).collect();
    let all: Vec<u64> = (1..=attempts).collect();
    ensure!(
        told == all,
        "{} of {attempts} failures were told beside {connects} connects",
        told.len()
    );
    for conflict in conflicts {
        ensure!(
            conflict.cause == "outbound-connection"
                && conflict.holders[0].processes[0].pid == made.holder.pid(),
            "{conflict:#?}"
        );
    }
    ensure!(
        connects > 1000,
        "only {connects} connects: that was no storm"
    );
    let complete = trace
        .events
        .iter()
        .all(|event| !matches!(event.body, Body::Lost(_)));
    ensure!(
        complete || options.contains(&"--events"),
        "events were lost"
    );
    Ok(())
}

#[test]
fn no_failure_is_lost() -> Result<()> {
    storm(&[])
}

/// Successes may be dropped then, and are counted; failures may not.
#[test]
fn no_failure_is_lost_when_every_success_is_told() -> Result<()> {
    storm(&["--events", "all"])
}

/// Between the first hook and readiness failures are told too, late rather than wrong.
#[test]
fn failures_while_it_starts_blame_nobody_else() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let made = make::established(&stage.netns)?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    let ready = AtomicBool::new(false);
    let mut tracer = thread::scope(|scope| {
        let failing = scope.spawn(|| -> Result<()> {
            while !ready.load(Ordering::Relaxed) {
                refused(&mut binder, "tcp4")?;
                binder.tell("close b")?;
            }
            Ok(())
        });
        // Not in the other thread: the tracer dies with the thread that starts it.
        let tracer = Tracer::start(&stage.netns, &[]);
        ready.store(true, Ordering::Relaxed);
        failing
            .join()
            .map_err(|_| anyhow!("the binder's thread panicked"))??;
        tracer
    })?;
    refused(&mut binder, "tcp4")?;
    tracer.wait_conflict(PORT)?;
    let trace = tracer.finish()?;
    trace.check(true)?;
    for conflict in trace.conflicts() {
        let named = conflict.holders.iter().flat_map(|holder| &holder.processes);
        let right = named
            .clone()
            .all(|process| process.pid == made.holder.pid());
        let silent = conflict.cause == "unknown" && named.count() == 0;
        ensure!(
            right && (silent || conflict.cause == "outbound-connection"),
            "{conflict:#?}"
        );
    }
    Ok(())
}
