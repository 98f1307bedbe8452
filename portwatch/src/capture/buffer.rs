//! A stream that can be looked ahead into.

use super::error::CaptureError;
use super::header::{CaptureHeader, PRELUDE, Prelude};
use std::io::{ErrorKind, Read};

/// Bytes that are read at once.
pub(super) const CHUNK: usize = 1 << 18;

/// Holds what was looked at and not skipped.
pub(super) struct Buffer<R> {
    source: R,
    bytes: Vec<u8>,
    start: usize,
    exhausted: bool,
}

impl<R: Read> Buffer<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source,
            bytes: Vec::new(),
            start: 0,
            exhausted: false,
        }
    }

    /// The next bytes, `wanted` or more; fewer only at the end of the stream.
    pub(super) fn peek(&mut self, wanted: usize) -> Result<&[u8], CaptureError> {
        while self.bytes.len() - self.start < wanted && !self.exhausted {
            if self.start > 0 {
                self.bytes.drain(..self.start);
                self.start = 0;
            }
            // Piece by piece: what a length claims is not taken before it is there.
            let had = self.bytes.len();
            self.bytes.resize(had + CHUNK, 0);
            let read = loop {
                match self.source.read(&mut self.bytes[had..]) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    read => break read,
                }
            };
            self.bytes
                .truncate(had + read.as_ref().copied().unwrap_or(0));
            self.exhausted = read.map_err(CaptureError::Read)? == 0;
        }
        Ok(&self.bytes[self.start..])
    }

    /// Goes on behind bytes that were looked at.
    pub(super) fn skip(&mut self, count: usize) {
        self.start = (self.start + count).min(self.bytes.len());
    }

    /// The header that stands here; nothing is skipped on an error.
    pub(super) fn header(&mut self) -> Result<(CaptureHeader, u32), CaptureError> {
        let prelude = Prelude::read(self.peek(PRELUDE)?)?;
        let bytes = self.peek(PRELUDE + prelude.length)?;
        let end = bytes.len().min(PRELUDE + prelude.length);
        let header = prelude.header(bytes.get(PRELUDE..end).unwrap_or_default())?;
        self.skip(PRELUDE + prelude.length);
        Ok((header, prelude.salt))
    }
}
