//! Builders for tests: sockets, owners, failures and facts as a kernel and a machine would tell
//! them, each with one line for what differs from the usual.

use super::verdict::{Ground, Verdict, verdict};
use crate::decode::event::{
    Assign, Call, Comm, EphemeralRange, Event, Exit, Failure, Family, Holder, Ktime, NetnsId,
    Origin, Owner, OwnerSource, Release, Socket, State, Task, Tgid, Tid, Transport, Walk, Wanted,
};
use crate::enrich::facts::{NetnsFacts, ProcessFacts, SocketUser};
use crate::enrich::{Enriched, EventFacts};
use crate::report::ClockAnchor;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub(crate) const PORT: u16 = 60001;
pub(crate) const NETNS: NetnsId = NetnsId(4_026_531_840);
pub(crate) const S: u64 = 1_000_000_000;
/// When the hooks were attached: 10:12:03 UTC.
pub(crate) const START: Ktime = Ktime(1_000 * S);
/// When failures happen unless said otherwise.
pub(crate) const NOW: Ktime = Ktime(2_000 * S);
pub(crate) const ANCHOR: ClockAnchor = ClockAnchor {
    boottime_ns: 1_000 * S,
    realtime_ns: 1_795_342_323_000_000_000,
};

pub(crate) fn ground() -> Ground {
    Ground {
        start: START,
        anchor: ANCHOR,
        seeded: true,
        owners_lost: false,
        neighbours: false,
        own_netns: Some(NETNS),
        closes_seen: true,
    }
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A socket bound to `local` on [`PORT`], in TCP_CLOSE, as the kernel fills its fields.
pub(crate) fn socket(transport: Transport, local: &str) -> Socket {
    let mut socket = Socket {
        sk: 1,
        cookie: Some(487),
        inode: Some(71234),
        family: Family::Ipv4,
        transport,
        protocol: match transport {
            Transport::Tcp => 6,
            Transport::Udp => 17,
        },
        port: PORT,
        peer_port: 0,
        rcv_saddr: Ipv4Addr::UNSPECIFIED,
        v6_rcv_saddr: Ipv6Addr::UNSPECIFIED,
        daddr: Ipv4Addr::UNSPECIFIED,
        v6_daddr: Ipv6Addr::UNSPECIFIED,
        device: 0,
        uid: Some(0),
        state: State::Close,
        reuse: false,
        force_reuse: false,
        reuseport: false,
        reuseport_group: false,
        v6only: false,
        freebind: false,
        transparent: false,
        bind_no_port: false,
        has_socket: true,
        has_file: true,
        kernel: false,
        port_locked: false,
        connect_bound: false,
    };
    match ip(local) {
        IpAddr::V4(addr) => socket.rcv_saddr = addr,
        IpAddr::V6(addr) => {
            socket.family = Family::Ipv6;
            socket.v6_rcv_saddr = addr;
            // af_inet6.c:__inet6_bind
            socket.rcv_saddr = match addr.to_ipv4_mapped() {
                Some(mapped) => mapped,
                None if addr.is_unspecified() => Ipv4Addr::UNSPECIFIED,
                None => Ipv4Addr::new(127, 0, 0, 6),
            };
            socket.v6only = !addr.is_unspecified() && addr.to_ipv4_mapped().is_none();
        }
    }
    socket
}

pub(crate) fn tcp(local: &str, state: State) -> Socket {
    let mut socket = socket(Transport::Tcp, local);
    socket.state = state;
    match state {
        State::Listen => socket.port_locked = true,
        State::TimeWait => {
            socket.uid = None;
            socket.inode = None;
            socket.has_socket = false;
            socket.has_file = false;
            connect(&mut socket, "10.10.10.2", 6836);
        }
        State::Close => {}
        State::Established
        | State::SynSent
        | State::SynRecv
        | State::FinWait1
        | State::FinWait2
        | State::CloseWait
        | State::LastAck
        | State::Closing
        | State::NewSynRecv => connect(&mut socket, "10.10.10.2", 6836),
    }
    socket
}

/// Gives a socket its other end. A connection is not v6only by itself.
pub(crate) fn connect(socket: &mut Socket, peer: &str, port: u16) {
    socket.peer_port = port;
    socket.v6only = false;
    match ip(peer) {
        IpAddr::V4(addr) => {
            socket.daddr = addr;
            socket.v6_daddr = addr.to_ipv6_mapped();
        }
        IpAddr::V6(addr) => socket.v6_daddr = addr,
    }
}

/// A closed socket whose connection is not over: no `struct socket`, no inode.
pub(crate) fn orphan(mut socket: Socket) -> Socket {
    socket.has_socket = false;
    socket.has_file = false;
    socket.inode = None;
    socket
}

pub(crate) fn holder(socket: Socket) -> Holder {
    Holder {
        socket,
        owner: None,
        l3mdev: 0,
        connect_only_bucket: false,
        bound_bucket: false,
        accepted_at: None,
        kernel_function: None,
        older: false,
    }
}

pub(crate) fn held_by(socket: Socket, owner: Owner) -> Holder {
    Holder {
        owner: Some(owner),
        ..holder(socket)
    }
}

/// ceph-osd, seen at the call 300 s before [`NOW`].
pub(crate) fn owner(source: OwnerSource, origin: Option<Origin>) -> Owner {
    let taken = Some(Ktime(1_700 * S));
    Owner {
        tgid: Tgid(3_013_825),
        start: Ktime(50 * S),
        comm: Comm::from(&b"ceph-osd"[..]),
        uid: 167,
        cgroup: None,
        origin,
        source,
        taken_at: taken.filter(|_| source == OwnerSource::Call),
        seen_at: (source != OwnerSource::Call).then_some(Ktime(1_001 * S)),
        released_at: None,
    }
}

pub(crate) fn task(tgid: u32, comm: &str) -> Task {
    Task {
        tgid: Tgid(tgid),
        tid: Tid(tgid),
        ppid: Tgid(811),
        uid: 0,
        start: Ktime(1_900 * S + u64::from(tgid)),
        cgroup: None,
        comm: Comm::from(comm.as_bytes()),
    }
}

/// python3 (pid 812) fails to bind `wanted` while `holders` have the port.
pub(crate) fn failure(transport: Transport, wanted: &str, holders: Vec<Holder>) -> Failure {
    let addr = ip(wanted);
    let mut socket = socket(transport, if addr.is_ipv4() { "0.0.0.0" } else { "::" });
    socket.port = 0;
    socket.cookie = None;
    socket.inode = None;
    Failure {
        time: NOW,
        call: Call::Bind,
        errno: 98,
        task: task(812, "python3"),
        socket,
        wanted: Wanted {
            addr: Some(addr),
            port: Some(PORT),
            destination: None,
        },
        netns: NETNS,
        netns_cookie: 1,
        range: EphemeralRange {
            low: 32768,
            high: 60999,
            of_socket: false,
            reserved: Some(false),
        },
        walk: Walk {
            made: true,
            total: u32::try_from(holders.len()).unwrap(),
            skipped: 0,
            lost: 0,
            truncated: false,
            buckets: 1,
        },
        holders,
    }
}

/// Facts in which the holder's owner runs and, if `inode` is given, has that socket.
pub(crate) fn facts(inode: Option<u64>) -> EventFacts {
    let users = inode.map(|inode| (inode, user(3_013_825, 50 * S, "ceph-osd")));
    EventFacts {
        processes: vec![process(3_013_825, 50 * S, "ceph-osd")],
        processes_hidden: false,
        unseen: Vec::new(),
        socket_users: Some(users.into_iter().collect()),
        unowned: Vec::new(),
        closers: Vec::new(),
        time_wait_left: Vec::new(),
        kernel_user: None,
        cgroups: Vec::new(),
        netns: Some(NetnsFacts {
            reserved: Some("8080,9148-9150".to_owned()),
            reach: None,
        }),
        devices: Vec::new(),
        range: None,
    }
}

pub(crate) fn user(tgid: u32, start: u64, comm: &str) -> SocketUser {
    SocketUser {
        tgid: Tgid(tgid),
        start: Ktime(start),
        comm: Comm::from(comm.as_bytes()),
    }
}

pub(crate) fn process(tgid: u32, start: u64, comm: &str) -> ProcessFacts {
    ProcessFacts {
        tgid: Tgid(tgid),
        start: Ktime(start),
        comm: Comm::from(comm.as_bytes()),
        ppid: Some(Tgid(1)),
        session: None,
        group: None,
        forked_only: false,
        uid: Some(167),
        exe: Some(format!("/usr/bin/{comm}").into_bytes()),
        cmdline: Some(vec![
            comm.as_bytes().to_vec(),
            b"-i".to_vec(),
            b"7".to_vec(),
        ]),
        cmdline_truncated: false,
        cgroup: Some(format!("/system.slice/{comm}.service")),
        systemd_unit: Some(Some(format!("{comm}.service"))),
        socket_unit: None,
        container: Some(None),
        container_runtime: None,
        container_name: None,
        pod_uid: None,
    }
}

/// The verdict on one holder whose socket its owner has, if it has an inode.
pub(crate) fn verdict_on(wanted: &str, holder: Holder) -> Verdict {
    let facts = facts(holder.socket.inode);
    let transport = holder.socket.transport;
    verdict(&failure(transport, wanted, vec![holder]), &facts, &ground())
}

/// An event with the facts of the usual holder.
pub(crate) fn enriched(event: Event) -> Enriched {
    Enriched {
        event,
        facts: facts(Some(71234)),
    }
}

/// A watched success of `task`: it has `local`:`port` now.
pub(crate) fn assign(task: &Task, at: Ktime, local: &str, port: u16) -> Assign {
    let mut socket = socket(Transport::Tcp, local);
    socket.port = port;
    Assign {
        time: at,
        task: task.clone(),
        socket,
        netns: NETNS,
        origin: Some(Origin::ExplicitBind),
        call: Call::Bind,
        watched: true,
    }
}

/// A watched close of the socket with `cookie` by ceph-osd.
pub(crate) fn release(cookie: u64, at: Ktime) -> Release {
    let mut socket = tcp("10.10.10.1", State::Established);
    socket.cookie = Some(cookie);
    Release {
        time: at,
        task: Task {
            start: Ktime(50 * S),
            ..task(3_013_825, "ceph-osd")
        },
        socket,
        netns: NETNS,
        owner: None,
        exiting: false,
        let_go: None,
        watched: true,
    }
}

/// A process ends.
pub(crate) fn exit(task: &Task, at: Ktime) -> Event {
    Event::Exit(Exit {
        time: at,
        task: task.clone(),
    })
}
