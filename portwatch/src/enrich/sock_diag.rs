//! The sockets of a port as the kernel tells them on request (sock_diag(7)), for the network
//! namespace of the calling thread.
//!
//! Asked only where the kernel's own tables may not be read. It is what `ss` sees: after the fact,
//! without SO_REUSEADDR and SO_REUSEPORT, and before Linux 6.8 without TCP sockets that are bound
//! and do nothing else.

use crate::decode::blind::Seen;
use crate::decode::event::Family;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt::ReceiveTimeout,
};
use nix::sys::time::TimeVal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

const DUMP: u16 = 0x301; // NLM_F_REQUEST | NLM_F_DUMP
const ERROR: u16 = 2; // NLMSG_ERROR
const DONE: u16 = 3; // NLMSG_DONE
const BY_FAMILY: u16 = 20; // SOCK_DIAG_BY_FAMILY
const V6ONLY: u16 = 11; // INET_DIAG_SKV6ONLY

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP_CLOSE: u8 = 7;
const TCP_LISTEN: u8 = 10;
/// `TCP_BOUND_INACTIVE` (6.8): bound, and in TCP_CLOSE.
const TCP_BOUND_INACTIVE: u8 = 13;

/// Longest answer read in one go; the kernel fills at most 32 KiB.
const ANSWER: usize = 1 << 16;

/// `struct nlmsghdr`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Head {
    length: u32,
    kind: u16,
    flags: u16,
    sequence: u32,
    port: u32,
}

/// `struct inet_diag_sockid`; ports and addresses in network order.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Id {
    local_port: [u8; 2],
    peer_port: [u8; 2],
    local: [u8; 16],
    peer: [u8; 16],
    device: u32,
    cookie: [u32; 2],
}

/// `struct inet_diag_req_v2`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Question {
    head: Head,
    family: u8,
    protocol: u8,
    extensions: u8,
    pad: u8,
    states: u32,
    id: Id,
}

/// `struct inet_diag_msg`.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct Answer {
    family: u8,
    state: u8,
    timer: u8,
    retransmits: u8,
    id: Id,
    expires: u32,
    receive: u32,
    send: u32,
    uid: u32,
    inode: u32,
}

/// Every socket of `protocol` (6, 17, 136) with this local port; `None` if the kernel does not say.
#[must_use]
pub fn sockets(protocol: u16, port: u16) -> Option<Vec<Seen>> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        dump(family, u8::try_from(protocol).ok()?, port, &mut found)?;
    }
    Some(found)
}

fn dump(family: u8, protocol: u8, port: u16, found: &mut Vec<Seen>) -> Option<()> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let link = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        flags,
        SockProtocol::NetlinkSockDiag,
    )
    .ok()?;
    setsockopt(&link, ReceiveTimeout, &TimeVal::new(1, 0)).ok()?;
    let mut question = Question::new_zeroed();
    question.head.length = u32::try_from(size_of::<Question>()).ok()?;
    question.head.kind = BY_FAMILY;
    question.head.flags = DUMP;
    question.family = family;
    question.protocol = protocol;
    question.states = u32::MAX;
    question.id.local_port = port.to_be_bytes();
    send(link.as_raw_fd(), question.as_bytes(), MsgFlags::empty()).ok()?;
    let mut bytes = vec![0; ANSWER];
    loop {
        let length = recv(link.as_raw_fd(), &mut bytes, MsgFlags::empty()).ok()?;
        if parse(bytes.get(..length)?, protocol, port, found)? {
            return Some(());
        }
    }
}

/// Reads one packet of answers: true at the end of the dump, `None` if the kernel refused or what it
/// sent makes no sense.
fn parse(mut bytes: &[u8], protocol: u8, port: u16, found: &mut Vec<Seen>) -> Option<bool> {
    while !bytes.is_empty() {
        let (head, _) = Head::read_from_prefix(bytes).ok()?;
        let length = usize::try_from(head.length).ok()?;
        let body = bytes.get(size_of::<Head>()..length)?;
        match head.kind {
            DONE => return Some(true),
            ERROR => return None,
            BY_FAMILY => {
                let (answer, attributes) = Answer::read_from_prefix(body).ok()?;
                found.extend(seen(&answer, attributes, protocol).filter(|s| s.local.1 == port));
            }
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(false)
}

fn seen(answer: &Answer, attributes: &[u8], protocol: u8) -> Option<Seen> {
    let family = match answer.family {
        AF_INET => Family::Ipv4,
        AF_INET6 => Family::Ipv6,
        _ => return None,
    };
    let address = |bytes: [u8; 16]| match family {
        Family::Ipv4 => {
            let [a, b, c, d, ..] = bytes;
            IpAddr::V4(Ipv4Addr::new(a, b, c, d))
        }
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::from(bytes)),
    };
    let [low, high] = answer.id.cookie;
    Some(Seen {
        family,
        protocol: u16::from(protocol),
        state: if answer.state == TCP_BOUND_INACTIVE {
            TCP_CLOSE
        } else {
            answer.state
        },
        local: (
            address(answer.id.local),
            u16::from_be_bytes(answer.id.local_port),
        ),
        peer: (
            address(answer.id.peer),
            u16::from_be_bytes(answer.id.peer_port),
        ),
        device: answer.id.device,
        inode: u64::from(answer.inode),
        cookie: u64::from(high) << 32 | u64::from(low),
        uid: answer.uid,
        // Told of listening and of unconnected IPv6 sockets. Where it is not, the socket is taken
        // as one that has no IPv4: it is accused of less.
        v6only: family == Family::Ipv6 && only_v6(attributes).unwrap_or(true),
    })
}

/// The value of INET_DIAG_SKV6ONLY, if it is there.
fn only_v6(mut attributes: &[u8]) -> Option<bool> {
    loop {
        let (&[a, b, c, d], _) = attributes.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let value = attributes.get(4..length)?;
        if u16::from_ne_bytes([c, d]) == V6ONLY {
            return value.first().map(|value| *value != 0);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

/// Those that matter most: every listener, then the first of the others.
#[must_use]
pub fn worth_telling(mut found: Vec<Seen>, most: usize) -> Vec<Seen> {
    found.sort_by_key(|seen| seen.state != TCP_LISTEN);
    let listeners = found.partition_point(|seen| seen.state == TCP_LISTEN);
    found.truncate(listeners.max(most));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer as 6.18 sent it for a listener on `[::]:60001`.
    fn answer(state: u8, v6only: Option<u8>) -> Vec<u8> {
        let mut answer = Answer::new_zeroed();
        answer.family = AF_INET6;
        answer.state = state;
        answer.id.local_port = 60001_u16.to_be_bytes();
        answer.id.cookie = [7, 1];
        answer.inode = 71234;
        answer.uid = 33;
        let mut attributes = vec![5, 0, 8, 0, 0, 0, 0, 0];
        if let Some(value) = v6only {
            attributes.extend([5, 0, 11, 0, value, 0, 0, 0]);
        }
        let mut head = Head::new_zeroed();
        let length = size_of::<Head>() + size_of::<Answer>() + attributes.len();
        head.length = u32::try_from(length).unwrap();
        head.kind = BY_FAMILY;
        [head.as_bytes(), answer.as_bytes(), &attributes].concat()
    }

    fn end(kind: u16) -> Vec<u8> {
        let mut head = Head::new_zeroed();
        head.length = 20;
        head.kind = kind;
        [head.as_bytes(), &[0; 4]].concat()
    }

    fn read(bytes: &[u8]) -> (Option<bool>, Vec<Seen>) {
        let mut found = Vec::new();
        let end = parse(bytes, 6, 60001, &mut found);
        (end, found)
    }

    #[test]
    fn sizes_are_those_of_the_kernel() {
        assert_eq!((size_of::<Question>(), size_of::<Answer>()), (16 + 56, 72));
    }

    #[test]
    fn answers_are_read_to_the_end() {
        let packet = [answer(10, Some(0)), answer(13, Some(1)), end(DONE)].concat();
        let (done, found) = read(&packet);
        assert_eq!(done, Some(true));
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].state, found[0].v6only), (TCP_LISTEN, false));
        assert_eq!((found[0].inode, found[0].uid), (71234, 33));
        assert_eq!(found[0].cookie, 1 << 32 | 7);
        assert_eq!((found[1].state, found[1].v6only), (TCP_CLOSE, true));
    }

    #[test]
    fn what_is_not_told_accuses_nobody() {
        assert!(read(&answer(10, None)).1[0].v6only);
    }

    #[test]
    fn refusals_and_nonsense_are_no_answer() {
        assert_eq!(read(&end(ERROR)).0, None);
        let cut = answer(10, Some(0));
        assert_eq!(read(&cut[..40]).0, None);
        assert_eq!(read(&[0; 16]).0, None);
    }

    #[test]
    fn listeners_are_never_cut() {
        let listener = read(&answer(10, Some(0))).1[0];
        let other = Seen {
            state: TCP_CLOSE,
            ..listener
        };
        let kept = worth_telling(vec![other, other, listener, listener], 1);
        assert_eq!(kept, [listener, listener]);
        assert_eq!(
            worth_telling(vec![other, other, listener], 2),
            [listener, other]
        );
    }
}
