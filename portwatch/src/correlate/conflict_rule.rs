//! The kernel's bind rule: does this holder stop that call? A pure function over raw fields.
//!
//! Read in Linux 6.18 (net/ipv4/inet_connection_sock.c, net/ipv4/udp.c, net/ipv6/af_inet6.c) and
//! checked against what 6.1, 6.12 and 6.18 do (`conflict_rule/*.md`). Not a search for a free port:
//! bind(0) and connect() walk a range by other rules, there is no single holder to judge.
//!
//! Where kernels differ, or where a field that decides is not known, the answer is
//! [`Outcome::Uncertain`]: a culprit is never named by a guess.

use crate::decode::event::{Call, Failure, Family, Holder, Socket, State, Transport};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// `LOOPBACK4_IPV6` (include/net/ipv6.h): what `skc_rcv_saddr` holds in a native IPv6 socket that
/// has an address.
const LOOPBACK4_IPV6: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);

/// The fields of the calling socket as the kernel compared them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binder {
    /// TCP or UDP.
    pub transport: Transport,
    /// Family of the socket, not of the address.
    pub family: Family,
    /// `skc_rcv_saddr` during the check.
    pub rcv_saddr: Ipv4Addr,
    /// `skc_v6_rcv_saddr` during the check.
    pub v6_rcv_saddr: Ipv6Addr,
    /// `skc_ipv6only` during the check.
    pub v6only: bool,
    /// `skc_bound_dev_if`.
    pub device: u32,
    /// `skc_reuse` != 0.
    pub reuse: bool,
    /// `skc_reuse` == SK_FORCE_REUSE.
    pub force_reuse: bool,
    /// `skc_reuseport`.
    pub reuseport: bool,
    /// `sk_reuseport_cb` is set.
    pub reuseport_group: bool,
    /// `sk_uid`.
    pub uid: Option<u32>,
}

/// What the rule says of one holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The holder stops the call, certainly.
    Blocks,
    /// The holder does not stop it, certainly.
    Free(Free),
    /// It cannot be told.
    Uncertain(Uncertain),
}

/// Why a holder of the same port does not block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Free {
    /// It is in the bucket of another VRF.
    OtherBucket,
    /// Both are bound to devices, and to different ones.
    OtherDevice,
    /// The addresses do not overlap.
    OtherAddress,
    /// Both have SO_REUSEADDR and (TCP) the holder does not listen.
    SharedReuseaddr,
    /// Both have SO_REUSEPORT and one uid.
    SharedReuseport,
    /// The caller is in TCP_REPAIR: nothing blocks it.
    ForceReuse,
    /// connect(): not a connection between the same two ends.
    OtherConnection,
}

/// Why it cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uncertain {
    /// The call is not one that a holder of its port blocks by this rule (connect, autobind).
    OtherCall,
    /// The address that the call named is not known.
    NoAddress,
    /// The caller is bound to a device and the port has buckets of several VRFs.
    SeveralBuckets,
    /// The caller is in a SO_REUSEPORT group, which counts only while none of its sockets is
    /// closed (`num_closed_socks`, not read).
    ReuseportGroup,
    /// SO_REUSEPORT compares uids, and one is not known or kernels take another for a socket
    /// without a process (`sock_i_uid` until 6.16 says root, `sk_uid` says its creator).
    Uid,
    /// TCP on IPv4 127.0.0.6 against native IPv6: the same number in `skc_rcv_saddr`, the same
    /// address only to kernels without the second bind table (6.0 and older). UDP has it blocked.
    Loopback4,
    /// connect(): where to could not be read.
    Destination,
    /// connect(): the own address that the kernel had picked is not known any more, and connections
    /// from several lead to the destination.
    Source,
    /// The kernel's memory may not be read: the options of both sides are not known.
    Blind,
}

impl Binder {
    /// The caller's fields at the check.
    ///
    /// A failed bind() has cleared the socket's own (af_inet.c:__inet_bind,
    /// af_inet6.c:__inet6_bind), so they are built from the wanted address; listen() keeps them.
    ///
    /// # Errors
    /// The reason why nothing can be said about any holder.
    pub fn of(failure: &Failure) -> Result<Self, Uncertain> {
        let socket = &failure.socket;
        let (rcv_saddr, v6_rcv_saddr, v6only) = match failure.call {
            Call::Listen => (socket.rcv_saddr, socket.v6_rcv_saddr, socket.v6only),
            Call::Bind => {
                let addr = failure.wanted.addr.ok_or(Uncertain::NoAddress)?;
                addresses_at_bind(socket, addr)?
            }
            Call::Connect | Call::Autobind => return Err(Uncertain::OtherCall),
        };
        Ok(Self {
            transport: socket.transport,
            family: socket.family,
            rcv_saddr,
            v6_rcv_saddr,
            v6only,
            device: socket.device,
            reuse: socket.reuse,
            force_reuse: socket.force_reuse,
            reuseport: socket.reuseport,
            reuseport_group: socket.reuseport_group,
            uid: socket.uid,
        })
    }

    /// The caller's fields where the kernel searches a range for it: bind() to port 0, listen() and
    /// UDP calls without a port. Not connect() of TCP, which searches by another rule.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn of_search(failure: &Failure) -> Result<Self, Uncertain> {
        match failure.call {
            Call::Bind | Call::Listen => Self::of(failure),
            Call::Connect | Call::Autobind => {
                let as_listen = Failure {
                    call: Call::Listen,
                    holders: Vec::new(),
                    ..failure.clone()
                };
                Self::of(&as_listen)
            }
        }
    }

    /// The socket takes IPv4 and IPv6: bound to `::` without IPV6_V6ONLY.
    #[must_use]
    pub fn dual_stack(&self) -> bool {
        self.family == Family::Ipv6 && self.v6_rcv_saddr.is_unspecified() && !self.v6only
    }

    /// The socket wants IPv4 only: AF_INET, or a v4-mapped address.
    #[must_use]
    pub fn wants_ipv4(&self) -> bool {
        match self.family {
            Family::Ipv4 => true,
            Family::Ipv6 => is_mapped(self.v6_rcv_saddr),
        }
    }
}

/// `skc_rcv_saddr`, `skc_v6_rcv_saddr` and `skc_ipv6only` as bind() sets them before it asks for
/// the port (6.18 af_inet.c:__inet_bind, af_inet6.c:__inet6_bind).
fn addresses_at_bind(
    socket: &Socket,
    addr: IpAddr,
) -> Result<(Ipv4Addr, Ipv6Addr, bool), Uncertain> {
    match (socket.family, addr) {
        (Family::Ipv4, IpAddr::V4(addr)) => Ok((addr, Ipv6Addr::UNSPECIFIED, socket.v6only)),
        (Family::Ipv4, IpAddr::V6(_)) => Err(Uncertain::NoAddress),
        (Family::Ipv6, IpAddr::V4(addr)) => Ok((addr, addr.to_ipv6_mapped(), socket.v6only)),
        (Family::Ipv6, IpAddr::V6(addr)) => Ok(match addr.to_ipv4_mapped() {
            Some(mapped) => (mapped, addr, socket.v6only),
            None if addr.is_unspecified() => (Ipv4Addr::UNSPECIFIED, addr, socket.v6only),
            None => (LOOPBACK4_IPV6, addr, true),
        }),
    }
}

/// Whether `holder` stops `binder`; `buckets` is how many bind buckets the port has.
///
/// 6.18 inet_connection_sock.c:inet_csk_get_port, inet_csk_bind_conflict, inet_bind_conflict;
/// udp.c:udp_lib_lport_inuse. `fastreuse` and `fastreuseport` cache what this computes: a stale one
/// may let in a call that this refuses (seen on 6.18), never the other way, so it is right of calls
/// that failed.
#[must_use]
pub fn judge(binder: &Binder, holder: &Holder, buckets: u32) -> Outcome {
    let socket = &holder.socket;
    let bucket = match binder.transport {
        Transport::Tcp => same_bucket(binder, holder, buckets),
        Transport::Udp => Some(true),
    };
    if bucket == Some(false) {
        return Outcome::Free(Free::OtherBucket);
    }
    if binder.device != 0 && socket.device != 0 && binder.device != socket.device {
        return Outcome::Free(Free::OtherDevice);
    }
    if !addresses_overlap(binder, socket) {
        return Outcome::Free(Free::OtherAddress);
    }
    if binder.force_reuse && binder.transport == Transport::Tcp {
        return Outcome::Free(Free::ForceReuse);
    }
    let listens = binder.transport == Transport::Tcp && socket.state == State::Listen;
    if binder.reuse && socket.reuse && !listens {
        return Outcome::Free(Free::SharedReuseaddr);
    }
    match shares_reuseport(binder, socket) {
        Ok(true) => Outcome::Free(Free::SharedReuseport),
        Err(doubt) => Outcome::Uncertain(doubt),
        Ok(false) if bucket.is_none() => Outcome::Uncertain(Uncertain::SeveralBuckets),
        Ok(false) if only_by_loopback4(binder, socket) => Outcome::Uncertain(Uncertain::Loopback4),
        Ok(false) => Outcome::Blocks,
    }
}

/// Whether `holder` keeps its port from `binder`'s search for any.
///
/// 6.18 inet_connection_sock.c:inet_csk_find_open_port asks inet_csk_bind_conflict without `relax`
/// and without SO_REUSEPORT: no option lets two sockets share a port that neither named
/// (`net.ipv4.ip_autobind_reuse` apart). UDP's search asks the ordinary rule (udp.c:
/// udp_lib_get_port).
#[must_use]
pub fn judge_search(binder: &Binder, holder: &Holder) -> Outcome {
    if binder.transport == Transport::Udp {
        return judge(binder, holder, 1);
    }
    let alone = Binder {
        reuse: false,
        reuseport: false,
        force_reuse: false,
        ..binder.clone()
    };
    judge(&alone, holder, 1)
}

/// Whether the holder's bucket is the one the caller looked into: that of the L3 master of its
/// device (6.18 inet_hashtables.c:inet_bind_bucket_match, inet_sock.h:inet_sk_bound_l3mdev).
/// `None` = the caller's L3 master is not known and there are several buckets.
fn same_bucket(binder: &Binder, holder: &Holder, buckets: u32) -> Option<bool> {
    if binder.device == 0 {
        return Some(holder.l3mdev == 0);
    }
    (buckets <= 1).then_some(
        holder.l3mdev == 0
            || holder.l3mdev == binder.device
            || holder.socket.device == binder.device,
    )
}

/// SO_REUSEPORT on both sides lets them share the port.
fn shares_reuseport(binder: &Binder, holder: &Socket) -> Result<bool, Uncertain> {
    if !binder.reuseport || !holder.reuseport {
        return Ok(false);
    }
    if binder.reuseport_group {
        return match binder.transport {
            Transport::Tcp => Err(Uncertain::ReuseportGroup),
            Transport::Udp => Ok(false),
        };
    }
    // Not a full socket: TIME_WAIT, or FIN_WAIT2 kept as one (tcp_minisocks.c:tcp_time_wait),
    // which is in TCP_TIME_WAIT to the rule.
    let Some(theirs) = holder.uid else {
        return Ok(true);
    };
    let ours = binder.uid.ok_or(Uncertain::Uid)?;
    let by_creator = ours == theirs;
    let by_inode = if holder.has_socket {
        by_creator
    } else {
        ours == 0
    };
    if by_creator == by_inode {
        Ok(by_creator)
    } else {
        Err(Uncertain::Uid)
    }
}

/// inet_connection_sock.c:inet_rcv_saddr_equal with wildcards matched.
fn addresses_overlap(binder: &Binder, holder: &Socket) -> bool {
    match (binder.family, holder.family) {
        (Family::Ipv4, _) => ipv4_overlap(binder.rcv_saddr, holder),
        (Family::Ipv6, Family::Ipv4) => {
            if is_mapped(binder.v6_rcv_saddr) {
                ipv4_overlap(binder.rcv_saddr, holder)
            } else {
                binder.dual_stack()
            }
        }
        (Family::Ipv6, Family::Ipv6) => ipv6_overlap(binder, holder),
    }
}

/// inet_connection_sock.c:ipv4_rcv_saddr_equal.
fn ipv4_overlap(ours: Ipv4Addr, holder: &Socket) -> bool {
    !holder.v6only
        && (ours == holder.rcv_saddr || ours.is_unspecified() || holder.rcv_saddr.is_unspecified())
}

/// inet_connection_sock.c:ipv6_rcv_saddr_equal for two AF_INET6 sockets.
fn ipv6_overlap(binder: &Binder, holder: &Socket) -> bool {
    let (ours, theirs) = (binder.v6_rcv_saddr, holder.v6_rcv_saddr);
    if is_mapped(ours) && is_mapped(theirs) {
        return ipv4_overlap(binder.rcv_saddr, holder);
    }
    let theirs_takes = theirs.is_unspecified() && !(holder.v6only && is_mapped(ours));
    let ours_takes = ours.is_unspecified() && !(binder.v6only && is_mapped(theirs));
    theirs_takes || ours_takes || ours == theirs
}

/// The only reason for the overlap is the number that native IPv6 sockets carry as IPv4 address.
fn only_by_loopback4(binder: &Binder, holder: &Socket) -> bool {
    binder.transport == Transport::Tcp
        && binder.family == Family::Ipv4
        && binder.rcv_saddr == LOOPBACK4_IPV6
        && holder.family == Family::Ipv6
        && holder.rcv_saddr == LOOPBACK4_IPV6
        && !is_mapped(holder.v6_rcv_saddr)
}

fn is_mapped(addr: Ipv6Addr) -> bool {
    addr.to_ipv4_mapped().is_some()
}

#[cfg(test)]
mod tests;
