//! A block's payload back to what the pipeline took. Whatever the bytes: no panic, and no more
//! memory than a few times the payload.

use super::ahead::{Ahead, Next};
use super::compat;
use super::error::CaptureError;
use super::input::{Input, Step, Stored};
use super::layout::{Layout, RECORD_MAX};
use super::pack::{DRAINED, FACT, FACT_AGAIN, NOTE, NUMBERS, RAW, TICK};
use super::plan::{Plan, plans};
use super::seen::{Patterns, Seen};
use super::still::Still;
use super::streams::{Streams, Wrong};
use super::varint::unzigzag;
use crate::decode::event::Ktime;
use crate::source::RawRecord;
use bytes::{Bytes, BytesMut};

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
    sockets: Seen,
    /// By layout: its last socket.
    still: Vec<Still>,
    facts: Vec<Bytes>,
    /// A record is made here.
    bench: Box<[u8; RECORD_MAX]>,
    /// The one on the bench is still to be given.
    ready: Option<Made>,
    /// Records that are given, side by side.
    arena: BytesMut,
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

/// Bytes of the arena that are taken at once.
const ARENA: usize = 1 << 16;

impl Unpacker {
    /// For the sound layouts of a header.
    pub(super) fn new(layouts: &[Layout], abi: u32) -> Self {
        let (plans, columns) = plans(layouts);
        let widest = plans.iter().map(|plan| plan.socket.len).max();
        Self {
            abi,
            still: plans.iter().map(|_| Still::default()).collect(),
            plans,
            streams: Streams::new(columns),
            ahead: Ahead::default(),
            contexts: Patterns::default(),
            usual: Vec::new(),
            sockets: Seen::new(widest.unwrap_or(0)),
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
        self.sockets.clear();
        self.facts.clear();
        self.ready = None;
        self.ahead.clear();
        for (still, plan) in self.still.iter_mut().zip(&self.plans) {
            still.begin(&plan.socket);
        }
        Ok(self.streams.load(payload)?)
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
        mut passes: impl FnMut(&[u8]) -> bool,
    ) -> Result<(), CaptureError> {
        while self.ready.is_none()
            && let Some(next) = self.next_record()?
        {
            let made = self.record(next)?;
            if !passes(&self.bench[..made.size]) {
                self.ready = Some(made);
                break;
            }
            passed.records += 1;
            passed.last = passed.last.max(Ktime(self.streams.clock));
            if self.is_answered() {
                self.answers(made.context)?;
            }
        }
        Ok(())
    }

    /// The next input; `None` at the block's end.
    pub(super) fn next(&mut self) -> Result<Option<Step>, CaptureError> {
        let mut context = None;
        let ready = match self.ready.take() {
            Some(made) => Some(made),
            None => match self.next_record()? {
                Some(next) => Some(self.record(next)?),
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
            sockets,
            ..
        } = self;
        if ahead.is_empty() {
            ahead.look(streams, plans, contexts, sockets)?;
        }
        Ok(ahead.take())
    }

    /// An answer comes next.
    #[inline]
    fn is_answered(&self) -> bool {
        self.ahead.is_empty() && matches!(self.streams.peek(), Some(FACT | FACT_AGAIN))
    }

    /// The answers behind an input, and the usual one of its context.
    fn answers(&mut self, at: Option<usize>) -> Result<Stored, Wrong> {
        let mut answers = Stored::Nothing;
        while self.is_answered()
            && let Some(op) = self.streams.op()
        {
            let number = match op {
                FACT => {
                    let bytes = self.streams.string()?;
                    self.facts.push(bytes);
                    self.facts.len() - 1
                }
                _ => self.streams.index(NUMBERS)?,
            };
            let bytes = self.facts.get(number).ok_or(Wrong::Number)?.clone();
            if let Some(usual) = at.and_then(|at| self.usual.get_mut(at)) {
                usual.get_or_insert(u32::try_from(number).map_err(|_| Wrong::Number)?);
            }
            answers.push(bytes);
        }
        let usual = at.and_then(|at| self.usual.get(at).copied().flatten());
        if let Some(bytes) = usual.and_then(|number| self.facts.get(number as usize)) {
            answers.push(bytes.clone());
        }
        Ok(answers)
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

    /// Makes a record by its layout.
    #[inline]
    fn record(&mut self, next: Next) -> Result<Made, Wrong> {
        let Self {
            plans,
            streams,
            contexts,
            usual,
            sockets,
            still,
            bench,
            ..
        } = self;
        let Next {
            layout,
            new_context,
            new_socket,
            ..
        } = next;
        let plan = plans.get(layout).ok_or(Wrong::Layout)?;
        let record = bench.get_mut(..plan.size).ok_or(Wrong::Layout)?;
        let mut context = None;
        if new_context || plan.context.len == 0 {
            record.fill(0);
            if new_context {
                streams.part(&plan.context, record, None)?;
                context = Some(
                    contexts
                        .push(layout, &plan.context, record)
                        .ok_or(Wrong::Streams)?,
                );
                usual.push(None);
            }
        } else {
            let known = contexts.put(next.context, layout, &plan.context, record);
            known.ok_or(Wrong::Number)?;
            context = Some(next.context);
        }
        let mut born = None;
        if new_socket {
            let still = still.get_mut(layout).ok_or(Wrong::Layout)?;
            if plan.socket.plain {
                streams.changes(&plan.socket, still)?;
                plan.socket.scatter(&still.bytes, record);
            } else {
                streams.part(&plan.socket, record, None)?;
                still.bytes.clear();
                plan.socket.gather(record, &mut still.bytes);
            }
            sockets.push(&still.bytes).ok_or(Wrong::Streams)?;
        } else if plan.socket.len > 0 {
            let known = sockets.put(next.socket, &plan.socket, record);
            born = Some(known.ok_or(Wrong::Number)?);
        }
        streams.part(&plan.own, record, born)?;
        if new_socket {
            sockets.born(streams.clock);
        }
        let size = plan.size;
        Ok(Made { size, context })
    }
}
