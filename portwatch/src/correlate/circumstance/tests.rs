use crate::correlate::testing::{
    NOW, S, facts, failure, ground, held_by, owner, process, socket, tcp, user,
};
use crate::correlate::verdict::verdict;
use crate::decode::event::{
    Comm, Failure, Holder, Ktime, Origin, OwnerSource, State, Tgid, Transport,
};
use crate::enrich::EventFacts;
use crate::report::{Cause, Certainty, Conflict, HolderKind, OriginName};

/// A listener that ceph-osd (pid 3013825) opened 300 s ago.
fn listener(source: OwnerSource) -> Holder {
    let mut socket = tcp("0.0.0.0", State::Listen);
    socket.reuse = true;
    held_by(socket, owner(source, Some(Origin::ExplicitBind)))
}

fn told(failure: &Failure, facts: &EventFacts) -> Conflict {
    verdict(failure, facts, &ground()).conflict
}

fn cause(holder: Holder, facts: &EventFacts) -> Cause {
    told(&failure(Transport::Tcp, "0.0.0.0", vec![holder]), facts).cause
}

/// ceph-osd is gone, the process `comm` (pid 77), started at `start`, has the socket.
fn heir(comm: &str, start: Ktime) -> EventFacts {
    let mut facts = facts(None);
    facts.processes = vec![process(77, start.0, comm)];
    facts.socket_users = Some(vec![(71234, user(77, start.0, comm))]);
    facts
}

const AFTER: Ktime = Ktime(1_800 * S);

#[test]
fn a_child_of_the_dead_has_it_and_both_are_named() {
    let held = failure(Transport::Tcp, "0.0.0.0", vec![listener(OwnerSource::Call)]);
    let mut facts = heir("sleep", AFTER);
    facts.processes[0].group = Some(Tgid(3_013_825));
    let conflict = told(&held, &facts);
    assert_eq!(conflict.cause, Cause::InheritedDescriptor);
    assert_eq!(conflict.certainty, Certainty::Exact);
    assert_eq!(conflict.holders[0].kind, HolderKind::Listener);
    let named: Vec<_> = conflict.holders[0]
        .processes
        .iter()
        .map(|p| (p.pid, p.has_socket, p.alive == Some(true)))
        .collect();
    assert_eq!(named, [(77, true, true), (3_013_825, false, false)]);
    assert_eq!(
        conflict.message,
        "python3 (pid 812) could not bind 0.0.0.0:60001/tcp: sleep (pid 77) still has the listening \
         socket at 0.0.0.0:60001 that it inherited from ceph-osd (pid 3013825, no longer running); \
         that socket has had the port for 5m"
    );
    let advice: Vec<_> = conflict.advice.iter().map(|a| a.id.as_str()).collect();
    assert_eq!(advice, ["kill-child", "close-on-exec"]);
    assert_eq!(conflict.advice[0].command.as_deref(), Some("kill 77"));
    // Nothing shows that it is a child: the socket may have been sent to it.
    facts.processes[0].group = Some(Tgid(9));
    let conflict = told(&held, &facts);
    assert_eq!(conflict.cause, Cause::InheritedDescriptor);
    assert_eq!(conflict.certainty, Certainty::Inferred);
    assert_eq!(conflict.advice[0].command, None);
    assert!(conflict.message.contains("inherited from, or was sent by,"));
}

#[test]
fn the_start_up_scan_knew_the_dead_as_well() {
    let facts = heir("sleep", AFTER);
    assert_eq!(
        cause(listener(OwnerSource::Snapshot), &facts),
        Cause::InheritedDescriptor
    );
    // Who listened last is not who opened this one.
    assert_eq!(
        cause(listener(OwnerSource::LastListener), &facts),
        Cause::Listener
    );
}

#[test]
fn a_daemon_is_no_heir() {
    let mut facts = heir("ceph-osd", AFTER);
    assert_eq!(
        cause(listener(OwnerSource::Call), &facts),
        Cause::InheritedDescriptor
    );
    facts.processes[0].session = Some(Tgid(77));
    assert_eq!(cause(listener(OwnerSource::Call), &facts), Cause::Listener);
    // It forked once more: its session's maker, which came after the opener, is gone.
    facts.processes[0].session = Some(Tgid(3_013_826));
    assert_eq!(cause(listener(OwnerSource::Call), &facts), Cause::Listener);
    // In the session of a shell that is older than the opener.
    facts.processes[0].session = Some(Tgid(3_000_000));
    assert_eq!(
        cause(listener(OwnerSource::Call), &facts),
        Cause::InheritedDescriptor
    );
    // Another program in a session of its own did inherit it.
    let mut facts = heir("sleep", AFTER);
    facts.processes[0].session = Some(Tgid(77));
    assert_eq!(
        cause(listener(OwnerSource::Call), &facts),
        Cause::InheritedDescriptor
    );
    // The same program that calls itself something else did not.
    facts.processes[0].forked_only = true;
    assert_eq!(cause(listener(OwnerSource::Call), &facts), Cause::Listener);
    facts.processes[0].session = Some(Tgid(3_000_000));
    assert_eq!(
        cause(listener(OwnerSource::Call), &facts),
        Cause::InheritedDescriptor
    );
}

#[test]
fn a_new_master_with_workers_is_no_heir() {
    let mut facts = heir("ceph-osd", AFTER);
    let mut worker = process(78, AFTER.0 + S, "ceph-osd");
    worker.ppid = Some(Tgid(77));
    facts.processes.push(worker);
    let users = facts.socket_users.as_mut().unwrap();
    users.push((71234, user(78, AFTER.0 + S, "ceph-osd")));
    assert_eq!(cause(listener(OwnerSource::Call), &facts), Cause::Listener);
}

#[test]
fn a_process_older_than_the_socket_was_sent_it() {
    let before = Ktime(1_600 * S);
    assert_eq!(
        cause(listener(OwnerSource::Call), &heir("systemd", before)),
        Cause::Listener
    );
    // /proc has clock ticks, the kernel nanoseconds: a child of the same tick is no older.
    let mut held = listener(OwnerSource::Call);
    held.owner.as_mut().unwrap().taken_at = Some(Ktime(1_700 * S + 7_000_000));
    assert_eq!(
        cause(held, &heir("sleep", Ktime(1_700 * S))),
        Cause::InheritedDescriptor
    );
}

#[test]
fn while_the_opener_lives_nobody_inherits() {
    let mut facts = heir("sleep", AFTER);
    facts.processes.push(process(3_013_825, 50 * S, "ceph-osd"));
    assert_eq!(cause(listener(OwnerSource::Call), &facts), Cause::Listener);
}

#[test]
fn what_only_a_message_holds() {
    let mut facts = facts(None);
    facts.socket_users = Some(Vec::new());
    // It may have been closed since.
    assert_eq!(cause(listener(OwnerSource::Call), &facts), Cause::Listener);
    facts.unowned = vec![71234];
    let held = failure(Transport::Tcp, "0.0.0.0", vec![listener(OwnerSource::Call)]);
    let conflict = told(&held, &facts);
    assert_eq!(conflict.cause, Cause::DescriptorInFlight);
    assert_eq!(conflict.holders[0].kind, HolderKind::InFlight);
    let [opener] = conflict.holders[0].processes.as_slice() else {
        panic!("{conflict:#?}")
    };
    assert!(!opener.has_socket && opener.alive == Some(true));
    assert!(
        conflict
            .message
            .contains("opened by ceph-osd (pid 3013825)"),
        "{}",
        conflict.message
    );
}

#[test]
fn the_kernels_own_socket_is_no_processs() {
    let mut held = listener(OwnerSource::Call);
    held.socket.kernel = true;
    held.socket.has_file = false;
    let conflict = told(
        &failure(Transport::Tcp, "0.0.0.0", vec![held]),
        &facts(None),
    );
    assert_eq!(conflict.cause, Cause::KernelSocket);
    let holder = &conflict.holders[0];
    assert_eq!(
        (holder.kind, holder.origin),
        (HolderKind::Kernel, Some(OriginName::Kernel))
    );
    // Whatever process it worked for.
    assert!(holder.processes.is_empty(), "{holder:#?}");
}

fn sharing(ours: bool, theirs: bool, other_user: bool, caller: &str) -> Cause {
    let mut held = listener(OwnerSource::Call);
    held.socket.reuseport = theirs;
    held.socket.uid = Some(if other_user { 33 } else { 0 });
    let mut failure = failure(Transport::Tcp, "0.0.0.0", vec![held]);
    failure.socket.reuseport = ours;
    failure.socket.uid = Some(0);
    failure.task.comm = Comm::from(caller.as_bytes());
    // Alive or not: the same.
    let mut alive = facts(Some(71234));
    let dead = told(&failure, &alive).cause;
    let caller = process(812, failure.task.start.0, caller);
    alive.processes.push(caller);
    assert_eq!(failure.time, NOW);
    assert_eq!(told(&failure, &alive).cause, dead);
    dead
}

#[test]
fn reuseport_of_two_users() {
    let name = "python3";
    assert_eq!(sharing(true, true, true, name), Cause::ReuseportOtherUser);
    assert_eq!(sharing(false, false, true, name), Cause::Listener);
}

#[test]
fn reuseport_on_one_side_of_one_program() {
    let same = "ceph-osd";
    assert_eq!(sharing(true, false, false, same), Cause::ReuseportMissing);
    assert_eq!(sharing(false, true, false, same), Cause::ReuseportMissing);
    // It would not be enough.
    assert_eq!(sharing(false, true, true, same), Cause::Listener);
    // Two programs were not meant to share.
    assert_eq!(sharing(true, false, false, "python3"), Cause::Listener);
}

#[test]
fn udp_shares_by_the_same_rule() {
    let mut socket = socket(Transport::Udp, "0.0.0.0");
    socket.reuseport = true;
    socket.uid = Some(33);
    let held = held_by(socket, owner(OwnerSource::Call, Some(Origin::ExplicitBind)));
    let mut failure = failure(Transport::Udp, "0.0.0.0", vec![held]);
    failure.socket.reuseport = true;
    assert_eq!(
        told(&failure, &facts(Some(71234))).cause,
        Cause::ReuseportOtherUser
    );
}
