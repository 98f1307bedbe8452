//! What was read of processes a moment ago, for streams of ports taken and given up.
//!
//! Not for failures: these read every process anew. A process that takes a thousand ports a second is
//! the same one each time, and to read six of its files each time takes longer than all the rest.

use super::facts::ProcessFacts;
use super::proc::{Proc, Stat, ticks};
use crate::decode::event::{Ktime, Tgid};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// For how long a process is not read again, unless its stat has changed. That stat shows another
/// start, name, parent or program at once; a user, a cgroup or arguments changed without execve(2)
/// are told late by as much.
const LATELY: Duration = Duration::from_millis(100);

/// Processes that are remembered at most.
const REMEMBERED: usize = 1024;

/// Processes read lately.
#[derive(Debug, Default)]
pub(super) struct Lately {
    known: HashMap<Tgid, Known>,
}

#[derive(Debug)]
struct Known {
    since: Instant,
    /// But for `threads`. Read before `facts`: what changes in between is read again.
    stat: Stat,
    facts: ProcessFacts,
}

impl Lately {
    /// As [`Proc::process`], of the last 100 ms before `now`.
    pub(super) fn process(
        &mut self,
        proc: &mut Proc,
        tgid: Tgid,
        start: Ktime,
        now: Instant,
    ) -> Option<ProcessFacts> {
        let stat = proc
            .stat(tgid)
            .filter(|stat| ticks(stat.start) == ticks(start) && stat.runs())
            .map(|stat| Stat { threads: 0, ..stat })?;
        let fresh = |known: &&Known| known.stat == stat && now - known.since < LATELY;
        if let Some(known) = self.known.get(&tgid).filter(fresh) {
            return Some(known.facts.clone());
        }
        let facts = proc.process(tgid, start)?;
        if self.known.len() >= REMEMBERED {
            self.known.retain(|_, known| now - known.since < LATELY);
        }
        if self.known.len() < REMEMBERED {
            let known = Known {
                since: now,
                stat,
                facts: facts.clone(),
            };
            self.known.insert(tgid, known);
        }
        Some(facts)
    }
}

#[cfg(test)]
mod tests;
