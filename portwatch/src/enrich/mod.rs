//! Events meet the machine's facts: names, arguments, who has a socket now.
//!
//! [`enrich`] asks the [`facts::Facts`] trait, never /proc directly, so that a replay gives the
//! same answers. [`live::LiveFacts`] is the answer of the machine we run on.

pub mod blind;
pub mod cgroups;
pub mod clock;
pub mod container;
mod ended;
pub mod engines;
pub mod facts;
pub mod kernel_user;
mod lately;
pub mod live;
mod netlink;
pub mod netns;
mod patience;
pub mod proc;
pub mod range;
mod scan;
pub mod sock_diag;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use crate::decode::event::{
    Call, Event, Failure, Ktime, Owner, Socket, State, Task, Tgid, Transport,
};
use ended::{closers, connection, time_wait_left};
use facts::{Connection, Facts, NetnsFacts, ProcessFacts, RangeFacts, RangeQuestion, SocketUser};
use kernel_user::KernelUser;
use std::collections::HashSet;

/// An event with everything that was asked of the machine about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Enriched {
    /// What happened.
    pub event: Event,
    /// What the machine said.
    pub facts: EventFacts,
}

/// Answers of the machine about one event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventFacts {
    /// Every process that the event or `socket_users` names and that still runs (same start time).
    pub processes: Vec<ProcessFacts>,
    /// No process could be looked up, so that one is missing above says nothing about it.
    pub processes_hidden: bool,
    /// Who has the holders' sockets now, by inode; `None` = nobody could look, an inode without a
    /// line = no process has it, unless it is `unseen`.
    pub socket_users: Option<Vec<(u64, SocketUser)>>,
    /// Sockets that no process was found to have, where not every process could be looked at.
    pub unseen: Vec<u64>,
    /// Sockets that no process was found to have, though the kernel still had them open when it was
    /// asked after that.
    pub unowned: Vec<u64>,
    /// Who closed holders' last descriptors, by cookie, where that was somebody else than the process
    /// that took the port.
    pub closers: Vec<(u64, Owner)>,
    /// Holders in TIME_WAIT, and how many milliseconds each has left.
    pub time_wait_left: Vec<(Connection, u32)>,
    /// What in the kernel has the port, where no process has it.
    pub kernel_user: Option<KernelUser>,
    /// Paths of the cgroups of processes that are gone, by id.
    pub cgroups: Vec<(u64, String)>,
    /// The namespace's reserved ports and the way there.
    pub netns: Option<NetnsFacts>,
    /// Names of the devices that the event mentions, by index.
    pub devices: Vec<(u32, String)>,
    /// Who held the range a moment later, if the call wanted any port of it.
    pub range: Option<RangeFacts>,
}

impl EventFacts {
    /// The path of a cgroup, if it was asked for and found.
    #[must_use]
    pub fn cgroup(&self, id: Option<u64>) -> Option<&str> {
        let id = id?;
        let found = self.cgroups.iter().find(|(of, _)| *of == id);
        found.map(|(_, path)| path.as_str())
    }

    /// Who closed the last descriptor of a socket, if that was asked and is told apart.
    #[must_use]
    pub fn closer(&self, socket: &Socket) -> Option<&Owner> {
        let cookie = socket.cookie?;
        let found = self.closers.iter().find(|(of, _)| *of == cookie);
        found.map(|(_, closer)| closer)
    }

    /// How many milliseconds of TIME_WAIT a socket had left, if it was asked for and told.
    #[must_use]
    pub fn time_wait_left(&self, socket: &Socket) -> Option<u32> {
        let connection = connection(socket).filter(|_| socket.state == State::TimeWait)?;
        let found = self.time_wait_left.iter().find(|(of, _)| *of == connection);
        found.map(|(_, left)| *left)
    }

    /// Whether the process `tgid` that started at `start` still runs; `None` = nobody could look.
    #[must_use]
    pub fn runs(&self, tgid: Tgid, start: Ktime) -> Option<bool> {
        let found = self.process(tgid, start).is_some();
        (found || !self.processes_hidden).then_some(found)
    }

    /// What was read of the process `tgid` that started at `start` (to the precision of /proc).
    #[must_use]
    pub fn process(&self, tgid: Tgid, start: Ktime) -> Option<&ProcessFacts> {
        self.processes
            .iter()
            .find(|process| process.tgid == tgid && same_start(process.start, start))
    }
}

/// Two stamps are the start of one process: equal in the clock ticks that /proc shows. The kernel's
/// records have nanoseconds, /proc has not, so a plain `==` between them is always wrong.
#[must_use]
pub fn same_start(one: Ktime, other: Ktime) -> bool {
    proc::ticks(one) == proc::ticks(other)
}

/// Asks the machine what an event needs, in a fixed order that a capture repeats: requester, users
/// of the holders' sockets, the holders of the range if any port was wanted, these users, sockets
/// without any, the remembered owners, who closed what nobody has, cgroups of the dead, namespace, devices, whether processes
/// can be seen, what TIME_WAIT has left. Events other than a failure ask for their own process only, an exit for nothing.
pub fn enrich(event: Event, facts: &mut dyn Facts) -> Enriched {
    let answers = match &event {
        Event::Failure(failure) => about_failure(failure, facts),
        Event::Refused(failure) => about_task(&failure.task, Age::Now, facts),
        Event::Assign(assign) => about_task(&assign.task, Age::Lately, facts),
        Event::Release(release) => about_task(&release.task, Age::Lately, facts),
        Event::Exit(_) => EventFacts::default(),
    };
    Enriched {
        event,
        facts: answers,
    }
}

/// How old what is told of a process may be.
enum Age {
    Now,
    Lately,
}

fn about_task(task: &Task, age: Age, facts: &mut dyn Facts) -> EventFacts {
    let found = match (task.tgid.0, age) {
        // The kernel's own task has no /proc.
        (0, _) => None,
        (_, Age::Now) => facts.process(task.tgid, task.start),
        (_, Age::Lately) => facts.process_lately(task.tgid, task.start),
    };
    EventFacts {
        processes: found.into_iter().collect(),
        ..EventFacts::default()
    }
}

fn about_failure(failure: &Failure, facts: &mut dyn Facts) -> EventFacts {
    let mut asked = Asked::default();
    asked.process(failure.task.tgid, failure.task.start, facts);

    let inodes = unique(
        failure
            .holders
            .iter()
            .filter_map(|holder| holder.socket.inode),
    );
    // Nothing to look for is an answer too: no visible process has it.
    let (mut socket_users, unseen) = match inodes.is_empty() {
        true => (Some(Vec::new()), Vec::new()),
        false => socket_users(&inodes, failure.time, facts),
    };
    let range = range_question(failure).and_then(|question| facts.range(&question));
    for (_, user) in socket_users.iter().flatten() {
        asked.process(user.tgid, user.start, facts);
    }
    if let Some(range) = &range {
        about_range(range, &mut socket_users, &mut asked, facts);
    }
    let unowned = unowned(failure, socket_users.as_deref(), &unseen, facts);
    for owner in failure
        .holders
        .iter()
        .filter_map(|holder| holder.owner.as_ref())
    {
        asked.process(owner.tgid, owner.start, facts);
    }

    let open = [unowned.as_slice(), unseen.as_slice()].concat();
    let closers = closers(failure, socket_users.as_deref(), &open, facts);
    for (_, closer) in &closers {
        asked.process(closer.tgid, closer.start, facts);
    }

    let of_kernel = |socket: &Socket| {
        let nobodys = |inode| unowned.contains(&inode) && !socket.has_file;
        socket.kernel || socket.inode.is_some_and(nobodys)
    };
    let transport = failure.socket.transport;
    let kernel_user = failure
        .wanted
        .port
        .filter(|_| failure.holders.iter().any(|h| of_kernel(&h.socket)))
        .and_then(|port| facts.kernel_user(failure.netns, failure.task.tgid, transport, port));
    let cgroups = cgroups(failure, &asked.found, facts);
    let netns = facts.netns(failure.netns, Some(failure.task.tgid));
    let mentioned = failure
        .holders
        .iter()
        .flat_map(|holder| [holder.socket.device, holder.l3mdev]);
    let indexes = unique(
        std::iter::once(failure.socket.device)
            .chain(mentioned)
            .filter(|index| *index != 0),
    );
    let devices = indexes
        .into_iter()
        .filter_map(|index| Some((index, facts.device(failure.netns, index)?)))
        .collect();
    EventFacts {
        processes: asked.found,
        processes_hidden: !facts.sees_processes(),
        socket_users,
        unseen,
        unowned,
        closers,
        time_wait_left: time_wait_left(failure, facts),
        kernel_user,
        cgroups,
        netns: Some(netns),
        devices,
        range,
    }
}

/// Who has which of these sockets, and those of which it could not be seen: where one of several was
/// withheld, each is asked for alone.
fn socket_users(
    inodes: &[u64],
    at: Ktime,
    facts: &mut dyn Facts,
) -> (Option<Vec<(u64, SocketUser)>>, Vec<u64>) {
    let together = facts.socket_users(inodes, at);
    if together.is_some() || inodes.len() == 1 {
        return (together, Vec::new());
    }
    let mut lines = Vec::new();
    let mut unseen = Vec::new();
    for inode in inodes {
        match facts.socket_users(&[*inode], at) {
            Some(found) => lines.extend(found),
            None => unseen.push(*inode),
        }
    }
    ((unseen.len() < inodes.len()).then_some(lines), unseen)
}

/// What to ask of the range in which a call found no free port; UDP-Lite has a table of its own,
/// which is not looked at.
fn range_question(failure: &Failure) -> Option<RangeQuestion> {
    let wanted = &failure.wanted;
    if wanted.port.is_some() || (failure.call == Call::Bind && wanted.addr.is_none()) {
        return None;
    }
    let protocol = match (failure.socket.transport, failure.socket.protocol) {
        (Transport::Tcp, _) => 6,
        (Transport::Udp, 17) => 17,
        (Transport::Udp, _) => return None,
    };
    let connects = failure.call == Call::Connect && failure.socket.transport == Transport::Tcp;
    if connects && wanted.destination.is_none() {
        return None;
    }
    Some(RangeQuestion {
        netns: failure.netns,
        protocol,
        low: failure.range.low,
        high: failure.range.high,
        destination: wanted.destination.filter(|_| connects),
    })
}

/// Groups of a range whose processes are looked up.
const RANGE_NAMED: usize = 32;

/// The processes of the largest groups; who has the socket that stands for each is known.
fn about_range(
    range: &RangeFacts,
    socket_users: &mut Option<Vec<(u64, SocketUser)>>,
    asked: &mut Asked,
    facts: &mut dyn Facts,
) {
    if !range.looked_for_users {
        *socket_users = None;
    }
    for group in &range.groups {
        if let (Some(inode), Some(lines)) = (group.holder.socket.inode, socket_users.as_mut()) {
            lines.extend(group.users.iter().map(|user| (inode, user.clone())));
        }
    }
    for group in range.groups.iter().take(RANGE_NAMED) {
        if let Some(user) = group.users.first() {
            asked.process(user.tgid, user.start, facts);
        }
        if let Some(owner) = &group.holder.owner {
            asked.process(owner.tgid, owner.start, facts);
        }
    }
}

/// Cgroups that only a record knows: of a caller or an owner that is gone. systemd opens the sockets
/// of a socket unit in a process of that unit's cgroup, which is gone at once.
fn cgroups(failure: &Failure, found: &[ProcessFacts], facts: &mut dyn Facts) -> Vec<(u64, String)> {
    let runs = |tgid: Tgid, start: Ktime| {
        found
            .iter()
            .any(|process| process.tgid == tgid && same_start(process.start, start))
    };
    let caller = &failure.task;
    let caller = (!runs(caller.tgid, caller.start)).then_some(caller.cgroup);
    let owners = failure
        .holders
        .iter()
        .filter_map(|holder| holder.owner.as_ref())
        .filter(|owner| !runs(owner.tgid, owner.start))
        .map(|owner| owner.cgroup);
    unique(caller.into_iter().chain(owners).flatten())
        .into_iter()
        .filter_map(|id| Some((id, facts.cgroup(id)?)))
        .collect()
}

/// The holders' sockets that nobody has and that are open all the same. A socket that is closed
/// while it is searched for has no user either: only one that is there after the search counts.
fn unowned(
    failure: &Failure,
    users: Option<&[(u64, SocketUser)]>,
    unseen: &[u64],
    facts: &mut dyn Facts,
) -> Vec<u64> {
    let Some(users) = users else {
        return Vec::new();
    };
    let nobodys = |socket: &Socket| {
        let inode = socket.inode.filter(|_| socket.has_socket)?;
        let found = unseen.contains(&inode) || users.iter().any(|(of, _)| *of == inode);
        (!found).then_some(inode)
    };
    let mut left = Vec::new();
    for protocol in unique(
        failure
            .holders
            .iter()
            .filter(|holder| nobodys(&holder.socket).is_some())
            .map(|holder| holder.socket.protocol),
    ) {
        let told = facts.port(
            failure.netns,
            failure.task.tgid,
            Some(protocol),
            failure.wanted.port,
        );
        left.extend(told.into_iter().flat_map(|told| told.sockets));
    }
    let inodes = failure
        .holders
        .iter()
        .filter_map(|holder| nobodys(&holder.socket));
    unique(inodes.filter(|inode| left.iter().any(|seen| seen.inode == *inode)))
}

/// Processes asked for so far: each is asked for once.
#[derive(Default)]
struct Asked {
    seen: HashSet<(Tgid, u64)>,
    found: Vec<ProcessFacts>,
}

impl Asked {
    /// The kernel's own task has no /proc.
    fn process(&mut self, tgid: Tgid, start: Ktime, facts: &mut dyn Facts) {
        if tgid.0 != 0 && self.seen.insert((tgid, proc::ticks(start))) {
            self.found.extend(facts.process(tgid, start));
        }
    }
}

/// The values without repetition, in the order in which they first come.
fn unique<T: Copy + Eq + std::hash::Hash>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = HashSet::new();
    values.filter(|value| seen.insert(*value)).collect()
}
