//! The streams of a block while it is packed: a column for each field of each layout.
//!
//! Many records are looked at together, word by word: a word that is in all of them as it was in the
//! record before takes nothing and costs one comparison each.

use super::layout::Code;
use super::pack::{COLUMNS, STRINGS};
use super::packing::{Base, Cell, Cells, Packing, Place};
use super::plan::{Part, Plan};
use super::rows::{BATCH, Rows, Sight};
use super::varint::{put, put_all, zigzag};

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

    /// Stores the records that wait.
    pub(super) fn rows(&mut self, packing: &Packing, rows: &mut Rows) {
        self.part(&packing.context, rows.some(&rows.contexts));
        self.part(&packing.socket, rows.some(&rows.sockets));
        self.part(&packing.own, rows.all());
        rows.clear();
    }

    /// A part of some of them.
    fn part(&mut self, cells: &Cells, sight: Sight<'_>) {
        let Some(progress) = self.parts.get_mut(cells.number) else {
            return;
        };
        if sight.count == 0 {
            return;
        }
        let before = progress.count;
        progress.count += sight.count;
        progress.words.resize(cells.words.len(), 0);
        let mut room = [0; BATCH];
        let mut other = [0; BATCH];
        let known = cells.words.iter().zip(&cells.lasts);
        for ((&(at, mask), fields), last) in known.zip(&mut progress.words) {
            if fields.is_empty() {
                continue;
            }
            let words = sight.word(at, &mut room);
            let differ = words.iter().fold(0, |all, word| all | (word ^ *last));
            if differ & mask != 0 {
                *last = words.last().copied().unwrap_or(0);
                for Cell { place, column } in fields {
                    let stream = &mut self.streams[COLUMNS + column];
                    changed(stream, &mut self.lasts[*column], *place, words, before);
                }
            }
        }
        for (Cell { place, column }, base) in &cells.always {
            let words = sight.word(place.word, &mut room);
            let stream = &mut self.streams[COLUMNS + column];
            let values = words.iter().map(|word| place.of(*word));
            match *base {
                Base::Raw(1) => raw::<1>(stream, values),
                Base::Raw(2) => raw::<2>(stream, values),
                Base::Raw(4) => raw::<4>(stream, values),
                Base::Raw(_) => raw::<8>(stream, values),
                Base::Before => differences(stream, values, sight.before(&mut other)),
                Base::At => differences(stream, values, sight.at(&mut other)),
                Base::Born => differences(stream, values, sight.born(&mut other)),
                Base::Like(like) => {
                    let others = sight.word(like.word, &mut other).iter();
                    let bases = others.map(|word| like.of(*word));
                    let differences = values.zip(bases).map(|(a, b)| zigzag(a.wrapping_sub(b)));
                    put_all(stream, differences);
                }
            }
        }
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

/// A field whose word has changed in some records, of a part of which there were so many `before`.
fn changed(stream: &mut Vec<u8>, last: &mut Last, place: Place, words: &[u64], before: usize) {
    if words.iter().all(|word| place.of(*word) == last.value) {
        return;
    }
    let zeros = before - last.written;
    last.written = before + words.len();
    stream.resize(stream.len() + zeros, 0);
    let differences = words.iter().map(|word| {
        let value = place.of(*word);
        let base = std::mem::replace(&mut last.value, value);
        zigzag(value.wrapping_sub(base))
    });
    put_all(stream, differences);
}

/// How much each value is more than its base.
fn differences(stream: &mut Vec<u8>, values: impl ExactSizeIterator<Item = u64>, bases: &[u64]) {
    let pairs = values.zip(bases);
    put_all(
        stream,
        pairs.map(|(value, base)| zigzag(value.wrapping_sub(*base))),
    );
}

/// The low `W` bytes of each value.
fn raw<const W: usize>(stream: &mut Vec<u8>, values: impl ExactSizeIterator<Item = u64>) {
    let end = stream.len();
    stream.resize(end + W * values.len(), 0);
    let (places, _) = stream[end..].as_chunks_mut::<W>();
    for (place, value) in places.iter_mut().zip(values) {
        place.copy_from_slice(&value.to_le_bytes()[..W]);
    }
}
