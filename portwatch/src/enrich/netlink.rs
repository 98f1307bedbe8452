//! Questions to the kernel over netlink(7), for the network namespace of the calling thread.

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt::ReceiveTimeout,
};
use nix::sys::time::TimeVal;
use std::os::fd::{AsRawFd, OwnedFd};

const REQUEST: u16 = 0x1; // NLM_F_REQUEST
const DUMP: u16 = 0x300; // NLM_F_DUMP
const ERROR: u16 = 2; // NLMSG_ERROR
const DONE: u16 = 3; // NLMSG_DONE

/// `struct nlmsghdr`.
const HEAD: usize = 16;

/// Longest answer read in one go; the kernel fills at most 32 KiB.
const ANSWER: usize = 1 << 16;

/// How long the kernel may take, in seconds.
const PATIENCE: i64 = 1;

/// A way to ask one of the kernel's families.
pub(super) struct Link(OwnedFd);

impl Link {
    /// `None` if the kernel has no such family.
    pub(super) fn open(protocol: SockProtocol) -> Option<Self> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let link = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol).ok()?;
        setsockopt(&link, ReceiveTimeout, &TimeVal::new(PATIENCE, 0)).ok()?;
        Some(Self(link))
    }

    /// Asks for all that there is: `each` gets the type and the body of every answer. `None` if the
    /// kernel refused, or what it sent makes no sense.
    pub(super) fn dump(
        &self,
        kind: u16,
        body: &[u8],
        mut each: impl FnMut(u16, &[u8]),
    ) -> Option<()> {
        self.ask(kind, REQUEST | DUMP, body)?;
        let mut bytes = vec![0; ANSWER];
        loop {
            if packet(self.answer(&mut bytes)?, &mut each)? {
                return Some(());
            }
        }
    }

    /// Asks for one thing: the body of the answer, or `None` if there is none.
    pub(super) fn get(&self, kind: u16, body: &[u8]) -> Option<Vec<u8>> {
        self.ask(kind, REQUEST, body)?;
        let mut bytes = vec![0; ANSWER];
        let mut found = None;
        packet(self.answer(&mut bytes)?, &mut |_, body| {
            found = Some(body.to_vec());
        })?;
        found
    }

    fn ask(&self, kind: u16, flags: u16, body: &[u8]) -> Option<()> {
        let message = message(kind, flags, body)?;
        send(self.0.as_raw_fd(), &message, MsgFlags::empty()).ok()?;
        Some(())
    }

    fn answer<'a>(&self, bytes: &'a mut [u8]) -> Option<&'a [u8]> {
        let length = recv(self.0.as_raw_fd(), bytes, MsgFlags::empty()).ok()?;
        bytes.get(..length)
    }
}

/// A message with its head.
pub(super) fn message(kind: u16, flags: u16, body: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = vec![0; HEAD];
    let length = u32::try_from(HEAD.checked_add(body.len())?).ok()?;
    bytes.splice(0..4, length.to_ne_bytes());
    bytes.splice(4..6, kind.to_ne_bytes());
    bytes.splice(6..8, flags.to_ne_bytes());
    bytes.extend(body);
    Some(bytes)
}

/// Reads one packet of answers: true at the end of a dump, `None` if the kernel refused or what it
/// sent makes no sense.
pub(super) fn packet(mut bytes: &[u8], each: &mut impl FnMut(u16, &[u8])) -> Option<bool> {
    while !bytes.is_empty() {
        let length = usize::try_from(word(bytes, 0)?).ok()?;
        let body = bytes.get(HEAD..length)?;
        match half(bytes, 4)? {
            DONE => return Some(true),
            ERROR => return None,
            kind => each(kind, body),
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(false)
}

/// The attributes (`struct nlattr`) of a message or of another attribute, until one makes no sense.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(half(bytes, 0)?);
        let value = bytes.get(4..length)?;
        // The two highest bits are flags.
        let kind = half(bytes, 2)? & 0x3fff;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of an attribute, if it is there.
pub(super) fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    let found = attributes(bytes).find(|(kind, _)| *kind == wanted);
    found.map(|(_, value)| value)
}

/// An attribute as the kernel takes it.
pub(super) fn attribute_of(kind: u16, value: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(value.len().checked_add(4)?).ok()?;
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    Some(bytes)
}

/// An attribute's text, up to its null byte.
pub(super) fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(value.get(..end.unwrap_or(value.len())).unwrap_or_default())
        .into_owned()
}

/// 16 bits of the host's order.
pub(super) fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> (Option<bool>, Vec<(u16, Vec<u8>)>) {
        let mut found = Vec::new();
        let end = packet(bytes, &mut |kind, body| found.push((kind, body.to_vec())));
        (end, found)
    }

    #[test]
    fn packets_are_read_to_the_end_of_the_dump() {
        let one = message(20, 0, b"abcde").unwrap();
        let mut padded = one.clone();
        padded.resize(one.len().next_multiple_of(4), 0);
        let two = [padded, message(20, 0, b"").unwrap()].concat();
        let bodies = vec![(20, b"abcde".to_vec()), (20, Vec::new())];
        assert_eq!(read(&two), (Some(false), bodies.clone()));
        let done = [two, message(DONE, 0, &[0; 4]).unwrap()].concat();
        assert_eq!(read(&done), (Some(true), bodies));
    }

    #[test]
    fn refusals_and_nonsense_are_no_answer() {
        assert_eq!(read(&message(ERROR, 0, &[0; 4]).unwrap()).0, None);
        let cut = message(20, 0, b"abcde").unwrap();
        assert_eq!(read(&cut[..HEAD + 3]).0, None);
        assert_eq!(read(&[0; HEAD]).0, None);
        assert_eq!(read(&[7; 5]).0, None);
    }

    #[test]
    fn attributes_lie_behind_each_other_and_inside_each_other() {
        let inner = attribute_of(5, &[1, 2]).unwrap();
        let outer = [
            attribute_of(1, b"x\0y").unwrap(),
            attribute_of(2 | 0x8000, &inner).unwrap(),
        ]
        .concat();
        assert_eq!(attribute(&outer, 1).map(text), Some("x".to_owned()));
        let nested = attribute(&outer, 2).and_then(|nest| attribute(nest, 5));
        assert_eq!(nested, Some(&[1, 2][..]));
        assert_eq!(attribute(&outer, 3), None);
        // One of no length does not go on for ever.
        assert_eq!(attributes(&[0; 8]).count(), 0);
    }
}
