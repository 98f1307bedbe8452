//! A socket whose last descriptor was closed.

use crate::{Owner, RecordHeader, Sock, Task};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The close of a socket's last descriptor (`cgroup/sock_release`, af_inet.c:inet_release). The
/// port itself may live on: TIME_WAIT, orphan. Where functions of the kernel tell it, a second record
/// ([`ReleaseRecord::LET_GO`]) says when it ends.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ReleaseRecord {
    /// Kind RELEASE.
    pub header: RecordHeader,
    /// Who closed it; with `LET_GO` who had it.
    pub task: Task,
    /// The socket at that moment, its port still set.
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
    /// No close: the kernel takes the port from the socket (`inet_put_port`,
    /// `inet_twsk_bind_unhash`, `udp_lib_unhash`).
    pub const LET_GO: u32 = 4;
    /// With `LET_GO`: no other socket has the port.
    pub const FREE: u32 = 8;
    /// With `LET_GO`: the socket goes on as TIME_WAIT.
    pub const LEFT_TIME_WAIT: u32 = 16;
    /// With `LET_GO`: other sockets have the port.
    pub const SHARED: u32 = 32;
}
