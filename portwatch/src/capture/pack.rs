//! What the pipeline took, packed into a block's payload: operations in order, and a column for each
//! field of each layout.
//!
//! Nothing here is lossy: a record with a layout comes back byte for byte, any other is stored as it
//! is. A block stands alone, so that one that is lost takes nothing with it.

use super::block::Content;
use super::error::CaptureError;
use super::fact::Fact;
use super::layout::{Code, Layout};
use super::note::Note;
use super::plan::{Part, Plan, Step, get, number, plans};
use super::table::{ENTRIES_MAX, Table};
use super::varint::{put, zigzag};
use crate::decode::event::Ktime;

/// Operations. Those of records: [`RECORD`] + 4 * layout + 2 if the context is new + 1 if the socket
/// is.
pub(super) const RAW: u8 = 1;
pub(super) const DRAINED: u8 = 2;
pub(super) const TICK: u8 = 3;
pub(super) const NOTE: u8 = 4;
pub(super) const FACT: u8 = 5;
pub(super) const FACT_AGAIN: u8 = 6;
pub(super) const RECORD: u8 = 16;

/// Streams before the columns: operations, numbers, and byte strings.
pub(super) const OPS: usize = 0;
pub(super) const NUMBERS: usize = 1;
pub(super) const STRINGS: usize = 2;
pub(super) const COLUMNS: usize = 3;

/// Packs one block after another.
#[derive(Debug)]
pub(super) struct Packer {
    plans: Vec<Plan>,
    block: Block,
    contexts: Table,
    sockets: Table,
    /// By context: its usual answer.
    usual: Vec<Option<usize>>,
    /// By socket: the time of the record that brought it.
    born: Vec<u64>,
    fact_bytes: Table,
    facts: Vec<Fact>,
    /// Context of the last record.
    at: Option<usize>,
    /// An answer is written behind the last input already.
    answered: bool,
    /// The usual answer was given to it, and not written.
    left_out: Option<usize>,
    scratch: Vec<u8>,
}

/// The streams, and what is stored as a difference to what.
#[derive(Debug)]
struct Block {
    streams: Vec<Vec<u8>>,
    lasts: Vec<Last>,
    /// By part: how many were packed.
    parts: Vec<usize>,
    clock: u64,
    inputs: u32,
    first: Option<u64>,
    latest: u64,
}

/// The last value of a field, and how many are in its column: those behind are the same, and their
/// zeros are written when another comes.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    value: u64,
    written: usize,
}

impl Packer {
    pub(super) fn new(layouts: &[Layout]) -> Self {
        let (plans, columns) = plans(layouts);
        let parts = plans.iter().map(|plan| plan.parts().len()).sum();
        Self {
            plans,
            block: Block {
                streams: vec![Vec::new(); COLUMNS + columns],
                lasts: vec![Last::default(); columns],
                parts: vec![0; parts],
                clock: 0,
                inputs: 0,
                first: None,
                latest: 0,
            },
            contexts: Table::default(),
            sockets: Table::default(),
            usual: Vec::new(),
            born: Vec::new(),
            fact_bytes: Table::default(),
            facts: Vec::new(),
            at: None,
            answered: false,
            left_out: None,
            scratch: Vec::new(),
        }
    }

    /// A record. True if nothing is known in this block about the process that it names.
    pub(super) fn record(&mut self, bytes: &[u8]) -> bool {
        self.at = None;
        self.answered = false;
        self.left_out = None;
        self.block.inputs += 1;
        let kind = match bytes {
            [a, b, ..] => u16::from_ne_bytes([*a, *b]),
            _ => 0,
        };
        let plan = self
            .plans
            .iter()
            .position(|plan| plan.kind == kind && plan.size == bytes.len());
        let full = self.contexts.len() >= ENTRIES_MAX || self.sockets.len() >= ENTRIES_MAX;
        let Some(plan) = plan.filter(|_| !full) else {
            self.block.streams[OPS].push(RAW);
            self.block.string(bytes);
            if let Some(time) = bytes.get(8..16).and_then(<[u8]>::first_chunk) {
                self.block.clock = u64::from_le_bytes(*time);
                self.block.stamp(self.block.clock);
            }
            return false;
        };
        self.packed(plan, bytes)
    }

    fn packed(&mut self, index: usize, bytes: &[u8]) -> bool {
        let plan = &self.plans[index];
        let block = &mut self.block;
        let (context, new_context) =
            seen(&plan.context, bytes, &mut self.contexts, &mut self.scratch);
        let (socket, new_socket) = seen(&plan.socket, bytes, &mut self.sockets, &mut self.scratch);
        let op = index * 4 + usize::from(new_context) * 2 + usize::from(new_socket);
        block.streams[OPS].push(RECORD + u8::try_from(op).unwrap_or(0));
        if new_context {
            block.part(&plan.context, bytes, None);
            self.usual.push(None);
        } else if plan.context.len > 0 {
            put(&mut block.streams[NUMBERS], u64::from(context));
        }
        if new_socket {
            block.part(&plan.socket, bytes, None);
        } else if plan.socket.len > 0 {
            put(&mut block.streams[NUMBERS], u64::from(socket));
        }
        let born = (!new_socket).then(|| self.born.get(socket as usize).copied());
        block.part(&plan.own, bytes, born.flatten());
        block.stamp(block.clock);
        if new_socket {
            self.born.push(block.clock);
        }
        let at = (plan.context.len > 0).then_some(context as usize);
        self.at = at;
        at.is_some_and(|at| self.usual.get(at).copied().flatten().is_none())
    }

    /// An answer that the last input asked for. The usual one of the record's context takes no
    /// byte, unless others stand there: then their order is kept.
    pub(super) fn fact(&mut self, fact: Fact) -> Result<(), CaptureError> {
        let usual = self.at.and_then(|at| self.usual.get(at).copied().flatten());
        if let Some(number) = usual.filter(|_| !self.answered)
            && self.facts.get(number) == Some(&fact)
        {
            self.left_out = Some(number);
            return Ok(());
        }
        if let Some(number) = self.left_out.take() {
            self.again(number);
        }
        self.answered = true;
        let bytes = rmp_serde::to_vec_named(&fact)?;
        let (number, new) = self.fact_bytes.number(&bytes);
        let number = number as usize;
        if new {
            self.block.streams[OPS].push(FACT);
            self.block.string(&bytes);
            self.facts.push(fact);
        } else {
            self.again(number);
        }
        if let Some(usual) = self.at.and_then(|at| self.usual.get_mut(at)) {
            usual.get_or_insert(number);
        }
        Ok(())
    }

    fn again(&mut self, number: usize) {
        self.block.streams[OPS].push(FACT_AGAIN);
        put(&mut self.block.streams[NUMBERS], number as u64);
    }

    /// The rings are drained.
    pub(super) fn drained(&mut self) {
        self.begin(DRAINED);
    }

    /// Time has come to `now`.
    pub(super) fn tick(&mut self, now: Ktime) {
        self.begin(TICK);
        let difference = now.0.wrapping_sub(self.block.clock);
        put(&mut self.block.streams[NUMBERS], zigzag(difference));
        self.block.clock = now.0;
        self.block.stamp(now.0);
    }

    /// Anything else.
    pub(super) fn note(&mut self, note: &Note) -> Result<(), CaptureError> {
        let bytes = rmp_serde::to_vec_named(note)?;
        self.begin(NOTE);
        self.block.string(&bytes);
        match note {
            Note::Lost { at, .. } | Note::Summary { at, .. } => self.block.stamp(at.0),
            Note::Older(_) | Note::Anchor(_) => {}
        }
        Ok(())
    }

    fn begin(&mut self, op: u8) {
        self.at = None;
        self.answered = false;
        self.left_out = None;
        self.block.inputs += 1;
        self.block.streams[OPS].push(op);
    }

    /// Inputs in the block so far.
    pub(super) fn inputs(&self) -> u32 {
        self.block.inputs
    }

    /// The payload has `limit` bytes or more; looked at now and then only.
    pub(super) fn is_full(&self, limit: usize) -> bool {
        const LOOK_EVERY: u32 = 64;
        self.block.streams[STRINGS].len() >= limit
            || (self.block.inputs.is_multiple_of(LOOK_EVERY) && self.size() >= limit)
    }

    /// Bytes of the payload so far.
    fn size(&self) -> usize {
        let written: usize = self.block.streams.iter().map(Vec::len).sum();
        let part = |part| self.block.unwritten(part).map(|(_, zeros)| zeros);
        let parts = self.plans.iter().flat_map(Plan::parts);
        written + parts.flat_map(part).sum::<usize>()
    }

    /// The block, if there is anything in it, and a new one begins.
    pub(super) fn take(&mut self) -> Option<Content> {
        if self.block.inputs == 0 {
            return None;
        }
        for part in self.plans.iter().flat_map(Plan::parts) {
            self.block.write_out(part);
        }
        let mut payload = Vec::with_capacity(self.size() + 512);
        let used = || {
            self.block
                .streams
                .iter()
                .enumerate()
                .filter(|(_, stream)| !stream.is_empty())
        };
        put(&mut payload, used().count() as u64);
        for (number, stream) in used() {
            put(&mut payload, number as u64);
            put(&mut payload, stream.len() as u64);
        }
        for (_, stream) in used() {
            payload.extend_from_slice(stream);
        }
        let block = &mut self.block;
        let content = Content {
            payload,
            inputs: block.inputs,
            first: block.first.unwrap_or(0),
            last: block.latest,
        };
        block.streams.iter_mut().for_each(Vec::clear);
        block.lasts.fill(Last::default());
        block.parts.fill(0);
        (block.clock, block.inputs, block.first, block.latest) = (0, 0, None, 0);
        self.contexts.clear();
        self.sockets.clear();
        self.fact_bytes.clear();
        self.usual.clear();
        self.born.clear();
        self.facts.clear();
        self.at = None;
        Some(content)
    }
}

/// The number of a part's bytes, and whether they are new. A layout without such fields has none.
fn seen(part: &Part, bytes: &[u8], table: &mut Table, scratch: &mut Vec<u8>) -> (u32, bool) {
    match &part.ranges[..] {
        [] => (0, false),
        [one] => table.number(&bytes[one.clone()]),
        _ => {
            scratch.clear();
            part.gather(bytes, scratch);
            table.number(scratch)
        }
    }
}

impl Block {
    fn part(&mut self, part: &Part, record: &[u8], born: Option<u64>) {
        let before = self.parts[part.number];
        self.parts[part.number] += 1;
        for step in &part.steps {
            match step.width {
                1 => self.field::<1>(step, record, before, born),
                2 => self.field::<2>(step, record, before, born),
                4 => self.field::<4>(step, record, before, born),
                _ => self.field::<8>(step, record, before, born),
            }
        }
    }

    /// A field of `W` bytes of a part of which there were so many `before`.
    #[inline]
    fn field<const W: usize>(
        &mut self,
        step: &Step,
        record: &[u8],
        before: usize,
        born: Option<u64>,
    ) {
        let value = get::<W>(record, step.offset);
        let base = match step.code {
            Code::Raw => {
                let stream = &mut self.streams[COLUMNS + step.column];
                stream.extend_from_slice(&value.to_le_bytes()[..W]);
                return;
            }
            Code::Last => {
                let last = &mut self.lasts[step.column];
                if last.value == value {
                    return;
                }
                let zeros = before - last.written;
                last.written = before + 1;
                let base = std::mem::replace(&mut last.value, value);
                if zeros > 0 {
                    let stream = &mut self.streams[COLUMNS + step.column];
                    stream.resize(stream.len() + zeros, 0);
                }
                base
            }
            Code::Time => std::mem::replace(&mut self.clock, value),
            Code::Clock => self.clock,
            Code::Born => born.unwrap_or(self.clock),
            Code::Like(_) => number(record, step.like.0, step.like.1),
        };
        let stream = &mut self.streams[COLUMNS + step.column];
        put(stream, zigzag(value.wrapping_sub(base)));
    }

    /// The columns of a part that lack zeros, and how many.
    fn unwritten(&self, part: &Part) -> impl Iterator<Item = (usize, usize)> {
        let count = self.parts[part.number];
        let lasts = part.steps.iter().filter(|step| step.code == Code::Last);
        lasts.map(move |step| (step.column, count - self.lasts[step.column].written))
    }

    /// Writes the zeros that are lacking.
    fn write_out(&mut self, part: &Part) {
        let unwritten: Vec<_> = self.unwritten(part).collect();
        for (column, zeros) in unwritten {
            let stream = &mut self.streams[COLUMNS + column];
            stream.resize(stream.len() + zeros, 0);
            self.lasts[column].written += zeros;
        }
    }

    fn string(&mut self, bytes: &[u8]) {
        put(&mut self.streams[STRINGS], bytes.len() as u64);
        self.streams[STRINGS].extend_from_slice(bytes);
    }

    fn stamp(&mut self, time: u64) {
        self.first.get_or_insert(time);
        self.latest = self.latest.max(time);
    }
}
