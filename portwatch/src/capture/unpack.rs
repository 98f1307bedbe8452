//! A block's payload back to what the pipeline took. Whatever the bytes: no panic, and no more
//! memory than a few times the payload.

use super::ahead::{Ahead, Next};
use super::compat;
use super::contexts::Patterns;
use super::error::CaptureError;
use super::input::{Input, Step, Stored};
use super::layout::{Layout, RECORD_MAX};
use super::pack::{DRAINED, FACT, FACT_AGAIN, NOTE, NUMBERS, RAW, TICK};
use super::plan::{Plan, plans};
use super::sockets::Sockets;
use super::streams::{Streams, Wrong};
use super::varint::unzigzag;
use crate::decode::event::Ktime;
use crate::decode::{Traffic, traffic};
use crate::source::RawRecord;
use bytes::{Bytes, BytesMut};
use std::ops::Range;

/// Gives the inputs of one block.
#[derive(Debug)]
pub(super) struct Unpacker {
    abi: u32,
    plans: Vec<Plan>,
    streams: Streams,
    ahead: Ahead,
    contexts: Patterns,
    /// By context: the number of its usual answer.
    usual: Vec<Option<u32>>,
    sockets: Sockets,
    /// By layout: how many records were passed over whose own fields were not.
    owed: Vec<usize>,
    facts: Vec<Fact>,
    /// A record is made here.
    bench: Box<[u8; RECORD_MAX]>,
    /// The one on the bench is still to be given.
    ready: Option<Made>,
    /// Records that are given, side by side.
    arena: BytesMut,
}

/// An answer, whose bytes are taken out of the payload when somebody wants them.
#[derive(Debug)]
struct Fact {
    place: Range<usize>,
    bytes: Option<Bytes>,
}

/// A record on the bench.
#[derive(Clone, Copy, Debug)]
struct Made {
    size: usize,
    /// Number of its context.
    context: Option<usize>,
}

/// Records that nobody needed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Passed {
    /// How many.
    pub records: u64,
    /// The latest time of the block's clock behind one of them.
    pub last: Ktime,
}

/// Answers in a block, and behind one input: more than there are in any that this writer makes.
const FACTS_MAX: usize = 1 << 18;
const ANSWERS_MAX: usize = 1 << 16;
/// Bytes of the answers behind one input: several times what a block may hold, since one answer may
/// be given again.
const ANSWERS_BYTES: usize = 64 << 20;

/// Bytes of the arena that are taken at once.
const ARENA: usize = 1 << 16;

impl Unpacker {
    /// For the sound layouts of a header.
    pub(super) fn new(layouts: &[Layout], abi: u32) -> Self {
        let (plans, columns) = plans(layouts);
        Self {
            abi,
            owed: vec![0; plans.len()],
            plans,
            streams: Streams::new(columns),
            ahead: Ahead::default(),
            contexts: Patterns::default(),
            usual: Vec::new(),
            sockets: Sockets::default(),
            facts: Vec::new(),
            bench: Box::new([0; RECORD_MAX]),
            ready: None,
            arena: BytesMut::new(),
        }
    }

    /// Begins a block, and gives the payload of the one before in its place.
    pub(super) fn load(&mut self, payload: &mut Vec<u8>) -> Result<(), CaptureError> {
        self.contexts.clear();
        self.usual.clear();
        self.sockets.clear(self.plans.len());
        self.facts.clear();
        self.ready = None;
        self.ahead.clear();
        self.owed.fill(0);
        self.streams.load(payload).map_err(|wrong| {
            // Half of it may lie ready, over the bytes of the block before.
            self.abandon();
            wrong.into()
        })
    }

    /// Forgets the rest of the block.
    pub(super) fn abandon(&mut self) {
        self.ready = None;
        self.ahead.clear();
        self.streams.forget();
    }

    /// Goes behind the records that come next and that `passes` lets go by, with their answers.
    pub(super) fn pass_over(
        &mut self,
        passed: &mut Passed,
        mut passes: impl FnMut(Traffic) -> bool,
    ) -> Result<(), CaptureError> {
        while self.ready.is_none()
            && let Some(next) = self.next_record()?
        {
            let (context, told) = match next.traffic {
                Some(traffic) => (Some(next.context), Some(traffic)),
                None => {
                    let context = self.context(&next)?;
                    (context, self.told(&next, context))
                }
            };
            if told.is_some_and(&mut passes) {
                self.skip(&next)?;
            } else {
                if next.traffic.is_some() {
                    self.context(&next)?;
                }
                let made = self.rest(&next, context)?;
                let record = &self.bench[..made.size];
                if told.is_some() || !traffic(record).is_some_and(&mut passes) {
                    self.ready = Some(made);
                    break;
                }
            }
            passed.records += 1;
            passed.last = passed.last.max(Ktime(self.streams.clock));
            while let Some(op) = self.next_answer() {
                self.answer(op, context)?;
            }
        }
        Ok(())
    }

    /// What the record is whose context lies on the bench, if that tells; kept for those that have
    /// the same.
    fn told(&mut self, next: &Next, context: Option<usize>) -> Option<Traffic> {
        let plan = self.plans.get(next.layout)?;
        let context = context.filter(|_| plan.told_by_context)?;
        let traffic = traffic(self.bench.get(..plan.size)?)?;
        self.contexts.tell(context, traffic);
        Some(traffic)
    }

    /// The next input; `None` at the block's end.
    pub(super) fn next(&mut self) -> Result<Option<Step>, CaptureError> {
        let mut context = None;
        let ready = match self.ready.take() {
            Some(made) => Some(made),
            None => match self.next_record()? {
                Some(next) => Some(self.record(&next)?),
                None => None,
            },
        };
        let input = match ready {
            Some(made) => {
                context = made.context;
                self.give(made.size)
            }
            None => match self.streams.op() {
                None => return Ok(None),
                Some(RAW) => {
                    let bytes = self.streams.string()?;
                    if let Some(time) = bytes.get(8..16).and_then(<[u8]>::first_chunk) {
                        self.streams.clock = u64::from_le_bytes(*time);
                    }
                    Input::Record(RawRecord::new(compat::upgrade(self.abi, bytes)))
                }
                Some(DRAINED) => Input::Drained,
                Some(TICK) => {
                    let difference = unzigzag(self.streams.varint(NUMBERS)?);
                    self.streams.clock = self.streams.clock.wrapping_add(difference);
                    Input::Tick(Ktime(self.streams.clock))
                }
                Some(NOTE) => {
                    let bytes = self.streams.string()?;
                    match rmp_serde::from_slice(&bytes) {
                        Ok(note) => Input::Note(note),
                        Err(error) => Input::Unknown(error.to_string()),
                    }
                }
                Some(FACT | FACT_AGAIN) => return Err(Wrong::Answer.into()),
                Some(_) => return Err(Wrong::Operation.into()),
            },
        };
        let time = Ktime(self.streams.clock);
        let answers = self.answers(context)?;
        Ok(Some(Step {
            input,
            time,
            answers,
        }))
    }

    /// The record that comes next; `None` if something else does.
    #[inline]
    fn next_record(&mut self) -> Result<Option<Next>, Wrong> {
        let Self {
            ahead,
            streams,
            plans,
            contexts,
            ..
        } = self;
        if ahead.is_empty() {
            ahead.look(streams, plans, contexts)?;
        }
        Ok(ahead.take())
    }

    /// The operation of an answer, if one comes next.
    #[inline]
    fn next_answer(&mut self) -> Option<u8> {
        let op = self.streams.peek().filter(|_| self.ahead.is_empty())?;
        let is_answer = matches!(op, FACT | FACT_AGAIN);
        is_answer.then(|| self.streams.op()).flatten()
    }

    /// The number of that answer, behind an input of a context.
    fn answer(&mut self, op: u8, context: Option<usize>) -> Result<usize, Wrong> {
        let number = if op == FACT {
            let place = self.streams.string_place()?;
            if self.facts.len() >= FACTS_MAX {
                return Err(Wrong::Streams);
            }
            self.facts.push(Fact { place, bytes: None });
            self.facts.len() - 1
        } else {
            self.streams.index(NUMBERS)?
        };
        if number >= self.facts.len() {
            return Err(Wrong::Number);
        }
        if let Some(usual) = context.and_then(|context| self.usual.get_mut(context)) {
            usual.get_or_insert(u32::try_from(number).map_err(|_| Wrong::Number)?);
        }
        Ok(number)
    }

    /// The answers behind an input, and the usual one of its context.
    fn answers(&mut self, context: Option<usize>) -> Result<Stored, Wrong> {
        let mut answers = Stored::Nothing;
        let (mut count, mut size) = (0, 0);
        while let Some(op) = self.next_answer() {
            let number = self.answer(op, context)?;
            let fact = self.fact(number)?;
            (count, size) = (count + 1, size + fact.len());
            if count > ANSWERS_MAX || size > ANSWERS_BYTES {
                return Err(Wrong::Streams);
            }
            answers.push(fact);
        }
        let usual = context.and_then(|context| self.usual.get(context).copied().flatten());
        if let Some(number) = usual {
            answers.push(self.fact(number as usize)?);
        }
        Ok(answers)
    }

    fn fact(&mut self, number: usize) -> Result<Bytes, Wrong> {
        let Fact { place, bytes } = self.facts.get_mut(number).ok_or(Wrong::Number)?;
        if bytes.is_none() {
            *bytes = self.streams.copy(place.clone());
        }
        bytes.clone().ok_or(Wrong::Cut)
    }

    /// The record on the bench.
    fn give(&mut self, size: usize) -> Input {
        if self.arena.capacity() < size {
            self.arena.reserve(ARENA);
        }
        self.arena.extend_from_slice(&self.bench[..size]);
        let record = self.arena.split().freeze();
        Input::Record(RawRecord::new(compat::upgrade(self.abi, record)))
    }

    /// Goes behind a record whose context is known or on the bench; what others build on is kept.
    #[inline]
    fn skip(&mut self, next: &Next) -> Result<(), Wrong> {
        let plan = self.plans.get(next.layout).ok_or(Wrong::Layout)?;
        let owed = self.owed.get_mut(next.layout).ok_or(Wrong::Layout)?;
        if next.new_socket {
            let kept = self.sockets.push(next.layout, &plan.socket);
            kept.ok_or(Wrong::Streams)?;
        } else if plan.socket.len > 0 {
            let known = self.sockets.has(next.socket, &plan.socket, &self.plans);
            known.then_some(()).ok_or(Wrong::Number)?;
        }
        *owed += 1;
        self.streams.pass(&plan.own)?;
        if next.new_socket {
            self.sockets.born(self.streams.clock);
        }
        Ok(())
    }

    /// Makes a record by its layout.
    fn record(&mut self, next: &Next) -> Result<Made, Wrong> {
        let context = self.context(next)?;
        self.rest(next, context)
    }

    /// Lays the context of a record on the bench; its number.
    fn context(&mut self, next: &Next) -> Result<Option<usize>, Wrong> {
        let plan = self.plans.get(next.layout).ok_or(Wrong::Layout)?;
        let record = self.bench.get_mut(..plan.size).ok_or(Wrong::Layout)?;
        if !next.new_context && plan.context.len > 0 {
            let contexts = &self.contexts;
            let known = contexts.put(next.context, next.layout, &plan.context, record);
            known.ok_or(Wrong::Number)?;
            return Ok(Some(next.context));
        }
        record.fill(0);
        if !next.new_context {
            return Ok(None);
        }
        self.streams.part(&plan.context, record, None)?;
        let number = self.contexts.push(next.layout, &plan.context, record);
        self.usual.push(None);
        Ok(Some(number.ok_or(Wrong::Streams)?))
    }

    /// Makes the rest of a record whose context lies on the bench.
    fn rest(&mut self, next: &Next, context: Option<usize>) -> Result<Made, Wrong> {
        let Self {
            plans,
            streams,
            sockets,
            owed,
            bench,
            ..
        } = self;
        let plan = plans.get(next.layout).ok_or(Wrong::Layout)?;
        let record = bench.get_mut(..plan.size).ok_or(Wrong::Layout)?;
        let part = &plan.socket;
        let mut born = None;
        if !next.new_socket {
            if part.len > 0 {
                born = Some(sockets.put(next.socket, part, plans, streams, record)?);
            }
        } else if part.plain {
            let number = sockets.push(next.layout, part).ok_or(Wrong::Streams)?;
            sockets.put(number, part, plans, streams, record)?;
        } else {
            streams.part(part, record, None)?;
            let kept = sockets.push_odd(next.layout, part, record);
            kept.ok_or(Wrong::Streams)?;
        }
        let owed = owed.get_mut(next.layout).ok_or(Wrong::Layout)?;
        streams.catch_up(&plan.own, std::mem::take(owed))?;
        streams.part(&plan.own, record, born)?;
        if next.new_socket {
            sockets.born(streams.clock);
        }
        let size = plan.size;
        Ok(Made { size, context })
    }
}
