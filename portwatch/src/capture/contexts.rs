//! The contexts that a block has brought before, by number.

use super::plan::Part;
use super::table::ENTRIES_MAX;
use crate::decode::Traffic;

/// Bytes that the machine brings near together.
const LINE: usize = 64;

/// Bytes of patterns at most: more than the contexts of any block that this writer makes.
const PATTERNS_MAX: usize = 64 << 20;

#[derive(Clone, Copy, Debug)]
struct Place {
    /// Number of the layout.
    layout: u32,
    start: u32,
    /// What every record of the context is.
    traffic: Option<Traffic>,
}

/// Contexts as stretches of records that hold nothing else: a record begins with a copy of its
/// context's, which is few copies instead of one for each field.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    places: Vec<Place>,
    bytes: Vec<u8>,
}

impl Patterns {
    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.bytes.clear();
    }

    /// Keeps the context of a record; its number, `None` where there are too many.
    pub(super) fn push(&mut self, layout: usize, part: &Part, record: &[u8]) -> Option<usize> {
        let full = self.bytes.len() + record.len() > PATTERNS_MAX;
        if full || self.places.len() >= ENTRIES_MAX {
            return None;
        }
        let start = u32::try_from(self.bytes.len()).ok()?;
        self.places.push(Place {
            layout: u32::try_from(layout).ok()?,
            start,
            traffic: None,
        });
        for span in &part.spans {
            self.bytes.extend_from_slice(record.get(span.clone())?);
        }
        Some(self.places.len() - 1)
    }

    /// Puts the context of this number into a record, and anything into the fields of other homes.
    /// `None` if it is not of this layout: no writer names another's.
    #[inline]
    pub(super) fn put(
        &self,
        number: usize,
        layout: usize,
        part: &Part,
        record: &mut [u8],
    ) -> Option<()> {
        let place = self.places.get(number)?;
        let mut rest = self.bytes.get(place.start as usize..)?;
        if place.layout as usize != layout {
            return None;
        }
        for span in &part.spans {
            let (head, behind) = rest.split_at_checked(span.len())?;
            record.get_mut(span.clone())?.copy_from_slice(head);
            rest = behind;
        }
        Some(())
    }

    /// Keeps what every record of the context is.
    #[inline]
    pub(super) fn tell(&mut self, number: usize, traffic: Traffic) {
        if let Some(place) = self.places.get_mut(number) {
            place.traffic = Some(traffic);
        }
    }

    /// What every record of the context is, if that is known and it is one of this layout.
    #[inline]
    pub(super) fn told(&self, number: usize, layout: usize) -> Option<Traffic> {
        let place = self.places.get(number)?;
        place.traffic.filter(|_| place.layout as usize == layout)
    }

    /// Brings the context of this number near, if there is one: its first lines.
    #[inline]
    pub(super) fn touch(&self, number: usize) -> u8 {
        let Some(place) = self.places.get(number) else {
            return 0;
        };
        let start = place.start as usize;
        let lines = [start, start + LINE, start + 2 * LINE];
        let line = |at: usize| *self.bytes.get(at).unwrap_or(&0);
        lines.map(line).iter().fold(0, |all, byte| all ^ byte)
    }
}
