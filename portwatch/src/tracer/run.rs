//! The loop of a live run.
//!
//! Woken by failures, signals, a step of the clock, the end of the run. A timer is armed only
//! while traffic is asked for, an incident is open, a loss goes on, or `--duration` is given: an
//! idle portwatch sleeps.

use super::Tracer;
use crate::correlate::Unwatch;
use crate::decode::event::Ktime;
use crate::enrich::clock::{self, ClockStep};
use crate::pipeline::Pipeline;
use crate::probe::control::Control;
use crate::report::ClockAnchor;
use crate::sink::SinkError;
use crate::sink::hangup::Hangup;
use crate::sink::tally::EndReason;
use crate::source::RawRecord;
use anyhow::{Context as _, Result};
use nix::sys::signal as posix;
use std::collections::{HashSet, VecDeque};
use std::future::{pending, ready};
use std::iter::from_fn;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};

/// How often TRAFFIC is read: a 4 MiB ring holds some 20 000 records, so 400 000 a second.
const TRAFFIC_EVERY: Duration = Duration::from_millis(20);

/// How long records are worked on before signals and the end of the run are looked at again.
const SLICE: Duration = Duration::from_millis(50);

/// What the kernel may forget waits until every failure has been seen; but not more than this: the map
/// is full of it then, and no more failures are watched.
const UNWATCHED: usize = 8192;

/// When a run ends by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    /// `--duration`.
    pub duration: Option<Duration>,
    /// `--max-conflicts`: incidents.
    pub max_conflicts: Option<u64>,
    /// SIGHUP reopens the output instead of ending the run.
    pub reopen_on_hangup: bool,
    /// Signals are for a command that runs, and its end is the end.
    pub of_command: bool,
}

/// The signals of product.md.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    user1: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        let one = |kind| signal(kind).context("signals cannot be received");
        Ok(Self {
            interrupt: one(SignalKind::interrupt())?,
            terminate: one(SignalKind::terminate())?,
            user1: one(SignalKind::user_defined1())?,
            hangup: one(SignalKind::hangup())?,
        })
    }
}

/// Gives SIGINT and SIGTERM their default back: the next one ends the process at once, also while
/// it waits for a reader that stands still.
fn let_signals_end_it() {
    for kind in [posix::SIGINT, posix::SIGTERM] {
        // SAFETY: the default action runs none of our code.
        if let Err(errno) = unsafe { posix::signal(kind, posix::SigHandler::SigDfl) } {
            log::debug!("{kind} keeps its handler: {errno}");
        }
    }
}

/// Runs until a limit, a signal, a closed output or `over`, then tells the summary and gives the pipeline's
/// last state back through `pipeline`.
///
/// # Errors
/// The rings or the output are broken; a closed output is no error.
pub async fn run(
    tracer: &mut Tracer,
    pipeline: &mut Pipeline,
    hangup: Hangup,
    limits: Limits,
    mut ready: impl FnMut() -> Result<()>,
    over: impl Future<Output = ()>,
) -> Result<EndReason> {
    let mut signals = Signals::listen()?;
    ready()?;
    let ended = trace(tracer, pipeline, hangup, limits, &mut signals, over).await;
    let reason = match ended {
        Ok(reason) => reason,
        Err(error) => match error.downcast_ref::<SinkError>() {
            Some(SinkError::Closed) => return Ok(EndReason::EndOfInput),
            Some(_) | None => return Err(error),
        },
    };
    if !limits.of_command {
        let_signals_end_it();
    }
    match finish(tracer, pipeline, reason) {
        Ok(()) | Err(SinkError::Closed) => Ok(reason),
        Err(error) => Err(error.into()),
    }
}

/// Everything that is in the rings now, the losses, the summary.
fn finish(
    tracer: &mut Tracer,
    pipeline: &mut Pipeline,
    reason: EndReason,
) -> Result<(), SinkError> {
    let mut records = Vec::new();
    while !tracer.live.failures_now(&mut records) {}
    if tracer.traffic {
        while !tracer.live.traffic_now(&mut records) {}
    }
    let now = clock::now().unwrap_or(tracer.scanned);
    // Before the verdicts, which say so if they rest on what was lost.
    tracer.losses.tell(&mut tracer.control, pipeline, now)?;
    pipeline.records(tracer.waiting.drain(..).chain(records))?;
    let now = clock::now().unwrap_or(tracer.scanned);
    tracer
        .losses
        .tell_last(&mut tracer.control, pipeline, now)?;
    pipeline.summary(now, reason)?;
    pipeline.sink.flush()
}

async fn trace(
    tracer: &mut Tracer,
    pipeline: &mut Pipeline,
    hangup: Hangup,
    limits: Limits,
    signals: &mut Signals,
    over: impl Future<Output = ()>,
) -> Result<EndReason> {
    let mut step = ClockStep::new()?;
    let end = limits.duration.map(|duration| Instant::now() + duration);
    let mut traffic = tracer.traffic.then(|| {
        let mut every = interval(TRAFFIC_EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        every
    });
    let gone = hangup.wait();
    tokio::pin!(gone, over);
    let mut records = Vec::new();
    // With what waits, the FAILURES ring was drained to its end.
    let mut drained = false;
    let mut traffic_read = Instant::now();
    loop {
        let deadline = pipeline.correlator.next_deadline();
        tokio::select! {
            biased;
            _ = signals.interrupt.recv(), if !limits.of_command => {
                return Ok(EndReason::Interrupted);
            }
            _ = signals.terminate.recv(), if !limits.of_command => {
                return Ok(EndReason::Terminated);
            }
            _ = signals.hangup.recv(), if !limits.of_command => {
                if !limits.reopen_on_hangup {
                    return Ok(EndReason::Terminated);
                }
                if let Err(error) = pipeline.sink.reopen() {
                    log::error!("{error}; going on with the old file");
                }
            }
            _ = signals.user1.recv() => pipeline.summary(clock::now()?, EndReason::SoFar)?,
            () = &mut over => return Ok(EndReason::CommandEnded),
            () = until(end) => return Ok(EndReason::Duration),
            () = &mut gone => return Ok(EndReason::EndOfInput),
            stepped = step.stepped() => {
                stepped?;
                pipeline.anchor(ClockAnchor::now()?);
            }
            () = ready(()), if drained || !tracer.waiting.is_empty() => {
                work(pipeline, &mut tracer.waiting)?;
                if drained && tracer.waiting.is_empty() {
                    drained = false;
                    pipeline.drained()?;
                    tracer.losses.tell(&mut tracer.control, pipeline, clock::now()?)?;
                }
                // Signals and timers are looked at by the runtime, which gets its turn here.
                yield_now().await;
            }
            taken = tracer.live.failures(&mut records) => {
                drained = taken?;
                // While there is always another failure, nothing below gets a turn.
                if tracer.traffic && traffic_read.elapsed() >= TRAFFIC_EVERY {
                    traffic_read = Instant::now();
                    tracer.live.traffic_now(&mut records);
                }
                queue(tracer, pipeline, &mut records)?;
            }
            () = until(tracer.losses.due) => {
                tracer.losses.tell(&mut tracer.control, pipeline, clock::now()?)?;
            }
            () = due(deadline) => pipeline.tick(clock::now()?)?,
            () = tick(traffic.as_mut()) => {
                traffic_read = Instant::now();
                tracer.live.traffic_now(&mut records);
                queue(tracer, pipeline, &mut records)?;
            }
        }
        if pipeline.unwatched() > 0 && tracer.waiting.is_empty() && !drained {
            // A failure that nobody has seen yet waits for what the kernel would forget now.
            drained = tracer.live.failures_now(&mut records);
            queue(tracer, pipeline, &mut records)?;
        }
        let seen = drained && tracer.waiting.is_empty();
        if seen || pipeline.unwatched() > UNWATCHED {
            forget(&mut tracer.control, pipeline.take_unwatch());
        }
        if limits
            .max_conflicts
            .is_some_and(|most| pipeline.tally.incidents() >= most)
        {
            return Ok(EndReason::MaxConflicts);
        }
    }
}

/// Lets records wait; what was lost is told before the verdicts on them, which say so if they rest on it.
fn queue(tracer: &mut Tracer, pipeline: &mut Pipeline, records: &mut Vec<RawRecord>) -> Result<()> {
    tracer.waiting.extend(records.drain(..));
    let now = clock::now()?;
    tracer.losses.tell(&mut tracer.control, pipeline, now)?;
    Ok(())
}

/// What no incident waits for any more need not be told by the kernel side.
fn forget(control: &mut Control, over: Vec<Unwatch>) {
    let mut processes = HashSet::new();
    for one in over {
        match one {
            Unwatch::Process(tgid) => {
                processes.insert(tgid.0);
            }
            Unwatch::Socket(cookie) => control.unwatch_socket(cookie),
            Unwatch::Destination(tgid, to) => control.unwatch_destination(tgid.0, to),
        }
    }
    control.unwatch_processes(&processes);
}

/// Works on what waits, for as long as signals may wait.
fn work(pipeline: &mut Pipeline, waiting: &mut VecDeque<RawRecord>) -> Result<(), SinkError> {
    let until = Instant::now() + SLICE;
    pipeline.records(from_fn(|| match Instant::now() < until {
        true => waiting.pop_front(),
        false => None,
    }))
}

/// Resolves at a moment of the kernel's clock; never without one.
async fn due(deadline: Option<Ktime>) {
    match deadline {
        Some(deadline) => {
            let now = clock::now().unwrap_or(deadline);
            sleep(Duration::from_nanos(deadline.since(now)) + Duration::from_millis(1)).await;
        }
        None => pending().await,
    }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => pending().await,
    }
}

async fn tick(every: Option<&mut tokio::time::Interval>) {
    match every {
        Some(every) => {
            every.tick().await;
        }
        None => pending().await,
    }
}
