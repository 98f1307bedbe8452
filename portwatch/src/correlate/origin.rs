//! How a holder came to its port, and what that rests on (docs/kernel-facts.md, section 4a).
//!
//! Never called outbound without proof: an accepted connection whose listener is gone looks just
//! like one that connect() made.

use crate::decode::event::{Family, Holder, Origin, OwnerSource, Socket, State, Transport};

/// An origin and its proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// `None` = not proven and nothing to deduce it from.
    pub origin: Option<Origin>,
    /// What it rests on.
    pub proof: Proof,
}

/// What a statement rests on, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// Concluded from what else is known of the port.
    Deduced,
    /// No other origin is left: every other one leaves an entry under the socket's own cookie.
    /// Holds once the start-up scan is merged and while no entry was lost.
    Eliminated,
    /// The call was seen, or the kernel's own bits say it.
    Proven,
}

impl Taken {
    /// An origin that was seen.
    #[must_use]
    pub const fn proven(origin: Origin) -> Self {
        Self {
            origin: Some(origin),
            proof: Proof::Proven,
        }
    }
}

/// The origin of `holder`; `listeners` are the sockets in LISTEN on the same port.
#[must_use]
pub fn origin(holder: &Holder, listeners: &[&Socket]) -> Taken {
    let socket = &holder.socket;
    let own = holder
        .owner
        .as_ref()
        .filter(|owner| owner.source != OwnerSource::LastListener);
    if let Some((origin, source)) = own.and_then(|owner| Some((owner.origin?, owner.source))) {
        // Written at the close of a socket without an entry: nobody had seen a call take its port.
        let by_elimination = origin == Origin::Accepted && source == OwnerSource::Release;
        return Taken {
            origin: Some(origin),
            proof: if by_elimination {
                Proof::Eliminated
            } else {
                Proof::Proven
            },
        };
    }
    if is_kernel(socket) {
        return Taken::proven(Origin::Kernel);
    }
    // The hook saw a listener get it.
    if holder.accepted_at.is_some() {
        return Taken::proven(Origin::Accepted);
    }
    if socket.connect_bound || (holder.connect_only_bucket && socket.transport == Transport::Tcp) {
        return Taken::proven(Origin::EphemeralConnect);
    }
    if socket.port_locked {
        return Taken::proven(Origin::ExplicitBind);
    }
    if !may_be_accepted(socket) || own.is_some_and(|owner| owner.source == OwnerSource::Call) {
        return Taken {
            origin: None,
            proof: Proof::Deduced,
        };
    }
    let accepted = |proof| Taken {
        origin: Some(Origin::Accepted),
        proof,
    };
    match holder.owner.as_ref().map(|owner| owner.source) {
        Some(OwnerSource::LastListener) => accepted(Proof::Eliminated),
        Some(OwnerSource::Call | OwnerSource::Release | OwnerSource::Snapshot) | None
            if listeners.iter().any(|listener| accepts(listener, socket)) =>
        {
            accepted(Proof::Deduced)
        }
        Some(OwnerSource::Call | OwnerSource::Release | OwnerSource::Snapshot) | None => Taken {
            origin: None,
            proof: Proof::Deduced,
        },
    }
}

/// The kernel opened the socket. Means something only in a full socket, which has a uid: an
/// `inet_timewait_sock` does not set the bit.
#[must_use]
pub fn is_kernel(socket: &Socket) -> bool {
    socket.kernel && socket.uid.is_some()
}

/// A state that the child of a listener can be in; SYN_SENT is the side that called connect().
fn may_be_accepted(socket: &Socket) -> bool {
    socket.transport == Transport::Tcp
        && match socket.state {
            State::Established
            | State::SynRecv
            | State::FinWait1
            | State::FinWait2
            | State::TimeWait
            | State::CloseWait
            | State::LastAck
            | State::Closing
            | State::NewSynRecv => true,
            State::SynSent | State::Close | State::Listen => false,
        }
}

/// A connection to `socket`'s own address would reach `listener`.
#[must_use]
pub fn accepts(listener: &Socket, socket: &Socket) -> bool {
    let (at, local) = (listener.local_addr(), socket.local_addr());
    if !at.is_unspecified() {
        return at == local;
    }
    match listener.family {
        Family::Ipv4 => local.is_ipv4(),
        Family::Ipv6 if at.is_ipv4() => local.is_ipv4(),
        Family::Ipv6 => local.is_ipv6() || !listener.v6only,
    }
}

#[cfg(test)]
mod tests;
