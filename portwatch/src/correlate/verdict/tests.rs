use super::*;
use crate::correlate::testing::{
    facts, failure, ground, held_by, holder, orphan, owner, socket, tcp, verdict_on,
};
use crate::decode::event::{Holder, Origin, OwnerSource, Tgid, Transport};
use crate::report::HolderKind;

mod half_read;

fn founding_case() -> Holder {
    let owner = owner(OwnerSource::Call, Some(Origin::EphemeralConnect));
    held_by(tcp("10.10.10.1", State::Established), owner)
}

fn said(conflict: &Conflict) -> (Cause, Certainty, usize) {
    (conflict.cause, conflict.certainty, conflict.holders.len())
}

#[test]
fn the_founding_case() {
    let verdict = verdict_on("0.0.0.0", founding_case());
    let conflict = verdict.conflict;
    assert_eq!(
        said(&conflict),
        (Cause::OutboundConnection, Certainty::Exact, 1)
    );
    assert_eq!(conflict.error, "EADDRINUSE");
    assert_eq!((conflict.holders_total, conflict.truncated), (1, false));
    let process = &conflict.holders[0].processes[0];
    assert_eq!((process.pid, process.has_socket), (3_013_825, true));
    assert_eq!(
        conflict.message,
        "python3 (pid 812) could not bind 0.0.0.0:60001/tcp: the kernel gave that port to \
         ceph-osd (pid 3013825) for its connection to 10.10.10.2:6836, 5m ago"
    );
    assert_eq!(
        verdict.blockers,
        [Blocker {
            cookie: Some(487),
            time_wait: false,
            connected: true,
        }]
    );
}

/// Two sockets have the number, one of them blocks.
#[test]
fn only_the_blocking_holder_is_named() {
    let mut neighbour = held_by(
        tcp("10.10.10.9", State::Listen),
        owner(OwnerSource::Call, Some(Origin::ExplicitBind)),
    );
    neighbour.socket.cookie = Some(1);
    let failure = failure(
        Transport::Tcp,
        "10.10.10.1",
        vec![neighbour, founding_case()],
    );
    let conflict = verdict(&failure, &facts(Some(71234)), &ground()).conflict;
    assert_eq!(
        said(&conflict),
        (Cause::OutboundConnection, Certainty::Exact, 1)
    );
    assert_eq!(conflict.holders[0].local.address, "10.10.10.1");
    assert_eq!(conflict.holders_total, 2);
    assert!(!conflict.truncated);

    let ground = Ground {
        neighbours: true,
        ..ground()
    };
    let conflict = verdict(&failure, &facts(Some(71234)), &ground).conflict;
    let listed: Vec<_> = conflict
        .holders
        .iter()
        .map(|h| (h.kind, h.blocking))
        .collect();
    assert_eq!(
        listed,
        [
            (HolderKind::Connection, true),
            (HolderKind::Listener, false)
        ]
    );
    assert_eq!(conflict.cause, Cause::OutboundConnection);
}

/// Other address, v6only against IPv4, SO_REUSEADDR on both sides, SO_REUSEPORT of one user: each
/// shares the number and blocks nothing.
#[test]
fn a_holder_that_does_not_block_is_never_the_culprit() {
    let mut v6only = holder(tcp("::", State::Listen));
    v6only.socket.v6only = true;
    let mut reuse = founding_case();
    reuse.socket.reuse = true;
    let mut reuseport = holder(tcp("10.10.10.1", State::Listen));
    reuseport.socket.reuseport = true;
    let other = holder(tcp("10.10.10.9", State::Listen));
    for neighbour in [v6only, reuse, reuseport, other] {
        let mut failure = failure(Transport::Tcp, "10.10.10.1", vec![neighbour]);
        failure.socket.reuse = true;
        failure.socket.reuseport = true;
        let verdict = verdict(&failure, &facts(Some(71234)), &ground());
        let conflict = verdict.conflict;
        assert_eq!(said(&conflict), (Cause::Unknown, Certainty::Unknown, 0));
        assert!(
            conflict.message.contains("none of them blocks"),
            "{}",
            conflict.message
        );
        assert!(
            !conflict.message.contains("ceph-osd"),
            "{}",
            conflict.message
        );
        assert!(verdict.blockers.is_empty());
    }
}

#[test]
fn an_empty_port_is_already_free_and_that_is_concluded() {
    let failure = failure(Transport::Tcp, "0.0.0.0", Vec::new());
    let conflict = verdict(&failure, &facts(None), &ground()).conflict;
    assert_eq!(
        said(&conflict),
        (Cause::AlreadyFree, Certainty::Inferred, 0)
    );
}

#[test]
fn what_a_name_rests_on_decides_the_certainty() {
    let by = |source, at: Holder| {
        let mut held = at;
        held.owner = Some(owner(source, Some(Origin::EphemeralConnect)));
        let failure = failure(Transport::Tcp, "0.0.0.0", vec![held]);
        verdict(&failure, &facts(None), &ground())
            .conflict
            .certainty
    };
    let closed = || holder(tcp("10.10.10.1", State::TimeWait));
    assert_eq!(by(OwnerSource::Call, closed()), Certainty::Exact);
    assert_eq!(by(OwnerSource::Release, closed()), Certainty::Exact);
    assert_eq!(by(OwnerSource::Snapshot, closed()), Certainty::Inferred);
    let mut nobody = closed();
    nobody.socket.connect_bound = true;
    let conflict = verdict_on("0.0.0.0", nobody).conflict;
    assert_eq!(
        said(&conflict),
        (Cause::OutboundTimeWait, Certainty::Inferred, 1)
    );
    assert!(conflict.holders[0].processes.is_empty());
}

#[test]
fn the_last_listener_is_remembered_and_less_across_a_hole() {
    let held = held_by(
        tcp("10.10.10.1", State::TimeWait),
        owner(OwnerSource::LastListener, None),
    );
    let failure = failure(Transport::Tcp, "0.0.0.0", vec![held]);
    let on = |ground: Ground| verdict(&failure, &facts(None), &ground).conflict;
    let conflict = on(ground());
    assert_eq!(
        said(&conflict),
        (Cause::ServerTimeWait, Certainty::Remembered, 1)
    );
    assert_eq!(conflict.holders[0].processes[0].comm, "ceph-osd");
    let unseeded = on(Ground {
        seeded: false,
        ..ground()
    });
    assert_eq!(unseeded.certainty, Certainty::Inferred);
    let lossy = on(Ground {
        owners_lost: true,
        ..ground()
    });
    assert_eq!(lossy.certainty, Certainty::Inferred);
}

/// The child of a listener that is gone: seen by no call and no scan, it can only be accepted.
#[test]
fn an_accepted_child_with_its_process_is_exact() {
    let held = held_by(
        tcp("10.10.10.1", State::Established),
        owner(OwnerSource::LastListener, None),
    );
    let conflict = verdict_on("0.0.0.0", held.clone()).conflict;
    assert_eq!(
        said(&conflict),
        (Cause::AcceptedConnection, Certainty::Exact, 1)
    );
    let failure = failure(Transport::Tcp, "0.0.0.0", vec![held]);
    let unseeded = Ground {
        seeded: false,
        ..ground()
    };
    let conflict = verdict(&failure, &facts(Some(71234)), &unseeded).conflict;
    assert_eq!(
        said(&conflict),
        (Cause::AcceptedConnection, Certainty::Inferred, 1)
    );
}

/// An unseeded map does not weaken what was seen at its own call.
#[test]
fn a_seen_call_is_exact_before_the_scan_too() {
    let failure = failure(Transport::Tcp, "0.0.0.0", vec![founding_case()]);
    let ground = Ground {
        seeded: false,
        owners_lost: true,
        ..ground()
    };
    let conflict = verdict(&failure, &facts(Some(71234)), &ground).conflict;
    assert_eq!(conflict.certainty, Certainty::Exact);
}

/// Listener closed, accepted child left, tracer started late.
#[test]
fn an_unproven_connection_is_listed_and_its_cause_unknown() {
    let held = held_by(
        tcp("10.10.10.1", State::Established),
        owner(OwnerSource::Snapshot, None),
    );
    let conflict = verdict_on("0.0.0.0", held).conflict;
    assert_eq!(said(&conflict), (Cause::Unknown, Certainty::Inferred, 1));
    assert_eq!(conflict.holders[0].origin, None);
    assert!(conflict.holders[0].blocking);
    assert!(
        conflict.message.contains("ceph-osd (pid 3013825)"),
        "{}",
        conflict.message
    );
    assert!(
        !conflict.message.contains("the kernel gave"),
        "{}",
        conflict.message
    );
}

#[test]
fn udp_without_proof_is_inferred() {
    let held = held_by(
        socket(Transport::Udp, "0.0.0.0"),
        owner(OwnerSource::Snapshot, None),
    );
    let conflict = verdict_on("0.0.0.0", held).conflict;
    assert_eq!(said(&conflict), (Cause::UdpSocket, Certainty::Inferred, 1));
    let mut bound = socket(Transport::Udp, "0.0.0.0");
    bound.port_locked = true;
    let conflict = verdict_on("0.0.0.0", holder(bound)).conflict;
    assert_eq!(said(&conflict), (Cause::UdpSocket, Certainty::Exact, 1));
}

#[test]
fn an_orphan_of_a_known_process() {
    let held = held_by(
        orphan(tcp("10.10.10.1", State::FinWait2)),
        owner(OwnerSource::Release, Some(Origin::EphemeralConnect)),
    );
    let conflict = verdict_on("0.0.0.0", held).conflict;
    assert_eq!(said(&conflict), (Cause::Orphan, Certainty::Exact, 1));
}

#[test]
fn a_connection_that_is_gone_names_nobody() {
    let mut same = failure(Transport::Tcp, "10.10.10.1", vec![founding_case()]);
    same.call = Call::Connect;
    same.wanted.destination = Some("10.10.10.3:80".parse().unwrap());
    let conflict = verdict(&same, &facts(Some(71234)), &ground()).conflict;
    assert_eq!(said(&conflict), (Cause::Unknown, Certainty::Unknown, 0));
    assert!(
        conflict.message.contains("between the same two ends"),
        "{}",
        conflict.message
    );
}

/// A holder that may block is not listed, and the verdict says that one may be missing.
#[test]
fn doubt_is_told_and_never_a_name() {
    let mut held = founding_case();
    held.socket.device = 9;
    held.l3mdev = 9;
    let mut failure = failure(Transport::Tcp, "0.0.0.0", vec![held]);
    failure.socket.device = 9;
    failure.walk.buckets = 2;
    let conflict = verdict(&failure, &facts(Some(71234)), &ground()).conflict;
    assert_eq!(said(&conflict), (Cause::Unknown, Certainty::Unknown, 0));
    assert!(conflict.truncated);
    assert!(
        conflict.message.contains("not certain"),
        "{}",
        conflict.message
    );
    assert!(
        !conflict.message.contains("ceph-osd"),
        "{}",
        conflict.message
    );
}

/// It had a descriptor at the failure, and nobody has it when that is looked up.
#[test]
fn what_was_closed_since_is_exact_only_where_closes_are_seen() {
    let held = || {
        let opener = owner(OwnerSource::Call, Some(Origin::ExplicitBind));
        vec![held_by(tcp("0.0.0.0", State::Listen), opener)]
    };
    let failure = failure(Transport::Tcp, "0.0.0.0", held());
    let mut facts = facts(None);
    let told = |facts: &EventFacts, closes_seen| {
        let ground = Ground {
            closes_seen,
            ..ground()
        };
        verdict(&failure, facts, &ground).conflict
    };
    let named = |conflict: &Conflict| -> Vec<u32> {
        let processes = conflict.holders[0].processes.iter();
        processes.map(|process| process.pid).collect()
    };
    // Who opened it closed it, or another one would have been remembered.
    let conflict = told(&facts, true);
    assert_eq!(conflict.certainty, Certainty::Exact);
    assert_eq!(named(&conflict), [3_013_825]);
    assert!(conflict.message.ends_with("; it was closed since"));
    assert_eq!(told(&facts, false).certainty, Certainty::Inferred);
    let mut closer = owner(OwnerSource::Release, None);
    closer.tgid = Tgid(77);
    facts.closers = vec![(487, closer.clone())];
    assert_eq!(named(&told(&facts, true)), [77, 3_013_825]);
    // Nobody that had it did, as when its message is thrown away.
    closer.tgid = Tgid(0);
    facts.closers = vec![(487, closer)];
    let conflict = told(&facts, true);
    assert_eq!(
        (named(&conflict), conflict.certainty),
        (vec![], Certainty::Inferred)
    );
}
