//! One record to one event; holders stay apart until `join` brings them to their failure.

use super::cursor::{DecodeError, prefix};
use super::event::{
    Assign, Call, EphemeralRange, Exit, Failure, Family, Holder, Ktime, NetnsId, Release, Socket,
    Walk, Wanted, unmap,
};
use super::fields;
use crate::source::RawRecord;
use portwatch_common as wire;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
        return Wanted {
            addr: (call == Call::Listen || socket.port != 0).then(|| socket.local_addr()),
            port: (socket.port != 0).then_some(socket.port),
        };
    }
    if unreadable {
        return Wanted {
            addr: None,
            port: None,
        };
    }
    let v4 = IpAddr::V4(Ipv4Addr::new(
        addr.addr[0],
        addr.addr[1],
        addr.addr[2],
        addr.addr[3],
    ));
    // An AF_INET socket takes AF_UNSPEC as AF_INET (net/ipv4/af_inet.c:__inet_bind).
    let ip = match socket.family {
        Family::Ipv4 => v4,
        // The kernel took the call, so a family that means nothing was written over it since.
        Family::Ipv6 if addr.family == AF_INET => v4,
        Family::Ipv6 => unmap(Ipv6Addr::from(addr.addr)),
    };
    Wanted {
        addr: Some(ip),
        port: (addr.port != 0).then_some(addr.port),
    }
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
        pad: _,
    } = record;
    let holder = Holder {
        socket: fields::socket(&sock)?,
        owner: fields::owner(&owner, owner_source)?,
        l3mdev,
        connect_only_bucket: fastreuse == -1 && fastreuseport == -1,
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
        watched: flags & wire::ReleaseRecord::WATCHED != 0,
    })
}

pub(super) fn exit(raw: &RawRecord, kind: u16) -> Result<Exit, DecodeError> {
    let record: wire::ExitRecord = prefix(raw, kind)?;
    Ok(Exit {
        time: Ktime(record.header.time),
        task: fields::task(&record.task),
    })
}
