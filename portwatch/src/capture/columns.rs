//! The streams of a block while it is packed: a column for each field of each layout.
//!
//! Records are looked at word by word: one that is as it was in the record before takes nothing and
//! costs one comparison.

use super::layout::Code;
use super::pack::{COLUMNS, STRINGS};
use super::plan::{Part, Plan, Step, get, number};
use super::varint::{put, zigzag};

/// What is stored as a difference to what.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) streams: Vec<Vec<u8>>,
    lasts: Vec<Last>,
    /// By part.
    parts: Vec<Progress>,
    pub(super) clock: u64,
    pub(super) inputs: u32,
    pub(super) first: Option<u64>,
    pub(super) latest: u64,
}

/// The last value of a field, and how many are in its column: those behind are the same, and their
/// zeros are written when another comes.
#[derive(Clone, Copy, Debug, Default)]
struct Last {
    value: u64,
    written: usize,
}

/// How many of a part were packed, and the words of the last one.
#[derive(Debug, Default)]
struct Progress {
    count: usize,
    words: Vec<u64>,
}

/// A part, made ready for packing.
#[derive(Clone, Debug)]
pub(super) struct Packing {
    number: usize,
    /// Where its words are in a record, and which bits of them are its.
    pub(super) words: Vec<(usize, u64)>,
    /// Fields that are stored with each record.
    always: Vec<Step>,
    /// By word: fields that are the difference to the last.
    lasts: Vec<Vec<Step>>,
}

impl Packing {
    pub(super) fn new(part: &Part) -> Self {
        let mut words: Vec<(usize, u64)> = Vec::new();
        let mut lasts: Vec<Vec<Step>> = Vec::new();
        let mut always = Vec::new();
        for step in &part.steps {
            for byte in step.offset..step.offset + step.width {
                let mask = 0xff << (byte % 8 * 8);
                match words.last_mut() {
                    Some((at, bits)) if *at == byte / 8 => *bits |= mask,
                    Some(_) | None => {
                        words.push((byte / 8, mask));
                        lasts.push(Vec::new());
                    }
                }
                // A field that lies across words belongs to both: seen twice, stored once.
                if step.code == Code::Last
                    && let Some(here) = lasts.last_mut()
                    && here.last().is_none_or(|known| known.column != step.column)
                {
                    here.push(*step);
                }
            }
            if step.code != Code::Last {
                always.push(*step);
            }
        }
        Self {
            number: part.number,
            words,
            always,
            lasts,
        }
    }

    /// Which bits of its words are its.
    pub(super) fn masks(&self) -> impl Iterator<Item = u64> {
        self.words.iter().map(|(_, mask)| *mask)
    }

    /// The words of this part of a record, behind a `head`.
    #[inline]
    pub(super) fn key<'a>(&self, head: u64, record: &[[u8; 8]], key: &'a mut [u64]) -> &'a [u64] {
        let Some((first, rest)) = key.split_first_mut() else {
            return key;
        };
        *first = head;
        for (place, &(at, mask)) in rest.iter_mut().zip(&self.words) {
            *place = record.get(at).map_or(0, |word| u64::from_le_bytes(*word)) & mask;
        }
        key.get(..=self.words.len()).unwrap_or_default()
    }
}

impl Columns {
    pub(super) fn new(parts: usize, columns: usize) -> Self {
        Self {
            streams: vec![Vec::new(); COLUMNS + columns],
            lasts: vec![Last::default(); columns],
            parts: std::iter::repeat_with(Progress::default)
                .take(parts)
                .collect(),
            clock: 0,
            inputs: 0,
            first: None,
            latest: 0,
        }
    }

    /// Stores a part of a record; `words` are those of [`Packing::key`].
    #[inline]
    pub(super) fn part(&mut self, part: &Packing, words: &[u64], record: &[u8], born: Option<u64>) {
        let Some(progress) = self.parts.get_mut(part.number) else {
            return;
        };
        let before = progress.count;
        progress.count += 1;
        progress.words.resize(words.len(), 0);
        for ((last, &word), steps) in progress.words.iter_mut().zip(words).zip(&part.lasts) {
            if *last != word {
                *last = word;
                for step in steps {
                    let value = number(record, step.offset, step.width);
                    changed(&mut self.streams, &mut self.lasts, step, value, before);
                }
            }
        }
        for step in &part.always {
            match step.width {
                1 => self.field::<1>(step, record, born),
                2 => self.field::<2>(step, record, born),
                4 => self.field::<4>(step, record, born),
                _ => self.field::<8>(step, record, born),
            }
        }
    }

    /// A field of `W` bytes that is stored with each record.
    #[inline]
    fn field<const W: usize>(&mut self, step: &Step, record: &[u8], born: Option<u64>) {
        let value = get::<W>(record, step.offset);
        let stream = &mut self.streams[COLUMNS + step.column];
        let base = match step.code {
            Code::Raw => {
                stream.extend_from_slice(&value.to_le_bytes()[..W]);
                return;
            }
            Code::Time => std::mem::replace(&mut self.clock, value),
            Code::Clock => self.clock,
            Code::Born => born.unwrap_or(self.clock),
            Code::Like(_) => number(record, step.like.0, step.like.1),
            Code::Last => return,
        };
        put(stream, zigzag(value.wrapping_sub(base)));
    }

    /// Bytes of the payload so far.
    pub(super) fn size(&self, plans: &[Plan]) -> usize {
        let written: usize = self.streams.iter().map(Vec::len).sum();
        let part = |part| self.unwritten(part).map(|(_, zeros)| zeros);
        let parts = plans.iter().flat_map(Plan::parts);
        written + parts.flat_map(part).sum::<usize>()
    }

    /// The columns of a part that lack zeros, and how many.
    fn unwritten(&self, part: &Part) -> impl Iterator<Item = (usize, usize)> {
        let count = self.parts[part.number].count;
        let lasts = part.steps.iter().filter(|step| step.code == Code::Last);
        lasts.map(move |step| (step.column, count - self.lasts[step.column].written))
    }

    /// The payload; a new one begins.
    pub(super) fn take(&mut self, plans: &[Plan]) -> Vec<u8> {
        for part in plans.iter().flat_map(Plan::parts) {
            let unwritten: Vec<_> = self.unwritten(part).collect();
            for (column, zeros) in unwritten {
                let stream = &mut self.streams[COLUMNS + column];
                stream.resize(stream.len() + zeros, 0);
            }
        }
        let used = || {
            let streams = self.streams.iter().enumerate();
            streams.filter(|(_, stream)| !stream.is_empty())
        };
        let size: usize = self.streams.iter().map(Vec::len).sum();
        let mut payload = Vec::with_capacity(size + 8 * self.streams.len());
        put(&mut payload, used().count() as u64);
        for (number, stream) in used() {
            put(&mut payload, number as u64);
            put(&mut payload, stream.len() as u64);
        }
        for (_, stream) in used() {
            payload.extend_from_slice(stream);
        }
        self.streams.iter_mut().for_each(Vec::clear);
        self.lasts.fill(Last::default());
        for Progress { count, words } in &mut self.parts {
            *count = 0;
            words.clear();
        }
        (self.clock, self.inputs, self.first, self.latest) = (0, 0, None, 0);
        payload
    }

    pub(super) fn string(&mut self, bytes: &[u8]) {
        put(&mut self.streams[STRINGS], bytes.len() as u64);
        self.streams[STRINGS].extend_from_slice(bytes);
    }

    pub(super) fn stamp(&mut self, time: u64) {
        self.first.get_or_insert(time);
        self.latest = self.latest.max(time);
    }
}

/// A field whose word has changed, of a part of which there were so many `before`.
#[inline]
fn changed(streams: &mut [Vec<u8>], lasts: &mut [Last], step: &Step, value: u64, before: usize) {
    let last = &mut lasts[step.column];
    if last.value == value {
        return;
    }
    let zeros = before - last.written;
    last.written = before + 1;
    let base = std::mem::replace(&mut last.value, value);
    let stream = &mut streams[COLUMNS + step.column];
    if zeros > 0 {
        stream.resize(stream.len() + zeros, 0);
    }
    put(stream, zigzag(value.wrapping_sub(base)));
}
