//! The rule where the options of neither side are known: a failure that was told blindly
//! (`lockdown=confidentiality`), with the sockets that sock_diag shows.

use super::conflict_rule::{Binder, Outcome, Uncertain, judge};
use super::holder::Judged;
use crate::decode::event::{Failure, State, Transport};

/// Takes back every judgement that rests on an option. What is left is a listener of TCP that
/// overlaps whatever IPV6_V6ONLY of the caller is: SO_REUSEADDR never helps against it, and with
/// SO_REUSEPORT on both sides the kernel would not have refused the call.
pub(super) fn doubt(judged: &mut [Judged<'_>], failure: &Failure) {
    let Ok(binder) = Binder::of(failure) else {
        return;
    };
    let only_v6 = Binder {
        v6only: true,
        ..binder.clone()
    };
    for one in judged {
        let socket = &one.holder.socket;
        let certain = binder.transport == Transport::Tcp
            && socket.transport == Transport::Tcp
            && socket.state == State::Listen
            && socket.device == 0
            && judge(&only_v6, one.holder, 1) == Outcome::Blocks;
        let other_table = socket.protocol != failure.socket.protocol;
        if one.outcome == Outcome::Blocks && (!certain || other_table) {
            one.outcome = Outcome::Uncertain(Uncertain::Blind);
            one.reading = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::correlate::testing::{facts, failure, ground, holder, tcp};
    use crate::correlate::verdict::verdict;
    use crate::decode::event::{Holder, NetnsId, Socket, State, Transport};
    use crate::report::{Cause, Certainty, Conflict};

    fn told(transport: Transport, wanted: &str, sockets: Vec<Socket>) -> Conflict {
        let holders: Vec<Holder> = sockets.into_iter().map(holder).collect();
        let mut failure = failure(transport, wanted, holders);
        failure.walk.made = false;
        failure.walk.buckets = 0;
        verdict(&failure, &facts(Some(71234)), &ground()).conflict
    }

    fn unknown(conflict: &Conflict) -> bool {
        conflict.cause == Cause::Unknown
            && conflict.certainty == Certainty::Unknown
            && conflict.holders.is_empty()
            && conflict.truncated
    }

    #[test]
    fn a_listener_is_inferred_never_more() {
        let conflict = told(
            Transport::Tcp,
            "0.0.0.0",
            vec![tcp("10.10.10.1", State::Listen)],
        );
        assert_eq!(
            (conflict.cause, conflict.certainty, conflict.truncated),
            (Cause::Listener, Certainty::Inferred, true)
        );
        assert!(conflict.holders[0].blocking);
    }

    #[test]
    fn whatever_depends_on_an_option_is_unknown() {
        for state in [
            State::Established,
            State::SynSent,
            State::TimeWait,
            State::Close,
        ] {
            let conflict = told(Transport::Tcp, "0.0.0.0", vec![tcp("10.10.10.1", state)]);
            assert!(unknown(&conflict), "{state:?}: {conflict:#?}");
            assert!(conflict.message.contains("confidentiality"));
        }
    }

    #[test]
    fn a_listener_elsewhere_is_nobody() {
        let conflict = told(
            Transport::Tcp,
            "10.10.10.9",
            vec![tcp("10.10.10.1", State::Listen)],
        );
        assert!(unknown(&conflict));
    }

    /// Whether `[::]` wants IPv4 as well is the caller's IPV6_V6ONLY.
    #[test]
    fn an_ipv4_listener_may_be_no_matter_of_ipv6() {
        let conflict = told(Transport::Tcp, "::", vec![tcp("10.10.10.1", State::Listen)]);
        assert!(unknown(&conflict));
    }

    #[test]
    fn the_other_transport_is_nobody() {
        let conflict = told(
            Transport::Udp,
            "0.0.0.0",
            vec![tcp("10.10.10.1", State::Listen)],
        );
        assert!(unknown(&conflict));
    }

    /// That the range is exhausted needs no namespace; which range it is does.
    #[test]
    fn a_namespace_that_is_not_known_is_told_as_such() {
        for (wanted, cause) in [(Some(60001), Cause::Unknown), (None, Cause::RangeExhausted)] {
            let mut failure = failure(Transport::Tcp, "0.0.0.0", Vec::new());
            failure.walk.made = false;
            failure.netns = NetnsId::UNKNOWN;
            failure.wanted.port = wanted;
            (failure.range.low, failure.range.high) = (0, 0);
            let conflict = verdict(&failure, &facts(Some(71234)), &ground()).conflict;
            assert_eq!((conflict.cause, conflict.holders.len()), (cause, 0));
            let message = conflict.message;
            assert!(message.contains("another network namespace"), "{message}");
        }
    }

    #[test]
    fn nobody_is_told_as_not_read() {
        let conflict = told(Transport::Tcp, "0.0.0.0", Vec::new());
        assert!(unknown(&conflict));
    }
}
