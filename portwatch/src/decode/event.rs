//! What a record says once it has been checked: owned, std types, nothing of the wire.
//!
//! Not a verdict: an event holds what the kernel had, `correlate` decides what it means.

pub use super::id::{Comm, Ktime, NetnsId, Tgid, Tid};

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// TCP or UDP, as far as ports are concerned: MPTCP is TCP, UDP-Lite is UDP with a table of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Transport {
    /// TCP and MPTCP.
    Tcp,
    /// UDP and UDP-Lite.
    Udp,
}

/// Address family of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Family {
    /// AF_INET.
    Ipv4,
    /// AF_INET6.
    Ipv6,
}

/// The call that took or wanted a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Call {
    /// bind().
    Bind,
    /// listen().
    Listen,
    /// connect().
    Connect,
    /// A UDP send on a socket without a port.
    Autobind,
}

/// `skc_state`, for both transports. UDP uses `Established` (connected) and `Close` (not).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names of include/net/tcp_states.h")]
pub enum State {
    Established,
    SynSent,
    SynRecv,
    FinWait1,
    FinWait2,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    Closing,
    NewSynRecv,
}

/// How a socket came to its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// connect() without a bound port.
    EphemeralConnect,
    /// bind() to port 0.
    EphemeralBind,
    /// listen() or a UDP send without a bound port.
    EphemeralAutobind,
    /// bind() to a port.
    ExplicitBind,
    /// accept().
    Accepted,
    /// The kernel opened the socket.
    Kernel,
}

/// The thread-group leader of a task that made a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Process.
    pub tgid: Tgid,
    /// Thread that called.
    pub tid: Tid,
    /// Parent process.
    pub ppid: Tgid,
    /// Effective uid in the initial user namespace.
    pub uid: u32,
    /// Start of the leader.
    pub start: Ktime,
    /// cgroup v2 id; `None` where it could not be read.
    pub cgroup: Option<u64>,
    /// Name of the leader.
    pub comm: Comm,
}

/// One socket. Raw kernel fields where the bind rule compares them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// Kernel address: identity only while there is no cookie, never shown.
    pub sk: u64,
    /// `None` until some program asked for it.
    pub cookie: Option<u64>,
    /// Inode of its file.
    pub inode: Option<u64>,
    /// AF_INET or AF_INET6.
    pub family: Family,
    /// TCP or UDP.
    pub transport: Transport,
    /// `sk_protocol` (6, 17, 136, 262).
    pub protocol: u16,
    /// Local port; 0 = none.
    pub port: u16,
    /// Peer port; 0 = no peer.
    pub peer_port: u16,
    /// `skc_rcv_saddr`.
    pub rcv_saddr: Ipv4Addr,
    /// `skc_v6_rcv_saddr`; unspecified in AF_INET sockets.
    pub v6_rcv_saddr: Ipv6Addr,
    /// `skc_daddr`.
    pub daddr: Ipv4Addr,
    /// `skc_v6_daddr`.
    pub v6_daddr: Ipv6Addr,
    /// `skc_bound_dev_if`; 0 = any.
    pub device: u32,
    /// `sk_uid`; `None` for a socket that is not full (TIME_WAIT).
    pub uid: Option<u32>,
    /// `skc_state`.
    pub state: State,
    /// SO_REUSEADDR: `skc_reuse` != 0.
    pub reuse: bool,
    /// `skc_reuse` == SK_FORCE_REUSE (TCP_REPAIR).
    pub force_reuse: bool,
    /// SO_REUSEPORT.
    pub reuseport: bool,
    /// `sk_reuseport_cb` is set.
    pub reuseport_group: bool,
    /// `skc_ipv6only`.
    pub v6only: bool,
    /// IP_FREEBIND.
    pub freebind: bool,
    /// IP_TRANSPARENT.
    pub transparent: bool,
    /// IP_BIND_ADDRESS_NO_PORT.
    pub bind_no_port: bool,
    /// A `struct socket` has it: some process, or the kernel.
    pub has_socket: bool,
    /// That `struct socket` has a file.
    pub has_file: bool,
    /// The kernel opened it.
    pub kernel: bool,
    /// `SOCK_BINDPORT_LOCK`: proves an explicit bind; its absence proves nothing.
    pub port_locked: bool,
    /// `SOCK_CONNECT_BIND`, or `tw_connect_bind` in TIME_WAIT (6.18): proves that connect() took
    /// the port. Always false on kernels without it.
    pub connect_bound: bool,
}

impl Socket {
    /// Local address as a user knows it: v4-mapped addresses as IPv4.
    #[must_use]
    pub fn local_addr(&self) -> IpAddr {
        match self.family {
            Family::Ipv4 => IpAddr::V4(self.rcv_saddr),
            Family::Ipv6 => unmap(self.v6_rcv_saddr),
        }
    }

    /// Peer address as a user knows it; `None` without a peer.
    #[must_use]
    pub fn peer_addr(&self) -> Option<IpAddr> {
        (self.peer_port != 0).then(|| match self.family {
            Family::Ipv4 => IpAddr::V4(self.daddr),
            Family::Ipv6 => unmap(self.v6_daddr),
        })
    }
}

/// A v4-mapped address as IPv4, any other as it is.
#[must_use]
pub fn unmap(addr: Ipv6Addr) -> IpAddr {
    addr.to_ipv4_mapped().map_or(IpAddr::V6(addr), IpAddr::V4)
}

/// Where an [`Owner`] comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OwnerSource {
    /// Seen at the call that took the port.
    Call,
    /// Seen at the close of the last descriptor.
    Release,
    /// Found by the start-up scan.
    Snapshot,
    /// Not this socket's: the last listener of the same port and namespace.
    LastListener,
}

/// Who took a socket's port or had the socket last, as remembered in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Process.
    pub tgid: Tgid,
    /// Its start.
    pub start: Ktime,
    /// Its name at that moment.
    pub comm: Comm,
    /// Its effective uid.
    pub uid: u32,
    /// cgroup v2 id.
    pub cgroup: Option<u64>,
    /// How the port was taken; `None` = not known or not proven.
    pub origin: Option<Origin>,
    /// Where this comes from.
    pub source: OwnerSource,
    /// When the port was taken; `None` = before portwatch looked.
    pub taken_at: Option<Ktime>,
    /// When the snapshot or the release wrote it.
    pub seen_at: Option<Ktime>,
    /// When the last descriptor was closed.
    pub released_at: Option<Ktime>,
}

/// One owner of the wanted port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The socket.
    pub socket: Socket,
    /// Who took it.
    pub owner: Option<Owner>,
    /// L3 master device of its bucket; 0 = none.
    pub l3mdev: u32,
    /// `fastreuse` and `fastreuseport` of its bucket are both -1: only connect() ever used the port.
    pub connect_only_bucket: bool,
    /// Some bind() has used its bucket: no connect() may share the port.
    pub bound_bucket: bool,
    /// When a listener got it; `None` = that was not seen, or no listener did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Ktime>,
    /// Of a socket of the kernel: the function that gets what arrives there, with its module in
    /// brackets (`wg_receive [wireguard]`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel_function: Option<String>,
    /// The start-up scan met this socket without a descriptor: it is older than the hooks. Not told
    /// by the record, `correlate` knows it.
    pub older: bool,
}

/// What a call wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The address as the kernel would compare it; `None` = the call named none (connect, autobind).
    pub addr: Option<IpAddr>,
    /// `None` = no port wanted (exhaustion).
    pub port: Option<u16>,
    /// connect(): where to, as the kernel took it; `None` = another call, or it could not be read.
    pub destination: Option<SocketAddr>,
}

/// The ports the kernel picks from for a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EphemeralRange {
    /// Lowest.
    pub low: u16,
    /// Highest.
    pub high: u16,
    /// The socket's own (IP_LOCAL_PORT_RANGE) instead of its namespace's.
    pub of_socket: bool,
    /// The wanted port is in `ip_local_reserved_ports`; `None` = could not be told.
    pub reserved: Option<bool>,
}

/// How far the walk to the holders got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// A walk was made at all.
    pub made: bool,
    /// Owners counted, the failing socket excepted.
    pub total: u32,
    /// Owners the rule may let block that were counted but not sent.
    pub skipped: u32,
    /// Holder records lost on the way (full ring, or missing in the stream).
    pub lost: u32,
    /// The bound was hit before the end of the list.
    pub truncated: bool,
    /// Bind buckets found: more than one means several VRFs.
    pub buckets: u32,
}

impl Walk {
    /// Every owner that may block is in the event.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.made && !self.truncated && self.lost == 0 && self.skipped == 0
    }
}

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When, at the call's exit.
    pub time: Ktime,
    /// The call.
    pub call: Call,
    /// Positive errno.
    pub errno: u32,
    /// Who called.
    pub task: Task,
    /// The failing socket after the call; a failed bind() has cleared port and addresses.
    pub socket: Socket,
    /// What it wanted.
    pub wanted: Wanted,
    /// Its namespace.
    pub netns: NetnsId,
    /// The namespace's cookie, unique while the host runs.
    pub netns_cookie: u64,
    /// Its range.
    pub range: EphemeralRange,
    /// The walk's extent.
    pub walk: Walk,
    /// The owners, as found.
    pub holders: Vec<Holder>,
}

/// A socket that got a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assign {
    /// When, at the call's exit.
    pub time: Ktime,
    /// Who called.
    pub task: Task,
    /// The socket after the call.
    pub socket: Socket,
    /// Its namespace.
    pub netns: NetnsId,
    /// How it got the port.
    pub origin: Option<Origin>,
    /// The call.
    pub call: Call,
    /// Sent because its process is the requester of an open incident, not as traffic.
    pub watched: bool,
}

/// What is left of a port that the kernel takes from a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LetGo {
    /// Nothing.
    Free,
    /// The socket goes on as TIME_WAIT.
    TimeWait,
    /// Other sockets have it.
    Shared,
    /// Not known.
    Unknown,
}

/// The close of a socket's last descriptor, or the end of what that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// When.
    pub time: Ktime,
    /// Who closed it.
    pub task: Task,
    /// The socket at the close.
    pub socket: Socket,
    /// Its namespace.
    pub netns: NetnsId,
    /// Who took it.
    pub owner: Option<Owner>,
    /// The closing process was exiting.
    pub exiting: bool,
    /// No close: the kernel takes the port from the socket, which this is left of.
    pub let_go: Option<LetGo>,
    /// Sent because it is a holder of an open incident, not as traffic.
    pub watched: bool,
}

/// A watched process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// When.
    pub time: Ktime,
    /// The process.
    pub task: Task,
}

/// One checked record, a failure with all its holders joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call failed for want of a port.
    Failure(Box<Failure>),
    /// A call was refused for another reason; no holders.
    Refused(Box<Failure>),
    /// A port was taken.
    Assign(Box<Assign>),
    /// A descriptor's last close.
    Release(Box<Release>),
    /// A watched process ended.
    Exit(Exit),
}
