//! What ends a run, and with which status.

use std::time::Duration;

use anyhow::{Result, ensure};
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::trace::Trace;
use portwatch_tests::tracer::Tracer;

use crate::play::{refused, two_conflicts};

const END: Duration = Duration::from_secs(15);

#[test]
fn max_conflicts_ends_the_run() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &["--max-conflicts", "2"])?;
    let _two = two_conflicts(&stage)?;
    let trace = tracer.wait_end(END)?;
    trace.check(true)?;
    ensure!(trace.incidents().len() == 2, "{:?}", trace.incidents());
    Ok(())
}

/// Attempts of one incident do not count.
#[test]
fn max_conflicts_counts_incidents() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &["--max-conflicts", "2"])?;
    let mut two = three_attempts(&stage)?;
    let _second = one_more(&stage)?;
    let trace = tracer.wait_end(END)?;
    trace.check(true)?;
    ensure!(trace.incidents().len() == 2, "{:?}", trace.incidents());
    ensure!(trace.conflicts().len() == 4, "{:#?}", trace.conflicts());
    two.1.exit()
}

/// Three attempts of one process.
fn three_attempts(stage: &Stage) -> Result<(Puppet, Puppet)> {
    let mut holder = Puppet::start(&stage.netns, "made-holder")?;
    holder.listener("l", "tcp4", &[], &format!("0.0.0.0:{PORT}"))?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    for _ in 0..3 {
        refused(&mut binder, "tcp4")?;
        binder.tell("close b")?;
    }
    Ok((holder, binder))
}

/// One attempt of another.
fn one_more(stage: &Stage) -> Result<Puppet> {
    let mut binder = Puppet::start(&stage.netns, "other-binder")?;
    refused(&mut binder, "tcp4")?;
    Ok(binder)
}

#[test]
fn duration_ends_the_run() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &["--duration", "1s"])?;
    let trace = tracer.wait_end(END)?;
    trace.check(true)
}

fn fail_on_conflict(conflict: bool) -> Result<Option<Trace>> {
    let Some(stage) = Stage::set()? else {
        return Ok(None);
    };
    let mut tracer = Tracer::start(&stage.netns, &["--fail-on-conflict"])?;
    if conflict {
        let _two = two_conflicts(&stage)?;
        tracer.wait_conflict(PORT + 1)?;
    }
    tracer.finish().map(Some)
}

#[test]
fn fail_on_conflict_is_status_1() -> Result<()> {
    if let Some(trace) = fail_on_conflict(true)? {
        trace.check(false)?;
        ensure!(trace.status.code() == Some(1), "{}", trace.status);
    }
    Ok(())
}

#[test]
fn fail_on_conflict_without_one_is_status_0() -> Result<()> {
    match fail_on_conflict(false)? {
        Some(trace) => trace.check(true),
        None => Ok(()),
    }
}
