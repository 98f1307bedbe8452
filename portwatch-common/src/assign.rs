//! A socket that got a port.

use crate::{RecordHeader, Sock, Task};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A call after which the socket has a port it did not have before. On the TRAFFIC ring when
/// traffic is asked for; on the FAILURES ring when its process is watched.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct AssignRecord {
    /// Kind ASSIGN.
    pub header: RecordHeader,
    /// Who called.
    pub task: Task,
    /// The socket after the call.
    pub sock: Sock,
    /// `net.net_cookie`.
    pub netns_cookie: u64,
    /// `net.ns.inum`.
    pub netns: u32,
    /// One of [`crate::Origin`]'s numbers.
    pub origin: u8,
    /// One of [`crate::Call`]'s numbers.
    pub call: u8,
    /// 1: the requester of an open incident (FAILURES ring).
    pub watched: u8,
    /// Padding, 0.
    pub pad: u8,
}
