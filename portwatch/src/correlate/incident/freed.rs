//! What made room for a port that its requester got at last.

use crate::correlate::verdict::Blocker;
use crate::decode::event::{Ktime, Release, State, Tgid};
use crate::report::{Certainty, FreedBy};

/// The close of a watched socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closing {
    /// The socket.
    pub(super) cookie: u64,
    /// When.
    pub(super) at: Ktime,
    /// The process that closed it, with its start.
    pub(super) by: (Tgid, Ktime),
    /// What closed.
    pub(super) what: Closed,
}

/// In which way a socket let go of its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    /// A process closed it.
    ByProcess {
        /// It was exiting.
        exiting: bool,
    },
    /// TIME_WAIT ran out.
    TimeWait,
    /// The kernel ended it.
    ByKernel,
}

impl Closed {
    /// What a release tells.
    pub(super) fn of(release: &Release) -> Self {
        match (release.let_go, release.socket.state) {
            (None, _) => Self::ByProcess {
                exiting: release.exiting,
            },
            (Some(_), State::TimeWait) => Self::TimeWait,
            (Some(_), _) => Self::ByKernel,
        }
    }
}

/// What freed a port, and how sure that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Freed {
    pub(super) by: FreedBy,
    pub(super) certainty: Certainty,
}

/// How long TIME_WAIT keeps a port (include/net/tcp.h:TCP_TIMEWAIT_LEN, 60 s), less what a timer may
/// be early.
const TIME_WAIT: u64 = 55_000_000_000;

/// What freed the port of the last try's `blockers`, `got` at last: `closed` since then, `exited` since
/// then. `None` = nobody saw it.
pub(super) fn freed<'a>(
    blockers: &[Blocker],
    truncated: bool,
    closed: impl Iterator<Item = &'a Closing>,
    exited: &[(Tgid, Ktime)],
    same_options: bool,
    got: Ktime,
) -> Option<Freed> {
    let closed: Vec<_> = closed
        .filter(|closing| blockers.iter().any(|b| b.cookie == Some(closing.cookie)))
        .collect();
    let Some(last) = closed.last() else {
        // TIME_WAIT has no descriptor to close: it runs out. Unless the requester now allows
        // what it did not, which would let it in beside it.
        let only_time_wait = !blockers.is_empty() && blockers.iter().all(|b| b.time_wait);
        return (only_time_wait && !truncated && same_options).then_some(Freed {
            by: FreedBy::TimeWaitOver,
            certainty: Certainty::Inferred,
        });
    };
    let all = blockers.iter().all(|b| {
        b.cookie
            .is_some_and(|cookie| closed.iter().any(|c| c.cookie == cookie))
    });
    // A process closes a connection, and the kernel ends it later: in TIME_WAIT, or as an orphan. A
    // backend that sees that tells it, and it is the last that is known then.
    let by_process = matches!(last.what, Closed::ByProcess { .. });
    let lingers = by_process && blockers.iter().any(|blocker| blocker.connected);
    if lingers && got.0.saturating_sub(last.at.0) >= TIME_WAIT {
        return Some(Freed {
            by: FreedBy::TimeWaitOver,
            certainty: Certainty::Inferred,
        });
    }
    let certainty = if all && !truncated && !lingers {
        Certainty::Exact
    } else {
        Certainty::Inferred
    };
    let by = match last.what {
        Closed::TimeWait => FreedBy::TimeWaitOver,
        Closed::ByKernel => FreedBy::ConnectionOver,
        Closed::ByProcess { exiting } if exiting || exited.contains(&last.by) => {
            FreedBy::HolderExited
        }
        Closed::ByProcess { .. } => FreedBy::HolderClosed,
    };
    Some(Freed { by, certainty })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection outlives its close in TIME_WAIT, a listener does not.
    #[test]
    fn what_was_got_a_minute_after_the_close_was_in_time_wait() {
        let told = |connected, after: u64| {
            let blocker = Blocker {
                cookie: Some(487),
                time_wait: false,
                connected,
            };
            let closing = Closing {
                cookie: 487,
                at: Ktime(1_000),
                by: (Tgid(77), Ktime(1)),
                what: Closed::ByProcess { exiting: false },
            };
            let got = Ktime(1_000 + after);
            let freed = freed(&[blocker], false, [&closing].into_iter(), &[], true, got);
            freed.map(|freed| (freed.by, freed.certainty))
        };
        let closed = FreedBy::HolderClosed;
        assert_eq!(told(true, 1), Some((closed, Certainty::Inferred)));
        assert_eq!(
            told(true, 60_000_000_000),
            Some((FreedBy::TimeWaitOver, Certainty::Inferred))
        );
        assert_eq!(
            told(false, 60_000_000_000),
            Some((closed, Certainty::Exact))
        );
    }
}
