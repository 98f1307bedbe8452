//! Wire structs to checked parts of events.

use super::cursor::DecodeError;
use super::event::{
    Call, Comm, Family, Ktime, Origin, Owner, OwnerSource, Socket, State, Task, Tgid, Tid,
    Transport,
};
use portwatch_common as wire;
use std::net::{Ipv4Addr, Ipv6Addr};

/// A value that names nothing.
pub(super) fn bad(field: &'static str, value: impl Into<u64>) -> DecodeError {
    DecodeError::BadField {
        field,
        value: value.into(),
    }
}

/// A NUL-padded name.
fn comm(words: [u64; 2]) -> Comm {
    let bytes = words.map(u64::to_ne_bytes);
    let bytes = bytes.as_flattened();
    let end = bytes.iter().position(|&byte| byte == 0);
    Comm::from(&bytes[..end.unwrap_or(bytes.len())])
}

/// The name of a function; `None` where there is none.
pub(super) fn function(words: [u64; 6]) -> Option<String> {
    let bytes = words.map(u64::to_ne_bytes);
    let bytes = bytes.as_flattened();
    let end = bytes.iter().position(|&byte| byte == 0);
    let name = &bytes[..end.unwrap_or(bytes.len())];
    let sound = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    (!name.is_empty() && name.iter().all(sound)).then(|| String::from_utf8_lossy(name).into_owned())
}

/// 0 means absent.
fn nonzero(value: u64) -> Option<u64> {
    (value != 0).then_some(value)
}

/// CLOCK_BOOTTIME nanoseconds; 0 = not known.
pub(super) fn time(value: u64) -> Option<Ktime> {
    nonzero(value).map(Ktime)
}

pub(super) fn task(wire: &wire::Task) -> Task {
    let wire::Task {
        tgid,
        tid,
        ppid,
        uid,
        start_time,
        cgroup,
        comm: name,
    } = *wire;
    Task {
        tgid: Tgid(tgid),
        tid: Tid(tid),
        ppid: Tgid(ppid),
        uid,
        start: Ktime(start_time),
        cgroup: nonzero(cgroup),
        comm: comm(name),
    }
}

#[inline]
pub(super) fn family(value: u16) -> Result<Family, DecodeError> {
    match value {
        2 => Ok(Family::Ipv4),
        10 => Ok(Family::Ipv6),
        _ => Err(bad("family", value)),
    }
}

#[inline]
fn transport(protocol: u16) -> Result<Transport, DecodeError> {
    match protocol {
        6 | 262 => Ok(Transport::Tcp),
        17 | 136 => Ok(Transport::Udp),
        _ => Err(bad("protocol", protocol)),
    }
}

#[inline]
fn state(value: u8) -> Result<State, DecodeError> {
    Ok(match value {
        wire::Sock::STATE_ESTABLISHED => State::Established,
        wire::Sock::STATE_SYN_SENT => State::SynSent,
        wire::Sock::STATE_SYN_RECV => State::SynRecv,
        wire::Sock::STATE_FIN_WAIT1 => State::FinWait1,
        wire::Sock::STATE_FIN_WAIT2 => State::FinWait2,
        wire::Sock::STATE_TIME_WAIT => State::TimeWait,
        wire::Sock::STATE_CLOSE => State::Close,
        wire::Sock::STATE_CLOSE_WAIT => State::CloseWait,
        wire::Sock::STATE_LAST_ACK => State::LastAck,
        wire::Sock::STATE_LISTEN => State::Listen,
        wire::Sock::STATE_CLOSING => State::Closing,
        wire::Sock::STATE_NEW_SYN_RECV => State::NewSynRecv,
        _ => return Err(bad("state", value)),
    })
}

#[inline]
pub(super) fn call(value: u8) -> Result<Call, DecodeError> {
    match value {
        wire::Call::BIND => Ok(Call::Bind),
        wire::Call::LISTEN => Ok(Call::Listen),
        wire::Call::CONNECT => Ok(Call::Connect),
        wire::Call::AUTOBIND => Ok(Call::Autobind),
        _ => Err(bad("call", value)),
    }
}

#[inline]
pub(super) fn origin(value: u8) -> Result<Option<Origin>, DecodeError> {
    Ok(match value {
        wire::Origin::UNKNOWN => None,
        wire::Origin::EPHEMERAL_CONNECT => Some(Origin::EphemeralConnect),
        wire::Origin::EPHEMERAL_BIND => Some(Origin::EphemeralBind),
        wire::Origin::EPHEMERAL_AUTOBIND => Some(Origin::EphemeralAutobind),
        wire::Origin::EXPLICIT_BIND => Some(Origin::ExplicitBind),
        wire::Origin::ACCEPTED => Some(Origin::Accepted),
        wire::Origin::KERNEL => Some(Origin::Kernel),
        _ => return Err(bad("origin", value)),
    })
}

#[inline]
pub(super) fn socket(wire: &wire::Sock) -> Result<Socket, DecodeError> {
    let wire::Sock {
        sk,
        cookie,
        inode,
        v6_rcv_saddr,
        v6_daddr,
        rcv_saddr,
        daddr,
        bound_dev,
        uid,
        family: family_number,
        protocol,
        port,
        peer_port,
        state: state_number,
        reuse,
        reuseport,
        userlocks,
        flags,
    } = *wire;
    let has = |flag| flags & flag != 0;
    let full = has(wire::Sock::FLAG_FULL);
    Ok(Socket {
        sk,
        cookie: nonzero(cookie),
        inode: nonzero(inode),
        family: family(family_number)?,
        transport: transport(protocol)?,
        protocol,
        port,
        peer_port,
        rcv_saddr: Ipv4Addr::from(rcv_saddr),
        v6_rcv_saddr: Ipv6Addr::from(v6_rcv_saddr),
        daddr: Ipv4Addr::from(daddr),
        v6_daddr: Ipv6Addr::from(v6_daddr),
        device: bound_dev,
        uid: full.then_some(uid),
        state: state(state_number)?,
        reuse: reuse != 0,
        force_reuse: reuse == 2,
        reuseport: reuseport != 0,
        reuseport_group: has(wire::Sock::FLAG_REUSEPORT_GROUP),
        v6only: has(wire::Sock::FLAG_V6ONLY),
        freebind: has(wire::Sock::FLAG_FREEBIND),
        transparent: has(wire::Sock::FLAG_TRANSPARENT),
        bind_no_port: has(wire::Sock::FLAG_BIND_NO_PORT),
        has_socket: has(wire::Sock::FLAG_HAS_SOCKET),
        has_file: has(wire::Sock::FLAG_HAS_FILE),
        kernel: has(wire::Sock::FLAG_KERNEL),
        port_locked: userlocks & wire::Sock::BINDPORT_LOCK != 0,
        connect_bound: has(wire::Sock::FLAG_CONNECT_BIND),
    })
}

/// `None` for an owner that is not there.
#[inline]
pub(super) fn owner_source(source: u32) -> Result<Option<OwnerSource>, DecodeError> {
    Ok(Some(match u8::try_from(source) {
        Ok(wire::OwnerSource::NONE) => return Ok(None),
        Ok(wire::OwnerSource::CALL) => OwnerSource::Call,
        Ok(wire::OwnerSource::RELEASE) => OwnerSource::Release,
        Ok(wire::OwnerSource::SNAPSHOT) => OwnerSource::Snapshot,
        Ok(wire::OwnerSource::LAST_LISTENER) => OwnerSource::LastListener,
        Ok(_) | Err(_) => return Err(bad("owner_source", source)),
    }))
}

/// `None` for an owner that is not there. Of a socket that has another port than its entry (it let go
/// of this one, which is in TIME_WAIT) only the process is known.
pub(super) fn owner_of(
    wire: &wire::Owner,
    source: u32,
    port: u16,
) -> Result<Option<Owner>, DecodeError> {
    let mut owner = owner(wire, source)?;
    if let Some(owner) = &mut owner
        && wire.port != 0
        && wire.port != port
        && owner.source != OwnerSource::LastListener
    {
        (owner.origin, owner.taken_at, owner.released_at) = (None, None, None);
    }
    Ok(owner)
}

/// `None` for an owner that is not there.
pub(super) fn owner(wire: &wire::Owner, source: u32) -> Result<Option<Owner>, DecodeError> {
    let wire::Owner {
        comm: name,
        start_time,
        taken_at,
        seen_at,
        released_at,
        cgroup,
        tgid,
        uid,
        origin: origin_number,
        source: _,
        port: _,
        unproven,
    } = *wire;
    let Some(source) = owner_source(source)? else {
        return Ok(None);
    };
    let mut origin = origin(origin_number)?;
    // Seen before the start-up scan was complete: the socket may be older than the probes and have
    // its port from a bind(0) that nobody saw.
    if unproven & wire::Owner::UNPROVEN != 0 && origin == Some(Origin::EphemeralConnect) {
        origin = None;
    }
    if source == OwnerSource::LastListener {
        origin = None;
    }
    Ok(Some(Owner {
        tgid: Tgid(tgid),
        start: Ktime(start_time),
        comm: comm(name),
        uid,
        cgroup: nonzero(cgroup),
        origin,
        source,
        taken_at: time(taken_at),
        seen_at: time(seen_at),
        released_at: time(released_at),
    }))
}
