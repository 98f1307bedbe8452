//! Two processes listened on one address, one after the other: what the first one's connections left
//! behind is not the second one's.

use anyhow::{Context, Result, ensure};
use portwatch_tests::contract::Conflict;
use portwatch_tests::make::wait_state;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::sockets::Transport;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::Tracer;

/// The order in which a connection ends.
#[derive(Clone, Copy)]
enum End {
    /// The server closes first; TIME_WAIT begins after its descriptor is gone.
    Close,
    /// Its side is shut down first, and its descriptor closed when TIME_WAIT has begun (the
    /// "lingering close" of web servers).
    Linger,
}

/// A server accepts a connection on the port, which ends in TIME_WAIT on its side; it is gone then.
fn serve_once(stage: &Stage, kind: &str, end: End) -> Result<u32> {
    let address = format!("127.0.0.1:{PORT}");
    let mut server = Puppet::start(&stage.netns, "made-first")?;
    server.listener("l", kind, &["reuseaddr"], &address)?;
    let mut client = Puppet::start(&stage.netns, "made-client")?;
    client.open("c", kind, &[])?;
    client.tell(&format!("connect c {address}"))?;
    server.tell("accept l a")?;
    match end {
        End::Close => {
            server.tell("close a")?;
            client.tell("recv c")?;
            client.tell("close c")?;
        }
        End::Linger => {
            server.tell("shutdown a")?;
            client.tell("recv c")?;
            client.tell("close c")?;
            server.tell("recv a")?;
            wait_state(&stage.netns, Transport::Tcp, "time_wait")?;
            server.tell("close a")?;
        }
    }
    wait_state(&stage.netns, Transport::Tcp, "time_wait")?;
    let pid = server.pid();
    server.exit()?;
    client.exit()?;
    Ok(pid)
}

/// Another process listens there and is gone, too.
fn listen_once(stage: &Stage, address: &str) -> Result<u32> {
    let mut other = Puppet::start(&stage.netns, "made-second")?;
    other.listener("l", "tcp4", &["reuseaddr"], &format!("{address}:{PORT}"))?;
    let pid = other.pid();
    other.exit()?;
    Ok(pid)
}

/// The conflict of somebody who wants the port.
fn want(stage: &Stage, tracer: &mut Tracer) -> Result<Conflict> {
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    let refused = binder.try_bind("b", "tcp4", &[], &format!("127.0.0.1:{PORT}"))?;
    ensure!(refused.is_err(), "TIME_WAIT did not block");
    let event = tracer.wait_conflict(PORT)?;
    Ok(event.conflict().context("no conflict")?.clone())
}

/// The processes of all holders.
fn named(conflict: &Conflict) -> Vec<u32> {
    let holders = conflict.holders.iter();
    holders
        .flat_map(|holder| &holder.processes)
        .map(|process| process.pid)
        .collect()
}

#[test]
fn what_a_server_left_in_time_wait_is_its_own() -> Result<()> {
    for end in [End::Close, End::Linger] {
        for address in ["127.0.0.1", "0.0.0.0"] {
            let Some(stage) = Stage::set()? else {
                return Ok(());
            };
            let mut tracer = Tracer::start(&stage.netns, &[])?;
            let first = serve_once(&stage, "tcp4", end)?;
            listen_once(&stage, address)?;
            let conflict = want(&stage, &mut tracer)?;
            tracer.finish()?;
            ensure!(
                conflict.cause == "server-time-wait"
                    && conflict.certainty == "exact"
                    && named(&conflict) == [first],
                "{first}: {conflict:#?}"
            );
        }
    }
    Ok(())
}

/// Nobody may ask the cookie of MPTCP's subflows, so the first server cannot be proven: then the
/// second one is not named instead.
#[test]
fn what_mptcp_left_is_not_given_to_the_next_listener() -> Result<()> {
    for end in [End::Close, End::Linger] {
        let Some(stage) = Stage::set()? else {
            return Ok(());
        };
        let mut tracer = Tracer::start(&stage.netns, &[])?;
        serve_once(&stage, "mptcp4", end)?;
        let second = listen_once(&stage, "127.0.0.1")?;
        let conflict = want(&stage, &mut tracer)?;
        tracer.finish()?;
        ensure!(!named(&conflict).contains(&second), "{conflict:#?}");
    }
    Ok(())
}

/// A connection that is older than the tracer was not accepted by a listener that is younger.
#[test]
fn what_is_older_than_the_tracer_is_not_a_later_listeners() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    serve_once(&stage, "tcp4", End::Close)?;
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let second = listen_once(&stage, "127.0.0.1")?;
    let conflict = want(&stage, &mut tracer)?;
    tracer.finish()?;
    ensure!(
        !named(&conflict).contains(&second) && conflict.certainty != "exact",
        "{conflict:#?}"
    );
    Ok(())
}
