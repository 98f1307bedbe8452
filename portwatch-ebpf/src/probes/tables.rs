//! Sockets without a descriptor that are older than the probes: TIME_WAIT, orphans, connections that
//! nobody accepted yet, sockets of the kernel. One pass over TCP's bind table, which all namespaces
//! share, and one over UDP's.
//!
//! Run by user space a part at a time until it says that it is done; the records go to the TRAFFIC
//! ring, which user space drains in between.

use super::scan::{self, MAX_STEPS, Pause, Scan};
use crate::{
    maps::{TABLE_SCAN, TRAFFIC},
    owners, sock, walk,
};
use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP, helpers::generated::bpf_loop, macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use core::ffi::c_void;
use portwatch_common::{RecordKind, SnapshotRecord, TableScan, Task};

/// Nodes after which a part ends, at the next bucket: its records fit into a 4 MiB ring.
const PART: u32 = 1 << 14;

const NO_TASK: Task = Task {
    tgid: 0,
    tid: 0,
    ppid: 0,
    uid: 0,
    start_time: 0,
    cgroup: 0,
    comm: [0; 2],
};

/// One part of a scan.
#[raw_tracepoint]
pub(crate) fn scan_tables(_ctx: RawTracePointContext) -> i32 {
    let Some(scan) = TABLE_SCAN.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: only this program writes it, and user space runs it one at a time.
    scan::begin(unsafe { &mut *scan });
    // SAFETY: a static callback without context.
    unsafe { bpf_loop(MAX_STEPS, step as *mut c_void, core::ptr::null_mut(), 0) };
    0
}

/// One step of `bpf_loop`: 0 goes on, 1 ends.
unsafe extern "C" fn step(_index: u64, _context: *mut c_void) -> i64 {
    match TABLE_SCAN.get_ptr_mut(0) {
        // SAFETY: as in `scan_tables`.
        Some(scan) => scan::advance(unsafe { &mut *scan }),
        None => 1,
    }
}

impl Scan for TableScan {
    #[inline(always)]
    fn table(&mut self) -> &mut TableScan {
        self
    }

    #[inline(always)]
    fn enter(&mut self, _: u64) -> bool {
        true
    }

    #[inline(always)]
    fn chain(&mut self) {}

    #[inline(always)]
    fn socket(&mut self, sk: u64) {
        if !sock::has_file(sk) && sock::port(sk) != 0 {
            tell(self, sk);
        }
    }

    #[inline(always)]
    fn pause(&self) -> Pause {
        if self.steps > PART {
            Pause::Part
        } else {
            Pause::No
        }
    }
}

#[inline(always)]
fn tell(scan: &mut TableScan, sk: u64) {
    let Some(mut record) = TRAFFIC.reserve::<SnapshotRecord>(0) else {
        scan.lost = scan.lost.wrapping_add(1);
        return;
    };
    let to = record.as_mut_ptr();
    let net = sock::net(sk);
    // SAFETY: the reserved record; every byte is written.
    unsafe {
        (*to).header = walk::header::<SnapshotRecord>(RecordKind::SNAPSHOT, owners::now(), 0);
        (*to).task = NO_TASK;
        sock::fill(&raw mut (*to).sock, sk, scan.protocol as u16);
        (*to).netns_cookie = sock::net_cookie(net);
        (*to).netns = sock::net_inum(net);
        (*to).fd = SnapshotRecord::NO_FD;
    }
    record.submit(u64::from(BPF_RB_NO_WAKEUP));
}
