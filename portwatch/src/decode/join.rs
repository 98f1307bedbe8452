//! Failures and their holders, joined by id.

use super::event::{Failure, Holder};
use super::records::FailureHead;
use std::collections::HashMap;

/// Failures that wait for holders. Bounded by the ring: `give_up` empties it at every drain.
#[derive(Debug, Default)]
pub(super) struct Join {
    waiting: HashMap<u64, Waiting>,
}

#[derive(Debug)]
struct Waiting {
    failure: Failure,
    missing: u32,
}

impl Join {
    /// A failure; given back at once if no holder is to come.
    pub(super) fn failure(&mut self, id: u64, head: FailureHead) -> Option<Box<Failure>> {
        let FailureHead { failure, expected } = head;
        if expected == 0 {
            return Some(Box::new(failure));
        }
        let missing = expected;
        self.waiting.insert(id, Waiting { failure, missing });
        None
    }

    /// A holder; gives its failure back if it was the last one. A holder of no known failure is
    /// dropped: its failure was lost, which the kernel side counted.
    pub(super) fn holder(&mut self, id: u64, holder: Holder) -> Option<Box<Failure>> {
        let waiting = self.waiting.get_mut(&id)?;
        waiting.failure.holders.push(holder);
        self.one_less(id)
    }

    /// A holder that could not be read.
    pub(super) fn unreadable(&mut self, id: u64) {
        if let Some(waiting) = self.waiting.get_mut(&id) {
            waiting.failure.walk.lost = waiting.failure.walk.lost.saturating_add(1);
            waiting.missing = waiting.missing.saturating_sub(1);
        }
    }

    fn one_less(&mut self, id: u64) -> Option<Box<Failure>> {
        let waiting = self.waiting.get_mut(&id)?;
        waiting.missing = waiting.missing.saturating_sub(1);
        if waiting.missing > 0 {
            return None;
        }
        self.waiting
            .remove(&id)
            .map(|waiting| Box::new(waiting.failure))
    }

    /// Every failure that still waits, oldest first, its missing holders counted as lost.
    pub(super) fn give_up(&mut self) -> Vec<Failure> {
        let mut failures: Vec<Failure> = self
            .waiting
            .drain()
            .map(
                |(
                    _,
                    Waiting {
                        mut failure,
                        missing,
                    },
                )| {
                    failure.walk.lost = failure.walk.lost.saturating_add(missing);
                    failure
                },
            )
            .collect();
        failures.sort_by_key(|failure| failure.time);
        failures
    }
}
