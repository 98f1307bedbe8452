//! What must stay silent, and neighbours that must not be blamed.
//!
//! Silence is proven by a fence: a conflict over another port after it. What the tracer had to say
//! before, it has said by then.

use anyhow::{Context, Result, ensure};
use portwatch_tests::netns::NetNs;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{HERE, PORT, Stage, THERE};
use portwatch_tests::trace::Trace;
use portwatch_tests::tracer::Tracer;

const FENCE: u16 = 7999;

/// Makes the fence's conflict and ends the tracer.
fn fence(stage: &Stage, mut tracer: Tracer) -> Result<Trace> {
    let mut puppet = Puppet::start(&stage.netns, "fence")?;
    let address = format!("0.0.0.0:{FENCE}");
    puppet.listener("l", "tcp4", &[], &address)?;
    let answer = puppet.try_bind("b", "tcp4", &[], &address)?;
    ensure!(answer.is_err(), "the fence does not stand");
    tracer.wait_conflict(FENCE)?;
    let trace = tracer.finish()?;
    trace.check(true)?;
    Ok(trace)
}

/// The holder binds (and listens, where told), the binder binds, both succeed, and nothing is said.
fn silent(
    holder: (&str, &[&str], &str),
    listen: bool,
    binder: (&str, &[&str], &str),
) -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &[])?;
    let mut first = Puppet::start(&stage.netns, "made-holder")?;
    let (kind, options, address) = holder;
    bound(&mut first, kind, options, address)?;
    if listen {
        first.tell("listen s 8")?;
    }
    let mut second = Puppet::start(&stage.netns, "made-binder")?;
    let (kind, options, address) = binder;
    bound(&mut second, kind, options, address)?;
    only_the_fence(&fence(&stage, tracer)?)
}

fn bound(puppet: &mut Puppet, kind: &str, options: &[&str], address: &str) -> Result<()> {
    let answer = puppet.try_bind("s", kind, options, address)?;
    ensure!(answer.is_ok(), "{address} was refused: {answer:?}");
    Ok(())
}

fn only_the_fence(trace: &Trace) -> Result<()> {
    let conflicts = trace.conflicts();
    ensure!(conflicts.len() == 1, "not silent: {conflicts:#?}");
    Ok(())
}

fn everywhere() -> String {
    format!("0.0.0.0:{PORT}")
}

#[test]
fn a_bind_that_succeeds() -> Result<()> {
    silent(
        ("tcp4", &[], "0.0.0.0:7001"),
        true,
        ("tcp4", &[], &everywhere()),
    )
}

#[test]
fn another_specific_address() -> Result<()> {
    let (holder, binder) = (format!("{HERE}:{PORT}"), format!("{THERE}:{PORT}"));
    silent(("tcp4", &[], &holder), true, ("tcp4", &[], &binder))
}

#[test]
fn tcp_against_udp() -> Result<()> {
    silent(
        ("udp4", &[], &everywhere()),
        false,
        ("tcp4", &[], &everywhere()),
    )
}

#[test]
fn v6only_against_v4() -> Result<()> {
    let holder = format!("[::]:{PORT}");
    silent(
        ("tcp6", &["v6only"], &holder),
        true,
        ("tcp4", &[], &everywhere()),
    )
}

#[test]
fn both_reuseaddr_without_a_listener() -> Result<()> {
    let both: (&str, &[&str], &str) = ("tcp4", &["reuseaddr"], &everywhere());
    silent(both, false, both)
}

/// Both ends of the rule carry SO_REUSEADDR and the holder does not listen.
#[test]
fn reuseaddr_on_both_sides_of_a_connection() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &[])?;
    let mut server = Puppet::start(&stage.netns, "made-server")?;
    server.listener("l", "tcp4", &[], &format!("{THERE}:7000"))?;
    let mut client = Puppet::start(&stage.netns, "made-client")?;
    client.open("c", "tcp4", &["reuseaddr"])?;
    let pinned = stage.netns.pin(PORT)?;
    client.tell(&format!("connect c {THERE}:7000"))?;
    drop(pinned);
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    bound(&mut binder, "tcp4", &["reuseaddr"], &everywhere())?;
    only_the_fence(&fence(&stage, tracer)?)
}

#[test]
fn both_reuseport_of_one_user() -> Result<()> {
    let both: (&str, &[&str], &str) = ("tcp4", &["reuseport"], &everywhere());
    silent(both, true, both)
}

#[test]
fn another_network_namespace() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let other = NetNs::new()?;
    let tracer = Tracer::start(&stage.netns, &[])?;
    let mut there = Puppet::start(&other, "made-holder")?;
    there.listener("l", "tcp4", &[], &everywhere())?;
    let mut here = Puppet::start(&stage.netns, "made-binder")?;
    bound(&mut here, "tcp4", &[], &everywhere())?;
    // A conflict over there is none of this namespace's business.
    let answer = there.try_bind("s", "tcp4", &[], &everywhere())?;
    ensure!(answer.is_err(), "two listeners on one port");
    only_the_fence(&fence(&stage, tracer)?)
}

#[test]
fn a_bind_refused_for_another_reason() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &[])?;
    let mut puppet = Puppet::start(&stage.netns, "made-binder")?;
    let answer = puppet.try_bind("s", "tcp4", &[], &format!("192.0.2.1:{PORT}"))?;
    ensure!(answer == Err("EADDRNOTAVAIL".to_owned()), "{answer:?}");
    puppet.open("c", "tcp4", &[])?;
    let answer = puppet.ask(&format!("connect c {THERE}:7000"))?;
    ensure!(answer == Err("ECONNREFUSED".to_owned()), "{answer:?}");
    only_the_fence(&fence(&stage, tracer)?)
}

#[test]
fn a_refused_bind_is_told_when_asked_for() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &["--events", "conflict,refused"])?;
    let mut puppet = Puppet::start(&stage.netns, "made-binder")?;
    let answer = puppet.try_bind("s", "tcp4", &[], &format!("192.0.2.1:{PORT}"))?;
    ensure!(answer == Err("EADDRNOTAVAIL".to_owned()), "{answer:?}");
    let trace = fence(&stage, tracer)?;
    only_the_fence(&trace)?;
    let refused = trace.refused();
    let refused = refused.first().context("nothing was told")?;
    ensure!(
        refused.error == "EADDRNOTAVAIL"
            && refused.wanted.port == Some(PORT)
            && refused.requester.pid == puppet.pid(),
        "{refused:#?}"
    );
    Ok(())
}

/// Two sockets have the port, one of them blocks.
fn with_neighbour(options: &[&str]) -> Result<Option<(Trace, u32, u32)>> {
    let Some(stage) = Stage::set()? else {
        return Ok(None);
    };
    let mut tracer = Tracer::start(&stage.netns, options)?;
    // The neighbour is the first on the port and a listener: the bait.
    let mut neighbour = Puppet::start(&stage.netns, "neighbour")?;
    neighbour.listener("l", "tcp4", &[], &format!("{THERE}:{PORT}"))?;
    let mut culprit = Puppet::start(&stage.netns, "culprit")?;
    bound(&mut culprit, "tcp4", &[], &format!("{HERE}:{PORT}"))?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    let answer = binder.try_bind("s", "tcp4", &[], &format!("{HERE}:{PORT}"))?;
    ensure!(answer.is_err(), "the culprit does not block");
    tracer.wait_conflict(PORT)?;
    let trace = tracer.finish()?;
    trace.check(true)?;
    Ok(Some((trace, culprit.pid(), neighbour.pid())))
}

#[test]
fn a_neighbour_that_does_not_block_is_not_named() -> Result<()> {
    let Some((trace, culprit, _)) = with_neighbour(&[])? else {
        return Ok(());
    };
    let conflicts = trace.conflicts();
    let conflict = conflicts.first().context("no conflict")?;
    ensure!(
        conflict.cause == "bound-not-listening"
            && conflict.holders.len() == 1
            && conflict.holders_total == 2
            && conflict.holders[0].processes[0].pid == culprit,
        "{conflict:#?}"
    );
    Ok(())
}

#[test]
fn neighbours_are_listed_when_asked_for() -> Result<()> {
    let Some((trace, culprit, neighbour)) = with_neighbour(&["--neighbours"])? else {
        return Ok(());
    };
    let conflicts = trace.conflicts();
    let conflict = conflicts.first().context("no conflict")?;
    let told: Vec<(bool, u32)> = conflict
        .holders
        .iter()
        .map(|holder| (holder.blocking, holder.processes[0].pid))
        .collect();
    ensure!(
        told == [(true, culprit), (false, neighbour)],
        "{conflict:#?}"
    );
    Ok(())
}

/// The programs on the cgroup could deny: with every event asked for they allow every path.
#[test]
fn nothing_is_denied() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &["--events", "all"])?;
    let mut puppet = Puppet::start(&stage.netns, "everything")?;
    for (kind, host) in [("4", "127.0.0.1"), ("6", "[::1]")] {
        let tcp = format!("tcp{kind}");
        let server = puppet.listener(&format!("l{kind}"), &tcp, &[], &format!("{host}:0"))?;
        puppet.open("c", &tcp, &[])?;
        puppet.tell(&format!("connect c {server}"))?;
        puppet.tell(&format!("accept l{kind} a"))?;
        puppet.tell("send c")?;
        puppet.tell("recv a")?;
        puppet.open("free", &tcp, &[])?;
        puppet.tell("listen free 8")?;
        let udp = format!("udp{kind}");
        puppet.open("u", &udp, &[])?;
        puppet.tell(&format!("bind u {host}:0"))?;
        let receiver = puppet.tell_address("local u")?;
        puppet.open("v", &udp, &[])?;
        puppet.tell(&format!("sendto v {receiver}"))?;
        puppet.tell("recv u")?;
        puppet.open("w", &udp, &[])?;
        puppet.tell(&format!("connect w {receiver}"))?;
        puppet.tell("send w")?;
        puppet.tell("recv u")?;
        for socket in ["c", "a", "free", "u", "v", "w"] {
            puppet.tell(&format!("close {socket}"))?;
        }
    }
    let trace = fence(&stage, tracer)?;
    only_the_fence(&trace)
}
