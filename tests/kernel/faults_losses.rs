//! Rings that are far too small: what does not fit is counted where it happens, told in the stream
//! and in the summary, and nothing vanishes between the counters.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use portwatch_common::{Counter, HookId};
use portwatch_tests::bpf::{Counters, Objects};
use portwatch_tests::event::Body;
use portwatch_tests::make;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::trace::Trace;
use portwatch_tests::tracer::{Bare, Tracer};
use portwatch_tests::wait::{self, PATIENCE};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value};

use crate::play::refused;

/// A page: room for a few records.
const TINY: [&str; 2] = ["--ring-size", "4096"];

/// The exit of a system call leads to its socket by the descriptor; a function of the kernel has it.
const BY_DESCRIPTOR: [&str; 2] = ["--backend", "tracepoint"];

/// What a kind of record came to: how often it was due, and the counters of what became of it.
const LEDGERS: [(&str, u32, &[u32]); 6] = [
    (
        "failures",
        Counter::FAILURES_TRIGGERED,
        &[
            Counter::FAILURES_EMITTED,
            Counter::FAILURES_DROPPED,
            Counter::FAILURES_FILTERED,
        ],
    ),
    (
        "holders",
        Counter::HOLDERS_TRIGGERED,
        &[Counter::HOLDERS_EMITTED, Counter::HOLDERS_DROPPED],
    ),
    (
        "refused",
        Counter::REFUSED_TRIGGERED,
        &[
            Counter::REFUSED_EMITTED,
            Counter::REFUSED_DROPPED,
            Counter::REFUSED_FILTERED,
        ],
    ),
    (
        "assign",
        Counter::ASSIGN_TRIGGERED,
        &[
            Counter::ASSIGN_EMITTED,
            Counter::ASSIGN_DROPPED,
            Counter::ASSIGN_FILTERED,
        ],
    ),
    (
        "release",
        Counter::RELEASE_TRIGGERED,
        &[
            Counter::RELEASE_EMITTED,
            Counter::RELEASE_DROPPED,
            Counter::RELEASE_FILTERED,
        ],
    ),
    (
        "watched",
        Counter::WATCHED_TRIGGERED,
        &[Counter::WATCHED_EMITTED, Counter::WATCHED_DROPPED],
    ),
];

/// A kind that was not due at all, or whose parts at some hook are not the whole; `None` if all is
/// well.
fn imbalance(counters: &Counters) -> Result<Option<String>> {
    for (name, due, parts) in LEDGERS {
        if counters.get(due)? == 0 {
            return Ok(Some(format!("{name}: none were due")));
        }
        for hook in 0..HookId::COUNT {
            let due = counters.at(hook, due)?;
            let parts = parts
                .iter()
                .map(|part| counters.at(hook, *part))
                .collect::<Result<Vec<_>>>()?;
            if due != parts.iter().sum::<u64>() {
                return Ok(Some(format!("{name} at {hook}: {due} are not {parts:?}")));
            }
        }
    }
    Ok(None)
}

/// Every kind of record, more than fits.
fn load(stage: &Stage) -> Result<()> {
    let mut holder = Puppet::start(&stage.netns, "made-holder")?;
    holder.listener("l", "tcp4", &[], &format!("0.0.0.0:{PORT}"))?;
    let mut puppet = Puppet::start(&stage.netns, "made-load")?;
    for _ in 0..100 {
        refused(&mut puppet, "tcp4")?;
        puppet.tell("close b")?;
        puppet.open("f", "udp4", &[])?;
        let foreign = puppet.ask("bind f 192.0.2.1:7000")?;
        ensure!(foreign.is_err(), "a foreign address was bound");
        puppet.tell("bind f 127.0.0.1:0")?;
        puppet.tell("close f")?;
    }
    Ok(())
}

/// With a consumer that stands still and with nothing asked for, what was due is what was written,
/// dropped and left out: to the last one.
#[test]
fn nothing_vanishes_between_the_counters() -> Result<()> {
    for options in [&["--events", "all"][..], &[]] {
        let Some(stage) = Stage::set()? else {
            return Ok(());
        };
        let options: Vec<&str> = TINY.iter().chain(options).copied().collect();
        let mut tracer = Bare::start(&stage.netns, &options, Stdio::null())?;
        let counters = Objects::of(tracer.child.id())?.counters()?;
        kill_process(Pid::from_child(&tracer.child), Signal::STOP)?;
        load(&stage)?;
        // With it end its programs: the counters stay in our hands, and stand still.
        tracer.end(Some(Signal::KILL))?;
        wait::until("balanced counters", PATIENCE, || {
            Ok(imbalance(&counters)?.is_none().then_some(()))
        })
        .with_context(|| format!("{options:?}: {:?}", imbalance(&counters)))?;
        ensure!(
            counters.get(Counter::FAILURES_DROPPED)? > 0,
            "the ring held everything"
        );
    }
    Ok(())
}

/// The line that every run ends with.
pub(crate) fn summary(trace: &Trace) -> Result<&Map<String, Value>> {
    match trace.events.last().map(|event| &event.body) {
        Some(Body::Summary(summary)) => Ok(summary),
        last => anyhow::bail!("no summary: {last:#?}"),
    }
}

/// What a `lost` line or the summary tells of a place.
pub(crate) fn lost_of(list: Option<&Value>, place: &str) -> u64 {
    let counts = list.and_then(Value::as_array).into_iter().flatten();
    counts
        .filter(|count| count.get("place").and_then(Value::as_str) == Some(place))
        .filter_map(|count| count.get("count")?.as_u64())
        .sum()
}

/// So many failures while nobody empties the rings.
fn fail_unheard(stage: &Stage, tracer: Tracer, failures: u64) -> Result<Trace> {
    tracer.signal(Signal::STOP)?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    for _ in 0..failures {
        refused(&mut binder, "tcp4")?;
        binder.tell("close b")?;
    }
    tracer.signal(Signal::CONT)?;
    tracer.finish()
}

/// Failures told and failures lost are the failures made, in the stream as in the summary.
#[test]
fn failures_that_found_no_room_are_told_as_lost() -> Result<()> {
    const MADE: u64 = 200;
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let made = make::listener(&stage.netns)?;
    let tracer = Tracer::start(&stage.netns, &TINY)?;
    let counters = Objects::of(tracer.pid())?.counters()?;
    let trace = fail_unheard(&stage, tracer, MADE)?;
    drop(made);
    ensure!(trace.status.success(), "{}", trace.status);
    let told = trace.conflicts().len() as u64;
    let mut lost = 0;
    for event in &trace.events {
        if let Body::Lost(body) = &event.body {
            lost += lost_of(body.get("since_last"), "failures");
        }
    }
    // Other namespaces have failures too, which are lost but never told here.
    let due = counters.get(Counter::FAILURES_TRIGGERED)?;
    ensure!(
        told > 0 && told < MADE && told + lost >= MADE && told + lost <= due,
        "{told} told and {lost} lost of {MADE} (of {due} on this machine)"
    );
    let summary = summary(&trace)?;
    ensure!(
        summary.get("complete") == Some(&Value::Bool(false))
            && lost_of(summary.get("lost"), "failures") == lost,
        "{summary:?}"
    );
    // What was told across the hole does not claim to know all.
    ensure!(!trace.talk.is_empty(), "nothing was said on stderr");
    Ok(())
}

/// A listener is the last of a port's owners, and has room when those that it accepted have none any
/// more. Where it has none either, they are not told as what is left of a listener that is gone.
#[test]
fn a_listener_has_room_when_its_connections_have_none() -> Result<()> {
    const MADE: u64 = 40;
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    // Of each failure 65 owners are sent: room for a few.
    let tracer = Tracer::start(&stage.netns, &["--ring-size", "65536"])?;
    let made = make::crowd(&stage.netns, 100)?;
    let trace = fail_unheard(&stage, tracer, MADE)?;
    drop(made);
    let conflicts = trace.conflicts();
    for conflict in &conflicts {
        let named = conflict.cause == "listener" && conflict.holders[0].kind == "listener";
        ensure!(named || conflict.cause == "unknown", "{conflict:#?}");
    }
    let narrow = conflicts
        .iter()
        .filter(|told| told.cause == "listener" && told.certainty == "inferred");
    ensure!(narrow.count() > 1, "{conflicts:#?}");
    Ok(())
}

/// Another thread takes the descriptor away before the failed call ends: what cannot be read is
/// counted, so that failures told and failures lost are the failures made.
#[test]
fn a_failure_whose_descriptor_is_gone_is_told_as_lost() -> Result<()> {
    let Some(stage) = Stage::alone()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &BY_DESCRIPTOR)?;
    let counters = Objects::of(tracer.pid())?.counters()?;
    let _made = make::listener(&stage.netns)?;
    let mut binder = Puppet::start(&stage.netns, "made-swapper")?;
    binder.open("b", "tcp4", &[])?;
    let mut made = 0;
    wait::until("a descriptor swapped in time", PATIENCE, || {
        made += binder.tell_number(&format!("swap-and-bind b 0.0.0.0:{PORT} 200"))?;
        Ok((counters.get(Counter::SOCKET_UNREADABLE)? > 0).then_some(()))
    })?;
    tracer.wait_for("lost", PATIENCE, |event| {
        matches!(event.body, Body::Lost(_))
    })?;
    let trace = tracer.finish()?;
    let told = trace.conflicts().len() as u64;
    let summary = summary(&trace)?;
    let lost = lost_of(summary.get("lost"), "sockets");
    ensure!(
        lost > 0 && told + lost == made && summary.get("complete") == Some(&Value::Bool(false)),
        "{told} told and {lost} lost of {made}: {summary:?}"
    );
    let list = summary.get("lost").and_then(Value::as_array);
    let at_bind = list.into_iter().flatten().any(|count| {
        let at = |hook| count.get("hooks")?.get(hook)?.as_u64();
        count.get("ring").is_none() && at("syscalls:sys_exit_bind") == Some(lost)
    });
    ensure!(at_bind, "the hook that lost them is not told: {summary:?}");
    Ok(())
}

/// The same of a send that finds no port for its socket: counted on its own, since without the
/// socket it cannot be told from a send into a full buffer.
#[test]
fn a_send_whose_descriptor_is_gone_is_told_as_perhaps_lost() -> Result<()> {
    let Some(stage) = Stage::alone()? else {
        return Ok(());
    };
    stage.netns.set_range((40000, 40000))?;
    let mut tracer = Tracer::start(&stage.netns, &BY_DESCRIPTOR)?;
    let counters = Objects::of(tracer.pid())?.counters()?;
    let mut holder = Puppet::start(&stage.netns, "made-holder")?;
    holder.open("h", "udp4", &[])?;
    holder.tell("bind h 0.0.0.0:40000")?;
    let mut sender = Puppet::start(&stage.netns, "made-swapper")?;
    sender.open("s", "udp4", &[])?;
    let mut made = 0;
    wait::until("a descriptor swapped in time", PATIENCE, || {
        made += sender.tell_number("swap-and-send s 127.0.0.1:9 200")?;
        Ok((counters.get(Counter::SENDS_UNREADABLE)? > 0).then_some(()))
    })?;
    tracer.wait_for("lost", PATIENCE, |event| {
        matches!(event.body, Body::Lost(_))
    })?;
    let trace = tracer.finish()?;
    let told = trace.conflicts().len() as u64;
    let lost = lost_of(summary(&trace)?.get("lost"), "sends");
    ensure!(
        lost > 0 && told + lost == made,
        "{told} told and {lost} lost of {made}"
    );
    Ok(())
}

/// Nothing fails and nothing wakes the tracer but the loss itself: a map of owners without room is
/// told while it happens, not at the end.
#[test]
fn owners_that_find_no_room_are_told_while_nothing_fails() -> Result<()> {
    let Some(stage) = Stage::alone()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &["--owners", "1024"])?;
    let counters = Objects::of(tracer.pid())?.counters()?;
    // Two processes, since each may have but so many descriptors.
    let mut many = [
        Puppet::start(&stage.netns, "made-many")?,
        Puppet::start(&stage.netns, "made-more")?,
    ];
    for number in 0..800 {
        for puppet in &mut many {
            let name = format!("s{number}");
            puppet.open(&name, "tcp4", &[])?;
            puppet.tell(&format!("bind {name} 127.0.0.1:0"))?;
        }
    }
    ensure!(
        counters.get(Counter::OWNERS_FULL)? > 0,
        "1600 sockets found room among 1024"
    );
    let lost = tracer.wait_for("lost", PATIENCE, |event| {
        matches!(&event.body, Body::Lost(body) if lost_of(body.get("since_last"), "owners") > 0)
    })?;
    let Body::Lost(body) = &lost.body else {
        anyhow::bail!("{lost:?}");
    };
    // The exit of bind(), or the function of the kernel below it.
    let at_bind = |counts: &Value| {
        let hooks = counts.as_array()?.iter().find_map(|c| c.get("hooks"))?;
        let mut at = hooks.as_object()?.iter();
        at.find(|(hook, _)| hook.contains("bind"))?.1.as_u64()
    };
    ensure!(
        body.get("since_last").and_then(at_bind) > Some(0),
        "{body:?}"
    );
    tracer.finish()?;
    Ok(())
}
