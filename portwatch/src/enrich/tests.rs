use super::*;
use crate::decode::event::{
    Assign, Call, Comm, EphemeralRange, Exit, Family, Holder, NetnsId, Origin, Owner, OwnerSource,
    Release, Socket, State, Tid, Transport, Walk, Wanted,
};
use facts::NetnsReach;
use std::net::{Ipv4Addr, Ipv6Addr};

fn task(pid: u32) -> Task {
    Task {
        tgid: Tgid(pid),
        tid: Tid(pid),
        ppid: Tgid(1),
        uid: 0,
        start: started(pid),
        cgroup: None,
        comm: Comm::from(&b"x"[..]),
    }
}

/// Each process starts in a tick of its own, some nanoseconds in.
fn started(pid: u32) -> Ktime {
    Ktime(u64::from(pid) * 10_000_000 + 1234)
}

fn socket(inode: Option<u64>, device: u32) -> Socket {
    Socket {
        sk: 1,
        cookie: None,
        inode,
        family: Family::Ipv4,
        transport: Transport::Tcp,
        protocol: 6,
        port: 60001,
        peer_port: 0,
        rcv_saddr: Ipv4Addr::UNSPECIFIED,
        v6_rcv_saddr: Ipv6Addr::UNSPECIFIED,
        daddr: Ipv4Addr::UNSPECIFIED,
        v6_daddr: Ipv6Addr::UNSPECIFIED,
        device,
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
    }
}

fn owner(pid: u32) -> Owner {
    Owner {
        tgid: Tgid(pid),
        start: started(pid),
        comm: Comm::from(&b"x"[..]),
        uid: 0,
        cgroup: None,
        origin: Some(Origin::EphemeralConnect),
        source: OwnerSource::Call,
        taken_at: None,
        seen_at: None,
        released_at: None,
    }
}

fn holder(inode: Option<u64>, owner: Option<Owner>, device: u32, l3mdev: u32) -> Holder {
    Holder {
        socket: socket(inode, device),
        owner,
        l3mdev,
        connect_only_bucket: false,
        bound_bucket: false,
        accepted_at: None,
        kernel_function: None,
        older: false,
    }
}

fn failure(holders: Vec<Holder>) -> Failure {
    Failure {
        time: Ktime(1),
        call: Call::Bind,
        errno: 98,
        task: task(812),
        socket: socket(Some(1), 0),
        wanted: Wanted {
            addr: None,
            port: Some(60001),
            destination: None,
        },
        netns: NetnsId(40),
        netns_cookie: 1,
        range: EphemeralRange {
            low: 32768,
            high: 60999,
            of_socket: false,
            reserved: Some(false),
        },
        walk: Walk {
            made: true,
            total: 1,
            skipped: 0,
            lost: 0,
            truncated: false,
            buckets: 1,
        },
        holders,
    }
}

/// Writes down what it is asked. Process 9 is gone; process 20 has every socket, but not 500, and of
/// 600 it cannot be seen who has it.
#[derive(Default)]
struct Noted(Vec<String>);

impl Facts for Noted {
    fn sees_processes(&mut self) -> bool {
        self.0.push("sees".to_owned());
        true
    }

    fn process(&mut self, tgid: Tgid, start: Ktime) -> Option<ProcessFacts> {
        self.0.push(format!("process {} {}", tgid.0, start.0));
        let start = Ktime(start.0 / 10_000_000 * 10_000_000);
        (tgid != Tgid(9)).then(|| ProcessFacts::named(tgid, start, Comm::from(&b"x"[..])))
    }

    fn process_lately(&mut self, tgid: Tgid, start: Ktime) -> Option<ProcessFacts> {
        self.0.push(format!("lately {} {}", tgid.0, start.0));
        Some(ProcessFacts::named(tgid, start, Comm::default()))
    }

    fn socket_users(&mut self, inodes: &[u64], _at: Ktime) -> Option<Vec<(u64, SocketUser)>> {
        self.0.push(format!("users {inodes:?}"));
        let user = |inode: u64| SocketUser {
            tgid: Tgid(20),
            start: Ktime(200_000_000),
            comm: Comm::from(format!("of {inode}").as_bytes()),
        };
        if inodes.contains(&600) {
            return None;
        }
        let had = inodes.iter().filter(|inode| **inode != 500);
        Some(had.map(|inode| (*inode, user(*inode))).collect())
    }

    fn netns(&mut self, netns: NetnsId, hint: Option<Tgid>) -> NetnsFacts {
        self.0
            .push(format!("netns {} {:?}", netns.0, hint.map(|tgid| tgid.0)));
        NetnsFacts {
            reserved: Some("8080".to_owned()),
            reach: Some(NetnsReach::Path("/run/netns/web".to_owned())),
        }
    }

    fn device(&mut self, netns: NetnsId, index: u32) -> Option<String> {
        self.0.push(format!("device {} {index}", netns.0));
        (index != 5).then(|| format!("eth{index}"))
    }

    fn cgroup(&mut self, _: u64) -> Option<String> {
        None
    }

    fn kernel_user(&mut self, _: NetnsId, _: Tgid, _: Transport, _: u16) -> Option<KernelUser> {
        None
    }

    fn range(&mut self, _: &RangeQuestion) -> Option<RangeFacts> {
        None
    }

    fn closers(&mut self, cookies: &[u64]) -> Vec<(u64, Owner)> {
        self.0.push(format!("closers {cookies:?}"));
        let known = cookies.iter().filter(|cookie| **cookie % 2 == 0);
        known.map(|cookie| (*cookie, owner(30))).collect()
    }

    fn time_wait_left(
        &mut self,
        netns: NetnsId,
        _: Tgid,
        connections: &[Connection],
    ) -> Vec<Option<u32>> {
        let ends = connections
            .iter()
            .map(|c| format!("{} {}", c.local, c.peer));
        let ends: Vec<_> = ends.collect();
        self.0.push(format!("time wait {} {ends:?}", netns.0));
        connections
            .iter()
            .map(|c| c.device.checked_sub(1))
            .collect()
    }

    fn port(
        &mut self,
        _: NetnsId,
        _: Tgid,
        _: Option<u16>,
        _: Option<u16>,
    ) -> Option<facts::PortFacts> {
        None
    }
}

fn asked(event: &Event) -> (Vec<String>, EventFacts) {
    let mut noted = Noted::default();
    let enriched = enrich(event.clone(), &mut noted);
    assert_eq!(&enriched.event, event);
    (noted.0, enriched.facts)
}

#[test]
fn a_failure_asks_each_question_once_in_order() {
    let mut failure = failure(vec![
        holder(Some(500), Some(owner(9)), 0, 0),
        // The user of a socket, named again as its owner with the kernel's precise start.
        holder(Some(501), Some(owner(20)), 3, 7),
        holder(Some(501), None, 5, 7),
        holder(None, Some(owner(9)), 3, 0),
        holder(None, Some(owner(812)), 0, 0),
    ]);
    failure.socket.device = 2;
    let (questions, facts) = asked(&Event::Failure(Box::new(failure)));
    let expected = [
        "process 812 8120001234",
        "users [500, 501]",
        "process 20 200000000",
        "process 9 90001234",
        "netns 40 Some(812)",
        "device 40 2",
        "device 40 3",
        "device 40 7",
        "device 40 5",
        "sees",
    ];
    assert_eq!(questions, expected);
    let pids: Vec<u32> = facts
        .processes
        .iter()
        .map(|process| process.tgid.0)
        .collect();
    assert_eq!(pids, [812, 20]);
    let names = [(2, "eth2"), (3, "eth3"), (7, "eth7")];
    assert_eq!(
        facts.devices,
        names.map(|(index, name)| (index, name.to_owned()))
    );
    assert_eq!(facts.socket_users.as_ref().map(Vec::len), Some(1));
    assert!(facts.netns.is_some());
    let runs = |facts: &EventFacts, pid| facts.runs(Tgid(pid), started(pid));
    assert_eq!(
        (runs(&facts, 812), runs(&facts, 9)),
        (Some(true), Some(false))
    );
    let hidden = EventFacts {
        processes_hidden: true,
        ..facts.clone()
    };
    assert_eq!((runs(&hidden, 812), runs(&hidden, 9)), (Some(true), None));
}

#[test]
fn the_start_of_a_record_finds_the_process_of_proc() {
    let (_, facts) = asked(&Event::Failure(Box::new(failure(vec![]))));
    assert!(facts.process(Tgid(812), started(812)).is_some());
    assert!(facts.process(Tgid(812), Ktime(8_120_000_000)).is_some());
    assert_eq!(facts.process(Tgid(812), started(813)), None);
    assert_eq!(facts.process(Tgid(813), started(812)), None);
}

#[test]
fn without_sockets_nobody_looks_for_their_users() {
    let holders = vec![holder(None, None, 0, 0)];
    let (questions, facts) = asked(&Event::Failure(Box::new(failure(holders))));
    assert_eq!(
        questions,
        ["process 812 8120001234", "netns 40 Some(812)", "sees"]
    );
    assert_eq!(facts.socket_users, Some(Vec::new()));
}

/// The process of the other is told all the same; the one that was withheld is neither nobody's nor
/// closed since.
#[test]
fn where_one_socket_is_withheld_each_is_asked_for_alone() {
    let open = |inode| {
        let mut holder = holder(Some(inode), None, 0, 0);
        (holder.socket.has_socket, holder.socket.has_file) = (true, true);
        holder.socket.cookie = Some(inode);
        holder
    };
    let holders = vec![open(5), open(600)];
    let (questions, facts) = asked(&Event::Failure(Box::new(failure(holders.clone()))));
    let users: Vec<_> = questions
        .iter()
        .filter(|q| q.starts_with("users"))
        .collect();
    assert_eq!(users, ["users [5, 600]", "users [5]", "users [600]"]);
    assert!(!questions.iter().any(|q| q.starts_with("closers")));
    assert_eq!(facts.socket_users.map(|lines| lines.len()), Some(1));
    assert_eq!((facts.unseen, facts.unowned), (vec![600], vec![]));

    let alone = holders.into_iter().skip(1).collect();
    let (questions, facts) = asked(&Event::Failure(Box::new(failure(alone))));
    assert!(questions.contains(&"users [600]".to_owned()));
    assert_eq!((facts.socket_users, facts.unowned), (None, vec![]));
}

#[test]
fn time_wait_is_asked_how_long_it_goes_on() {
    let waiting = |peer_port, device| {
        let mut holder = holder(None, None, device, 0);
        holder.socket.state = State::TimeWait;
        holder.socket.peer_port = peer_port;
        holder.socket.daddr = [10, 10, 10, 2].into();
        holder
    };
    let mut other = waiting(1, 9);
    other.socket.state = State::Established;
    // The one without a device has no answer.
    let holders = vec![waiting(1, 5), waiting(2, 0), other.clone()];
    let (questions, facts) = asked(&Event::Failure(Box::new(failure(holders.clone()))));
    let local = (holders[0].socket.local_addr(), holders[0].socket.port);
    let local = std::net::SocketAddr::from(local);
    let expected = format!(r#"time wait 40 ["{local} 10.10.10.2:1", "{local} 10.10.10.2:2"]"#);
    assert_eq!(questions.last(), Some(&expected));
    let left: Vec<_> = holders
        .iter()
        .map(|holder| facts.time_wait_left(&holder.socket))
        .collect();
    assert_eq!(left, [Some(4), None, None]);
    let many = vec![waiting(1, 5); ended::TIME_WAITS_ASKED + 1];
    let (_, facts) = asked(&Event::Failure(Box::new(failure(many))));
    assert_eq!(facts.time_wait_left, []);
}

#[test]
fn the_kernels_own_task_is_no_process() {
    let holders = vec![holder(None, Some(owner(0)), 0, 0)];
    let mut failure = failure(holders);
    failure.task = task(0);
    let (questions, _) = asked(&Event::Failure(Box::new(failure)));
    assert_eq!(questions, ["netns 40 Some(0)", "sees"]);
}

#[test]
fn other_events_ask_for_their_process_only() {
    let assign = Assign {
        time: Ktime(1),
        task: task(30),
        socket: socket(Some(5), 4),
        netns: NetnsId(40),
        origin: None,
        call: Call::Connect,
        watched: false,
    };
    let release = Release {
        time: Ktime(1),
        task: task(31),
        socket: socket(Some(5), 4),
        netns: NetnsId(40),
        owner: Some(owner(32)),
        exiting: false,
        let_go: None,
        watched: false,
    };
    let refused = failure(vec![holder(Some(500), Some(owner(9)), 3, 0)]);
    for (event, age, pid) in [
        (Event::Assign(Box::new(assign)), "lately", 30),
        (Event::Release(Box::new(release)), "lately", 31),
        (Event::Refused(Box::new(refused)), "process", 812),
    ] {
        let (questions, facts) = asked(&event);
        assert_eq!(questions, [format!("{age} {pid} {}", started(pid).0)]);
        assert_eq!(facts.processes.len(), 1);
        assert_eq!((facts.socket_users, facts.netns), (None, None));
    }
    let exit = Exit {
        time: Ktime(1),
        task: task(30),
    };
    assert_eq!(asked(&Event::Exit(exit)), (vec![], EventFacts::default()));
}
