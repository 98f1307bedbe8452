//! Who took which socket's port: written at the call, kept over the close of a connection.

use crate::{
    config,
    maps::{ACCEPTED, LISTENERS, OWNERS, PAST},
    sock, stats, task,
};
use aya_ebpf::{bindings::BPF_NOEXIST, helpers::generated::bpf_ktime_get_boot_ns};
use portwatch_common::{Counter, Origin, Owner, OwnerSource, Sock};

/// CLOCK_BOOTTIME in nanoseconds.
#[inline(always)]
pub(crate) fn now() -> u64 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// An owner with no fields set.
pub(crate) const NOBODY: Owner = Owner {
    comm: [0; 2],
    start_time: 0,
    taken_at: 0,
    seen_at: 0,
    released_at: 0,
    cgroup: 0,
    tgid: 0,
    uid: 0,
    origin: Origin::UNKNOWN,
    source: OwnerSource::NONE,
    port: 0,
    unproven: 0,
};

/// The current process took a port. Returns false if the socket has an entry of this port already:
/// then it had its port before this call. An entry of another port, or one that the socket's own
/// fields contradict, is of a time before connect() failed or AF_UNSPEC gave the port back.
#[inline(always)]
pub(crate) fn took(hook: u32, cookie: u64, sk: u64, origin: u8) -> bool {
    if cookie == 0 {
        stats::count(hook, Counter::NO_COOKIE);
        return true;
    }
    // A thread of the kernel takes ports for others (subflows of MPTCP), and no close would remove its
    // entry.
    if task::is_kernel_thread(task::current()) {
        return true;
    }
    let mut owner = NOBODY;
    // SAFETY: a local.
    unsafe { task::fill_owner(&raw mut owner, task::current()) };
    owner.taken_at = now();
    owner.origin = origin;
    owner.source = OwnerSource::CALL;
    owner.port = sock::port(sk);
    owner.unproven = u32::from(!config::snapshot_done());
    if insert(hook, cookie, &owner) {
        return true;
    }
    // SAFETY: the entry belongs to this socket, in whose call this runs.
    let stale = unsafe { OWNERS.get(cookie) }.is_some_and(|known| {
        known.port != owner.port || (known.origin != origin && proven_origin(sk) == origin)
    });
    if stale {
        let _ = OWNERS.insert(cookie, owner, 0);
    }
    stale
}

/// The socket has just been given a port: an entry is of a port that it had before.
#[inline(always)]
pub(crate) fn forget(cookie: u64) {
    let _ = OWNERS.remove(cookie);
}

/// Writes an entry unless there is one.
#[inline(always)]
pub(crate) fn insert(hook: u32, cookie: u64, owner: &Owner) -> bool {
    match OWNERS.insert(cookie, owner, u64::from(BPF_NOEXIST)) {
        Ok(()) => true,
        Err(error) => {
            // -EEXIST (17): the socket is known; anything else: no room.
            if error != -17 {
                stats::lose(hook, Counter::OWNERS_FULL);
                if owner.source == OwnerSource::CALL {
                    // A port of its own: a listener's child that connects again is none any more.
                    let _ = ACCEPTED.remove(cookie);
                }
                return true;
            }
            false
        }
    }
}

/// Writes what the start-up scan found, unless there is an entry of a call; of several processes that
/// have the socket the one that made it stays. True if nobody was found with it before.
#[inline(always)]
pub(crate) fn found(hook: u32, cookie: u64, owner: &Owner, made_it: bool) -> bool {
    if insert(hook, cookie, owner) {
        return true;
    }
    if !made_it {
        return false;
    }
    // SAFETY: whatever was written meanwhile is a whole entry, of which one byte is read.
    let scanned =
        unsafe { OWNERS.get(cookie) }.is_some_and(|known| known.source == OwnerSource::SNAPSHOT);
    if scanned {
        let _ = OWNERS.insert(cookie, owner, 0);
    }
    false
}

/// Who has the socket, or had it when it was closed; null if nobody remembers.
#[inline(always)]
pub(crate) fn remembered(cookie: u64) -> *const Owner {
    if let Some(owner) = OWNERS.get_ptr(cookie) {
        return owner;
    }
    PAST.get_ptr(cookie).unwrap_or_default()
}

/// A listener got a connection, which nobody has a descriptor of yet.
#[inline(always)]
pub(crate) fn accepted(cookie: u64) {
    // An LRU map: a failed write is a time that is not told.
    let _ = ACCEPTED.insert(cookie, now(), 0);
}

/// When a listener got the connection of this cookie; 0 if nobody saw that.
#[inline(always)]
pub(crate) fn accepted_at(cookie: u64) -> u64 {
    // SAFETY: the value is written once, before the socket can be found by anybody.
    unsafe { ACCEPTED.get(cookie) }.copied().unwrap_or_default()
}

/// How a socket without an entry came to its port, as far as its own fields prove it.
#[inline(always)]
pub(crate) fn proven_origin(sk: u64) -> u8 {
    let locks = sock::userlocks(sk);
    if locks & Sock::BINDPORT_LOCK != 0 {
        Origin::EXPLICIT_BIND
    } else if sock::has_connect_bind() && locks & Sock::CONNECT_BIND != 0 {
        Origin::EPHEMERAL_CONNECT
    } else {
        Origin::UNKNOWN
    }
}

/// The current process listens on a socket's port. If another one did before, either may have
/// accepted what is left of that time: the entry names nobody then.
#[inline(always)]
pub(crate) fn listens(sk: u64, owner: &mut Owner) {
    if sock::bound_dev(sk) != 0 {
        return;
    }
    let key = sock::listener_key(sk);
    if let Some(before) = LISTENERS.get_ptr(key) {
        // SAFETY: a value of a map, which stays mapped.
        let (same, contested) = unsafe {
            let same = (*before).tgid == owner.tgid && (*before).start_time == owner.start_time;
            (same, (*before).unproven & Owner::CONTESTED != 0)
        };
        if !same || contested {
            owner.unproven |= Owner::CONTESTED;
        }
    }
    // An LRU map: a failed write is a lost memory of no verdict's weight.
    let _ = LISTENERS.insert(key, owner, 0);
}

/// A process was found listening on a socket's port; a listener seen at its call is not replaced. The
/// first that is found with a `new_socket` may share the address with a socket of another process
/// (SO_REUSEPORT): either may have accepted what is left of that time.
#[inline(always)]
pub(crate) fn listens_before(sk: u64, owner: &Owner, new_socket: bool) {
    if sock::bound_dev(sk) != 0 {
        return;
    }
    let key = sock::listener_key(sk);
    if LISTENERS.insert(key, owner, u64::from(BPF_NOEXIST)).is_ok() || !new_socket {
        return;
    }
    if let Some(before) = LISTENERS.get_ptr_mut(key) {
        // SAFETY: a value of a map, which stays mapped.
        unsafe {
            if (*before).tgid != owner.tgid || (*before).start_time != owner.start_time {
                (*before).unproven |= Owner::CONTESTED;
            }
        }
    }
}

/// The one process that listened where a connection's own end is, and did so when it got the
/// connection; null if none is known, or several are.
///
/// Where no hook saw a listener get it, it is older than the hooks or a subflow of MPTCP, which has no
/// cookie: then only a listener that is as old can have got it for certain. A socket with a cookie that
/// nobody saw being accepted was opened otherwise, or is forgotten.
#[inline(always)]
pub(crate) fn last_listener(cookie: u64, sk: u64) -> *const Owner {
    let found = any_listener(sk);
    if found.is_null() {
        return found;
    }
    // SAFETY: a value of a map, which stays mapped.
    let (unproven, since) = unsafe { ((*found).unproven, (*found).taken_at) };
    let may_have_got_it = if cookie == 0 {
        since == 0
    } else {
        accepted_at(cookie) != 0 && since <= accepted_at(cookie)
    };
    if unproven & Owner::CONTESTED != 0 || !may_have_got_it {
        return core::ptr::null();
    }
    found
}

/// Somebody listened where a connection's own end is.
#[inline(always)]
pub(crate) fn has_listener(sk: u64) -> bool {
    !any_listener(sk).is_null()
}

/// The last listener whose address and port a connection's own end has; null if none is known, or
/// if there are two on addresses that overlap. A connection has its listener's device, and only
/// listeners without one are remembered.
#[inline(always)]
fn any_listener(sk: u64) -> *const Owner {
    if sock::bound_dev(sk) != 0 {
        return core::ptr::null();
    }
    let mut key = sock::listener_key(sk);
    let mut found: *const Owner = core::ptr::null();
    if let Some(owner) = LISTENERS.get_ptr(key) {
        found = owner;
    }
    let is_v4 = key.addr[10] == 0xff && key.addr[11] == 0xff && key.addr[0] == 0;
    key.addr = [0; 16];
    if let Some(owner) = LISTENERS.get_ptr(key) {
        found = one_of(found, owner);
        if found.is_null() {
            return found;
        }
    }
    key.addr = if is_v4 {
        sock::mapped([0; 4])
    } else {
        sock::ONLY_V6
    };
    if let Some(owner) = LISTENERS.get_ptr(key) {
        found = one_of(found, owner);
    }
    found
}

/// The two listeners' process; null if they are of different ones: either may have accepted it.
#[inline(always)]
fn one_of(found: *const Owner, owner: *const Owner) -> *const Owner {
    // SAFETY: null or values of a map, which stay mapped.
    let same = found.is_null()
        || unsafe { (*found).tgid == (*owner).tgid && (*found).start_time == (*owner).start_time };
    if same { owner } else { core::ptr::null() }
}
