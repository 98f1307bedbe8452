//! What a block has brought before: the bytes of contexts or of sockets, by number.

use super::plan::Part;
use super::table::ENTRIES_MAX;

/// The socket parts of records, side by side: most blocks have thousands.
#[derive(Debug, Default)]
pub(super) struct Seen {
    places: Vec<Place>,
    bytes: Vec<u8>,
}

/// Where a socket's bytes lie, and the time of the record that brought it.
#[derive(Clone, Copy, Debug)]
struct Place {
    start: u32,
    len: u32,
    born: u64,
}

impl Seen {
    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.bytes.clear();
    }

    /// Keeps the bytes of a part; `None` where there are too many.
    #[inline]
    pub(super) fn push(&mut self, part: &[u8]) -> Option<()> {
        if self.places.len() >= ENTRIES_MAX {
            return None;
        }
        let start = u32::try_from(self.bytes.len()).ok()?;
        let len = u32::try_from(part.len()).ok()?;
        self.bytes.extend_from_slice(part);
        let born = 0;
        self.places.push(Place { start, len, born });
        Some(())
    }

    /// The record that brought the last part is of this time.
    #[inline]
    pub(super) fn born(&mut self, at: u64) {
        if let Some(last) = self.places.last_mut() {
            last.born = at;
        }
    }

    /// Puts a part into a record, and tells the time of the one that brought it; `None` if there is
    /// none with this number and length.
    #[inline]
    pub(super) fn put(&self, number: usize, part: &Part, record: &mut [u8]) -> Option<u64> {
        let &Place { start, len, born } = self.places.get(number)?;
        let (start, len) = (start as usize, len as usize);
        let bytes = self.bytes.get(start..start + len)?;
        if len != part.len {
            return None;
        }
        part.scatter(bytes, record);
        Some(born)
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
    pub(super) fn push(&mut self, layout: usize, record: &[u8]) -> Option<usize> {
        let full = self.bytes.len() + record.len() > PATTERNS_MAX;
        if full || self.places.len() >= ENTRIES_MAX {
            return None;
        }
        self.places.push((layout, self.bytes.len()));
        self.bytes.extend_from_slice(record);
        Some(self.places.len() - 1)
    }

    /// The pattern of this number, if it is of this layout and size: no writer names another's.
    #[inline]
    pub(super) fn get(&self, number: usize, layout: usize, size: usize) -> Option<&[u8]> {
        let &(of, start) = self.places.get(number)?;
        self.bytes.get(start..start + size).filter(|_| of == layout)
    }
}
