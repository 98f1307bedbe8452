//! What was made of a cell: the sockets that have the port, and how each is removed.

use std::net::SocketAddr;

use anyhow::Result;
use portwatch_tests::actor::{Op, Slot};
use portwatch_tests::contract as told;

use super::world::{PEER, World, unless_broken};

/// A socket that has the port, and everything that is true of it.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) actor: usize,
    /// The holder that it was made for.
    pub(crate) holder: usize,
    /// `None`: no process has it.
    pub(crate) slot: Option<Slot>,
    pub(crate) udp: bool,
    pub(crate) v6: bool,
    pub(super) device: Option<&'static str>,
    pub(crate) inode: Option<u64>,
    pub(crate) local: SocketAddr,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) state: &'static str,
    pub(crate) origin: &'static str,
    /// Closing this socket of the peer removes it.
    pub(super) queued: Option<Slot>,
}

/// A cell's holders, made.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) port: u16,
    pub(crate) made: Vec<Made>,
    /// Who was refused the port by a call that named it, on the way.
    pub(crate) refused: Vec<(usize, bool)>,
}

impl Made {
    /// It waits to be accepted.
    pub(crate) fn waits(&self) -> bool {
        self.queued.is_some()
    }

    /// A report is about this socket.
    pub(crate) fn is(&self, holder: &told::Holder) -> bool {
        self.udp == (holder.kind == "udp")
            && match (holder.inode, self.inode) {
                (Some(told), Some(made)) => told == made,
                (None, None) => {
                    self.local == SocketAddr::from(&holder.local)
                        && self.peer == holder.peer.as_ref().map(SocketAddr::from)
                }
                (Some(_), None) | (None, Some(_)) => false,
            }
    }
}

/// Removes a socket from the port at once; false if it cannot be.
pub(crate) fn remove(world: &mut World, made: &Made) -> Result<bool> {
    let (actor, op) = match (made.slot, made.queued, made.peer) {
        (Some(slot), _, _) => (made.actor, Op::Abort(slot)),
        (None, Some(client), _) => (PEER, Op::Abort(client)),
        (None, None, Some(peer)) => (
            PEER,
            Op::Destroy {
                v6: made.v6,
                device: made.device.map(str::to_owned),
                local: made.local,
                peer,
            },
        ),
        (None, None, None) => return Ok(false),
    };
    match world.tell(actor, &op) {
        Ok(()) => Ok(true),
        Err(stop) => unless_broken(stop).map(|()| false),
    }
}
