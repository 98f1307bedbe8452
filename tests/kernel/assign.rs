//! `--events assign`: every way in which the kernel picks a port, and what follows when it cannot.

use anyhow::{Context, Result, bail, ensure};
use portwatch_tests::contract::Assign;
use portwatch_tests::event::Body;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{HERE, Stage};
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait::PATIENCE;

const SERVICE: &str = "10.10.10.2:7000";

/// Runs one call that gets a port and returns what was told of it.
fn assigned(prepare: &[&str], call: &str) -> Result<Option<(Assign, u32, u16)>> {
    let Some(stage) = Stage::set()? else {
        return Ok(None);
    };
    let mut tracer = Tracer::start(&stage.netns, &["--events", "assign"])?;
    let mut server = Puppet::start(&stage.netns, "made-server")?;
    server.listener("l", "tcp4", &[], SERVICE)?;
    let mut client = Puppet::start(&stage.netns, "made-client")?;
    for command in prepare {
        client.tell(command)?;
    }
    let local = client.tell_address(call)?;
    let pid = client.pid();
    let event = tracer.wait_for("assign", PATIENCE, |event| {
        event
            .assign()
            .is_some_and(|assign| assign.process.pid == pid)
    })?;
    tracer.finish()?.check(true)?;
    let assign = event.assign().cloned().context("no `assign` after all")?;
    ensure!(assign.netns == stage.netns.inode(), "{assign:#?}");
    ensure!(assign.process.comm == "made-client", "{assign:#?}");
    Ok(Some((assign, pid, local.port())))
}

fn check(prepare: &[&str], call: &str, told: (&str, &str, &str)) -> Result<()> {
    let Some((assign, _, port)) = assigned(prepare, call)? else {
        return Ok(());
    };
    let (transport, syscall, origin) = told;
    ensure!(
        assign.local.port == port
            && assign.transport == transport
            && assign.call == syscall
            && assign.origin.as_deref() == Some(origin),
        "port {port}, expected {told:?}: {assign:#?}"
    );
    Ok(())
}

#[test]
fn tcp_connect() -> Result<()> {
    let call = format!("connect c {SERVICE}");
    check(
        &["open c tcp4"],
        &call,
        ("tcp", "connect", "ephemeral-connect"),
    )
}

#[test]
fn tcp_connect_tells_both_ends() -> Result<()> {
    let call = format!("connect c {SERVICE}");
    let Some((assign, ..)) = assigned(&["open c tcp4"], &call)? else {
        return Ok(());
    };
    let peer = assign.peer.as_ref().context("no peer")?;
    ensure!(
        (peer.address.to_string().as_str(), peer.port) == ("10.10.10.2", 7000),
        "{assign:#?}"
    );
    Ok(())
}

#[test]
fn bind_to_0() -> Result<()> {
    let call = format!("bind c {HERE}:0");
    check(&["open c tcp4"], &call, ("tcp", "bind", "ephemeral-bind"))
}

#[test]
fn listen_without_bind() -> Result<()> {
    check(
        &["open c tcp4"],
        "listen c 8",
        ("tcp", "listen", "ephemeral-autobind"),
    )
}

#[test]
fn udp_connect() -> Result<()> {
    let call = format!("connect c {SERVICE}");
    check(
        &["open c udp4"],
        &call,
        ("udp", "connect", "ephemeral-connect"),
    )
}

#[test]
fn udp_send() -> Result<()> {
    let call = format!("sendto c {SERVICE}");
    check(
        &["open c udp4"],
        &call,
        ("udp", "autobind", "ephemeral-autobind"),
    )
}

#[test]
fn udp_bind_to_0() -> Result<()> {
    let call = format!("bind c {HERE}:0");
    check(&["open c udp4"], &call, ("udp", "bind", "ephemeral-bind"))
}

/// Emitted and lost together are what was triggered.
#[test]
fn none_is_lost_uncounted() -> Result<()> {
    const CONNECTS: usize = 300;
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &["--events", "assign"])?;
    let mut server = Puppet::start(&stage.netns, "made-server")?;
    server.listener("l", "tcp4", &[], SERVICE)?;
    server.tell("serve l")?;
    let mut client = Puppet::start(&stage.netns, "made-client")?;
    let mut ports = Vec::new();
    for number in 0..CONNECTS {
        let socket = format!("c{number}");
        client.open(&socket, "tcp4", &[])?;
        let local = client.tell_address(&format!("connect {socket} {SERVICE}"))?;
        ports.push(local.port());
    }
    let trace = tracer.finish()?;
    trace.check(true)?;
    let told: Vec<u16> = trace
        .assigned()
        .iter()
        .filter(|assign| assign.process.pid == client.pid())
        .map(|assign| assign.local.port)
        .collect();
    ensure!(
        told == ports,
        "{} of {CONNECTS} were told, or in another order",
        told.len()
    );
    Ok(())
}

#[test]
fn a_release_is_told_when_asked_for() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &["--events", "release"])?;
    let mut client = Puppet::start(&stage.netns, "made-client")?;
    client.open("c", "udp4", &[])?;
    let local = client.tell_address(&format!("connect c {SERVICE}"))?;
    client.tell("close c")?;
    let event = tracer.wait_for(
        "release",
        PATIENCE,
        |event| matches!(&event.body, Body::Release(release) if release.local.port == local.port()),
    )?;
    let Body::Release(release) = &event.body else {
        bail!("no release after all");
    };
    ensure!(
        release.process.pid == client.pid() && release.port_free != Some(false),
        "{release:#?}"
    );
    tracer.finish()?.check(true)
}
