//! The one scene of these tests: somebody has port 60001, somebody else wants it.

use anyhow::{Context, Result, bail, ensure};
use portwatch_tests::event::Event;
use portwatch_tests::expect::Expected;
use portwatch_tests::make::Made;
use portwatch_tests::netns::NetNs;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::trace::Trace;
use portwatch_tests::tracer::Tracer;

/// How a holder is made and what a right verdict about it says.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    pub(crate) make: fn(&NetNs) -> Result<Made>,
    pub(crate) kind: &'static str,
    pub(crate) right: Verdict,
}

/// A verdict as far as it is fixed.
#[derive(Clone, Copy)]
pub(crate) struct Verdict {
    pub(crate) causes: &'static [&'static str],
    pub(crate) certainties: &'static [&'static str],
    pub(crate) kinds: &'static [&'static str],
    pub(crate) states: &'static [&'static str],
    pub(crate) origin: Option<&'static str>,
    /// Whether the process must be named; a wrong name is wrong in any case.
    pub(crate) named: bool,
    pub(crate) has_socket: bool,
}

/// Makes the holder under the eyes of the tracer.
pub(crate) fn tracer_first(case: &Case) -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &[])?;
    let mut made = (case.make)(&stage.netns)?;
    conflict(&stage, tracer, &mut made, case.kind, &case.right)
        .and_then(|event| says_since_when(&event))
}

/// Makes the holder before the tracer starts.
pub(crate) fn holder_first(case: &Case, right: &Verdict) -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut made = (case.make)(&stage.netns)?;
    let tracer = Tracer::start(&stage.netns, &[])?;
    conflict(&stage, tracer, &mut made, case.kind, right).map(drop)
}

/// Lets a binder fail and checks the one conflict that must follow.
pub(crate) fn conflict(
    stage: &Stage,
    mut tracer: Tracer,
    made: &mut Made,
    kind: &str,
    right: &Verdict,
) -> Result<Event> {
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    refused(&mut binder, kind)?;
    let event = tracer.wait_conflict(PORT)?;
    let trace = tracer.finish()?;
    check(&event, made, &binder, right)?;
    says_how_long(&event)?;
    trace.check(true)?;
    one_incident(&trace)?;
    Ok(event)
}

/// The binder's attempt, which the kernel must refuse.
pub(crate) fn refused(binder: &mut Puppet, kind: &str) -> Result<()> {
    let (options, address): (&[&str], _) = match kind {
        // As servers do; it does not help against any of the made holders.
        "tcp4" => (&["reuseaddr"], format!("0.0.0.0:{PORT}")),
        "udp4" => (&[], format!("0.0.0.0:{PORT}")),
        other => bail!("no binder of kind `{other}`"),
    };
    let answer = binder.try_bind("b", kind, options, &address)?;
    ensure!(
        answer.as_ref().is_err_and(|errno| errno == "EADDRINUSE"),
        "the kernel let the binder have it: {answer:?}"
    );
    Ok(())
}

pub(crate) fn check(event: &Event, made: &Made, binder: &Puppet, right: &Verdict) -> Result<()> {
    let named = event
        .conflict()
        .and_then(|conflict| conflict.holders.first())
        .is_some_and(|holder| !holder.processes.is_empty());
    let holder = (right.named || named).then(|| (made.holder.pid(), made.holder.comm()));
    Expected {
        port: PORT,
        causes: right.causes,
        certainties: right.certainties,
        requester: Some((binder.pid(), binder.comm())),
        holder,
        has_socket: right.named.then_some(right.has_socket),
        alive: right.named.then_some(made.alive),
        kinds: right.kinds,
        states: right.states,
        origin: right.origin,
        peers: made.peer.as_slice(),
        inode: made.inode,
    }
    .check(event)?;
    let conflict = event.conflict().context("no conflict")?;
    let blocking = conflict.holders.iter().filter(|holder| holder.blocking);
    let mut accused = blocking.flat_map(|holder| &holder.processes);
    ensure!(
        accused.all(|process| process.pid == made.holder.pid()),
        "somebody else is accused as well: {event:#?}"
    );
    Ok(())
}

/// Of a holder that the tracer saw from its beginning it is told since when it has the port.
pub(crate) fn says_since_when(event: &Event) -> Result<()> {
    let conflict = event.conflict().context("no conflict")?;
    let mut blocking = conflict.holders.iter().filter(|holder| holder.blocking);
    ensure!(
        blocking.all(|holder| holder.since_source.as_deref() == Some("assigned")
            && holder.since.is_some()
            && holder.held_ms.is_some_and(|held| held < 600_000)),
        "a holder does not say since when: {conflict:#?}"
    );
    Ok(())
}

/// Whoever waits for TIME_WAIT wants to know how long.
fn says_how_long(event: &Event) -> Result<()> {
    let conflict = event.conflict().context("no conflict")?;
    let waiting = conflict
        .holders
        .iter()
        .filter(|holder| holder.state == "time_wait");
    let mut left = waiting.map(|holder| holder.time_wait_left_ms);
    ensure!(
        left.all(|left| left.is_some_and(|left| (1..=60_000).contains(&left))),
        "TIME_WAIT does not say how long it goes on: {conflict:#?}"
    );
    Ok(())
}

pub(crate) fn one_incident(trace: &Trace) -> Result<()> {
    ensure!(
        trace.conflicts().len() == 1 && trace.incidents().len() == 1,
        "not one conflict of one incident: {:#?}",
        trace.conflicts()
    );
    Ok(())
}

/// A conflict over the port of the founding case and one over the next port, by other processes.
pub(crate) struct Two {
    _holders: [Puppet; 2],
    pub(crate) binders: [Puppet; 2],
}

pub(crate) fn two_conflicts(stage: &Stage) -> Result<Two> {
    let make = |port: u16, name: &str| -> Result<(Puppet, Puppet)> {
        let address = format!("0.0.0.0:{port}");
        let mut holder = Puppet::start(&stage.netns, &format!("holder-{name}"))?;
        holder.listener("l", "tcp4", &[], &address)?;
        let mut binder = Puppet::start(&stage.netns, &format!("binder-{name}"))?;
        let answer = binder.try_bind("b", "tcp4", &[], &address)?;
        ensure!(answer.is_err(), "two listeners on one port");
        Ok((holder, binder))
    };
    let (first_holder, first_binder) = make(PORT, "one")?;
    let (second_holder, second_binder) = make(PORT + 1, "two")?;
    Ok(Two {
        _holders: [first_holder, second_holder],
        binders: [first_binder, second_binder],
    })
}
