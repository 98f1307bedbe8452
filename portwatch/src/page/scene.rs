//! One namespace of one host: its range, what was given out of it, and the ports that somebody
//! wanted in vain.

use super::grid::Grid;
use super::thinned::Thinned;
use crate::export::holdings::{End, Holding, Since};
use crate::report::{Conflict, NetnsRange, OriginName, TransportName};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Ports whose holders are followed: those with most failures, and as many again that failed lately.
const CONTESTED: usize = 500;
/// Stands for any port of the range: the call found none.
pub(super) const ANY: u16 = 0;
/// Holds of one of them that are kept.
const SPANS: usize = 200;
/// Failures of one of them that are kept, drawn and listed, spread over all of them.
const MARKS: usize = 60;

/// One namespace.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) host: String,
    pub(super) netns: u32,
    /// Its range, as last told.
    pub(super) range: Option<(u16, u16)>,
    pub(super) reserved: String,
    pub(super) grid: Grid,
    /// Ports taken from the range, by port.
    pub(super) picked: Vec<u32>,
    pub(super) held: u64,
    pub(super) incidents: u64,
    /// Others had more before: it is followed from then on.
    pub(super) only_since: Option<i64>,
    pub(super) services: BTreeMap<(u16, TransportName), Service>,
    /// Failures of every port: there are no more of them than ports.
    pub(super) failed: HashMap<(u16, TransportName), u64>,
    pub(super) contested: HashMap<(u16, TransportName), Contested>,
}

/// A port that a program asks for by number.
#[derive(Debug, Default)]
pub(super) struct Service {
    pub(super) program: String,
    /// Times that it got the port.
    pub(super) taken: u64,
    /// Times that it did not.
    pub(super) failed: u64,
}

/// A port that was wanted in vain.
#[derive(Debug, Default)]
pub(super) struct Contested {
    pub(super) spans: Vec<Span>,
    /// Those that were too many.
    pub(super) rest: Option<Rest>,
    pub(super) marks: Thinned<Mark, MARKS>,
}

/// Holds that are not told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rest {
    pub(super) count: u64,
    pub(super) since: i64,
    pub(super) until: i64,
}

/// Somebody held it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) program: String,
    pub(super) pid: u32,
    pub(super) since: i64,
    pub(super) until: i64,
    pub(super) end: End,
    /// Nobody saw its beginning.
    pub(super) since_before: bool,
}

/// Somebody wanted it.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) at: i64,
    pub(super) program: String,
    pub(super) pid: u32,
}

impl Scene {
    pub(super) fn new(host: &str, netns: u32, began: i64) -> Self {
        Self {
            host: host.to_owned(),
            netns,
            range: None,
            reserved: String::new(),
            grid: Grid::new(began),
            picked: Vec::new(),
            held: 0,
            incidents: 0,
            only_since: None,
            services: BTreeMap::new(),
            failed: HashMap::new(),
            contested: HashMap::new(),
        }
    }

    /// Every port that was wanted in vain and how often, those with most failures first. Any port
    /// comes before them.
    pub(super) fn ranks(&self) -> Vec<((u16, TransportName), u64)> {
        let failed = self.failed.iter();
        let mut ranks: Vec<_> = failed.map(|(port, failed)| (*port, *failed)).collect();
        ranks.sort_by_key(|(port, failed)| (port.0 != ANY, std::cmp::Reverse(*failed), *port));
        ranks
    }

    /// What the ports with most failures and the one that fails now leave no room for is forgotten.
    /// A port that has most in the end is among them: others only come in front of it by failing.
    fn forget_small(&mut self) {
        if self.contested.len() < 2 * CONTESTED {
            return;
        }
        let most = self.ranks().into_iter().take(CONTESTED);
        let most: HashSet<_> = most.map(|(port, _)| port).collect();
        self.contested.retain(|port, _| most.contains(port));
    }

    pub(super) fn range(&mut self, range: &NetnsRange) {
        self.range = Some((range.low, range.high));
        self.reserved.clone_from(&range.reserved);
    }

    /// A port was taken: by number, or out of the range.
    pub(super) fn taken(
        &mut self,
        origin: Option<OriginName>,
        port: u16,
        transport: TransportName,
        program: &str,
    ) {
        match origin {
            Some(OriginName::ExplicitBind) => self.service(port, transport, program).taken += 1,
            Some(
                OriginName::EphemeralConnect
                | OriginName::EphemeralBind
                | OriginName::EphemeralAutobind,
            ) => {
                if self.picked.is_empty() {
                    self.picked = vec![0; 65_536];
                }
                self.picked[usize::from(port)] += 1;
            }
            Some(OriginName::Accepted | OriginName::Kernel) | None => {}
        }
    }

    fn service(&mut self, port: u16, transport: TransportName, program: &str) -> &mut Service {
        let service = self.services.entry((port, transport)).or_default();
        if service.program.is_empty() {
            program.clone_into(&mut service.program);
        }
        service
    }

    /// A hold that is over, or was not when the run ended.
    pub(super) fn held(&mut self, holding: &Holding, number: u32) {
        let port = holding.local.port;
        self.grid
            .add(number, port, holding.since.ns(), holding.until);
        if let Some(contested) = self.contested.get_mut(&(port, holding.transport)) {
            contested.span(holding);
        }
    }

    /// A failed attempt; `new` is the first of its incident.
    pub(super) fn conflict(&mut self, conflict: &Conflict, at: i64, new: bool) {
        self.range
            .get_or_insert((conflict.range.low, conflict.range.high));
        let transport = conflict.wanted.transport;
        let program = &conflict.requester.comm;
        if let (crate::report::Call::Bind, Some(port)) = (conflict.call, conflict.wanted.port) {
            self.service(port, transport, program).failed += u64::from(new);
        }
        let key = (conflict.wanted.port.unwrap_or(ANY), transport);
        *self.failed.entry(key).or_insert(0) += 1;
        if !self.contested.contains_key(&key) {
            self.forget_small();
        }
        let contested = self.contested.entry(key).or_default();
        contested.marks.push(|| Mark {
            at,
            program: program.clone(),
            pid: conflict.requester.pid,
        });
        for holder in conflict.holders.iter().filter(|holder| holder.blocking) {
            contested.span(&Holding::of_holder(holder, conflict, at));
        }
    }
}

/// A conflict tells since when in milliseconds: two spans of a process that begin so near are one.
const NEAR: u64 = 5_000_000;
/// So is what follows a close, whose time a conflict tells in milliseconds as well.
const MS: i64 = 1_000_000;

impl Contested {
    /// A hold is told at each failure, longer each time, and at its end; what is left of it after
    /// the close is told as another one.
    fn span(&mut self, holding: &Holding) {
        let Holding {
            who,
            since,
            until,
            end,
            ..
        } = holding;
        let (since, until, end) = (since.ns(), *until, *end);
        let since_before = matches!(holding.since, Since::Before(_));
        let same = self.spans.iter_mut().rev().find(|span| {
            let near = span.since.abs_diff(since) <= NEAR;
            let meet =
                since <= span.until.saturating_add(MS) && span.since <= until.saturating_add(MS);
            span.pid == who.pid && span.program == who.comm && (near || meet)
        });
        if let Some(span) = same {
            if until >= span.until {
                (span.until, span.end) = (until, end);
            }
            if since < span.since {
                (span.since, span.since_before) = (since, since_before);
            }
            return;
        }
        if self.spans.len() >= SPANS {
            let rest = self.rest.get_or_insert(Rest {
                count: 0,
                since,
                until,
            });
            rest.count += 1;
            rest.since = rest.since.min(since);
            rest.until = rest.until.max(until);
            return;
        }
        self.spans.push(Span {
            program: who.comm.clone(),
            pid: who.pid,
            since,
            until,
            end,
            since_before,
        });
    }
}
