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
use super::table::ENTRIES_MAX;
use super::varint::{take, unzigzag};
use crate::decode::event::Ktime;
use crate::source::RawRecord;
use bytes::{Bytes, BytesMut};
use std::ops::Range;

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
    facts: Vec<Bytes>,
}

impl Step {
    /// The answers that it asked for, stored [`super::fact::Fact`]s.
    #[must_use]
    pub fn facts(&self) -> &[Bytes] {
        &self.facts
    }
}

const CUT: CaptureError = CaptureError::Content("a block ends inside of a record");
const NUMBER: CaptureError = CaptureError::Content("a block refers to what is not there");
const TWICE: CaptureError = CaptureError::Content("a block's streams make no sense");

/// Gives the inputs of one block.
#[derive(Debug)]
pub(super) struct Unpacker {
    abi: u32,
    plans: Vec<Plan>,
    payload: Bytes,
    streams: Vec<Range<usize>>,
    last: Vec<u64>,
    clock: u64,
    contexts: Vec<Bytes>,
    usual: Vec<Option<usize>>,
    sockets: Vec<(Bytes, u64)>,
    facts: Vec<Bytes>,
    /// Records are made here, side by side.
    arena: BytesMut,
    scratch: Vec<u8>,
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
            payload: Bytes::new(),
            streams: vec![0..0; COLUMNS + columns],
            last: vec![0; columns],
            clock: 0,
            contexts: Vec::new(),
            usual: Vec::new(),
            sockets: Vec::new(),
            facts: Vec::new(),
            arena: BytesMut::new(),
            scratch: Vec::new(),
        }
    }

    /// Begins a block.
    pub(super) fn load(&mut self, payload: Vec<u8>) -> Result<(), CaptureError> {
        self.streams.fill(0..0);
        self.last.fill(0);
        self.clock = 0;
        self.contexts.clear();
        self.usual.clear();
        self.sockets.clear();
        self.facts.clear();
        let mut rest = &payload[..];
        let count = take(&mut rest).ok_or(CUT)?;
        let mut lengths = Vec::new();
        for _ in 0..count {
            let stream = usize::try_from(take(&mut rest).ok_or(CUT)?).map_err(|_| TWICE)?;
            let length = usize::try_from(take(&mut rest).ok_or(CUT)?).map_err(|_| TWICE)?;
            if lengths.len() >= self.streams.len() {
                return Err(TWICE);
            }
            lengths.push((stream, length));
        }
        let mut start = payload.len() - rest.len();
        for (stream, length) in lengths {
            let end = start
                .checked_add(length)
                .filter(|&end| end <= payload.len());
            let end = end.ok_or(CUT)?;
            match self.streams.get_mut(stream) {
                Some(place) if *place == (0..0) => *place = start..end,
                Some(_) | None => return Err(TWICE),
            }
            start = end;
        }
        self.payload = Bytes::from(payload);
        Ok(())
    }

    /// Forgets the rest of the block.
    pub(super) fn abandon(&mut self) {
        self.streams.fill(0..0);
    }

    /// The next input; `None` at the block's end.
    pub(super) fn next(&mut self) -> Result<Option<Step>, CaptureError> {
        let Some(op) = self.op() else {
            return Ok(None);
        };
        let mut at = None;
        let input = match op {
            RAW => {
                let bytes = self.string()?;
                if let Some(time) = bytes.get(8..16).and_then(<[u8]>::first_chunk) {
                    self.clock = u64::from_le_bytes(*time);
                }
                Input::Record(RawRecord::new(compat::upgrade(self.abi, bytes)))
            }
            DRAINED => Input::Drained,
            TICK => {
                let difference = unzigzag(self.varint(NUMBERS)?);
                self.clock = self.clock.wrapping_add(difference);
                Input::Tick(Ktime(self.clock))
            }
            NOTE => {
                let bytes = self.string()?;
                match rmp_serde::from_slice(&bytes) {
                    Ok(note) => Input::Note(note),
                    Err(error) => Input::Unknown(error.to_string()),
                }
            }
            FACT | FACT_AGAIN => {
                return Err(CaptureError::Content("a block begins with an answer"));
            }
            RECORD.. => {
                let (record, context) = self.record(usize::from(op - RECORD))?;
                at = context;
                Input::Record(RawRecord::new(compat::upgrade(self.abi, record)))
            }
            _ => return Err(CaptureError::Content("a block holds an unknown operation")),
        };
        let time = Ktime(self.clock);
        let facts = self.answers(at)?;
        Ok(Some(Step { input, time, facts }))
    }

    /// The answers behind an input, and the usual one of its context.
    fn answers(&mut self, at: Option<usize>) -> Result<Vec<Bytes>, CaptureError> {
        let mut facts = Vec::new();
        loop {
            let ops = self.streams[OPS].clone();
            let number = match self.payload[ops].first() {
                Some(&FACT) => {
                    self.streams[OPS].start += 1;
                    let bytes = self.string()?;
                    self.facts.push(bytes);
                    self.facts.len() - 1
                }
                Some(&FACT_AGAIN) => {
                    self.streams[OPS].start += 1;
                    usize::try_from(self.varint(NUMBERS)?).map_err(|_| NUMBER)?
                }
                Some(_) | None => break,
            };
            let bytes = self.facts.get(number).ok_or(NUMBER)?.clone();
            if let Some(usual) = at.and_then(|at| self.usual.get_mut(at)) {
                usual.get_or_insert(number);
            }
            facts.push(bytes);
        }
        let usual = at.and_then(|at| self.usual.get(at).copied().flatten());
        if let Some(bytes) = usual.and_then(|number| self.facts.get(number)) {
            facts.push(bytes.clone());
        }
        Ok(facts)
    }

    /// A record by its layout, and its context.
    fn record(&mut self, op: usize) -> Result<(Bytes, Option<usize>), CaptureError> {
        let plans = std::mem::take(&mut self.plans);
        let record = match plans.get(op / 4) {
            Some(plan) => self.planned(plan, op & 2 != 0, op & 1 != 0),
            None => Err(CaptureError::Content(
                "a block holds a record without a layout",
            )),
        };
        self.plans = plans;
        record
    }

    fn planned(
        &mut self,
        plan: &Plan,
        new_context: bool,
        new_socket: bool,
    ) -> Result<(Bytes, Option<usize>), CaptureError> {
        if self.arena.capacity() < plan.size {
            self.arena.reserve(ARENA.max(plan.size));
        }
        self.arena.resize(plan.size, 0);
        let mut arena = std::mem::take(&mut self.arena);
        let record = &mut arena[..];

        let mut at = None;
        if new_context {
            self.part(&plan.context, record, None)?;
            let bytes = self.gathered(&plan.context, record);
            if self.contexts.len() >= ENTRIES_MAX {
                return Err(TWICE);
            }
            at = Some(self.contexts.len());
            self.contexts.push(bytes);
            self.usual.push(None);
        } else if plan.context.len > 0 {
            let number = usize::try_from(self.varint(NUMBERS)?).map_err(|_| NUMBER)?;
            let bytes = self.contexts.get(number).ok_or(NUMBER)?;
            if bytes.len() != plan.context.len {
                return Err(NUMBER);
            }
            plan.context.scatter(bytes, record);
            at = Some(number);
        }
        let mut born = None;
        let mut brought = None;
        if new_socket {
            self.part(&plan.socket, record, None)?;
            brought = Some(self.gathered(&plan.socket, record));
        } else if plan.socket.len > 0 {
            let number = usize::try_from(self.varint(NUMBERS)?).map_err(|_| NUMBER)?;
            let (bytes, time) = self.sockets.get(number).ok_or(NUMBER)?;
            if bytes.len() != plan.socket.len {
                return Err(NUMBER);
            }
            plan.socket.scatter(bytes, record);
            born = Some(*time);
        }
        self.part(&plan.own, record, born)?;
        if let Some(bytes) = brought {
            if self.sockets.len() >= ENTRIES_MAX {
                return Err(TWICE);
            }
            self.sockets.push((bytes, self.clock));
        }
        self.arena = arena;
        Ok((self.arena.split().freeze(), at))
    }

    fn gathered(&mut self, part: &Part, record: &[u8]) -> Bytes {
        self.scratch.clear();
        part.gather(record, &mut self.scratch);
        Bytes::copy_from_slice(&self.scratch)
    }

    fn part(
        &mut self,
        part: &Part,
        record: &mut [u8],
        born: Option<u64>,
    ) -> Result<(), CaptureError> {
        for step in &part.steps {
            let stream = COLUMNS + step.column;
            if step.code == Code::Raw {
                let place = &mut self.streams[stream];
                let bytes = self.payload.get(place.start..place.end);
                let bytes = bytes.and_then(|bytes| bytes.get(..step.width)).ok_or(CUT)?;
                record[step.offset..step.offset + step.width].copy_from_slice(bytes);
                place.start += step.width;
                continue;
            }
            let difference = unzigzag(self.varint(stream)?);
            let base = match step.code {
                Code::Raw => 0,
                Code::Last => self.last[step.column],
                Code::Time | Code::Clock => self.clock,
                Code::Born => born.unwrap_or(self.clock),
                Code::Like(_) => number(record, step.like.0, step.like.1),
            };
            let value = base.wrapping_add(difference);
            match step.code {
                Code::Last => self.last[step.column] = value,
                Code::Time => self.clock = value,
                Code::Raw | Code::Clock | Code::Born | Code::Like(_) => {}
            }
            set_number(record, step.offset, step.width, value);
        }
        Ok(())
    }

    fn op(&mut self) -> Option<u8> {
        let place = &mut self.streams[OPS];
        let op = self.payload.get(place.clone())?.first().copied()?;
        place.start += 1;
        Some(op)
    }

    #[inline]
    fn varint(&mut self, stream: usize) -> Result<u64, CaptureError> {
        let place = &mut self.streams[stream];
        let mut rest = &self.payload[place.clone()];
        let value = take(&mut rest).ok_or(CUT)?;
        place.start = place.end - rest.len();
        Ok(value)
    }

    fn string(&mut self) -> Result<Bytes, CaptureError> {
        let length = usize::try_from(self.varint(STRINGS)?).map_err(|_| CUT)?;
        let place = &mut self.streams[STRINGS];
        let end = place
            .start
            .checked_add(length)
            .filter(|&end| end <= place.end);
        let bytes = self.payload.slice(place.start..end.ok_or(CUT)?);
        place.start += length;
        Ok(bytes)
    }
}
