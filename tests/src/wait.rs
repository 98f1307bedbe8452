//! The one place where the harness waits: a condition is polled until a deadline.
//!
//! A test never sleeps for luck; it names what it waits for and how long that may take.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

const INTERVAL: Duration = Duration::from_millis(10);

/// Long enough for a program on two busy cores, short enough to fail a suite in time.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// As [`until`], with a `pause` that may end early because something happened.
pub(crate) fn until_with<T>(
    what: &str,
    timeout: Duration,
    mut pause: impl FnMut(Duration),
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = probe()? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("waited {timeout:?} in vain for {what}");
        }
        pause(INTERVAL);
    }
}

/// Polls `probe` until it yields a value; an error of the probe ends the wait at once.
pub fn until<T>(
    what: &str,
    timeout: Duration,
    probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    until_with(what, timeout, thread::sleep, probe)
}
