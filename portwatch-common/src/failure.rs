//! A call that the kernel refused.

use crate::{RecordHeader, Sock, Task};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A bind(), listen(), connect() or autobind that failed. It is followed in the same ring by
/// `emitted` [`crate::HolderRecord`]s with the same `header.id`.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct FailureRecord {
    /// Kind FAILURE or REFUSED.
    pub header: RecordHeader,
    /// Who called.
    pub task: Task,
    /// The failing socket after the call. A failed bind() has cleared its port and addresses.
    pub sock: Sock,
    /// The address the call named; for listen() zeros, the socket has it.
    pub addr: SockAddr,
    /// `net.net_cookie`.
    pub netns_cookie: u64,
    /// `net.ns.inum`.
    pub netns: u32,
    /// The errno, positive: 98 EADDRINUSE, 99 EADDRNOTAVAIL, 11 EAGAIN, ...
    pub errno: u32,
    /// Owners of the port that the walk counted, the failing socket itself excepted.
    pub total: u32,
    /// Holder records that follow.
    pub emitted: u32,
    /// Holder records that did not fit into the ring.
    pub lost: u32,
    /// List nodes visited.
    pub steps: u32,
    /// Bind buckets found for the port: more than one means several L3 master devices (VRF).
    pub buckets: u32,
    /// Owners that the kernel's rule may let block but that were not emitted (the cap).
    pub skipped: u32,
    /// `inet_bind_bucket.fastreuse`, `fastreuseport` of the last bucket; 0 for UDP.
    pub fastreuse: i8,
    /// See `fastreuse`; -1 and -1 mean that only connect() has used the port.
    pub fastreuseport: i8,
    /// One of [`Call`]'s numbers.
    pub call: u8,
    /// Bits of [`FailureRecord`]'s `FLAG_` constants.
    pub flags: u8,
    /// Lowest and highest port the kernel picks from for this socket.
    pub range_low: u16,
    /// See `range_low`.
    pub range_high: u16,
}

impl FailureRecord {
    /// The walk hit its bound before the end of the list.
    pub const FLAG_TRUNCATED: u8 = 1;
    /// The wanted port is in `ip_local_reserved_ports` of the namespace.
    pub const FLAG_RESERVED: u8 = 2;
    /// `addr` could not be read from the caller's memory.
    pub const FLAG_NO_ADDR: u8 = 4;
    /// No walk was made (no port wanted, or a protocol without a bind table).
    pub const FLAG_NO_WALK: u8 = 8;
    /// The range is the socket's own (IP_LOCAL_PORT_RANGE), not the namespace's.
    pub const FLAG_SOCK_RANGE: u8 = 16;
    /// `FLAG_RESERVED` could not be told.
    pub const FLAG_RESERVED_UNKNOWN: u8 = 32;
}

/// The head of a `sockaddr_in` or `sockaddr_in6` as the caller's memory held it after the call.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SockAddr {
    /// IPv4 address in the first four bytes, or an IPv6 address; network order.
    pub addr: [u8; 16],
    /// `sin6_scope_id`.
    pub scope: u32,
    /// `sa_family`.
    pub family: u16,
    /// Host order.
    pub port: u16,
}

/// Numbers of [`FailureRecord::call`] and [`crate::AssignRecord::call`]. Never reused.
#[derive(Clone, Copy, Debug)]
pub struct Call;

impl Call {
    /// bind().
    pub const BIND: u8 = 1;
    /// listen().
    pub const LISTEN: u8 = 2;
    /// connect().
    pub const CONNECT: u8 = 3;
    /// sendto(), sendmsg() or sendmmsg() on a socket without a port.
    pub const AUTOBIND: u8 = 4;
}
