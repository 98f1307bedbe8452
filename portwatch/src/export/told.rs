//! Holders that nobody saw take their port: what the failures tell of them, until somebody lets go.

use super::holdings::{End, Holding, Since, Who};
use crate::report::{
    Conflict, Endpoint, Holder, HolderKind, How, Release, Resolved, TransportName,
};
use std::collections::HashMap;

/// Holders that are remembered.
const HOLDERS: usize = 65_536;

type Port = (u32, TransportName, u16);

#[derive(Debug)]
struct Told {
    cookie: Option<u64>,
    /// The last that it was in the way of.
    incident: String,
    holding: Holding,
}

/// Holders of one run, by port.
#[derive(Debug, Default)]
pub(super) struct ToldHolders {
    ports: HashMap<Port, Vec<Told>>,
    count: usize,
}

impl Holding {
    /// What a failure at `at` tells of a holder, as if its end was seen there.
    #[must_use]
    pub fn of_holder(holder: &Holder, conflict: &Conflict, at: i64) -> Self {
        let ago = |ms: u64| at.saturating_sub(ns(ms));
        let least = holder.held_at_least_ms.unwrap_or(0);
        Self {
            who: Who::of_holder(holder),
            transport: conflict.wanted.transport,
            netns: conflict.wanted.netns,
            local: holder.local.clone(),
            peer: holder.peer.clone(),
            origin: holder.origin,
            since: holder
                .held_ms
                .map_or_else(|| Since::Before(ago(least)), |ms| Since::Taken(ago(ms))),
            until: at,
            end: End::NotSeen,
        }
    }
}

impl ToldHolders {
    /// The holders of a failed attempt, but for those that are `known`; gives what is forgotten for
    /// them.
    pub(super) fn conflict(
        &mut self,
        conflict: &Conflict,
        at: i64,
        known: impl Fn(&Holder) -> bool,
    ) -> Vec<Holding> {
        let blocking = conflict.holders.iter().filter(|holder| holder.blocking);
        let mut forgotten = Vec::new();
        for holder in blocking.filter(|holder| !known(holder)) {
            if self.count >= HOLDERS {
                forgotten = self.forget();
            }
            self.holder(holder, conflict, at);
        }
        forgotten
    }

    fn holder(&mut self, holder: &Holder, conflict: &Conflict, at: i64) {
        let mut holding = Holding::of_holder(holder, conflict, at);
        // Its process's hold ended with the close, and is told as that.
        if let Some(ms) = holder.closed_ms {
            holding.since = Since::Closed(at.saturating_sub(ns(ms)));
        }
        (holding.until, holding.end) = match (holder.kind, holder.time_wait_left_ms) {
            (HolderKind::TimeWait, Some(ms)) => (at.saturating_add(ns(ms)), End::TimeWait),
            (HolderKind::TimeWait | HolderKind::Orphan | HolderKind::InFlight, _) => {
                (at, End::NotSeen)
            }
            (
                HolderKind::Listener
                | HolderKind::Connection
                | HolderKind::Accepted
                | HolderKind::Bound
                | HolderKind::Udp
                | HolderKind::Kernel,
                _,
            ) => (at, End::Open),
        };
        let port = (holding.netns, holding.transport, holding.local.port);
        let told = self.ports.entry(port).or_default();
        let ends = (&holding.local, holding.peer.as_ref());
        match told.iter_mut().find(|told| told.is(holder.cookie, ends)) {
            Some(told) => {
                told.incident.clone_from(&conflict.incident);
                (told.holding.until, told.holding.end) = (holding.until, holding.end);
            }
            None => {
                self.count += 1;
                told.push(Told {
                    cookie: holder.cookie,
                    incident: conflict.incident.clone(),
                    holding,
                });
            }
        }
    }

    /// Somebody let go.
    pub(super) fn release(&mut self, release: &Release, at: i64) -> Option<Holding> {
        let port = (release.netns, release.transport, release.local.port);
        let ends = (&release.local, release.peer.as_ref());
        let mut over = self.take(port, |told| told.is(release.cookie, ends));
        let mut holding = over.pop()?;
        (holding.until, holding.end) = (at, End::LetGo);
        Some(holding)
    }

    /// The port was got because its holders were gone.
    pub(super) fn resolved(&mut self, resolved: &Resolved, at: i64) -> Vec<Holding> {
        let wanted = &resolved.wanted;
        let (Some(port), How::GotPort, Some(_)) = (wanted.port, resolved.how, resolved.freed_by)
        else {
            return Vec::new();
        };
        let port = (wanted.netns, wanted.transport, port);
        let mut over = self.take(port, |told| told.incident == resolved.incident);
        for holding in &mut over {
            if holding.until > at || holding.end != End::TimeWait {
                (holding.until, holding.end) = (at, End::Gone);
            }
        }
        over
    }

    /// A socket that takes its port now is seen from now on.
    pub(super) fn forget_socket(&mut self, port: Port, cookie: u64) {
        self.take(port, |told| told.cookie == Some(cookie));
    }

    /// What is left at the end of the run.
    pub(super) fn rest(&mut self, at: i64) -> Vec<Holding> {
        let mut rest = self.all();
        for holding in &mut rest {
            if holding.end == End::Open || holding.until > at {
                (holding.until, holding.end) = (at.max(holding.since.ns()), End::Open);
            }
        }
        rest
    }

    /// All of them, as far as they are known now.
    fn forget(&mut self) -> Vec<Holding> {
        let mut all = self.all();
        let open = all.iter_mut().filter(|holding| holding.end == End::Open);
        open.for_each(|holding| holding.end = End::NotSeen);
        all
    }

    fn all(&mut self) -> Vec<Holding> {
        self.count = 0;
        let all = self.ports.drain().flat_map(|(_, told)| told);
        all.map(|told| told.holding).collect()
    }

    fn take(&mut self, port: Port, which: impl Fn(&Told) -> bool) -> Vec<Holding> {
        let Some(told) = self.ports.get_mut(&port) else {
            return Vec::new();
        };
        let over: Vec<Told> = told.extract_if(.., |told| which(told)).collect();
        if told.is_empty() {
            self.ports.remove(&port);
        }
        self.count -= over.len();
        over.into_iter().map(|told| told.holding).collect()
    }
}

impl Told {
    /// The same socket; by its ends where one of the two has no cookie.
    fn is(&self, cookie: Option<u64>, (local, peer): (&Endpoint, Option<&Endpoint>)) -> bool {
        match (self.cookie, cookie) {
            (Some(one), Some(other)) => one == other,
            (None, _) | (_, None) => {
                self.holding.local == *local && self.holding.peer.as_ref() == peer
            }
        }
    }
}

fn ns(ms: u64) -> i64 {
    i64::try_from(ms).map_or(i64::MAX, |ms| ms.saturating_mul(1_000_000))
}
