//! What keeps a holder's socket open now: processes, the kernel, a message that nobody has read.

use super::origin::is_kernel;
use crate::decode::event::Socket;
use crate::enrich::EventFacts;
use crate::enrich::facts::SocketUser;

/// What has a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeper<'a> {
    /// These processes; at least one.
    Processes(Vec<&'a SocketUser>),
    /// The kernel opened it for itself.
    Kernel,
    /// No process, though its file is open: it is in an unread message (SCM_RIGHTS), registered in an
    /// io_uring, or its process is at its very end.
    Message,
    /// Nobody: TIME_WAIT, an orphan, a connection that waits to be accepted, or a socket that was
    /// closed since the failure.
    Nobody,
    /// Nobody could look.
    NotSeen,
}

/// What has `socket`.
#[must_use]
pub fn keeper<'a>(socket: &Socket, facts: &'a EventFacts) -> Keeper<'a> {
    if is_kernel(socket) {
        return Keeper::Kernel;
    }
    if !socket.has_socket {
        return Keeper::Nobody;
    }
    let (Some(inode), Some(all)) = (socket.inode, &facts.socket_users) else {
        return Keeper::NotSeen;
    };
    let users: Vec<_> = all
        .iter()
        .filter(|(of, _)| *of == inode)
        .map(|(_, user)| user)
        .collect();
    if !users.is_empty() {
        return Keeper::Processes(users);
    }
    if facts.unseen.contains(&inode) {
        return Keeper::NotSeen;
    }
    match facts.unowned.contains(&inode) {
        false => Keeper::Nobody,
        true if socket.has_file => Keeper::Message,
        // Opened by the kernel, which counts it among the namespace's users as if it were a
        // process's (net/core/sock.c:sk_net_refcnt_upgrade). A subflow of MPTCP has no file either,
        // and the inode of its user's socket: that one has a process.
        true => Keeper::Kernel,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::correlate::testing::{facts, orphan, tcp};
    use crate::decode::event::State;

    #[test]
    fn each_keeper() {
        let mut socket = tcp("0.0.0.0", State::Listen);
        let mut known = facts(Some(71234));
        assert!(matches!(keeper(&socket, &known), Keeper::Processes(users) if users.len() == 1));
        known.socket_users = Some(Vec::new());
        // Closed since, perhaps.
        assert_eq!(keeper(&socket, &known), Keeper::Nobody);
        known.unowned = vec![71234];
        assert_eq!(keeper(&socket, &known), Keeper::Message);
        socket.has_file = false;
        assert_eq!(keeper(&socket, &known), Keeper::Kernel);
        // Another holder's process was seen, this one's descriptors were withheld.
        known.unseen = vec![71234];
        assert_eq!(keeper(&socket, &known), Keeper::NotSeen);
        known.unseen.clear();
        known.socket_users = None;
        assert_eq!(keeper(&socket, &known), Keeper::NotSeen);
        socket.kernel = true;
        assert_eq!(keeper(&socket, &known), Keeper::Kernel);
        let closing = orphan(tcp("10.10.10.1", State::FinWait2));
        assert_eq!(keeper(&closing, &known), Keeper::Nobody);
    }
}
