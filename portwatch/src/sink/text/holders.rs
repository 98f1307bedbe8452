//! The holders of a port: one by one, and crowds that differ in their peers only in a line.

use super::super::escape::escape;
use super::Look;
use super::block::Block;
use super::holder::{self, command_line, holder, processes, since, style};
use super::who::endpoint;
use crate::report::{Holder, HolderKind, StateName};
use anstyle::Style;
use jiff::Timestamp;
use std::collections::{HashMap, HashSet};

/// Groups that are told.
const GROUPS: usize = 5;

/// Holders alike in all but their peers, states and ages.
struct Group<'a> {
    holders: Vec<&'a Holder>,
    /// Their processes have the listener, which is told before.
    of_listener: bool,
}

impl<'a> Group<'a> {
    fn first(&self) -> &'a Holder {
        self.holders[0]
    }

    fn takes(&self, holder: &Holder) -> bool {
        let first = self.first();
        let same_process = first.processes.len() == holder.processes.len()
            && first
                .processes
                .iter()
                .zip(&holder.processes)
                .all(|(a, b)| (a.pid, a.has_socket, a.alive) == (b.pid, b.has_socket, b.alive));
        // Without a peer they differ in their own address, which has to be told.
        let connected = first.peer.is_some() && holder.peer.is_some();
        connected
            && same_process
            && (first.blocking, first.kind, first.origin, &first.device)
                == (holder.blocking, holder.kind, holder.origin, &holder.device)
    }

    /// `98 established, 2 closed by the peer (CLOSE_WAIT)`; without numbers if it is one state.
    fn states(&self) -> String {
        let mut counts: Vec<(StateName, usize)> = Vec::new();
        for holder in &self.holders {
            match counts.iter_mut().find(|(state, _)| *state == holder.state) {
                Some((_, count)) => *count += 1,
                None => counts.push((holder.state, 1)),
            }
        }
        if let [(state, _)] = counts[..] {
            return holder::state(state).to_owned();
        }
        let told = counts
            .iter()
            .map(|(state, count)| format!("{count} {}", holder::state(*state)));
        told.collect::<Vec<_>>().join(", ")
    }

    /// `10.0.0.2 and 10.0.0.3` for what was accepted: a client's port says nothing. Else
    /// `10.0.0.2:80 and 10.0.0.2:81`, which are the ways to end them.
    fn peers(&self) -> String {
        const NAMED: usize = 3;
        let accepted = self.first().kind == HolderKind::Accepted;
        let mut counts: HashMap<String, usize> = HashMap::new();
        let mut ends: Vec<String> = Vec::new();
        for peer in self.holders.iter().filter_map(|one| one.peer.as_ref()) {
            let end = match accepted {
                true => escape(&peer.address).into_owned(),
                false => endpoint(peer),
            };
            let count = counts.entry(end.clone()).or_default();
            *count += 1;
            if *count == 1 {
                ends.push(end);
            }
        }
        ends.sort_by_key(|end| std::cmp::Reverse(counts.get(end).copied()));
        let (named, rest) = ends.split_at(ends.len().min(NAMED));
        match (rest.len(), named) {
            (0, [some @ .., last]) if !some.is_empty() => {
                format!("{} and {last}", some.join(", "))
            }
            (0, _) => named.concat(),
            (more, _) => format!("{} and {more} more", named.join(", ")),
        }
    }
}

/// Adds the lines of the holders; how many of them they tell of. Command lines of `said` are known.
pub(super) fn holders(
    block: &mut Block<'_>,
    holders: &[Holder],
    said: &mut HashSet<u32>,
    at: Timestamp,
    look: &Look,
) -> usize {
    let groups = groups(holders);
    let mut told = 0;
    for group in groups.iter().take(GROUPS) {
        told += group.holders.len();
        match group.holders.as_slice() {
            [one] => holder(block, one, said, at, look),
            _ => crowd(block, group, said, at, look),
        }
    }
    told
}

fn groups(holders: &[Holder]) -> Vec<Group<'_>> {
    let listening: HashSet<u32> = holders
        .iter()
        .filter(|holder| holder.kind == HolderKind::Listener)
        .flat_map(|holder| holder.processes.iter().map(|process| process.pid))
        .collect();
    let mut groups: Vec<Group<'_>> = Vec::new();
    for holder in holders {
        let mut pids = holder.processes.iter().map(|process| process.pid);
        let of_listener = holder.kind == HolderKind::Accepted
            && !holder.processes.is_empty()
            && pids.all(|pid| listening.contains(&pid));
        let found = groups.iter_mut().find(|group| match of_listener {
            true => group.of_listener && group.first().blocking == holder.blocking,
            false => group.takes(holder),
        });
        match found {
            Some(group) => group.holders.push(holder),
            None => groups.push(Group {
                holders: vec![holder],
                of_listener,
            }),
        }
    }
    groups
}

/// Several in a line or two.
fn crowd(
    block: &mut Block<'_>,
    group: &Group<'_>,
    said: &mut HashSet<u32>,
    at: Timestamp,
    look: &Look,
) {
    let first = group.first();
    let count = group.holders.len();
    let (states, peers) = (group.states(), group.peers());
    if group.of_listener {
        let text = format!("{count} connections from {peers} that it accepted: {states}");
        block.field("and", Style::new(), &text);
        return;
    }
    let (label, style) = style(first, look);
    block.field(label, style, &processes(first));
    let local = endpoint(&first.local);
    let what = match first.kind {
        HolderKind::Accepted => {
            format!("{count} accepted connections at {local} from {peers}: {states}")
        }
        HolderKind::TimeWait => {
            format!("{count} connections {local} -> {peers}, closed; TIME_WAIT keeps the port")
        }
        HolderKind::Orphan => format!("{count} connections {local} -> {peers}, closing: {states}"),
        HolderKind::Connection
        | HolderKind::Listener
        | HolderKind::Bound
        | HolderKind::Udp
        | HolderKind::Kernel
        | HolderKind::InFlight => format!("{count} connections {local} -> {peers}, {states}"),
    };
    block.field("", Style::new(), &what);
    command_line(block, first, said, look);
    let oldest = group
        .holders
        .iter()
        .max_by_key(|one| one.held_ms.or(one.held_at_least_ms));
    if let Some(oldest) = oldest {
        block.field(
            "since",
            Style::new(),
            &format!("the oldest: {}", since(oldest, at, look)),
        );
    }
}
