//! What was dropped, told from the counters of the kernel side.

use super::control::Totals;
use crate::report::LostCount;
use portwatch_common::Counter;

/// A kind of loss: where, which counter, and what it means for the verdicts.
const KINDS: &[(&str, u32, &str)] = &[
    (
        "failures",
        Counter::FAILURES_DROPPED,
        "failed calls that are not told: the ring of failures was full",
    ),
    (
        "sockets",
        Counter::SOCKET_UNREADABLE,
        "failed calls that are not told: their descriptor was closed before it could be read",
    ),
    (
        "holders",
        Counter::HOLDERS_DROPPED,
        "owners of a wanted port that are not told: that verdict is at best inferred",
    ),
    (
        "refused",
        Counter::REFUSED_DROPPED,
        "calls refused for other reasons that are not told",
    ),
    (
        "assign",
        Counter::ASSIGN_DROPPED,
        "ports taken that are not told; no verdict rests on them",
    ),
    (
        "release",
        Counter::RELEASE_DROPPED,
        "ports let go that are not told; no verdict rests on them",
    ),
    (
        "watched",
        Counter::WATCHED_DROPPED,
        "ends of incidents that are not told",
    ),
    (
        "watch",
        Counter::WATCHED_FULL,
        "incidents whose end cannot be seen: too many are open at once",
    ),
    (
        "owners",
        Counter::OWNERS_FULL,
        "sockets whose taker is not remembered: `--owners` sets the room",
    ),
];

/// The counters that [`since`] looks at.
pub fn counters() -> impl Iterator<Item = u32> {
    KINDS.iter().map(|(_, counter, _)| *counter)
}

/// What was lost since the totals `before`; kinds without a loss are left out.
#[must_use]
pub fn since(before: &Totals, now: &Totals) -> Vec<LostCount> {
    KINDS
        .iter()
        .filter_map(|(place, counter, meaning)| {
            let count = now.get(*counter).saturating_sub(before.get(*counter));
            (count > 0).then(|| LostCount {
                place: (*place).to_owned(),
                count,
                meaning: (*meaning).to_owned(),
            })
        })
        .collect()
}
