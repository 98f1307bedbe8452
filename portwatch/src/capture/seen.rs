//! What a block has brought before: the bytes of contexts or of sockets, by number.

use super::plan::Part;
use super::table::ENTRIES_MAX;

/// The socket parts of records, side by side: most blocks have thousands.
#[derive(Debug, Default)]
pub(super) struct Seen {
    places: Vec<(usize, usize)>,
    bytes: Vec<u8>,
}

impl Seen {
    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.bytes.clear();
    }

    /// Keeps a part of a record; its number, `None` where there are too many.
    pub(super) fn push(&mut self, part: &Part, record: &[u8]) -> Option<u32> {
        if self.places.len() >= ENTRIES_MAX {
            return None;
        }
        let start = self.bytes.len();
        part.gather(record, &mut self.bytes);
        self.places.push((start, self.bytes.len()));
        u32::try_from(self.places.len() - 1).ok()
    }

    /// Puts a part into a record; `None` if there is none with this number and length.
    #[inline]
    pub(super) fn put(&self, number: usize, part: &Part, record: &mut [u8]) -> Option<()> {
        let &(start, end) = self.places.get(number)?;
        let bytes = self.bytes.get(start..end)?;
        if bytes.len() != part.len {
            return None;
        }
        part.scatter(bytes, record);
        Some(())
    }
}

/// Bytes of patterns at most: more than the contexts of any block that this writer makes.
const PATTERNS_MAX: usize = 64 << 20;

/// Contexts as records that hold nothing else: a record begins as a copy of its context's, which is
/// one copy instead of one for each field.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    /// Number of the layout, and where it begins.
    places: Vec<(usize, usize)>,
    bytes: Vec<u8>,
}

impl Patterns {
    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.bytes.clear();
    }

    /// Keeps the context of a record that holds nothing else yet; its number, `None` where there
    /// are too many.
    pub(super) fn push(&mut self, layout: usize, record: &[u8]) -> Option<u32> {
        let full = self.bytes.len() + record.len() > PATTERNS_MAX;
        if full || self.places.len() >= ENTRIES_MAX {
            return None;
        }
        self.places.push((layout, self.bytes.len()));
        self.bytes.extend_from_slice(record);
        u32::try_from(self.places.len() - 1).ok()
    }

    /// The pattern of this number, if it is of this layout and size: no writer names another's.
    #[inline]
    pub(super) fn get(&self, number: usize, layout: usize, size: usize) -> Option<&[u8]> {
        let &(of, start) = self.places.get(number)?;
        self.bytes.get(start..start + size).filter(|_| of == layout)
    }
}
