//! Sockets that the start-up scan met without a descriptor: TIME_WAIT, orphans, connections that
//! nobody accepted yet. No hook will ever say how old they are.

use crate::decode::event::{Holder, Owner, OwnerSource, Socket};
use std::collections::HashSet;
use std::net::IpAddr;

/// Both ends of a connection, which its TIME_WAIT has as well, in another piece of memory.
type Ends = (IpAddr, u16, Option<IpAddr>, u16);

/// The older sockets.
#[derive(Debug, Default)]
pub(super) struct Older(HashSet<Ends>);

impl Older {
    /// Remembers what the scan met.
    pub(super) fn add(&mut self, sockets: impl IntoIterator<Item = Socket>) {
        self.0
            .extend(sockets.into_iter().map(|socket| ends(&socket)));
    }

    /// The connection that the scan met; or a new one of the same ends, of which nothing is taken for
    /// granted either.
    pub(super) fn holds(&self, socket: &Socket) -> bool {
        self.0.contains(&ends(socket))
    }
}

/// Whoever listens on a port says nothing of a connection there that is older than our look: another
/// server may have accepted it and have left since, or a client may have bound its source port.
pub(super) fn forget_listener(holder: &mut Holder) {
    let last_listener = |owner: &Owner| owner.source == OwnerSource::LastListener;
    if holder.older && holder.owner.as_ref().is_some_and(last_listener) {
        holder.owner = None;
    }
}

/// A listener that may have accepted a connection which is older than our look: no call that gave it
/// its port was seen.
pub(super) fn may_have_accepted(listener: Option<&Owner>) -> bool {
    listener.is_none_or(|owner| owner.taken_at.is_none())
}

fn ends(socket: &Socket) -> Ends {
    (
        socket.local_addr(),
        socket.port,
        socket.peer_addr(),
        socket.peer_port,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::testing;
    use crate::decode::event::State;

    #[test]
    fn a_connection_is_as_old_in_time_wait() {
        let mut met = testing::tcp("10.10.10.1", State::FinWait1);
        met.sk = 0xffff_8880_0000_1000;
        met.peer_port = 6836;
        let mut older = Older::default();
        older.add([met.clone()]);
        assert!(older.holds(&met));
        met.sk += 0x1000;
        met.state = State::TimeWait;
        assert!(older.holds(&met));
        met.peer_port = 6837;
        assert!(!older.holds(&met));
    }
}
