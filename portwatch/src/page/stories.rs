//! Incidents, told by what they have in common: the port, its loser, its holder and the cause.

use crate::report::{Cause, Certainty, Conflict, ExhaustedFor, Resolved};
use crate::sink::recent::{INCIDENTS, Recent};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Stories that are told apart: when there are so many, the smaller half is forgotten and its
/// incidents are only counted.
const STORIES: usize = 5_000;
/// Incidents of a story that are listed.
pub(super) const LISTED: usize = 12;
/// Hosts that a story names.
const HOSTS: usize = 5;

/// What makes two incidents the same story.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    port: Option<u16>,
    transport: String,
    loser: String,
    holder: Option<String>,
    cause: Cause,
    exhausted_for: Option<ExhaustedFor>,
}

/// One story.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) port: Option<u16>,
    pub(super) transport: String,
    pub(super) loser: String,
    pub(super) holder: Option<String>,
    pub(super) cause: Cause,
    pub(super) certainty: Certainty,
    pub(super) incidents: u64,
    /// It may have been forgotten when it was small: at most so many incidents are not in it.
    pub(super) forgotten: u64,
    pub(super) attempts: u64,
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) hosts: BTreeSet<String>,
    pub(super) more_hosts: bool,
    /// How its incidents ended, by the contract's word.
    pub(super) ends: BTreeMap<String, u64>,
    /// The first failure, whole.
    pub(super) conflict: Conflict,
    pub(super) listed: Vec<Incident>,
}

/// One incident of a story.
#[derive(Debug)]
pub(super) struct Incident {
    pub(super) id: String,
    pub(super) host: String,
    pub(super) at: i64,
    pub(super) loser: u32,
    pub(super) holder: Option<u32>,
    pub(super) attempts: u64,
    pub(super) end: Option<(String, u64)>,
    pub(super) message: String,
}

/// An open incident.
#[derive(Clone, Copy, Debug)]
struct Open {
    story: u64,
    /// In the story's list.
    place: Option<usize>,
    /// Of the last attempt.
    cause: Cause,
}

/// Every story.
#[derive(Debug)]
pub(super) struct Stories {
    all: HashMap<u64, Story>,
    keys: HashMap<Key, u64>,
    next: u64,
    open: Recent<Open>,
    /// Incidents of stories that were forgotten.
    pub(super) untold: u64,
    /// No story that was forgotten had more incidents.
    pub(super) largest_forgotten: u64,
    pub(super) incidents: u64,
    pub(super) attempts: u64,
    /// Of incidents that are closed or were forgotten.
    causes: BTreeMap<Cause, u64>,
    pub(super) losers: HashMap<String, u64>,
    pub(super) holders: HashMap<String, u64>,
}

impl Default for Stories {
    fn default() -> Self {
        Self {
            all: HashMap::new(),
            keys: HashMap::new(),
            next: 0,
            open: Recent::new(INCIDENTS),
            untold: 0,
            largest_forgotten: 0,
            incidents: 0,
            attempts: 0,
            causes: BTreeMap::new(),
            losers: HashMap::new(),
            holders: HashMap::new(),
        }
    }
}

/// Programs that are counted by name.
const NAMES: usize = 10_000;

fn count(names: &mut HashMap<String, u64>, name: &str) {
    let known = names.len() < NAMES || names.contains_key(name);
    let name = if known { name } else { "(others)" };
    *names.entry(name.to_owned()).or_insert(0) += 1;
}

/// Who holds the port, or most of an exhausted range, as far as a name is known.
fn holder(conflict: &Conflict) -> Option<(u32, &str)> {
    if let Some((pid, name, _)) = most_of_range(conflict) {
        return Some((pid, name));
    }
    let processes = conflict.holders.first()?.processes.first()?;
    Some((processes.pid, &processes.comm))
}

/// Of an exhausted range: who holds most of it, of those with a name, and how many ports. 0 is the
/// process of the kernel.
pub(super) fn most_of_range(conflict: &Conflict) -> Option<(u32, &str, u64)> {
    let mut sums: Vec<(u32, &str, u64)> = Vec::new();
    for line in conflict.tally.iter().flatten() {
        let (pid, name) = match &line.process {
            Some(Some(process)) => (process.pid, process.comm.as_str()),
            Some(None) => (0, "the kernel"),
            None => continue,
        };
        match sums.iter_mut().find(|(known, _, _)| *known == pid) {
            Some((_, _, sum)) => *sum += line.count,
            None => sums.push((pid, name, line.count)),
        }
    }
    sums.into_iter().rev().max_by_key(|(_, _, sum)| *sum)
}

impl Stories {
    /// A failed attempt.
    pub(super) fn conflict(&mut self, conflict: &Conflict, run: &str, host: &str, at: i64) {
        self.attempts += 1;
        let id = format!("{run} {}", conflict.incident);
        if let Some(open) = self.open.get(&id).copied() {
            let cause = conflict.cause;
            self.open.insert(&id, Open { cause, ..open });
            if let Some(story) = self.all.get_mut(&open.story) {
                story.attempts += 1;
                story.last = story.last.max(at);
                if let Some(incident) = open.place.and_then(|place| story.listed.get_mut(place)) {
                    incident.attempts += 1;
                }
            }
            return;
        }
        self.incidents += 1;
        count(&mut self.losers, &conflict.requester.comm);
        count(
            &mut self.holders,
            holder(conflict).map_or("(none known)", |(_, name)| name),
        );
        let (number, story) = self.story(conflict, at);
        story.incidents += 1;
        story.attempts += 1;
        story.last = story.last.max(at);
        if story.hosts.len() < HOSTS || story.hosts.contains(host) {
            story.hosts.insert(host.to_owned());
        } else {
            story.more_hosts = true;
        }
        let place = (story.listed.len() < LISTED).then(|| {
            story.listed.push(Incident {
                id: conflict.incident.clone(),
                host: host.to_owned(),
                at,
                loser: conflict.requester.pid,
                holder: holder(conflict).map(|(pid, _)| pid),
                attempts: 1,
                end: None,
                message: conflict.message.clone(),
            });
            story.listed.len() - 1
        });
        let open = Open {
            story: number,
            place,
            cause: conflict.cause,
        };
        if let Some(forgotten) = self.open.insert(&id, open) {
            *self.causes.entry(forgotten.cause).or_insert(0) += 1;
        }
    }

    /// Incidents by the cause of their last attempt, as the summary of a run counts them.
    pub(super) fn causes(&self) -> BTreeMap<Cause, u64> {
        let mut causes = self.causes.clone();
        for open in self.open.values() {
            *causes.entry(open.cause).or_insert(0) += 1;
        }
        causes
    }

    /// The story of an incident, with its number.
    fn story(&mut self, conflict: &Conflict, at: i64) -> (u64, &mut Story) {
        let key = Key {
            port: conflict.wanted.port,
            transport: conflict.wanted.transport.word(),
            loser: conflict.requester.comm.clone(),
            holder: holder(conflict).map(|(_, name)| name.to_owned()),
            cause: conflict.cause,
            exhausted_for: conflict.exhausted_for,
        };
        if !self.keys.contains_key(&key) && self.keys.len() >= STORIES {
            self.forget_small();
        }
        let number = *self.keys.entry(key.clone()).or_insert_with(|| {
            self.next += 1;
            self.next
        });
        let story = self.all.entry(number).or_insert_with(|| Story {
            port: key.port,
            transport: key.transport.clone(),
            loser: key.loser.clone(),
            holder: key.holder.clone(),
            cause: key.cause,
            certainty: conflict.certainty,
            incidents: 0,
            forgotten: self.largest_forgotten,
            attempts: 0,
            first: at,
            last: at,
            hosts: BTreeSet::new(),
            more_hosts: false,
            ends: BTreeMap::new(),
            conflict: conflict.clone(),
            listed: Vec::new(),
        });
        (number, story)
    }

    /// Forgets the smaller half. A story that comes (again) afterwards may have had as many
    /// incidents as the largest of it, and counts as if it had: one that has more than all that are
    /// forgotten is always told.
    fn forget_small(&mut self) {
        let mut ranks: Vec<(u64, Key, u64)> = Vec::new();
        for (key, number) in self.keys.drain() {
            let story = self.all.get(&number);
            let most = story.map_or(0, |story| story.incidents + story.forgotten);
            ranks.push((most, key, number));
        }
        ranks.sort_unstable_by(|one, other| (other.0, &one.1).cmp(&(one.0, &other.1)));
        let small = ranks.split_off(ranks.len().min(STORIES / 2));
        let kept = ranks.into_iter().map(|(_, key, number)| (key, number));
        self.keys = kept.collect();
        for (most, _, number) in small {
            self.largest_forgotten = self.largest_forgotten.max(most);
            self.untold += self.all.remove(&number).map_or(0, |story| story.incidents);
        }
    }

    /// All of them, the largest first.
    pub(super) fn largest(&mut self) -> Vec<Story> {
        let mut all: Vec<(u64, Story)> = self.all.drain().collect();
        let rank = |story: &Story| {
            (
                Reverse(story.incidents),
                Reverse(story.attempts),
                story.first,
            )
        };
        all.sort_by_key(|(number, story)| (rank(story), *number));
        all.into_iter().map(|(_, story)| story).collect()
    }

    /// An incident's end.
    pub(super) fn resolved(&mut self, resolved: &Resolved, run: &str) {
        let id = format!("{run} {}", resolved.incident);
        let Some(Open { story, place, .. }) = self.open.remove(&id) else {
            return;
        };
        *self.causes.entry(resolved.cause).or_insert(0) += 1;
        let Some(story) = self.all.get_mut(&story) else {
            return;
        };
        let how = resolved.how.word();
        *story.ends.entry(how.clone()).or_insert(0) += 1;
        if let Some(incident) = place.and_then(|place| story.listed.get_mut(place)) {
            incident.end = Some((how, resolved.after_ms));
            incident.message.clone_from(&resolved.message);
        }
    }
}
