use super::*;
use crate::correlate::testing::{connect, facts, failure, ground, held_by, holder, owner, tcp};
use crate::correlate::verdict::verdict;
use crate::decode::event::{Origin, OwnerSource, Transport};
use crate::report::{Cause, Certainty, Conflict};

/// python3 has bound `from` and cannot connect to 10.10.10.2:6836.
fn refused(from: &str, holders: Vec<Holder>) -> Failure {
    let mut failure = failure(Transport::Tcp, from, holders);
    failure.call = Call::Connect;
    failure.errno = 99;
    failure.socket = tcp(from, State::Close);
    failure.wanted.destination = Some("10.10.10.2:6836".parse().unwrap());
    failure
}

fn connection(from: &str, to: &str, port: u16) -> Holder {
    let mut socket = tcp(from, State::Established);
    connect(&mut socket, to, port);
    held_by(socket, owner(OwnerSource::Call, Some(Origin::ExplicitBind)))
}

fn told(failure: &Failure) -> Conflict {
    verdict(failure, &facts(Some(71234)), &ground()).conflict
}

fn said(conflict: &Conflict) -> (Cause, Certainty, usize, bool) {
    (
        conflict.cause,
        conflict.certainty,
        conflict.holders.len(),
        conflict.truncated,
    )
}

#[test]
fn the_owner_of_the_two_ends_is_named_and_nobody_else() {
    let holders = vec![
        connection("10.10.10.1", "10.10.10.3", 6836),
        connection("10.10.10.1", "10.10.10.2", 80),
        connection("10.10.10.9", "10.10.10.2", 6836),
        connection("10.10.10.1", "10.10.10.2", 6836),
        holder(tcp("10.10.10.1", State::Close)),
        holder(tcp("0.0.0.0", State::Listen)),
    ];
    let conflict = told(&refused("10.10.10.1", holders));
    assert_eq!(
        said(&conflict),
        (Cause::SameConnection, Certainty::Exact, 1, false)
    );
    assert_eq!(conflict.holders_total, 6);
    let peer = conflict.holders[0].peer.as_ref().unwrap();
    assert_eq!((peer.address.as_str(), peer.port), ("10.10.10.2", 6836));
    assert_eq!(
        conflict.message,
        "python3 (pid 812) could not connect from 10.10.10.1:60001/tcp to 10.10.10.2:6836: that \
         very connection exists: ceph-osd (pid 3013825) has 10.10.10.1:60001 -> 10.10.10.2:6836 \
         (ESTABLISHED), for 5m"
    );
    let ids: Vec<_> = conflict.advice.iter().map(|a| a.id.as_str()).collect();
    assert_eq!(ids, ["other-source", "end-connection"]);
}

/// What listens is no matter of a connect(), and that connection exists, whoever accepted it.
#[test]
fn a_half_read_table_takes_nothing_from_it() {
    let mut accepted = connection("10.10.10.1", "10.10.10.2", 6836);
    accepted.owner = Some(owner(OwnerSource::Call, Some(Origin::Accepted)));
    let mut failure = refused("10.10.10.1", vec![accepted]);
    failure.walk.lost = 1;
    assert_eq!(
        said(&told(&failure)),
        (Cause::SameConnection, Certainty::Inferred, 1, true)
    );
}

/// A wildcard caller has forgotten which address it was about to use.
#[test]
fn an_address_that_is_not_known_any_more_leaves_one_or_nobody() {
    let one = connection("10.10.10.1", "10.10.10.2", 6836);
    let alone = told(&refused("0.0.0.0", vec![one.clone()]));
    assert_eq!(
        said(&alone),
        (Cause::SameConnection, Certainty::Exact, 1, false)
    );
    let other = connection("10.10.10.9", "10.10.10.2", 6836);
    let two = told(&refused("0.0.0.0", vec![one.clone(), other]));
    assert_eq!(said(&two), (Cause::Unknown, Certainty::Unknown, 0, true));
    assert!(
        two.message.contains("several own addresses"),
        "{}",
        two.message
    );
    let mut half = refused("0.0.0.0", vec![one]);
    half.walk.skipped = 3;
    assert_eq!(
        said(&told(&half)),
        (Cause::Unknown, Certainty::Unknown, 0, true)
    );
}

#[test]
fn what_is_no_connection_or_has_another_device_does_not_block() {
    let mut device = connection("10.10.10.1", "10.10.10.2", 6836);
    device.socket.device = 3;
    let mut failed = connection("10.10.10.1", "10.10.10.2", 6836);
    failed.socket.state = State::Close;
    for holder in [device, failed] {
        let conflict = told(&refused("10.10.10.1", vec![holder]));
        assert_eq!(
            said(&conflict),
            (Cause::Unknown, Certainty::Unknown, 0, false)
        );
        assert!(
            conflict.message.contains("half open"),
            "{}",
            conflict.message
        );
    }
    let mut nowhere = refused(
        "10.10.10.1",
        vec![connection("10.10.10.1", "10.10.10.2", 6836)],
    );
    nowhere.wanted.destination = None;
    assert_eq!(
        said(&told(&nowhere)),
        (Cause::Unknown, Certainty::Unknown, 0, true)
    );
}

/// A v4-mapped connection is an IPv4 one.
#[test]
fn a_mapped_connection_has_the_same_two_ends() {
    let mut mapped = connection("::ffff:10.10.10.1", "10.10.10.2", 6836);
    mapped.socket.state = State::FinWait2;
    let conflict = told(&refused("10.10.10.1", vec![mapped]));
    assert_eq!(conflict.cause, Cause::SameConnection);
    let mut native = connection("2001:db8::1", "2001:db8::2", 6836);
    native.socket.cookie = None;
    let conflict = told(&refused("10.10.10.1", vec![native]));
    assert_eq!(conflict.cause, Cause::Unknown);
}

#[test]
fn time_wait_is_told_with_who_had_it() {
    let past = owner(OwnerSource::Release, Some(Origin::ExplicitBind));
    let holder = held_by(tcp("10.10.10.1", State::TimeWait), past);
    let conflict = told(&refused("10.10.10.1", vec![holder]));
    assert_eq!(
        said(&conflict),
        (Cause::SameConnection, Certainty::Exact, 1, false)
    );
    assert!(
        conflict.message.contains(
            "10.10.10.1:60001 -> 10.10.10.2:6836 was that of ceph-osd (pid 3013825) and is in \
             TIME_WAIT"
        ),
        "{}",
        conflict.message
    );
    let ids: Vec<_> = conflict.advice.iter().map(|a| a.id.as_str()).collect();
    assert_eq!(ids, ["other-source", "wait"]);
}
