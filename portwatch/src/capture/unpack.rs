//! A block's payload back to what the pipeline took. Whatever the bytes: no panic, and no more
//! memory than a few times the payload.

use super::compat;
use super::error::CaptureError;
use super::layout::{Code, Layout};
use super::note::Note;
use super::pack::{
    COLUMNS, DRAINED, FACT, FACT_AGAIN, NOTE, NUMBERS, OPS, RAW, RECORD, STRINGS, TICK,
};
use super::plan::{Part, Plan, number, plans, set_number};
use super::seen::{Patterns, Seen};
use super::varint::{Cursor, take, unzigzag};
use crate::decode::event::Ktime;
use crate::source::RawRecord;
use bytes::{Bytes, BytesMut};

/// What the pipeline took next.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A record.
    Record(RawRecord),
    /// The rings were drained.
    Drained,
    /// Time had come so far.
    Tick(Ktime),
    /// Anything else.
    Note(Note),
    /// Something that this build does not know.
    Unknown(String),
}

/// An input and the answers behind it.
#[derive(Clone, Debug)]
pub struct Step {
    /// What was taken.
    pub input: Input,
    /// Kernel time of the block's clock then.
    pub time: Ktime,
    /// The answers that it asked for, stored [`super::fact::Fact`]s.
    pub answers: Stored,
}

/// Stored answers: nearly always one, which takes no memory of its own.
#[derive(Clone, Debug, Default)]
pub enum Stored {
    /// None.
    #[default]
    Nothing,
    /// One.
    One(Bytes),
    /// Several, in order.
    Several(Vec<Bytes>),
}

impl Stored {
    fn push(&mut self, bytes: Bytes) {
        *self = match std::mem::take(self) {
            Self::Nothing => Self::One(bytes),
            Self::One(first) => Self::Several(vec![first, bytes]),
            Self::Several(mut all) => {
                all.push(bytes);
                Self::Several(all)
            }
        };
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Bytes] {
        match self {
            Self::Nothing => &[],
            Self::One(bytes) => std::slice::from_ref(bytes),
            Self::Several(all) => all,
        }
    }
}

/// What is wrong with a block.
#[derive(Clone, Copy, Debug)]
enum Wrong {
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

/// Gives the inputs of one block.
#[derive(Debug)]
pub(super) struct Unpacker {
    abi: u32,
    plans: Vec<Plan>,
    block: Block,
    contexts: Patterns,
    usual: Vec<Option<u32>>,
    sockets: Seen,
    /// By socket: the time of the record that brought it.
    born: Vec<u64>,
    facts: Vec<Bytes>,
    /// Records are made here, side by side.
    arena: BytesMut,
}

/// The streams of a payload, and what their numbers are differences to.
#[derive(Debug)]
struct Block {
    payload: Bytes,
    streams: Vec<Cursor>,
    last: Vec<u64>,
    clock: u64,
}

/// Bytes of the arena that are taken at once.
const ARENA: usize = 1 << 16;

impl Unpacker {
    /// For the sound layouts of a header.
    pub(super) fn new(layouts: &[Layout], abi: u32) -> Self {
        let (plans, columns) = plans(layouts);
        Self {
            abi,
            plans,
            block: Block {
                payload: Bytes::new(),
                streams: vec![Cursor::default(); COLUMNS + columns],
                last: vec![0; columns],
                clock: 0,
            },
            contexts: Patterns::default(),
            usual: Vec::new(),
            sockets: Seen::default(),
            born: Vec::new(),
            facts: Vec::new(),
            arena: BytesMut::new(),
        }
    }

    /// Begins a block.
    pub(super) fn load(&mut self, payload: Vec<u8>) -> Result<(), CaptureError> {
        self.contexts.clear();
        self.usual.clear();
        self.sockets.clear();
        self.born.clear();
        self.facts.clear();
        Ok(self.block.load(payload)?)
    }

    /// Forgets the rest of the block.
    pub(super) fn abandon(&mut self) {
        self.block.streams.fill(Cursor::default());
    }

    /// The next input; `None` at the block's end.
    pub(super) fn next(&mut self) -> Result<Option<Step>, CaptureError> {
        let Some(op) = self.block.op() else {
            return Ok(None);
        };
        let mut at = None;
        let input = match op {
            RAW => {
                let bytes = self.block.string()?;
                if let Some(time) = bytes.get(8..16).and_then(<[u8]>::first_chunk) {
                    self.block.clock = u64::from_le_bytes(*time);
                }
                Input::Record(RawRecord::new(compat::upgrade(self.abi, bytes)))
            }
            DRAINED => Input::Drained,
            TICK => {
                let difference = unzigzag(self.block.varint(NUMBERS)?);
                self.block.clock = self.block.clock.wrapping_add(difference);
                Input::Tick(Ktime(self.block.clock))
            }
            NOTE => {
                let bytes = self.block.string()?;
                match rmp_serde::from_slice(&bytes) {
                    Ok(note) => Input::Note(note),
                    Err(error) => Input::Unknown(error.to_string()),
                }
            }
            FACT | FACT_AGAIN => return Err(Wrong::Answer.into()),
            RECORD.. => {
                let (record, context) = self.record(usize::from(op - RECORD))?;
                at = context;
                Input::Record(RawRecord::new(compat::upgrade(self.abi, record)))
            }
            _ => return Err(Wrong::Operation.into()),
        };
        let time = Ktime(self.block.clock);
        let answers = self.answers(at)?;
        Ok(Some(Step {
            input,
            time,
            answers,
        }))
    }

    /// The answers behind an input, and the usual one of its context.
    fn answers(&mut self, at: Option<u32>) -> Result<Stored, Wrong> {
        let mut answers = Stored::Nothing;
        while let Some(op @ (FACT | FACT_AGAIN)) = self.block.peek() {
            self.block.op();
            let number = match op {
                FACT => {
                    let bytes = self.block.string()?;
                    self.facts.push(bytes);
                    self.facts.len() - 1
                }
                _ => self.block.index(NUMBERS)?,
            };
            let bytes = self.facts.get(number).ok_or(Wrong::Number)?.clone();
            if let Some(usual) = at.and_then(|at| self.usual.get_mut(at as usize)) {
                usual.get_or_insert(u32::try_from(number).map_err(|_| Wrong::Number)?);
            }
            answers.push(bytes);
        }
        let usual = at.and_then(|at| self.usual.get(at as usize).copied().flatten());
        if let Some(bytes) = usual.and_then(|number| self.facts.get(number as usize)) {
            answers.push(bytes.clone());
        }
        Ok(answers)
    }

    /// A record by its layout, and the number of its context.
    fn record(&mut self, op: usize) -> Result<(Bytes, Option<u32>), Wrong> {
        let Self {
            plans,
            block,
            contexts,
            usual,
            sockets,
            born,
            arena,
            ..
        } = self;
        let layout = op / 4;
        let plan = plans.get(layout).ok_or(Wrong::Layout)?;
        let (new_context, new_socket) = (op & 2 != 0, op & 1 != 0);
        if arena.capacity() < plan.size {
            arena.reserve(ARENA.max(plan.size));
        }
        // A record that failed half way is no beginning for the next.
        arena.clear();
        let mut at = None;
        if new_context || plan.context.len == 0 {
            arena.resize(plan.size, 0);
            if new_context {
                block.part(&plan.context, &mut arena[..], None)?;
                at = Some(contexts.push(layout, arena).ok_or(Wrong::Streams)?);
                usual.push(None);
            }
        } else {
            let number = block.index(NUMBERS)?;
            let pattern = contexts.get(number, layout, plan.size);
            arena.extend_from_slice(pattern.ok_or(Wrong::Number)?);
            at = u32::try_from(number).ok();
        }
        let record = &mut arena[..];
        let mut since = None;
        if new_socket {
            block.part(&plan.socket, record, None)?;
            sockets.push(&plan.socket, record).ok_or(Wrong::Streams)?;
        } else if plan.socket.len > 0 {
            let number = block.index(NUMBERS)?;
            sockets
                .put(number, &plan.socket, record)
                .ok_or(Wrong::Number)?;
            since = born.get(number).copied();
        }
        block.part(&plan.own, record, since)?;
        if new_socket {
            born.push(block.clock);
        }
        Ok((arena.split().freeze(), at))
    }
}

impl Block {
    fn load(&mut self, payload: Vec<u8>) -> Result<(), Wrong> {
        self.streams.fill(Cursor::default());
        self.last.fill(0);
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
                Some(place) if *place == Cursor::default() => *place = Cursor { at: start, end },
                Some(_) | None => return Err(Wrong::Streams),
            }
            start = end;
        }
        self.payload = Bytes::from(payload);
        Ok(())
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        let ops = self.streams[OPS];
        (ops.at < ops.end).then(|| self.payload[ops.at])
    }

    #[inline]
    fn op(&mut self) -> Option<u8> {
        let op = self.peek()?;
        self.streams[OPS].at += 1;
        Some(op)
    }

    #[inline]
    fn varint(&mut self, stream: usize) -> Result<u64, Wrong> {
        self.streams[stream].take(&self.payload).ok_or(Wrong::Cut)
    }

    #[inline]
    fn index(&mut self, stream: usize) -> Result<usize, Wrong> {
        usize::try_from(self.varint(stream)?).map_err(|_| Wrong::Number)
    }

    fn string(&mut self) -> Result<Bytes, Wrong> {
        let length = usize::try_from(self.varint(STRINGS)?).map_err(|_| Wrong::Cut)?;
        let place = &mut self.streams[STRINGS];
        let end = place.at.checked_add(length).filter(|&end| end <= place.end);
        let bytes = self.payload.slice(place.at..end.ok_or(Wrong::Cut)?);
        place.at += length;
        Ok(bytes)
    }

    /// The fields of a part.
    fn part(&mut self, part: &Part, record: &mut [u8], born: Option<u64>) -> Result<(), Wrong> {
        let payload = &self.payload[..];
        for step in &part.steps {
            let stream = &mut self.streams[COLUMNS + step.column];
            if step.code == Code::Raw {
                let end = stream.at + step.width;
                if end > stream.end {
                    return Err(Wrong::Cut);
                }
                let value = number(payload, stream.at, step.width);
                set_number(record, step.offset, step.width, value);
                stream.at = end;
                continue;
            }
            let difference = unzigzag(stream.take(payload).ok_or(Wrong::Cut)?);
            let value = match step.code {
                Code::Raw => difference,
                Code::Last => {
                    let last = &mut self.last[step.column];
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
            set_number(record, step.offset, step.width, value);
        }
        Ok(())
    }
}
