//! Which reports pass. Only shows less: a verdict is made before it is filtered.

mod ports;
#[cfg(test)]
mod tests;

pub use ports::{Ports, PortsError};

use super::recent::{INCIDENTS, Recent};
use crate::report::{Body, Conflict, HolderProcess, Process, Report, TransportName, Wanted};
use std::collections::{BTreeMap, BTreeSet};

/// Kinds of lines that can be asked for; all others are always sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EventName {
    /// A failed attempt, and its incident's end.
    Conflict,
    /// A port taken.
    Assign,
    /// A port let go.
    Release,
    /// A bind that failed for another reason.
    Refused,
}

impl EventName {
    /// Every name.
    pub const ALL: [Self; 4] = [Self::Conflict, Self::Assign, Self::Release, Self::Refused];

    /// As on the command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Assign => "assign",
            Self::Release => "release",
            Self::Refused => "refused",
        }
    }
}

/// What the user asked to see. An empty list asks for everything; the lists must all agree, within
/// one any entry does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Wanted, taken or released port.
    pub ports: Vec<Ports>,
    /// Transport.
    pub transport: Option<TransportName>,
    /// Processes by id; one process must match `pids`, `comms` and `cgroups`.
    pub pids: Vec<u32>,
    /// Processes by exact name.
    pub comms: Vec<String>,
    /// Processes by cgroup path: that group and those below it.
    pub cgroups: Vec<String>,
    /// Network namespaces by inode.
    pub netns: Vec<u32>,
    /// Kinds of lines.
    pub events: BTreeSet<EventName>,
}

impl Default for Selection {
    /// Every conflict.
    fn default() -> Self {
        Self {
            ports: Vec::new(),
            transport: None,
            pids: Vec::new(),
            comms: Vec::new(),
            cgroups: Vec::new(),
            netns: Vec::new(),
            events: BTreeSet::from([EventName::Conflict]),
        }
    }
}

impl Selection {
    /// The filters in force, as the `start` line tells them.
    #[must_use]
    pub fn told(&self) -> BTreeMap<String, String> {
        fn join<T: ToString>(items: &[T]) -> String {
            items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
        }
        let Self {
            ports,
            transport,
            pids,
            comms,
            cgroups,
            netns,
            events,
        } = self;
        let events: Vec<_> = events.iter().map(|event| event.word()).collect();
        [
            ("port", join(ports)),
            (
                "transport",
                transport.map(TransportName::word).unwrap_or_default(),
            ),
            ("pid", join(pids)),
            ("comm", join(comms)),
            ("cgroup", join(cgroups)),
            ("netns", join(netns)),
            ("events", join(&events)),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    fn port(&self, port: Option<u16>) -> bool {
        let among = |port| self.ports.iter().any(|ports| ports.contains(port));
        self.ports.is_empty() || port.is_some_and(among)
    }

    fn place(&self, transport: TransportName, netns: u32) -> bool {
        self.transport.is_none_or(|only| only == transport)
            && (self.netns.is_empty() || self.netns.contains(&netns))
    }

    fn wanted(&self, wanted: &Wanted) -> bool {
        self.port(wanted.port) && self.place(wanted.transport, wanted.netns)
    }

    fn process(&self, who: &Who<'_>) -> bool {
        let below = |group: &String| who.cgroup.is_some_and(|path| is_below(path, group));
        (self.pids.is_empty() || self.pids.contains(&who.pid))
            && (self.comms.is_empty() || self.comms.iter().any(|comm| comm == who.comm))
            && (self.cgroups.is_empty() || self.cgroups.iter().any(below))
    }

    fn conflict(&self, conflict: &Conflict) -> bool {
        let tally = conflict.tally.iter().flatten();
        let of_range = tally.filter_map(|line| line.process.as_ref()?.as_ref());
        let holders = conflict.holders.iter().flat_map(|holder| &holder.processes);
        let holders = holders.chain(of_range);
        self.events.contains(&EventName::Conflict)
            && self.wanted(&conflict.wanted)
            && (self.process(&(&conflict.requester).into())
                || holders.map(Who::from).any(|who| self.process(&who)))
    }
}

/// What is compared of a process.
struct Who<'a> {
    pid: u32,
    comm: &'a str,
    cgroup: Option<&'a str>,
}

impl<'a> From<&'a Process> for Who<'a> {
    fn from(process: &'a Process) -> Self {
        Self {
            pid: process.pid,
            comm: &process.comm,
            cgroup: process.cgroup.as_deref(),
        }
    }
}

impl<'a> From<&'a HolderProcess> for Who<'a> {
    fn from(process: &'a HolderProcess) -> Self {
        Self {
            pid: process.pid,
            comm: &process.comm,
            cgroup: process.cgroup.as_deref(),
        }
    }
}

/// `path` is `group` or lies below it; `/a` is not above `/ab`.
fn is_below(path: &str, group: &str) -> bool {
    path.strip_prefix(group.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The selection and the incidents that passed it.
#[derive(Debug)]
pub struct Filter {
    selection: Selection,
    passed: Recent<()>,
}

impl Filter {
    /// Lets through what `selection` asks for.
    #[must_use]
    pub fn new(selection: Selection) -> Self {
        Self {
            selection,
            passed: Recent::new(INCIDENTS),
        }
    }

    /// Lines of this name can pass at all.
    #[must_use]
    pub fn asks(&self, event: EventName) -> bool {
        self.selection.events.contains(&event)
    }

    /// The report is to be told. An incident passes whole: once one of its attempts passed, the
    /// later ones and its end do, so that the counts in its end agree with what was told.
    pub fn passes(&mut self, report: &Report) -> bool {
        let selection = &self.selection;
        let asked = |event| selection.events.contains(&event);
        match &report.body {
            Body::Start(_) | Body::Lost(_) | Body::Summary(_) => true,
            Body::Conflict(conflict) => {
                let passes =
                    self.passed.get(&conflict.incident).is_some() || selection.conflict(conflict);
                if passes {
                    self.passed.insert(&conflict.incident, ());
                }
                passes
            }
            Body::Resolved(resolved) => self.passed.remove(&resolved.incident).is_some(),
            Body::Refused(refused) => {
                asked(EventName::Refused)
                    && selection.wanted(&refused.wanted)
                    && selection.process(&(&refused.requester).into())
            }
            Body::Assign(assign) => {
                asked(EventName::Assign)
                    && selection.port(Some(assign.local.port))
                    && selection.place(assign.transport, assign.netns)
                    && selection.process(&(&assign.process).into())
            }
            Body::Release(release) => {
                asked(EventName::Release)
                    && selection.port(Some(release.local.port))
                    && selection.place(release.transport, release.netns)
                    && selection.process(&(&release.process).into())
            }
        }
    }
}
