//! What is asked about holders that no process has any more: who closed them, how long they stay.

use super::facts::{Connection, Facts, SocketUser};
use super::unique;
use crate::decode::event::{Failure, Owner, Socket, State};

/// Who closed the sockets that nobody has any more, or has since the failure.
pub(super) fn closers(
    failure: &Failure,
    users: Option<&[(u64, SocketUser)]>,
    open: &[u64],
    facts: &mut dyn Facts,
) -> Vec<(u64, Owner)> {
    let Some(users) = users else {
        return Vec::new();
    };
    let closed = |socket: &Socket| {
        let inode = socket.inode.filter(|_| socket.has_socket);
        let had = |inode| open.contains(&inode) || users.iter().any(|(of, _)| *of == inode);
        !socket.kernel && !inode.is_some_and(had)
    };
    let sockets = failure.holders.iter().map(|holder| &holder.socket);
    let cookies = unique(sockets.filter(|s| closed(s)).filter_map(|s| s.cookie));
    if cookies.is_empty() {
        return Vec::new();
    }
    facts.closers(&cookies)
}

/// Holders in TIME_WAIT whose time is asked for; with more of them nobody waits for the first ones.
pub(super) const TIME_WAITS_ASKED: usize = 16;

/// What the holders in TIME_WAIT have left.
pub(super) fn time_wait_left(failure: &Failure, facts: &mut dyn Facts) -> Vec<(Connection, u32)> {
    let waiting = failure.holders.iter().map(|holder| &holder.socket);
    let connections: Vec<_> = waiting
        .filter(|socket| socket.state == State::TimeWait)
        .filter_map(connection)
        .collect();
    if connections.is_empty() || connections.len() > TIME_WAITS_ASKED {
        return Vec::new();
    }
    let left = facts.time_wait_left(failure.netns, failure.task.tgid, &connections);
    let told = connections.into_iter().zip(left);
    told.filter_map(|(connection, left)| Some((connection, left?)))
        .collect()
}

/// The connection of a socket, if it is of one.
pub(super) fn connection(socket: &Socket) -> Option<Connection> {
    Some(Connection {
        local: (socket.local_addr(), socket.port).into(),
        peer: (socket.peer_addr()?, socket.peer_port).into(),
        device: socket.device,
    })
}
