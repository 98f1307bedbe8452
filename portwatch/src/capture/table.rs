//! What a block has seen lately: strings of words, each with the number of its first appearance.
//!
//! A string is known by 128 bits that are made with a secret of this process: nobody who chooses a
//! name can make them equal to another's, and to compare the strings themselves would be to wait for
//! memory, which is dearer than all other packing of a record. One that is not found is new again:
//! that costs bytes, and a reader does not mind. So a search ends after a few places, and a table is
//! no larger than what a core has near.

use super::layout::RECORD_MAX;
use std::hash::{BuildHasher as _, RandomState};

/// Entries that a block has at most; what comes then is stored with its record.
pub(super) const ENTRIES_MAX: usize = 1 << 17;

/// Places that are looked at for a string.
const PROBES: usize = 4;

/// Places for each string while a table grows.
const ROOM: usize = 4;
const PLACES_FIRST: usize = 64;

/// Strings by their hash.
#[derive(Debug)]
pub(super) struct Table {
    entries: Vec<Entry>,
    places_max: usize,
    count: usize,
}

/// `hash` is zero where the place is free.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    hash: Hash,
    number: u64,
    mark: u64,
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
    /// With so many places at most, a power of two.
    pub(super) fn new(places_max: usize) -> Self {
        Self {
            entries: vec![Entry::default(); PLACES_FIRST.min(places_max)],
            places_max,
            count: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        if self.count > 0 {
            self.entries.fill(Entry::default());
        }
        self.count = 0;
    }

    /// Brings near what is known with this hash.
    #[inline]
    pub(super) fn touch(&self, hash: Hash) -> u64 {
        let home = hash.home(self.entries.len());
        self.entries.get(home).map_or(0, |entry| entry.hash.one)
    }

    /// The number of the string with this hash.
    #[inline]
    pub(super) fn number(&mut self, hash: Hash) -> Known {
        if self.count * ROOM > self.entries.len() && self.entries.len() < self.places_max {
            self.grow();
        }
        let mut free = hash.home(self.entries.len());
        for place in places(hash, self.entries.len()) {
            let Some(entry) = self.entries.get(place) else {
                break;
            };
            if entry.hash == hash {
                return Known {
                    number: usize::try_from(entry.number).unwrap_or(usize::MAX),
                    new: false,
                    place,
                };
            }
            if entry.hash == Hash::default() {
                free = place;
                break;
            }
        }
        let known = self.pass(free);
        if let Some(entry) = self.entries.get_mut(free) {
            *entry = Entry {
                hash,
                number: known.number as u64,
                mark: 0,
            };
        }
        known
    }

    /// The number of a string that is not looked for, now or later.
    #[inline]
    pub(super) fn pass(&mut self, place: usize) -> Known {
        let number = self.count;
        self.count += 1;
        Known {
            number,
            new: true,
            place,
        }
    }

    #[cold]
    fn grow(&mut self) {
        let room = vec![Entry::default(); self.entries.len() * 2];
        for entry in std::mem::replace(&mut self.entries, room) {
            let free = |place: &usize| {
                let there = self.entries.get(*place);
                there.is_some_and(|there| there.hash == Hash::default())
            };
            let place = places(entry.hash, self.entries.len()).find(free);
            if let Some(place) = place.and_then(|place| self.entries.get_mut(place)) {
                *place = entry;
            }
        }
    }

    /// What is kept with a string; at first 0.
    #[inline]
    pub(super) fn mark(&mut self, place: usize) -> Option<&mut u64> {
        self.entries.get_mut(place).map(|entry| &mut entry.mark)
    }

    pub(super) fn len(&self) -> usize {
        self.count
    }
}

/// Where a string with this hash may be, among so many places, a power of two.
#[inline]
fn places(hash: Hash, places: usize) -> impl Iterator<Item = usize> {
    let home = hash.home(places);
    (0..PROBES).map(move |step| (home + step) & (places - 1))
}

/// What a string is known by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hash {
    one: u64,
    other: u64,
}

impl Hash {
    #[inline]
    fn home(self, places: usize) -> usize {
        (self.one >> 32) as usize & (places - 1)
    }
}

/// Makes hashes; no two processes make the same.
#[derive(Clone, Debug)]
pub(super) struct Hasher {
    /// For each two words of a record, and those at the end.
    secrets: [[u64; 4]; PAIRS_MAX + 1],
}

/// Two words of a record at most.
const PAIRS_MAX: usize = RECORD_MAX.div_ceil(16);

impl Hasher {
    pub(super) fn new() -> Self {
        let random = RandomState::new();
        Self {
            secrets: std::array::from_fn(|at| [0, 1, 2, 3].map(|n| random.hash_one((at, n)))),
        }
    }

    /// Of some bits of some words, behind a `head`. Each two words have secrets of their own and are
    /// multiplied with no regard to the others, so that none waits for another; the sums are of 128
    /// bits (NH of UMAC, twice).
    #[inline]
    pub(super) fn hash(&self, head: u64, record: &[[u8; 8]], words: &[(usize, u64)]) -> Hash {
        let of = |(at, mask): (usize, u64)| {
            let word = record.get(at).copied().unwrap_or_default();
            u64::from_le_bytes(word) & mask
        };
        let (mut one, mut other) = (u128::from(head), u128::from(head));
        let (pairs, rest) = words.as_chunks::<2>();
        let [last, secrets @ ..] = &self.secrets;
        for (&[x, y], [a, b, c, d]) in pairs.iter().zip(secrets) {
            let (x, y) = (of(x), of(y));
            one = one.wrapping_add(wide(x.wrapping_add(*a), y.wrapping_add(*b)));
            other = other.wrapping_add(wide(x.wrapping_add(*c), y.wrapping_add(*d)));
        }
        let [a, b, c, d] = *last;
        if let [x] = *rest {
            let x = of(x);
            one = one.wrapping_add(wide(x.wrapping_add(a), c));
            other = other.wrapping_add(wide(x.wrapping_add(b), d));
        }
        Hash {
            // Never that of a free place.
            one: mixed(one, a, b) | 1,
            other: mixed(other, c, d),
        }
    }
}

/// The half of a sum of products, with secrets.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
fn mixed(sum: u128, one: u64, other: u64) -> u64 {
    multiply(sum as u64 ^ one, (sum >> 64) as u64 ^ other)
}

#[inline]
fn wide(one: u64, other: u64) -> u128 {
    u128::from(one) * u128::from(other)
}

/// A hash of bytes, for a table that checks equality.
pub(super) fn hash_bytes(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let sum = fold(bytes.len() as u64, u64::from_le_bytes(last));
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    words.fold(sum, |sum, word| fold(sum ^ word, ODD))
}

const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// As [`multiply`], without a secret: a factor of zero would forget the other one.
#[inline]
fn fold(one: u64, other: u64) -> u64 {
    multiply(one ^ 0xd6e8_feb8_6659_fd93, other | 1)
}

/// Both halves of a product.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
fn multiply(one: u64, other: u64) -> u64 {
    let wide = wide(one, other);
    (wide as u64) ^ ((wide >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Always the same: with others, others are forgotten.
    fn hasher() -> Hasher {
        let mut state = ODD;
        let mut next = || {
            state = fold(state, ODD << 7 | 3);
            state
        };
        Hasher {
            secrets: std::array::from_fn(|_| std::array::from_fn(|_| next())),
        }
    }

    fn hash(hasher: &Hasher, string: &[u64]) -> Hash {
        let record: Vec<_> = string.iter().map(|word| word.to_le_bytes()).collect();
        let words: Vec<_> = (0..string.len()).map(|at| (at, u64::MAX)).collect();
        hasher.hash(7, &record, &words)
    }

    #[test]
    fn a_string_has_one_number() {
        let hasher = hasher();
        let mut table = Table::new(1 << 14);
        let mut number = |string: &[u64]| {
            let Known { number, new, place } = table.number(hash(&hasher, string));
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
        assert_eq!(table.number(hash(&hasher, &[1, 5])).number, 0);
        assert_eq!(table.len(), 1);
    }

    /// Most of the last are found, and those long before them are new again.
    #[test]
    fn the_last_are_known() {
        let mut table = Table::new(4096);
        let hasher = hasher();
        let mut known = |n| !table.number(hash(&hasher, &[2, n])).new;
        assert_eq!((0..100_000).filter(|n| known(*n)).count(), 0);
        let last = (99_000..100_000).rev().filter(|n| known(*n)).count();
        assert!(last > 700, "{last}");
        let first = (0..1000).filter(|n| known(*n)).count();
        assert!(first < 300, "{first}");
    }

    #[test]
    fn hashes_differ() {
        let hasher = hasher();
        let of = |n: u64| hash(&hasher, &[n % 4, n, 0x6468_7373]);
        let both: HashSet<_> = (0..100_000).map(|n| (of(n).one, of(n).other)).collect();
        let half: HashSet<_> = (0..100_000).map(|n| of(n).other).collect();
        assert_eq!((both.len(), half.len()), (100_000, 100_000));
        // Neither where words stand nor which head is before them is lost.
        let odd = [&[1, 2][..], &[2, 1], &[1, 2, 5], &[1], &[0, 1]];
        let mut odd: HashSet<_> = odd.map(|string| hash(&hasher, string).one).into();
        odd.insert(hasher.hash(8, &[1_u64.to_le_bytes()], &[(0, u64::MAX)]).one);
        assert_eq!(odd.len(), 6);
        assert_ne!(hash(&Hasher::new(), &[1]), hash(&hasher, &[1]));
        // Only the bits that are asked for.
        let masked = |word: u64| hasher.hash(7, &[word.to_le_bytes()], &[(0, 0xff00)]);
        assert_eq!(masked(0x1234), masked(0x5_1277));
        assert_ne!(masked(0x1234), masked(0x1334));
    }
}
