//! How long a connection's TIME_WAIT goes on.

use super::{AF_INET, AF_INET6, Answer, BY_FAMILY, Question, link};
use crate::enrich::facts::Connection;
use crate::enrich::netlink::Link;
use std::net::IpAddr;
use zerocopy::{FromBytes, IntoBytes};

const TCP: u8 = 6;
const TCP_TIME_WAIT: u8 = 6;
/// Whatever its cookie (INET_DIAG_NOCOOKIE).
const ANY_COOKIE: [u32; 2] = [u32::MAX; 2];
/// `idiag_timer` of a socket that waits for its end
/// (net/ipv4/inet_diag.c:inet_twsk_diag_fill, 5.8 to 6.18).
const TIMER_TIME_WAIT: u8 = 3;

/// Milliseconds of TIME_WAIT that each connection has left, in the network namespace of the calling
/// thread; `None` for one that is not in TIME_WAIT now or that the kernel does not tell of.
#[must_use]
pub fn time_wait_left(connections: &[Connection]) -> Vec<Option<u32>> {
    let link = link();
    let left = |connection| ask(link.as_ref()?, connection);
    connections.iter().map(left).collect()
}

fn ask(link: &Link, connection: &Connection) -> Option<u32> {
    left(&link.get(BY_FAMILY, question(connection).as_bytes())?)
}

/// One connection by its ends: the kernel looks it up in its hash and walks no table.
fn question(connection: &Connection) -> Question {
    let ipv4 = connection.local.is_ipv4();
    let mut question = Question::of(if ipv4 { AF_INET } else { AF_INET6 }, TCP);
    question.id.local = bytes(connection.local.ip());
    question.id.local_port = connection.local.port().to_be_bytes();
    question.id.peer = bytes(connection.peer.ip());
    question.id.peer_port = connection.peer.port().to_be_bytes();
    question.id.device = connection.device;
    question.id.cookie = ANY_COOKIE;
    question
}

fn bytes(address: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match address {
        IpAddr::V4(address) => {
            let (head, _) = bytes.split_at_mut(4);
            head.copy_from_slice(&address.octets());
        }
        IpAddr::V6(address) => bytes = address.octets(),
    }
    bytes
}

/// What an answer says; in FIN_WAIT2 the time would begin anew with the peer's FIN.
fn left(answer: &[u8]) -> Option<u32> {
    let (answer, _) = Answer::read_from_prefix(answer).ok()?;
    (answer.timer == TIMER_TIME_WAIT && answer.state == TCP_TIME_WAIT).then_some(answer.expires)
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn answer(state: u8, timer: u8) -> Vec<u8> {
        let mut answer = Answer::new_zeroed();
        answer.state = state;
        answer.timer = timer;
        answer.expires = 43_210;
        answer.as_bytes().to_vec()
    }

    #[test]
    fn only_time_wait_has_time_left() {
        assert_eq!(left(&answer(6, 3)), Some(43_210));
        // FIN_WAIT2, a retransmission of an established one, half an answer.
        assert_eq!(left(&answer(5, 3)), None);
        assert_eq!(left(&answer(1, 1)), None);
        assert_eq!(left(&answer(6, 3)[..40]), None);
    }

    #[test]
    fn a_connection_is_asked_for_by_both_its_ends() {
        let asked = question(&Connection {
            local: "10.10.10.1:60001".parse().unwrap(),
            peer: "10.10.10.2:6804".parse().unwrap(),
            device: 3,
        });
        assert_eq!((asked.family, asked.protocol), (AF_INET, 6));
        assert_eq!(asked.id.local[..5], [10, 10, 10, 1, 0]);
        assert_eq!(asked.id.local_port, [0xea, 0x61]);
        assert_eq!(asked.id.peer[..5], [10, 10, 10, 2, 0]);
        assert_eq!((asked.id.peer_port, asked.id.device), ([0x1a, 0x94], 3));
        let v6 = question(&Connection {
            local: "[2001:db8::1]:60001".parse().unwrap(),
            peer: "[2001:db8::2]:6804".parse().unwrap(),
            device: 0,
        });
        assert_eq!((v6.family, v6.id.local[15]), (AF_INET6, 1));
    }
}
