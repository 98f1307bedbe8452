//! The last close of a socket: who ran it, and whether that process had the socket.

use crate::{
    config,
    maps::{CLOSERS, OWNERS, PAST},
    owners::{NOBODY, accepted_at, has_listener, last_listener, now, proven_origin},
    sock, stats, task,
};
use portwatch_common::{Counter, HookId, Origin, Owner, OwnerSource};

/// The last descriptor of a socket is closed by the current process. A connection is remembered in
/// PAST, since its port lives on; anything else is forgotten.
#[inline(always)]
pub(crate) fn released(cookie: u64, sk: u64) {
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
    /// It was started when another process had the socket, and so got it at fork().
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
            let since = match known {
                Some(owner) if owner.taken_at != 0 => owner.taken_at,
                Some(owner) => owner.seen_at,
                None => accepted_at(cookie),
            };
            closer.inherited_it = since != 0 && task::started(task) > since;
        }
        closer
    }

    #[inline(always)]
    fn had_it(&self) -> bool {
        self.made_it || self.inherited_it
    }

    /// Writes the process, and whether it is one that certainly had the socket.
    ///
    /// # Safety
    /// `to` is valid for writes.
    #[inline(always)]
    unsafe fn fill(&self, to: *mut Owner) {
        // SAFETY: the caller's promise.
        unsafe {
            task::fill_owner(to, self.task);
            if !self.had_it() {
                (*to).unproven |= Owner::DOUBTED;
            }
            (*to).source = OwnerSource::RELEASE;
            (*to).seen_at = now();
        }
    }
}

/// Writes down who had a connection. One that a call took its port for is of whoever made the call. Of
/// others the closer is named if it made the socket, or if nobody else can be: whoever was found
/// with it by the start-up scan, or the one process that listened there, has the better claim than one
/// that may have got it in a message.
#[inline(always)]
fn remember(cookie: u64, sk: u64, known: Option<&Owner>, closer: &Closer) {
    let mut owner = match known {
        Some(owner) => *owner,
        None => NOBODY,
    };
    let found = owner.source;
    if found != OwnerSource::CALL && owner.origin == Origin::UNKNOWN {
        owner.origin = origin_at_close(sk, found);
    }
    if found == OwnerSource::NONE {
        let listener = !closer.had_it() && !last_listener(sk).is_null();
        if !closer.may_have_had_it || listener {
            return;
        }
    }
    let names_closer = closer.may_have_had_it
        && (found == OwnerSource::NONE || (found == OwnerSource::SNAPSHOT && closer.made_it));
    if names_closer {
        // SAFETY: a local.
        unsafe { closer.fill(&raw mut owner) };
    }
    if found != OwnerSource::CALL {
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
    if closer.may_have_had_it {
        // SAFETY: a local, and the caller's promise.
        let same = unsafe {
            closer.fill(&raw mut by);
            by.tgid == (*owner).tgid && by.start_time == (*owner).start_time
        };
        if same {
            return;
        }
    }
    by.released_at = by.seen_at;
    let _ = CLOSERS.insert(cookie, by, 0);
}

/// Origin of a connection that nobody saw take its port, told at its close. One whose TIME_WAIT has
/// begun has given its port up by then (net/ipv4/tcp.c:tcp_set_state).
///
/// A socket without an entry is younger than the start-up scan, so the call that took its port was
/// not seen because there was none: a listener of this port accepted it. An entry of that scan says
/// nothing either way, unless the kernel itself tells that connect() did not take the port.
#[inline(always)]
fn origin_at_close(sk: u64, source: u8) -> u8 {
    let proven = proven_origin(sk);
    let accepted = if source == OwnerSource::NONE {
        config::snapshot_done()
    } else {
        sock::has_connect_bind()
    };
    if proven != Origin::UNKNOWN || !accepted {
        return proven;
    }
    let has_listener = if sock::port(sk) == 0 {
        source == OwnerSource::NONE
    } else {
        has_listener(sk)
    };
    if has_listener {
        Origin::ACCEPTED
    } else {
        proven
    }
}
