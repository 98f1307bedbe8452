//! What open incidents wait for, so that their end is told without any other traffic.
//!
//! Four kinds of keys in one small map: a process and the port it wanted, a process and where it
//! wanted to connect to, a process alone, the cookie of a holder's socket. User space takes them out when the incident is over.

use crate::{maps::WATCHED, stats, task};
use aya_ebpf::bindings::BPF_NOEXIST;
use portwatch_common::{Counter, watched};

/// Other ports of one requester that are told at most: one that binds thousands says nothing about
/// the port it wanted, and must not crowd failures out of their ring.
const OTHER_PORTS: u64 = 8;

/// A process failed to get a port; 0 = any.
#[inline(always)]
pub(crate) fn requester(hook: u32, tgid: u32, port: u16) {
    insert(hook, watched::wanted(tgid, port), 1);
    insert(hook, watched::process(tgid), OTHER_PORTS);
}

/// A process failed to connect to a peer (`sock::peer_words` and the port, network order).
#[inline(always)]
pub(crate) fn destination(hook: u32, tgid: u32, peer: [u64; 2], port_be: u16) {
    insert(hook, watched::destination(tgid, peer, port_be), 1);
}

/// A process connects to a peer: true if that may end one of its incidents.
#[inline(always)]
pub(crate) fn reaches(tgid: u32, peer: [u64; 2], port_be: u16) -> bool {
    WATCHED.get_ptr(watched::process(tgid)).is_some()
        && WATCHED
            .get_ptr(watched::destination(tgid, peer, port_be))
            .is_some()
}

/// A socket that may block an incident's port.
#[inline(always)]
pub(crate) fn holder(hook: u32, cookie: u64) {
    insert(hook, cookie, 1);
}

#[inline(always)]
fn insert(hook: u32, key: u64, value: u64) {
    if let Err(error) = WATCHED.insert(key, value, u64::from(BPF_NOEXIST)) {
        // -EEXIST (17): another attempt of the incident.
        if error != -17 {
            stats::count(hook, Counter::WATCHED_FULL);
        }
    }
}

/// A process has a port: true if that may end one of its incidents. `settles`: another port than
/// the wanted one counts as well. `picked`: the kernel picked it, as for a call that wants any.
#[inline(always)]
pub(crate) fn is_news(tgid: u32, port: u16, settles: bool, picked: bool) -> bool {
    let Some(left) = WATCHED.get_ptr_mut(watched::process(tgid)) else {
        return false;
    };
    if WATCHED.get_ptr(watched::wanted(tgid, port)).is_some() {
        return true;
    }
    if picked && WATCHED.get_ptr(watched::wanted(tgid, 0)).is_some() {
        return true;
    }
    if !settles {
        return false;
    }
    // SAFETY: a value of our own map; two threads of the process may both take the last one.
    unsafe {
        if *left == 0 {
            return false;
        }
        *left = (*left).wrapping_sub(1);
    }
    true
}

/// An incident waits for the end of this socket.
#[inline(always)]
pub(crate) fn is_holder(cookie: u64) -> bool {
    WATCHED.get_ptr(cookie).is_some()
}

/// A holder's socket was closed: true, once, if an incident waits for that.
#[inline(always)]
pub(crate) fn holder_closed(cookie: u64) -> bool {
    cookie != 0 && WATCHED.remove(cookie).is_ok()
}

/// A task ended: true, once, if it was the last of a requester's.
#[inline(always)]
pub(crate) fn requester_ended(task: u64) -> bool {
    let key = watched::process(task::tgid(task));
    WATCHED.get_ptr(key).is_some() && task::group_is_dead(task) && WATCHED.remove(key).is_ok()
}
