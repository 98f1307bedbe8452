use super::*;
use crate::enrich::testing;
use std::task::Poll;
use std::time::Duration;

/// Wall time at boot, as an anchor has it.
fn boot(anchor: ClockAnchor) -> i64 {
    anchor.realtime_ns - i64::try_from(anchor.boottime_ns).unwrap()
}

#[test]
fn two_anchors_agree() {
    let apart = boot(ClockAnchor::now().unwrap()) - boot(ClockAnchor::now().unwrap());
    assert!(apart.abs() < 1_000_000, "{apart} ns apart");
}

#[test]
fn an_anchor_lies_between_readings_around_it() {
    let before = boottime().unwrap();
    let anchor = ClockAnchor::now().unwrap();
    let after = boottime().unwrap();
    assert!((before..=after).contains(&anchor.boottime_ns));
}

/// Whether the watcher would resolve now.
async fn is_ready(step: &mut ClockStep) -> bool {
    let mut stepped = std::pin::pin!(step.stepped());
    std::future::poll_fn(|context| Poll::Ready(stepped.as_mut().poll(context).is_ready())).await
}

/// Puts the wall clock one nanosecond forward, which is a step as any other.
fn step_the_clock() -> io::Result<()> {
    let now = libc::timex {
        modes: libc::ADJ_SETOFFSET | libc::ADJ_NANO,
        time: libc::timeval {
            tv_sec: 0,
            tv_usec: 1,
        },
        // SAFETY: a `timex` is integers only, for which zeros are values.
        ..unsafe { std::mem::zeroed() }
    };
    let mut argument = now;
    // SAFETY: the argument is a whole `timex` that outlives the call.
    match unsafe { libc::adjtimex(&raw mut argument) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_step_of_the_clock_is_seen_once_each() {
    let mut step = ClockStep::new().unwrap();
    assert!(!is_ready(&mut step).await, "nobody set the clock");
    if !testing::root() {
        return;
    }
    for _ in 0..2 {
        if let Err(error) = step_the_clock() {
            println!("SKIPPED: the clock cannot be set here: {error}");
            return;
        }
        let seen = tokio::time::timeout(Duration::from_secs(10), step.stepped()).await;
        seen.expect("the step was not seen").unwrap();
        assert!(!is_ready(&mut step).await, "seen twice");
    }
}
