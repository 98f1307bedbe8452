//! Ports taken and let go: told when asked for, and always to an open incident.

use crate::{
    config,
    maps::{FAILURES, OWNERS, TRAFFIC},
    owners::{self, NOBODY},
    sock, stats, task,
    walk::header,
    watched,
};
use aya_ebpf::bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use portwatch_common::{
    AssignRecord, Call, Counter, ExitRecord, HookId, Origin, Owner, RecordKind, ReleaseRecord,
};

/// A socket has a port that it did not have before the call.
#[inline(always)]
pub(crate) fn assigned(hook: u32, sk: u64, origin: u8, call: u8) {
    let task = task::current();
    // TCP's connect() is told by `connects`.
    if call != Call::CONNECT || sock::protocol(sk) != sock::IPPROTO_TCP {
        tell_incident(hook, task, sk, origin, call);
    }
    let Some(counters) = stats::row(hook) else {
        return;
    };
    counters.count(Counter::ASSIGN_TRIGGERED);
    if !config::traffic() || !config::wants_netns(sock::net_inum(sock::net(sk))) {
        counters.count(Counter::ASSIGN_FILTERED);
        return;
    }
    match TRAFFIC.reserve::<AssignRecord>(0) {
        Some(mut record) => {
            // SAFETY: the reserved record.
            unsafe { fill_assign(record.as_mut_ptr(), task, sk, origin, call, 0) };
            record.submit(u64::from(BPF_RB_NO_WAKEUP));
            counters.count(Counter::ASSIGN_EMITTED);
        }
        None => counters.count(Counter::ASSIGN_DROPPED),
    }
}

/// A socket that had its port before listens now: no news but to an open incident.
#[inline(always)]
pub(crate) fn listens(hook: u32, sk: u64, origin: u8) {
    tell_incident(hook, task::current(), sk, origin, Call::LISTEN);
}

/// A TCP socket connects from a port that it got now or had before: no news but to an open incident.
#[inline(always)]
pub(crate) fn connects(hook: u32, sk: u64, origin: u8) {
    let task = task::current();
    if watched::reaches(
        task::tgid(task),
        sock::peer_words(sk),
        sock::peer_port_be(sk),
    ) {
        tell_watched(hook, task, sk, origin, Call::CONNECT);
    }
}

/// The current process has a port or listens on it; that may end one of its incidents.
#[inline(always)]
fn tell_incident(hook: u32, task: u64, sk: u64, origin: u8, call: u8) {
    // A TCP socket that is only bound to another port may become a client's.
    let settles =
        call == Call::LISTEN || (call == Call::BIND && sock::protocol(sk) != sock::IPPROTO_TCP);
    let picked = origin != Origin::EXPLICIT_BIND;
    if watched::is_news(task::tgid(task), sock::port(sk), settles, picked) {
        tell_watched(hook, task, sk, origin, call);
    }
}

#[inline(always)]
fn tell_watched(hook: u32, task: u64, sk: u64, origin: u8, call: u8) {
    let Some(counters) = stats::row(hook) else {
        return;
    };
    counters.count(Counter::WATCHED_TRIGGERED);
    match FAILURES.reserve::<AssignRecord>(0) {
        Some(mut record) => {
            // SAFETY: the reserved record.
            unsafe { fill_assign(record.as_mut_ptr(), task, sk, origin, call, 1) };
            record.submit(u64::from(BPF_RB_FORCE_WAKEUP));
            counters.count(Counter::WATCHED_EMITTED);
        }
        None => counters.count(Counter::WATCHED_DROPPED),
    }
}

/// The last descriptor of a socket is being closed; called before the owner is forgotten.
#[inline(always)]
pub(crate) fn released(sk: u64, cookie: u64) {
    let Some(counters) = stats::row(HookId::SOCK_RELEASE) else {
        return;
    };
    if watched::holder_closed(cookie) {
        counters.count(Counter::WATCHED_TRIGGERED);
        match FAILURES.reserve::<ReleaseRecord>(0) {
            Some(mut record) => {
                // SAFETY: the reserved record.
                unsafe { fill_release(record.as_mut_ptr(), sk, cookie, ReleaseRecord::WATCHED) };
                record.submit(u64::from(BPF_RB_FORCE_WAKEUP));
                counters.count(Counter::WATCHED_EMITTED);
            }
            None => counters.count(Counter::WATCHED_DROPPED),
        }
    }
    if sock::port(sk) == 0 {
        return;
    }
    counters.count(Counter::RELEASE_TRIGGERED);
    if !config::traffic() || !config::wants_netns(sock::net_inum(sock::net(sk))) {
        counters.count(Counter::RELEASE_FILTERED);
        return;
    }
    match TRAFFIC.reserve::<ReleaseRecord>(0) {
        Some(mut record) => {
            // SAFETY: the reserved record.
            unsafe { fill_release(record.as_mut_ptr(), sk, cookie, 0) };
            record.submit(u64::from(BPF_RB_NO_WAKEUP));
            counters.count(Counter::RELEASE_EMITTED);
        }
        None => counters.count(Counter::RELEASE_DROPPED),
    }
}

/// Somebody waits for the end of this socket; of most nobody does, and that is all they cost.
#[inline(always)]
pub(crate) fn wants_end_of(sk: u64) -> bool {
    let cookie = sock::cookie(sk);
    cookie != 0 && (config::traffic() || watched::is_holder(cookie))
}

/// The kernel takes the port from a socket; `left` says what is left of it, as bits of
/// [`ReleaseRecord`]. Told of sockets whose owner is remembered: of those that are open still
/// (sockets of the kernel, a connection that was reset), and of connections that live on after their
/// close. Everything else was told at its close.
#[inline(always)]
pub(crate) fn let_go(hook: u32, sk: u64, protocol: u16, left: u32) {
    let cookie = sock::cookie(sk);
    if cookie == 0 {
        return;
    }
    let Some(counters) = stats::row(hook) else {
        return;
    };
    let flags = ReleaseRecord::LET_GO | left;
    // What goes on as TIME_WAIT keeps its cookie, and the incident waits for the end of that.
    if left != ReleaseRecord::LEFT_TIME_WAIT && watched::holder_closed(cookie) {
        counters.count(Counter::WATCHED_TRIGGERED);
        match FAILURES.reserve::<ReleaseRecord>(0) {
            Some(mut record) => {
                let flags = flags | ReleaseRecord::WATCHED;
                // SAFETY: the reserved record.
                unsafe { fill_let_go(record.as_mut_ptr(), sk, cookie, protocol, flags) };
                record.submit(u64::from(BPF_RB_FORCE_WAKEUP));
                counters.count(Counter::WATCHED_EMITTED);
            }
            None => counters.count(Counter::WATCHED_DROPPED),
        }
    }
    if !config::traffic() || owners::remembered(cookie).is_null() {
        return;
    }
    counters.count(Counter::RELEASE_TRIGGERED);
    if !config::wants_netns(sock::net_inum(sock::net(sk))) {
        counters.count(Counter::RELEASE_FILTERED);
        return;
    }
    match TRAFFIC.reserve::<ReleaseRecord>(0) {
        Some(mut record) => {
            // SAFETY: the reserved record.
            unsafe { fill_let_go(record.as_mut_ptr(), sk, cookie, protocol, flags) };
            record.submit(u64::from(BPF_RB_NO_WAKEUP));
            counters.count(Counter::RELEASE_EMITTED);
        }
        None => counters.count(Counter::RELEASE_DROPPED),
    }
}

/// # Safety
/// `to` is valid for writes.
#[inline(always)]
unsafe fn fill_let_go(to: *mut ReleaseRecord, sk: u64, cookie: u64, protocol: u16, flags: u32) {
    let net = sock::net(sk);
    let mut known = owners::remembered(cookie);
    if known.is_null() {
        known = &raw const NOBODY_STATIC;
    }
    // SAFETY: the caller's promise.
    unsafe {
        (*to).header = header::<ReleaseRecord>(RecordKind::RELEASE, owners::now(), 0);
        crate::holder::copy_owner(&raw mut (*to).owner, known);
        task::fill_from_owner(&raw mut (*to).task, &raw const (*to).owner);
        sock::fill(&raw mut (*to).sock, sk, protocol);
        (*to).netns_cookie = sock::net_cookie(net);
        (*to).netns = sock::net_inum(net);
        (*to).flags = flags;
    }
}

/// A process ended.
#[inline(always)]
pub(crate) fn exited(task: u64) {
    if !watched::requester_ended(task) {
        return;
    }
    let Some(counters) = stats::row(HookId::PROCESS_EXIT) else {
        return;
    };
    counters.count(Counter::WATCHED_TRIGGERED);
    match FAILURES.reserve::<ExitRecord>(0) {
        Some(mut record) => {
            let to = record.as_mut_ptr();
            // SAFETY: the reserved record; every byte is written.
            unsafe {
                (*to).header = header::<ExitRecord>(RecordKind::EXIT, owners::now(), 0);
                task::fill(&raw mut (*to).task, task);
            }
            record.submit(u64::from(BPF_RB_FORCE_WAKEUP));
            counters.count(Counter::WATCHED_EMITTED);
        }
        None => counters.count(Counter::WATCHED_DROPPED),
    }
}

/// # Safety
/// `to` is valid for writes.
#[inline(always)]
unsafe fn fill_assign(
    to: *mut AssignRecord,
    task: u64,
    sk: u64,
    origin: u8,
    call: u8,
    watched: u8,
) {
    let net = sock::net(sk);
    // SAFETY: the caller's promise.
    unsafe {
        (*to).header = header::<AssignRecord>(RecordKind::ASSIGN, owners::now(), 0);
        task::fill(&raw mut (*to).task, task);
        sock::fill(&raw mut (*to).sock, sk, sock::protocol(sk));
        (*to).netns_cookie = sock::net_cookie(net);
        (*to).netns = sock::net_inum(net);
        (*to).origin = origin;
        (*to).call = call;
        (*to).watched = watched;
        (*to).pad = 0;
    }
}

/// # Safety
/// `to` is valid for writes.
#[inline(always)]
unsafe fn fill_release(to: *mut ReleaseRecord, sk: u64, cookie: u64, flags: u32) {
    let net = sock::net(sk);
    let known: *const Owner = match OWNERS.get_ptr(cookie) {
        Some(owner) => owner,
        None => &raw const NOBODY_STATIC,
    };
    // SAFETY: the caller's promise.
    unsafe {
        (*to).header = header::<ReleaseRecord>(RecordKind::RELEASE, owners::now(), 0);
        crate::holder::copy_owner(&raw mut (*to).owner, known);
        let closer = task::current();
        if task::may_have_had_files(closer) {
            task::fill(&raw mut (*to).task, closer);
        } else {
            task::fill_from_owner(&raw mut (*to).task, &raw const (*to).owner);
        }
        sock::fill(&raw mut (*to).sock, sk, sock::protocol(sk));
        (*to).netns_cookie = sock::net_cookie(net);
        (*to).netns = sock::net_inum(net);
        (*to).flags = if task::is_exiting(closer) {
            flags | ReleaseRecord::EXITING
        } else {
            flags
        };
    }
}

/// [`NOBODY`] with an address.
static NOBODY_STATIC: Owner = NOBODY;
