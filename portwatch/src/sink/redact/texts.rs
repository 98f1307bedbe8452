//! What is hidden of a text, wherever it stands: the same in reports and in captures.

use super::address::Pseudonyms;
use super::uid::Users;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Bytes of a process name in the kernel, without the zero behind it.
const COMM: usize = 15;

/// Hides addresses and user ids. Clones give the same pseudonyms.
#[derive(Clone, Debug, Default)]
pub(crate) struct Texts {
    pub(crate) addresses: Option<Pseudonyms>,
    pub(crate) users: Option<Users>,
}

impl Texts {
    /// It hides something.
    pub(crate) fn hides(&self) -> bool {
        self.addresses.is_some() || self.users.is_some()
    }

    /// Replaces what is hidden anywhere in `text`.
    pub(crate) fn text(&self, text: &mut String) {
        if let Some(addresses) = &self.addresses {
            addresses.replace(text);
        }
        if let Some(users) = &self.users {
            users.replace(text);
        }
    }

    /// The same of a text that may be no UTF-8. If something is hidden, what is not becomes U+FFFD.
    pub(crate) fn bytes(&self, bytes: &mut Vec<u8>) {
        if let Some(text) = self.changed(bytes) {
            *bytes = text.into_bytes();
        }
    }

    /// A process name, if something in it is hidden. It fits where one stands: a pseudonym that does
    /// not becomes `*`, with all that follows.
    pub(crate) fn comm(&self, name: &[u8]) -> Option<String> {
        let text = self.changed(name)?;
        if text.len() <= COMM {
            return Some(text);
        }
        let before = String::from_utf8_lossy(name);
        let same = before.chars().zip(text.chars()).take_while(|(a, b)| a == b);
        let same: String = same.map(|(same, _)| same).collect();
        // The digits that both happen to begin with tell of what is hidden.
        let kept = same.trim_end_matches(|c: char| c.is_ascii_hexdigit() || c == '.' || c == ':');
        let mut fitting = String::new();
        for c in kept.chars().chain(['*']) {
            if fitting.len() + c.len_utf8() > COMM {
                break;
            }
            fitting.push(c);
        }
        Some(fitting)
    }

    /// The filters that a `start` line and a capture's header tell.
    pub(crate) fn filters(&self, filters: &mut BTreeMap<String, String>) {
        filters.values_mut().for_each(|value| self.text(value));
    }

    pub(crate) fn address(&self, address: IpAddr) -> IpAddr {
        match &self.addresses {
            Some(names) => names.of(address),
            None => address,
        }
    }

    fn changed(&self, bytes: &[u8]) -> Option<String> {
        if !self.hides() {
            return None;
        }
        let before = String::from_utf8_lossy(bytes);
        let mut text = before.clone().into_owned();
        self.text(&mut text);
        (text != before).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Texts {
        Texts {
            addresses: Some(Pseudonyms::new(None)),
            users: Some(Users::Word),
        }
    }

    #[test]
    fn bytes_that_are_no_text_hide_too() {
        let mut bytes = b"peer=10.9.8.4\xff".to_vec();
        texts().bytes(&mut bytes);
        assert_eq!(bytes, "peer=240.0.0.1\u{fffd}".as_bytes());
        let mut plain = b"peer\xff".to_vec();
        texts().bytes(&mut plain);
        assert_eq!(plain, b"peer\xff", "nothing is hidden in it");
    }

    #[test]
    fn a_name_stays_as_long_as_the_kernel_has_it() {
        let texts = texts();
        let comm = |name: &[u8]| texts.comm(name);
        assert_eq!(comm(b"nginx"), None);
        assert_eq!(comm(b"at 10.55.0.1").as_deref(), Some("at 240.0.0.1"));
        assert_eq!(comm(b"10.1.1.1\xff").as_deref(), Some("240.0.0.2\u{fffd}"));
        assert_eq!(comm(b"to-peer 2.9.1.4").as_deref(), Some("to-peer *"));
        assert_eq!(
            comm(b"\xff\xff\xff\xff\xff\xff 1.1.1.1").map(|c| c.len()),
            Some(15)
        );
    }
}
