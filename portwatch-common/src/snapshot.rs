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
    /// The descriptor's number.
    pub fd: u32,
}
