//! One record to one event; holders stay apart until `join` brings them to their failure.

use super::cursor::{DecodeError, prefix};
use super::event::{
    Assign, Call, EphemeralRange, Exit, Failure, Family, Holder, Ktime, LetGo, NetnsId, Release,
    Socket, Walk, Wanted, unmap,
};
use super::fields;
use crate::source::RawRecord;
use portwatch_common as wire;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// AF_INET in a caller's sockaddr.
const AF_INET: u16 = 2;

/// A failure whose holders have not arrived, and how many will.
pub(super) struct FailureHead {
    pub(super) failure: Failure,
    pub(super) expected: u32,
}

pub(super) fn failure(raw: &RawRecord, kind: u16) -> Result<FailureHead, DecodeError> {
    let record: wire::FailureRecord = prefix(raw, kind)?;
    let wire::FailureRecord {
        header,
        task,
        sock,
        addr,
        netns_cookie,
        netns,
        errno,
        total,
        emitted,
        lost,
        steps: _,
        buckets,
        skipped,
        fastreuse: _,
        fastreuseport: _,
        call,
        flags,
        range_low,
        range_high,
    } = record;
    let has = |flag| flags & flag != 0;
    let call = fields::call(call)?;
    let socket = fields::socket(&sock)?;
    let wanted = wanted(call, &socket, &addr, has(wire::FailureRecord::FLAG_NO_ADDR));
    let failure = Failure {
        time: Ktime(header.time),
        call,
        errno,
        task: fields::task(&task),
        socket,
        wanted,
        netns: NetnsId(netns),
        netns_cookie,
        range: EphemeralRange {
            low: range_low,
            high: range_high,
            of_socket: has(wire::FailureRecord::FLAG_SOCK_RANGE),
            reserved: (!has(wire::FailureRecord::FLAG_RESERVED_UNKNOWN)
                && !has(wire::FailureRecord::FLAG_NO_WALK))
            .then_some(has(wire::FailureRecord::FLAG_RESERVED)),
        },
        walk: Walk {
            made: !has(wire::FailureRecord::FLAG_NO_WALK),
            total,
            skipped,
            lost,
            truncated: has(wire::FailureRecord::FLAG_TRUNCATED),
            buckets,
        },
        holders: Vec::new(),
    };
    Ok(FailureHead {
        failure,
        expected: emitted,
    })
}

/// What the call wanted: for bind() the caller's sockaddr, since a failed bind() has cleared the
/// socket; for everything else the socket, which keeps what it has.
fn wanted(call: Call, socket: &Socket, addr: &wire::SockAddr, unreadable: bool) -> Wanted {
    if call != Call::Bind {
        // connect() without a port may have an address of its own (IP_BIND_ADDRESS_NO_PORT).
        let bound = socket.port != 0 || !socket.local_addr().is_unspecified();
        return Wanted {
            addr: (call == Call::Listen || bound).then(|| socket.local_addr()),
            port: (socket.port != 0).then_some(socket.port),
            destination: (call == Call::Connect && !unreadable)
                .then(|| destination(socket, addr))
                .flatten(),
        };
    }
    if unreadable {
        return Wanted {
            addr: None,
            port: None,
            destination: None,
        };
    }
    Wanted {
        addr: Some(named(socket, addr)),
        port: (addr.port != 0).then_some(addr.port),
        destination: None,
    }
}

/// The address in a caller's sockaddr.
fn named(socket: &Socket, addr: &wire::SockAddr) -> IpAddr {
    let v4 = IpAddr::V4(Ipv4Addr::new(
        addr.addr[0],
        addr.addr[1],
        addr.addr[2],
        addr.addr[3],
    ));
    // An AF_INET socket takes AF_UNSPEC as AF_INET (net/ipv4/af_inet.c:__inet_bind).
    match socket.family {
        Family::Ipv4 => v4,
        // The kernel took the call, so a family that means nothing was written over it since.
        Family::Ipv6 if addr.family == AF_INET => v4,
        Family::Ipv6 => unmap(Ipv6Addr::from(addr.addr)),
    }
}

/// Where connect() wanted to go. The port stands only in the caller's sockaddr (a failed
/// tcp_v4_connect() or tcp_v6_connect() clears it); the socket keeps the address, which a cgroup
/// program may have replaced: then the port that went with it is not known.
fn destination(socket: &Socket, addr: &wire::SockAddr) -> Option<SocketAddr> {
    let named = named(socket, addr);
    let taken = match socket.family {
        Family::Ipv4 => IpAddr::V4(socket.daddr),
        Family::Ipv6 => unmap(socket.v6_daddr),
    };
    // No address is this host's own: the kernel puts one in its place (net/ipv4/route.c:
    // ip_route_output_key_hash_rcu, net/ipv6/tcp_ipv6.c:tcp_v6_connect).
    let same = named == taken || named.is_unspecified();
    if taken.is_unspecified() {
        // UDP fails before it has looked where to.
        return Some(SocketAddr::new(named, addr.port));
    }
    same.then(|| SocketAddr::new(taken, addr.port))
}

pub(super) fn holder(raw: &RawRecord, kind: u16) -> Result<(u64, Holder), DecodeError> {
    let record: wire::HolderRecord = prefix(raw, kind)?;
    let wire::HolderRecord {
        header,
        sock,
        owner,
        owner_source,
        l3mdev,
        fastreuse,
        fastreuseport,
        bound_bucket,
        pad: _,
        accepted_at,
        kernel_function,
    } = record;
    let holder = Holder {
        socket: fields::socket(&sock)?,
        owner: fields::owner_of(&owner, owner_source, sock.port)?,
        l3mdev,
        connect_only_bucket: fastreuse == -1 && fastreuseport == -1,
        bound_bucket: bound_bucket != 0,
        accepted_at: fields::time(accepted_at),
        kernel_function: fields::function(kernel_function),
        older: false,
    };
    Ok((header.id, holder))
}

pub(super) fn assign(raw: &RawRecord, kind: u16) -> Result<Assign, DecodeError> {
    let record: wire::AssignRecord = prefix(raw, kind)?;
    let wire::AssignRecord {
        header,
        task,
        sock,
        netns_cookie: _,
        netns,
        origin,
        call,
        watched,
        pad: _,
    } = record;
    Ok(Assign {
        time: Ktime(header.time),
        task: fields::task(&task),
        socket: fields::socket(&sock)?,
        netns: NetnsId(netns),
        origin: fields::origin(origin)?,
        call: fields::call(call)?,
        watched: watched != 0,
    })
}

pub(super) fn release(raw: &RawRecord, kind: u16) -> Result<Release, DecodeError> {
    let record: wire::ReleaseRecord = prefix(raw, kind)?;
    let wire::ReleaseRecord {
        header,
        task,
        sock,
        owner,
        netns_cookie: _,
        netns,
        flags,
    } = record;
    Ok(Release {
        time: Ktime(header.time),
        task: fields::task(&task),
        socket: fields::socket(&sock)?,
        netns: NetnsId(netns),
        owner: fields::owner(&owner, u32::from(owner.source))?,
        exiting: flags & wire::ReleaseRecord::EXITING != 0,
        let_go: let_go(flags),
        watched: flags & wire::ReleaseRecord::WATCHED != 0,
    })
}

fn let_go(flags: u32) -> Option<LetGo> {
    let is = |bit| flags & bit != 0;
    is(wire::ReleaseRecord::LET_GO).then(|| {
        if is(wire::ReleaseRecord::LEFT_TIME_WAIT) {
            LetGo::TimeWait
        } else if is(wire::ReleaseRecord::SHARED) {
            LetGo::Shared
        } else if is(wire::ReleaseRecord::FREE) {
            LetGo::Free
        } else {
            LetGo::Unknown
        }
    })
}

pub(super) fn exit(raw: &RawRecord, kind: u16) -> Result<Exit, DecodeError> {
    let record: wire::ExitRecord = prefix(raw, kind)?;
    Ok(Exit {
        time: Ktime(record.header.time),
        task: fields::task(&record.task),
    })
}
