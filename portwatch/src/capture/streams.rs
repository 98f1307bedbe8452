//! The streams of a block's payload, read number by number and field by field. Whatever the bytes: no
//! panic.

use super::error::CaptureError;
use super::layout::Code;
use super::pack::{COLUMNS, OPS, STRINGS};
use super::plan::{Part, Step, number, set};
use super::varint::{Cursor, take, unzigzag};
use bytes::Bytes;
use std::ops::Range;

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
struct Column {
    left: Cursor,
    last: u64,
    /// All that is left is zeros; `None` as long as nobody has looked.
    zeros: Option<bool>,
}

/// Values that are read together, a power of two.
const AT_ONCE: usize = 64;

/// The streams of a payload, and what their numbers are differences to.
#[derive(Debug)]
pub(super) struct Streams {
    payload: Vec<u8>,
    /// Those of no field, and a column for each field.
    streams: Vec<Column>,
    /// By column: the values that were asked for, and those before them.
    values: Vec<Vec<u64>>,
    pub(super) clock: u64,
}

impl Streams {
    /// Those of layouts with so many columns; empty.
    pub(super) fn new(columns: usize) -> Self {
        Self {
            payload: Vec::new(),
            streams: vec![Column::default(); COLUMNS + columns],
            values: vec![Vec::new(); columns],
            clock: 0,
        }
    }

    /// Nothing is left to be read.
    pub(super) fn forget(&mut self) {
        self.streams.fill(Column::default());
        self.values.iter_mut().for_each(Vec::clear);
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
        let place = self.string_place()?;
        self.copy(place).ok_or(Wrong::Cut)
    }

    /// Where the next byte string lies, behind which it goes.
    pub(super) fn string_place(&mut self) -> Result<Range<usize>, Wrong> {
        let length = usize::try_from(self.varint(STRINGS)?).map_err(|_| Wrong::Cut)?;
        let left = &mut self.streams[STRINGS].left;
        let end = left.at.checked_add(length).filter(|&end| end <= left.end);
        let place = left.at..end.ok_or(Wrong::Cut)?;
        left.at = place.end;
        Ok(place)
    }

    /// The bytes that lie there.
    pub(super) fn copy(&self, place: Range<usize>) -> Option<Bytes> {
        self.payload.get(place).map(Bytes::copy_from_slice)
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
        let Column { left, last, .. } = &mut self.streams[COLUMNS + step.column];
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

    /// Goes behind the fields of a part, but only as far as the clock needs.
    #[inline]
    pub(super) fn pass(&mut self, part: &Part) -> Result<(), Wrong> {
        for column in &part.clocks {
            let left = &mut self.streams[COLUMNS + column].left;
            let difference = left.take(&self.payload).ok_or(Wrong::Cut)?;
            self.clock = self.clock.wrapping_add(unzigzag(difference));
        }
        Ok(())
    }

    /// The rest of that, for so many of the part.
    pub(super) fn catch_up(&mut self, part: &Part, count: usize) -> Result<(), Wrong> {
        for step in &part.steps {
            let Column { left, last, .. } = &mut self.streams[COLUMNS + step.column];
            match step.code {
                Code::Time => {}
                Code::Raw => left.skip(step.width, count).ok_or(Wrong::Cut)?,
                Code::Last => {
                    for _ in 0..count {
                        let difference = left.take(&self.payload).ok_or(Wrong::Cut)?;
                        *last = last.wrapping_add(unzigzag(difference));
                    }
                }
                Code::Clock | Code::Born | Code::Like(_) => {
                    for _ in 0..count {
                        left.take(&self.payload).ok_or(Wrong::Cut)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A field of a plain part, of which there were `at` before.
    #[inline]
    pub(super) fn value(&mut self, step: &Step, at: usize) -> Result<u64, Wrong> {
        let column = &mut self.streams[COLUMNS + step.column];
        if column.zeros == Some(true) {
            return column.zero(at);
        }
        if step.code == Code::Raw {
            let mut there = column.left;
            there.skip(step.width, at).ok_or(Wrong::Cut)?;
            let bytes = self.payload.get(there.at..there.end).ok_or(Wrong::Cut)?;
            let value = bytes.len() >= step.width;
            return value
                .then(|| number(bytes, 0, step.width))
                .ok_or(Wrong::Cut);
        }
        let Some(values) = self.values.get_mut(step.column) else {
            return Err(Wrong::Streams);
        };
        match values.get(at) {
            Some(value) => Ok(*value),
            None => column.read(values, at, &self.payload),
        }
    }
}

impl Column {
    /// The value with number `at` where all are zeros.
    #[inline]
    fn zero(&self, at: usize) -> Result<u64, Wrong> {
        let there = at < self.left.end - self.left.at;
        there.then_some(0).ok_or(Wrong::Cut)
    }

    /// Reads on, up to the value with number `at` and as far as that is cheap.
    fn read(&mut self, values: &mut Vec<u64>, at: usize, payload: &[u8]) -> Result<u64, Wrong> {
        if values.is_empty() {
            // Most columns stand still from one end to the other.
            let bytes = payload.get(self.left.at..self.left.end).unwrap_or_default();
            let zeros = || bytes.iter().all(|byte| *byte == 0);
            if *self.zeros.get_or_insert_with(zeros) {
                return self.zero(at);
            }
        }
        values.reserve(AT_ONCE);
        while values.len() <= at | (AT_ONCE - 1) {
            let Some(difference) = self.left.take(payload) else {
                break;
            };
            self.last = self.last.wrapping_add(unzigzag(difference));
            values.push(self.last);
        }
        values.get(at).copied().ok_or(Wrong::Cut)
    }
}
