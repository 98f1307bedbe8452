//! An owner of the port that a walk comes to: counted, and sent if it is among those worth sending.

use super::Walk;
use crate::{
    holder::{self, Bucket},
    maps::FAILURES,
    sock, stats, watched,
};
use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_NO_WAKEUP, BPF_RB_RING_SIZE};
use portwatch_common::{Counter, HolderRecord, Sock};

/// Owners sent at most that may block.
const MAX_BLOCKING: u32 = 64;
/// The same where the ring is half full.
const FEW_BLOCKING: u32 = 16;
/// Listeners sent at most on top of these, and as many sockets that are bound and no more: they come
/// first in a verdict, and are the last of the owners.
const MAX_AHEAD: u32 = 64;
/// Owners sent at most that cannot block.
const MAX_NEIGHBOURS: u32 = 16;

/// Less than the ring's size shifted so far to the right is free in it.
#[inline(always)]
fn narrow(shift: u32) -> bool {
    let size = FAILURES.query(u64::from(BPF_RB_RING_SIZE));
    FAILURES.query(u64::from(BPF_RB_AVAIL_DATA)) > size.wrapping_sub(size >> shift)
}

/// Counts an owner, and sends it if it is among those worth sending.
#[inline(always)]
pub(super) fn visit(walk: &mut Walk, sk: u64) {
    walk.total = walk.total.wrapping_add(1);
    let tcp = walk.protocol == sock::IPPROTO_TCP;
    let listens = tcp && sock::state(sk) == Sock::STATE_LISTEN;
    let bound = tcp && sock::state(sk) == Sock::STATE_CLOSE;
    // Both with SO_REUSEADDR and no listener: the rule lets them share, whatever the addresses.
    let may_block = if walk.connects != 0 {
        reaches_the_same(walk, sk)
    } else {
        listens || walk.own_reuse == 0 || sock::reuse(sk) == 0
    };
    let room = if listens && may_block {
        walk.listeners = walk.listeners.wrapping_add(1);
        walk.listeners <= MAX_AHEAD
    } else if bound && may_block {
        walk.bound = walk.bound.wrapping_add(1);
        walk.bound <= MAX_AHEAD
    } else if may_block {
        walk.blocking = walk.blocking.wrapping_add(1);
        walk.blocking <= FEW_BLOCKING || walk.blocking <= MAX_BLOCKING && !narrow(1)
    } else {
        walk.neighbours = walk.neighbours.wrapping_add(1);
        walk.neighbours <= MAX_NEIGHBOURS
    };
    if !room {
        if may_block {
            walk.skipped = walk.skipped.wrapping_add(1);
        }
        return;
    }
    let Some(counters) = stats::row(walk.hook) else {
        return;
    };
    counters.count(Counter::HOLDERS_TRIGGERED);
    // The last room is for the failures, one holder of each, and what comes first in its verdict: without
    // its listener, those that it accepted would stand alone.
    let wanted = listens || bound || may_block && walk.blocking == 1;
    let reserved = if !wanted && narrow(3) {
        None
    } else {
        FAILURES.reserve::<HolderRecord>(0)
    };
    let Some(mut record) = reserved else {
        counters.count(Counter::HOLDERS_DROPPED);
        walk.lost = walk.lost.wrapping_add(1);
        return;
    };
    let bucket = Bucket {
        l3mdev: walk.l3mdev,
        fastreuse: walk.fastreuse,
        fastreuseport: walk.fastreuseport,
    };
    let to = record.as_mut_ptr();
    // SAFETY: the reserved record.
    let cookie = unsafe {
        holder::fill(to, sk, walk.protocol, bucket, walk.time, walk.id);
        (*to).sock.cookie
    };
    if cookie != 0 && may_block {
        watched::holder(walk.hook, cookie);
    }
    record.submit(u64::from(BPF_RB_NO_WAKEUP));
    counters.count(Counter::HOLDERS_EMITTED);
    walk.emitted = walk.emitted.wrapping_add(1);
}

/// A connection to the end that connect() wants to reach (net/ipv4/inet_hashtables.c:
/// __inet_check_established compares both ends; the own one may not be known any more).
#[inline(always)]
fn reaches_the_same(walk: &Walk, sk: u64) -> bool {
    if walk.peer_port_be != 0 && sock::peer_port_be(sk) != walk.peer_port_be {
        return false;
    }
    let peer = sock::peer_words(sk);
    peer[0] == walk.peer[0] && peer[1] == walk.peer[1]
}
