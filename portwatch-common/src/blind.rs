//! A bind() that failed where the kernel's memory may not be read.

use crate::{RecordHeader, SockAddr, Task};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A bind() that failed for want of a port under `lockdown=confidentiality`: without its socket and
/// without holders, which user space has to ask for.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct BlindRecord {
    /// Kind BLIND.
    pub header: RecordHeader,
    /// Who called.
    pub task: Task,
    /// The address the call named.
    pub addr: SockAddr,
    /// `net.net_cookie` of the socket's namespace.
    pub netns_cookie: u64,
    /// `net.ns.inum` of it; 0 = another namespace than the caller's, whose number is not known.
    pub netns: u32,
    /// The errno, positive.
    pub errno: u32,
    /// The descriptor's number.
    pub fd: u32,
    /// The socket's transport: 6 (MPTCP as well), 17 or 136; 0 = not known.
    pub protocol: u16,
    /// Padding, 0.
    pub pad: u16,
}
