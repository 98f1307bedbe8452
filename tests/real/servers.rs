//! Servers from Debian's packages as binders, each with the least configuration that binds.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use portwatch_tests::make;
use portwatch_tests::programs;
use portwatch_tests::tracer::Tracer;

use crate::scene::{Binder, Holding, Scene, against_made, verdict};

#[test]
fn haproxy() -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/sbin/haproxy"])? else {
        return Ok(());
    };
    scene.write(
        "haproxy.cfg",
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 5s\n  timeout server 5s\n\
         frontend web\n  bind 0.0.0.0:60001\n",
    )?;
    let mut command = scene.command("/usr/sbin/haproxy");
    command.args(["-db", "-f", "haproxy.cfg"]);
    let binder = Binder::new(command, "haproxy", "cannot bind socket");
    against_made(&scene, binder)
}

/// Go binds in a thread, on `[::]` for both families.
#[test]
fn caddy() -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/bin/caddy"])? else {
        return Ok(());
    };
    let mut command = scene.command("/usr/bin/caddy");
    command.args(["respond", "--listen", ":60001", "hello"]);
    against_made(
        &scene,
        Binder::new(command, "caddy", "address already in use"),
    )
}

pub(crate) fn redis_server(scene: &Scene) -> Binder {
    let mut command = scene.command("/usr/bin/redis-server");
    command.args(["--port", "60001", "--bind", "0.0.0.0", "--save", ""]);
    Binder::new(command, "redis-server", "Address already in use")
}

#[test]
fn redis() -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/bin/redis-server"])? else {
        return Ok(());
    };
    against_made(&scene, redis_server(&scene))
}

pub(crate) fn node_server(scene: &Scene) -> Binder {
    let mut command = scene.command("/usr/bin/node");
    command.args(["-e", "require('http').createServer().listen(60001)"]);
    Binder::new(command, "node", "EADDRINUSE")
}

#[test]
fn node() -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/bin/node"])? else {
        return Ok(());
    };
    against_made(&scene, node_server(&scene))
}

/// It takes the next port and goes on.
#[test]
fn vite_on_8080_moves_on() -> Result<()> {
    let vite = programs::node("vite");
    let vite = vite.to_str().context("a path that is not UTF-8")?;
    let Some(scene) = Scene::set(&["/usr/bin/node", vite])? else {
        return Ok(());
    };
    let mut command = scene.command(vite);
    command.args(["--host", "0.0.0.0", "--port", "8080"]);
    let binder = Binder {
        port: 8080,
        how: "other-port",
        ..Binder::new(command, "node", "Port 8080 is in use")
    };
    against_made(&scene, binder)
}

fn apache_server(scene: &Scene) -> Result<Binder> {
    scene.write(
        "apache.conf",
        "LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so\n\
         LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so\n\
         ServerName localhost\nListen 60001\nPidFile apache.pid\nErrorLog error.log\n\
         DefaultRuntimeDir .\nUser www-data\nGroup www-data\n",
    )?;
    let mut command = scene.command("/usr/sbin/apache2");
    command.args(["-d", &scene.path("")?, "-f", "apache.conf", "-DFOREGROUND"]);
    Ok(Binder::new(command, "apache2", "could not bind to address"))
}

#[test]
fn apache() -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/sbin/apache2"])? else {
        return Ok(());
    };
    against_made(&scene, apache_server(&scene)?)
}

/// Both of its addresses fail: one incident. It asks for `[::]` where the host has an IPv6 address
/// beside ::1.
#[test]
fn apache_against_a_dual_stack_listener() -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/sbin/apache2"])? else {
        return Ok(());
    };
    scene.netns().add_address("fd00::1/128")?;
    let tracer = Tracer::start(scene.netns(), &[])?;
    let made = make::dual_stack_listener(scene.netns())?;
    let holding = Holding {
        cause: "listener",
        state: "listen",
        origin: Some("explicit-bind"),
        ..Holding::made(&made)
    };
    let binder = Binder {
        attempts: 2..=2,
        ..apache_server(&scene)?
    };
    verdict(tracer, binder, &holding)
}

/// It tells its parent on descriptor 3, which is stdout here.
#[test]
fn docker_proxy() -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/sbin/docker-proxy"])? else {
        return Ok(());
    };
    let script = "exec docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 60001 \
                  -container-ip 10.10.10.2 -container-port 80 3>&1";
    let mut command = scene.command("sh");
    command.args(["-c", script]);
    against_made(
        &scene,
        Binder::new(command, "docker-proxy", "address already in use"),
    )
}

#[test]
fn systemd_socket_activate() -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/bin/systemd-socket-activate"])? else {
        return Ok(());
    };
    let mut command = scene.command("/usr/bin/systemd-socket-activate");
    command.args(["--listen=0.0.0.0:60001", "/bin/cat"]);
    // The kernel keeps 15 bytes of a name.
    against_made(
        &scene,
        Binder::new(command, "systemd-socket-", "Address already in use"),
    )
}

pub(crate) fn dnsmasq_command(scene: &Scene) -> Command {
    let mut command = scene.command("/usr/sbin/dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--port=60001",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
        "--pid-file=",
    ]);
    command
}

pub(crate) fn dnsmasq_server(scene: &Scene) -> Binder {
    Binder::new(dnsmasq_command(scene), "dnsmasq", "Address already in use")
}

/// The holder is a UDP client; TCP is free.
#[test]
fn dnsmasq_over_udp() -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/sbin/dnsmasq"])? else {
        return Ok(());
    };
    let tracer = Tracer::start(scene.netns(), &[])?;
    let made = make::udp_connected(scene.netns())?;
    let holding = Holding::made(&made);
    ensure!(holding.peers.len() == 1, "a connected socket has a peer");
    verdict(tracer, dnsmasq_server(&scene), &holding)
}
