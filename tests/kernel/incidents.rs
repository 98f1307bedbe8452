//! Attempts, incidents and how they end; what exactly was wanted.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portwatch_tests::contract::{Conflict, Resolved};
use portwatch_tests::make;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{HERE, PORT, Stage};
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait::PATIENCE;

use crate::play::refused;

fn resolved(tracer: &mut Tracer) -> Result<Resolved> {
    let event = tracer.wait_for("resolved", PATIENCE, |event| event.resolved().is_some())?;
    event.resolved().cloned().context("no `resolved` after all")
}

#[test]
fn five_tries_are_one_incident() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let _made = make::established(&stage.netns)?;
    let mut binder = Puppet::start(&stage.netns, "made-nginx")?;
    for _ in 0..5 {
        refused(&mut binder, "tcp4")?;
        binder.tell("close b")?;
    }
    let pid = binder.pid();
    binder.exit()?;
    let end = resolved(&mut tracer)?;
    let trace = tracer.finish()?;
    trace.check(true)?;
    let attempts: Vec<u64> = trace.conflicts().iter().map(|told| told.attempt).collect();
    ensure!(attempts == [1, 2, 3, 4, 5], "attempts {attempts:?}");
    ensure!(trace.incidents().len() == 1, "{:?}", trace.incidents());
    ensure!(
        end.attempts == 5 && end.how == "exited" && end.requester.pid == pid,
        "{end:#?}"
    );
    ensure!(end.cause == "outbound-connection", "{end:#?}");
    Ok(())
}

#[test]
fn a_retry_that_gets_the_port_resolves_it() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let mut made = make::listener(&stage.netns)?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    refused(&mut binder, "tcp4")?;
    tracer.wait_conflict(PORT)?;
    made.holder.tell("close s")?;
    let answer = binder.ask(&format!("bind b 0.0.0.0:{PORT}"))?;
    ensure!(answer.is_ok(), "{answer:?}");
    let end = resolved(&mut tracer)?;
    tracer.finish()?.check(true)?;
    ensure!(end.how == "got-port" && end.attempts == 1, "{end:#?}");
    ensure!(end.port.is_none_or(|port| port == PORT), "{end:#?}");
    let freed = end.freed_by.as_deref();
    ensure!(freed == Some("holder-closed"), "{end:#?}");
    Ok(())
}

#[test]
fn a_binder_that_moves_on_resolves_it() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let _made = make::listener(&stage.netns)?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    refused(&mut binder, "tcp4")?;
    binder.tell(&format!("bind b 0.0.0.0:{}", PORT + 1))?;
    binder.tell("listen b 8")?;
    let end = resolved(&mut tracer)?;
    tracer.finish()?.check(true)?;
    ensure!(
        end.how == "other-port" && end.port == Some(PORT + 1),
        "{end:#?}"
    );
    Ok(())
}

#[test]
fn a_binder_that_does_not_try_again_gave_up() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &["--incident-timeout", "1s"])?;
    let _made = make::listener(&stage.netns)?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    refused(&mut binder, "tcp4")?;
    let end = resolved(&mut tracer)?;
    tracer.finish()?.check(true)?;
    ensure!(end.how == "gave-up", "{end:#?}");
    Ok(())
}

#[test]
fn two_processes_are_two_incidents() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let _made = make::listener(&stage.netns)?;
    let mut binders = Vec::new();
    for comm in ["binder-one", "binder-two"] {
        let mut binder = Puppet::start(&stage.netns, comm)?;
        refused(&mut binder, "tcp4")?;
        binders.push(binder);
    }
    let second = binders[1].pid();
    tracer.wait_for("the second conflict", PATIENCE, |event| {
        event
            .conflict()
            .is_some_and(|conflict| conflict.requester.pid == second)
    })?;
    let trace = tracer.finish()?;
    trace.check(true)?;
    ensure!(trace.incidents().len() == 2, "{:?}", trace.incidents());
    Ok(())
}

/// Both bind with SO_REUSEADDR, the first listen() wins, the second one fails.
#[test]
fn a_conflict_in_listen() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let address = format!("0.0.0.0:{PORT}");
    let mut winner = Puppet::start(&stage.netns, "winner")?;
    let mut loser = Puppet::start(&stage.netns, "loser")?;
    for puppet in [&mut winner, &mut loser] {
        let answer = puppet.try_bind("s", "tcp4", &["reuseaddr"], &address)?;
        ensure!(answer.is_ok(), "{answer:?}");
    }
    winner.tell("listen s 8")?;
    let answer = loser.ask("listen s 8")?;
    ensure!(answer == Err("EADDRINUSE".to_owned()), "{answer:?}");
    let event = tracer.wait_conflict(PORT)?;
    tracer.finish()?.check(true)?;
    let conflict = event.conflict().context("no conflict")?;
    ensure!(
        conflict.call == "listen"
            && conflict.cause == "listener"
            && conflict.requester.pid == loser.pid()
            && conflict.holders[0].processes[0].pid == winner.pid(),
        "{:#}",
        event.raw
    );
    let named: Vec<u32> = pids(conflict);
    ensure!(
        !named.contains(&loser.pid()),
        "it blames itself: {:#}",
        event.raw
    );
    Ok(())
}

fn pids(conflict: &Conflict) -> Vec<u32> {
    let processes = conflict.holders.iter().flat_map(|holder| &holder.processes);
    processes.map(|process| process.pid).collect()
}

/// bindsnoop and trace_bind print port 0: the kernel has cleared the socket by then.
#[test]
fn a_failed_bind_never_shows_port_0() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let mut holder = Puppet::start(&stage.netns, "made-holder")?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    let wanted = [
        ("tcp4", "0.0.0.0", "0.0.0.0", "ipv4"),
        ("tcp4", HERE, HERE, "ipv4"),
        ("udp4", "127.0.0.1", "127.0.0.1", "ipv4"),
        ("tcp6", "[::]", "::", "ipv6"),
        ("tcp6", "[::1]", "::1", "ipv6"),
        ("udp6", "[::1]", "::1", "ipv6"),
        ("tcp6", "[::ffff:10.10.10.1]", HERE, "ipv4"),
    ];
    for (port, (kind, address, shown, family)) in (8000..).zip(wanted) {
        let address = format!("{address}:{port}");
        for puppet in [&mut holder, &mut binder] {
            puppet.open(&format!("s{port}"), kind, &[])?;
        }
        holder.tell(&format!("bind s{port} {address}"))?;
        let answer = binder.ask(&format!("bind s{port} {address}"))?;
        ensure!(
            answer == Err("EADDRINUSE".to_owned()),
            "{address}: {answer:?}"
        );
        let event = tracer.wait_conflict(port)?;
        let conflict = event.conflict().context("no conflict")?;
        let shown: IpAddr = shown.parse()?;
        ensure!(
            conflict.wanted.address == Some(shown)
                && conflict.wanted.family == family
                && conflict.wanted.transport == kind[..3]
                && conflict.wanted.netns == stage.netns.inode(),
            "{address}: {:#}",
            event.raw
        );
        ensure!(
            pids(conflict) == [holder.pid()],
            "{address}: {:#}",
            event.raw
        );
    }
    tracer.finish()?.check(true)
}

/// The range and its `reserved` bit are those of the namespace at the failure.
#[test]
fn the_range_of_the_namespace_is_told() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let _made = make::listener(&stage.netns)?;
    stage.netns.set_range((50000, 60500))?;
    let reserved = "net/ipv4/ip_local_reserved_ports";
    stage.netns.sysctl(reserved, &PORT.to_string())?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    refused(&mut binder, "tcp4")?;
    let event = tracer.wait_conflict(PORT)?;
    let range = &event.conflict().context("no conflict")?.range;
    ensure!(
        (range.low, range.high, range.contains_port, range.reserved)
            == (50000, 60500, true, Some(true)),
        "{:#}",
        event.raw
    );
    tracer.finish()?.check(true)
}

/// A failure told at once: nobody waits for a timer or for the end of the run.
#[test]
fn a_conflict_is_told_within_a_second() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let _made = make::established(&stage.netns)?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    refused(&mut binder, "tcp4")?;
    tracer.wait_for("conflict", Duration::from_secs(1), |event| {
        event.conflict().is_some()
    })?;
    tracer.finish()?.check(true)
}
