//! Ports taken and let go: told when asked for, and always to an open incident.

use crate::{
    config,
    fail::REQUESTER,
    maps::{FAILURES, OWNERS, TRAFFIC, WATCHED},
    owners::{self, NOBODY},
    sock, stats, task,
    walk::header,
};
use aya_ebpf::bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use portwatch_common::{AssignRecord, Call, Counter, ExitRecord, Owner, RecordKind, ReleaseRecord};

/// A socket has a port that it did not have before the call.
#[inline(always)]
pub(crate) fn assigned(sk: u64, origin: u8, call: u8) {
    let task = task::current();
    // A requester that goes on connecting says nothing about the port it wanted.
    let bound = call == Call::BIND || call == Call::LISTEN;
    if bound && is_watched(REQUESTER | u64::from(task::tgid(task))) {
        stats::count(Counter::WATCHED_TRIGGERED);
        match FAILURES.reserve::<AssignRecord>(0) {
            Some(mut record) => {
                // SAFETY: the reserved record.
                unsafe { fill_assign(record.as_mut_ptr(), task, sk, origin, call, 1) };
                record.submit(u64::from(BPF_RB_FORCE_WAKEUP));
                stats::count(Counter::WATCHED_EMITTED);
            }
            None => stats::count(Counter::WATCHED_DROPPED),
        }
    }
    stats::count(Counter::ASSIGN_TRIGGERED);
    if !config::traffic() {
        stats::count(Counter::ASSIGN_FILTERED);
        return;
    }
    match TRAFFIC.reserve::<AssignRecord>(0) {
        Some(mut record) => {
            // SAFETY: the reserved record.
            unsafe { fill_assign(record.as_mut_ptr(), task, sk, origin, call, 0) };
            record.submit(u64::from(BPF_RB_NO_WAKEUP));
            stats::count(Counter::ASSIGN_EMITTED);
        }
        None => stats::count(Counter::ASSIGN_DROPPED),
    }
}

/// The last descriptor of a socket is being closed; called before the owner is forgotten.
#[inline(always)]
pub(crate) fn released(sk: u64, cookie: u64) {
    let watched = is_watched(cookie);
    if watched {
        stats::count(Counter::WATCHED_TRIGGERED);
        match FAILURES.reserve::<ReleaseRecord>(0) {
            Some(mut record) => {
                // SAFETY: the reserved record.
                unsafe { fill_release(record.as_mut_ptr(), sk, cookie, 1) };
                record.submit(u64::from(BPF_RB_FORCE_WAKEUP));
                stats::count(Counter::WATCHED_EMITTED);
            }
            None => stats::count(Counter::WATCHED_DROPPED),
        }
        let _ = WATCHED.remove(cookie);
    }
    if sock::port(sk) == 0 {
        return;
    }
    stats::count(Counter::RELEASE_TRIGGERED);
    if !config::traffic() {
        stats::count(Counter::RELEASE_FILTERED);
        return;
    }
    match TRAFFIC.reserve::<ReleaseRecord>(0) {
        Some(mut record) => {
            // SAFETY: the reserved record.
            unsafe { fill_release(record.as_mut_ptr(), sk, cookie, 0) };
            record.submit(u64::from(BPF_RB_NO_WAKEUP));
            stats::count(Counter::RELEASE_EMITTED);
        }
        None => stats::count(Counter::RELEASE_DROPPED),
    }
}

/// A process ended.
#[inline(always)]
pub(crate) fn exited(task: u64) {
    let key = REQUESTER | u64::from(task::tgid(task));
    if !is_watched(key) || !task::group_is_dead(task) {
        return;
    }
    let _ = WATCHED.remove(key);
    stats::count(Counter::WATCHED_TRIGGERED);
    match FAILURES.reserve::<ExitRecord>(0) {
        Some(mut record) => {
            let to = record.as_mut_ptr();
            // SAFETY: the reserved record; every byte is written.
            unsafe {
                (*to).header = header::<ExitRecord>(RecordKind::EXIT, owners::now(), 0);
                task::fill(&raw mut (*to).task, task);
            }
            record.submit(u64::from(BPF_RB_FORCE_WAKEUP));
            stats::count(Counter::WATCHED_EMITTED);
        }
        None => stats::count(Counter::WATCHED_DROPPED),
    }
}

#[inline(always)]
fn is_watched(key: u64) -> bool {
    WATCHED.get_ptr(key).is_some()
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
unsafe fn fill_release(to: *mut ReleaseRecord, sk: u64, cookie: u64, watched: u32) {
    let net = sock::net(sk);
    let known: *const Owner = match OWNERS.get_ptr(cookie) {
        Some(owner) => owner,
        None => &raw const NOBODY_STATIC,
    };
    // SAFETY: the caller's promise.
    unsafe {
        (*to).header = header::<ReleaseRecord>(RecordKind::RELEASE, owners::now(), 0);
        task::fill(&raw mut (*to).task, task::current());
        sock::fill(&raw mut (*to).sock, sk, sock::protocol(sk));
        crate::walk::copy_owner(&raw mut (*to).owner, known);
        (*to).netns_cookie = sock::net_cookie(net);
        (*to).netns = sock::net_inum(net);
        (*to).watched = watched;
    }
}

/// [`NOBODY`] with an address.
static NOBODY_STATIC: Owner = NOBODY;
