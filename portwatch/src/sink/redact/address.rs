//! Addresses and the names that stand for them.
//!
//! A pseudonym is an address itself, so that a reader of the JSON can still store it as one: from
//! 240.0.0.0/4, which no host may use, and from 100::/64, which routers discard (RFC 6666).

use super::find::Found;
use super::numbers::{Numbers, RedactKey};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// 240.0.0.0 and 100::.
const FIRST_V4: u32 = 0xf000_0000;
const FIRST_V6: u128 = 0x0100 << 112;

/// Names of addresses: in order of appearance, or from a key. Clones give the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Pseudonyms {
    names: Arc<Mutex<Names>>,
    /// Those that are there already stay.
    once: bool,
}

#[derive(Debug)]
struct Names {
    v4: Numbers<Ipv4Addr>,
    v6: Numbers<Ipv6Addr>,
}

impl Pseudonyms {
    pub(crate) fn new(key: Option<RedactKey>) -> Self {
        let names = Names {
            v4: Numbers::new(key),
            v6: Numbers::new(key),
        };
        Self {
            names: Arc::new(Mutex::new(names)),
            once: false,
        }
    }

    /// The same names for what has pseudonyms already: those stay as they are.
    pub(crate) fn once(self) -> Self {
        Self { once: true, ..self }
    }

    /// Replaces every address in `text`, whatever stands around it.
    pub(crate) fn replace(&self, text: &mut String) {
        let mut out = String::new();
        let mut done = 0;
        for found in Found::of(text) {
            let name = self.of(found.address);
            if name == found.address {
                continue;
            }
            out.push_str(text.get(done..found.from).unwrap_or_default());
            out.push_str(&name.to_string());
            done = found.to;
        }
        if done > 0 {
            out.push_str(text.get(done..).unwrap_or_default());
            *text = out;
        }
    }

    /// Of one address; wildcard and loopback stay. Those that come after too many share 240.0.0.0
    /// and 100::.
    pub(crate) fn of(&self, address: IpAddr) -> IpAddr {
        if stays(address) || self.once && is_pseudonym(address) {
            return address;
        }
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        match address {
            IpAddr::V4(address) => {
                let number = names.v4.of(address, &address.octets(), 0x0fff_ffff);
                let number = u32::try_from(number).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(FIRST_V4 | number))
            }
            IpAddr::V6(address) => {
                let number = names.v6.of(address, &address.octets(), u64::MAX);
                let number = u128::from(number);
                IpAddr::V6(Ipv6Addr::from_bits(FIRST_V6 | number))
            }
        }
    }
}

/// It is of the ranges that pseudonyms are from.
fn is_pseudonym(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.to_bits() >= FIRST_V4,
        IpAddr::V6(address) => address.to_bits() >> 64 == FIRST_V6 >> 64,
    }
}

/// It is a wildcard or loopback, which tell of nobody.
pub(super) fn stays(address: IpAddr) -> bool {
    address.is_unspecified() || address.is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
            ("é10 é10.0.0.1é", "é10 é240.0.0.1é"),
            ("TCP:10.9.8.7:80", "TCP:240.0.0.1:80"),
            ("-L 8080:10.9.8.6:80", "-L 8080:240.0.0.1:80"),
            ("0:10.9.7.12", "0:240.0.0.1"),
            ("10.9.7.6:10.9.7.7", "240.0.0.1:240.0.0.2"),
            ("-L10.9.7.13:80 dev10.9.7.3", "-L240.0.0.1:80 dev240.0.0.2"),
            ("v1.2.3.4_x 10.0.0.1x", "v240.0.0.1_x 240.0.0.2x"),
            ("10.9.7.6.443 > 10.9.7.7.80", "240.0.0.1.443 > 240.0.0.2.80"),
            ("010.009.007.006 10.9.7.6/24", "240.0.0.1 240.0.0.1/24"),
            (
                "ssh://u@10.9.7.6,a-10.9.7.7-b",
                "ssh://u@240.0.0.1,a-240.0.0.2-b",
            ),
            ("2001:db8::1.443", "100::1.443"),
            (
                "tcp6:[fe80::1]:80,tcp:fe80::1",
                "tcp6:[100::1]:80,tcp:100::1",
            ),
            ("-b2001:db8::1 -Lfe80::2x", "-b100::1 -L100::2x"),
            ("2001:db8:1:2:3:4:5:6:80", "100::1:80"),
            ("x::2001:db8::1::y", "x::100::1::y"),
            ("tcp::10.9.8.5:80", "tcp::240.0.0.1:80"),
            ("::ffff:10.0.0.1.443", "240.0.0.1.443"),
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
            "v1.2.3 1.2.3-4 120.0.6099.109 1.2.3.256 60001 1..2.3.4",
            "2026-11-22T10:15:00.123456789Z 12:30:45 12:30:45.678",
            "dead beef a::b::c bad::fad::x 127.0.0.1.6836",
            "aa:bb:cc:dd:ee:ff 02:42:ac:11:00:02",
            "SHA aa:bb:cc:dd:ee:ff:00:11:22:33:44:55:66:77:88:99",
            "a::b:::: ::::: : . .:. 1.2.3.",
        ] {
            assert_eq!(replaced(text), text);
        }
    }

    #[test]
    fn pseudonyms_stay_where_there_are_some() {
        let key = "00112233445566778899aabbccddeeff".parse().ok();
        for names in [Pseudonyms::new(None), Pseudonyms::new(key)] {
            for address in ["10.1.2.3", "2001:db8::1"] {
                let name = names.of(address.parse().unwrap());
                let again = names.clone().once();
                assert_eq!(again.of(name), name);
                assert_eq!(again.of(address.parse().unwrap()), name, "it was left");
                assert_ne!(names.of(name), name, "somebody's address");
            }
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

    proptest! {
        #[test]
        fn no_dotted_quad_survives(
            first in 1..127_u8,
            others in any::<[u8; 3]>(),
            before in "(.{0,8}|[0-9a-f.:\\[x-]{0,12})",
            after in "(.{0,8}|[0-9a-f.:\\]x-]{0,12})",
        ) {
            let [second, third, fourth] = others;
            let address = Ipv4Addr::new(first, second, third, fourth).to_string();
            // A digit more is another number.
            let before = before.trim_end_matches(|c: char| c.is_ascii_digit());
            let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
            let told = replaced(&format!("{before}{address}{after}"));
            prop_assert!(!told.contains(&address), "{told}");
        }

        #[test]
        fn any_text_is_read(text in any::<String>(), close in "[0-9a-f:.]{0,60}") {
            replaced(&text);
            replaced(&close);
        }
    }
}
