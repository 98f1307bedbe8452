//! What was dropped, told from the counters of the kernel side.

use super::control::Totals;
use super::hooks;
use crate::report::LostCount;
use portwatch_common::{Counter, HookId};
use std::collections::BTreeMap;

/// A kind of loss.
struct Kind {
    /// Where, as the output names it.
    place: &'static str,
    /// What counts it.
    counter: u32,
    /// The ring that was full, if one was.
    ring: Option<&'static str>,
    /// What it means for the verdicts.
    meaning: &'static str,
}

const FAILURES: Option<&str> = Some("failures");
const TRAFFIC: Option<&str> = Some("traffic");

const KINDS: &[Kind] = &[
    Kind {
        place: "failures",
        counter: Counter::FAILURES_DROPPED,
        ring: FAILURES,
        meaning: "failed calls that are not told: the ring of failures was full",
    },
    Kind {
        place: "sockets",
        counter: Counter::SOCKET_UNREADABLE,
        ring: None,
        meaning: "failed calls that are not told: their descriptor was closed before it could be \
                  read",
    },
    Kind {
        place: "sends",
        counter: Counter::SENDS_UNREADABLE,
        ring: None,
        meaning: "sends that are not told though they may have failed for want of a port: their \
                  descriptor was closed before it could be read",
    },
    Kind {
        place: "returns",
        counter: Counter::RETURNS_MISSED,
        ring: None,
        meaning: "calls that are not told, whatever they came to: more of them were under way at once \
                  than the kernel has room for (kretprobe instances); trampolines have no such limit",
    },
    Kind {
        place: "notes",
        counter: Counter::NOTES_FULL,
        ring: None,
        meaning: "calls whose beginning could not be noted: a failure among them is not told, or \
                  without the address that it wanted",
    },
    Kind {
        place: "holders",
        counter: Counter::HOLDERS_DROPPED,
        ring: FAILURES,
        meaning: "owners of a wanted port that are not told: that verdict is at best inferred",
    },
    Kind {
        place: "refused",
        counter: Counter::REFUSED_DROPPED,
        ring: FAILURES,
        meaning: "calls refused for other reasons that are not told",
    },
    Kind {
        place: "assign",
        counter: Counter::ASSIGN_DROPPED,
        ring: TRAFFIC,
        meaning: "ports taken that are not told; no verdict rests on them",
    },
    Kind {
        place: "release",
        counter: Counter::RELEASE_DROPPED,
        ring: TRAFFIC,
        meaning: "ports let go that are not told; no verdict rests on them",
    },
    Kind {
        place: "watched",
        counter: Counter::WATCHED_DROPPED,
        ring: FAILURES,
        meaning: "ends of incidents that are not told",
    },
    Kind {
        place: "watch",
        counter: Counter::WATCHED_FULL,
        ring: None,
        meaning: "incidents whose end cannot be seen: too many are open at once",
    },
    Kind {
        place: "owners",
        counter: Counter::OWNERS_FULL,
        ring: None,
        meaning: "sockets whose taker is not remembered: `--owners` sets the room",
    },
];

/// What was lost since the totals `before`; kinds without a loss are left out.
#[must_use]
pub fn since(before: &Totals, now: &Totals) -> Vec<LostCount> {
    KINDS
        .iter()
        .filter_map(|kind| kind.since(before, now))
        .collect()
}

impl Kind {
    fn since(&self, before: &Totals, now: &Totals) -> Option<LostCount> {
        let mut hooks = BTreeMap::new();
        for hook in 0..HookId::COUNT {
            let (before, now) = (before.get(hook, self.counter), now.get(hook, self.counter));
            let count = now.saturating_sub(before);
            if count > 0 {
                hooks.insert(hooks::name(hook).to_owned(), count);
            }
        }
        let count = hooks
            .values()
            .fold(0, |sum: u64, count| sum.saturating_add(*count));
        (count > 0).then(|| LostCount {
            ring: self.ring.map(str::to_owned),
            hooks,
            ..LostCount::new(self.place, count, self.meaning)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(counts: &[(u32, u32, u64)]) -> Totals {
        let mut totals = Totals::default();
        for (hook, counter, count) in counts {
            let mut row = [0; Counter::COUNT as usize];
            row[*counter as usize] = *count;
            totals.add(*hook, &row);
        }
        totals
    }

    #[test]
    fn each_loss_names_its_ring_and_its_hooks() {
        let before = totals(&[(HookId::SYS_EXIT_BIND, Counter::FAILURES_DROPPED, 3)]);
        let now = totals(&[
            (HookId::SYS_EXIT_BIND, Counter::FAILURES_DROPPED, 5),
            (HookId::SYS_EXIT_LISTEN, Counter::FAILURES_DROPPED, 1),
            (HookId::SOCK_OPS, Counter::OWNERS_FULL, 7),
            (HookId::SYS_EXIT_BIND, Counter::FAILURES_EMITTED, 9),
        ]);
        let [failures, owners] = since(&before, &now).try_into().unwrap();
        assert_eq!((failures.place.as_str(), failures.count), ("failures", 3));
        assert_eq!(failures.ring.as_deref(), Some("failures"));
        let hooks: Vec<_> = failures.hooks.into_iter().collect();
        assert_eq!(
            hooks,
            [
                ("syscalls:sys_exit_bind".to_owned(), 2),
                ("syscalls:sys_exit_listen".to_owned(), 1)
            ]
        );
        assert_eq!((owners.place.as_str(), owners.count), ("owners", 7));
        assert_eq!(owners.ring, None);
        assert!(since(&now, &now).is_empty());
    }

    #[test]
    fn every_hook_that_counts_has_a_name_of_its_own() {
        let mut names: Vec<_> = (0..HookId::COUNT).map(hooks::name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), HookId::COUNT as usize);
    }
}
