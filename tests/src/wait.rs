//! The one place where the harness waits: a condition is polled until a deadline.
//!
//! A test never sleeps for luck; it names what it waits for and how long that may take.

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// The variable with a factor for every wait: an emulated machine is many times slower.
const FACTOR: &str = "PORTWATCH_TEST_PATIENCE";

const INTERVAL: Duration = Duration::from_millis(10);

/// Long enough for a program on two busy cores, short enough to fail a suite in time.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A time as this machine needs it.
#[must_use]
pub fn patient(time: Duration) -> Duration {
    static FACTOR_SET: OnceLock<u32> = OnceLock::new();
    let factor = FACTOR_SET.get_or_init(|| {
        let set = std::env::var(FACTOR).ok();
        set.and_then(|text| text.parse().ok()).unwrap_or(1)
    });
    time.saturating_mul(*factor)
}

/// As [`until`], with a `pause` that may end early because something happened.
pub(crate) fn until_with<T>(
    what: &str,
    timeout: Duration,
    mut pause: impl FnMut(Duration),
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let timeout = patient(timeout);
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
