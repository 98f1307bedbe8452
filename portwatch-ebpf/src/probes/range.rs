//! Who holds a range of ports: one pass over a bind table, for one namespace and transport, right
//! after a call that found no free port.
//!
//! Run by user space like the scan of `tables`. It sees what is there then, which is after the
//! failure; nothing of it decides that there was one.

use super::scan::{self, MAX_STEPS, Pause, Scan, is_tcp};
use crate::{
    holder::{self, Bucket},
    maps::{RANGE, RANGE_SCAN},
    owners, sock,
};
use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP, helpers::generated::bpf_loop, macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use core::ffi::c_void;
use portwatch_common::{HolderRecord, RangeScan, Sock, TableScan};

/// Records after which a part ends, at the next bucket: with those of one more bucket they fit into
/// a ring of 1 MiB.
const PART: u32 = 4096;
/// Nodes after which a part ends, whatever was found.
const PART_STEPS: u32 = 1 << 15;
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
    scan.of_part = 0;
    scan::begin(&mut scan.table);
    // SAFETY: a static callback without context.
    unsafe { bpf_loop(MAX_STEPS, step as *mut c_void, core::ptr::null_mut(), 0) };
    0
}

/// One step of `bpf_loop`: 0 goes on, 1 ends.
unsafe extern "C" fn step(_index: u64, _context: *mut c_void) -> i64 {
    match RANGE_SCAN.get_ptr_mut(0) {
        // SAFETY: as in `scan_range`.
        Some(scan) => scan::advance(unsafe { &mut *scan }),
        None => 1,
    }
}

impl Scan for RangeScan {
    #[inline(always)]
    fn table(&mut self) -> &mut TableScan {
        &mut self.table
    }

    #[inline(always)]
    fn enter(&mut self, bucket: u64) -> bool {
        if !is_asked(self, sock::bucket_port(bucket), sock::bucket_net(bucket)) {
            return false;
        }
        self.l3mdev = sock::bucket_l3mdev(bucket);
        self.fastreuse = sock::bucket_fastreuse(bucket);
        self.fastreuseport = sock::bucket_fastreuseport(bucket);
        self.of_bucket = 0;
        true
    }

    /// UDP's slots are what TCP's buckets are.
    #[inline(always)]
    fn chain(&mut self) {
        self.of_bucket = 0;
    }

    #[inline(always)]
    fn socket(&mut self, sk: u64) {
        if is_asked(self, sock::port(sk), sock::net(sk)) && counts(self, sk) {
            tell(self, sk);
        }
    }

    #[inline(always)]
    fn pause(&self) -> Pause {
        if self.table.steps > PART_STEPS || self.of_part > PART {
            Pause::Part
        } else if self.told >= MAX_TOLD {
            Pause::End
        } else {
            Pause::No
        }
    }
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
    let listens = is_tcp(&scan.table) && sock::state(sk) == Sock::STATE_LISTEN;
    if scan.of_bucket >= OF_BUCKET && !listens {
        scan.table.lost = scan.table.lost.wrapping_add(1);
        return;
    }
    let Some(mut record) = RANGE.reserve::<HolderRecord>(0) else {
        scan.table.lost = scan.table.lost.wrapping_add(1);
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
            scan.table.protocol as u16,
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
