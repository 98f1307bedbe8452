//! The same holders, made before the tracer starts: what it may still know, and what it must not
//! pretend to.

use anyhow::{Context, Result, ensure};
use portwatch_tests::make;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::Tracer;

use crate::causes::{
    ACCEPTED, BOUND_ONLY, CLOSE_WAIT, DUAL_STACK, EPHEMERAL_BIND, ESTABLISHED, FIN_WAIT, LISTENER,
    ORPHAN, SERVER_TIME_WAIT, SYN_SENT, TIME_WAIT, UDP_AUTOBOUND, UDP_BOUND, UDP_CONNECTED,
};
use crate::play::{self, Case, Verdict, holder_first};

/// The cause is still proven; certainty and origin are what can be known of it.
const fn proven(case: Case) -> (Case, Verdict) {
    let right = Verdict {
        certainties: &[],
        origin: None,
        ..case.right
    };
    (case, right)
}

/// The cause may be one of `causes`, or unknown.
const fn at_most(case: Case, causes: &'static [&'static str], named: bool) -> (Case, Verdict) {
    let right = Verdict {
        causes,
        certainties: &["exact", "remembered", "inferred", "unknown"],
        kinds: &[],
        origin: None,
        named,
        ..case.right
    };
    (case, right)
}

/// What was made before, and what may be known of it. What the kernel forgets after a while is
/// made last.
static ALL: [(&str, (Case, Verdict)); 15] = [
    ("established", proven(ESTABLISHED)),
    ("close-wait", proven(CLOSE_WAIT)),
    ("fin-wait", proven(FIN_WAIT)),
    ("listener", proven(LISTENER)),
    ("dual-stack listener", proven(DUAL_STACK)),
    ("bound only", proven(BOUND_ONLY)),
    ("UDP", proven(UDP_BOUND)),
    (
        "connected UDP",
        at_most(UDP_CONNECTED, &["outbound-connection", "udp-socket"], true),
    ),
    (
        "autobound UDP",
        at_most(UDP_AUTOBOUND, &["outbound-connection", "udp-socket"], true),
    ),
    (
        "bind(0)",
        at_most(
            EPHEMERAL_BIND,
            &["ephemeral-bind", "bound-not-listening", "unknown"],
            true,
        ),
    ),
    // The listener is closed, the accepted child is left: its missing SOCK_BINDPORT_LOCK proves no
    // connect().
    (
        "accepted",
        at_most(ACCEPTED, &["accepted-connection", "unknown"], true),
    ),
    ("syn-sent", proven(SYN_SENT)),
    ("orphan", at_most(ORPHAN, &["orphan"], false)),
    // Nobody who could be named was ever seen: the state is told, a process is not made up.
    (
        "server TIME_WAIT",
        at_most(SERVER_TIME_WAIT, &["server-time-wait", "unknown"], false),
    ),
    (
        "TIME_WAIT",
        at_most(TIME_WAIT, &["outbound-time-wait", "unknown"], false),
    ),
];

/// How many of them, the last ones, are gone after a minute.
const TIME_WAITS: usize = 2;

/// Those that are still there when a tracer has started in an emulated machine.
pub(crate) fn lasting() -> &'static [(&'static str, (Case, Verdict))] {
    ALL.get(..ALL.len() - TIME_WAITS).unwrap_or_default()
}

/// One of them alone.
fn alone(wanted: &str) -> Result<()> {
    let (_, (case, right)) = ALL
        .iter()
        .find(|(name, _)| *name == wanted)
        .context("no such holder")?;
    holder_first(case, right)
}

#[test]
fn established() -> Result<()> {
    alone("established")
}

#[test]
fn syn_sent() -> Result<()> {
    alone("syn-sent")
}

#[test]
fn close_wait() -> Result<()> {
    alone("close-wait")
}

#[test]
fn fin_wait() -> Result<()> {
    alone("fin-wait")
}

#[test]
fn listener() -> Result<()> {
    alone("listener")
}

#[test]
fn dual_stack_listener() -> Result<()> {
    alone("dual-stack listener")
}

#[test]
fn bound_not_listening() -> Result<()> {
    alone("bound only")
}

#[test]
fn udp_bound() -> Result<()> {
    alone("UDP")
}

#[test]
fn udp_connected() -> Result<()> {
    alone("connected UDP")
}

#[test]
fn udp_autobound() -> Result<()> {
    alone("autobound UDP")
}

#[test]
fn ephemeral_bind() -> Result<()> {
    alone("bind(0)")
}

/// Nobody who could be named was ever seen: the state is told, a process is not made up.
#[test]
fn time_wait() -> Result<()> {
    alone("TIME_WAIT")
}

#[test]
fn server_time_wait() -> Result<()> {
    alone("server TIME_WAIT")
}

#[test]
fn orphan() -> Result<()> {
    alone("orphan")
}

/// The listener is closed, the accepted child is left, the tracer comes late: the child's missing
/// SOCK_BINDPORT_LOCK proves no connect().
#[test]
fn an_accepted_child_is_never_an_outbound_connection() -> Result<()> {
    alone("accepted")
}

/// The snapshot asked the cookie, so that TIME_WAIT still has a name.
#[test]
fn a_connection_older_than_the_tracer_keeps_its_name_in_time_wait() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut made = make::established(&stage.netns)?;
    let tracer = Tracer::start(&stage.netns, &[])?;
    make::close_client_first(&stage.netns, &mut made)?;
    made.exit_holder()?;
    let right = Verdict {
        certainties: &[],
        origin: None,
        ..TIME_WAIT.right
    };
    play::conflict(&stage, tracer, &mut made, "tcp4", &right).map(drop)
}

/// What was held before the tracer came is told as such, never with a time made up.
#[test]
fn since_is_absent_for_older_holders() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let _made = make::established(&stage.netns)?;
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    play::refused(&mut binder, "tcp4")?;
    let event = tracer.wait_conflict(PORT)?;
    let holder = event
        .conflict()
        .and_then(|conflict| conflict.holders.first());
    ensure!(
        holder.is_some_and(|holder| holder.since.is_none()
            && holder.held_at_least_ms.is_some()
            && holder.since_source.as_deref() == Some("snapshot")),
        "{:#}",
        event.raw
    );
    tracer.finish()?.check(true)
}

/// The socket that has the port is a subflow, whose cookie nobody may ask.
#[test]
fn an_older_mptcp_listener_has_an_age() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let address = format!("127.0.0.1:{PORT}");
    let mut holder = Puppet::start(&stage.netns, "made-holder")?;
    holder.listener("l", "mptcp4", &[], &address)?;
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    let answer = binder.try_bind("b", "tcp4", &[], &address)?;
    ensure!(answer.is_err(), "two listeners on one port");
    let event = tracer.wait_conflict(PORT)?;
    let told = event
        .conflict()
        .and_then(|conflict| conflict.holders.first());
    ensure!(
        told.is_some_and(|told| told.since.is_none()
            && told.held_at_least_ms.is_some()
            && told.since_source.as_deref() == Some("snapshot")
            && told
                .processes
                .iter()
                .any(|process| process.pid == holder.pid())),
        "{:#}",
        event.raw
    );
    tracer.finish()?.check(true)
}
