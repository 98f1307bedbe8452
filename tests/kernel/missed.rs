//! A hook that is at work on a processor already is not entered there for a task that preempts it:
//! what it would have told is lost, and counted.

use std::fs;
use std::thread;

use anyhow::{Result, anyhow, ensure};
use portwatch_tests::actor::{Actor, Kind, Op, Reply};
use portwatch_tests::event::Body;
use portwatch_tests::machine::Started;
use portwatch_tests::make;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::Tracer;
use rustix::io::Errno;
use serde_json::Value;

use crate::adversary::duel::{address, open};
use crate::faults_losses::{lost_of, summary};

/// Enough that a walk past all of them is often preempted.
const CONNECTIONS: usize = 300;
const BINDERS: usize = 4;
const ATTEMPTS: u64 = 60;

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
    let _made = make::crowd(&stage.netns, CONNECTIONS)?;
    let binders = (0..BINDERS)
        .map(|number| Actor::start(&stage.netns, &format!("binder-{number}")))
        .collect::<Result<Vec<_>>>()?;
    thread::scope(|scope| {
        let failing: Vec<_> = binders
            .into_iter()
            .map(|mut binder| scope.spawn(move || fail(&mut binder)))
            .collect();
        failing.into_iter().try_for_each(|failing| {
            failing
                .join()
                .map_err(|_| anyhow!("a binder's thread panicked"))?
        })
    })?;
    let attempts = ATTEMPTS * BINDERS as u64;
    let trace = tracer.finish()?;
    let told = trace.conflicts().len() as u64;
    let missed: u64 = trace
        .events
        .iter()
        .map(|event| match &event.body {
            Body::Lost(lost) => lost_of(lost.get("since_last"), "missed"),
            Body::Start(_)
            | Body::Conflict(_)
            | Body::Resolved(_)
            | Body::Refused(_)
            | Body::Assign(_)
            | Body::Release(_)
            | Body::Summary(_) => 0,
        })
        .sum();
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
