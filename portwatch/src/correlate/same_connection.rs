//! connect() with a port of its own: the kernel refuses it only for a connection between the very
//! same two ends.
//!
//! Read in Linux 6.18 (net/ipv4/inet_hashtables.c: __inet_hash_connect, __inet_check_established,
//! inet_match, inet6_match): what has both ends and a device that fits blocks, whatever its state
//! and its options, TIME_WAIT included unless the caller may take it over. Not the rule of bind().

use super::conflict_rule::{Free, Outcome, Uncertain};
use crate::decode::event::{Call, Failure, Holder, Socket, State};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The call is refused by this rule.
#[must_use]
pub fn applies(failure: &Failure) -> bool {
    failure.call == Call::Connect && failure.wanted.port.is_some()
}

/// What the rule says of each of the failure's holders, in their order.
///
/// A failed connect() has given back the own address that it had picked (inet_hashtables.c:
/// inet_bhash2_reset_saddr), unless bind() had set it. Then the one socket of the port that leads
/// to the destination is the one; of several that differ in their own address any may be.
#[must_use]
pub fn judge_all(failure: &Failure) -> Vec<Outcome> {
    let mut outcomes: Vec<_> = failure
        .holders
        .iter()
        .map(|holder| judge(failure, holder))
        .collect();
    let from: BTreeSet<IpAddr> = failure
        .holders
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| **outcome == Outcome::Blocks)
        .map(|(holder, _)| holder.socket.local_addr())
        .collect();
    if from.len() > 1 || (from.len() == 1 && source(failure).is_none() && !failure.walk.complete())
    {
        for outcome in &mut outcomes {
            if *outcome == Outcome::Blocks {
                *outcome = Outcome::Uncertain(Uncertain::Source);
            }
        }
    }
    outcomes
}

fn judge(failure: &Failure, holder: &Holder) -> Outcome {
    let (own, socket) = (&failure.socket, &holder.socket);
    let Some(to) = failure.wanted.destination else {
        return Outcome::Uncertain(Uncertain::Destination);
    };
    if !connected(socket) || socket.peer_addr() != Some(to.ip()) || socket.peer_port != to.port() {
        return Outcome::Free(Free::OtherConnection);
    }
    if source(failure).is_some_and(|from| from != socket.local_addr()) {
        return Outcome::Free(Free::OtherAddress);
    }
    // inet_sock.h:inet_sk_bound_dev_eq; the device of the other may be the caller's L3 master.
    if socket.device != 0 && socket.device != own.device {
        let may_be_master = own.device != 0 && socket.device == holder.l3mdev;
        return if may_be_master {
            Outcome::Uncertain(Uncertain::SeveralBuckets)
        } else {
            Outcome::Free(Free::OtherDevice)
        };
    }
    if failure.walk.buckets > 1 && own.device == 0 && holder.l3mdev != 0 {
        return Outcome::Free(Free::OtherBucket);
    }
    Outcome::Blocks
}

/// The caller's own address, where bind() has set it.
pub(super) fn source(failure: &Failure) -> Option<IpAddr> {
    Some(failure.socket.local_addr()).filter(|own| !own.is_unspecified())
}

/// A socket of the table of connections. One whose connect() failed keeps its peer's address.
pub(super) fn connected(socket: &Socket) -> bool {
    match socket.state {
        State::Close | State::Listen => false,
        State::Established
        | State::SynSent
        | State::SynRecv
        | State::FinWait1
        | State::FinWait2
        | State::TimeWait
        | State::CloseWait
        | State::LastAck
        | State::Closing
        | State::NewSynRecv => true,
    }
}

#[cfg(test)]
mod tests;
