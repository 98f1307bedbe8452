use super::*;
use crate::correlate::testing::{
    ANCHOR, NOW, S, START, facts, failure, held_by, holder, orphan, owner, socket, tcp,
};
use crate::decode::event::Holder as Found;
use crate::report::{OriginName, StateName};

fn judged(wanted: &str, holders: Vec<Found>) -> Vec<(u64, bool)> {
    let transport = holders[0].socket.transport;
    let failure = failure(transport, wanted, holders);
    judge_all(&failure, &facts(None), ANCHOR)
        .iter()
        .map(|j| {
            (
                j.holder.socket.cookie.unwrap_or(0),
                j.outcome == Outcome::Blocks,
            )
        })
        .collect()
}

fn numbered(cookie: u64, mut socket: Socket) -> Found {
    socket.cookie = (cookie != 0).then_some(cookie);
    holder(socket)
}

#[test]
fn blockers_come_first_then_kind_then_cookie() {
    let order = judged(
        "10.10.10.1",
        vec![
            numbered(0, tcp("10.10.10.1", State::TimeWait)),
            numbered(9, tcp("10.10.10.1", State::TimeWait)),
            numbered(8, orphan(tcp("10.10.10.1", State::FinWait2))),
            numbered(7, tcp("10.10.10.1", State::Established)),
            numbered(6, tcp("10.10.10.1", State::CloseWait)),
            numbered(5, tcp("10.10.10.1", State::Close)),
            numbered(4, tcp("10.10.10.1", State::Listen)),
            numbered(3, tcp("10.10.10.9", State::Listen)),
        ],
    );
    let blocking = |cookie| (cookie, true);
    let right = [4, 5, 6, 7, 8, 9, 0].map(blocking);
    assert_eq!(order[..7], right);
    assert_eq!(order[7], (3, false));
}

fn told(holder: Found) -> Holder {
    let facts = facts(holder.socket.inode);
    let failure = failure(holder.socket.transport, "0.0.0.0", vec![holder]);
    judge_all(&failure, &facts, ANCHOR)[0].told(NOW, START, &facts, ANCHOR)
}

#[test]
fn a_seen_taking_has_a_time() {
    let told = told(held_by(
        tcp("10.10.10.1", State::Established),
        owner(OwnerSource::Call, Some(Origin::EphemeralConnect)),
    ));
    assert_eq!(
        told.since.as_deref(),
        Some("2026-11-22T10:23:43.000000000Z")
    );
    assert_eq!(told.since_source, Some(SinceSource::Assigned));
    assert_eq!((told.held_ms, told.held_at_least_ms), (Some(300_000), None));
    assert_eq!(told.kind, HolderKind::Connection);
    assert_eq!(told.origin, Some(OriginName::EphemeralConnect));
    assert_eq!(told.local.address, "10.10.10.1");
    assert_eq!(told.peer.map(|peer| peer.port), Some(6836));
}

#[test]
fn what_is_older_than_the_tracer_is_held_at_least_since_then() {
    let mut old = held_by(
        tcp("10.10.10.1", State::Established),
        owner(OwnerSource::Snapshot, Some(Origin::EphemeralConnect)),
    );
    let told_old = told(old.clone());
    assert_eq!((told_old.since, told_old.held_ms), (None, None));
    assert_eq!(told_old.since_source, Some(SinceSource::Snapshot));
    assert_eq!(told_old.held_at_least_ms, Some(1_000_000));
    // An accepted connection may be as young as the scan that found it.
    if let Some(owner) = old.owner.as_mut() {
        owner.origin = Some(Origin::Accepted);
    }
    assert_eq!(told(old).held_at_least_ms, Some(999_000));
}

#[test]
fn an_age_that_nobody_saw_is_not_told() {
    for source in [
        None,
        Some(OwnerSource::Release),
        Some(OwnerSource::LastListener),
    ] {
        let mut holder = holder(tcp("10.10.10.1", State::TimeWait));
        holder.owner = source.map(|source| owner(source, None));
        let told = told(holder);
        let ages = (
            told.since,
            told.since_source,
            told.held_ms,
            told.held_at_least_ms,
        );
        assert_eq!(ages, (None, None, None, None), "{source:?}");
    }
}

#[test]
fn kinds() {
    let kind = |socket: Socket| told(holder(socket)).kind;
    assert_eq!(kind(tcp("0.0.0.0", State::Listen)), HolderKind::Listener);
    assert_eq!(kind(tcp("0.0.0.0", State::Close)), HolderKind::Bound);
    assert_eq!(
        kind(tcp("10.10.10.1", State::TimeWait)),
        HolderKind::TimeWait
    );
    assert_eq!(
        kind(orphan(tcp("10.10.10.1", State::LastAck))),
        HolderKind::Orphan
    );
    assert_eq!(
        kind(tcp("10.10.10.1", State::FinWait2)),
        HolderKind::Connection
    );
    assert_eq!(kind(socket(Transport::Udp, "0.0.0.0")), HolderKind::Udp);
    let mut kernel = tcp("0.0.0.0", State::Listen);
    kernel.kernel = true;
    assert_eq!(kind(kernel), HolderKind::Kernel);
    let accepted = held_by(
        tcp("10.10.10.1", State::Established),
        owner(OwnerSource::Release, Some(Origin::Accepted)),
    );
    assert_eq!(told(accepted).kind, HolderKind::Accepted);
}

/// FIN_WAIT2 is kept as a small socket when `tcp_fin_timeout` is not over 60 s.
#[test]
fn a_small_fin_wait2_is_an_orphan_too() {
    let mut small = orphan(tcp("10.10.10.1", State::FinWait2));
    small.uid = None;
    let told = told(held_by(
        small,
        owner(OwnerSource::Call, Some(Origin::EphemeralConnect)),
    ));
    assert_eq!(
        (told.kind, told.state),
        (HolderKind::Orphan, StateName::FinWait2)
    );
    assert_eq!(told.uid, None);
    assert_eq!(told.processes.len(), 1);
}

/// A connection that waits in a listener's queue has no process yet.
#[test]
fn a_queued_connection_is_named_by_its_listener() {
    let listener = tcp("0.0.0.0", State::Listen);
    let mut queued = orphan(tcp("10.10.10.1", State::Established));
    queued.cookie = None;
    let facts = facts(Some(71234));
    let failure = failure(
        Transport::Tcp,
        "0.0.0.0",
        vec![holder(queued), holder(listener)],
    );
    let judged = judge_all(&failure, &facts, ANCHOR);
    assert_eq!(judged[0].holder.socket.state, State::Listen);
    let queued = judged[1].told(NOW, START, &facts, ANCHOR);
    assert_eq!(queued.kind, HolderKind::Accepted);
    let names: Vec<_> = queued
        .processes
        .iter()
        .map(|p| (p.pid, p.has_socket))
        .collect();
    assert_eq!(names, [(3_013_825, false)]);
    assert_eq!(judged[1].who.named, Named::Listener);
}

#[test]
fn since_uses_kernel_time_only() {
    let mut young = owner(OwnerSource::Call, None);
    young.taken_at = Some(Ktime(NOW.0 + S));
    let told = told(held_by(tcp("10.10.10.1", State::Established), young));
    assert_eq!(told.held_ms, Some(0));
}
