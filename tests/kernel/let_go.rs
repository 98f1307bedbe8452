//! The kernel lets go of a port that its process closed before: the end of TIME_WAIT and of an orphan.
//! Functions of the kernel see it; the other backend says at its start that it does not.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use portwatch_tests::contract::Release;
use portwatch_tests::event::{Body, Event};
use portwatch_tests::machine::Started;
use portwatch_tests::make::{self, Made};
use portwatch_tests::netns::NetNs;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait::PATIENCE;

use crate::play::refused;

/// TIME_WAIT lasts a minute (include/net/tcp.h, TCP_TIMEWAIT_LEN).
const A_MINUTE_AND_MORE: Duration = Duration::from_secs(90);

fn let_go(event: &Event) -> Option<&Release> {
    let Body::Release(release) = &event.body else {
        return None;
    };
    (release.ended.is_some() && release.local.port == PORT).then_some(release)
}

/// Whether this run sees functions of the kernel, whatever its backend is; if not, it has said so.
fn sees_ends(tracer: &mut Tracer) -> Result<bool> {
    let is_start = |event: &Event| matches!(event.body, Body::Start(_));
    let start = tracer.wait_for("start", PATIENCE, is_start)?;
    let started = Started::told_by(&start)?;
    let sees = started.hooks().contains(&"inet_twsk_bind_unhash");
    let told = started.blind_spots().join("\n").contains("TIME_WAIT");
    ensure!(sees != told, "{:?}", started.blind_spots());
    Ok(sees)
}

/// A holder that its process has closed, somebody who waits for its port, and what is told when the
/// kernel lets go of it.
fn ends(make: fn(&NetNs) -> Result<Made>, ended: &str, freed_by: &str) -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let options = ["--events", "conflict,release", "--incident-timeout", "1h"];
    let mut tracer = Tracer::start(&stage.netns, &options)?;
    if !sees_ends(&mut tracer)? {
        return tracer.finish()?.check(true);
    }
    let made = make(&stage.netns)?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    refused(&mut binder, "tcp4")?;
    tracer.wait_conflict(PORT)?;
    let event = tracer.wait_for("the end", A_MINUTE_AND_MORE, |event| {
        let_go(event).is_some_and(|release| release.port_free == Some(true))
    })?;
    let release = let_go(&event).context("no release")?;
    ensure!(
        release.ended.as_deref() == Some(ended)
            && release.left.is_none()
            && release.process.pid == made.holder.pid()
            && release.origin.as_deref() == Some("ephemeral-connect"),
        "{:#}",
        event.raw
    );
    let answer = binder.try_bind("again", "tcp4", &["reuseaddr"], &format!("0.0.0.0:{PORT}"))?;
    ensure!(answer.is_ok(), "{answer:?}");
    let event = tracer.wait_for("resolved", PATIENCE, |event| event.resolved().is_some())?;
    let Some(resolved) = event.resolved() else {
        bail!("{:#}", event.raw);
    };
    ensure!(
        resolved.how == "got-port"
            && resolved.freed_by.as_deref() == Some(freed_by)
            && resolved.freed_certainty.as_deref() == Some("exact"),
        "{:#}",
        event.raw
    );
    tracer.finish()?.check(true)
}

#[test]
fn time_wait_is_over() -> Result<()> {
    ends(make::time_wait_of_the_dead, "time_wait", "time-wait-over")
}

/// FIN_WAIT2 of a connection that nobody has: kept in a small socket, for `tcp_fin_timeout`.
#[test]
fn an_orphan_is_over() -> Result<()> {
    fn soon_over(netns: &NetNs) -> Result<Made> {
        netns.sysctl("net/ipv4/tcp_fin_timeout", "20")?;
        make::orphan_by_default(netns)
    }
    ends(soon_over, "socket", "connection-over")
}
