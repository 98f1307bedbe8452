//! Which conflicts are told, and how much of them.

use anyhow::{Context, Result, ensure};
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::Tracer;

use crate::play::two_conflicts;

/// Two conflicts under a tracer with `options`; ended by SIGINT after the last wanted one.
fn filtered(options: &[&str], wanted: &[u16]) -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, options)?;
    let _two = two_conflicts(&stage)?;
    for port in wanted {
        tracer.wait_conflict(*port)?;
    }
    let trace = tracer.finish()?;
    trace.check(true)?;
    let told: Vec<Option<u16>> = trace
        .conflicts()
        .iter()
        .map(|told| told.wanted.port)
        .collect();
    let wanted: Vec<Option<u16>> = wanted.iter().copied().map(Some).collect();
    ensure!(told == wanted, "{options:?}: {told:?}");
    Ok(())
}

#[test]
fn port_filter() -> Result<()> {
    filtered(&["--port", "60002,7000-7999"], &[PORT + 1])
}

#[test]
fn port_range_filter() -> Result<()> {
    filtered(&["--port", "60000-60005"], &[PORT, PORT + 1])
}

#[test]
fn transport_filter() -> Result<()> {
    filtered(&["--transport", "udp"], &[])
}

#[test]
fn comm_filter_matches_requester_and_holder() -> Result<()> {
    filtered(&["--comm", "binder-two"], &[PORT + 1])?;
    filtered(&["--comm", "holder-two"], &[PORT + 1])
}

/// `cmdline none` leaves it out; `--redact` hides what it names.
#[test]
fn cmdline_and_redaction() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let options = ["--cmdline", "none", "--redact", "uid"];
    let mut tracer = Tracer::start(&stage.netns, &options)?;
    let two = two_conflicts(&stage)?;
    let event = tracer.wait_conflict(PORT)?;
    tracer.finish()?.check(true)?;
    let conflict = event.conflict().context("no conflict")?;
    ensure!(
        conflict.requester.pid == two.binders[0].pid(),
        "{:#}",
        event.raw
    );
    let holder = &conflict.holders[0];
    ensure!(
        conflict.requester.cmdline.is_none()
            && holder
                .processes
                .iter()
                .all(|process| process.cmdline.is_none())
            && conflict.requester.uid.is_none()
            && holder.uid.is_none(),
        "{:#}",
        event.raw
    );
    Ok(())
}
