//! LEB128, and zigzag for differences.

use super::plan::get;

/// Bytes of a number at most.
const LONGEST: usize = 10;

/// Appends `value`, seven bits a byte, lowest first; a set top bit says that more follow.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.push(low7(value));
    } else {
        put_all(out, std::iter::once(value));
    }
}

/// Appends many.
#[inline]
pub(super) fn put_all(out: &mut Vec<u8>, values: impl ExactSizeIterator<Item = u64>) {
    let mut end = out.len();
    out.resize(end + LONGEST * values.len(), 0);
    for value in values {
        if let Some(place) = out.get_mut(end..).and_then(<[u8]>::first_chunk_mut) {
            end += write(place, value);
        }
    }
    out.truncate(end);
}

/// How many bytes it took.
#[inline]
fn write(out: &mut [u8; LONGEST], mut value: u64) -> usize {
    if value >> 56 == 0 {
        // All bytes at once: of eight, those that the value needs are kept.
        let four = (value & 0x0fff_ffff) | ((value << 4) & 0x0fff_ffff_0000_0000);
        let two = (four & 0x0000_3fff_0000_3fff) | ((four << 2) & 0x3fff_0000_3fff_0000);
        let seven = (two & 0x007f_007f_007f_007f) | ((two << 1) & 0x7f00_7f00_7f00_7f00);
        let last = (63 - (seven | 1).leading_zeros()) / 8;
        let more = 0x8080_8080_8080_8080 & ((1 << (8 * last)) - 1);
        out[..8].copy_from_slice(&(seven | more).to_le_bytes());
        return last as usize + 1;
    }
    let mut count = 0;
    while value >= 0x80 {
        out[count] = low7(value) | 0x80;
        value >>= 7;
        count += 1;
    }
    out[count] = low7(value);
    count + 1
}

#[inline]
fn low7(value: u64) -> u8 {
    value.to_le_bytes()[0] & 0x7f
}

/// The value at the head of `from`, which moves behind it; `None` where it is cut or longer than 64
/// bits.
#[inline]
pub(super) fn take(from: &mut &[u8]) -> Option<u64> {
    if let [first @ 0..0x80, rest @ ..] = *from {
        *from = rest;
        return Some(u64::from(*first));
    }
    let mut value = 0_u64;
    for (at, &byte) in from.iter().enumerate().take(10) {
        let bits = u64::from(byte & 0x7f);
        if at == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * at);
        if byte < 0x80 {
            *from = &from[at + 1..];
            return Some(value);
        }
    }
    None
}

/// A stretch of bytes that is read number by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    pub(super) at: usize,
    pub(super) end: usize,
}

impl Cursor {
    /// The next number of the stretch of `bytes`; `None` as of [`take`].
    #[inline]
    pub(super) fn take(&mut self, bytes: &[u8]) -> Option<u64> {
        if self.at >= self.end {
            return None;
        }
        let first = *bytes.get(self.at)?;
        if first < 0x80 {
            self.at += 1;
            return Some(u64::from(first));
        }
        self.long(bytes)
    }

    /// The next little-endian number of `W` bytes.
    #[inline]
    pub(super) fn raw<const W: usize>(&mut self, bytes: &[u8]) -> Option<u64> {
        let end = self.at + W;
        if end > self.end || end > bytes.len() {
            return None;
        }
        let value = get::<W>(bytes, self.at);
        self.at = end;
        Some(value)
    }

    /// Goes behind `count` times so many bytes.
    #[inline]
    pub(super) fn skip(&mut self, bytes: usize, count: usize) -> Option<()> {
        let at = self.at.checked_add(bytes.checked_mul(count)?)?;
        if at > self.end {
            return None;
        }
        self.at = at;
        Some(())
    }

    /// A number of several bytes: eight are looked at together where they are there.
    #[inline]
    fn long(&mut self, bytes: &[u8]) -> Option<u64> {
        if let Some(window) = bytes.get(self.at..self.end)?.first_chunk::<8>() {
            let window = u64::from_le_bytes(*window);
            let stop = !window & 0x8080_8080_8080_8080;
            if stop != 0 {
                let bits = stop.trailing_zeros() + 1;
                self.at += (bits / 8) as usize;
                let seven = window & (u64::MAX >> (64 - bits)) & 0x7f7f_7f7f_7f7f_7f7f;
                let two = (seven & 0x007f_007f_007f_007f) | ((seven & 0x7f00_7f00_7f00_7f00) >> 1);
                let four = (two & 0x0000_3fff_0000_3fff) | ((two & 0x3fff_0000_3fff_0000) >> 2);
                return Some((four & 0x0fff_ffff) | ((four & 0x0fff_ffff_0000_0000) >> 4));
            }
        }
        let mut rest = &bytes[self.at..self.end];
        let value = take(&mut rest)?;
        self.at = self.end - rest.len();
        Some(value)
    }
}

/// A difference as a number that is small where the difference is.
#[inline]
pub(super) fn zigzag(difference: u64) -> u64 {
    let sign = 0_u64.wrapping_sub(difference >> 63);
    (difference << 1) ^ sign
}

/// The difference again.
#[inline]
pub(super) fn unzigzag(value: u64) -> u64 {
    (value >> 1) ^ 0_u64.wrapping_sub(value & 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_number_comes_back(value in any::<u64>(), by in 0_u32..64, tail in any::<u8>()) {
            let value = value >> by;
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            bytes.push(tail);
            let mut rest = &bytes[..];
            prop_assert_eq!(bytes.len(), 1 + (value.max(1).ilog2() / 7 + 1) as usize);
            prop_assert_eq!(take(&mut rest), Some(value));
            prop_assert_eq!(rest, &[tail][..]);
            prop_assert_eq!(unzigzag(zigzag(value)), value);
        }

        /// Whatever stands before and behind a stretch.
        #[test]
        fn a_stretch_is_read_as_it_was_written(
            values in proptest::collection::vec(any::<u64>(), 0..8),
            shifts in proptest::collection::vec(0_u32..64, 8),
            around in any::<[u8; 2]>(),
        ) {
            let values: Vec<u64> = values.iter().zip(shifts).map(|(value, by)| value >> by).collect();
            let mut bytes = vec![around[0]; 3];
            values.iter().for_each(|value| put(&mut bytes, *value));
            let end = bytes.len();
            bytes.extend([around[1]; 9]);
            let mut cursor = Cursor { at: 3, end };
            for value in values {
                prop_assert_eq!(cursor.take(&bytes), Some(value));
            }
            prop_assert_eq!(cursor.take(&bytes), None);
        }

        #[test]
        fn both_readers_agree(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            let mut rest = &bytes[..];
            let mut cursor = Cursor { at: 0, end: bytes.len() };
            prop_assert_eq!(cursor.take(&bytes), take(&mut rest));
        }

        #[test]
        fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..16)) {
            let mut rest = &bytes[..];
            let _ = take(&mut rest);
        }
    }

    #[test]
    fn a_number_that_is_cut_or_too_long_is_none() {
        for bytes in [&[][..], &[0x80], &[0xff; 10], &[0xff; 11]] {
            assert_eq!(take(&mut &*bytes), None);
        }
        assert_eq!(zigzag(0_u64.wrapping_sub(1)), 1);
    }
}
