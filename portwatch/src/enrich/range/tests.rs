use super::*;
use crate::correlate::testing::{NOW, PORT, connect, held_by, holder, owner, tcp, user};
use crate::decode::event::Socket;

/// A connection of ceph-osd from `port` to the `n`th peer.
fn connection(port: u16, n: u8) -> Holder {
    let mut socket = tcp("10.10.10.1", State::Established);
    connect(&mut socket, &format!("10.10.20.{n}"), 80);
    socket.port = port;
    socket.inode = Some(u64::from(port));
    socket.cookie = Some(u64::from(port));
    held_by(
        socket,
        owner(OwnerSource::Call, Some(Origin::EphemeralConnect)),
    )
}

fn other(change: impl Fn(&mut Socket)) -> Holder {
    let mut one = holder(tcp("10.10.10.1", State::TimeWait));
    change(&mut one.socket);
    one
}

#[test]
fn sockets_of_one_process_state_and_peer_are_one_group() {
    let mut holders: Vec<_> = (0..100).map(|n| connection(40000 + n, 1)).collect();
    // A second connection from a port that counts already, and one to another peer.
    holders.push(connection(40000, 2));
    holders.push(other(|socket| socket.port = 50000));
    let facts = gather(NOW, &holders, Some(&[]), 3);
    let groups: Vec<_> = facts
        .groups
        .iter()
        .map(|group| (group.sockets, group.count, group.ports, group.peers))
        .collect();
    assert_eq!(groups, [(100, 100, 99, 1), (1, 1, 0, 1), (1, 1, 1, 1)]);
    let shared: Vec<_> = facts.groups.iter().map(|group| &group.shared[..]).collect();
    assert_eq!(shared, [&[(40000, 40000)][..], &[(40000, 40000)], &[]]);
    assert_eq!((facts.sockets, facts.missed, facts.at), (102, 3, NOW));
}

#[test]
fn who_has_a_socket_now_tells_groups_apart_and_the_taker_comes_first() {
    let holders = vec![connection(40000, 1), connection(40001, 1)];
    let users = [
        (40000, user(5, 7, "child")),
        (40001, user(5, 7, "child")),
        (40001, user(3_013_825, 50_000_000_000, "ceph-osd")),
    ];
    let facts = gather(NOW, &holders, Some(&users), 0);
    let first: Vec<_> = facts
        .groups
        .iter()
        .map(|group| group.users[0].tgid.0)
        .collect();
    assert_eq!(first, [5, 3_013_825]);
}

/// A crawler has a connection to everyone: what tells is who, not to whom.
#[test]
fn too_many_peers_are_told_as_a_number() {
    let mut holders = Vec::new();
    for n in 0..200 {
        holders.push(connection(40000 + u16::from(n), n));
    }
    let facts = gather(NOW, &holders, None, 0);
    assert_eq!(facts.groups.len(), 1);
    let group = &facts.groups[0];
    assert_eq!((group.count, group.ports, group.peers), (200, 200, 200));
    assert!(!facts.looked_for_users);
}

#[test]
fn more_groups_than_are_kept_are_counted() {
    let mut holders = Vec::new();
    for n in 0..200_u16 {
        let mut one = connection(40000 + n, 1);
        one.owner.as_mut().unwrap().tgid = Tgid(u32::from(n) + 1);
        holders.push(one);
    }
    let facts = gather(NOW, &holders, Some(&[]), 0);
    assert_eq!((facts.groups.len(), facts.missed), (MAX_GROUPS, 72));
}

/// 6.1 and 6.12: a bucket that was bound once stays so while connections are left in it.
#[test]
fn a_bound_bucket_without_a_bound_socket_is_stale() {
    let mut stale = connection(40000, 1);
    stale.bound_bucket = true;
    let mut beside = connection(40001, 1);
    beside.bound_bucket = true;
    let mut bound = other(|socket| {
        socket.port = 40001;
        socket.state = State::Close;
    });
    bound.bound_bucket = true;
    let mut unproven = other(|socket| socket.port = 40002);
    unproven.bound_bucket = true;
    let holders = vec![stale, beside, bound, unproven];
    let facts = gather(NOW, &holders, Some(&[]), 0);
    let of = |port: u16| {
        let group = facts
            .groups
            .iter()
            .find(|group| group.holder.socket.port == port)
            .unwrap();
        group.stale_bucket
    };
    assert_eq!([of(40000), of(40001), of(40002)], [true, false, false]);
    assert_ne!(PORT, 40000);
}
