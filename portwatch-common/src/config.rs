//! What user space tells the probes.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Value 0 of the map CONFIG; user space may change it while the probes run.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Config {
    /// Not 0: write assignments and releases to the TRAFFIC ring.
    pub traffic: u32,
    /// Not 0: write calls refused for other reasons.
    pub refused: u32,
    /// Not 0: the start-up scan is complete, so a socket without an entry is younger than the
    /// probes.
    pub snapshot_done: u32,
    /// Tgid of portwatch itself, written by its own iterator: a close that runs in it is that of a
    /// process whose descriptor the iterator was looking at.
    pub own_tgid: u32,
    /// Not 0: only calls in the network namespaces of the map NETNS are told.
    pub only_netns: u32,
    /// What functions of the kernel serve, so that the system calls' exits leave it to them: bits
    /// of the `SERVED_` constants.
    pub served: u32,
}

impl Config {
    /// TCP's bind() and listen() that fail for want of a port.
    pub const SERVED_TCP_PORT: u32 = 1;
    /// UDP's bind() that fails for want of a port, and its autobind.
    pub const SERVED_UDP_PORT: u32 = 2;
    /// TCP's connect() that fails for want of a port.
    pub const SERVED_CONNECT: u32 = 4;
    /// Every other end of a bind().
    pub const SERVED_BIND: u32 = 8;
    /// Ports that the kernel takes from sockets without a descriptor.
    pub const SERVED_RELEASE: u32 = 16;
}
