//! What a block has seen: byte strings, each with the number of its first appearance.

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

/// Entries that a table has at most; what comes then is stored with its record.
pub(super) const ENTRIES_MAX: usize = 1 << 17;

/// Strings by their hash. Equality is checked: a process chooses its name.
#[derive(Debug, Default)]
pub(super) struct Table {
    numbers: HashTable<u32>,
    /// Where each ends in the bytes.
    ends: Vec<u32>,
    bytes: Vec<u8>,
}

impl Table {
    pub(super) fn clear(&mut self) {
        self.numbers.clear();
        self.ends.clear();
        self.bytes.clear();
    }

    /// The number of `bytes`, and whether it is new.
    pub(super) fn number(&mut self, bytes: &[u8]) -> (u32, bool) {
        let Self {
            numbers,
            ends,
            bytes: all,
        } = self;
        let is = |number: &u32| string(all, ends, *number) == Some(bytes);
        let again = |number: &u32| hash(string(all, ends, *number).unwrap_or_default());
        match numbers.entry(hash(bytes), is, again) {
            Entry::Occupied(known) => (*known.get(), false),
            Entry::Vacant(place) => {
                let number = u32::try_from(ends.len()).unwrap_or(u32::MAX);
                all.extend_from_slice(bytes);
                ends.push(u32::try_from(all.len()).unwrap_or(u32::MAX));
                place.insert(number);
                (number, true)
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }
}

#[inline]
fn string<'a>(bytes: &'a [u8], ends: &[u32], number: u32) -> Option<&'a [u8]> {
    let number = number as usize;
    let start = match number.checked_sub(1) {
        Some(before) => *ends.get(before)?,
        None => 0,
    };
    bytes.get(start as usize..*ends.get(number)? as usize)
}

/// Multiplies and folds: fast, and good enough for a table that checks equality. Two words go into
/// each of two sums that do not wait for each other.
#[inline]
fn hash(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let [mut one, mut other] = [bytes.len() as u64, ODD];
    for block in blocks {
        let word = |at: usize| match block[at..].first_chunk() {
            Some(word) => u64::from_le_bytes(*word),
            None => 0,
        };
        one = fold(one ^ word(0), word(8) ^ ODD);
        other = fold(other ^ word(16), word(24) ^ ODD);
    }
    let (words, rest) = rest.as_chunks::<8>();
    for word in words {
        one = fold(one ^ u64::from_le_bytes(*word), ODD);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    fold(one ^ u64::from_le_bytes(last), other ^ ODD)
}

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Both halves of a product.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
fn fold(one: u64, other: u64) -> u64 {
    // A factor of zero would forget the other one.
    let wide = u128::from(one ^ 0xd6e8_feb8_6659_fd93) * u128::from(other | 1);
    (wide as u64) ^ ((wide >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_has_one_number() {
        let mut table = Table::default();
        assert_eq!(table.number(b"nginx"), (0, true));
        assert_eq!(table.number(b"nginx\0"), (1, true));
        assert_eq!(table.number(b""), (2, true));
        assert_eq!(table.number(b"nginx"), (0, false));
        assert_eq!(table.len(), 3);
        table.clear();
        assert_eq!(table.number(b"nginx\0"), (0, true));
    }

    #[test]
    fn hashes_differ() {
        let all: std::collections::HashSet<u64> = (0..100_000_u32)
            .map(|n| hash(&[&n.to_le_bytes()[..], b"sshd"].concat()))
            .collect();
        assert_eq!(all.len(), 100_000);
    }
}
