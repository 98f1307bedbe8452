//! nginx as binder (five tries) and as holder (its upstream connection).

use std::fmt::Write;

use anyhow::{Context, Result};
use portwatch_tests::program::Program;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::sockets::Transport;
use portwatch_tests::stage::PORT;
use portwatch_tests::tracer::Tracer;

use crate::scene::{Binder, Holding, PATIENCE, Scene, against_made, verdict, wait_rows};
use crate::servers::redis_server;

const NGINX: &str = "/usr/sbin/nginx";

/// nginx in the foreground with one `server` block.
pub(crate) fn start(scene: &Scene, server: &str) -> Result<std::process::Command> {
    let mut text = "daemon off;\npid nginx.pid;\nevents {}\nhttp {\n  access_log off;\n".to_owned();
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        writeln!(text, "  {kind}_temp_path {kind};")?;
    }
    writeln!(text, "  server {{ {server} }}\n}}")?;
    scene.write("nginx.conf", &text)?;
    let mut command = scene.command(NGINX);
    command.args(["-p", &scene.path("")?, "-c", "nginx.conf", "-e", "stderr"]);
    Ok(command)
}

#[test]
fn five_tries_are_one_incident() -> Result<()> {
    let Some(scene) = Scene::set(&[NGINX])? else {
        return Ok(());
    };
    let command = start(&scene, "listen 60001;")?;
    let binder = Binder {
        attempts: 5..=5,
        ..Binder::new(command, "nginx", "Address already in use")
    };
    against_made(&scene, binder)
}

/// The worker's connection to the service behind it has the port; the worker is named, not the
/// master.
#[test]
fn the_upstream_connection_holds() -> Result<()> {
    let Some(scene) = Scene::set(&[NGINX, "/usr/bin/curl", "/usr/bin/redis-server"])? else {
        return Ok(());
    };
    let early = Tracer::start(scene.netns(), &[])?;
    let mut service = Puppet::start(scene.netns(), "made-service")?;
    service.listener("l", "tcp4", &[], "10.10.10.2:7000")?;
    let location = "listen 8081; location / { proxy_pass http://10.10.10.2:7000; }";
    let mut nginx = Program::start(start(&scene, location)?)?;
    nginx.wait_until("nginx's port", PATIENCE, |_| {
        let rows = scene.netns().sockets()?;
        Ok(rows.iter().any(|row| row.local.port() == 8081))
    })?;
    let pinned = scene.netns().pin(PORT)?;
    let mut command = scene.command("/usr/bin/curl");
    // Its own port is none of the kernel's choice.
    command.args([
        "--silent",
        "--local-port",
        "20000-20100",
        "http://10.10.10.1:8081/",
    ]);
    let _visitor = Program::start(command)?;
    let rows = wait_rows(scene.netns(), Transport::Tcp, "established")?;
    drop(pinned);
    let holding = Holding::found(&rows)?;
    anyhow::ensure!(
        holding.comm == "nginx" && holding.pid != nginx.pid(),
        "not the worker"
    );
    verdict(early, redis_server(&scene), &holding).context("the tracer came first")?;
    let late = Tracer::start(scene.netns(), &[])?;
    verdict(late, redis_server(&scene), &holding.late()).context("nginx came first")
}
