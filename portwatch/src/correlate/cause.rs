//! Why a holder has the port: its cause (docs/causes.md) and what that rests on.

use super::conflict_rule::{Binder, Uncertain};
use super::origin::{Proof, Taken, is_kernel};
use crate::decode::event::{Family, Origin, Socket, State, Transport};
use crate::report::Cause;
use std::net::IpAddr;

/// A holder's cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The cause.
    pub cause: Cause,
    /// What it rests on.
    pub proof: Proof,
    /// With `unknown`: what is missing.
    pub gap: Option<Gap>,
}

/// Why a verdict stays `unknown`; every one is told in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// No port was wanted: the whole range is in use.
    RangeExhausted,
    /// connect() with a bound port: the same connection exists already, and it was not found.
    SameConnection,
    /// The kernel's table was not read.
    NotWalked,
    /// Which namespace's table it would be is not known.
    NamespaceUnknown,
    /// The table was not read to its end, or records of it were lost, and no blocker was among
    /// what was read, or none but connections whose listener may be in the rest.
    HalfWalked,
    /// Sockets have the port, none of them blocks.
    NoneBlocks,
    /// Sockets have the port, and whether they block cannot be told.
    Uncertain(Uncertain),
    /// The holder is proven, how it came to the port is not.
    OriginUnproven,
}

impl Reading {
    /// connect(): whatever came to that connection and how, it exists.
    pub const SAME_CONNECTION: Self = Self::proven(Cause::SameConnection);

    /// A cause that nothing is missing to.
    #[must_use]
    pub const fn proven(cause: Cause) -> Self {
        Self {
            cause,
            proof: Proof::Proven,
            gap: None,
        }
    }

    /// A cause that is concluded.
    #[must_use]
    pub const fn deduced(cause: Cause) -> Self {
        Self {
            cause,
            proof: Proof::Deduced,
            gap: None,
        }
    }

    const fn unknown(gap: Gap) -> Self {
        Self {
            cause: Cause::Unknown,
            proof: Proof::Deduced,
            gap: Some(gap),
        }
    }
}

/// The cause of a holder that blocks `binder` and came to its port as `taken` says.
#[must_use]
pub fn cause(socket: &Socket, taken: Taken, binder: &Binder) -> Reading {
    if is_kernel(socket) || taken.origin == Some(Origin::Kernel) {
        return Reading::proven(Cause::KernelSocket);
    }
    match socket.transport {
        Transport::Udp => udp(taken),
        Transport::Tcp => match socket.state {
            State::Listen => listener(socket, binder),
            State::Close => bound(taken),
            State::TimeWait => time_wait(taken),
            State::FinWait1 | State::FinWait2 | State::LastAck | State::Closing
                if !socket.has_socket =>
            {
                Reading::proven(Cause::Orphan)
            }
            State::Established
            | State::SynSent
            | State::SynRecv
            | State::CloseWait
            | State::FinWait1
            | State::FinWait2
            | State::LastAck
            | State::Closing => connection(taken),
            State::NewSynRecv => Reading::unknown(Gap::OriginUnproven),
        },
    }
}

/// UDP has no listener and no connection of its own: what counts is who chose the port.
fn udp(taken: Taken) -> Reading {
    match taken.origin {
        Some(Origin::EphemeralConnect | Origin::EphemeralAutobind) => {
            Reading::proven(Cause::OutboundConnection)
        }
        Some(Origin::EphemeralBind) => Reading::proven(Cause::EphemeralBind),
        Some(Origin::ExplicitBind) => Reading::proven(Cause::UdpSocket),
        Some(Origin::Kernel) => Reading::proven(Cause::KernelSocket),
        Some(Origin::Accepted) | None => Reading::deduced(Cause::UdpSocket),
    }
}

/// Whatever gave a listener its port, it is one.
fn listener(socket: &Socket, binder: &Binder) -> Reading {
    let any = IpAddr::is_unspecified;
    let takes_both =
        socket.family == Family::Ipv6 && socket.v6_rcv_saddr.is_unspecified() && !socket.v6only;
    let takes_ipv4 = socket.local_addr().is_ipv4() && any(&socket.local_addr());
    let dual = (takes_both && binder.wants_ipv4()) || (takes_ipv4 && binder.dual_stack());
    Reading::proven(if dual {
        Cause::DualStackListener
    } else {
        Cause::Listener
    })
}

/// In TCP_CLOSE with a port: bound, nothing more.
fn bound(taken: Taken) -> Reading {
    match taken.origin {
        Some(Origin::ExplicitBind) => Reading::proven(Cause::BoundNotListening),
        Some(Origin::EphemeralBind) => Reading::proven(Cause::EphemeralBind),
        // Without SOCK_BINDPORT_LOCK tcp_set_state() gives the port back on the way to
        // TCP_CLOSE (tcp.c), so only bind(0) leaves such a socket.
        None => Reading::deduced(Cause::EphemeralBind),
        Some(Origin::EphemeralConnect | Origin::EphemeralAutobind | Origin::Accepted) => {
            Reading::unknown(Gap::OriginUnproven)
        }
        Some(Origin::Kernel) => Reading::proven(Cause::KernelSocket),
    }
}

fn time_wait(taken: Taken) -> Reading {
    let cause = match taken.origin {
        // A client, whether the kernel picked its port or it had bound it.
        Some(Origin::EphemeralConnect | Origin::ExplicitBind) => Cause::OutboundTimeWait,
        Some(Origin::EphemeralBind) => Cause::EphemeralBind,
        Some(Origin::Accepted) => Cause::ServerTimeWait,
        Some(Origin::EphemeralAutobind) | None => return Reading::unknown(Gap::OriginUnproven),
        Some(Origin::Kernel) => return Reading::proven(Cause::KernelSocket),
    };
    Reading {
        cause,
        proof: taken.proof,
        gap: None,
    }
}

/// A connection that some process has.
fn connection(taken: Taken) -> Reading {
    let cause = match taken.origin {
        Some(Origin::EphemeralConnect) => Cause::OutboundConnection,
        Some(Origin::EphemeralBind) => Cause::EphemeralBind,
        // A client that bound its source port itself: bound, and it never listened.
        Some(Origin::ExplicitBind) => Cause::BoundNotListening,
        Some(Origin::Accepted) => Cause::AcceptedConnection,
        Some(Origin::EphemeralAutobind) | None => return Reading::unknown(Gap::OriginUnproven),
        Some(Origin::Kernel) => return Reading::proven(Cause::KernelSocket),
    };
    Reading {
        cause,
        proof: taken.proof,
        gap: None,
    }
}

#[cfg(test)]
mod tests;
