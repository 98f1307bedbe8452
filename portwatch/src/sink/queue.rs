//! A bounded queue in front of the output and the thread that empties it.
//!
//! A reader that stands still (a paused terminal, a blocked pipe) stops that thread, never the
//! tracer: when the queue is full, lines are dropped, traffic first and verdicts last, and a `lost`
//! line says so as soon as the reader goes on. Dropped lines get no number, so `seq` has no gap.
//!
//! Not for a replay, which may wait: that is `outlet::Direct`.

mod backlog;
#[cfg(test)]
mod tests;

use super::SinkError;
use super::line::Line;
use super::outlet::{Loss, Outlet, PATIENCE, failed};
use super::writer::LineWriter;
use backlog::{Backlog, Item};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes that wait at most, those of the reserve excepted.
pub const CAPACITY: usize = 8 << 20;

/// Bytes that are written at once, as many as a pipe takes: a slow reader is seen to go on.
const PIECE: usize = 64 << 10;

/// The side that fills the queue.
pub struct Queue {
    shared: Arc<Shared>,
    name: String,
    patience: Duration,
}

struct Shared {
    state: Mutex<State>,
    /// Something to write, or the end.
    filled: Condvar,
    /// Everything is written, or the writer gave up.
    drained: Condvar,
    /// Pieces that went out.
    written: AtomicU64,
}

struct State {
    backlog: Backlog,
    /// The writer has lines in hand.
    writing: bool,
    failure: Option<Failure>,
    closing: bool,
}

/// Why the thread stopped: told once in full, afterwards by its kind.
struct Failure {
    kind: io::ErrorKind,
    error: Option<io::Error>,
}

impl Queue {
    /// Starts the thread; `name` is what errors call the output.
    ///
    /// # Errors
    /// [`SinkError::Thread`].
    pub fn new(writer: LineWriter, name: &str) -> Result<Self, SinkError> {
        Self::with_limits(writer, name, CAPACITY, PATIENCE)
    }

    fn with_limits(
        writer: LineWriter,
        name: &str,
        capacity: usize,
        patience: Duration,
    ) -> Result<Self, SinkError> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                backlog: Backlog::new(capacity),
                writing: false,
                failure: None,
                closing: false,
            }),
            filled: Condvar::new(),
            drained: Condvar::new(),
            written: AtomicU64::new(0),
        });
        let theirs = Arc::clone(&shared);
        thread::Builder::new()
            .name("output".to_owned())
            .spawn(move || theirs.run(writer))
            .map_err(|source| SinkError::Thread { source })?;
        Ok(Self {
            shared,
            name: name.to_owned(),
            patience,
        })
    }

    fn told(&self, failure: &mut Failure) -> SinkError {
        let error = failure.error.take().unwrap_or_else(|| failure.kind.into());
        failed(&self.name, error)
    }
}

impl Outlet for Queue {
    fn push(
        &mut self,
        line: Line,
        lost: &mut dyn FnMut(Loss) -> Vec<Line>,
    ) -> Result<(), SinkError> {
        let mut state = self.shared.lock();
        if let Some(failure) = &mut state.failure {
            return Err(self.told(failure));
        }
        if state.backlog.push(line) {
            let lines = lost(state.backlog.loss());
            state.backlog.tell(lines);
        }
        drop(state);
        self.shared.filled.notify_one();
        Ok(())
    }

    fn dropped(&self) -> u64 {
        self.shared.lock().backlog.loss().total
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        let mut state = self.shared.lock();
        let busy = |state: &mut State| {
            state.failure.is_none() && (state.writing || !state.backlog.is_empty())
        };
        // A reader that is slow gets everything; one that reads nothing any more is not waited for.
        let (mut state, waited) = loop {
            let before = self.shared.written.load(Ordering::Relaxed);
            let (now, waited) = self
                .shared
                .drained
                .wait_timeout_while(state, self.patience, busy)
                .unwrap_or_else(PoisonError::into_inner);
            if !waited.timed_out() || self.shared.written.load(Ordering::Relaxed) == before {
                break (now, waited);
            }
            state = now;
        };
        if let Some(failure) = &mut state.failure {
            return Err(self.told(failure));
        }
        if waited.timed_out() {
            // Those in the writer's hand count as one: how many went out cannot be told.
            let lines = state.backlog.len() + usize::from(state.writing);
            return Err(SinkError::Stalled {
                output: self.name.clone(),
                lines,
            });
        }
        Ok(())
    }

    fn replace(&mut self, data: Box<dyn Write + Send>) -> Result<(), SinkError> {
        let mut state = self.shared.lock();
        if let Some(failure) = &mut state.failure {
            return Err(self.told(failure));
        }
        state.backlog.replace(data);
        drop(state);
        self.shared.filled.notify_one();
        Ok(())
    }
}

impl Drop for Queue {
    /// Lets the thread end after what waits; does not wait for it, a stalled one would never come.
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.filled.notify_one();
    }
}

impl Shared {
    /// A poisoned lock is taken all the same: no state is left half changed.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut writer: LineWriter) {
        loop {
            let mut state = self.lock();
            state.writing = false;
            if state.backlog.is_empty() {
                self.drained.notify_all();
            }
            let mut state = self
                .filled
                .wait_while(state, |state| state.backlog.is_empty() && !state.closing)
                .unwrap_or_else(PoisonError::into_inner);
            if state.backlog.is_empty() {
                return;
            }
            state.writing = true;
            let items = state.backlog.take();
            drop(state);
            if let Err(error) = self.write(&mut writer, items) {
                let mut state = self.lock();
                state.failure = Some(Failure {
                    kind: error.kind(),
                    error: Some(error),
                });
                state.writing = false;
                state.backlog.clear();
                drop(state);
                self.drained.notify_all();
                return;
            }
        }
    }

    fn write(&self, writer: &mut LineWriter, items: Vec<Item>) -> io::Result<()> {
        for item in items {
            match item {
                Item::Line(line) => writer.write(&line)?,
                Item::Replace(data) => writer.replace(data)?,
            }
            if writer.waiting() >= PIECE {
                self.hand_over(writer)?;
            }
        }
        self.hand_over(writer)
    }

    fn hand_over(&self, writer: &mut LineWriter) -> io::Result<()> {
        writer.flush()?;
        self.written.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
