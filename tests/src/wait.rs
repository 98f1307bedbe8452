//! The one place where the harness waits, for something that has a name, until a deadline.
//!
//! Processes ([`exit`]) and files ([`file`]) wake it. What the kernel tells nobody of, the state of a
//! socket or a counter of a BPF program, is looked at again and again ([`until`]).

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::process::{Child, ExitStatus};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::{Errno, read};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The variable with a factor for every wait: an emulated machine is many times slower.
const FACTOR: &str = "PORTWATCH_TEST_PATIENCE";

/// How often is looked at what wakes nobody.
pub(crate) const INTERVAL: Duration = Duration::from_millis(10);

/// Long enough for a program on two busy cores, short enough to fail a suite in time.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A time as this machine needs it.
#[must_use]
pub fn patient(time: Duration) -> Duration {
    time.saturating_mul(factor())
}

/// As many of `most` as this machine does in the time of the kernel's own timers, which are the same
/// everywhere.
#[must_use]
pub fn timely(most: usize) -> usize {
    most.div_ceil(factor() as usize)
}

fn factor() -> u32 {
    static FACTOR_SET: OnceLock<u32> = OnceLock::new();
    *FACTOR_SET.get_or_init(|| {
        let set = std::env::var(FACTOR).ok();
        let set = set.and_then(|text| text.parse().ok());
        set.filter(|factor| *factor > 0).unwrap_or(1)
    })
}

/// Looks until `probe` yields a value. In between `pause` waits, at most for as long as it is told.
pub(crate) fn until_with<T>(
    what: &str,
    timeout: Duration,
    mut pause: impl FnMut(Duration) -> Result<()>,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let timeout = patient(timeout);
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(value) = probe()? {
            return Ok(value);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            bail!("waited {timeout:?} in vain for {what}");
        }
        pause(left)?;
    }
}

/// Looks at what wakes nobody until `probe` yields a value; an error of it ends the wait at once.
pub fn until<T>(
    what: &str,
    timeout: Duration,
    probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let pause = |left: Duration| {
        thread::sleep(INTERVAL.min(left));
        Ok(())
    };
    until_with(what, timeout, pause, probe)
}

/// Waits for a child's end, which wakes it.
pub fn exit(what: &str, timeout: Duration, child: &mut Child) -> Result<ExitStatus> {
    if let Some(status) = child.try_wait()? {
        return Ok(status);
    }
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    woken(what, timeout, process.as_fd(), || Ok(child.try_wait()?))
}

/// As [`until`], woken by whatever happens to files in the folder of `path`.
pub fn file<T>(
    what: &str,
    timeout: Duration,
    path: &Path,
    mut probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let folder = path.parent().context("a path without a folder")?;
    let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
    let flags = WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::MOVED_TO;
    inotify::add_watch(&events, folder, flags)?;
    woken(what, timeout, events.as_fd(), || {
        // Before the look: what happens after it wakes again.
        let mut told = [0; 4096];
        while matches!(read(&events, &mut told), Ok(length) if length > 0) {}
        probe()
    })
}

/// Looks once, and again each time the descriptor is readable.
fn woken<T>(
    what: &str,
    timeout: Duration,
    by: BorrowedFd<'_>,
    probe: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let pause = |left: Duration| match poll(
        &mut [PollFd::new(&by, PollFlags::IN)],
        Some(&Timespec::try_from(left)?),
    ) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    };
    until_with(what, timeout, pause, probe)
}
