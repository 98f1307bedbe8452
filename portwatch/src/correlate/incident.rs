//! Incidents: the tries of one process for one port, until it has it, takes another or ends.
//!
//! Lives on the failures and on the watched events behind them, never on traffic. Memory is
//! bounded: at most [`MAX_OPEN`] incidents are open at once.

mod freed;
mod number;
mod one;
mod open;

use super::verdict::Verdict;
use crate::advise;
use crate::decode::event::{Assign, Exit, Failure, Ktime, Release, Tgid};
use crate::report::time::millis;
use crate::report::{Body, How, Report, Resolved};
use freed::{Closed, Closing, Freed};
use number::Numbers;
use one::{Incident, Key, MAX_EXITED};
use open::Open;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// Open incidents at most: each has at least one entry in the kernel's WATCHED map (4096).
pub const MAX_OPEN: usize = 1024;

/// What the kernel's WATCHED map may forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unwatch {
    /// A requester: none of its incidents is open any more.
    Process(Tgid),
    /// A holder's socket, by cookie: no open incident waits for it.
    Socket(u64),
    /// Where a requester wanted to connect to: it has, or will not.
    Destination(Tgid, SocketAddr),
}

/// Every open incident.
#[derive(Debug)]
pub struct Incidents {
    timeout: u64,
    settle: u64,
    open: Open,
    /// No deadline lies before this.
    quiet_until: Ktime,
    numbers: Numbers,
    unwatch: Vec<Unwatch>,
}

impl Incidents {
    /// None open.
    #[must_use]
    pub fn new(timeout: Duration, settle: Duration) -> Self {
        Self {
            timeout: nanos(timeout),
            settle: nanos(settle),
            open: Open::default(),
            quiet_until: Ktime(0),
            numbers: Numbers::default(),
            unwatch: Vec::new(),
        }
    }

    /// Counts a failed try and names its incident in the verdict. Returns how many incidents were
    /// dropped for want of room.
    pub fn failed(&mut self, failure: &Failure, verdict: &mut Verdict) -> u64 {
        let key = Key::of(failure);
        let same = |incident: &Incident| incident.key == key;
        let goes_on = |incident: &Incident| incident.goes_on_with(&key, failure);
        let known = self.open.find(key.tgid, goes_on);
        let known = known.or_else(|| self.open.find(key.tgid, same));
        let dropped = if known.is_none() { self.make_room() } else { 0 };
        let number = known.unwrap_or_else(|| {
            let id = self.numbers.next(key.port, key.transport, key.netns);
            self.open.push(Incident::new(key, id, failure, verdict))
        });
        let Some((incident, left)) = self.open.tried(number, failure, verdict) else {
            return dropped;
        };
        verdict.conflict.incident.clone_from(&incident.id);
        verdict.conflict.attempt = incident.attempts;
        verdict.conflict.port_range = incident.port_range();
        let deadline = incident.deadline(self.timeout, self.settle);
        self.quiet_until = self.quiet_until.min(deadline);
        self.forget_sockets(left);
        dropped
    }

    /// The requester of some incident got a port.
    pub fn assigned(&mut self, assign: &Assign, out: &mut Vec<Report>) {
        for incident in self.open.iter_mut() {
            incident.note_other(assign);
            incident.note_half(assign);
        }
        // One that took another port ends sooner now.
        self.quiet_until = Ktime(0);
        let done = self
            .open
            .extract(|incident| incident.is_satisfied_by(assign));
        for incident in done {
            let freed = incident.freed(assign);
            self.close(incident, assign.time, How::GotPort, freed, out);
        }
    }

    /// The last descriptor of a watched socket was closed.
    pub fn released(&mut self, release: &Release) {
        let Some(cookie) = release.socket.cookie else {
            return;
        };
        if !self.open.waits_for(cookie) {
            return;
        }
        for incident in self.open.iter_mut() {
            if incident.cookies.contains(&cookie) {
                incident.closed.push(Closing {
                    cookie,
                    at: release.time,
                    by: (release.task.tgid, release.task.start),
                    what: Closed::of(release),
                });
            }
        }
    }

    /// A process ended: its incidents with it.
    pub fn exited(&mut self, exit: &Exit, out: &mut Vec<Report>) {
        let who = (exit.task.tgid, exit.task.start);
        let done = self
            .open
            .extract(|incident| (incident.key.tgid, incident.key.start) == who);
        for incident in done {
            self.close(incident, exit.time, How::Exited, None, out);
        }
        for incident in self.open.iter_mut() {
            if incident.exited.len() < MAX_EXITED {
                incident.exited.push(who);
            }
        }
    }

    /// Closes every incident whose deadline is not after `now`, earliest first.
    pub fn tick(&mut self, now: Ktime, out: &mut Vec<Report>) {
        if now < self.quiet_until {
            return;
        }
        let (timeout, settle) = (self.timeout, self.settle);
        let mut done = self
            .open
            .extract(|incident| incident.deadline(timeout, settle) <= now);
        done.sort_by_key(|incident| incident.deadline(timeout, settle));
        for incident in done {
            let at = incident.deadline(timeout, settle);
            let how = if incident.other.is_some() {
                How::OtherPort
            } else {
                How::GaveUp
            };
            self.close(incident, at, how, None, out);
        }
        self.quiet_until = self.next_deadline().unwrap_or(Ktime(u64::MAX));
    }

    /// The earliest deadline; `None` = no incident is open.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Ktime> {
        self.open
            .iter()
            .map(|incident| incident.deadline(self.timeout, self.settle))
            .min()
    }

    /// The run ends: incidents whose requester took another port are told, others are not.
    pub fn finish(&mut self, now: Ktime, out: &mut Vec<Report>) {
        self.tick(now, out);
        let settled = self.open.extract(|incident| incident.other.is_some());
        for incident in settled {
            self.close(incident, now, How::OtherPort, None, out);
        }
    }

    /// How much [`Self::take_unwatch`] has at most.
    #[must_use]
    pub fn unwatched(&self) -> usize {
        self.unwatch.len()
    }

    /// What the kernel may forget, since the last call, but for what is waited for again meanwhile.
    pub fn take_unwatch(&mut self) -> Vec<Unwatch> {
        let mut over = std::mem::take(&mut self.unwatch);
        over.retain(|one| match one {
            Unwatch::Process(tgid) => !self.open.has(*tgid),
            Unwatch::Socket(cookie) => !self.open.waits_for(*cookie),
            Unwatch::Destination(tgid, to) => {
                let again =
                    |open: &Incident| (open.key.tgid, open.key.destination) == (*tgid, Some(*to));
                !self.open.iter().any(again)
            }
        });
        over
    }

    fn close(
        &mut self,
        incident: Incident,
        at: Ktime,
        how: How,
        freed: Option<Freed>,
        out: &mut Vec<Report>,
    ) {
        self.forget(&incident);
        let other = incident.other.filter(|_| how == How::OtherPort);
        let port_range = incident.port_range();
        let mut resolved = Resolved {
            incident: incident.id,
            attempts: incident.attempts,
            after_ms: millis(incident.first, other.map_or(at, |(taken, _)| taken)),
            how,
            cause: incident.cause,
            wanted: incident.wanted,
            requester: incident.requester,
            port: other.map(|(_, port)| port),
            port_range,
            serves: if how == How::GotPort {
                Vec::new()
            } else {
                incident.serves
            },
            freed_by: freed.map(|freed| freed.by),
            freed_certainty: freed.map(|freed| freed.certainty),
            message: String::new(),
        };
        resolved.message = advise::resolved_message(&resolved);
        out.push(Report {
            at,
            body: Body::Resolved(Box::new(resolved)),
        });
    }

    /// Drops the incident whose last try is the oldest when there is no room for one more.
    fn make_room(&mut self) -> u64 {
        let Some(incident) = self.open.make_room() else {
            return 0;
        };
        self.forget(&incident);
        1
    }

    /// `incident` is no longer open: nobody waits for what only it waited for.
    fn forget(&mut self, incident: &Incident) {
        let tgid = incident.key.tgid;
        if !self.open.has(tgid) {
            self.unwatch.push(Unwatch::Process(tgid));
        } else if let Some(to) = incident.key.destination {
            self.unwatch.push(Unwatch::Destination(tgid, to));
        }
        self.forget_sockets(incident.cookies.clone());
    }

    fn forget_sockets(&mut self, cookies: BTreeSet<u64>) {
        let open = &self.open;
        let free = cookies
            .into_iter()
            .filter(|cookie| !open.waits_for(*cookie));
        self.unwatch.extend(free.map(Unwatch::Socket));
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
