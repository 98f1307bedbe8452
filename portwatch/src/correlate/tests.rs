//! The correlator's own rules: traffic, losses, the anchor, and that nothing else is needed.

use super::testing::{
    ANCHOR, NOW, S, START, assign, enriched, failure, held_by, owner, release, task, tcp,
};
use super::*;
use crate::decode::event::{Origin, OwnerSource, State, Transport};
use crate::report::{Cause, Certainty, Conflict};

fn correlator() -> Correlator {
    Correlator::new(Options::default(), START, ANCHOR)
}

fn server_time_wait(at: Ktime) -> Event {
    let closed = tcp("10.10.10.1", State::TimeWait);
    let held = held_by(closed, owner(OwnerSource::LastListener, None));
    let mut failure = failure(Transport::Tcp, "0.0.0.0", vec![held]);
    failure.time = at;
    Event::Failure(Box::new(failure))
}

fn verdict(correlator: &mut Correlator, event: Event) -> Conflict {
    let mut out = Vec::new();
    correlator.event(enriched(event), &mut out);
    match out.pop().map(|report| report.body) {
        Some(Body::Conflict(conflict)) => *conflict,
        other => panic!("{other:?}"),
    }
}

fn lost(place: &str, count: u64) -> LostCount {
    LostCount::new(place, count, "")
}

#[test]
fn traffic_passes_through_and_changes_nothing() {
    let mut correlator = correlator();
    let mut out = Vec::new();
    let mut taken = assign(&task(7, "curl"), NOW, "10.10.10.1", 40_000);
    taken.watched = false;
    taken.origin = Some(Origin::EphemeralConnect);
    let mut closed = release(487, NOW);
    closed.watched = false;
    closed.owner = Some(owner(OwnerSource::Call, Some(Origin::EphemeralConnect)));
    correlator.event(enriched(Event::Assign(Box::new(taken))), &mut out);
    correlator.event(enriched(Event::Release(Box::new(closed))), &mut out);
    let [assign, release] = out.as_slice() else {
        panic!("{out:?}")
    };
    let Body::Assign(assign) = &assign.body else {
        panic!("{assign:?}")
    };
    assert_eq!(
        (assign.local.port, assign.process.comm.as_str()),
        (40_000, "curl")
    );
    let Body::Release(release) = &release.body else {
        panic!("{release:?}")
    };
    assert_eq!(release.held_ms, Some(300_000));
    assert_eq!((release.port_free, release.left), (None, None));
    assert_eq!(correlator.next_deadline(), None);
    assert!(correlator.take_unwatch().is_empty());
}

#[test]
fn a_refusal_is_not_a_conflict() {
    let mut refused = failure(Transport::Tcp, "192.0.2.1", Vec::new());
    refused.errno = 99;
    let mut correlator = correlator();
    let mut out = Vec::new();
    correlator.event(enriched(Event::Refused(Box::new(refused))), &mut out);
    let [report] = out.as_slice() else {
        panic!("{out:?}")
    };
    let Body::Refused(refused) = &report.body else {
        panic!("{report:?}")
    };
    assert_eq!(refused.error, "EADDRNOTAVAIL");
    assert!(
        refused.message.contains("192.0.2.1:60001/tcp"),
        "{}",
        refused.message
    );
    assert_eq!(correlator.next_deadline(), None);
}

#[test]
fn a_failure_before_the_scan_rests_on_an_unseeded_map() {
    let mut correlator = correlator();
    let before = verdict(&mut correlator, server_time_wait(Ktime(1_500 * S)));
    assert_eq!(before.certainty, Certainty::Inferred);
    correlator.snapshot_complete(Ktime(1_600 * S));
    let late = verdict(&mut correlator, server_time_wait(Ktime(1_599 * S)));
    assert_eq!(late.certainty, Certainty::Inferred);
    let after = verdict(&mut correlator, server_time_wait(Ktime(1_601 * S)));
    assert_eq!(
        (after.cause, after.certainty),
        (Cause::ServerTimeWait, Certainty::Remembered)
    );
}

#[test]
fn losses_are_passed_on_summed_and_weighed() {
    let mut correlator = correlator();
    correlator.snapshot_complete(START);
    let mut out = Vec::new();
    correlator.lost(NOW, vec![lost("failures", 2), lost("assign", 0)], &mut out);
    correlator.lost(NOW, vec![lost("release", 0)], &mut out);
    let certainty = verdict(&mut correlator, server_time_wait(NOW)).certainty;
    assert_eq!(certainty, Certainty::Remembered);
    correlator.lost(NOW, vec![lost("owners", 1)], &mut out);
    let certainty = verdict(&mut correlator, server_time_wait(NOW)).certainty;
    assert_eq!(certainty, Certainty::Inferred);
    let mut totals = Vec::new();
    for report in &out {
        let Body::Lost(lost) = &report.body else {
            panic!("{report:?}")
        };
        totals.push((lost.since_last.len(), lost.total));
    }
    assert_eq!(totals, [(1, 2), (1, 3)]);
}

#[test]
fn a_new_anchor_moves_wall_time_and_no_duration() {
    let founding = || {
        let owner = owner(OwnerSource::Call, Some(Origin::EphemeralConnect));
        let held = held_by(tcp("10.10.10.1", State::Established), owner);
        Event::Failure(Box::new(failure(Transport::Tcp, "0.0.0.0", vec![held])))
    };
    let mut correlator = correlator();
    let before = verdict(&mut correlator, founding());
    let hour = 3_600_000_000_000;
    correlator.set_anchor(ClockAnchor {
        realtime_ns: ANCHOR.realtime_ns + hour,
        ..ANCHOR
    });
    let after = verdict(&mut correlator, founding());
    let since = |conflict: &Conflict| conflict.holders[0].since.clone();
    assert_eq!(
        since(&before).as_deref(),
        Some("2026-11-22T10:23:43.000000000Z")
    );
    assert_eq!(
        since(&after).as_deref(),
        Some("2026-11-22T11:23:43.000000000Z")
    );
    assert_eq!(before.holders[0].held_ms, after.holders[0].held_ms);
}

/// The same events give the same reports, byte for byte.
#[test]
fn a_second_run_says_the_same() {
    let say = || {
        let mut correlator = correlator();
        let mut out = Vec::new();
        for ms in [0, 500, 40_000] {
            let at = Ktime(NOW.0 + ms * 1_000_000);
            correlator.event(enriched(server_time_wait(at)), &mut out);
        }
        correlator.finish(Ktime(NOW.0 + 80 * S), &mut out);
        let bodies: Vec<_> = out.iter().map(|report| &report.body).collect();
        serde_json::to_string(&bodies).unwrap()
    };
    assert_eq!(say(), say());
}
