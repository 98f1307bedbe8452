//! Who holds a range of ports: one pass over a bind table, for one namespace and transport, right
//! after a call that found no free port.
//!
//! Run by user space like the scan of `tables`. It sees what is there then, which is after the
//! failure; nothing of it decides that there was one.

use crate::{
    holder::{self, Bucket},
    maps::{RANGE, RANGE_SCAN},
    owners, sock, task,
};
use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP, helpers::generated::bpf_loop, macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use core::ffi::c_void;
use portwatch_common::{HolderRecord, RangeScan, Sock};

/// Records after which a part ends, at the next bucket: with those of one more bucket they fit into
/// a ring of 1 MiB.
const PART: u32 = 4096;
/// Nodes after which a part ends, whatever was found.
const PART_STEPS: u32 = 1 << 15;
/// Nodes of a part at most, were one bucket endless.
const MAX_STEPS: u32 = 1 << 20;
/// Records of one bucket at most: thousands of connections may share a port.
const OF_BUCKET: u8 = 64;
/// Records of a scan at most: twice the ports there are.
const MAX_TOLD: u32 = 1 << 17;

/// One part of a scan.
#[raw_tracepoint]
pub(crate) fn scan_range(_ctx: RawTracePointContext) -> i32 {
    let Some(scan) = RANGE_SCAN.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: only this program writes it, and user space runs it one at a time.
    let scan = unsafe { &mut *scan };
    let net = task::net(task::current());
    scan.steps = 0;
    scan.of_part = 0;
    scan.buckets = if scan.protocol == sock::IPPROTO_TCP {
        sock::tcp_buckets(net)
    } else {
        match sock::udp_table(net) {
            0 => 0,
            table => sock::udp_slots(table),
        }
    };
    // SAFETY: a static callback without context.
    unsafe { bpf_loop(MAX_STEPS, step as *mut c_void, core::ptr::null_mut(), 0) };
    0
}

/// One step of `bpf_loop`: 0 goes on, 1 ends.
unsafe extern "C" fn step(_index: u64, _context: *mut c_void) -> i64 {
    match RANGE_SCAN.get_ptr_mut(0) {
        // SAFETY: as in `scan_range`.
        Some(scan) => advance(unsafe { &mut *scan }),
        None => 1,
    }
}

#[inline(always)]
fn advance(scan: &mut RangeScan) -> i64 {
    scan.steps = scan.steps.wrapping_add(1);
    let tcp = scan.protocol == sock::IPPROTO_TCP;
    if scan.owner_node != 0 {
        let node = scan.owner_node;
        scan.owner_node = sock::next(node);
        let sk = if tcp {
            sock::owner_of(node)
        } else {
            sock::udp_socket_of(node)
        };
        if is_asked(scan, sock::port(sk), sock::net(sk)) && counts(scan, sk) {
            tell(scan, sk);
        }
        return 0;
    }
    if scan.bucket2_node != 0 {
        let node = scan.bucket2_node;
        scan.owner_node = sock::bucket2_owners(node);
        scan.bucket2_node = sock::next(node);
        return 0;
    }
    if scan.bucket_node != 0 {
        let node = scan.bucket_node;
        let bucket = sock::bucket_of(node);
        scan.bucket_node = sock::next(node);
        if !is_asked(scan, sock::bucket_port(bucket), sock::bucket_net(bucket)) {
            return 0;
        }
        scan.l3mdev = sock::bucket_l3mdev(bucket);
        scan.fastreuse = sock::bucket_fastreuse(bucket);
        scan.fastreuseport = sock::bucket_fastreuseport(bucket);
        scan.of_bucket = 0;
        let (list, owners) = sock::bucket_list(bucket);
        if owners {
            scan.owner_node = list;
        } else {
            scan.bucket2_node = list;
        }
        return 0;
    }
    // Between two chains: the only place to stop, since a list may change until the next part.
    if scan.steps > PART_STEPS || scan.of_part > PART {
        return 1;
    }
    if scan.index >= scan.buckets || scan.told >= MAX_TOLD {
        scan.done = 1;
        return 1;
    }
    let net = task::net(task::current());
    if tcp {
        scan.bucket_node = sock::tcp_chain_at(net, scan.index);
    } else {
        scan.of_bucket = 0;
        scan.owner_node = sock::udp_slot(sock::udp_table(net), scan.index);
    }
    scan.index = scan.index.wrapping_add(1);
    0
}

/// A port of the range in the namespace.
#[inline(always)]
fn is_asked(scan: &RangeScan, port: u16, net: u64) -> bool {
    port >= scan.low && port <= scan.high && sock::net_inum(net) == scan.netns
}

/// The socket keeps its port from the call. connect() shares a port that only connect() has used,
/// unless for the same destination (net/ipv4/inet_hashtables.c:__inet_hash_connect); any other call
/// wants one of its own.
#[inline(always)]
fn counts(scan: &RangeScan, sk: u64) -> bool {
    if scan.connects == 0 || is_bound(scan) {
        return true;
    }
    let peer = sock::peer_words(sk);
    peer[0] == scan.peer[0]
        && peer[1] == scan.peer[1]
        && (scan.peer_port_be == 0 || sock::peer_port_be(sk) == scan.peer_port_be)
}

/// Some bind() has used the bucket under way.
#[inline(always)]
fn is_bound(scan: &RangeScan) -> bool {
    scan.fastreuse >= 0 || scan.fastreuseport >= 0
}

#[inline(always)]
fn tell(scan: &mut RangeScan, sk: u64) {
    let listens = scan.protocol == sock::IPPROTO_TCP && sock::state(sk) == Sock::STATE_LISTEN;
    if scan.of_bucket >= OF_BUCKET && !listens {
        scan.lost = scan.lost.wrapping_add(1);
        return;
    }
    let Some(mut record) = RANGE.reserve::<HolderRecord>(0) else {
        scan.lost = scan.lost.wrapping_add(1);
        return;
    };
    let bucket = Bucket {
        l3mdev: scan.l3mdev,
        fastreuse: scan.fastreuse,
        fastreuseport: scan.fastreuseport,
    };
    // SAFETY: the reserved record.
    unsafe {
        holder::fill_without_owner(
            record.as_mut_ptr(),
            sk,
            scan.protocol,
            bucket,
            owners::now(),
            0,
        );
    }
    record.submit(u64::from(BPF_RB_NO_WAKEUP));
    scan.told = scan.told.wrapping_add(1);
    scan.of_part = scan.of_part.wrapping_add(1);
    scan.of_bucket = scan.of_bucket.wrapping_add(1);
}
