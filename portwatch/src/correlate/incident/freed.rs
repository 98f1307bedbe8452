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

/// What freed the port of the last try's `blockers`: `closed` since then, `exited` since then.
/// `None` = nobody saw it.
pub(super) fn freed<'a>(
    blockers: &[Blocker],
    truncated: bool,
    closed: impl Iterator<Item = &'a Closing>,
    exited: &[(Tgid, Ktime)],
    same_options: bool,
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
    let certainty = if all && !truncated {
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
