//! Events in, verdicts out: no bytes, no /proc, no clock, no I/O.
//!
//! `conflict_rule` is the kernel's bind rule; `origin`, `keeper`, `people`, `cause`, `circumstance`
//! and `holder` say of one holder what is proven of it; `verdict` puts a failure together; `incident` counts tries until
//! the requester has its port or ends. The same events give the same reports, live or replayed.
#![forbid(unsafe_code)]

mod about;
mod blind;
pub mod cause;
pub mod circumstance;
pub mod conflict_rule;
pub mod exhausted;
pub mod holder;
pub mod incident;
pub mod keeper;
mod older;
pub mod origin;
pub mod people;
pub mod same_connection;
#[cfg(test)]
pub(crate) mod testing;
mod traffic;
pub mod verdict;
mod words;

use crate::decode::event::{Event, Failure, Ktime, NetnsId, Socket};
use crate::enrich::{Enriched, EventFacts};
use crate::report::{Body, ClockAnchor, Lost, LostCount, Report};
use incident::Incidents;
pub use incident::Unwatch;
use older::Older;
use std::time::Duration;
use verdict::Ground;

/// Dropped incidents are told in one line so often at most.
const DROPPED_EVERY_NS: u64 = 1_000_000_000;

/// What the caller may choose.
#[derive(Clone, Debug)]
pub struct Options {
    /// An incident without a try for so long has been given up.
    pub incident_timeout: Duration,
    /// List holders that do not block as well.
    pub neighbours: bool,
    /// The caller's network namespace; `None` = not known, then no command is advised that
    /// depends on it.
    pub own_netns: Option<NetnsId>,
    /// Closes are seen: whoever closed a socket that another process opened is told apart.
    pub closes_seen: bool,
    /// A process that took another port and does not come back for so long has settled there.
    pub settle: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            incident_timeout: Duration::from_secs(30),
            neighbours: false,
            own_netns: None,
            closes_seen: true,
            settle: Duration::from_secs(3),
        }
    }
}

/// Turns events into reports.
#[derive(Debug)]
pub struct Correlator {
    options: Options,
    start: Ktime,
    anchor: ClockAnchor,
    seeded_at: Option<Ktime>,
    owners_lost: bool,
    lost_total: u64,
    /// Incidents that were dropped and not told yet, and when such were told last.
    dropped: u64,
    dropped_told: Ktime,
    incidents: Incidents,
    older: Older,
}

impl Correlator {
    /// `start` is when the hooks were attached.
    #[must_use]
    pub fn new(options: Options, start: Ktime, anchor: ClockAnchor) -> Self {
        let incidents = Incidents::new(options.incident_timeout, options.settle);
        Self {
            options,
            start,
            anchor,
            seeded_at: None,
            owners_lost: false,
            lost_total: 0,
            dropped: 0,
            dropped_told: Ktime(0),
            incidents,
            older: Older::default(),
        }
    }

    /// The clock was set, or the machine resumed: wall time follows from kernel time so from now.
    pub fn set_anchor(&mut self, anchor: ClockAnchor) {
        self.anchor = anchor;
    }

    /// The start-up scan is merged. A failure before `at` that would rest on what the maps did
    /// not hold yet is at best inferred.
    pub fn snapshot_complete(&mut self, at: Ktime) {
        self.seeded_at = Some(at);
    }

    /// Sockets without a descriptor that are older than the hooks, as the start-up scan met them.
    pub fn older(&mut self, sockets: impl IntoIterator<Item = Socket>) {
        self.older.add(sockets);
    }

    /// Takes the next event of the stream.
    pub fn event(&mut self, e: Enriched, out: &mut Vec<Report>) {
        let Enriched { event, facts } = e;
        match event {
            Event::Failure(mut failure) => {
                for holder in &mut failure.holders {
                    holder.older = self.older.holds(&holder.socket);
                    older::forget_listener(holder);
                }
                self.incidents.tick(failure.time, out);
                self.failure(&failure, &facts, out);
            }
            Event::Refused(failure) => out.push(Report {
                at: failure.time,
                body: Body::Refused(Box::new(traffic::refused(&failure, &facts, self.anchor))),
            }),
            Event::Assign(assign) if assign.watched => {
                self.incidents.tick(assign.time, out);
                self.incidents.assigned(&assign, out);
            }
            Event::Assign(assign) => out.push(Report {
                at: assign.time,
                body: Body::Assign(Box::new(traffic::assign(&assign, &facts, self.anchor))),
            }),
            Event::Release(release) if release.watched => self.incidents.released(&release),
            Event::Release(release) => out.push(Report {
                at: release.time,
                body: Body::Release(Box::new(traffic::release(&release, &facts, self.anchor))),
            }),
            Event::Exit(exit) => {
                self.incidents.tick(exit.time, out);
                self.incidents.exited(&exit, out);
            }
        }
    }

    fn failure(&mut self, failure: &Failure, facts: &EventFacts, out: &mut Vec<Report>) {
        let ground = Ground {
            start: self.start,
            anchor: self.anchor,
            seeded: self.seeded_at.is_some_and(|at| at <= failure.time),
            owners_lost: self.owners_lost,
            neighbours: self.options.neighbours,
            own_netns: self.options.own_netns,
            closes_seen: self.options.closes_seen,
        };
        let mut verdict = verdict::verdict(failure, facts, &ground);
        self.dropped += self.incidents.failed(failure, &mut verdict);
        out.push(Report {
            at: failure.time,
            body: Body::Conflict(Box::new(verdict.conflict)),
        });
        if failure.time.since(self.dropped_told) >= DROPPED_EVERY_NS {
            self.tell_dropped(failure.time, out);
        }
    }

    fn tell_dropped(&mut self, at: Ktime, out: &mut Vec<Report>) {
        if self.dropped == 0 {
            return;
        }
        self.dropped_told = at;
        let count = LostCount::new(
            "incidents",
            std::mem::take(&mut self.dropped),
            "too many incidents were open at once: how the oldest end is not told",
        );
        self.lost(at, vec![count], out);
    }

    /// Events were dropped before they came here.
    ///
    /// A hole among the failures or releases changes no verdict on a failure that did arrive, and
    /// a failure that lost holders says so itself. Lost entries of the owner maps do: another
    /// process may have been the last listener, so a name that rests on it is only inferred.
    pub fn lost(&mut self, at: Ktime, counts: Vec<LostCount>, out: &mut Vec<Report>) {
        let counts: Vec<_> = counts.into_iter().filter(|count| count.count > 0).collect();
        if counts.is_empty() {
            return;
        }
        self.owners_lost |= counts.iter().any(|count| count.place == "owners");
        let new = counts
            .iter()
            .fold(0, |sum: u64, count| sum.saturating_add(count.count));
        self.lost_total = self.lost_total.saturating_add(new);
        let lost = Lost {
            since_last: counts,
            total: self.lost_total,
        };
        out.push(Report {
            at,
            body: Body::Lost(lost),
        });
    }

    /// Closes the incidents whose time is over.
    pub fn tick(&mut self, now: Ktime, out: &mut Vec<Report>) {
        self.incidents.tick(now, out);
    }

    /// When `tick` has something to do; `None` while no incident is open.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Ktime> {
        self.incidents.next_deadline()
    }

    /// The run ends: a process that took another port has settled there as far as anyone will
    /// see; how the other incidents end is not known, so no line says it.
    pub fn finish(&mut self, now: Ktime, out: &mut Vec<Report>) {
        self.incidents.finish(now, out);
        self.tell_dropped(now, out);
    }

    /// How much [`Self::take_unwatch`] has at most.
    #[must_use]
    pub fn unwatched(&self) -> usize {
        self.incidents.unwatched()
    }

    /// What the kernel's WATCHED map may forget, since the last call.
    pub fn take_unwatch(&mut self) -> Vec<Unwatch> {
        self.incidents.take_unwatch()
    }
}

#[cfg(test)]
mod tests;
