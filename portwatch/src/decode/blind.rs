//! A failed bind() that the kernel side could only tell without the kernel's memory: its record,
//! and the sockets that were asked for afterwards.

use super::cursor::{DecodeError, prefix};
use super::event::{Family, Ktime, NetnsId, Socket, Task, Wanted, unmap};
use super::fields;
use crate::source::RawRecord;
use portwatch_common as wire;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use zerocopy::FromZeros;

const AF_UNSPEC: u16 = 0;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// `LOOPBACK4_IPV6`: `skc_rcv_saddr` of a native IPv6 socket with an address (net/ipv6.h).
const LOOPBACK4_IPV6: [u8; 4] = [127, 0, 0, 6];

/// A failed bind() without its socket and without holders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blind {
    /// When, at the call's exit.
    pub time: Ktime,
    /// Positive errno.
    pub errno: u32,
    /// Who called.
    pub task: Task,
    /// What it wanted.
    pub wanted: Wanted,
    /// Family of the address, which is that of the socket.
    pub family: Family,
    /// 6, 17 or 136; `None` = not known: no holder is blamed then.
    pub protocol: Option<u16>,
    /// The socket's namespace; [`NetnsId::UNKNOWN`] where it is not the caller's.
    pub netns: NetnsId,
    /// Its cookie.
    pub netns_cookie: u64,
}

/// The record of such a failure.
///
/// # Errors
/// A record that makes no sense.
pub fn blind(raw: &RawRecord) -> Result<Blind, DecodeError> {
    let record: wire::BlindRecord = prefix(raw, wire::RecordKind::BLIND)?;
    let wire::BlindRecord {
        header,
        task,
        addr,
        netns_cookie,
        netns,
        errno,
        fd: _,
        protocol,
        pad: _,
    } = record;
    // An AF_INET socket takes AF_UNSPEC as AF_INET (net/ipv4/af_inet.c:__inet_bind).
    let family = match addr.family {
        AF_UNSPEC => Family::Ipv4,
        other => fields::family(other)?,
    };
    let [a, b, c, d, ..] = addr.addr;
    let wanted = match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        Family::Ipv6 => unmap(Ipv6Addr::from(addr.addr)),
    };
    let protocol = match protocol {
        0 => None,
        6 | 17 | 136 => Some(protocol),
        _ => return Err(fields::bad("protocol", protocol)),
    };
    Ok(Blind {
        time: Ktime(header.time),
        errno,
        task: fields::task(&task),
        wanted: Wanted {
            destination: None,
            addr: Some(wanted),
            port: (addr.port != 0).then_some(addr.port),
        },
        family,
        protocol,
        netns: NetnsId(netns),
        netns_cookie,
    })
}

/// What sock_diag tells of a socket; its options but IPV6_V6ONLY are not among it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Family.
    pub family: Family,
    /// 6, 17 or 136.
    pub protocol: u16,
    /// `TCP_LISTEN`, ... of include/net/tcp_states.h.
    pub state: u8,
    /// Local address and port.
    pub local: (IpAddr, u16),
    /// Peer; port 0 = none.
    pub peer: (IpAddr, u16),
    /// Device; 0 = any.
    pub device: u32,
    /// Inode; 0 = no process has it.
    pub inode: u64,
    /// Its cookie.
    pub cookie: u64,
    /// Its creator.
    pub uid: u32,
    /// IPV6_V6ONLY.
    pub v6only: bool,
}

/// The socket as the rule and the words want it. What is not known is absent or false: no verdict
/// may rest on its options.
///
/// # Errors
/// A state that no socket has.
pub fn socket(seen: &Seen) -> Result<Socket, DecodeError> {
    let mut sock = wire::Sock::new_zeroed();
    let mapped = |addr: IpAddr| match addr {
        IpAddr::V4(addr) => addr.to_ipv6_mapped().octets(),
        IpAddr::V6(addr) => addr.octets(),
    };
    sock.family = match seen.family {
        Family::Ipv4 => AF_INET,
        Family::Ipv6 => AF_INET6,
    };
    sock.rcv_saddr = inside_v4(seen.local.0);
    sock.daddr = inside_v4(seen.peer.0);
    if seen.family == Family::Ipv6 {
        sock.v6_rcv_saddr = mapped(seen.local.0);
        sock.v6_daddr = mapped(seen.peer.0);
    }
    sock.protocol = seen.protocol;
    sock.state = seen.state;
    sock.port = seen.local.1;
    sock.peer_port = seen.peer.1;
    sock.bound_dev = seen.device;
    sock.inode = seen.inode;
    sock.cookie = seen.cookie;
    sock.uid = seen.uid;
    if seen.v6only {
        sock.flags |= wire::Sock::FLAG_V6ONLY;
    }
    if seen.state != wire::Sock::STATE_TIME_WAIT {
        sock.flags |= wire::Sock::FLAG_FULL;
    }
    if seen.inode != 0 {
        sock.flags |= wire::Sock::FLAG_HAS_SOCKET | wire::Sock::FLAG_HAS_FILE;
    }
    fields::socket(&sock)
}

/// The failing socket: family and transport, and nothing else. TCP where neither is known.
///
/// # Errors
/// None that [`blind`] lets through.
pub fn failing(blind: &Blind) -> Result<Socket, DecodeError> {
    let any = match blind.family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    socket(&Seen {
        family: blind.family,
        protocol: blind.protocol.unwrap_or(6),
        state: wire::Sock::STATE_CLOSE,
        local: (any, 0),
        peer: (any, 0),
        device: 0,
        inode: 0,
        cookie: 0,
        uid: blind.task.uid,
        v6only: false,
    })
}

/// `skc_rcv_saddr` of a socket with this address.
fn inside_v4(addr: IpAddr) -> [u8; 4] {
    match addr {
        IpAddr::V4(addr) => addr.octets(),
        IpAddr::V6(addr) if addr.is_unspecified() => [0; 4],
        IpAddr::V6(addr) => addr
            .to_ipv4_mapped()
            .map_or(LOOPBACK4_IPV6, |addr| addr.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::State;
    use super::*;
    use bytes::Bytes;
    use zerocopy::IntoBytes;

    fn record() -> wire::BlindRecord {
        let mut record = wire::BlindRecord::new_zeroed();
        record.header.kind = wire::RecordKind::BLIND;
        record.header.time = 7;
        record.task.tgid = 812;
        record.addr.family = AF_INET;
        record.addr.addr[..4].copy_from_slice(&[10, 10, 10, 1]);
        record.addr.port = 60001;
        record.errno = 98;
        record.protocol = 17;
        record.netns = 40;
        record
    }

    fn decoded(record: &wire::BlindRecord) -> Result<Blind, DecodeError> {
        blind(&RawRecord::new(Bytes::copy_from_slice(record.as_bytes())))
    }

    #[test]
    fn a_record_tells_who_wanted_what() {
        let blind = decoded(&record()).unwrap();
        assert_eq!(blind.task.tgid.0, 812);
        assert_eq!(blind.wanted.addr, Some("10.10.10.1".parse().unwrap()));
        assert_eq!(blind.wanted.port, Some(60001));
        assert_eq!((blind.protocol, blind.netns), (Some(17), NetnsId(40)));
        assert_eq!(failing(&blind).unwrap().protocol, 17);
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let mut unknown = record();
        unknown.protocol = 0;
        unknown.addr.port = 0;
        unknown.addr.family = AF_UNSPEC;
        let blind = decoded(&unknown).unwrap();
        assert_eq!((blind.protocol, blind.wanted.port), (None, None));
        assert_eq!(blind.family, Family::Ipv4);
    }

    #[test]
    fn nonsense_is_refused() {
        let mut other = record();
        other.addr.family = 1;
        assert!(decoded(&other).is_err());
        let mut other = record();
        other.protocol = 132;
        assert!(decoded(&other).is_err());
        let short = record().as_bytes()[..119].to_vec();
        assert!(blind(&RawRecord::new(Bytes::from(short))).is_err());
    }

    #[test]
    fn addresses_are_those_the_kernel_compares() {
        let seen = |address: &str, family| {
            let any = "::".parse().unwrap();
            let seen = Seen {
                family,
                protocol: 6,
                state: wire::Sock::STATE_LISTEN,
                local: (address.parse().unwrap(), 60001),
                peer: (any, 0),
                device: 0,
                inode: 5,
                cookie: 9,
                uid: 0,
                v6only: false,
            };
            socket(&seen).unwrap()
        };
        let native = seen("2001:db8::1", Family::Ipv6);
        assert_eq!(native.rcv_saddr, Ipv4Addr::new(127, 0, 0, 6));
        assert_eq!(native.state, State::Listen);
        assert!(native.has_socket && !native.kernel);
        let dual = seen("::", Family::Ipv6);
        assert!(dual.rcv_saddr.is_unspecified() && dual.v6_rcv_saddr.is_unspecified());
        let mapped = seen("::ffff:10.0.0.1", Family::Ipv6);
        assert_eq!(mapped.rcv_saddr, Ipv4Addr::new(10, 0, 0, 1));
        let plain = seen("10.0.0.1", Family::Ipv4);
        assert!(plain.v6_rcv_saddr.is_unspecified());
    }
}
