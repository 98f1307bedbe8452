//! From kernel time to wall time, and the moments when that relation changes.
//!
//! Durations never come from wall time: this is for showing times only.

use crate::decode::event::Ktime;
use crate::report::ClockAnchor;
use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{
    ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags,
};
use nix::time::{ClockId, clock_gettime};
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Tries for the tightest pair of readings.
const TRIES: usize = 8;

/// The machine's clocks could not be read or watched.
#[derive(Debug, thiserror::Error)]
pub enum ClockError {
    /// `clock_gettime` failed, which no kernel that portwatch runs on does.
    #[error("cannot read `{clock}`")]
    Read {
        /// Name of the clock.
        clock: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A descriptor could not be had.
    #[error("cannot watch for steps of the wall clock; are there too many open files?")]
    Watch(#[source] io::Error),
}

impl ClockAnchor {
    /// The relation of the two clocks now, to about a tenth of a microsecond.
    ///
    /// # Errors
    ///
    /// Only if the kernel lacks one of the clocks.
    pub fn now() -> Result<Self, ClockError> {
        // CLOCK_REALTIME between two readings of CLOCK_BOOTTIME belongs to a moment between them;
        // the closest pair of several is the one that was not interrupted.
        let mut best: Option<(u64, Self)> = None;
        for _ in 0..TRIES {
            let before = boottime()?;
            let realtime_ns = read(ClockId::CLOCK_REALTIME, "CLOCK_REALTIME")?;
            let width = boottime()?.saturating_sub(before);
            let anchor = Self {
                boottime_ns: before + width / 2,
                realtime_ns,
            };
            if best.is_none_or(|(tightest, _)| width < tightest) {
                best = Some((width, anchor));
            }
        }
        let (_, anchor) = best.ok_or_else(|| ClockError::Read {
            clock: "CLOCK_REALTIME",
            source: io::Error::other("no reading"),
        })?;
        Ok(anchor)
    }
}

/// CLOCK_BOOTTIME now: the time of the kernel side's records. For whoever drives the pipeline, not
/// for its stages.
///
/// # Errors
///
/// Only if the kernel lacks the clock.
pub fn now() -> Result<Ktime, ClockError> {
    boottime().map(Ktime)
}

fn boottime() -> Result<u64, ClockError> {
    let nanos = read(ClockId::CLOCK_BOOTTIME, "CLOCK_BOOTTIME")?;
    Ok(u64::try_from(nanos).unwrap_or(0))
}

fn read(id: ClockId, clock: &'static str) -> Result<i64, ClockError> {
    let time = clock_gettime(id).map_err(|errno| ClockError::Read {
        clock,
        source: errno.into(),
    })?;
    Ok(time.tv_sec() * 1_000_000_000 + time.tv_nsec())
}

/// Waits for the wall clock to be set or the machine to be resumed. Costs nothing until then: a
/// timer that never expires and that such an event cancels (timerfd_create(2),
/// TFD_TIMER_CANCEL_ON_SET).
#[derive(Debug)]
pub struct ClockStep {
    timer: AsyncFd<OwnedFd>,
}

impl ClockStep {
    /// Watches from now on; needs a tokio runtime with I/O.
    ///
    /// # Errors
    ///
    /// No descriptor left.
    pub fn new() -> Result<Self, ClockError> {
        let watch = || -> io::Result<AsyncFd<OwnedFd>> {
            let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
            let timer = TimerFd::new(TimerClock::CLOCK_REALTIME, flags)?;
            // The kernel clamps a far future to the end of its own time, some 292 years.
            let never = TimeSpec::new(i64::MAX / 1_000_000_000, 0);
            timer.set(
                Expiration::OneShot(never),
                TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET,
            )?;
            // SAFETY: an `OwnedFd` is one open descriptor from here until it is dropped, and the
            // `AsyncFd` owns it.
            let timer = unsafe {
                AsyncFd::register_with_interest(OwnedFd::from(timer), Interest::READABLE)
            }?;
            Ok(timer)
        };
        Ok(Self {
            timer: watch().map_err(ClockError::Watch)?,
        })
    }

    /// Resolves once the clock was set or the machine resumed since the last time it resolved; take
    /// a new anchor then. Can be dropped and called again without losing a step.
    ///
    /// # Errors
    ///
    /// The descriptor cannot be waited for.
    pub async fn stepped(&mut self) -> Result<(), ClockError> {
        self.timer
            .async_io(Interest::READABLE, |timer| {
                match nix::unistd::read(timer, &mut [0; 8]) {
                    // The read that reports ECANCELED also makes the timer ready for the next step.
                    Ok(_) | Err(Errno::ECANCELED) => Ok(()),
                    Err(errno) => Err(errno.into()),
                }
            })
            .await
            .map_err(ClockError::Watch)
    }
}

#[cfg(test)]
mod tests;
