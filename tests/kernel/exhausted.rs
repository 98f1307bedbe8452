//! Calls that want any port of a range in which none is free.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use portwatch_tests::contract::{Conflict, Tally};
use portwatch_tests::event::Body;
use portwatch_tests::machine::kernel_before;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::sockets::Row;
use portwatch_tests::stage::{HERE, Stage};
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait::{self, PATIENCE};

const LOW: u16 = 42000;
const HIGH: u16 = 42003;

/// A server with two listeners, a process that holds ports, and one that finds none.
pub(crate) struct Scene {
    pub(crate) tracer: Tracer,
    pub(crate) server: Puppet,
    pub(crate) holder: Puppet,
    pub(crate) client: Puppet,
    pub(crate) to: SocketAddr,
    pub(crate) elsewhere: SocketAddr,
    pub(crate) stage: Stage,
}

impl Scene {
    pub(crate) fn lay() -> Result<Option<Self>> {
        let Some(stage) = Stage::set()? else {
            return Ok(None);
        };
        let tracer = Tracer::start(&stage.netns, &[])?;
        let mut server = Puppet::start(&stage.netns, "full-server")?;
        let to = server.listener("l", "tcp4", &[], "127.0.0.1:8001")?;
        let elsewhere = server.listener("m", "tcp4", &[], "127.0.0.1:8002")?;
        stage.netns.set_range((LOW, HIGH))?;
        Ok(Some(Self {
            tracer,
            server,
            holder: Puppet::start(&stage.netns, "full-holder")?,
            client: Puppet::start(&stage.netns, "full-client")?,
            to,
            elsewhere,
            stage,
        }))
    }

    /// The holder connects so many times.
    pub(crate) fn connect(&mut self, to: SocketAddr, times: u16) -> Result<()> {
        for number in 0..times {
            let socket = format!("c{}-{number}", to.port());
            self.holder.open(&socket, "tcp4", &[])?;
            self.holder.tell(&format!("connect {socket} {to}"))?;
        }
        Ok(())
    }

    /// The client's call, which must be refused so, and what is told of it.
    pub(crate) fn refused(&mut self, kind: &str, call: &str, errno: &str) -> Result<Conflict> {
        self.client.open("x", kind, &[])?;
        let answer = self.client.ask(call)?;
        ensure!(answer == Err(errno.to_owned()), "{call}: {answer:?}");
        let event = self
            .tracer
            .wait_for("conflict", PATIENCE, |event| event.conflict().is_some())?;
        let conflict = event.conflict().context("no conflict")?.clone();
        ensure!(
            conflict.cause == "range-exhausted"
                && conflict.error == errno
                && conflict.wanted.port.is_none()
                && conflict.requester.pid == self.client.pid()
                && conflict.holders.is_empty()
                && conflict.truncated.is_none()
                && (conflict.range.low, conflict.range.high) == (LOW, HIGH),
            "{conflict:#?}"
        );
        Ok(conflict)
    }

    pub(crate) fn is_of(&self, line: &Tally, who: &Puppet, count: u64, state: &str) -> bool {
        let process = line.process.as_ref();
        process
            .is_some_and(|process| (process.pid, process.comm.as_str()) == (who.pid(), who.comm()))
            && (line.count, line.state.as_str()) == (count, state)
    }
}

pub(crate) fn tally(conflict: &Conflict) -> Result<&[Tally]> {
    conflict.tally.as_deref().context("no tally")
}

fn peer(line: &Tally) -> Option<SocketAddr> {
    line.peer.as_ref().map(SocketAddr::from)
}

/// How sure, for what, and how many ports.
pub(crate) fn full(conflict: &Conflict, what_for: &str, ports: u32) -> Result<()> {
    let counted = conflict.counted.as_ref().context("not counted")?;
    ensure!(
        conflict.certainty == "exact"
            && conflict.exhausted_for.as_deref() == Some(what_for)
            && (counted.ports, counted.available) == (ports, Some(ports))
            && counted.missed == 0,
        "{conflict:#?}"
    );
    Ok(())
}

#[test]
fn connections_to_one_destination_fill_the_range_for_it() -> Result<()> {
    let Some(mut scene) = Scene::lay()? else {
        return Ok(());
    };
    // A young TIME_WAIT could be taken over on the loopback.
    scene.stage.netns.sysctl("net/ipv4/tcp_tw_reuse", "0")?;
    scene.connect(scene.to, 3)?;
    // The fourth port is in TIME_WAIT, of a process that is gone.
    let mut gone = Puppet::start(&scene.stage.netns, "full-gone")?;
    gone.open("c", "tcp4", &[])?;
    let local = gone.tell_address(&format!("connect c {}", scene.to))?;
    for number in 0..4 {
        let from = scene.server.tell_address(&format!("accept l a{number}"))?;
        if from == local {
            gone.tell("close c")?;
            ensure!(scene.server.tell_number(&format!("recv a{number}"))? == 0);
            scene.server.tell(&format!("close a{number}"))?;
        }
    }
    wait::until("TIME_WAIT", PATIENCE, || {
        let rows = scene.stage.netns.sockets()?;
        let there = |row: &Row| row.local == local && row.state == "time_wait";
        Ok(rows.iter().any(there).then_some(()))
    })?;
    gone.exit()?;
    // Connections to elsewhere share the ports and are not in the way.
    scene.connect(scene.elsewhere, 2)?;
    let call = format!("connect x {}", scene.to);
    let conflict = scene.refused("tcp4", &call, "EADDRNOTAVAIL")?;
    full(&conflict, "destination", 4)?;
    let [first, second] = tally(&conflict)? else {
        bail!("{conflict:#?}");
    };
    ensure!(
        scene.is_of(first, &scene.holder, 3, "established")
            && scene.is_of(second, &gone, 1, "time_wait")
            && peer(first) == Some(scene.to)
            && peer(second) == Some(scene.to)
            && second.process.as_ref().and_then(|p| p.alive) == Some(false),
        "{conflict:#?}"
    );
    let destination = conflict.wanted.destination.as_ref().map(SocketAddr::from);
    ensure!(destination == Some(scene.to), "{conflict:#?}");
    ensure!(
        conflict.message.contains("3 by full-holder"),
        "{}",
        conflict.message
    );
    // Elsewhere there are ports for it, and that is nobody's conflict.
    scene
        .client
        .tell(&format!("connect x {}", scene.elsewhere))?;
    let trace = scene.tracer.finish()?;
    trace.check(true)?;
    ensure!(trace.conflicts().len() == 1, "{:#?}", trace.conflicts());
    Ok(())
}

#[test]
fn connections_leave_no_port_to_bind() -> Result<()> {
    let Some(mut scene) = Scene::lay()? else {
        return Ok(());
    };
    scene.connect(scene.to, 3)?;
    scene.connect(scene.elsewhere, 4)?;
    let conflict = scene.refused("tcp4", &format!("bind x {HERE}:0"), "EADDRINUSE");
    // 10.10.10.1 has every port: connections from 127.0.0.1 do not overlap.
    ensure!(conflict.is_err(), "{conflict:#?}");
    scene.client.tell("close x")?;
    let conflict = scene.refused("tcp4", "bind x 0.0.0.0:0", "EADDRINUSE")?;
    full(&conflict, "binds", 4)?;
    let lines = tally(&conflict)?;
    let of_holder = lines
        .iter()
        .all(|line| scene.is_of(line, &scene.holder, line.count, "established"));
    let to = |end| {
        let there = lines.iter().filter(|line| peer(line) == Some(end));
        there.map(|line| line.count).sum::<u64>()
    };
    ensure!(
        of_holder && to(scene.elsewhere) == 4 && to(scene.to) == 3,
        "{conflict:#?}"
    );
    // The bind() that succeeded above has come and gone. Up to 6.17 its port stays unusable for other
    // connections as long as the one there lives (docs/kernel-support.md).
    let stale = lines.iter().filter(|line| line.stale_bucket);
    let stale: u64 = stale.map(|line| line.count).sum();
    let expected = if kernel_before((6, 18))? {
        1..=2
    } else {
        0..=0
    };
    ensure!(expected.contains(&stale), "{conflict:#?}");
    scene.tracer.finish()?.check(true)
}

/// connect() in the same call as the first send, which is no call of connect(2).
#[test]
fn a_fast_open_finds_no_port() -> Result<()> {
    for (kind, address) in [("tcp4", "127.0.0.1"), ("tcp6", "[::ffff:127.0.0.1]")] {
        let Some(mut scene) = Scene::lay()? else {
            return Ok(());
        };
        scene.connect(scene.to, 4)?;
        let call = format!("fastopen x {address}:{}", scene.to.port());
        let conflict = scene.refused(kind, &call, "EADDRNOTAVAIL")?;
        ensure!(
            conflict.call == "connect" && conflict.exhausted_for.as_deref() == Some("destination"),
            "{conflict:#?}"
        );
        scene.tracer.finish()?;
    }
    Ok(())
}

#[test]
fn listen_without_bind_finds_no_port() -> Result<()> {
    let Some(mut scene) = Scene::lay()? else {
        return Ok(());
    };
    scene.connect(scene.to, 4)?;
    let conflict = scene.refused("tcp4", "listen x 8", "EADDRINUSE")?;
    full(&conflict, "binds", 4)?;
    let line = &tally(&conflict)?[0];
    ensure!(
        conflict.call == "listen" && scene.is_of(line, &scene.holder, 4, "established"),
        "{conflict:#?}"
    );
    scene.tracer.finish()?.check(true)
}

/// Ports of bind() to port 0 are shared with nobody, wherever a connection goes.
#[test]
fn bound_ports_leave_none_for_any_destination() -> Result<()> {
    let Some(mut scene) = Scene::lay()? else {
        return Ok(());
    };
    for number in 0..4 {
        let bound = scene
            .holder
            .try_bind(&format!("b{number}"), "tcp4", &[], "0.0.0.0:0")?;
        ensure!(bound.is_ok(), "{bound:?}");
    }
    let call = format!("connect x {}", scene.to);
    let conflict = scene.refused("tcp4", &call, "EADDRNOTAVAIL")?;
    full(&conflict, "binds", 4)?;
    let line = &tally(&conflict)?[0];
    ensure!(
        scene.is_of(line, &scene.holder, 4, "bound")
            && line.peer.is_none()
            && line.origin.as_deref() == Some("ephemeral-bind"),
        "{conflict:#?}"
    );
    scene.tracer.finish()?.check(true)
}

/// A child has the sockets, whoever opened them is gone.
#[test]
fn udp_finds_no_port_to_send_from() -> Result<()> {
    for (call, name) in [("sendto", "autobind"), ("connect", "connect")] {
        let Some(mut scene) = Scene::lay()? else {
            return Ok(());
        };
        for number in 0..4 {
            let socket = format!("u{number}");
            scene.holder.open(&socket, "udp4", &[])?;
            scene
                .holder
                .tell(&format!("connect {socket} {}", scene.to))?;
        }
        let call = format!("{call} x {}", scene.elsewhere);
        let conflict = scene.refused("udp4", &call, "EAGAIN")?;
        full(&conflict, "binds", 4)?;
        let line = &tally(&conflict)?[0];
        ensure!(
            conflict.call == name
                && scene.is_of(line, &scene.holder, 4, "established")
                && peer(line) == Some(scene.to),
            "{conflict:#?}"
        );
        scene.tracer.finish()?.check(true)?;
    }
    Ok(())
}

/// As a flood of them shows: each is told, the range is not looked at for every one.
#[test]
fn a_storm_shares_its_counts() -> Result<()> {
    const CALLS: usize = 200;
    let Some(mut scene) = Scene::lay()? else {
        return Ok(());
    };
    scene.connect(scene.to, 4)?;
    let call = format!("connect x {}", scene.to);
    scene.client.open("x", "tcp4", &[])?;
    for _ in 0..CALLS {
        let answer = scene.client.ask(&call)?;
        ensure!(answer == Err("EADDRNOTAVAIL".to_owned()), "{answer:?}");
    }
    let holder = scene.holder.pid();
    let trace = scene.tracer.finish()?;
    trace.check(true)?;
    let conflicts = trace.conflicts();
    ensure!(conflicts.len() == CALLS, "{} were told", conflicts.len());
    let mut times: Vec<&str> = Vec::new();
    for conflict in &conflicts {
        let named = tally(conflict)?
            .first()
            .and_then(|line| line.process.as_ref());
        ensure!(
            conflict.cause == "range-exhausted" && named.is_some_and(|who| who.pid == holder),
            "{conflict:#?}"
        );
        times.extend(
            conflict
                .counted
                .as_ref()
                .map(|counted| counted.time.as_str()),
        );
    }
    times.dedup();
    ensure!(
        times.len() < CALLS / 2,
        "{} counts for {CALLS} failures",
        times.len()
    );
    Ok(())
}

/// The advised command gives the call its port, in the namespace and nowhere else.
#[test]
fn a_wider_range_helps() -> Result<()> {
    let Some(mut scene) = Scene::lay()? else {
        return Ok(());
    };
    let host = "/proc/sys/net/ipv4/ip_local_port_range";
    let before = fs::read_to_string(host)?;
    scene.connect(scene.to, 4)?;
    let call = format!("connect x {}", scene.to);
    let conflict = scene.refused("tcp4", &call, "EADDRNOTAVAIL")?;
    let command = conflict
        .advice
        .iter()
        .filter(|advice| advice.id == "widen-range")
        .find_map(|advice| advice.command.as_deref())
        .with_context(|| format!("no command: {:#?}", conflict.advice))?;
    // Without it the command would act on the host: it is not even tried.
    ensure!(command.starts_with("nsenter"), "not there: {command}");
    let output = Command::new("sh").args(["-c", command]).output()?;
    ensure!(output.status.success(), "{command}: {output:?}");
    ensure!(fs::read_to_string(host)? == before, "it changed the host");
    scene.client.tell(&call)?;
    let resolved = scene.tracer.wait_for("resolved", PATIENCE, |event| {
        matches!(&event.body, Body::Resolved(_))
    })?;
    let Body::Resolved(end) = &resolved.body else {
        bail!("no end after all");
    };
    ensure!(
        end.how == "got-port" && end.incident == conflict.incident && end.attempts == 1,
        "{end:#?}"
    );
    scene.tracer.finish()?.check(true)
}
