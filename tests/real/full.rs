//! Ranges that curl and dig have used up, for the next curl and the next dig.

use anyhow::{Context, Result, ensure};
use portwatch_tests::contract::Conflict;
use portwatch_tests::program::Program;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::sockets::Transport;
use portwatch_tests::stage::PORT;
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait::PATIENCE as SOON;

use crate::scene::{PATIENCE, Scene, wait_rows};

fn exhausted(tracer: &mut Tracer) -> Result<Conflict> {
    let event = tracer.wait_for("conflict", SOON, |event| event.conflict().is_some())?;
    event.conflict().cloned().context("no conflict")
}

/// The only line of the tally.
fn held_by(conflict: &Conflict, what_for: &str, program: &Program, comm: &str) -> Result<()> {
    let lines = conflict.tally.as_deref().unwrap_or_default();
    let process = lines.first().and_then(|line| line.process.as_ref());
    ensure!(
        conflict.cause == "range-exhausted"
            && conflict.certainty == "exact"
            && conflict.exhausted_for.as_deref() == Some(what_for)
            && conflict.holders.is_empty()
            && lines.len() == 1
            && lines[0].count == 1
            && process.is_some_and(|p| (p.pid, p.comm.as_str()) == (program.pid(), comm)),
        "{conflict:#?}"
    );
    Ok(())
}

#[test]
fn curl_finds_no_port_beside_another_curl() -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/bin/curl", "/usr/bin/python3"])? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(scene.netns(), &[])?;
    scene
        .netns()
        .run("truncate", &["--size=1G", &scene.path("big")?])?;
    let mut command = scene.command("/usr/bin/python3");
    command.args(["-u", "-m", "http.server", "--bind", "10.10.10.2", "8000"]);
    let mut server = Program::start(command)?;
    server.wait_output("Serving HTTP", PATIENCE)?;
    let download = || {
        let mut command = scene.command("/usr/bin/curl");
        command.args(["--silent", "--show-error", "--limit-rate", "10k"]);
        command.args(["--output", "/dev/null", "http://10.10.10.2:8000/big"]);
        Program::start(command)
    };
    let _pinned = scene.netns().pin(PORT)?;
    let first = download()?;
    let rows = wait_rows(scene.netns(), Transport::Tcp, "established")?;
    let mut second = download()?;
    let conflict = exhausted(&mut tracer)?;
    ensure!(!second.wait_exit(PATIENCE)?.success(), "it had a port");
    held_by(&conflict, "destination", &first, "curl")?;
    let peer = conflict
        .tally
        .as_ref()
        .and_then(|lines| lines[0].peer.clone());
    ensure!(
        peer.as_ref().map(std::net::SocketAddr::from) == Some(rows[0].peer)
            && conflict.call == "connect"
            && conflict.requester.pid == second.pid(),
        "{conflict:#?}"
    );
    tracer.finish()?.check(true)
}

/// dig binds to port 0 before it sends.
#[test]
fn dig_finds_no_port_beside_another_dig() -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/bin/dig"])? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(scene.netns(), &[])?;
    let mut silent = Puppet::start(scene.netns(), "made-resolver")?;
    let bound = silent.try_bind("s", "udp4", &[], "10.10.10.2:5353")?;
    ensure!(bound.is_ok(), "{bound:?}");
    // dig sets SO_REUSEPORT: two of one user share a port, bind() to port 0 included.
    let ask = |user: u32| {
        let mut command = scene.command("/usr/bin/setpriv");
        command.args([&format!("--reuid={user}"), "--clear-groups"]);
        command.args([
            "/usr/bin/dig",
            "@10.10.10.2",
            "-p",
            "5353",
            "+time=300",
            "+tries=1",
            "a.test",
        ]);
        Program::start(command)
    };
    let _pinned = scene.netns().pin(PORT)?;
    let first = ask(0)?;
    wait_rows(scene.netns(), Transport::Udp, "established")?;
    let second = ask(65534)?;
    let conflict = exhausted(&mut tracer)?;
    held_by(&conflict, "binds", &first, "dig")?;
    ensure!(
        conflict.wanted.transport == "udp" && conflict.requester.pid == second.pid(),
        "{conflict:#?}"
    );
    tracer.finish()?.check(true)
}

/// Python as the client of a service, its source ports narrowed by IP_LOCAL_PORT_RANGE (51).
const CLIENT: &str = "
import socket, struct, sys
s = socket.socket()
s.setsockopt(socket.IPPROTO_IP, 51, struct.pack('I', 50007 << 16 | 50007))
s.connect(('10.10.10.2', 8000))
print('connected', flush=True)
sys.stdin.read()
";

/// Two processes with one port between them, in a namespace with thousands.
#[test]
fn a_range_of_the_sockets_own_is_told() -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/bin/python3"])? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(scene.netns(), &[])?;
    let mut server = Puppet::start(scene.netns(), "made-server")?;
    server.listener("l", "tcp4", &[], "10.10.10.2:8000")?;
    let client = || {
        let mut command = scene.command("/usr/bin/python3");
        command.args(["-c", CLIENT]);
        Program::start(command)
    };
    let mut first = client()?;
    first.wait_output("connected", PATIENCE)?;
    let mut second = client()?;
    let conflict = exhausted(&mut tracer)?;
    second.wait_output("Cannot assign requested address", PATIENCE)?;
    held_by(&conflict, "destination", &first, "python3")?;
    ensure!(
        conflict.range.of_socket && (conflict.range.low, conflict.range.high) == (50007, 50007),
        "{conflict:#?}"
    );
    tracer.finish()?.check(true)
}
