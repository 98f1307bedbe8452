//! A hook that is at work on a processor already is not entered there for a task that preempts it:
//! what it would have told is lost, and counted.

use std::fs;
use std::thread;

use anyhow::{Result, anyhow, ensure};
use portwatch_tests::actor::{Actor, Kind, Op, Reply};
use portwatch_tests::event::{Body, Event};
use portwatch_tests::machine::Started;
use portwatch_tests::make;
use portwatch_tests::stage::{HERE, PORT, Stage};
use portwatch_tests::trace::Trace;
use portwatch_tests::tracer::Tracer;
use rustix::io::Errno;
use serde_json::Value;

use crate::adversary::duel::{address, open};
use crate::faults_losses::{lost_of, summary};

/// Enough that a walk past all of them is often preempted.
const CONNECTIONS: u16 = 300;
const BINDERS: usize = 4;
const ATTEMPTS: u64 = 60;
const SEARCHERS: usize = 24;
const SEARCHES: u64 = 5;

/// Which of the ways of preemption the kernel runs with now, where it tells.
fn preemption() -> Option<String> {
    let ways = fs::read_to_string("/sys/kernel/debug/sched/preempt").ok()?;
    let now = ways.split(['(', ')']).nth(1)?;
    Some(now.to_owned())
}

/// Fails at the port of the crowd, again and again.
fn fail(binder: &mut Actor) -> Result<()> {
    open(binder, 1, Kind::Tcp)?;
    let bind = Op::Bind(1, address("127.0.0.1", PORT)?);
    for _ in 0..ATTEMPTS {
        let reply = binder.ask(&bind)?;
        ensure!(
            reply == Reply::Refused(Errno::ADDRINUSE.raw_os_error()),
            "{reply:?}"
        );
    }
    Ok(())
}

/// So many processes do it at once.
fn at_once(stage: &Stage, count: usize, act: fn(&mut Actor) -> Result<()>) -> Result<()> {
    let actors = (0..count)
        .map(|number| Actor::start(&stage.netns, &format!("actor-{number}")))
        .collect::<Result<Vec<_>>>()?;
    thread::scope(|scope| {
        let acting: Vec<_> = actors
            .into_iter()
            .map(|mut actor| scope.spawn(move || act(&mut actor)))
            .collect();
        acting.into_iter().try_for_each(|acting| {
            acting
                .join()
                .map_err(|_| anyhow!("an actor's thread panicked"))?
        })
    })
}

/// What the stream tells as lost at a place.
fn lost(trace: &Trace, place: &str) -> u64 {
    let since_last = |event: &Event| match &event.body {
        Body::Lost(lost) => lost_of(lost.get("since_last"), place),
        Body::Start(_)
        | Body::Conflict(_)
        | Body::Resolved(_)
        | Body::Refused(_)
        | Body::Assign(_)
        | Body::Release(_)
        | Body::Summary(_) => 0,
    };
    trace.events.iter().map(since_last).sum()
}

/// Finds no port, again and again.
fn exhaust(client: &mut Actor) -> Result<()> {
    open(client, 1, Kind::Tcp)?;
    let connect = Op::Connect(1, address(HERE, PORT)?, false);
    for _ in 0..SEARCHES {
        let reply = client.ask(&connect)?;
        ensure!(
            reply == Reply::Refused(Errno::ADDRNOTAVAIL.raw_os_error()),
            "{reply:?}"
        );
    }
    Ok(())
}

/// A connect() looks at every port of a full range and lets others run meanwhile, so many are in the
/// same function at once: more than the kernel has return probes for (kernel/kprobes.c:
/// register_kretprobe: 10, or twice the processors).
#[test]
fn a_crowd_in_one_function_is_told_or_counted() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &[])?;
    stage.netns.set_range((42_000, 41_999 + CONNECTIONS))?;
    let _made = make::crowd(&stage.netns, CONNECTIONS.into())?;
    at_once(&stage, SEARCHERS, exhaust)?;
    let attempts = SEARCHES * SEARCHERS as u64;
    let trace = tracer.finish()?;
    let told = trace.conflicts().len() as u64;
    let (missed, returns) = (lost(&trace, "missed"), lost(&trace, "returns"));
    println!("{told} of {attempts} told, {missed} missed, {returns} without a return");
    ensure!(
        told <= attempts && told + missed + returns >= attempts,
        "{told} of {attempts} failures were told, {missed} and {returns} were lost"
    );
    let kretprobes = Started::of(&trace)?.has("kretprobe", "inet_hash_connect");
    ensure!(returns == 0 || kretprobes, "{returns} without a return");
    let summary = summary(&trace)?;
    ensure!(
        summary.get("complete") == Some(&Value::Bool(missed + returns == 0)),
        "{missed} missed, {returns} without a return: {summary:?}"
    );
    Ok(())
}

/// A kernel that preempts itself anywhere (`preempt=full`; the machines of `cargo xtask vm` run this
/// test so) leaves out runs of trampolines. Kprobes and tracepoints are not preempted themselves, but
/// no such program runs for a task that preempts one in the middle of a system call on a BPF map
/// (kernel/bpf/syscall.c:bpf_disable_instrumentation): there they may miss some as well.
#[test]
fn whatever_is_not_told_is_counted() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &[])?;
    let _made = make::crowd(&stage.netns, CONNECTIONS.into())?;
    at_once(&stage, BINDERS, fail)?;
    let attempts = ATTEMPTS * BINDERS as u64;
    let trace = tracer.finish()?;
    let told = trace.conflicts().len() as u64;
    let missed = lost(&trace, "missed");
    let preemption = preemption();
    println!("{told} of {attempts} told, {missed} missed, preemption {preemption:?}");
    ensure!(
        told <= attempts && told + missed >= attempts,
        "{told} of {attempts} failures were told, and {missed} were missed"
    );
    if preemption.as_deref() != Some("full") {
        return trace.check(true);
    }
    ensure!(
        missed > 0 || !Started::of(&trace)?.has("fexit", "inet_csk_get_port"),
        "no trampoline was preempted"
    );
    let summary = summary(&trace)?;
    let summed = lost_of(summary.get("lost"), "missed");
    ensure!(
        summed == missed && summary.get("complete") == Some(&Value::Bool(missed == 0)),
        "{missed} missed: {summary:?}"
    );
    Ok(())
}
