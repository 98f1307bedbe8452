//! The sockets that a block has brought before, by number.
//!
//! Nearly all of them are brought by records that nobody wants to see, and never looked at: only
//! where they lie is kept, and their fields are read from the columns when somebody asks.

use super::plan::{Part, Plan, put_number};
use super::streams::{Streams, Wrong};
use super::table::ENTRIES_MAX;

/// Bytes of odd sockets at most: more than any block has that this writer makes.
const ODD_MAX: usize = 64 << 20;

/// Those of one block.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    places: Vec<Place>,
    /// The times of the records that brought them.
    born: Vec<u64>,
    /// By layout: how many it has brought.
    counts: Vec<u32>,
    /// Bytes of each one's part, as long as they all have the same.
    len: Option<usize>,
    /// The parts that are not plain: their fields need what stood before them.
    odd: Vec<u8>,
    /// A part is put together here.
    bench: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    layout: u32,
    /// How many of this layout came before; of one that is not plain where its bytes begin.
    at: u32,
}

impl Sockets {
    /// A block with so many layouts begins.
    pub(super) fn clear(&mut self, layouts: usize) {
        self.places.clear();
        self.born.clear();
        self.counts.clear();
        self.counts.resize(layouts, 0);
        self.odd.clear();
    }

    /// One more of a plain layout; `None` where there are too many.
    #[inline]
    pub(super) fn push(&mut self, layout: usize, part: &Part) -> Option<usize> {
        let count = self.counts.get_mut(layout)?;
        let at = *count;
        *count += 1;
        self.keep(layout, at, part)
    }

    /// The same of one that is not plain, with the record that brought it.
    pub(super) fn push_odd(&mut self, layout: usize, part: &Part, record: &[u8]) -> Option<usize> {
        let at = self.odd.len();
        if at + part.len > ODD_MAX {
            return None;
        }
        part.gather(record, &mut self.odd);
        self.keep(layout, u32::try_from(at).ok()?, part)
    }

    #[inline]
    fn keep(&mut self, layout: usize, at: u32, part: &Part) -> Option<usize> {
        let number = self.places.len();
        if number >= ENTRIES_MAX {
            return None;
        }
        self.len = match number {
            0 => Some(part.len),
            _ => self.len.filter(|known| *known == part.len),
        };
        let layout = u32::try_from(layout).ok()?;
        self.places.push(Place { layout, at });
        self.born.push(0);
        Some(number)
    }

    /// The record that brought the last one is of this time.
    #[inline]
    pub(super) fn born(&mut self, at: u64) {
        if let Some(last) = self.born.last_mut() {
            *last = at;
        }
    }

    /// There is one with this number, with as many bytes as `part`.
    #[inline]
    pub(super) fn has(&self, number: usize, part: &Part, plans: &[Plan]) -> bool {
        let Some(place) = self.places.get(number) else {
            return false;
        };
        self.len.unwrap_or_else(|| len(*place, plans)) == part.len
    }

    /// Puts the fields of one into the `part` of a record, and tells the time of the record that
    /// brought it.
    pub(super) fn put(
        &mut self,
        number: usize,
        part: &Part,
        plans: &[Plan],
        streams: &mut Streams,
        record: &mut [u8],
    ) -> Result<u64, Wrong> {
        if !self.has(number, part, plans) {
            return Err(Wrong::Number);
        }
        let place = *self.places.get(number).ok_or(Wrong::Number)?;
        let from = &plans
            .get(place.layout as usize)
            .ok_or(Wrong::Layout)?
            .socket;
        let at = place.at as usize;
        if !from.plain {
            let bytes = self.odd.get(at..at + from.len).ok_or(Wrong::Number)?;
            part.scatter(bytes, record);
        } else if from.number == part.number {
            for step in &from.steps {
                put_number(record, step.offset, step.width, streams.value(step, at)?);
            }
        } else {
            self.bench.resize(from.len, 0);
            for step in &from.steps {
                let value = streams.value(step, at)?;
                put_number(&mut self.bench, step.packed, step.width, value);
            }
            part.scatter(&self.bench, record);
        }
        self.born.get(number).copied().ok_or(Wrong::Number)
    }
}

fn len(place: Place, plans: &[Plan]) -> usize {
    let plan = plans.get(place.layout as usize);
    plan.map_or(0, |plan| plan.socket.len)
}
