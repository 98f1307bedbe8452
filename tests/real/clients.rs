//! curl and dig as holders: live, and gone before anyone looks.

use anyhow::{Context, Result, ensure};
use portwatch_tests::program::Program;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::sockets::Transport;
use portwatch_tests::stage::PORT;
use portwatch_tests::tracer::Tracer;

use crate::nginx;
use crate::scene::{Holding, PATIENCE, Scene, verdict, wait_rows};
use crate::servers::{dnsmasq_server, node_server, redis_server};

/// A download that takes long.
#[test]
fn curl_holds() -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/bin/curl", "/usr/bin/node", "/usr/bin/python3"])? else {
        return Ok(());
    };
    let early = Tracer::start(scene.netns(), &[])?;
    scene
        .netns()
        .run("truncate", &["--size=1G", &scene.path("big")?])?;
    let mut command = scene.command("/usr/bin/python3");
    command.args(["-u", "-m", "http.server", "--bind", "10.10.10.2", "8000"]);
    let mut server = Program::start(command)?;
    server.wait_output("Serving HTTP", PATIENCE)?;
    let mut command = scene.command("/usr/bin/curl");
    command.args(["--silent", "--limit-rate", "10k", "--output", "/dev/null"]);
    command.arg("http://10.10.10.2:8000/big");
    let pinned = scene.netns().pin(PORT)?;
    let curl = Program::start(command)?;
    let rows = wait_rows(scene.netns(), Transport::Tcp, "established")?;
    drop(pinned);
    let holding = Holding::found(&rows)?;
    ensure!(
        (holding.pid, holding.comm.as_str()) == (curl.pid(), "curl"),
        "not curl's"
    );
    verdict(early, node_server(&scene), &holding).context("the tracer came first")?;
    let late = Tracer::start(scene.netns(), &[])?;
    verdict(late, node_server(&scene), &holding.late()).context("curl came first")
}

/// Done and gone: only TIME_WAIT is left, which no tool has a name for.
#[test]
fn curl_that_is_gone_still_holds() -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/bin/curl", "/usr/bin/redis-server", "/usr/sbin/nginx"])?
    else {
        return Ok(());
    };
    let tracer = Tracer::start(scene.netns(), &[])?;
    let mut nginx = Program::start(nginx::start(&scene, "listen 8081; return 200 x;")?)?;
    nginx.wait_until("nginx's port", PATIENCE, |_| {
        let rows = scene.netns().sockets()?;
        Ok(rows.iter().any(|row| row.local.port() == 8081))
    })?;
    let mut command = scene.command("/usr/bin/curl");
    command.args(["--silent", "http://10.10.10.2:8081/"]);
    let pinned = scene.netns().pin(PORT)?;
    let mut curl = Program::start(command)?;
    ensure!(curl.wait_exit(PATIENCE)?.success(), "{}", curl.output());
    let rows = wait_rows(scene.netns(), Transport::Tcp, "time_wait")?;
    drop(pinned);
    let holding = Holding {
        pid: curl.pid(),
        comm: "curl".to_owned(),
        peers: rows.iter().map(|row| row.peer).collect(),
        cause: "outbound-time-wait",
        state: "time_wait",
        origin: Some("ephemeral-connect"),
        has_socket: false,
    };
    verdict(tracer, redis_server(&scene), &holding)
}

/// A question over UDP that nobody answers; dig binds to port 0 before it connects.
#[test]
fn dig_holds() -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/bin/dig", "/usr/sbin/dnsmasq"])? else {
        return Ok(());
    };
    let early = Tracer::start(scene.netns(), &[])?;
    let mut silent = Puppet::start(scene.netns(), "made-resolver")?;
    let bound = silent.try_bind("s", "udp4", &[], "10.10.10.2:5353")?;
    ensure!(bound.is_ok(), "{bound:?}");
    let mut command = scene.command("/usr/bin/dig");
    command.args([
        "@10.10.10.2",
        "-p",
        "5353",
        "+time=300",
        "+tries=1",
        "example.org",
    ]);
    let pinned = scene.netns().pin(PORT)?;
    let dig = Program::start(command)?;
    let rows = wait_rows(scene.netns(), Transport::Udp, "established")?;
    drop(pinned);
    let found = Holding::found(&rows)?;
    ensure!(found.pid == dig.pid(), "not dig's");
    let holding = Holding {
        cause: "ephemeral-bind",
        origin: Some("ephemeral-bind"),
        ..found
    };
    verdict(early, dnsmasq_server(&scene), &holding).context("the tracer came first")?;
    let late = Tracer::start(scene.netns(), &[])?;
    // Nothing in the socket tells bind(0) from an autobind.
    let holding = Holding {
        cause: "udp-socket",
        ..holding.late()
    };
    verdict(late, dnsmasq_server(&scene), &holding).context("dig came first")
}
