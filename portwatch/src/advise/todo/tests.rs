//! Advice per cause, and commands that are printed only where they work.

mod systemd;

use crate::correlate::testing::{
    NETNS, PORT, S, facts, failure, ground, held_by, holder, owner, process, socket, tcp, user,
};
use crate::correlate::verdict::{Ground, verdict};
use crate::decode::event::{
    Comm, Failure, Holder, NetnsId, Origin, OwnerSource, State, Tgid, Transport,
};
use crate::enrich::EventFacts;
use crate::enrich::facts::{Connection, NetnsFacts, NetnsReach};
use crate::report::{Advice, Certainty, Conflict};

fn called(state: State, origin: Origin) -> Holder {
    held_by(
        tcp("10.10.10.1", state),
        owner(OwnerSource::Call, Some(origin)),
    )
}

fn advice_on(failure: &Failure, facts: &EventFacts, ground: &Ground) -> Vec<Advice> {
    verdict(failure, facts, ground).conflict.advice
}

fn advice(holder: Holder) -> Vec<Advice> {
    let facts = facts(holder.socket.inode);
    let failure = failure(holder.socket.transport, "0.0.0.0", vec![holder]);
    advice_on(&failure, &facts, &ground())
}

fn ids(list: &[Advice]) -> Vec<&str> {
    list.iter().map(|advice| advice.id.as_str()).collect()
}

#[test]
fn every_cause_has_something_to_do() {
    use Origin::{Accepted, EphemeralBind, EphemeralConnect, ExplicitBind};
    let said = |state, origin| {
        let list = advice(called(state, origin));
        ids(&list).join(" ")
    };
    let outbound = "reserve-port end-connection move-port";
    assert_eq!(said(State::Established, EphemeralConnect), outbound);
    assert_eq!(
        said(State::TimeWait, EphemeralConnect),
        "reserve-port wait move-port"
    );
    assert_eq!(said(State::TimeWait, Accepted), "server-reuseaddr wait");
    assert_eq!(
        said(State::Established, Accepted),
        "end-connection server-reuseaddr"
    );
    assert_eq!(said(State::Listen, ExplicitBind), "stop-holder");
    assert_eq!(said(State::Close, ExplicitBind), "stop-holder look-with-ss");
    assert_eq!(
        said(State::Close, EphemeralBind),
        "reserve-port stop-holder move-port"
    );
    let dual = held_by(
        tcp("::", State::Listen),
        owner(OwnerSource::Call, Some(ExplicitBind)),
    );
    assert_eq!(ids(&advice(dual)), ["v6only", "stop-holder"]);
    let udp = held_by(
        socket(Transport::Udp, "0.0.0.0"),
        owner(OwnerSource::Call, Some(ExplicitBind)),
    );
    assert_eq!(ids(&advice(udp)), ["stop-holder"]);
    let free = failure(Transport::Tcp, "0.0.0.0", Vec::new());
    assert_eq!(ids(&advice_on(&free, &facts(None), &ground())), ["retry"]);
}

#[test]
fn who_waits_is_told_how_long() {
    let waiting = called(State::TimeWait, Origin::EphemeralConnect);
    let connection = Connection {
        local: (waiting.socket.local_addr(), waiting.socket.port).into(),
        peer: (
            waiting.socket.peer_addr().unwrap(),
            waiting.socket.peer_port,
        )
            .into(),
        device: 0,
    };
    let told = |left: Option<u32>| {
        let facts = EventFacts {
            time_wait_left: left.map(|left| (connection, left)).into_iter().collect(),
            ..facts(None)
        };
        let failure = failure(Transport::Tcp, "0.0.0.0", vec![waiting.clone()]);
        let list = advice_on(&failure, &facts, &ground());
        let wait = list.into_iter().find(|advice| advice.id == "wait");
        wait.unwrap().text
    };
    assert_eq!(
        told(Some(42_001)),
        "TIME_WAIT ends by itself in 43 s: try again then"
    );
    assert_eq!(
        told(Some(0)),
        "TIME_WAIT ends by itself in 1 s: try again then"
    );
    assert_eq!(
        told(None),
        "TIME_WAIT ends by itself, 60 s after the close: try again then"
    );
}

/// The reserve command in a namespace, as printed.
fn reserve(netns: Option<NetnsFacts>, own: Option<NetnsId>) -> Option<String> {
    let held = called(State::Established, Origin::EphemeralConnect);
    let mut facts = facts(Some(71234));
    facts.netns = netns;
    let ground = Ground {
        own_netns: own,
        ..ground()
    };
    let failure = failure(Transport::Tcp, "0.0.0.0", vec![held]);
    let list = advice_on(&failure, &facts, &ground);
    assert_eq!(list[0].id, "reserve-port");
    list[0].command.clone()
}

fn netns(reserved: Option<&str>, reach: Option<NetnsReach>) -> Option<NetnsFacts> {
    Some(NetnsFacts {
        reserved: reserved.map(str::to_owned),
        reach,
    })
}

const SYSCTL: &str = "sysctl -w net.ipv4.ip_local_reserved_ports";

#[test]
fn the_command_merges_with_what_is_set() {
    let here = Some(NETNS);
    let command = |reserved| reserve(netns(Some(reserved), None), here).unwrap();
    assert_eq!(command(""), format!("{SYSCTL}=60001"));
    assert_eq!(
        command("8080,9148-9150"),
        format!("{SYSCTL}=8080,9148-9150,60001")
    );
    assert_eq!(
        command("60000,60002-60010\n"),
        format!("{SYSCTL}=60000-60010")
    );
}

#[test]
fn the_command_acts_in_the_conflicts_namespace() {
    let path = Some(NetnsReach::Path("/run/netns/blue".to_owned()));
    let process = Some(NetnsReach::Process(Tgid(4711)));
    let list = format!("{SYSCTL}=60001");
    let elsewhere = Some(NetnsId(7));
    assert_eq!(
        reserve(netns(Some(""), path.clone()), elsewhere),
        Some(format!("nsenter --net=/run/netns/blue {list}"))
    );
    assert_eq!(
        reserve(netns(Some(""), process), elsewhere),
        Some(format!("nsenter --target 4711 --net {list}"))
    );
    let odd = Some(NetnsReach::Path("/run/netns/it's".to_owned()));
    assert_eq!(
        reserve(netns(Some(""), odd), elsewhere),
        Some(format!(r"nsenter '--net=/run/netns/it'\''s' {list}"))
    );
    assert_eq!(reserve(netns(Some(""), path), Some(NETNS)), Some(list));
}

#[test]
fn no_command_where_it_would_have_to_guess() {
    let here = Some(NETNS);
    assert_eq!(reserve(None, here), None);
    assert_eq!(reserve(netns(None, None), here), None);
    assert_eq!(reserve(netns(Some("garbage"), None), here), None);
    assert_eq!(reserve(netns(Some("60000-60100"), None), here), None);
    // Another namespace, or one that is not known, without a way there.
    assert_eq!(reserve(netns(Some(""), None), Some(NetnsId(7))), None);
    assert_eq!(reserve(netns(Some(""), None), None), None);
}

#[test]
fn a_port_outside_the_range_is_not_to_be_reserved() {
    let mut failure = failure(
        Transport::Tcp,
        "0.0.0.0",
        vec![called(State::Established, Origin::EphemeralConnect)],
    );
    failure.range.low = PORT + 1;
    failure.range.high = PORT + 9;
    let list = advice_on(&failure, &facts(Some(71234)), &ground());
    assert_eq!(ids(&list), ["end-connection"]);
    failure.range.low = PORT;
    failure.range.reserved = Some(true);
    let list = advice_on(&failure, &facts(Some(71234)), &ground());
    assert_eq!(ids(&list), ["reserve-port", "end-connection", "move-port"]);
    assert_eq!(list[0].command, None);
    assert!(list[0].text.contains("is reserved by now"));
}

#[test]
fn reuseaddr_is_advised_only_where_it_would_help() {
    let mut held = called(State::Established, Origin::EphemeralConnect);
    assert!(advice(held.clone())[1].text.contains("does not help"));
    held.socket.reuse = true;
    let list = advice(held.clone());
    assert_eq!(ids(&list).last(), Some(&"set-reuseaddr"));
    assert!(!list[1].text.contains("does not help"));
    let mut without = called(State::Established, Origin::EphemeralConnect);
    without.socket.cookie = Some(900);
    let both = failure(Transport::Tcp, "0.0.0.0", vec![held, without]);
    let list = advice_on(&both, &facts(Some(71234)), &ground());
    assert!(!ids(&list).contains(&"set-reuseaddr"));
}

#[test]
fn who_else_has_the_port_is_named_once() {
    let first = called(State::Listen, Origin::ExplicitBind);
    let mut other = called(State::Established, Origin::ExplicitBind);
    (other.socket.inode, other.socket.cookie) = (Some(900), Some(900));
    let mut facts = facts(Some(71234));
    facts.processes.push(process(640, 60 * S, "other"));
    let mut said = |users: Vec<_>| {
        facts.socket_users = Some(users);
        let both = failure(
            Transport::Tcp,
            "0.0.0.0",
            vec![first.clone(), other.clone()],
        );
        let list = advice_on(&both, &facts, &ground());
        let named = list.iter().find(|advice| advice.id == "other-holders");
        named.map(|advice| advice.text.clone())
    };
    let osd = || user(3_013_825, 50 * S, "ceph-osd");
    let told = said(vec![(71234, osd()), (900, user(640, 60 * S, "other"))]);
    assert!(told.is_some_and(|text| text.contains("other (pid 640)")));
    assert_eq!(said(vec![(71234, osd()), (900, osd())]), None);
    assert_eq!(said(vec![(71234, osd())]), None);
}

/// A dead process closes nothing any more.
#[test]
fn nobody_waits_for_the_dead_to_close() {
    let held = called(State::Established, Origin::EphemeralConnect);
    let failure = failure(Transport::Tcp, "0.0.0.0", vec![held]);
    let mut gone = facts(None);
    gone.processes.clear();
    let list = advice_on(&failure, &gone, &ground());
    assert_eq!(ids(&list), ["reserve-port", "try-again", "move-port"]);
}

/// "Try again" is for a process that was looked for and has ended.
#[test]
fn where_nobody_can_look_nothing_is_said_to_have_ended() {
    let held = called(State::Listen, Origin::ExplicitBind);
    let failure = failure(Transport::Tcp, "0.0.0.0", vec![held]);
    let mut hidden = facts(None);
    (hidden.processes, hidden.socket_users) = (Vec::new(), None);
    hidden.processes_hidden = true;
    let conflict = verdict(&failure, &hidden, &ground()).conflict;
    assert!(!conflict.message.contains("no longer"), "{conflict:?}");
    assert_eq!(ids(&conflict.advice), ["stop-holder"]);
    assert!(conflict.advice[0].text.starts_with("on the host, stop"));
    // It may have handed the socket on.
    assert_eq!(conflict.certainty, Certainty::Remembered);
    hidden.processes_hidden = false;
    let conflict = verdict(&failure, &hidden, &ground()).conflict;
    assert_eq!(ids(&conflict.advice), ["try-again"]);
}

#[test]
fn an_unproven_holder_has_advice_that_is_true_however_it_came_there() {
    let list = advice(holder(tcp("10.10.10.1", State::Established)));
    assert_eq!(ids(&list), ["end-connection", "reserve-port", "move-port"]);
    let list = advice(holder(tcp("10.10.10.1", State::TimeWait)));
    assert_eq!(ids(&list), ["wait", "reserve-port", "move-port"]);
    // Outside the range as well.
    for state in [State::Established, State::TimeWait] {
        let held = holder(tcp("10.10.10.1", state));
        let mut failure = failure(Transport::Tcp, "0.0.0.0", vec![held]);
        (failure.range.low, failure.range.high) = (PORT + 1, PORT + 9);
        assert_eq!(advice_on(&failure, &facts(Some(71234)), &ground()).len(), 1);
    }
}

/// An engine starts again what is stopped inside its container.
#[test]
fn what_is_in_a_container_is_stopped_with_it() {
    let held = called(State::Listen, Origin::ExplicitBind);
    let facts = facts(held.socket.inode);
    let failure = failure(Transport::Tcp, "0.0.0.0", vec![held]);
    let mut conflict = verdict(&failure, &facts, &ground()).conflict;
    let told = |conflict: &Conflict| {
        let advice = crate::advise::advice(conflict, None, &ground());
        advice.into_iter().next().map(|first| first.text)
    };
    assert!(told(&conflict).is_some_and(|text| text.starts_with("stop ceph-osd (pid ")));
    let process = &mut conflict.holders[0].processes[0];
    process.container = Some(Some("0123456789abcdef".to_owned()));
    process.container_runtime = Some("docker".to_owned());
    let text = told(&conflict).unwrap();
    assert!(
        text.starts_with("stop container docker 0123456789ab, in which ceph-osd (pid "),
        "{text}"
    );
    conflict.holders[0].processes[0].container_name = Some("shop-1".to_owned());
    let text = told(&conflict).unwrap();
    assert!(
        text.starts_with("stop container shop-1 (docker 0123456789ab)"),
        "{text}"
    );
    conflict.requester.container = Some(Some("0123456789abcdef".to_owned()));
    assert!(told(&conflict).is_some_and(|text| text.starts_with("stop ceph-osd (pid ")));
}
