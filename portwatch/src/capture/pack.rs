//! What the pipeline took, packed into a block's payload: operations in order, and a column for each
//! field of each layout.
//!
//! Nothing here is lossy: a record with a layout comes back byte for byte, any other is stored as it
//! is. A block stands alone, so that one that is lost takes nothing with it.

use super::block::Content;
use super::columns::{Columns, Packing};
use super::error::CaptureError;
use super::fact::Fact;
use super::layout::{Layout, RECORD_MAX};
use super::note::Note;
use super::plan::{Plan, plans};
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
    packings: Vec<Packings>,
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
    /// The words of the parts of a record.
    key: Box<[[u64; KEY_MAX]; 3]>,
    /// Inputs from which on the size is looked at again.
    look: u32,
}

/// The parts of a layout.
#[derive(Debug)]
struct Packings {
    context: Packing,
    socket: Packing,
    /// The same for all layouts whose sockets have their bytes at the same places in their words.
    shape: u64,
    own: Packing,
}

/// The words of a part, and one that says of what.
const KEY_MAX: usize = 1 + RECORD_MAX / 8;

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
        let mut packings: Vec<Packings> = Vec::new();
        for (number, plan) in plans.iter().enumerate() {
            let [context, socket, own] = plan.parts().map(Packing::new);
            let alike = |other: &&Packings| other.socket.masks().eq(socket.masks());
            let shape = packings.iter().find(alike);
            packings.push(Packings {
                shape: shape.map_or(number as u64, |known| known.shape),
                context,
                socket,
                own,
            });
        }
        Self {
            plans,
            block: Columns::new(parts, columns),
            contexts: Table::new(CONTEXTS),
            sockets: Table::new(SOCKETS),
            hasher: Hasher::new(),
            seek: Some(Seek::default()),
            packings,
            facts: Vec::new(),
            numbers: HashTable::new(),
            at: None,
            answered: false,
            left_out: None,
            key: Box::new([[0; KEY_MAX]; 3]),
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
        let plan = self
            .plans
            .iter()
            .position(|plan| plan.kind == kind && plan.size == bytes.len());
        // Records of this build are whole words.
        let (words, rest) = bytes.as_chunks();
        let full = self.contexts.len() >= ENTRIES_MAX || self.sockets.len() >= ENTRIES_MAX;
        if let Some(plan) = plan.filter(|_| !full && rest.is_empty()) {
            return self.packed(plan, bytes, words);
        }
        self.block.streams[OPS].push(RAW);
        self.block.string(bytes);
        if let Some(time) = bytes.get(8..16).and_then(<[u8]>::first_chunk) {
            self.block.clock = u64::from_le_bytes(*time);
            self.block.stamp(self.block.clock);
        }
        false
    }

    #[inline]
    fn packed(&mut self, index: usize, bytes: &[u8], words: &[[u8; 8]]) -> bool {
        let Self {
            packings,
            block,
            contexts,
            sockets,
            hasher,
            seek,
            key,
            ..
        } = self;
        let Some(Packings {
            context,
            socket,
            shape,
            own,
        }) = packings.get(index)
        else {
            return false;
        };
        let (mut new_context, mut new_socket) = (false, false);
        let (mut at, mut born) = (None, None);
        let [context_key, socket_key, own_key] = &mut **key;
        let context_key = context.key(index as u64, words, context_key);
        let socket_key = socket.key(*shape, words, socket_key);
        let hash = hasher.hash(context_key);
        let seeks = !socket.words.is_empty() && seek.as_mut().is_some_and(Seek::now);
        let sought = seeks.then(|| hasher.hash(socket_key));
        if let Some(socket) = sought {
            // Both are on their way before either is waited for.
            std::hint::black_box(contexts.touch(hash) ^ sockets.touch(socket));
        }
        if !context.words.is_empty() {
            let Known { number, new, place } = contexts.number(hash);
            (new_context, at) = (new, Some(place));
            match new {
                true => block.part(context, &context_key[1..], bytes, None),
                false => put(&mut block.streams[NUMBERS], number as u64),
            }
        }
        let mut brought = None;
        if !socket.words.is_empty() {
            let known = match sought {
                Some(hash) => sockets.number(hash),
                None => sockets.pass(NOWHERE),
            };
            let Known { number, new, place } = known;
            if let Some(seek) = seek.as_mut().filter(|_| seeks) {
                seek.found(!new);
            }
            new_socket = new;
            if new {
                block.part(socket, &socket_key[1..], bytes, None);
                brought = Some(place);
            } else {
                put(&mut block.streams[NUMBERS], number as u64);
                born = sockets.mark(place).copied();
            }
        }
        let op = index * 4 + usize::from(new_context) * 2 + usize::from(new_socket);
        block.streams[OPS].push(RECORD + u8::try_from(op).unwrap_or(0));
        let words = own.key(0, words, own_key);
        block.part(own, &words[1..], bytes, born);
        block.stamp(block.clock);
        if let Some(mark) = brought.and_then(|place| sockets.mark(place)) {
            *mark = block.clock;
        }
        self.at = at;
        at.is_some() && self.usual().is_none()
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
        let size = self.block.size(&self.plans);
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
