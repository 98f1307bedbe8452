use super::*;
use crate::correlate::keeper::keeper;
use crate::correlate::origin::Proof;
use crate::correlate::testing::{
    ANCHOR, S, facts, held_by, holder, orphan, owner, process, socket, task, tcp, user,
};
use crate::decode::event::{State, Transport};

const PROVEN: Taken = Taken {
    origin: Some(Origin::EphemeralConnect),
    proof: Proof::Proven,
};

const ACCEPTED: Taken = Taken {
    origin: Some(Origin::Accepted),
    proof: Proof::Eliminated,
};

fn connection(source: OwnerSource) -> Holder {
    held_by(tcp("10.10.10.1", State::Established), owner(source, None))
}

fn of(holder: &Holder, facts: &EventFacts) -> Who {
    who(
        holder,
        PROVEN,
        &keeper(&holder.socket, facts),
        facts,
        ANCHOR,
    )
}

fn told(holder: &Holder, taken: Taken, facts: &EventFacts) -> (Vec<(u32, bool, bool)>, Named) {
    let who = who(holder, taken, &keeper(&holder.socket, facts), facts, ANCHOR);
    let list = who
        .processes
        .iter()
        .map(|p| (p.pid, p.has_socket, p.alive == Some(true)))
        .collect();
    (list, who.named)
}

#[test]
fn whoever_has_the_descriptor_is_named_with_all_that_is_known() {
    let who = of(&connection(OwnerSource::Call), &facts(Some(71234)));
    assert_eq!(who.named, Named::Present);
    let [osd] = who.processes.as_slice() else {
        panic!("{who:?}")
    };
    assert_eq!((osd.pid, osd.comm.as_str()), (3_013_825, "ceph-osd"));
    assert_eq!(osd.exe.as_deref(), Some("/usr/bin/ceph-osd"));
    assert_eq!(osd.cmdline.as_deref().map(<[_]>::len), Some(3));
    assert_eq!(osd.systemd_unit, Some(Some("ceph-osd.service".to_owned())));
    assert_eq!(osd.container, Some(None));
    assert!(osd.has_socket && osd.alive == Some(true) && osd.seen.is_none());
}

#[test]
fn a_shared_descriptor_has_many_and_the_taker_first() {
    let mut facts = facts(None);
    facts.socket_users = Some(vec![
        (71234, user(40, 4 * S, "worker-b")),
        (71234, user(30, 3 * S, "worker-a")),
        (999, user(20, 2 * S, "other")),
        (71234, user(3_013_825, 50 * S, "ceph-osd")),
    ]);
    facts.processes.push(process(30, 3 * S, "worker-a"));
    facts.processes.push(process(40, 4 * S, "worker-b"));
    let (list, named) = told(&connection(OwnerSource::Call), PROVEN, &facts);
    assert_eq!(
        list,
        [(3_013_825, true, true), (30, true, true), (40, true, true)]
    );
    assert_eq!(named, Named::Present);
}

/// A taker that no longer has the descriptor stands behind those that have it.
#[test]
fn an_heir_comes_before_the_taker() {
    let mut facts = facts(None);
    facts.processes = vec![process(77, 60 * S, "sleep")];
    facts.socket_users = Some(vec![(71234, user(77, 60 * S, "sleep"))]);
    let (list, named) = told(&connection(OwnerSource::Call), PROVEN, &facts);
    assert_eq!(list, [(77, true, true), (3_013_825, false, false)]);
    assert_eq!(named, Named::Present);
    // The last listener of the port is not this socket's taker.
    let (list, _) = told(&connection(OwnerSource::LastListener), ACCEPTED, &facts);
    assert_eq!(list, [(77, true, true)]);
}

#[test]
fn time_wait_names_who_had_it_and_when() {
    let mut released = owner(OwnerSource::Release, Some(Origin::EphemeralConnect));
    released.released_at = Some(Ktime(1_500 * S));
    let holder = held_by(tcp("10.10.10.1", State::TimeWait), released);
    let who = of(&holder, &facts(None));
    assert_eq!(who.named, Named::Seen);
    let [osd] = who.processes.as_slice() else {
        panic!("{who:?}")
    };
    assert!(!osd.has_socket && osd.alive == Some(true));
    assert_eq!(osd.seen.as_deref(), Some("2026-11-22T10:20:23.000000000Z"));
    assert_eq!(osd.uid, Some(167));
}

/// The last close may run in a process that never had the socket, as when a message with it is thrown
/// away: what is left of a connection is of whoever made it.
#[test]
fn who_closed_a_connection_is_not_who_took_its_port() {
    let mut facts = facts(None);
    let mut closer = owner(OwnerSource::Release, None);
    closer.tgid = Tgid(77);
    let mut taker = owner(OwnerSource::Call, Some(Origin::EphemeralConnect));
    taker.released_at = Some(Ktime(1_500 * S));
    let mut left = held_by(tcp("10.10.10.1", State::TimeWait), taker.clone());
    facts.closers = vec![(487, closer.clone())];
    let named = |holder: &Holder, facts: &EventFacts| -> Vec<u32> {
        let processes = of(holder, facts).processes;
        processes.iter().map(|process| process.pid).collect()
    };
    assert_eq!(named(&left, &facts), [3_013_825]);
    closer.tgid = Tgid(0);
    facts.closers = vec![(487, closer)];
    assert_eq!(named(&left, &facts), [3_013_825]);
    left.owner = None;
    assert!(named(&left, &facts).is_empty());
}

/// The same pid runs, but it started later: it is another process.
#[test]
fn a_reused_pid_is_not_the_holder() {
    let mut facts = facts(None);
    facts.processes = vec![process(3_013_825, 90 * S, "innocent")];
    let holder = held_by(
        orphan(tcp("10.10.10.1", State::FinWait2)),
        owner(OwnerSource::Call, None),
    );
    let who = of(&holder, &facts);
    let [osd] = who.processes.as_slice() else {
        panic!("{who:?}")
    };
    assert_eq!((osd.comm.as_str(), osd.alive), ("ceph-osd", Some(false)));
    assert!(osd.exe.is_none() && osd.cmdline.is_none());
}

#[test]
fn starts_agree_to_the_tick_of_proc() {
    let mut facts = facts(None);
    facts.processes = vec![process(812, 1_900 * S, "python3")];
    let requester = requester(&task(812, "python3"), &facts, ANCHOR);
    assert_eq!(requester.exe.as_deref(), Some("/usr/bin/python3"));
    assert_eq!(requester.start_time, "2026-11-22T10:27:03.000000812Z");
}

#[test]
fn the_last_listener_is_named_only_for_what_was_accepted() {
    let facts = facts(None);
    let closed = held_by(
        tcp("10.10.10.1", State::TimeWait),
        owner(OwnerSource::LastListener, None),
    );
    let (list, named) = told(&closed, ACCEPTED, &facts);
    assert_eq!(
        (list, named),
        (vec![(3_013_825, false, true)], Named::LastListener)
    );
    assert_eq!(told(&closed, PROVEN, &facts), (vec![], Named::Nobody));
    let listener = held_by(
        tcp("10.10.10.1", State::Listen),
        owner(OwnerSource::LastListener, None),
    );
    let taken = Taken {
        origin: Some(Origin::ExplicitBind),
        proof: Proof::Proven,
    };
    assert_eq!(told(&listener, taken, &facts), (vec![], Named::Nobody));
}

/// Nobody could look who has it: the only process known to have had it, while it runs.
#[test]
fn without_a_look_the_taker_has_it_only_if_nothing_speaks_against_it() {
    let mut blind = facts(None);
    blind.socket_users = None;
    let of = |holder: &Holder, facts: &EventFacts| {
        let (list, named) = told(holder, PROVEN, facts);
        (list[0].1, named)
    };
    assert_eq!(
        of(&connection(OwnerSource::Call), &blind),
        (true, Named::Seen)
    );
    assert_eq!(
        of(&connection(OwnerSource::Snapshot), &blind),
        (true, Named::Scanned)
    );
    assert_eq!(
        of(&connection(OwnerSource::Release), &blind),
        (false, Named::Seen)
    );
    let mut released = connection(OwnerSource::Call);
    if let Some(owner) = released.owner.as_mut() {
        owner.released_at = Some(Ktime(1_999 * S));
    }
    assert_eq!(of(&released, &blind), (false, Named::Seen));
    blind.processes.clear();
    assert_eq!(
        of(&connection(OwnerSource::Call), &blind),
        (false, Named::Seen)
    );
    // Somebody looked and nobody has it.
    assert_eq!(
        of(&connection(OwnerSource::Call), &facts(None)),
        (false, Named::Seen)
    );
}

/// In a pid namespace of its own portwatch sees no process: that one is not found is no news of it, nor
/// is it known that a child does not have the socket by now, and only that.
#[test]
fn where_nobody_can_look_nobody_is_called_gone() {
    let mut hidden = facts(None);
    (hidden.processes, hidden.socket_users) = (Vec::new(), None);
    hidden.processes_hidden = true;
    for source in [OwnerSource::Call, OwnerSource::Snapshot] {
        let process = &of(&connection(source), &hidden).processes[0];
        assert_eq!((process.has_socket, process.alive), (false, None));
        assert!(process.seen.is_some());
    }
    let mut released = connection(OwnerSource::Call);
    if let Some(owner) = released.owner.as_mut() {
        owner.released_at = Some(Ktime(1_999 * S));
    }
    for holder in [released, connection(OwnerSource::Release)] {
        let process = &of(&holder, &hidden).processes[0];
        assert_eq!((process.has_socket, process.alive), (false, None));
        assert!(process.seen.is_some());
    }
}

#[test]
fn nobody_is_a_normal_answer() {
    let unknown = holder(tcp("10.10.10.1", State::Listen));
    assert_eq!(
        told(&unknown, PROVEN, &facts(None)),
        (vec![], Named::Nobody)
    );
    let mut kernel_task = owner(OwnerSource::Snapshot, None);
    kernel_task.tgid = Tgid(0);
    let nobody = held_by(tcp("10.10.10.1", State::Listen), kernel_task);
    assert_eq!(told(&nobody, PROVEN, &facts(None)), (vec![], Named::Nobody));
}

#[test]
fn strings_that_are_not_utf8_keep_their_bytes() {
    let mut facts = facts(Some(71234));
    if let Some(osd) = facts.processes.first_mut() {
        osd.exe = Some(b"/bin/caf\xe9".to_vec());
        osd.cmdline = Some(vec![b"ok".to_vec(), b"\xff".to_vec()]);
    }
    if let Some((_, user)) = facts
        .socket_users
        .as_mut()
        .and_then(|users| users.first_mut())
    {
        user.comm = Comm::from(&b"caf\xe9\x1b"[..]);
    }
    let who = of(&connection(OwnerSource::Call), &facts);
    let [osd] = who.processes.as_slice() else {
        panic!("{who:?}")
    };
    assert_eq!(osd.comm, "caf\u{fffd}\u{1b}");
    assert_eq!(osd.comm_bytes.as_deref(), Some("Y2Fm6Rs="));
    assert_eq!(osd.exe_bytes.as_deref(), Some("L2Jpbi9jYWbp"));
    let cmdline = osd.cmdline_bytes.as_deref().unwrap();
    assert_eq!(cmdline, ["b2s=", "/w=="]);
}

#[test]
fn udp_is_never_named_by_a_listener() {
    let holder = held_by(
        socket(Transport::Udp, "10.10.10.1"),
        owner(OwnerSource::LastListener, None),
    );
    let taken = Taken {
        origin: None,
        proof: Proof::Deduced,
    };
    assert_eq!(told(&holder, taken, &facts(None)), (vec![], Named::Nobody));
}
