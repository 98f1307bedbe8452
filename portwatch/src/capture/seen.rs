//! What a block has brought before: the bytes of contexts or of sockets, by number.

use super::plan::{Part, get, set};
use super::table::ENTRIES_MAX;

/// Bytes that the machine brings near together.
const LINE: usize = 64;

/// Bytes of sockets at most: more than any block has that this writer makes.
const SOCKETS_MAX: usize = 64 << 20;

/// Bytes before those of each socket: the time of the record that brought it, and their length.
const HEAD: usize = 16;

/// The socket parts of records, side by side and at equal distances: most blocks have thousands.
#[derive(Debug, Default)]
pub(super) struct Seen {
    count: usize,
    distance: usize,
    bytes: Vec<u8>,
}

impl Seen {
    /// For parts of so many bytes at most.
    pub(super) fn new(widest: usize) -> Self {
        Self {
            distance: HEAD + widest.next_multiple_of(8),
            ..Self::default()
        }
    }

    pub(super) fn clear(&mut self) {
        self.count = 0;
        self.bytes.clear();
    }

    /// Keeps the bytes of a part; `None` where there are too many.
    #[inline]
    pub(super) fn push(&mut self, part: &[u8]) -> Option<()> {
        let start = self.bytes.len();
        let end = start + self.distance;
        let fits = HEAD + part.len() <= self.distance && end <= SOCKETS_MAX;
        if !fits || self.count >= ENTRIES_MAX {
            return None;
        }
        self.count += 1;
        self.bytes.extend_from_slice(&[0; 8]);
        let len = part.len() as u64;
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(part);
        self.bytes.resize(end, 0);
        Some(())
    }

    /// The record that brought the last part is of this time.
    #[inline]
    pub(super) fn born(&mut self, at: u64) {
        if let Some(last) = self.count.checked_sub(1) {
            set::<8>(&mut self.bytes, last * self.distance, at);
        }
    }

    /// Brings the bytes of this number near, if they are there.
    #[inline]
    pub(super) fn touch(&self, number: usize) -> u8 {
        let start = number.wrapping_mul(self.distance);
        let line = |at: usize| *self.bytes.get(at).unwrap_or(&0);
        line(start) ^ line(start.wrapping_add(self.distance - 1))
    }

    /// Puts a part into a record, and tells the time of the one that brought it; `None` if there is
    /// none with this number and length.
    #[inline]
    pub(super) fn put(&self, number: usize, part: &Part, record: &mut [u8]) -> Option<u64> {
        let start = number.checked_mul(self.distance)?;
        let bytes = self.bytes.get(start..start.checked_add(self.distance)?)?;
        if get::<8>(bytes, 8) != part.len as u64 {
            return None;
        }
        part.scatter(bytes.get(HEAD..HEAD + part.len)?, record);
        Some(get::<8>(bytes, 0))
    }
}

/// Bytes of patterns at most: more than the contexts of any block that this writer makes.
const PATTERNS_MAX: usize = 64 << 20;

/// Contexts as stretches of records that hold nothing else: a record begins with a copy of its
/// context's, which is few copies instead of one for each field.
#[derive(Debug, Default)]
pub(super) struct Patterns {
    /// Number of the layout, and where it begins.
    places: Vec<(u32, u32)>,
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
        self.places.push((u32::try_from(layout).ok()?, start));
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
        let &(of, start) = self.places.get(number)?;
        let mut rest = self.bytes.get(start as usize..)?;
        if of as usize != layout {
            return None;
        }
        for span in &part.spans {
            let (head, behind) = rest.split_at_checked(span.len())?;
            record.get_mut(span.clone())?.copy_from_slice(head);
            rest = behind;
        }
        Some(())
    }

    /// Brings the context of this number near, if there is one: its first lines.
    #[inline]
    pub(super) fn touch(&self, number: usize) -> u8 {
        let Some(&(_, start)) = self.places.get(number) else {
            return 0;
        };
        let start = start as usize;
        let lines = [start, start + LINE, start + 2 * LINE];
        let line = |at: usize| *self.bytes.get(at).unwrap_or(&0);
        lines.map(line).iter().fold(0, |all, byte| all ^ byte)
    }
}
