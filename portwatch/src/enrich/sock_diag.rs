//! The sockets of a port as the kernel tells them on request (sock_diag(7)), for the network
//! namespace of the calling thread.
//!
//! It is what `ss` sees: after the fact, without SO_REUSEADDR and SO_REUSEPORT, and before Linux 6.8
//! without TCP sockets that are bound and do nothing else. So holders come from here only where the
//! kernel's own tables may not be read; how long TIME_WAIT goes on is told here alone.

mod time_wait;

pub use time_wait::time_wait_left;

use crate::decode::blind::Seen;
use crate::decode::event::Family;
use crate::enrich::netlink::{Link, attribute};
use nix::sys::socket::SockProtocol;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

const BY_FAMILY: u16 = 20; // SOCK_DIAG_BY_FAMILY
const V6ONLY: u16 = 11; // INET_DIAG_SKV6ONLY

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const TCP_CLOSE: u8 = 7;
const TCP_LISTEN: u8 = 10;
/// `TCP_BOUND_INACTIVE` (6.8): bound, and in TCP_CLOSE.
const TCP_BOUND_INACTIVE: u8 = 13;

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

fn link() -> Option<Link> {
    Link::open(SockProtocol::NetlinkSockDiag)
}

fn dump(family: u8, protocol: u8, port: u16, found: &mut Vec<Seen>) -> Option<()> {
    let mut question = Question::of(family, protocol);
    question.id.local_port = port.to_be_bytes();
    let mut whole = true;
    link()?.dump(BY_FAMILY, question.as_bytes(), |kind, body| {
        if kind == BY_FAMILY {
            match Answer::read_from_prefix(body) {
                Ok((answer, attributes)) => {
                    let seen = seen(&answer, attributes, protocol);
                    found.extend(seen.filter(|seen| seen.local.1 == port));
                }
                Err(_) => whole = false,
            }
        }
    })?;
    whole.then_some(())
}

impl Question {
    /// For every state.
    fn of(family: u8, protocol: u8) -> Self {
        let mut question = Self::new_zeroed();
        question.family = family;
        question.protocol = protocol;
        question.states = u32::MAX;
        question
    }
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
        v6only: family == Family::Ipv6 && only_v6(attributes),
    })
}

/// INET_DIAG_SKV6ONLY; taken as set where it is not there.
fn only_v6(attributes: &[u8]) -> bool {
    let value = attribute(attributes, V6ONLY).and_then(|value| value.first());
    value.is_none_or(|value| *value != 0)
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
    fn answer(state: u8, v6only: Option<u8>) -> Seen {
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
        seen(&answer, &attributes, 6).unwrap()
    }

    #[test]
    fn sizes_are_those_of_the_kernel() {
        assert_eq!((size_of::<Question>(), size_of::<Answer>()), (56, 72));
    }

    #[test]
    fn answers_tell_all_that_the_rule_asks() {
        let listener = answer(10, Some(0));
        assert_eq!((listener.state, listener.v6only), (TCP_LISTEN, false));
        assert_eq!((listener.inode, listener.uid), (71234, 33));
        assert_eq!(listener.cookie, 1 << 32 | 7);
        let bound = answer(13, Some(1));
        assert_eq!((bound.state, bound.v6only), (TCP_CLOSE, true));
    }

    #[test]
    fn what_is_not_told_accuses_nobody() {
        assert!(answer(10, None).v6only);
    }

    #[test]
    fn listeners_are_never_cut() {
        let listener = answer(10, Some(0));
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
