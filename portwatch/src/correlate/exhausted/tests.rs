use super::*;
use crate::correlate::testing::{
    connect, facts, failure, ground, held_by, holder, owner, socket, tcp, user,
};
use crate::correlate::verdict::verdict;
use crate::decode::event::{Holder, Origin, OwnerSource, State};
use crate::enrich::range::gather;
use crate::report::Conflict;

const TO: &str = "10.10.10.2:6836";

/// A call for any port of 40000-40003, 40003 reserved.
fn wants_any(call: Call, transport: Transport) -> Failure {
    let mut failure = failure(transport, "0.0.0.0", Vec::new());
    failure.call = call;
    failure.errno = match (call, transport) {
        (Call::Connect, Transport::Tcp) => 99,
        (Call::Connect | Call::Autobind, _) => 11,
        (Call::Bind | Call::Listen, _) => 98,
    };
    failure.wanted.port = None;
    if call == Call::Connect {
        failure.wanted.addr = None;
        failure.wanted.destination = Some(TO.parse().unwrap());
    }
    (failure.range.low, failure.range.high) = (40000, 40003);
    failure.walk.made = false;
    failure
}

fn connection(port: u16, from: &str, to: &str) -> Holder {
    let mut socket = tcp(from, State::Established);
    let to: std::net::SocketAddr = to.parse().unwrap();
    connect(&mut socket, &to.ip().to_string(), to.port());
    socket.port = port;
    socket.inode = Some(u64::from(port));
    held_by(
        socket,
        owner(OwnerSource::Call, Some(Origin::EphemeralConnect)),
    )
}

fn bound(port: u16, at: &str) -> Holder {
    let mut socket = tcp(at, State::Close);
    socket.port = port;
    socket.inode = Some(u64::from(port));
    let mut one = held_by(
        socket,
        owner(OwnerSource::Call, Some(Origin::EphemeralBind)),
    );
    one.bound_bucket = true;
    one
}

fn told(failure: &Failure, holders: &[Holder]) -> Conflict {
    let users: Vec<_> = holders
        .iter()
        .filter_map(|holder| holder.socket.inode)
        .map(|inode| (inode, user(3_013_825, 50_000_000_000, "ceph-osd")))
        .collect();
    let mut facts = facts(None);
    let at = crate::decode::event::Ktime(failure.time.0 + 5_000_000);
    let range = gather(at, holders, Some(&users), 0);
    facts.netns.as_mut().unwrap().reserved = Some("40003".to_owned());
    facts.socket_users = Some(users);
    facts.range = Some(range);
    verdict(failure, &facts, &ground()).conflict
}

fn lines(conflict: &Conflict) -> Vec<(u64, Option<&str>, String)> {
    let tally = conflict.tally.as_ref().unwrap().iter();
    tally
        .map(|line| {
            let process = line.process.as_ref().and_then(Option::as_ref);
            let peer = line.peer.clone().flatten();
            (
                line.count,
                process.map(|process| process.comm.as_str()),
                peer.map_or_else(String::new, |p| format!("{}:{}", p.address, p.port)),
            )
        })
        .collect()
}

fn said(conflict: &Conflict) -> (Cause, Certainty, Option<ExhaustedFor>, u32) {
    assert!(conflict.holders.is_empty() && !conflict.truncated);
    (
        conflict.cause,
        conflict.certainty,
        conflict.exhausted_for,
        conflict.counted.as_ref().map_or(0, |counted| counted.ports),
    )
}

#[test]
fn connections_to_the_destination_and_bound_ports_keep_connect_from_it() {
    let holders = [
        connection(40000, "10.10.10.1", TO),
        connection(40001, "10.10.10.1", TO),
        // Shares its port with whatever goes elsewhere.
        connection(40001, "10.10.10.1", "10.10.10.3:80"),
        bound(40002, "127.0.0.1"),
    ];
    let conflict = told(&wants_any(Call::Connect, Transport::Tcp), &holders);
    let right = (
        Cause::RangeExhausted,
        Certainty::Exact,
        Some(ExhaustedFor::Destination),
        3,
    );
    assert_eq!(said(&conflict), right);
    let osd = Some("ceph-osd");
    assert_eq!(
        lines(&conflict),
        [(2, osd, TO.to_owned()), (1, osd, String::new())]
    );
    assert_eq!(
        conflict.message,
        "python3 (pid 812) could not connect from 0.0.0.0:*/tcp to 10.10.10.2:6836: no tcp port of \
         the range 40000-40003 (of its 4 ports 1 is reserved, net.ipv4.ip_local_reserved_ports) is \
         left for connections to 10.10.10.2:6836; other destinations can \
         still share them; 2 by ceph-osd (pid 3013825), ESTABLISHED with 10.10.10.2:6836, 1 by \
         ceph-osd (pid 3013825), bound, not listening"
    );
    let ids: Vec<_> = conflict.advice.iter().map(|a| a.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "reuse-connections",
            "bind-no-port",
            "widen-range",
            "other-address"
        ]
    );
    assert_eq!(
        conflict.advice[2].command.as_deref(),
        Some("sysctl -w 'net.ipv4.ip_local_port_range=40000 65535'")
    );
}

/// Two own addresses from which every port leads there: which of them the kernel had picked, and so
/// who is in the way, is not known.
#[test]
fn connections_from_two_addresses_leave_it_open() {
    let holders: Vec<_> = (40000..40003)
        .flat_map(|port| ["10.10.10.1", "10.10.10.9"].map(|from| connection(port, from, TO)))
        .collect();
    let conflict = told(&wants_any(Call::Connect, Transport::Tcp), &holders);
    let right = (
        Cause::RangeExhausted,
        Certainty::Inferred,
        Some(ExhaustedFor::Destination),
        3,
    );
    assert_eq!(said(&conflict), right);
    let tally = conflict.tally.as_ref().unwrap().iter();
    let sources: Vec<_> = tally
        .map(|line| (line.count, line.source.as_deref()))
        .collect();
    assert_eq!(sources, [(3, Some("10.10.10.1")), (3, Some("10.10.10.9"))]);
    let doubt = "; 3 by ceph-osd (pid 3013825), ESTABLISHED from 10.10.10.1 with 10.10.10.2:6836, 3 \
                 by ceph-osd (pid 3013825), ESTABLISHED from 10.10.10.9 with 10.10.10.2:6836; which \
                 of these addresses the kernel had picked for this call is not known, and the \
                 connections from the others are not in its way";
    assert!(conflict.message.ends_with(doubt), "{}", conflict.message);
}

/// A port that somebody else has as well, whose sockets are not in the way, is no less taken.
#[test]
fn a_port_counts_whoever_else_has_it() {
    let mut holders: Vec<_> = (40000..40003)
        .map(|port| bound(port, "10.10.10.1"))
        .collect();
    holders.extend((40000..40004).map(|port| bound(port, "10.10.10.2")));
    let mut failure = wants_any(Call::Bind, Transport::Tcp);
    failure.wanted.addr = Some("10.10.10.1".parse().unwrap());
    let conflict = told(&failure, &holders);
    let right = (
        Cause::RangeExhausted,
        Certainty::Exact,
        Some(ExhaustedFor::Binds),
        3,
    );
    assert_eq!(said(&conflict), right);
    assert_eq!(lines(&conflict).len(), 1);
}

/// Whoever goes there from another own address is not in the way.
#[test]
fn connections_from_another_address_do_not_count() {
    let mut holders: Vec<_> = (40000..40003)
        .map(|port| connection(port, "10.10.10.1", TO))
        .collect();
    holders.push(connection(40000, "10.10.10.9", TO));
    holders.push(connection(40001, "10.10.10.9", TO));
    let conflict = told(&wants_any(Call::Connect, Transport::Tcp), &holders);
    assert_eq!(lines(&conflict).len(), 1);
    assert_eq!(lines(&conflict)[0].0, 3);
    // The caller has said from where.
    let mut from = wants_any(Call::Connect, Transport::Tcp);
    from.socket = tcp("10.10.10.9", State::Close);
    from.socket.port = 0;
    assert_eq!(lines(&told(&from, &holders))[0].0, 2);
}

#[test]
fn a_range_full_of_bound_ports_is_exhausted_for_every_destination() {
    let holders: Vec<_> = (40000..40003).map(|port| bound(port, "0.0.0.0")).collect();
    let conflict = told(&wants_any(Call::Connect, Transport::Tcp), &holders);
    let right = (
        Cause::RangeExhausted,
        Certainty::Exact,
        Some(ExhaustedFor::Binds),
        3,
    );
    assert_eq!(said(&conflict), right);
    assert!(
        conflict.message.contains("any other destination"),
        "{}",
        conflict.message
    );
}

#[test]
fn a_bind_counts_whatever_overlaps() {
    let holders = [
        connection(40000, "10.10.10.1", TO),
        connection(40000, "10.10.10.1", "10.10.10.3:80"),
        connection(40001, "10.10.10.9", TO),
        bound(40002, "127.0.0.1"),
    ];
    let any = told(&wants_any(Call::Bind, Transport::Tcp), &holders);
    let right = (
        Cause::RangeExhausted,
        Certainty::Exact,
        Some(ExhaustedFor::Binds),
        3,
    );
    assert_eq!(said(&any), right);
    assert_eq!(any.counted.as_ref().unwrap().sockets, 4);
    assert_eq!(
        said(&told(&wants_any(Call::Listen, Transport::Tcp), &holders)),
        right
    );

    let mut one = wants_any(Call::Bind, Transport::Tcp);
    one.wanted.addr = Some("10.10.10.1".parse().unwrap());
    // SO_REUSEADDR makes no difference to a search.
    one.socket.reuse = true;
    let conflict = told(&one, &holders);
    assert_eq!(
        said(&conflict),
        (
            Cause::RangeExhausted,
            Certainty::Inferred,
            Some(ExhaustedFor::Binds),
            1
        )
    );
    assert!(
        conflict.message.contains("1 of 3 were still taken"),
        "{}",
        conflict.message
    );
}

#[test]
fn udp_is_told_by_its_own_rule() {
    let udp = |port, reuse| {
        let mut socket = socket(Transport::Udp, "0.0.0.0");
        socket.port = port;
        socket.reuse = reuse;
        held_by(
            socket,
            owner(OwnerSource::Call, Some(Origin::EphemeralAutobind)),
        )
    };
    let holders = [udp(40000, false), udp(40001, true), udp(40002, false)];
    for call in [Call::Connect, Call::Autobind] {
        let mut failure = wants_any(call, Transport::Udp);
        let right = (
            Cause::RangeExhausted,
            Certainty::Exact,
            Some(ExhaustedFor::Binds),
            3,
        );
        assert_eq!(said(&told(&failure, &holders)), right);
        failure.socket.reuse = true;
        assert_eq!(said(&told(&failure, &holders)).3, 2);
    }
}

/// The kernel's word stands, who has the ports is not told.
#[test]
fn without_a_count_nobody_is_named() {
    let failure = wants_any(Call::Bind, Transport::Tcp);
    let conflict = verdict(&failure, &facts(None), &ground()).conflict;
    let right = (
        Cause::RangeExhausted,
        Certainty::Inferred,
        Some(ExhaustedFor::Binds),
        0,
    );
    assert_eq!(said(&conflict), right);
    assert_eq!(conflict.tally, None);
    assert!(
        conflict.message.contains("could not be counted"),
        "{}",
        conflict.message
    );
}

#[test]
fn a_range_that_is_free_by_now_is_not_explained() {
    let conflict = told(&wants_any(Call::Connect, Transport::Tcp), &[]);
    assert_eq!(
        said(&conflict),
        (Cause::Unknown, Certainty::Unknown, None, 0)
    );
}

#[test]
fn a_reserved_range_has_no_ports() {
    let mut failure = wants_any(Call::Bind, Transport::Tcp);
    (failure.range.low, failure.range.high) = (40003, 40003);
    let conflict = told(&failure, &[]);
    assert_eq!(
        (conflict.cause, conflict.certainty),
        (Cause::RangeExhausted, Certainty::Exact)
    );
    assert!(
        conflict.message.contains("reserved"),
        "{}",
        conflict.message
    );
    assert_eq!(conflict.advice[0].id, "unreserve");
    assert_eq!(conflict.advice.len(), 1);
    assert!(!conflict.message.contains("share"), "{}", conflict.message);
}

/// The process of a closed connection is remembered; who it is not is not said.
#[test]
fn time_wait_is_told_with_who_had_it() {
    let mut past = tcp("10.10.10.1", State::TimeWait);
    past.port = 40000;
    let known = held_by(
        past.clone(),
        owner(OwnerSource::Release, Some(Origin::EphemeralConnect)),
    );
    past.port = 40001;
    let conflict = told(
        &wants_any(Call::Connect, Transport::Tcp),
        &[known, holder(past)],
    );
    let processes: Vec<_> = lines(&conflict).into_iter().map(|line| line.1).collect();
    assert_eq!(processes, [Some("ceph-osd"), None]);
    assert!(conflict.tally.as_ref().unwrap()[1].process.is_none());
    assert_eq!(conflict.advice[0].id, "time-wait");
}
