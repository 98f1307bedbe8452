//! What the pipeline took, packed into a block's payload: operations in order, and a column for each
//! field of each layout.
//!
//! Nothing here is lossy: a record with a layout comes back byte for byte, any other is stored as it
//! is. A block stands alone, so that one that is lost takes nothing with it.

use super::block::Content;
use super::columns::Columns;
use super::error::CaptureError;
use super::fact::Fact;
use super::layout::{Layout, RECORD_MAX};
use super::note::Note;
use super::packing::Packing;
use super::plan::{Plan, plans};
use super::rows::{Rows, Times};
use super::seek::Seek;
use super::table::{ENTRIES_MAX, Hasher, Known, Table, hash_bytes};
use super::varint::{put, zigzag};
use crate::decode::event::Ktime;
use hashbrown::HashTable;
use std::sync::Arc;

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
    /// By layout: how it is packed, and the records that wait for it.
    layouts: Vec<Option<(Packing, Rows)>>,
    block: Columns,
    /// With the number after that of their usual answer.
    contexts: Table,
    /// With the time of the record that brought them.
    sockets: Table,
    hasher: Hasher,
    /// Whether a socket is looked for among those that the block has; `None`: never.
    seek: Option<Seek>,
    /// The answers, and their numbers by their bytes.
    facts: Vec<Arc<Written>>,
    numbers: HashTable<usize>,
    /// Place of the last record's context.
    at: Option<usize>,
    /// An answer is written behind the last input already.
    answered: bool,
    /// The usual answer was given to it, and not written.
    left_out: Option<usize>,
    /// Inputs from which on the size is looked at again.
    look: u32,
}

/// Places for contexts and sockets that are looked for. A block is of a second or less.
const CONTEXTS: usize = 1 << 14;
const SOCKETS: usize = 1 << 11;

/// The place of a socket that is in no table.
const NOWHERE: usize = usize::MAX;

/// Records between two looks at the size, at least.
const LOOK_EVERY: u32 = 64;

/// An answer as it is stored.
#[derive(Debug)]
pub(super) struct Written {
    fact: Fact,
    bytes: Vec<u8>,
    hash: u64,
}

impl Written {
    pub(super) fn new(fact: Fact) -> Result<Self, CaptureError> {
        let bytes = rmp_serde::to_vec_named(&fact)?;
        let hash = hash_bytes(&bytes);
        Ok(Self { fact, bytes, hash })
    }
}

impl Packer {
    pub(super) fn new(layouts: &[Layout]) -> Self {
        let (plans, columns) = plans(layouts);
        let parts = plans.iter().map(|plan| plan.parts().len()).sum();
        let mut layouts: Vec<Option<(Packing, Rows)>> = Vec::new();
        for (number, plan) in plans.iter().enumerate() {
            let packing = Packing::new(plan, number as u64).map(|mut packing| {
                let mut known = layouts.iter().flatten().map(|(packing, _)| packing);
                let alike = |other: &&Packing| other.socket.masks().eq(packing.socket.masks());
                if let Some(alike) = known.find(alike) {
                    packing.shape = alike.shape;
                }
                let rows = Rows::new(packing.size / 8);
                (packing, rows)
            });
            layouts.push(packing);
        }
        Self {
            plans,
            block: Columns::new(parts, columns),
            contexts: Table::new(CONTEXTS),
            sockets: Table::new(SOCKETS),
            hasher: Hasher::new(),
            seek: Some(Seek::default()),
            layouts,
            facts: Vec::new(),
            numbers: HashTable::new(),
            at: None,
            answered: false,
            left_out: None,
            look: 0,
        }
    }

    /// The same, and each socket is stored as a new one: to look for it is dearer than its bytes.
    pub(super) fn without_sockets(mut self) -> Self {
        self.seek = None;
        self
    }

    /// A record. True if nothing is known in this block about the process that it names.
    #[inline]
    pub(super) fn record(&mut self, bytes: &[u8]) -> bool {
        self.at = None;
        self.answered = false;
        self.left_out = None;
        self.block.inputs += 1;
        let kind = match bytes {
            [a, b, ..] => u16::from_ne_bytes([*a, *b]),
            _ => 0,
        };
        // Records of this build are whole words.
        let (words, rest) = bytes.as_chunks();
        let full = self.contexts.len() >= ENTRIES_MAX || self.sockets.len() >= ENTRIES_MAX;
        if rest.is_empty()
            && !full
            && let Some(stranger) = self.packed(kind, bytes.len(), words)
        {
            return stranger;
        }
        self.block.streams[OPS].push(RAW);
        self.block.string(bytes);
        if let Some(time) = bytes.get(8..16).and_then(<[u8]>::first_chunk) {
            self.block.clock = u64::from_le_bytes(*time);
            self.block.stamp(self.block.clock);
        }
        false
    }

    /// The same of one that has a layout; `None` of any other.
    #[inline]
    fn packed(&mut self, kind: u16, size: usize, words: &[[u8; 8]]) -> Option<bool> {
        let Self {
            layouts,
            block,
            contexts,
            sockets,
            hasher,
            seek,
            ..
        } = self;
        let mut known = layouts.iter_mut().enumerate();
        let (index, packing, rows) = known.find_map(|(index, layout)| {
            let (packing, rows) = layout.as_mut()?;
            (packing.kind == kind && packing.size == size).then_some((index, packing, rows))
        })?;
        let Packing {
            context, socket, ..
        } = packing;
        let before = block.clock;
        let time = words.get(packing.time.word).copied().unwrap_or_default();
        let at = packing.time.of(u64::from_le_bytes(time));
        block.clock = at;
        block.stamp(at);
        let hash = hasher.hash(index as u64, words, &context.words);
        let has_socket = !socket.words.is_empty();
        let seeks = has_socket && seek.as_mut().is_some_and(Seek::now);
        let sought = seeks.then(|| hasher.hash(packing.shape, words, &socket.words));
        if let Some(socket) = sought {
            // Both are on their way before either is waited for.
            std::hint::black_box(contexts.touch(hash) ^ sockets.touch(socket));
        }
        let (mut new_context, mut new_socket, mut born) = (false, false, at);
        if !context.words.is_empty() {
            let Known { number, new, place } = contexts.number(hash);
            (new_context, self.at) = (new, Some(place));
            if !new {
                put(&mut block.streams[NUMBERS], number as u64);
            }
        }
        if has_socket {
            let known = match sought {
                Some(hash) => sockets.number(hash),
                None => sockets.pass(NOWHERE),
            };
            let Known { number, new, place } = known;
            if let Some(seek) = seek.as_mut().filter(|_| seeks) {
                seek.found(!new);
            }
            new_socket = new;
            if let Some(mark) = sockets.mark(place) {
                match new {
                    true => *mark = at,
                    false => born = *mark,
                }
            }
            if !new {
                put(&mut block.streams[NUMBERS], number as u64);
            }
        }
        let op = index * 4 + usize::from(new_context) * 2 + usize::from(new_socket);
        block.streams[OPS].push(RECORD + u8::try_from(op).unwrap_or(0));
        if rows.push(words, Times { before, at, born }, [new_context, new_socket]) {
            block.rows(packing, rows);
        }
        Some(self.at.is_some() && self.usual().is_none())
    }

    /// The usual answer of the last record's context.
    #[inline]
    fn usual(&mut self) -> Option<usize> {
        let mark = *self.contexts.mark(self.at?)?;
        usize::try_from(mark).ok()?.checked_sub(1)
    }

    /// An answer that the last input asked for. The usual one of the record's context takes no
    /// byte, unless others stand there: then their order is kept.
    pub(super) fn fact(&mut self, fact: Fact) -> Result<(), CaptureError> {
        if !self.leaves_out(|usual| usual.fact == fact) {
            self.written(&Arc::new(Written::new(fact)?));
        }
        Ok(())
    }

    /// The same of one that was written before.
    pub(super) fn fact_again(&mut self, fact: &Arc<Written>) {
        if !self.leaves_out(|usual| usual.bytes == fact.bytes) {
            self.written(fact);
        }
    }

    fn leaves_out(&mut self, is: impl FnOnce(&Written) -> bool) -> bool {
        let usual = self.usual().filter(|_| !self.answered);
        let known = usual.and_then(|number| self.facts.get(number));
        if known.is_some_and(|known| is(known)) {
            self.left_out = usual;
            return true;
        }
        if let Some(number) = self.left_out.take() {
            self.again(number);
        }
        false
    }

    fn written(&mut self, fact: &Arc<Written>) {
        self.answered = true;
        let Self { numbers, facts, .. } = self;
        let same = |number: &usize| {
            facts
                .get(*number)
                .is_some_and(|one| one.bytes == fact.bytes)
        };
        let number = match numbers.find(fact.hash, same) {
            Some(&number) => {
                self.again(number);
                number
            }
            None => {
                let number = facts.len();
                facts.push(Arc::clone(fact));
                numbers.insert_unique(fact.hash, number, |number| {
                    facts.get(*number).map_or(0, |one| one.hash)
                });
                self.block.streams[OPS].push(FACT);
                self.block.string(&fact.bytes);
                number
            }
        };
        if let Some(usual) = self.at.and_then(|at| self.contexts.mark(at))
            && *usual == 0
        {
            *usual = number as u64 + 1;
        }
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
    #[inline]
    pub(super) fn is_full(&mut self, limit: usize) -> bool {
        self.block.streams[STRINGS].len() >= limit
            || (self.block.inputs >= self.look && self.has(limit))
    }

    #[cold]
    fn has(&mut self, limit: usize) -> bool {
        let waiting = self.layouts.iter().flatten().map(|(_, rows)| rows.size());
        let size = self.block.size(&self.plans) + waiting.sum::<usize>();
        // What a record takes is seldom more than it has.
        let fit = limit.saturating_sub(size) / RECORD_MAX;
        let fit = u32::try_from(fit).unwrap_or(u32::MAX).max(LOOK_EVERY);
        self.look = self.block.inputs.saturating_add(fit);
        size >= limit
    }

    /// The block, if there is anything in it, and a new one begins.
    pub(super) fn take(&mut self) -> Option<Content> {
        let Columns {
            inputs,
            first,
            latest,
            ..
        } = self.block;
        if inputs == 0 {
            return None;
        }
        for (packing, rows) in self.layouts.iter_mut().flatten() {
            self.block.rows(packing, rows);
        }
        let payload = self.block.take(&self.plans);
        self.contexts.clear();
        self.sockets.clear();
        self.numbers.clear();
        self.facts.clear();
        self.at = None;
        self.look = 0;
        Some(Content {
            payload,
            inputs,
            first: first.unwrap_or(0),
            last: latest,
        })
    }
}
