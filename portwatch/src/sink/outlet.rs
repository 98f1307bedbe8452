//! Where composed lines go: straight to the writer, or into the queue (`queue`).

use super::SinkError;
use super::line::Line;
use super::writer::LineWriter;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long the end of a run waits for a reader that does not read.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// Lines that the output could not take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// Not told yet.
    pub untold: u64,
    /// Those among them that were conflicts or ends of incidents.
    pub untold_verdicts: u64,
    /// Since the start.
    pub total: u64,
}

/// Takes lines without waiting for a reader.
pub trait Outlet: Send {
    /// Takes a line. When one had to be dropped for it, `lost` gives the lines that tell so; they
    /// replace those of an earlier loss that is not told yet.
    ///
    /// # Errors
    /// Those of an earlier write as well: [`SinkError::Closed`], [`SinkError::Write`].
    fn push(
        &mut self,
        line: Line,
        lost: &mut dyn FnMut(Loss) -> Vec<Line>,
    ) -> Result<(), SinkError>;

    /// Lines dropped since the start.
    fn dropped(&self) -> u64;

    /// Waits until every line is written, for [`PATIENCE`] at most while nothing goes out.
    ///
    /// # Errors
    /// [`SinkError::Stalled`] when nothing went out for so long.
    fn flush(&mut self) -> Result<(), SinkError>;

    /// Writes the lines that follow to `data`.
    ///
    /// # Errors
    /// Those of an earlier write.
    fn replace(&mut self, data: Box<dyn Write + Send>) -> Result<(), SinkError>;
}

/// Writes by itself: for a replay and for tests, where a reader may be waited for. Clones write to
/// the same place, with one sequence of numbers.
#[derive(Clone)]
pub struct Direct {
    writer: Arc<Mutex<LineWriter>>,
    name: String,
    /// Bytes that may wait until the next flush.
    lazy: usize,
}

impl Direct {
    /// `name` is what errors call the output; up to `lazy` bytes wait for [`Outlet::flush`].
    #[must_use]
    pub fn new(writer: LineWriter, name: &str, lazy: usize) -> Self {
        Self {
            writer: Arc::new(Mutex::new(writer)),
            name: name.to_owned(),
            lazy,
        }
    }

    fn with(&self, write: impl FnOnce(&mut LineWriter) -> io::Result<()>) -> Result<(), SinkError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        write(&mut writer).map_err(|source| failed(&self.name, source))
    }
}

impl Outlet for Direct {
    fn push(
        &mut self,
        line: Line,
        _lost: &mut dyn FnMut(Loss) -> Vec<Line>,
    ) -> Result<(), SinkError> {
        let lazy = self.lazy;
        self.with(|writer| {
            writer.write(&line)?;
            match writer.waiting() > lazy {
                true => writer.flush(),
                false => Ok(()),
            }
        })
    }

    fn dropped(&self) -> u64 {
        0
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        self.with(LineWriter::flush)
    }

    fn replace(&mut self, data: Box<dyn Write + Send>) -> Result<(), SinkError> {
        self.with(|writer| writer.replace(data))
    }
}

/// What a failed write means.
pub(crate) fn failed(output: &str, source: io::Error) -> SinkError {
    if source.kind() == io::ErrorKind::BrokenPipe {
        return SinkError::Closed;
    }
    SinkError::Write {
        output: output.to_owned(),
        source,
    }
}
