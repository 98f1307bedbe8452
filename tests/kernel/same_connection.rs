//! connect() from a bound port to where the very same connection exists already.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use portwatch_tests::contract::Conflict;
use portwatch_tests::make::wait_state;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::sockets::Transport;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::Tracer;

/// Who plays, and from where.
struct Scene {
    stage: Stage,
    holder: Puppet,
    _other: Puppet,
    server: Puppet,
    binder: Puppet,
    to: SocketAddr,
}

/// The kind of socket, the host of the server, and what the two clients bind.
struct Ends {
    kind: &'static str,
    host: &'static str,
    holder: &'static str,
    binder_kind: &'static str,
    binder: &'static str,
}

const V4: Ends = Ends {
    kind: "tcp4",
    host: "127.0.0.1",
    holder: "127.0.0.1",
    binder_kind: "tcp4",
    binder: "127.0.0.1",
};

impl Scene {
    /// The holder's connection from the port to the server, and one of another process from the
    /// same port to another server.
    fn lay(stage: Stage, ends: &Ends) -> Result<Self> {
        let start = |name| Puppet::start(&stage.netns, name);
        let (mut holder, mut other) = (start("same-holder")?, start("same-other")?);
        let (mut server, binder) = (start("same-server")?, start("same-binder")?);
        let to = server.listener("s", ends.kind, &[], &format!("{}:0", ends.host))?;
        let there = server.listener("t", ends.kind, &[], &format!("{}:0", ends.host))?;
        for (puppet, to) in [(&mut other, there), (&mut holder, to)] {
            puppet.open("c", ends.kind, &["reuseaddr"])?;
            puppet.tell(&format!("bind c {}:{PORT}", ends.holder))?;
            puppet.tell(&format!("connect c {to}"))?;
        }
        server.tell("accept s a")?;
        Ok(Self {
            stage,
            holder,
            _other: other,
            server,
            binder,
            to,
        })
    }

    /// The binder's connect() to `to` as its family writes it, which must be refused.
    fn refused(&mut self, ends: &Ends, to: &str, tracer: &mut Tracer) -> Result<Conflict> {
        let kind = ends.binder_kind;
        self.binder.open("b", kind, &["reuseaddr"])?;
        self.binder
            .tell(&format!("bind b {}:{PORT}", ends.binder))?;
        let answer = self.binder.ask(&format!("connect b {to}"))?;
        ensure!(
            answer.as_ref().is_err_and(|errno| errno == "EADDRNOTAVAIL"),
            "the kernel let it connect: {answer:?}"
        );
        let event = tracer.wait_conflict(PORT)?;
        Ok(event.conflict().context("no conflict")?.clone())
    }

    /// The holder's connection is named, and nothing else.
    fn check(&self, conflict: &Conflict, state: &str, has_socket: bool) -> Result<()> {
        let process = conflict
            .holders
            .first()
            .and_then(|holder| holder.processes.first())
            .with_context(|| format!("nobody is named: {conflict:#?}"))?;
        let peer = conflict.holders[0].peer.as_ref().map(SocketAddr::from);
        let destination = conflict.wanted.destination.as_ref().map(SocketAddr::from);
        ensure!(
            conflict.cause == "same-connection"
                && conflict.certainty == "exact"
                && conflict.call == "connect"
                && conflict.holders.len() == 1
                && conflict.holders[0].state == state
                && conflict.holders[0].blocking
                && conflict.truncated.is_none()
                && (process.pid, process.comm.as_str()) == (self.holder.pid(), self.holder.comm())
                && process.has_socket == Some(has_socket)
                && peer == Some(self.to)
                && destination == Some(self.to)
                && conflict.requester.pid == self.binder.pid(),
            "{conflict:#?}"
        );
        let said = format!(" to {}: ", self.to);
        ensure!(conflict.message.contains(&said), "{}", conflict.message);
        Ok(())
    }
}

/// The tracer comes after the connection.
fn established(ends: &Ends, to: impl Fn(SocketAddr) -> String) -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut scene = Scene::lay(stage, ends)?;
    let mut tracer = Tracer::start(&scene.stage.netns, &[])?;
    let conflict = scene.refused(ends, &to(scene.to), &mut tracer)?;
    scene.check(&conflict, "established", true)?;
    tracer.finish()?.check(true)
}

#[test]
fn its_owner_is_named() -> Result<()> {
    established(&V4, |to| to.to_string())
}

/// The kernel has forgotten the address that it had picked for the call.
#[test]
fn a_wildcard_caller_is_told_as_well() -> Result<()> {
    let ends = Ends {
        binder: "0.0.0.0",
        holder: "0.0.0.0",
        ..V4
    };
    established(&ends, |to| to.to_string())
}

#[test]
fn ipv6() -> Result<()> {
    let ends = Ends {
        kind: "tcp6",
        host: "[::1]",
        holder: "[::1]",
        binder_kind: "tcp6",
        binder: "[::1]",
    };
    established(&ends, |to| to.to_string())
}

/// An IPv6 socket with v4-mapped addresses wants the IPv4 connection of another.
#[test]
fn v4_mapped() -> Result<()> {
    let ends = Ends {
        binder_kind: "tcp6",
        binder: "[::ffff:127.0.0.1]",
        ..V4
    };
    let mapped = |to: SocketAddr| format!("[::ffff:127.0.0.1]:{}", to.port());
    established(&ends, mapped)
}

/// 0.0.0.0 is this host.
#[test]
fn no_address_is_the_own_one() -> Result<()> {
    established(&V4, |to| format!("0.0.0.0:{}", to.port()))
}

/// Without timestamps TIME_WAIT cannot be taken over (net/ipv4/tcp_ipv4.c:tcp_twsk_unique).
#[test]
fn time_wait_of_a_process_that_is_gone() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    stage.netns.sysctl("net/ipv4/tcp_timestamps", "0")?;
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let mut scene = Scene::lay(stage, &V4)?;
    scene.holder.tell("close c")?;
    ensure!(scene.server.tell_number("recv a")? == 0, "no end");
    scene.server.tell("close a")?;
    wait_state(&scene.stage.netns, Transport::Tcp, "time_wait")?;
    scene.holder.exit()?;
    let conflict = scene.refused(&V4, &scene.to.to_string(), &mut tracer)?;
    scene.check(&conflict, "time_wait", false)?;
    ensure!(
        conflict.holders[0].processes[0].alive == Some(false),
        "{conflict:#?}"
    );
    tracer.finish()?.check(true)
}
