//! The streams of a block's payload, read number by number and field by field. Whatever the bytes: no
//! panic.

use super::error::CaptureError;
use super::layout::Code;
use super::pack::{COLUMNS, OPS, STRINGS};
use super::plan::{Part, Step, number, set};
use super::still::{Still, naps};
use super::varint::{Cursor, take, unzigzag};
use bytes::Bytes;

/// What is wrong with a block.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wrong {
    /// It ends inside of a record.
    Cut,
    /// It refers to what is not there.
    Number,
    /// Its streams make no sense.
    Streams,
    /// It begins with an answer.
    Answer,
    /// It holds an unknown operation.
    Operation,
    /// It holds a record without a layout.
    Layout,
}

impl From<Wrong> for CaptureError {
    fn from(wrong: Wrong) -> Self {
        Self::Content(match wrong {
            Wrong::Cut => "a block ends inside of a record",
            Wrong::Number => "a block refers to what is not there",
            Wrong::Streams => "a block's streams make no sense",
            Wrong::Answer => "a block begins with an answer",
            Wrong::Operation => "a block holds an unknown operation",
            Wrong::Layout => "a block holds a record without a layout",
        })
    }
}

/// What is left of a stream, and the last value of its field.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Column {
    pub(super) left: Cursor,
    last: u64,
}

/// The streams of a payload, and what their numbers are differences to.
#[derive(Debug)]
pub(super) struct Streams {
    payload: Vec<u8>,
    /// Those of no field, and a column for each field.
    streams: Vec<Column>,
    pub(super) clock: u64,
}

impl Streams {
    /// Those of layouts with so many columns; empty.
    pub(super) fn new(columns: usize) -> Self {
        Self {
            payload: Vec::new(),
            streams: vec![Column::default(); COLUMNS + columns],
            clock: 0,
        }
    }

    /// Nothing is left to be read.
    pub(super) fn forget(&mut self) {
        self.streams.fill(Column::default());
    }

    /// Begins a payload, and gives the one before in its place.
    pub(super) fn load(&mut self, payload: &mut Vec<u8>) -> Result<(), Wrong> {
        self.forget();
        self.clock = 0;
        let mut rest = &payload[..];
        let count = take(&mut rest).ok_or(Wrong::Cut)?;
        let mut lengths = Vec::new();
        for _ in 0..count {
            let mut size =
                || usize::try_from(take(&mut rest).ok_or(Wrong::Cut)?).map_err(|_| Wrong::Streams);
            let (stream, length) = (size()?, size()?);
            if lengths.len() >= self.streams.len() {
                return Err(Wrong::Streams);
            }
            lengths.push((stream, length));
        }
        let mut start = payload.len() - rest.len();
        for (stream, length) in lengths {
            let end = start
                .checked_add(length)
                .filter(|&end| end <= payload.len());
            let end = end.ok_or(Wrong::Cut)?;
            match self.streams.get_mut(stream) {
                Some(Column { left, .. }) if *left == Cursor::default() => {
                    *left = Cursor { at: start, end };
                }
                Some(_) | None => return Err(Wrong::Streams),
            }
            start = end;
        }
        std::mem::swap(&mut self.payload, payload);
        Ok(())
    }

    /// The next operation, which is not taken.
    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        let ops = self.streams[OPS].left;
        (ops.at < ops.end).then(|| self.payload[ops.at])
    }

    /// The next operation.
    #[inline]
    pub(super) fn op(&mut self) -> Option<u8> {
        let op = self.peek()?;
        self.streams[OPS].left.at += 1;
        Some(op)
    }

    /// The next number of a stream.
    #[inline]
    pub(super) fn varint(&mut self, stream: usize) -> Result<u64, Wrong> {
        let left = &mut self.streams[stream].left;
        left.take(&self.payload).ok_or(Wrong::Cut)
    }

    /// The same, of a thing that the block has already.
    #[inline]
    pub(super) fn index(&mut self, stream: usize) -> Result<usize, Wrong> {
        usize::try_from(self.varint(stream)?).map_err(|_| Wrong::Number)
    }

    /// Where a stream is read now.
    pub(super) fn mark(&self, stream: usize) -> Cursor {
        self.streams[stream].left
    }

    /// Back to where [`Self::mark`] was asked.
    pub(super) fn back(&mut self, stream: usize, mark: Cursor) {
        self.streams[stream].left = mark;
    }

    /// The next byte string.
    pub(super) fn string(&mut self) -> Result<Bytes, Wrong> {
        let length = usize::try_from(self.varint(STRINGS)?).map_err(|_| Wrong::Cut)?;
        let place = &mut self.streams[STRINGS].left;
        let end = place.at.checked_add(length).filter(|&end| end <= place.end);
        let bytes = self.payload.get(place.at..end.ok_or(Wrong::Cut)?);
        let bytes = Bytes::copy_from_slice(bytes.ok_or(Wrong::Cut)?);
        place.at += length;
        Ok(bytes)
    }

    /// The fields of a part.
    pub(super) fn part(
        &mut self,
        part: &Part,
        record: &mut [u8],
        born: Option<u64>,
    ) -> Result<(), Wrong> {
        for step in &part.steps {
            match step.width {
                1 => self.field::<1>(step, record, born)?,
                2 => self.field::<2>(step, record, born)?,
                4 => self.field::<4>(step, record, born)?,
                _ => self.field::<8>(step, record, born)?,
            }
        }
        Ok(())
    }

    /// A field of `W` bytes.
    #[inline]
    fn field<const W: usize>(
        &mut self,
        step: &Step,
        record: &mut [u8],
        born: Option<u64>,
    ) -> Result<(), Wrong> {
        let Column { left, last } = &mut self.streams[COLUMNS + step.column];
        if step.code == Code::Raw {
            let value = left.raw::<W>(&self.payload).ok_or(Wrong::Cut)?;
            set::<W>(record, step.offset, value);
            return Ok(());
        }
        let difference = unzigzag(left.take(&self.payload).ok_or(Wrong::Cut)?);
        let value = match step.code {
            Code::Raw => difference,
            Code::Last => {
                *last = last.wrapping_add(difference);
                *last
            }
            Code::Time => {
                self.clock = self.clock.wrapping_add(difference);
                self.clock
            }
            Code::Clock => self.clock.wrapping_add(difference),
            Code::Born => born.unwrap_or(self.clock).wrapping_add(difference),
            Code::Like(_) => number(record, step.like.0, step.like.1).wrapping_add(difference),
        };
        set::<W>(record, step.offset, value);
        Ok(())
    }

    /// The fields of a part that is plain: `still` holds them as they were last, and takes what has
    /// changed since.
    #[inline]
    pub(super) fn changes(&mut self, part: &Part, still: &mut Still) -> Result<(), Wrong> {
        let Still { bytes, awake, .. } = still.next(part, &mut self.streams[COLUMNS..]);
        let mut idle = false;
        for &at in &*awake {
            let step = &part.steps[usize::from(at)];
            idle |= match step.width {
                1 => self.change::<1>(step, bytes)?,
                2 => self.change::<2>(step, bytes)?,
                4 => self.change::<4>(step, bytes)?,
                _ => self.change::<8>(step, bytes)?,
            };
        }
        if idle {
            still.lull(part, &self.streams[COLUMNS..], &self.payload);
        }
        Ok(())
    }

    /// A field of `W` bytes of such a part; whether it will stand still for long.
    #[inline]
    fn change<const W: usize>(&mut self, step: &Step, bytes: &mut [u8]) -> Result<bool, Wrong> {
        let Column { left, last } = &mut self.streams[COLUMNS + step.column];
        if step.code == Code::Raw {
            let value = left.raw::<W>(&self.payload).ok_or(Wrong::Cut)?;
            set::<W>(bytes, step.packed, value);
            return Ok(false);
        }
        let difference = unzigzag(left.take(&self.payload).ok_or(Wrong::Cut)?);
        if difference == 0 {
            // It stands there already.
            let ahead = self.payload.get(left.at..left.end);
            return Ok(ahead.is_some_and(naps));
        }
        *last = last.wrapping_add(difference);
        set::<W>(bytes, step.packed, *last);
        Ok(false)
    }
}
