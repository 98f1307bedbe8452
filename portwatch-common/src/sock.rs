//! One socket, as the kernel holds it.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Facts of one socket, read field by field from `struct sock_common` and, for a full socket only,
/// `struct sock`. Addresses are the raw kernel fields, so that the bind rule can be applied to
/// exactly what the kernel compares.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Sock {
    /// Kernel address: an identity only while the cookie is 0, never shown.
    pub sk: u64,
    /// `skc_cookie`; 0 until a program asked for it.
    pub cookie: u64,
    /// Inode of the socket's file; 0 if there is none (TIME_WAIT, orphan, not yet accepted).
    pub inode: u64,
    /// `skc_v6_rcv_saddr`, network order.
    pub v6_rcv_saddr: [u8; 16],
    /// `skc_v6_daddr`, network order.
    pub v6_daddr: [u8; 16],
    /// `skc_rcv_saddr`, network order; 127.0.0.6 in native IPv6 sockets with an address.
    pub rcv_saddr: [u8; 4],
    /// `skc_daddr`, network order.
    pub daddr: [u8; 4],
    /// `skc_bound_dev_if`; 0 = any device.
    pub bound_dev: u32,
    /// `sk_uid` in the initial user namespace; 0 for a socket that is not full.
    pub uid: u32,
    /// `skc_family`: 2 or 10.
    pub family: u16,
    /// `sk_protocol`: 6, 17, 136, 262; for a socket that is not full the protocol of its table.
    pub protocol: u16,
    /// `skc_num`: the local port.
    pub port: u16,
    /// `skc_dport` in host order; 0 = no peer.
    pub peer_port: u16,
    /// `skc_state`; `tw_substate` of a small socket in FIN_WAIT2, which has no `FLAG_FULL`.
    pub state: u8,
    /// `skc_reuse`: 0, 1 or 2 (SK_FORCE_REUSE).
    pub reuse: u8,
    /// `skc_reuseport`: 0 or 1.
    pub reuseport: u8,
    /// `sk_userlocks` (BINDADDR 4, BINDPORT 8, CONNECT_BIND 16); 0 for a socket that is not full.
    pub userlocks: u8,
    /// Bits of [`Sock`]'s `FLAG_` constants.
    pub flags: u32,
}

impl Sock {
    /// `skc_ipv6only`.
    pub const FLAG_V6ONLY: u32 = 1;
    /// A full `struct sock`; without it uid, inode and userlocks mean nothing.
    pub const FLAG_FULL: u32 = 1 << 1;
    /// `sk_socket` is set: some `struct socket` owns it.
    pub const FLAG_HAS_SOCKET: u32 = 1 << 2;
    /// That `struct socket` has a file; without it the user is in the kernel.
    pub const FLAG_HAS_FILE: u32 = 1 << 3;
    /// `skc_net_refcnt` is 0: the kernel opened it.
    pub const FLAG_KERNEL: u32 = 1 << 4;
    /// `sk_reuseport_cb` is set: the socket is in a live SO_REUSEPORT group.
    pub const FLAG_REUSEPORT_GROUP: u32 = 1 << 5;
    /// IP_BIND_ADDRESS_NO_PORT.
    pub const FLAG_BIND_NO_PORT: u32 = 1 << 6;
    /// IP_FREEBIND.
    pub const FLAG_FREEBIND: u32 = 1 << 7;
    /// IP_TRANSPARENT.
    pub const FLAG_TRANSPARENT: u32 = 1 << 8;
    /// connect() took the port: `SOCK_CONNECT_BIND`, in TIME_WAIT `tw_connect_bind`. Only set by
    /// kernels that have them (6.18).
    pub const FLAG_CONNECT_BIND: u32 = 1 << 9;

    /// `SOCK_BINDADDR_LOCK` in `userlocks` (include/net/sock.h).
    pub const BINDADDR_LOCK: u8 = 4;
    /// `SOCK_BINDPORT_LOCK` in `userlocks`.
    pub const BINDPORT_LOCK: u8 = 8;
    /// `SOCK_CONNECT_BIND` in `userlocks`; means something only where the kernel has it (6.18).
    pub const CONNECT_BIND: u8 = 16;

    /// `TCP_CLOSE`, `TCP_LISTEN`, ... as in include/net/tcp_states.h.
    pub const STATE_ESTABLISHED: u8 = 1;
    /// `TCP_SYN_SENT`.
    pub const STATE_SYN_SENT: u8 = 2;
    /// `TCP_SYN_RECV`.
    pub const STATE_SYN_RECV: u8 = 3;
    /// `TCP_FIN_WAIT1`.
    pub const STATE_FIN_WAIT1: u8 = 4;
    /// `TCP_FIN_WAIT2`.
    pub const STATE_FIN_WAIT2: u8 = 5;
    /// `TCP_TIME_WAIT`: the socket is a `struct inet_timewait_sock`.
    pub const STATE_TIME_WAIT: u8 = 6;
    /// `TCP_CLOSE`: not connected; in a bind bucket: bound only.
    pub const STATE_CLOSE: u8 = 7;
    /// `TCP_CLOSE_WAIT`.
    pub const STATE_CLOSE_WAIT: u8 = 8;
    /// `TCP_LAST_ACK`.
    pub const STATE_LAST_ACK: u8 = 9;
    /// `TCP_LISTEN`.
    pub const STATE_LISTEN: u8 = 10;
    /// `TCP_CLOSING`.
    pub const STATE_CLOSING: u8 = 11;
    /// `TCP_NEW_SYN_RECV`: the socket is a `struct request_sock`.
    pub const STATE_NEW_SYN_RECV: u8 = 12;
}
