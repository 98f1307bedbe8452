//! Servers that want IPv4 and IPv6 and go on with one of them.

use std::net::IpAddr;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use portwatch_tests::program::Program;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait::PATIENCE;

use crate::postgres;
use crate::scene::{self, Scene};

/// A server, the port it wants, where somebody else listens, where it serves then.
struct Half {
    command: Command,
    comm: &'static str,
    port: u16,
    taken: (&'static str, &'static str),
    serves: &'static str,
}

fn goes_on(scene: &Scene, half: Half) -> Result<()> {
    let mut tracer = Tracer::start(scene.netns(), &["--incident-timeout", "3s"])?;
    let mut holder = Puppet::start(scene.netns(), "made-half")?;
    let (kind, host) = half.taken;
    let options: &[&str] = if kind == "tcp6" { &["v6only"] } else { &[] };
    holder.listener("l", kind, options, &format!("{host}:{}", half.port))?;
    let mut server = Program::start(half.command)?;
    let event = tracer.wait_conflict(half.port)?;
    let conflict = event.conflict().context("no conflict")?;
    let named = conflict.holders.first().map(|h| h.processes[0].pid);
    ensure!(
        conflict.cause == "listener"
            && conflict.requester.comm == half.comm
            && named == Some(holder.pid()),
        "{conflict:#?}\n{}",
        server.output()
    );
    let event = tracer.wait_for("resolved", scene::PATIENCE.max(PATIENCE), |event| {
        event.resolved().is_some()
    })?;
    let end = event.resolved().context("no end")?;
    let serves: IpAddr = half.serves.parse()?;
    ensure!(
        end.how == "gave-up" && end.serves.iter().any(|end| end.address == serves),
        "{end:#?}\n{}",
        server.output()
    );
    ensure!(end.message.contains("it serves on"), "{}", end.message);
    ensure!(server.try_exit()?.is_none(), "it ended");
    server.kill();
    tracer.finish()?.check(true)
}

#[test]
fn memcached_serves_ipv6_only() -> Result<()> {
    memcached(("tcp4", "0.0.0.0"), "::")
}

#[test]
fn memcached_serves_ipv4_only() -> Result<()> {
    memcached(("tcp6", "[::]"), "0.0.0.0")
}

fn memcached(taken: (&'static str, &'static str), serves: &'static str) -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/bin/memcached"])? else {
        return Ok(());
    };
    let mut command = scene.command("/usr/bin/memcached");
    command.args(["-u", "root", "-p", "11211", "-U", "0"]);
    let half = Half {
        command,
        comm: "memcached",
        port: 11211,
        taken,
        serves,
    };
    goes_on(&scene, half)
}

#[test]
fn sshd_serves_ipv6_only() -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/sbin/sshd", "/usr/bin/ssh-keygen"])? else {
        return Ok(());
    };
    let key = scene.path("key")?;
    scene
        .netns()
        .run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &key])?;
    // Its own directory for what runs without privileges.
    scene.netns().run("mkdir", &["-p", "/run/sshd"])?;
    scene.write("sshd_config", "UsePAM no\n")?;
    let mut command = scene.command("/usr/sbin/sshd");
    command.args(["-D", "-e", "-p", "2222", "-h", &key, "-f"]);
    command.arg(scene.path("sshd_config")?);
    let half = Half {
        command,
        comm: "sshd",
        port: 2222,
        taken: ("tcp4", "0.0.0.0"),
        serves: "::",
    };
    goes_on(&scene, half)
}

#[test]
fn postgresql_serves_one_address_only() -> Result<()> {
    let Some(scene) = Scene::set(&[postgres::POSTGRES, postgres::INITDB])? else {
        return Ok(());
    };
    let mut command = postgres::server(&scene, "5432")?;
    command.args(["-c", "listen_addresses=127.0.0.1,::1"]);
    let half = Half {
        command,
        comm: "postgres",
        port: 5432,
        taken: ("tcp4", "127.0.0.1"),
        serves: "::1",
    };
    goes_on(&scene, half)
}
