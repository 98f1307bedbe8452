//! Reports on their way out. The pipeline calls, for every report and in this order:
//!
//! ```text
//!  filter   does it pass? (an incident that passed once passes whole)
//!  tally    counts for the summary and for --max-conflicts, --fail-on-conflict
//!  redact   takes out what --cmdline and --redact name
//!  Sink     text or JSON -> outlet: written at once (Direct) or through a bounded Queue
//! ```
//!
//! Not here: what a report says (`correlate`, `advise`). A sink never waits for its reader: the
//! queue drops lines, counts them and says so, so that a stalled terminal cannot stall the tracer.

pub mod escape;
pub mod filter;
pub mod hangup;
pub mod json;
pub mod line;
pub mod outlet;
pub mod output;
mod printer;
pub mod queue;
pub mod recent;
pub mod redact;
pub mod schema;
pub mod tally;
#[cfg(test)]
pub(crate) mod test_support;
pub mod text;
pub mod time;
pub mod writer;

pub use printer::{Compose, Printer};

use crate::report::{ClockAnchor, Report};
use std::io;

/// Where reports end.
pub trait Sink: Send {
    /// Tells one report. Never waits for a reader.
    ///
    /// # Errors
    /// [`SinkError::Closed`] when the reader is gone, which is no fault.
    fn report(&mut self, report: &Report) -> Result<(), SinkError>;

    /// Takes a new relation of kernel time and wall time (a step of the clock, a resume). The one
    /// of a `start` report is taken without this.
    fn anchor(&mut self, anchor: ClockAnchor);

    /// Waits until everything told is written, at most [`outlet::PATIENCE`].
    ///
    /// # Errors
    /// [`SinkError::Stalled`] when that was not enough.
    fn flush(&mut self) -> Result<(), SinkError>;

    /// Opens the output's file anew (SIGHUP); nothing to do for stdout.
    ///
    /// # Errors
    /// [`SinkError::Open`]; the old file stays in use then.
    fn reopen(&mut self) -> Result<(), SinkError>;
}

/// Why a report could not be told.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The reader closed its end: a reason to stop, and success.
    #[error("the reader of the output is gone")]
    Closed,
    /// The file of `--output` does not open.
    #[error("could not open `{path}` for --output; give a path in a directory you may write to")]
    Open {
        /// As given.
        path: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// A write failed for another reason than a reader that is gone.
    #[error("could not write to {output}; make room there or choose another --output")]
    Write {
        /// `standard output` or the file.
        output: String,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The reader does not read.
    #[error("{output} stands still: {lines} lines were not written; let its reader go on")]
    Stalled {
        /// `standard output` or the file.
        output: String,
        /// Lines that were still waiting.
        lines: usize,
    },
    /// The thread that writes could not be started.
    #[error("could not start the thread that writes the output; raise the limit on threads")]
    Thread {
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}
