//! The last close of a socket: who ran it, and whether that process had the socket.

use crate::{
    maps::{CLOSERS, OWNERS, PAST},
    owners::{NOBODY, accepted_at, has_listener, now, proven_origin},
    sock, stats,
    task::{self, Ancestor},
};
use portwatch_common::{Counter, HookId, Origin, Owner, OwnerSource};

/// The last descriptor of a socket is closed by the current process. A connection is remembered in
/// PAST, since its port lives on; anything else is forgotten.
///
/// The port of an MPTCP socket is its first subflow's, which is closed with it and has an entry of its
/// own.
#[inline(always)]
pub(crate) fn released(cookie: u64, sk: u64) {
    let port_socket = sock::port_socket(sk);
    if port_socket != sk {
        let cookie = sock::cookie(port_socket);
        if cookie != 0 {
            forget(cookie, port_socket);
        }
    }
    forget(cookie, sk);
}

#[inline(always)]
fn forget(cookie: u64, sk: u64) {
    let was_connected = sock::protocol(sk) == sock::IPPROTO_TCP && sock::peer_port_be(sk) != 0;
    // SAFETY: the entry belongs to this socket, and its last descriptor is being closed here.
    let known = unsafe { OWNERS.get(cookie) };
    if known.is_none() && !was_connected {
        return;
    }
    let closer = Closer::current(cookie, sk, known);
    if was_connected {
        remember(cookie, sk, known, &closer);
    }
    if let Some(owner) = known {
        // SAFETY: the process of an entry, whose value stays mapped.
        unsafe { closes(cookie, owner, &closer) };
        let _ = OWNERS.remove(cookie);
    }
}

/// Who runs the last close of a socket.
struct Closer {
    task: u64,
    /// It closes a descriptor, or throws away a message with one.
    may_have_had_it: bool,
    /// It accepted or opened the socket itself.
    made_it: bool,
    /// It was started when its parent had the socket, or a parent of that one, and so got it at fork().
    inherited_it: bool,
}

impl Closer {
    #[inline(always)]
    fn current(cookie: u64, sk: u64, known: Option<&Owner>) -> Self {
        let task = task::current();
        let mut closer = Self {
            task,
            may_have_had_it: task::may_have_had_files(task),
            made_it: task::made_file_of(task, sk),
            inherited_it: false,
        };
        if closer.may_have_had_it && !closer.made_it {
            let (since, before) = match known {
                Some(owner) if owner.taken_at != 0 => (owner.taken_at, Ancestor::Is(owner)),
                Some(owner) => (owner.seen_at, Ancestor::Is(owner)),
                None => (accepted_at(cookie), Ancestor::Made(sk)),
            };
            closer.inherited_it =
                since != 0 && task::started(task) > since && task::descends_from(task, before);
        }
        closer
    }

    #[inline(always)]
    fn had_it(&self) -> bool {
        self.may_have_had_it && (self.made_it || self.inherited_it)
    }

    /// Writes the process.
    ///
    /// # Safety
    /// `to` is valid for writes.
    #[inline(always)]
    unsafe fn fill(&self, to: *mut Owner) {
        // SAFETY: the caller's promise.
        unsafe {
            task::fill_owner(to, self.task);
            (*to).source = OwnerSource::RELEASE;
            (*to).seen_at = now();
        }
    }
}

/// Writes down who had a connection. One that a call took its port for is of whoever made the call. Of
/// others the closer is named if it made the socket, or inherited one that nobody else is known for:
/// whoever may have done no more than throw away a message with it is not named. That nobody can be
/// is remembered as well: it was not the listener then that had the connection last.
#[inline(always)]
fn remember(cookie: u64, sk: u64, known: Option<&Owner>, closer: &Closer) {
    let mut owner = match known {
        Some(owner) => *owner,
        None => NOBODY,
    };
    let found = owner.source;
    if found == OwnerSource::NONE && !closer.had_it() {
        owner.source = OwnerSource::RELEASE;
        owner.seen_at = now();
        owner.released_at = owner.seen_at;
        let _ = CLOSERS.insert(cookie, owner, 0);
        return;
    }
    if found != OwnerSource::CALL {
        if owner.origin == Origin::UNKNOWN {
            owner.origin = origin_at_close(cookie, sk, found);
        }
        if found == OwnerSource::NONE || closer.made_it {
            // SAFETY: a local.
            unsafe { closer.fill(&raw mut owner) };
        }
        owner.port = sock::port(sk);
    }
    owner.released_at = now();
    let _ = PAST.insert(cookie, owner, 0);
    stats::count(HookId::SOCK_RELEASE, Counter::PAST_WRITTEN);
}

/// Remembers who closed a socket that another process took: a child that inherited it, or whoever
/// got it in a message. Nobody, with the time, where that cannot be told.
///
/// # Safety
/// `owner` is valid for reads.
#[inline(always)]
unsafe fn closes(cookie: u64, owner: *const Owner, closer: &Closer) {
    let mut by = NOBODY;
    by.source = OwnerSource::RELEASE;
    by.seen_at = now();
    // SAFETY: a local, and the caller's promise.
    unsafe {
        if closer.may_have_had_it && task::is(closer.task, owner) {
            return;
        }
        if closer.had_it() {
            closer.fill(&raw mut by);
        }
    }
    by.released_at = by.seen_at;
    let _ = CLOSERS.insert(cookie, by, 0);
}

/// Origin of a connection that nobody saw take its port, told at its close. One whose TIME_WAIT has
/// begun has given its port up by then (net/ipv4/tcp.c:tcp_set_state).
///
/// A socket that the start-up scan met says nothing either way, unless the kernel itself tells that
/// connect() did not take the port.
#[inline(always)]
fn origin_at_close(cookie: u64, sk: u64, source: u8) -> u8 {
    let proven = proven_origin(sk);
    if proven != Origin::UNKNOWN {
        return proven;
    }
    let accepted = if source == OwnerSource::NONE {
        accepted_at(cookie) != 0
    } else {
        sock::has_connect_bind() && sock::port(sk) != 0 && has_listener(sk)
    };
    if accepted {
        Origin::ACCEPTED
    } else {
        Origin::UNKNOWN
    }
}
