//! The inner types in the words of the contract.

use crate::decode::event::{self, Failure, Family, Origin, Socket, State, Transport};
use crate::enrich::EventFacts;
use crate::enrich::facts::NetnsReach;
use crate::report::{
    Call, Endpoint, FamilyName, OptionName, OriginName, PortRange, StateName, TransportName, Wanted,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(super) fn call(call: event::Call) -> Call {
    match call {
        event::Call::Bind => Call::Bind,
        event::Call::Listen => Call::Listen,
        event::Call::Connect => Call::Connect,
        event::Call::Autobind => Call::Autobind,
    }
}

pub(super) fn transport(transport: Transport) -> TransportName {
    match transport {
        Transport::Tcp => TransportName::Tcp,
        Transport::Udp => TransportName::Udp,
    }
}

pub(super) fn origin(origin: Origin) -> OriginName {
    match origin {
        Origin::EphemeralConnect => OriginName::EphemeralConnect,
        Origin::EphemeralBind => OriginName::EphemeralBind,
        Origin::EphemeralAutobind => OriginName::EphemeralAutobind,
        Origin::ExplicitBind => OriginName::ExplicitBind,
        Origin::Accepted => OriginName::Accepted,
        Origin::Kernel => OriginName::Kernel,
    }
}

/// The state's word; a socket that is neither listening nor connected is `bound` (TCP) or
/// `unconnected` (UDP).
pub(super) fn state(socket: &Socket) -> StateName {
    match socket.state {
        State::Established => StateName::Established,
        State::SynSent => StateName::SynSent,
        State::SynRecv | State::NewSynRecv => StateName::SynRecv,
        State::FinWait1 => StateName::FinWait1,
        State::FinWait2 => StateName::FinWait2,
        State::TimeWait => StateName::TimeWait,
        State::CloseWait => StateName::CloseWait,
        State::LastAck => StateName::LastAck,
        State::Closing => StateName::Closing,
        State::Listen => StateName::Listen,
        State::Close => match socket.transport {
            Transport::Tcp => StateName::Bound,
            Transport::Udp => StateName::Unconnected,
        },
    }
}

/// The set options, in the order of the contract's list.
pub(super) fn options(socket: &Socket) -> Vec<OptionName> {
    [
        (socket.reuse, OptionName::Reuseaddr),
        (socket.reuseport, OptionName::Reuseport),
        (socket.v6only, OptionName::V6only),
        (socket.freebind, OptionName::Freebind),
        (socket.transparent, OptionName::Transparent),
        (socket.bind_no_port, OptionName::BindNoPort),
    ]
    .into_iter()
    .filter_map(|(set, name)| set.then_some(name))
    .collect()
}

pub(super) fn local(socket: &Socket) -> Endpoint {
    Endpoint {
        address: socket.local_addr().to_string(),
        port: socket.port,
    }
}

pub(super) fn peer(socket: &Socket) -> Option<Endpoint> {
    // A connect() that failed leaves the peer's address in a socket that is bound only.
    if socket.transport == Transport::Tcp && socket.state == State::Close {
        return None;
    }
    let address = socket.peer_addr()?.to_string();
    Some(Endpoint {
        address,
        port: socket.peer_port,
    })
}

/// What the call wanted. Where it named no address (connect, autobind) that of any of its family.
pub(super) fn wanted(failure: &Failure, facts: &EventFacts) -> Wanted {
    let address = failure.wanted.addr.unwrap_or(match failure.socket.family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    });
    let address = match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => event::unmap(v6),
    };
    let family = if address.is_ipv4() {
        FamilyName::Ipv4
    } else {
        FamilyName::Ipv6
    };
    let device = match failure.socket.device {
        0 => Some(None),
        index => device(index, facts).map(Some),
    };
    let reach = facts.netns.as_ref().and_then(|netns| netns.reach.as_ref());
    let (netns_path, netns_pid) = match reach {
        Some(NetnsReach::Path(path)) => (Some(path.clone()), None),
        Some(NetnsReach::Process(tgid)) => (None, Some(tgid.0)),
        None => (None, None),
    };
    Wanted {
        transport: transport(failure.socket.transport),
        family,
        address: address.to_string(),
        port: failure.wanted.port,
        destination: failure.wanted.destination.map(|to| Endpoint {
            address: to.ip().to_string(),
            port: to.port(),
        }),
        netns: failure.netns.0,
        netns_path,
        netns_pid,
        device,
        options: options(&failure.socket),
    }
}

/// Name of a device, if it could be read.
pub(super) fn device(index: u32, facts: &EventFacts) -> Option<String> {
    facts
        .devices
        .iter()
        .find(|(of, _)| *of == index)
        .map(|(_, name)| name.clone())
}

pub(super) fn range(failure: &Failure) -> PortRange {
    let range = &failure.range;
    PortRange {
        low: range.low,
        high: range.high,
        contains_port: failure
            .wanted
            .port
            .is_some_and(|port| (range.low..=range.high).contains(&port)),
        of_socket: range.of_socket,
        reserved: failure.wanted.port.and(range.reserved),
    }
}

/// The errno's name; the numbers are those of the kernel's generic list (x86, arm64).
pub(super) fn errno(errno: u32) -> String {
    let name = match errno {
        1 => "EPERM",
        11 => "EAGAIN",
        12 => "ENOMEM",
        13 => "EACCES",
        19 => "ENODEV",
        22 => "EINVAL",
        97 => "EAFNOSUPPORT",
        98 => "EADDRINUSE",
        99 => "EADDRNOTAVAIL",
        101 => "ENETUNREACH",
        105 => "ENOBUFS",
        110 => "ETIMEDOUT",
        111 => "ECONNREFUSED",
        115 => "EINPROGRESS",
        other => return format!("errno {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests;
