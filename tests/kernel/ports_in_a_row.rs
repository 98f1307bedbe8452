//! Programs that try one port after another, and those that go on with half of what they wanted.

use anyhow::{Context, Result, ensure};
use portwatch_tests::contract::Resolved;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait::PATIENCE;

fn resolved(tracer: &mut Tracer) -> Result<Resolved> {
    let event = tracer.wait_for("resolved", PATIENCE, |event| event.resolved().is_some())?;
    event.resolved().cloned().context("no `resolved` after all")
}

/// As Ceph looks for a port from 6800 to 7300.
#[test]
fn are_one_incident() -> Result<()> {
    const TAKEN: u16 = 4;
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let mut holder = Puppet::start(&stage.netns, "row-holder")?;
    let mut binder = Puppet::start(&stage.netns, "row-binder")?;
    for number in 0..TAKEN {
        let at = format!("0.0.0.0:{}", PORT + number);
        holder.listener(&format!("l{number}"), "tcp4", &[], &at)?;
    }
    for number in 0..TAKEN {
        let at = format!("0.0.0.0:{}", PORT + number);
        let answer = binder.try_bind("b", "tcp4", &["reuseaddr"], &at)?;
        ensure!(answer.is_err(), "{at} was free");
        binder.tell("close b")?;
    }
    binder.listener("b", "tcp4", &[], &format!("0.0.0.0:{}", PORT + TAKEN))?;
    let end = resolved(&mut tracer)?;
    let trace = tracer.finish()?;
    trace.check(true)?;
    ensure!(trace.incidents().len() == 1, "{:?}", trace.incidents());
    for (number, conflict) in trace.conflicts().iter().enumerate() {
        let number = u16::try_from(number)?;
        let range = conflict.port_range.as_ref().map(|r| (r.low, r.high));
        let tried = (number > 0).then_some((PORT, PORT + number));
        ensure!(
            conflict.wanted.port == Some(PORT + number)
                && conflict.attempt == u64::from(number) + 1
                && range == tried
                && conflict.cause == "listener"
                && conflict.holders[0].processes[0].pid == holder.pid(),
            "{conflict:#?}"
        );
    }
    let range = end.port_range.as_ref().map(|r| (r.low, r.high));
    ensure!(
        end.how == "other-port"
            && end.port == Some(PORT + TAKEN)
            && end.attempts == u64::from(TAKEN)
            && range == Some((PORT, PORT + TAKEN - 1)),
        "{end:#?}"
    );
    Ok(())
}

/// `[::]` and then `0.0.0.0` of one program.
#[test]
fn two_addresses_of_one_port_are_one_incident() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let mut holder = Puppet::start(&stage.netns, "row-holder")?;
    holder.listener("l", "tcp6", &["dual"], &format!("[::]:{PORT}"))?;
    let mut binder = Puppet::start(&stage.netns, "row-binder")?;
    for (kind, options, at) in [("tcp6", &["dual"][..], "[::]"), ("tcp4", &[], "0.0.0.0")] {
        let answer = binder.try_bind("b", kind, options, &format!("{at}:{PORT}"))?;
        ensure!(answer.is_err(), "{at} was free");
        binder.tell("close b")?;
    }
    binder.exit()?;
    let end = resolved(&mut tracer)?;
    let trace = tracer.finish()?;
    trace.check(true)?;
    ensure!(
        trace.incidents().len() == 1
            && trace.conflicts().len() == 2
            && end.attempts == 2
            && end.how == "exited"
            && end.port_range.is_none(),
        "{:#?} {end:#?}",
        trace.conflicts()
    );
    Ok(())
}

/// The other family first, or last: it serves there all the same.
#[test]
fn half_of_what_was_wanted_is_told() -> Result<()> {
    for first in [true, false] {
        let Some(stage) = Stage::set()? else {
            return Ok(());
        };
        let mut tracer = Tracer::start(&stage.netns, &["--incident-timeout", "1s"])?;
        let mut holder = Puppet::start(&stage.netns, "row-holder")?;
        holder.listener("l", "tcp4", &[], &format!("0.0.0.0:{PORT}"))?;
        let mut server = Puppet::start(&stage.netns, "row-server")?;
        let v6 = format!("[::]:{PORT}");
        if first {
            server.listener("six", "tcp6", &["v6only"], &v6)?;
        }
        let answer = server.try_bind("four", "tcp4", &["reuseaddr"], &format!("0.0.0.0:{PORT}"))?;
        ensure!(answer.is_err(), "it was free");
        server.tell("close four")?;
        if !first {
            server.listener("six", "tcp6", &["v6only"], &v6)?;
        }
        let end = resolved(&mut tracer)?;
        let trace = tracer.finish()?;
        trace.check(true)?;
        let conflict = trace
            .conflicts()
            .first()
            .copied()
            .context("no conflict")?
            .clone();
        let at = |ends: &[portwatch_tests::contract::Endpoint]| -> Vec<String> {
            ends.iter().map(|end| end.address.to_string()).collect()
        };
        let known = if first { vec!["::"] } else { vec![] };
        ensure!(
            end.how == "gave-up"
                && at(&end.serves) == ["::"]
                && at(&conflict.serves) == known
                && conflict.holders[0].processes[0].pid == holder.pid(),
            "{conflict:#?} {end:#?}"
        );
    }
    Ok(())
}
