//! A range that had no free port, as it was found after the failure: thousands of sockets, gathered
//! into groups that a verdict can name and a capture can keep.
//!
//! Nothing is judged here. What decides whether a socket is in the way stays in the group's key, so
//! that `correlate` can apply the kernel's rules to one socket of each.

use super::facts::{RangeFacts, RangeGroup, SocketUser};
use super::proc;
use crate::decode::event::{Family, Holder, Ktime, Origin, OwnerSource, State, Tgid};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// Groups that are kept; what is in no group is counted.
pub const MAX_GROUPS: usize = 128;

/// What the sockets of a group have in common.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    who: Option<(Tgid, u64)>,
    has_user: bool,
    state: State,
    /// `None` with `any_peer`: not compared.
    peer: Option<SocketAddr>,
    local: IpAddr,
    family: Family,
    device: u32,
    l3mdev: u32,
    v6only: bool,
    reuse: bool,
    reuseport: bool,
    uid: Option<u32>,
    kernel: bool,
    origin: Option<Origin>,
    bound_bucket: bool,
    stale_bucket: bool,
}

/// Sockets of one key.
struct Pile {
    holders: Vec<usize>,
}

/// Gathers the sockets of a range. `users` has a line for each process that has one of them, by
/// inode; `missed` sockets were counted and not read.
#[must_use]
pub fn gather(
    at: Ktime,
    holders: &[Holder],
    users: Option<&[(u64, SocketUser)]>,
    missed: u32,
) -> RangeFacts {
    let mut by_inode: HashMap<u64, Vec<SocketUser>> = HashMap::new();
    for (inode, user) in users.into_iter().flatten() {
        by_inode.entry(*inode).or_default().push(user.clone());
    }
    let users_of = |holder: &Holder| {
        let inode = holder.socket.inode.filter(|_| holder.socket.has_socket);
        let mut users = inode
            .and_then(|inode| by_inode.get(&inode).cloned())
            .unwrap_or_default();
        users.sort_by_key(|user| (!is_taker(holder, user), user.start, user.tgid));
        users
    };
    let stale = stale_ports(holders);
    let key = |holder: &Holder, with_peer: bool| {
        let socket = &holder.socket;
        let users = users_of(holder);
        let owner = holder.owner.as_ref();
        let who = users
            .first()
            .map(|user| (user.tgid, proc::ticks(user.start)))
            .or_else(|| owner.map(|owner| (owner.tgid, proc::ticks(owner.start))));
        Key {
            who,
            has_user: !users.is_empty(),
            state: socket.state,
            peer: socket
                .peer_addr()
                .filter(|_| with_peer)
                .map(|peer| SocketAddr::new(peer, socket.peer_port)),
            local: socket.local_addr(),
            family: socket.family,
            device: socket.device,
            l3mdev: holder.l3mdev,
            v6only: socket.v6only,
            reuse: socket.reuse,
            reuseport: socket.reuseport,
            uid: socket.uid,
            kernel: socket.kernel,
            origin: owner
                .filter(|owner| owner.source != OwnerSource::LastListener)
                .and_then(|owner| owner.origin),
            bound_bucket: holder.bound_bucket,
            stale_bucket: stale.contains(&socket.port),
        }
    };
    let mut piles = pile(holders, |holder| key(holder, true));
    if piles.len() > MAX_GROUPS {
        piles = pile(holders, |holder| key(holder, false));
    }
    let rest = piles.split_off(MAX_GROUPS.min(piles.len()));
    let others: usize = rest.iter().map(|(_, pile)| pile.holders.len()).sum();
    let ports_of = |pile: &Pile| -> BTreeSet<u16> {
        let sockets = pile.holders.iter().filter_map(|index| holders.get(*index));
        sockets.map(|holder| holder.socket.port).collect()
    };
    let mut groups_of: HashMap<u16, u32> = HashMap::new();
    for (_, pile) in &piles {
        for port in ports_of(pile) {
            *groups_of.entry(port).or_default() += 1;
        }
    }
    let groups = piles
        .into_iter()
        .filter_map(|(key, pile)| {
            let sockets = pile.holders.iter().filter_map(|index| holders.get(*index));
            let mut peers = HashSet::new();
            for holder in sockets.clone() {
                peers.extend(
                    holder
                        .socket
                        .peer_addr()
                        .map(|peer| (peer, holder.socket.peer_port)),
                );
            }
            let own = ports_of(&pile);
            let others_have = |port: &&u16| groups_of.get(*port).is_some_and(|groups| *groups > 1);
            let shared: Vec<u16> = own.iter().filter(others_have).copied().collect();
            let one = sockets.clone().next()?.clone();
            Some(RangeGroup {
                users: users_of(&one),
                holder: one,
                sockets: number(pile.holders.len()),
                count: number(own.len()),
                ports: number(own.len() - shared.len()),
                shared: runs(&shared),
                peers: number(peers.len()),
                stale_bucket: key.stale_bucket,
            })
        })
        .collect();
    RangeFacts {
        at,
        groups,
        sockets: number(holders.len()),
        missed: missed.saturating_add(number(others)),
        looked_for_users: users.is_some(),
    }
}

/// Ports in order, from one to another.
fn runs(ports: &[u16]) -> Vec<(u16, u16)> {
    let runs = ports.chunk_by(|one, next| one.checked_add(1) == Some(*next));
    let ends = |run: &[u16]| Some((*run.first()?, *run.last()?));
    runs.filter_map(ends).collect()
}

/// The holders by key, the largest pile first; of equal ones that which was found first.
fn pile(holders: &[Holder], key: impl Fn(&Holder) -> Key) -> Vec<(Key, Pile)> {
    let mut piles: HashMap<Key, Vec<usize>> = HashMap::new();
    for (index, holder) in holders.iter().enumerate() {
        piles.entry(key(holder)).or_default().push(index);
    }
    let mut piles: Vec<_> = piles
        .into_iter()
        .map(|(key, holders)| (key, Pile { holders }))
        .collect();
    piles.sort_by_key(|(_, pile)| {
        (
            std::cmp::Reverse(pile.holders.len()),
            pile.holders.first().copied(),
        )
    });
    piles
}

/// Ports whose bucket some bind() has used although every socket there is known to have come by
/// connect(): the one that was bound is gone, and kernels before 6.18 do not forget it while others
/// are left (net/ipv4/inet_hashtables.c:inet_bind_bucket_destroy).
fn stale_ports(holders: &[Holder]) -> HashSet<u16> {
    let mut by_connect: HashMap<u16, bool> = HashMap::new();
    for holder in holders.iter().filter(|holder| holder.bound_bucket) {
        let came_by_connect = holder.socket.connect_bound
            || holder.owner.as_ref().is_some_and(|owner| {
                owner.source != OwnerSource::LastListener
                    && owner.origin == Some(Origin::EphemeralConnect)
            });
        *by_connect.entry(holder.socket.port).or_insert(true) &= came_by_connect;
    }
    by_connect
        .into_iter()
        .filter_map(|(port, only)| only.then_some(port))
        .collect()
}

fn is_taker(holder: &Holder, user: &SocketUser) -> bool {
    holder.owner.as_ref().is_some_and(|owner| {
        owner.tgid == user.tgid && proc::ticks(owner.start) == proc::ticks(user.start)
    })
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
