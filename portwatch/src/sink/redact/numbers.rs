//! Numbers that stand for what is hidden: in order of appearance, or from a key.
//!
//! Without a key nothing about a value can be computed from its number, and another run gives other
//! numbers. With one the same value has the same number in every run that has the key; whoever has
//! it can try all values, so it is a secret.

use siphasher::sip::SipHasher24;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// Values that get a number of their own.
const LIMIT: usize = 1_000_000;

/// The secret of keyed pseudonyms, 128 bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RedactKey([u8; 16]);

/// It is not 32 hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("a key is 32 hexadecimal digits; `openssl rand -hex 16` makes one")]
pub struct RedactKeyError;

impl FromStr for RedactKey {
    type Err = RedactKeyError;

    fn from_str(text: &str) -> Result<Self, RedactKeyError> {
        let digits = text.trim();
        let all = digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(digits, 16).ok().filter(|_| all);
        number
            .map(|number| Self(number.to_be_bytes()))
            .ok_or(RedactKeyError)
    }
}

/// Says nothing of the secret.
impl std::fmt::Debug for RedactKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("RedactKey")
    }
}

/// Numbers of values, none given twice.
#[derive(Debug, Default)]
pub(crate) struct Numbers<A> {
    key: Option<RedactKey>,
    given: HashMap<A, u64>,
    taken: HashSet<u64>,
}

impl<A: Copy + Eq + Hash> Numbers<A> {
    pub(crate) fn new(key: Option<RedactKey>) -> Self {
        Self {
            key,
            given: HashMap::new(),
            taken: HashSet::new(),
        }
    }

    /// The number of `value` from 1 to `most`; 0 for those that come after too many.
    pub(crate) fn of(&mut self, value: A, bytes: &[u8], most: u64) -> u64 {
        if let Some(number) = self.given.get(&value) {
            return *number;
        }
        let count = self.given.len();
        if count >= LIMIT || count as u64 >= most {
            return 0;
        }
        let number = match &self.key {
            None => count as u64 + 1,
            Some(RedactKey(key)) => {
                let mut hasher = SipHasher24::new_with_key(key);
                hasher.write(bytes);
                let mut number = hasher.finish() % most;
                // Two values are never taken for one, even if the second must yield.
                while !self.taken.insert(number) {
                    number = (number + 1) % most;
                }
                number + 1
            }
        };
        self.given.insert(value, number);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_order_or_by_the_key() {
        let mut plain = Numbers::new(None);
        assert_eq!([7, 8, 7].map(|n: u8| plain.of(n, &[n], 100)), [1, 2, 1]);
        let key = "00112233445566778899aabbccddeeff".parse().ok();
        let [mut one, mut other] = [Numbers::new(key), Numbers::new(key)];
        let forth: Vec<u64> = (0..200_u8).map(|n| one.of(n, &[n], 1 << 28)).collect();
        let mut back: Vec<u64> = (0..200_u8)
            .rev()
            .map(|n| other.of(n, &[n], 1 << 28))
            .collect();
        back.reverse();
        assert_eq!(forth, back, "not a matter of order");
        let mut third = Numbers::new("ffeeddccbbaa99887766554433221100".parse().ok());
        assert_ne!(forth[0], third.of(0, &[0], 1 << 28));
    }

    #[test]
    fn a_number_is_never_given_twice() {
        let key = "00112233445566778899aabbccddeeff".parse().ok();
        for mut numbers in [Numbers::new(None), Numbers::new(key)] {
            let all: HashSet<u64> = (0..256_u32)
                .map(|n| numbers.of(n, &n.to_le_bytes(), 256))
                .collect();
            assert_eq!(all, (1..=256).collect());
            assert_eq!(numbers.of(256, &[], 256), 0);
        }
    }

    #[test]
    fn keys_are_read_strictly() {
        for text in [
            "",
            "00",
            "+0112233445566778899aabbccddeeff",
            &"g".repeat(32),
        ] {
            assert!(text.parse::<RedactKey>().is_err(), "{text}");
        }
        let key: RedactKey = "00112233445566778899aabbccddeeff\n".parse().unwrap();
        assert_eq!(format!("{key:?}"), "RedactKey");
    }
}
