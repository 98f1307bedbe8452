//! [`Facts`] from the machine we run on: /proc, now.
//!
//! Not a source of truth about the past: a replay must not use it, it reads what a capture kept.

use super::cgroups::Cgroups;
use super::engines::Engines;
use super::facts::{
    Connection, Facts, NetnsFacts, PortFacts, ProcessFacts, RangeFacts, RangeQuestion, SocketUser,
};
use super::kernel_user::{self, KernelUser};
use super::lately::Lately;
use super::netns::Namespaces;
use super::proc::Proc;
pub use super::scan::{Descriptor, ProcScan, SocketFinder, Users};
use super::{clock, range, scan, sock_diag};
use crate::decode::event::{Ktime, NetnsId, Owner, Tgid, Transport};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Inode of the initial pid namespace (include/linux/proc_ns.h, PROC_PID_INIT_INO).
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Who has a socket is asked again when the answer is older: a storm of failures over one port must
/// not read every descriptor of the machine each time. Before a younger answer is used, the
/// descriptors in it are looked at again.
const USERS_FRESH: Duration = Duration::from_millis(20);

/// Who holds a range is asked again when the answer is older than this, and than so many times
/// what it cost: failures over a full range come in storms.
const RANGE_FRESH: Duration = Duration::from_millis(500);
const RANGE_COST: u32 = 20;

/// What looking at ranges may cost in a row, and the part of all time that it may cost then.
const RANGE_BURST: Duration = Duration::from_millis(500);
const RANGE_SHARE: u32 = 10;

/// Ranges that are remembered at most.
const RANGES_MAX: usize = 64;

/// More sockets than this are not remembered.
const USERS_MAX: usize = 4096;

/// Sockets of a port that are looked at, listeners aside.
const HOLDERS_TOLD: usize = 64;

/// Who had a socket.
#[derive(Debug)]
struct Answer {
    /// When the search for it began, in the kernel's time.
    asked: Ktime,
    /// When it ended.
    since: Instant,
    found: Vec<Descriptor>,
    /// It was not found, and not everything could be looked at.
    unseen: bool,
}

/// The facts of this machine.
pub struct LiveFacts {
    initial: bool,
    root: PathBuf,
    proc: Proc,
    lately: Lately,
    namespaces: Namespaces,
    cgroups: Cgroups,
    engines: Option<Engines>,
    finder: Box<dyn SocketFinder + Send>,
    users: HashMap<u64, Answer>,
    ranges: HashMap<RangeQuestion, RangeAnswer>,
    /// What looking at ranges has cost and time has not paid for yet, and when that was so.
    debt: (Duration, Instant),
}

/// Until when an answer about a range is given again.
struct RangeAnswer {
    until: Instant,
    facts: Option<RangeFacts>,
}

impl LiveFacts {
    /// Facts from /proc, sockets' users by reading every descriptor.
    #[must_use]
    pub fn new() -> Self {
        Self::with_finder(Box::new(ProcScan::new(Path::new("/proc"))))
    }

    /// Facts from /proc, sockets' users by a way of the caller's.
    #[must_use]
    pub fn with_finder(finder: Box<dyn SocketFinder + Send>) -> Self {
        let root = Path::new("/proc");
        Self::below(root, pid_namespace_is_initial(root), finder)
    }

    fn below(root: &Path, initial: bool, finder: Box<dyn SocketFinder + Send>) -> Self {
        Self {
            initial,
            root: root.to_owned(),
            proc: Proc::new(root),
            lately: Lately::default(),
            namespaces: Namespaces::new(root, initial),
            cgroups: Cgroups::new(root),
            engines: None,
            finder,
            users: HashMap::new(),
            ranges: HashMap::new(),
            debt: (Duration::ZERO, Instant::now()),
        }
    }

    /// The kernel's process numbers are those of our /proc. Where not, no process is ever looked
    /// up: the number would be a stranger's.
    #[must_use]
    pub fn pid_namespace_is_initial(&self) -> bool {
        self.initial
    }

    /// From now on containers have names, if their engines say them in time.
    pub fn name_containers(&mut self) {
        self.engines = Some(Engines::new());
    }

    /// The network namespaces, for the start line and for asking each its sockets.
    pub fn namespaces(&mut self) -> &mut Namespaces {
        &mut self.namespaces
    }

    /// With the name of its container, if that is wanted and the engine says it.
    fn named(&mut self, mut found: ProcessFacts) -> Option<ProcessFacts> {
        if let (Some(engines), Some(Some(id))) = (&mut self.engines, &found.container) {
            found.container_name = engines.name(id, found.container_runtime.as_deref());
        }
        Some(found)
    }

    /// Who holds a range now.
    fn look_at_range(&mut self, question: &RangeQuestion) -> Option<RangeFacts> {
        let found = self.finder.range(question)?;
        let at = clock::now().ok()?;
        let inodes: Vec<u64> = found
            .holders
            .iter()
            .filter_map(|holder| holder.socket.inode)
            .collect();
        let users: Option<Vec<_>> = match (self.initial, inodes.is_empty()) {
            (false, _) => None,
            (true, true) => Some(Vec::new()),
            (true, false) => {
                let users = self.finder.users(&inodes);
                let seen = !users.withheld || users.missing(&inodes).is_empty();
                seen.then(|| users.found.iter().map(line).collect())
            }
        };
        Some(range::gather(
            at,
            &found.holders,
            users.as_deref(),
            found.missed,
        ))
    }

    /// A remembered answer is fresh and every descriptor in it is still there. That nobody had the
    /// socket cannot be looked at again: it counts for failures from before that search only.
    fn holds(&self, answer: &Answer, at: Ktime) -> bool {
        let there = |one| scan::still_there(&self.root, &self.proc, one);
        answer.since.elapsed() < USERS_FRESH
            && (answer.asked >= at || !answer.found.is_empty())
            && answer.found.iter().all(there)
    }

    /// Searches for the users of sockets; twice for those that nobody has, since a descriptor on its
    /// way from one process to another can pass a search by.
    fn search(&mut self, inodes: &[u64]) -> Users {
        let mut users = self.finder.users(inodes);
        let nobody = users.missing(inodes);
        if !nobody.is_empty() {
            let again = self.finder.users(&nobody);
            users.found.extend(again.found);
            users.withheld |= again.withheld;
        }
        users
    }

    fn remember(&mut self, inodes: &[u64], asked: Ktime, users: &Users) {
        // Fresh counts from the end of the search, or a slow one would be asked without pause.
        let now = Instant::now();
        self.users
            .retain(|_, answer| now.duration_since(answer.since) < USERS_FRESH);
        if self.users.len() + inodes.len() > USERS_MAX {
            self.users.clear();
        }
        for inode in inodes.iter().take(USERS_MAX) {
            let found = users.found.iter().filter(|one| one.inode == *inode);
            let found: Vec<_> = found.cloned().collect();
            let answer = Answer {
                asked,
                since: now,
                unseen: users.withheld && found.is_empty(),
                found,
            };
            self.users.insert(*inode, answer);
        }
    }
}

impl Default for LiveFacts {
    fn default() -> Self {
        Self::new()
    }
}

impl Facts for LiveFacts {
    fn sees_processes(&mut self) -> bool {
        self.initial
    }

    fn process(&mut self, tgid: Tgid, start: Ktime) -> Option<ProcessFacts> {
        let found = self.initial.then(|| self.proc.process(tgid, start));
        self.named(found.flatten()?)
    }

    fn process_lately(&mut self, tgid: Tgid, start: Ktime) -> Option<ProcessFacts> {
        let found = self.initial.then(|| {
            self.lately
                .process(&mut self.proc, tgid, start, Instant::now())
        });
        self.named(found.flatten()?)
    }

    fn socket_users(&mut self, inodes: &[u64], at: Ktime) -> Option<Vec<(u64, SocketUser)>> {
        if !self.initial {
            return None;
        }
        let mut lines = Vec::new();
        let mut missing = Vec::new();
        let mut unseen = false;
        for inode in inodes {
            match self.users.get(inode).filter(|a| self.holds(a, at)) {
                Some(answer) => {
                    unseen |= answer.unseen;
                    lines.extend(answer.found.iter().map(line));
                }
                None => missing.push(*inode),
            }
        }
        if !missing.is_empty() {
            let asked = clock::now().unwrap_or(Ktime(0));
            let users = self.search(&missing);
            self.remember(&missing, asked, &users);
            unseen |= users.withheld && !users.missing(&missing).is_empty();
            lines.extend(users.found.iter().map(line));
        }
        (!unseen).then_some(lines)
    }

    fn range(&mut self, question: &RangeQuestion) -> Option<RangeFacts> {
        let now = Instant::now();
        if let Some(answer) = self.ranges.get(question)
            && now < answer.until
        {
            return answer.facts.clone();
        }
        let (debt, since) = self.debt;
        let debt = debt.saturating_sub((now - since) / RANGE_SHARE);
        if debt > RANGE_BURST {
            return None;
        }
        let facts = self.look_at_range(question);
        let done = Instant::now();
        self.debt = (debt + (done - now), done);
        let pause = RANGE_FRESH.max((done - now) * RANGE_COST);
        self.ranges.retain(|_, answer| done < answer.until);
        if self.ranges.len() >= RANGES_MAX {
            self.ranges.clear();
        }
        let answer = RangeAnswer {
            until: done + pause,
            facts: facts.clone(),
        };
        self.ranges.insert(*question, answer);
        facts
    }

    fn cgroup(&mut self, id: u64) -> Option<String> {
        self.cgroups.path(id)
    }

    fn kernel_user(
        &mut self,
        netns: NetnsId,
        hint: Tgid,
        transport: Transport,
        port: u16,
    ) -> Option<KernelUser> {
        // This takes the hint, and the way is known from then on.
        self.namespaces.range(netns, Some(hint));
        let ask = || kernel_user::kernel_user(transport, port);
        self.namespaces.enter(netns, ask).flatten()
    }

    fn netns(&mut self, netns: NetnsId, hint: Option<Tgid>) -> NetnsFacts {
        self.namespaces.facts(netns, hint)
    }

    fn device(&mut self, netns: NetnsId, index: u32) -> Option<String> {
        self.namespaces.device(netns, index)
    }

    fn closers(&mut self, cookies: &[u64]) -> Vec<(u64, Owner)> {
        let told = cookies
            .iter()
            .map(|cookie| (*cookie, self.finder.closer(*cookie)));
        told.filter_map(|(cookie, closer)| Some((cookie, closer?)))
            .collect()
    }

    fn time_wait_left(
        &mut self,
        netns: NetnsId,
        hint: Tgid,
        connections: &[Connection],
    ) -> Vec<Option<u32>> {
        // This takes the hint, and the way is known from then on.
        self.namespaces.range(netns, Some(hint));
        let ask = || sock_diag::time_wait_left(connections);
        self.namespaces.enter(netns, ask).unwrap_or_default()
    }

    fn port(
        &mut self,
        netns: NetnsId,
        hint: Tgid,
        protocol: Option<u16>,
        port: Option<u16>,
    ) -> Option<PortFacts> {
        // The range first: it takes the hint, and the way is known from then on.
        let range = self.namespaces.range(netns, Some(hint));
        let ask = || {
            let protocols = protocol.map_or(vec![6, 17], |one| vec![one]);
            let mut found = Vec::new();
            for protocol in protocols {
                found.extend(sock_diag::sockets(protocol, port?)?);
            }
            Some(found)
        };
        let found = self.namespaces.enter(netns, ask).flatten();
        let found = found.unwrap_or_default();
        Some(PortFacts {
            total: u32::try_from(found.len()).unwrap_or(u32::MAX),
            sockets: sock_diag::worth_telling(found, HOLDERS_TOLD),
            range: range.map(|range| (range.low, range.high)),
        })
    }
}

fn line(descriptor: &Descriptor) -> (u64, SocketUser) {
    (descriptor.inode, descriptor.user.clone())
}

/// `false` also where it cannot be told.
fn pid_namespace_is_initial(root: &Path) -> bool {
    std::fs::metadata(root.join("self/ns/pid"))
        .is_ok_and(|namespace| namespace.ino() == INITIAL_PID_NAMESPACE)
}

#[cfg(test)]
mod tests;
