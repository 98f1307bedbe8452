//! Addresses in a text.
//!
//! An IPv4 address is four numbers with dots, whatever stands around them: a version of four parts is
//! taken for one, as nobody can tell, and one too many is hidden rather than one too few. Four of more
//! parts are the first four, so that `10.0.0.1.80` keeps its port.
//!
//! An IPv6 address needs more care: `d::add` is one, and is a part of `std::add`. One that letters or
//! another `::` touch has to be of a kind that names of programs are not, see [`is_plain`].

use super::address::stays;
use crate::decode::event::unmap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Characters of the longest IPv6 address.
const LONGEST: usize = 45;

/// An address, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) address: IpAddr,
}

impl Found {
    /// Every address of `text`, from left to right.
    pub(super) fn of(text: &str) -> Vec<Self> {
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(next) = text.get(from..).and_then(|rest| rest.find(is_first)) {
            from += next;
            let (head, tail) = text.split_at(from);
            let here = v6(head, tail).or_else(|| v4(head, tail));
            if let Some((length, address)) = here {
                let to = from + length;
                found.push(Self { from, to, address });
                from = to;
            } else {
                from += 1;
            }
        }
        found
    }
}

fn is_first(c: char) -> bool {
    c.is_ascii_hexdigit() || c == ':'
}

/// The IPv4 address that `tail` begins with, and its length.
fn v4(head: &str, tail: &str) -> Option<(usize, IpAddr)> {
    let number = |text: &str| {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let octet = text.get(..digits).filter(|digits| digits.len() <= 3)?;
        Some((digits, octet.parse::<u8>().ok()?))
    };
    let is_digit = |c: char| c.is_ascii_digit();
    if head.ends_with(is_digit) {
        return None;
    }
    let mut octets = [0; 4];
    let mut length = 0;
    for (n, octet) in octets.iter_mut().enumerate() {
        let mut rest = tail.get(length..)?;
        if n > 0 {
            rest = rest.strip_prefix('.')?;
            length += 1;
        }
        let digits;
        (digits, *octet) = number(rest)?;
        length += digits;
    }
    let address = IpAddr::V4(Ipv4Addr::from(octets));
    // Of `127.10.0.0.1` the first four stay, and the last four must not.
    let rest = tail.get(length..)?.strip_prefix('.');
    let longer = rest.is_some_and(|rest| rest.starts_with(is_digit));
    (!(longer && stays(address))).then_some((length, address))
}

/// The longest IPv6 address that `tail` begins with, and its length.
fn v6(head: &str, tail: &str) -> Option<(usize, IpAddr)> {
    let group = tail.bytes().take_while(u8::is_ascii_hexdigit).count();
    let within = head.ends_with(|c: char| c.is_ascii_hexdigit());
    let begins = match group {
        0 => tail.starts_with("::"),
        // The last four digits of a longer group: `b2001:` of `-b2001:db8::1`.
        4 => true,
        1..4 => !within,
        _ => false,
    };
    if !begins {
        return None;
    }
    let run = tail
        .bytes()
        .take(LONGEST)
        .take_while(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':'))
        .count();
    (2..=run).rev().find_map(|length| {
        let (candidate, rest) = tail.split_at_checked(length)?;
        if rest.starts_with(|c: char| c.is_ascii_hexdigit()) {
            return None;
        }
        let address: Ipv6Addr = candidate.parse().ok()?;
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let touched = head.ends_with(is_word)
            || rest.starts_with(is_word)
            || head.ends_with("::")
            || rest.starts_with("::");
        let of_longer = head.ends_with(':') || rest.starts_with(':');
        let told =
            (!touched || is_plain(candidate, address)) && !(of_longer && is_pairs(candidate));
        told.then_some((length, unmap(address)))
    })
}

/// It begins with a group of four digits that global, local or link-local addresses have.
fn is_plain(text: &str, address: Ipv6Addr) -> bool {
    let [first, ..] = address.segments();
    let used = first & 0xe000 == 0x2000 || first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfe80;
    used && text.split(':').next().is_some_and(|group| group.len() == 4)
}

/// Pairs of digits: of something longer, a fingerprint or the address of an `InfiniBand` card.
fn is_pairs(text: &str) -> bool {
    text.split(':').all(|group| group.len() == 2)
}
