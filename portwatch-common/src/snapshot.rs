//! A socket that existed before the probes.

use crate::{RecordHeader, Sock, Task};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One descriptor of one process that is an INET socket with a port (`iter/task_file`), or a
/// socket of a bind table that has no descriptor (`task.tgid` 0).
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SnapshotRecord {
    /// Kind SNAPSHOT.
    pub header: RecordHeader,
    /// The process; its `tid` is 0.
    pub task: Task,
    /// The socket.
    pub sock: Sock,
    /// `net.net_cookie`.
    pub netns_cookie: u64,
    /// `net.ns.inum`.
    pub netns: u32,
    /// The descriptor's number; [`SnapshotRecord::NO_FD`] without one.
    pub fd: u32,
}

impl SnapshotRecord {
    /// No descriptor.
    pub const NO_FD: u32 = u32::MAX;
}

/// Value 0 of the map TABLE_SCAN: how far the scan of a bind table has come. User space sets
/// `protocol`, zeros the rest, and runs the program until `done`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct TableScan {
    /// Next node of the chain; 0 = the chain's end.
    pub bucket_node: u64,
    /// Next second-level bucket.
    pub bucket2_node: u64,
    /// Next owner.
    pub owner_node: u64,
    /// Next bucket of the table.
    pub index: u32,
    /// Buckets of the table; 0 = there is no such table here.
    pub buckets: u32,
    /// 6: TCP's bind table, 17: UDP's table.
    pub protocol: u32,
    /// Nodes visited in this run.
    pub steps: u32,
    /// Records that found no room.
    pub lost: u32,
    /// Not 0: the end of the table was reached.
    pub done: u32,
}
