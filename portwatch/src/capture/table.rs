//! What a block has seen lately: strings of words, each with the number of its first appearance.
//!
//! A string lies at the place that its hash names, so that to find it is to wait for memory once; that
//! is dearer than all other packing of a record. One that is not found is new again: that costs bytes,
//! and a reader does not mind. So a search ends after a few places, whatever strings a traced program
//! makes up, and a table is no larger than what a core has near.

/// Entries that a block has at most; what comes then is stored with its record.
pub(super) const ENTRIES_MAX: usize = 1 << 17;

/// Places that are looked at for a string.
const PROBES: usize = 4;

/// Places for each string while a table grows.
const ROOM: usize = 4;
const PLACES_FIRST: usize = 64;

/// The half of an entry's first word that is the half of a hash.
const TAG: u64 = 0xffff_ffff_0000_0000;

/// Words of an entry before its string: half of the hash with the number after that of the string (0:
/// free), and a mark.
const HEAD: usize = 2;

/// Strings by their hash. Equality is checked: a process chooses its name.
#[derive(Debug)]
pub(super) struct Table {
    /// Entries at equal distances.
    words: Vec<u64>,
    distance: usize,
    places: usize,
    places_max: usize,
    count: usize,
}

/// Where a string is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) number: usize,
    pub(super) new: bool,
    /// For [`Table::mark`], until the next string is looked for.
    pub(super) place: usize,
}

impl Table {
    /// With so many places at most, a power of two, for strings of so many words at most.
    pub(super) fn new(places_max: usize, longest: usize) -> Self {
        let distance = longest + HEAD;
        let places = PLACES_FIRST.min(places_max);
        Self {
            words: vec![0; places * distance],
            distance,
            places,
            places_max,
            count: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        if self.count > 0 {
            let entries = self.words.chunks_exact_mut(self.distance);
            entries.for_each(|entry| entry[0] = 0);
        }
        self.count = 0;
    }

    /// Brings near what is known with this hash.
    #[inline]
    pub(super) fn touch(&self, hash: u64) -> u64 {
        const LINE: usize = 8;
        let entry = self.entry(home(hash, self.places));
        let lines = entry.iter().step_by(LINE).fold(0, |all, word| all ^ word);
        lines ^ entry.last().unwrap_or(&0)
    }

    /// The number of a string with this [`hash`]. None is the beginning of another one: the first word
    /// tells what it is.
    #[inline]
    pub(super) fn number(&mut self, hash: u64, string: &[u64]) -> Known {
        if self.count * ROOM > self.places && self.places < self.places_max {
            self.grow();
        }
        let mut free = home(hash, self.places);
        for place in places(hash, self.places) {
            let [head, _, known @ ..] = self.entry(place) else {
                break;
            };
            if *head == 0 {
                free = place;
                break;
            }
            if *head & TAG == hash & TAG && is(known, string) {
                let number = number_in(*head);
                let new = false;
                return Known { number, new, place };
            }
        }
        let number = self.count;
        self.count += 1;
        let start = free * self.distance;
        if let Some([head, mark, words @ ..]) = self.words.get_mut(start..start + self.distance)
            && let Some(words) = words.get_mut(..string.len())
        {
            (*head, *mark) = ((hash & TAG) | self.count as u64, 0);
            words.copy_from_slice(string);
        }
        Known {
            number,
            new: true,
            place: free,
        }
    }

    /// The number of a string that is not looked for, now or later.
    #[inline]
    pub(super) fn pass(&mut self) -> Known {
        let number = self.count;
        self.count += 1;
        Known {
            number,
            new: true,
            place: 0,
        }
    }

    #[inline]
    fn entry(&self, place: usize) -> &[u64] {
        let start = place * self.distance;
        self.words
            .get(start..start + self.distance)
            .unwrap_or_default()
    }

    #[cold]
    fn grow(&mut self) {
        let had = self.places;
        self.places = had * 2;
        let words = std::mem::replace(&mut self.words, vec![0; self.places * self.distance]);
        for entry in words
            .chunks_exact(self.distance)
            .filter(|entry| entry[0] != 0)
        {
            let place = places(entry[0], self.places).find(|place| self.entry(*place)[0] == 0);
            if let Some(start) = place.map(|place| place * self.distance) {
                self.words[start..start + self.distance].copy_from_slice(entry);
            }
        }
    }

    /// What is kept with a string; at first 0.
    #[inline]
    pub(super) fn mark(&mut self, place: usize) -> Option<&mut u64> {
        self.words.get_mut(place * self.distance + 1)
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }
}

#[inline]
fn is(known: &[u64], string: &[u64]) -> bool {
    let pairs = known.iter().zip(string);
    pairs.fold(0, |all, (one, other)| all | (one ^ other)) == 0
}

#[inline]
fn number_in(head: u64) -> usize {
    (head & !TAG) as usize - 1
}

#[inline]
fn home(hash: u64, places: usize) -> usize {
    (hash >> 32) as usize & (places - 1)
}

/// Where a string with this hash may be, among so many places, a power of two.
#[inline]
fn places(hash: u64, places: usize) -> impl Iterator<Item = usize> {
    let home = home(hash, places);
    (0..PROBES).map(move |step| (home + step) & (places - 1))
}

/// Multiplies and folds: fast, and good enough for a table that checks equality. Two words go into
/// each of two sums that do not wait for each other.
#[inline]
pub(super) fn hash(string: &[u64]) -> u64 {
    let (blocks, rest) = string.as_chunks::<4>();
    let [mut one, mut other] = [ODD; 2];
    for [a, b, c, d] in blocks {
        one = fold(one ^ a, b ^ ODD);
        other = fold(other ^ c, d ^ ODD);
    }
    for word in rest {
        one = fold(one ^ word, ODD);
    }
    fold(one, other ^ ODD)
}

/// The same of bytes.
pub(super) fn hash_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let sum = fold(bytes.len() as u64, u64::from_le_bytes(last));
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    words.fold(sum, |sum, word| fold(sum ^ word, ODD))
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
    use std::collections::HashSet;

    #[test]
    fn a_string_has_one_number() {
        let mut table = Table::new(1 << 14, 3);
        let mut number = |string: &[u64]| {
            let Known { number, new, place } = table.number(hash(string), string);
            let mark = table.mark(place).unwrap();
            assert_eq!(*mark, if new { 0 } else { number as u64 + 1 });
            *mark = number as u64 + 1;
            (number, new)
        };
        assert_eq!(number(&[2, 5, 6]), (0, true));
        assert_eq!(number(&[1, 5]), (1, true));
        assert_eq!(number(&[0]), (2, true));
        for n in 0..1000 {
            assert!(number(&[2, 7, n]).1);
        }
        assert_eq!(number(&[2, 5, 6]), (0, false));
        assert_eq!(number(&[1, 5]), (1, false));
        assert_eq!(table.len(), 1003);
        table.clear();
        assert_eq!(table.number(hash(&[1, 5]), &[1, 5]).number, 0);
        assert_eq!(table.len(), 1);
    }

    /// Most of the last are found, and those long before them are new again.
    #[test]
    fn the_last_are_known() {
        let mut table = Table::new(4096, 2);
        let mut known = |n| !table.number(hash(&[2, n]), &[2, n]).new;
        assert_eq!((0..100_000).filter(|n| known(*n)).count(), 0);
        let last = (99_000..100_000).rev().filter(|n| known(*n)).count();
        assert!(last > 700, "{last}");
        let first = (0..1000).filter(|n| known(*n)).count();
        assert!(first < 300, "{first}");
    }

    #[test]
    fn hashes_differ() {
        let all: HashSet<u64> = (0..100_000).map(|n| hash(&[2, n, 0x6468_7373])).collect();
        assert_eq!(all.len(), 100_000);
    }
}
