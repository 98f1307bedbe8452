//! Addresses and the names that stand for them.
//!
//! A pseudonym is an address itself, so that a reader of the JSON can still store it as one: from
//! 240.0.0.0/4, which no host may use, and from 100::/64, which routers discard (RFC 6666).

use super::numbers::{Numbers, RedactKey};
use crate::decode::event::unmap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Names of addresses: in order of appearance, or from a key. Clones give the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Pseudonyms(Arc<Mutex<Names>>);

#[derive(Debug)]
struct Names {
    v4: Numbers<Ipv4Addr>,
    v6: Numbers<Ipv6Addr>,
}

impl Pseudonyms {
    pub(crate) fn new(key: Option<RedactKey>) -> Self {
        Self(Arc::new(Mutex::new(Names {
            v4: Numbers::new(key),
            v6: Numbers::new(key),
        })))
    }

    /// Replaces every address in `text`, bracketed or not, with or without a port.
    pub(crate) fn replace(&self, text: &mut String) {
        let mut out = String::new();
        let mut done = 0;
        let mut at = 0;
        while at < text.len() {
            let run = text[at..].bytes().take_while(|&b| is_part(b)).count();
            if run == 0 {
                at += text[at..].chars().next().map_or(1, char::len_utf8);
                continue;
            }
            // A name that ends in such characters is no address: the `d::add` of `std::add`.
            let apart = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
            if apart && let Some((length, address)) = find(&text[at..], run) {
                out.push_str(&text[done..at]);
                out.push_str(&self.of(address).to_string());
                done = at + length;
            }
            at += run;
        }
        if done > 0 {
            out.push_str(&text[done..]);
            *text = out;
        }
    }

    /// Of one address; wildcard and loopback stay. Those that come after too many share 240.0.0.0
    /// and 100::.
    pub(crate) fn of(&self, address: IpAddr) -> IpAddr {
        if address.is_unspecified() || address.is_loopback() {
            return address;
        }
        let mut names = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match address {
            IpAddr::V4(address) => {
                let number = names.v4.of(address, &address.octets(), 0x0fff_ffff);
                let number = u32::try_from(number).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(0xf000_0000 | number))
            }
            IpAddr::V6(address) => {
                let number = names.v6.of(address, &address.octets(), u64::MAX);
                let number = u128::from(number);
                IpAddr::V6(Ipv6Addr::from_bits((0x0100 << 112) | number))
            }
        }
    }
}

/// Characters of addresses and of the port behind an IPv4 one.
fn is_part(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':')
}

/// The address at the head of `text`, whose first `run` bytes are of [`is_part`], and its length.
fn find(text: &str, run: usize) -> Option<(usize, IpAddr)> {
    let whole = &text[..run];
    let candidates = [
        whole,
        whole.trim_end_matches(['.', ':']),
        whole.split(':').next().unwrap_or_default(),
        whole
            .split(':')
            .next()
            .unwrap_or_default()
            .trim_end_matches('.'),
    ];
    candidates.into_iter().find_map(|candidate| {
        let rest = &text[candidate.len()..];
        let apart = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let address: IpAddr = candidate.parse().ok().filter(|_| apart)?;
        let address = match address {
            IpAddr::V4(_) => address,
            IpAddr::V6(address) => unmap(address),
        };
        Some((candidate.len(), address))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(text: &str) -> String {
        let mut text = text.to_owned();
        Pseudonyms::new(None).replace(&mut text);
        text
    }

    #[test]
    fn addresses_wherever_they_stand() {
        for (text, expected) in [
            ("10.10.10.2", "240.0.0.1"),
            (
                "to 10.10.10.2:6836, 2d 4h ago",
                "to 240.0.0.1:6836, 2d 4h ago",
            ),
            (
                "10.0.0.1:1 -> 10.0.0.2:2 -> 10.0.0.1:3.",
                "240.0.0.1:1 -> 240.0.0.2:2 -> 240.0.0.1:3.",
            ),
            ("[2001:db8::1]:60001/tcp", "[100::1]:60001/tcp"),
            ("fe80::1%eth0 ends.", "100::1%eth0 ends."),
            ("on 2001:db8::1.", "on 100::1."),
            ("::ffff:10.0.0.1 10.0.0.1", "240.0.0.1 240.0.0.1"),
            (
                "sshd@1-10.0.0.5:22-10.0.0.7:5123.service",
                "sshd@1-240.0.0.1:22-240.0.0.2:5123.service",
            ),
            ("--bind=10.0.0.1,host", "--bind=240.0.0.1,host"),
            ("http://192.168.1.1/x", "http://240.0.0.1/x"),
            ("é10 é 10.0.0.1", "é10 é 240.0.0.1"),
        ] {
            assert_eq!(replaced(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_stays() {
        for text in [
            "",
            "0.0.0.0:60001 [::]:80 127.0.0.1 127.9.9.9 ::1",
            "std::add",
            "v1.2.3.4 1.2.3 1.2.3.4.5 60001",
            "2026-11-22T10:15:00.123456789Z",
            "dead beef 12:34:56 a::b::c",
            "10.0.0.1x 10.0.0.1_x",
        ] {
            assert_eq!(replaced(text), text);
        }
    }

    #[test]
    fn a_pseudonym_is_never_given_twice() {
        let names = Pseudonyms::new(None);
        let all: std::collections::HashSet<_> = (0..1000)
            .map(|n| names.of(Ipv4Addr::from_bits(0x0a00_0000 + n).into()))
            .collect();
        assert_eq!(all.len(), 1000);
    }
}
