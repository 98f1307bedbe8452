//! What a block has seen: byte strings, each with the number of its first appearance.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// Entries that a table has at most; what comes then is stored with its record.
pub(super) const ENTRIES_MAX: usize = 1 << 17;

/// Strings by their hash. Equality is checked: a process chooses its name.
#[derive(Debug, Default)]
pub(super) struct Table {
    numbers: HashMap<u64, u32, BuildHasherDefault<Hashed>>,
    places: Vec<(u32, u32)>,
    bytes: Vec<u8>,
}

impl Table {
    pub(super) fn clear(&mut self) {
        self.numbers.clear();
        self.places.clear();
        self.bytes.clear();
    }

    /// The number of `bytes`, and whether it is new.
    pub(super) fn number(&mut self, bytes: &[u8]) -> (u32, bool) {
        let hash = hash(bytes);
        if let Some(&number) = self.numbers.get(&hash)
            && self.get(number) == Some(bytes)
        {
            return (number, false);
        }
        let number = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        let start = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(bytes);
        let end = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.places.push((start, end));
        self.numbers.insert(hash, number);
        (number, true)
    }

    pub(super) fn get(&self, number: u32) -> Option<&[u8]> {
        let (start, end) = *self.places.get(number as usize)?;
        self.bytes.get(start as usize..end as usize)
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }
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

/// Passes a hash on.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(bytes);
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
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
        assert_eq!(table.get(1), Some(&b"nginx\0"[..]));
        assert_eq!((table.get(3), table.len()), (None, 3));
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
