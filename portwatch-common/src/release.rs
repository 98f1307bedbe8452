//! A socket whose last descriptor was closed.

use crate::{Owner, RecordHeader, Sock, Task};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The close of a socket's last descriptor (`cgroup/sock_release`, af_inet.c:inet_release). The
/// port itself may live on: TIME_WAIT, orphan.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ReleaseRecord {
    /// Kind RELEASE.
    pub header: RecordHeader,
    /// Who closed it.
    pub task: Task,
    /// The socket at the close, its port still set.
    pub sock: Sock,
    /// Who took it, if known.
    pub owner: Owner,
    /// `net.net_cookie`.
    pub netns_cookie: u64,
    /// `net.ns.inum`.
    pub netns: u32,
    /// Bits of [`ReleaseRecord`]'s constants.
    pub flags: u32,
}

impl ReleaseRecord {
    /// A holder of an open incident (FAILURES ring).
    pub const WATCHED: u32 = 1;
    /// The closing process was exiting.
    pub const EXITING: u32 = 2;
}
