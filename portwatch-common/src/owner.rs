//! Who took a port: what the kernel side remembers per socket cookie.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Who took a socket's port, or had the socket last. Value of the maps OWNERS and PAST (by socket
/// cookie) and LISTENERS (by [`PortKey`]).
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Owner {
    /// The leader's name, NUL-padded.
    pub comm: [u64; 2],
    /// The leader's start, CLOCK_BOOTTIME nanoseconds.
    pub start_time: u64,
    /// When the port was taken, CLOCK_BOOTTIME nanoseconds; 0 = before portwatch looked.
    pub taken_at: u64,
    /// When this entry was written by the snapshot or the release; 0 in an entry of a call.
    pub seen_at: u64,
    /// When the last descriptor was closed; 0 = it is open as far as was seen.
    pub released_at: u64,
    /// cgroup v2 id of the process; 0 where it could not be read.
    pub cgroup: u64,
    /// Thread-group id in the initial pid namespace.
    pub tgid: u32,
    /// Effective uid in the initial user namespace.
    pub uid: u32,
    /// One of [`Origin`]'s numbers: how the port was taken.
    pub origin: u8,
    /// One of [`OwnerSource`]'s numbers: how this entry came about.
    pub source: u8,
    /// The local port.
    pub port: u16,
    /// [`Owner::UNPROVEN`] and [`Owner::CONTESTED`].
    pub unproven: u32,
}

impl Owner {
    /// `origin` rests on a call seen before the snapshot was complete, when an older bind(0) of the
    /// same socket cannot be ruled out.
    pub const UNPROVEN: u32 = 1;
    /// Of a listener: other processes listened there before it, so what is left of a connection may
    /// be theirs.
    pub const CONTESTED: u32 = 2;
}

/// Key of the last listener of an address and port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct PortKey {
    /// Local address, network order, IPv4 as `::ffff:a.b.c.d`.
    pub addr: [u8; 16],
    /// `net.ns.inum`.
    pub netns: u32,
    /// 6 or 17.
    pub protocol: u16,
    /// Local port.
    pub port: u16,
}

/// How a socket came to its port. Numbers are never reused.
#[derive(Clone, Copy, Debug)]
pub struct Origin;

impl Origin {
    /// Not known.
    pub const UNKNOWN: u8 = 0;
    /// connect() without a bound port.
    pub const EPHEMERAL_CONNECT: u8 = 1;
    /// bind() to port 0.
    pub const EPHEMERAL_BIND: u8 = 2;
    /// listen() or a UDP send without a bound port.
    pub const EPHEMERAL_AUTOBIND: u8 = 3;
    /// bind() to a port.
    pub const EXPLICIT_BIND: u8 = 4;
    /// accept(): the port is the listener's.
    pub const ACCEPTED: u8 = 5;
    /// The kernel opened the socket.
    pub const KERNEL: u8 = 6;
}

/// Where an [`Owner`] comes from, also [`crate::HolderRecord::owner_source`]. Never reused.
#[derive(Clone, Copy, Debug)]
pub struct OwnerSource;

impl OwnerSource {
    /// There is no owner; every other field of it is 0.
    pub const NONE: u8 = 0;
    /// Seen at the call that took the port.
    pub const CALL: u8 = 1;
    /// Seen at the close of the last descriptor.
    pub const RELEASE: u8 = 2;
    /// Found by the start-up scan of all descriptors.
    pub const SNAPSHOT: u8 = 3;
    /// Not this socket's: the last listener of the same port in the same network namespace.
    pub const LAST_LISTENER: u8 = 4;
}
