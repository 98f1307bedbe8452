//! Sockets without a descriptor that are older than the probes: TIME_WAIT, orphans, connections that
//! nobody accepted yet, sockets of the kernel. One pass over TCP's bind table, which all namespaces
//! share, and one over UDP's.
//!
//! Run by user space (BPF_PROG_TEST_RUN of a raw tracepoint program, Linux 5.10), a part at a time,
//! until it says that it is done; the records go to the TRAFFIC ring, which user space drains in
//! between.

use crate::{
    maps::{TABLE_SCAN, TRAFFIC},
    owners, sock, task, walk,
};
use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP, helpers::generated::bpf_loop, macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use core::ffi::c_void;
use portwatch_common::{RecordKind, SnapshotRecord, TableScan, Task};

/// Nodes after which a part ends, at the next bucket: its records fit into a 4 MiB ring.
const PART: u32 = 1 << 14;
/// Nodes of a part at most, were one bucket endless.
const MAX_STEPS: u32 = 1 << 20;

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
    let scan = unsafe { &mut *scan };
    let net = task::net(task::current());
    scan.steps = 0;
    scan.buckets = if scan.protocol == u32::from(sock::IPPROTO_TCP) {
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
    match TABLE_SCAN.get_ptr_mut(0) {
        // SAFETY: as in `scan_tables`.
        Some(scan) => advance(unsafe { &mut *scan }),
        None => 1,
    }
}

#[inline(always)]
fn advance(scan: &mut TableScan) -> i64 {
    scan.steps = scan.steps.wrapping_add(1);
    let tcp = scan.protocol == u32::from(sock::IPPROTO_TCP);
    if scan.owner_node != 0 {
        let node = scan.owner_node;
        scan.owner_node = sock::next(node);
        let sk = if tcp {
            sock::owner_of(node)
        } else {
            sock::udp_socket_of(node)
        };
        if !sock::has_file(sk) && sock::port(sk) != 0 {
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
        scan.bucket_node = sock::next(node);
        let (list, owners) = sock::bucket_list(sock::bucket_of(node));
        if owners {
            scan.owner_node = list;
        } else {
            scan.bucket2_node = list;
        }
        return 0;
    }
    // Between two buckets: the only place to stop, since a list may change until the next part.
    if scan.steps > PART {
        return 1;
    }
    if scan.index >= scan.buckets {
        scan.done = 1;
        return 1;
    }
    let net = task::net(task::current());
    if tcp {
        scan.bucket_node = sock::tcp_chain_at(net, scan.index);
    } else {
        scan.owner_node = sock::udp_slot(sock::udp_table(net), scan.index);
    }
    scan.index = scan.index.wrapping_add(1);
    0
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
