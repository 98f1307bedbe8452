//! Many records at once: what else is to be done in the meantime is done, and what they ask the kernel
//! to watch for is not forgotten before they are looked at.

use anyhow::{Context, Result, ensure};
use portwatch_tests::make;
use portwatch_tests::netns::NetNs;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait::PATIENCE;
use rustix::process::Signal;

use crate::play::refused;

/// A listener, and somebody who is refused its port so many times.
fn crowd(netns: &NetNs, port: u16, times: usize) -> Result<(Puppet, Puppet)> {
    let address = format!("0.0.0.0:{port}");
    let mut holder = Puppet::start(netns, "crowd-holder")?;
    holder.listener("l", "tcp4", &[], &address)?;
    let mut binder = Puppet::start(netns, "crowd-binder")?;
    binder.open("b", "tcp4", &[])?;
    let done = binder.tell(&format!("bind-often b {address} {times}"))?;
    ensure!(done == times.to_string(), "{done} of {times}");
    Ok((holder, binder))
}

/// A signal is seen while records wait; nothing of them is lost by that.
#[test]
fn a_signal_is_seen_between_records() -> Result<()> {
    const TIMES: usize = 3500;
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    tracer.signal(Signal::STOP)?;
    let _crowd = crowd(&stage.netns, PORT, TIMES)?;
    tracer.signal(Signal::CONT)?;
    tracer.wait_conflict(PORT)?;
    tracer.signal(Signal::USR1)?;
    let so_far = tracer.wait_for("summary", PATIENCE, |event| event.raw["type"] == "summary")?;
    let trace = tracer.finish()?;
    trace.check(true)?;
    let told = so_far.raw["totals"]["conflict"].as_u64().unwrap_or(0);
    ensure!(
        told < u64::try_from(TIMES)?,
        "the signal was seen behind all of them: {:#}",
        so_far.raw
    );
    ensure!(
        trace.conflicts().len() == TIMES,
        "{} of {TIMES}",
        trace.conflicts().len()
    );
    Ok(())
}

/// One incident of a process ends while its next failure has not been looked at: what that waits for is
/// told all the same.
#[test]
fn the_next_failure_is_still_watched() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    // An emulated machine works on the crowd for longer than an incident lasts by default.
    let mut tracer = Tracer::start(&stage.netns, &["--incident-timeout", "10m"])?;
    let mut first = make::listener(&stage.netns)?;
    let next = format!("0.0.0.0:{}", PORT + 1);
    let mut second = Puppet::start(&stage.netns, "next-holder")?;
    second.listener("l", "tcp4", &[], &next)?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;

    tracer.signal(Signal::STOP)?;
    refused(&mut binder, "tcp4")?;
    first.holder.tell("close s")?;
    binder.tell(&format!("bind b 0.0.0.0:{PORT}"))?;
    let _crowd = crowd(&stage.netns, PORT + 2, 1500)?;
    let answer = binder.try_bind("c", "tcp4", &[], &next)?;
    ensure!(answer.is_err(), "{answer:?}");
    tracer.signal(Signal::CONT)?;

    tracer.wait_conflict(PORT + 1)?;
    second.tell("close l")?;
    binder.tell(&format!("bind c {next}"))?;
    let event = tracer.wait_for("its end", PATIENCE, |event| {
        event
            .resolved()
            .is_some_and(|resolved| resolved.wanted.port == Some(PORT + 1))
    })?;
    let resolved = event.resolved().context("no `resolved`")?;
    ensure!(resolved.how == "got-port", "{resolved:#?}");
    tracer.finish()?.check(true)
}
