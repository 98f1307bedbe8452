//! LEB128, and zigzag for differences.

/// Appends `value`, seven bits a byte, lowest first; a set top bit says that more follow.
#[inline]
pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low7(value) | 0x80);
        value >>= 7;
    }
    out.push(low7(value));
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
        fn every_number_comes_back(value in any::<u64>(), tail in any::<u8>()) {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            bytes.push(tail);
            let mut rest = &bytes[..];
            prop_assert_eq!(take(&mut rest), Some(value));
            prop_assert_eq!(rest, &[tail][..]);
            prop_assert_eq!(unzigzag(zigzag(value)), value);
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
