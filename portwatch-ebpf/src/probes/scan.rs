//! The way through a bind table, TCP's or UDP's, for programs that user space runs a part at a time
//! (BPF_PROG_TEST_RUN of a raw tracepoint program, Linux 5.10). One node a step, so that the loop is
//! flat; all state is in a map's value.

use crate::{sock, task};
use portwatch_common::TableScan;

/// Nodes of a part at most, were one bucket endless.
pub(super) const MAX_STEPS: u32 = 1 << 20;

/// What a scan does on its way.
pub(super) trait Scan {
    /// How far it has come.
    fn table(&mut self) -> &mut TableScan;

    /// A bucket of TCP's table: whether its sockets are wanted.
    fn enter(&mut self, bucket: u64) -> bool;

    /// A chain of the table begins.
    fn chain(&mut self);

    /// A socket.
    fn socket(&mut self, sk: u64);

    /// The part, or the whole scan, is long enough.
    fn pause(&self) -> Pause;
}

/// Whether a scan stops between two chains.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pause {
    /// It goes on.
    No,
    /// Until the next part.
    Part,
    /// For good.
    End,
}

/// A part begins.
#[inline(always)]
pub(super) fn begin(table: &mut TableScan) {
    let net = task::net(task::current());
    table.steps = 0;
    table.buckets = if is_tcp(table) {
        sock::tcp_buckets(net)
    } else {
        match sock::udp_table(net) {
            0 => 0,
            table => sock::udp_slots(table),
        }
    };
}

/// One step of `bpf_loop`: 0 goes on, 1 ends.
#[inline(always)]
pub(super) fn advance(scan: &mut impl Scan) -> i64 {
    let table = scan.table();
    table.steps = table.steps.wrapping_add(1);
    let tcp = is_tcp(table);
    if table.owner_node != 0 {
        let node = table.owner_node;
        table.owner_node = sock::next(node);
        scan.socket(if tcp {
            sock::owner_of(node)
        } else {
            sock::udp_socket_of(node)
        });
        return 0;
    }
    if table.bucket2_node != 0 {
        let node = table.bucket2_node;
        table.owner_node = sock::bucket2_owners(node);
        table.bucket2_node = sock::next(node);
        return 0;
    }
    if table.bucket_node != 0 {
        let node = table.bucket_node;
        let bucket = sock::bucket_of(node);
        table.bucket_node = sock::next(node);
        if !scan.enter(bucket) {
            return 0;
        }
        let (list, owners) = sock::bucket_list(bucket);
        let table = scan.table();
        if owners {
            table.owner_node = list;
        } else {
            table.bucket2_node = list;
        }
        return 0;
    }
    // The only place to stop, since a list may change until the next part.
    let pause = scan.pause();
    if pause == Pause::Part {
        return 1;
    }
    let table = scan.table();
    if pause == Pause::End || table.index >= table.buckets {
        table.done = 1;
        return 1;
    }
    let net = task::net(task::current());
    if tcp {
        table.bucket_node = sock::tcp_chain_at(net, table.index);
    } else {
        table.owner_node = sock::udp_slot(sock::udp_table(net), table.index);
    }
    table.index = table.index.wrapping_add(1);
    scan.chain();
    0
}

#[inline(always)]
pub(super) fn is_tcp(table: &TableScan) -> bool {
    table.protocol == u32::from(sock::IPPROTO_TCP)
}
