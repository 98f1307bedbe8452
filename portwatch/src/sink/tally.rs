//! Counts of what passed the filters: for the summary, `--max-conflicts` and `--fail-on-conflict`.

use super::recent::{INCIDENTS, Recent};
use crate::report::{Body, Cause, LostCount, Report, Summary, TransportName};
use std::collections::BTreeMap;

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// SIGINT.
    Interrupted,
    /// SIGTERM.
    Terminated,
    /// `--duration` is over.
    Duration,
    /// `--max-conflicts` is reached.
    MaxConflicts,
    /// The command of `run` ended.
    CommandEnded,
    /// A replay is at its end.
    EndOfInput,
    /// It goes on: SIGUSR1 asked for a summary.
    SoFar,
}

impl EndReason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::Interrupted,
        Self::Terminated,
        Self::Duration,
        Self::MaxConflicts,
        Self::CommandEnded,
        Self::EndOfInput,
        Self::SoFar,
    ];

    /// The reason that a capture holds; one that this build does not know is the input's end.
    #[must_use]
    pub fn of_word(word: &str) -> Self {
        let known = Self::ALL.into_iter().find(|reason| reason.word() == word);
        known.unwrap_or(Self::EndOfInput)
    }

    /// As in the summary.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Interrupted => "interrupted",
            Self::Terminated => "terminated",
            Self::Duration => "duration",
            Self::MaxConflicts => "max-conflicts",
            Self::CommandEnded => "command-ended",
            Self::EndOfInput => "end-of-input",
            Self::SoFar => "so-far",
        }
    }
}

/// The counts. An incident counts once, with the cause of its last attempt.
#[derive(Debug)]
pub struct Tally {
    open: Recent<(Cause, TransportName)>,
    incidents: u64,
    totals: BTreeMap<String, u64>,
    causes: BTreeMap<Cause, u64>,
    transports: BTreeMap<TransportName, u64>,
    lost: BTreeMap<String, LostCount>,
    cut: bool,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            open: Recent::new(INCIDENTS),
            incidents: 0,
            totals: BTreeMap::new(),
            causes: BTreeMap::new(),
            transports: BTreeMap::new(),
            lost: BTreeMap::new(),
            cut: false,
        }
    }
}

impl Tally {
    /// Counts a report that passed the filter.
    pub fn count(&mut self, report: &Report) {
        let kind = match &report.body {
            Body::Start(_) => "start",
            Body::Conflict(conflict) => {
                self.incidents += u64::from(self.open.get(&conflict.incident).is_none());
                let now = (conflict.cause, conflict.wanted.transport);
                if let Some(forgotten) = self.open.insert(&conflict.incident, now) {
                    self.close(forgotten);
                }
                "conflict"
            }
            Body::Resolved(resolved) => {
                if let Some((_, transport)) = self.open.remove(&resolved.incident) {
                    self.close((resolved.cause, transport));
                }
                "resolved"
            }
            Body::Refused(_) => "refused",
            Body::Assign(_) => "assign",
            Body::Release(_) => "release",
            Body::Lost(lost) => {
                for LostCount {
                    place,
                    count,
                    meaning,
                    ring,
                    hooks,
                } in &lost.since_last
                {
                    let sum = self
                        .lost
                        .entry(place.clone())
                        .or_insert_with(|| LostCount::new(place.as_str(), 0, String::new()));
                    sum.count += count;
                    sum.meaning.clone_from(meaning);
                    sum.ring.clone_from(ring);
                    for (hook, count) in hooks {
                        *sum.hooks.entry(hook.clone()).or_default() += count;
                    }
                }
                "lost"
            }
            Body::Summary(_) => "summary",
        };
        *self.totals.entry(kind.to_owned()).or_default() += 1;
    }

    /// A part of what happened never came here: no summary is complete any more.
    pub fn cut(&mut self) {
        self.cut = true;
    }

    /// Incidents so far, resolved or not.
    #[must_use]
    pub fn incidents(&self) -> u64 {
        self.incidents
    }

    /// The summary after `duration_ms`. Its totals are those of the lines before it. It is complete
    /// when it is the last line and nothing was lost; the sink adds what the output lost.
    #[must_use]
    pub fn summary(&self, duration_ms: u64, reason: EndReason) -> Summary {
        let mut causes = self.causes.clone();
        let mut transports = self.transports.clone();
        for (cause, transport) in self.open.values() {
            *causes.entry(*cause).or_default() += 1;
            *transports.entry(*transport).or_default() += 1;
        }
        Summary {
            duration_ms,
            incidents: self.incidents,
            totals: self.totals.clone(),
            causes,
            transports,
            lost: self.lost.values().cloned().collect(),
            reason: reason.word().to_owned(),
            complete: self.lost.is_empty() && !self.cut && reason != EndReason::SoFar,
        }
    }

    fn close(&mut self, (cause, transport): (Cause, TransportName)) {
        *self.causes.entry(cause).or_default() += 1;
        *self.transports.entry(transport).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_support::{conflict, lost, report, resolved};
    use super::*;

    #[test]
    fn an_incident_counts_once_with_its_last_cause() {
        let mut tally = Tally::default();
        let mut second = conflict();
        second.attempt = 2;
        second.cause = Cause::OutboundTimeWait;
        tally.count(&report(conflict()));
        tally.count(&report(second));
        assert_eq!(tally.incidents(), 1);
        let summary = tally.summary(5, EndReason::SoFar);
        assert_eq!(
            summary.causes,
            BTreeMap::from([(Cause::OutboundTimeWait, 1)])
        );
        assert!(!summary.complete);

        tally.count(&report(resolved()));
        let mut other = conflict();
        other.incident = "60001-tcp-4026531840-2".into();
        tally.count(&report(other));
        let summary = tally.summary(10, EndReason::Duration);
        assert_eq!(summary.incidents, 2);
        assert_eq!(
            summary.causes,
            BTreeMap::from([(Cause::OutboundConnection, 2)])
        );
        assert_eq!(
            summary.transports,
            BTreeMap::from([(TransportName::Tcp, 2)])
        );
        assert_eq!(summary.totals["conflict"], 3);
        assert_eq!(summary.totals["resolved"], 1);
        assert!(summary.complete);
    }

    #[test]
    fn losses_add_up_per_place() {
        let mut tally = Tally::default();
        tally.count(&report(lost(3)));
        tally.count(&report(lost(4)));
        let summary = tally.summary(10, EndReason::Interrupted);
        assert_eq!(summary.lost.len(), 1);
        assert_eq!(summary.lost[0].count, 7);
        assert!(!summary.complete);
    }
}
