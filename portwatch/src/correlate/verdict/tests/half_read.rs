//! Tables that were read in part, or not at all: what was not seen is not denied.

use super::*;

#[test]
fn what_was_not_read_is_unknown() {
    let mut failure = failure(Transport::Tcp, "0.0.0.0", Vec::new());
    failure.walk.made = false;
    let conflict = verdict(&failure, &facts(None), &ground()).conflict;
    assert_eq!(said(&conflict), (Cause::Unknown, Certainty::Unknown, 0));
    assert!(conflict.truncated && conflict.message.contains("was not read"));
    failure.walk.made = true;
    failure.walk.total = 3;
    failure.walk.lost = 3;
    let conflict = verdict(&failure, &facts(None), &ground()).conflict;
    assert_eq!(said(&conflict), (Cause::Unknown, Certainty::Unknown, 0));
    assert!(conflict.truncated && conflict.message.contains("3 sockets"));
}

#[test]
fn a_half_read_table_is_at_best_inferred() {
    let half = |change: fn(&mut Walk)| {
        let mut failure = failure(Transport::Tcp, "0.0.0.0", vec![founding_case()]);
        change(&mut failure.walk);
        let conflict = verdict(&failure, &facts(Some(71234)), &ground()).conflict;
        (conflict.certainty, conflict.truncated)
    };
    assert_eq!(
        half(|walk| walk.truncated = true),
        (Certainty::Inferred, true)
    );
    assert_eq!(half(|walk| walk.lost = 1), (Certainty::Inferred, true));
    // Read to the end, listed in part.
    assert_eq!(half(|walk| walk.skipped = 40), (Certainty::Exact, true));
}

/// An orphan of which nobody saw where it came from, and TIME_WAIT, are told as what they are.
#[test]
fn what_no_process_has_is_no_cause_of_a_half_read_table_either() {
    let time_wait = held_by(
        tcp("10.10.10.1", State::TimeWait),
        owner(OwnerSource::Call, Some(Origin::Accepted)),
    );
    for (holder, words) in [
        (
            time_wait,
            "TIME_WAIT still holds the port after a connection",
        ),
        (
            holder(orphan(tcp("10.10.10.1", State::FinWait2))),
            "that no process has any more still has the port",
        ),
    ] {
        let mut failure = failure(Transport::Tcp, "0.0.0.0", vec![holder]);
        failure.walk.truncated = true;
        let conflict = verdict(&failure, &facts(Some(71234)), &ground()).conflict;
        assert_eq!(conflict.cause, Cause::Unknown, "{words}");
        assert!(
            conflict.message.contains(words)
                && conflict.message.contains("whether something still listens"),
            "{}",
            conflict.message
        );
    }
}

/// The listener is the last of the owners: connections that it accepted do not say that it is gone.
#[test]
fn accepted_connections_of_a_half_read_table_are_not_the_cause() {
    let accepted = || {
        held_by(
            tcp("10.10.10.1", State::Established),
            owner(OwnerSource::Call, Some(Origin::Accepted)),
        )
    };
    let told = |change: fn(&mut Walk)| {
        let mut failure = failure(Transport::Tcp, "0.0.0.0", vec![accepted()]);
        change(&mut failure.walk);
        verdict(&failure, &facts(Some(71234)), &ground()).conflict
    };
    let whole = told(|_| {});
    assert_eq!(whole.cause, Cause::AcceptedConnection);
    assert_eq!(told(|walk| walk.skipped = 40).cause, whole.cause);
    for half in [
        told(|walk| walk.lost = 1),
        told(|walk| walk.truncated = true),
    ] {
        assert_eq!(said(&half), (Cause::Unknown, Certainty::Unknown, 1));
        assert!(half.truncated, "{half:#?}");
        assert!(
            half.message
                .contains("whether something still listens there is not known"),
            "{}",
            half.message
        );
    }
}
