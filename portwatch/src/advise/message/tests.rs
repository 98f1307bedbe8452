//! The sentences, each from the socket that brings it about.

use crate::correlate::testing::{
    NOW, S, connect, facts, failure, ground, held_by, holder, orphan, owner, process, socket, tcp,
    user, verdict_on,
};
use crate::correlate::verdict::verdict;
use crate::decode::event::{
    Call, Comm, Holder, Ktime, Origin, OwnerSource, State, Tgid, Transport, Wanted,
};

const OSD: &str = "ceph-osd (pid 3013825)";

/// What follows the colon.
fn why(wanted: &str, holder: Holder) -> String {
    let message = verdict_on(wanted, holder).conflict.message;
    let (_, why) = message.split_once(": ").unwrap();
    why.replace(OSD, "OSD")
}

fn called(state: State, origin: Origin) -> Holder {
    held_by(
        tcp("10.10.10.1", state),
        owner(OwnerSource::Call, Some(origin)),
    )
}

fn scanned(local: &str, state: State) -> Holder {
    let owner = owner(OwnerSource::Snapshot, Some(Origin::ExplicitBind));
    held_by(tcp(local, state), owner)
}

#[test]
fn connections_that_the_kernel_gave_the_port() {
    let said = |state| why("0.0.0.0", called(state, Origin::EphemeralConnect));
    let gave = "the kernel gave that port to OSD for its";
    assert_eq!(
        said(State::Established),
        format!("{gave} connection to 10.10.10.2:6836, 5m ago")
    );
    assert_eq!(
        said(State::SynSent),
        format!("{gave} attempt to connect to 10.10.10.2:6836, which has not answered yet, 5m ago")
    );
    assert_eq!(
        said(State::CloseWait),
        format!(
            "{gave} connection to 10.10.10.2:6836, which the peer has closed and it has not, 5m ago"
        )
    );
    assert_eq!(
        said(State::TimeWait),
        "TIME_WAIT still holds the port after the connection of OSD to 10.10.10.2:6836, for which \
         the kernel had picked it, 5m ago"
    );
}

#[test]
fn connections_of_other_origins() {
    let said = |state, origin| why("0.0.0.0", called(state, origin));
    assert_eq!(
        said(State::Established, Origin::EphemeralBind),
        "the kernel gave that port to OSD, which had asked for any (bind to port 0) and uses it \
         for its connection to 10.10.10.2:6836, 5m ago"
    );
    assert_eq!(
        said(State::TimeWait, Origin::EphemeralBind),
        "TIME_WAIT still holds the port, which the kernel had given to OSD for a bind to port 0, \
         after its connection to 10.10.10.2:6836, 5m ago"
    );
    assert_eq!(
        said(State::Established, Origin::ExplicitBind),
        "OSD bound 10.10.10.1:60001 itself as the source of its connection to 10.10.10.2:6836, \
         for 5m"
    );
    assert_eq!(
        said(State::TimeWait, Origin::ExplicitBind),
        "TIME_WAIT still holds the port after the connection of OSD to 10.10.10.2:6836, which had \
         bound it itself, 5m ago"
    );
    assert_eq!(
        said(State::Established, Origin::Accepted),
        "OSD still has a connection from 10.10.10.2:6836 that was accepted on the port, though \
         nothing listens there any more, for 5m"
    );
    assert_eq!(
        said(State::TimeWait, Origin::Accepted),
        "TIME_WAIT still holds the port after a connection from 10.10.10.2:6836 to OSD"
    );
}

#[test]
fn what_is_only_remembered_is_said_to_be() {
    let closed = tcp("10.10.10.1", State::TimeWait);
    let held = held_by(closed, owner(OwnerSource::LastListener, None));
    assert_eq!(
        why("0.0.0.0", held),
        "TIME_WAIT still holds the port after a connection from 10.10.10.2:6836 to OSD, the last known listener of the port"
    );
}

#[test]
fn what_is_not_known_is_said_plainly() {
    assert_eq!(
        why("0.0.0.0", holder(tcp("10.10.10.1", State::TimeWait))),
        "TIME_WAIT still holds the port after a connection with 10.10.10.2:6836 that nobody saw: \
         whose it was, and whether it was made from there or accepted there, is not known"
    );
    let older = held_by(
        tcp("10.10.10.1", State::Established),
        owner(OwnerSource::Snapshot, None),
    );
    assert_eq!(
        why("0.0.0.0", older),
        "OSD has a socket at 10.10.10.1:60001 (ESTABLISHED with 10.10.10.2:6836), since before \
         portwatch started (at 10:12:03 UTC); whether it connected from there or was accepted there \
         is not proven"
    );
    let mut kernel = tcp("0.0.0.0", State::Listen);
    kernel.kernel = true;
    kernel.inode = None;
    assert_eq!(
        why("0.0.0.0", holder(kernel)),
        "a socket of the kernel itself has 0.0.0.0:60001 (LISTEN)"
    );
}

#[test]
fn listeners_and_bound_sockets() {
    let since = "since before portwatch started (at 10:12:03 UTC)";
    assert_eq!(
        why("0.0.0.0", scanned("0.0.0.0", State::Listen)),
        format!("OSD listens on 0.0.0.0:60001 and has had the port {since}")
    );
    assert_eq!(
        why("0.0.0.0", scanned("::", State::Listen)),
        format!(
            "OSD listens on [::]:60001 without IPV6_V6ONLY, which takes IPv4 as well, and has had \
             the port {since}"
        )
    );
    assert_eq!(
        why("::", scanned("0.0.0.0", State::Listen)),
        format!(
            "OSD listens on 0.0.0.0:60001 and has had the port {since}; a bind to [::] without \
             IPV6_V6ONLY wants IPv4 as well"
        )
    );
    assert_eq!(
        why("::", scanned("::1", State::Close)),
        format!("OSD has [::1]:60001 bound without listening on it, {since}")
    );
    assert_eq!(
        why("0.0.0.0", called(State::Close, Origin::EphemeralBind)),
        "the kernel gave that port to OSD, which had asked for any (bind to port 0), 5m ago"
    );
}

/// fork() and exec(), or SCM_RIGHTS: the kernel gave nothing to whoever has the descriptor now.
#[test]
fn the_taker_is_told_from_who_has_the_socket_now() {
    let said = |origin, state| {
        let failure = failure(Transport::Tcp, "0.0.0.0", vec![called(state, origin)]);
        let mut facts = facts(None);
        facts.processes = vec![process(77, 60 * S, "sleep")];
        facts.socket_users = Some(vec![(71234, user(77, 60 * S, "sleep"))]);
        let message = verdict(&failure, &facts, &ground()).conflict.message;
        let (_, why) = message.split_once(": ").unwrap();
        why.replace("ceph-osd (pid 3013825, no longer running)", "OSD")
    };
    let now = "; sleep (pid 77) has that socket now";
    assert_eq!(
        said(Origin::EphemeralConnect, State::Established),
        format!(
            "the kernel gave that port to OSD for its connection to 10.10.10.2:6836, 5m ago{now}"
        )
    );
    assert_eq!(
        said(Origin::ExplicitBind, State::Established),
        format!(
            "OSD bound 10.10.10.1:60001 itself as the source of its connection to \
             10.10.10.2:6836, for 5m{now}"
        )
    );
    assert_eq!(
        said(Origin::EphemeralBind, State::Established),
        format!(
            "the kernel gave that port to OSD, which had asked for any (bind to port 0) and used \
             it for its connection to 10.10.10.2:6836, 5m ago{now}"
        )
    );
    assert_eq!(
        said(Origin::EphemeralBind, State::Close),
        format!(
            "the kernel gave that port to OSD, which had asked for any (bind to port 0), 5m ago{now}"
        )
    );
}

/// Whoever had the descriptor when it was looked for, and has ended since, took nothing.
#[test]
fn a_user_that_has_just_ended_is_no_taker() {
    let mut held = called(State::Established, Origin::EphemeralConnect);
    held.owner = None;
    held.socket.connect_bound = true;
    let failure = failure(Transport::Tcp, "0.0.0.0", vec![held]);
    let mut facts = facts(Some(71234));
    if let Some(users) = facts.socket_users.as_mut() {
        users.push((71234, user(3_013_826, 51 * S, "worker")));
    }
    let message = verdict(&failure, &facts, &ground()).conflict.message;
    assert!(!message.contains("worker"), "{message}");
}

#[test]
fn orphans() {
    let owner = owner(OwnerSource::Release, Some(Origin::EphemeralConnect));
    assert_eq!(
        why(
            "0.0.0.0",
            held_by(orphan(tcp("10.10.10.1", State::FinWait2)), owner)
        ),
        "a connection with 10.10.10.2:6836 still holds the port in FIN_WAIT2 though no process has \
         it any more; it was that of OSD"
    );
}

#[test]
fn udp_sockets() {
    let mut client = socket(Transport::Udp, "10.10.10.1");
    let autobound = owner(OwnerSource::Call, Some(Origin::EphemeralAutobind));
    assert_eq!(
        why("0.0.0.0", held_by(client.clone(), autobound)),
        "the kernel gave that port to OSD when it sent without binding one, 5m ago"
    );
    connect(&mut client, "10.10.10.2", 53);
    client.state = State::Established;
    let explicit = owner(OwnerSource::Call, Some(Origin::ExplicitBind));
    assert_eq!(
        why("0.0.0.0", held_by(client.clone(), explicit)),
        "OSD has a UDP socket bound at 10.10.10.1:60001, connected to 10.10.10.2:53, for 5m"
    );
    assert_eq!(
        why(
            "0.0.0.0",
            held_by(client, owner(OwnerSource::Release, None))
        ),
        "OSD has a UDP socket open at 10.10.10.1:60001, connected to 10.10.10.2:53"
    );
}

#[test]
fn the_call_and_the_wanted_end_come_first() {
    let subject = |call, wanted: Wanted| {
        let mut failure = failure(Transport::Tcp, "::", Vec::new());
        failure.call = call;
        failure.wanted = wanted;
        let message = verdict(&failure, &facts(None), &ground()).conflict.message;
        message.split_once(": ").unwrap().0.to_owned()
    };
    let at = |port| Wanted {
        addr: Some("::1".parse().unwrap()),
        port,
        destination: None,
    };
    let who = "python3 (pid 812) could not";
    assert_eq!(
        subject(Call::Bind, at(Some(80))),
        format!("{who} bind [::1]:80/tcp")
    );
    assert_eq!(
        subject(Call::Listen, at(Some(80))),
        format!("{who} listen on [::1]:80/tcp")
    );
    let nothing = Wanted {
        addr: None,
        port: None,
        destination: None,
    };
    assert_eq!(
        subject(Call::Connect, nothing.clone()),
        format!("{who} connect from [::]:*/tcp")
    );
    assert_eq!(
        subject(Call::Autobind, nothing),
        format!("{who} send from [::]:*/tcp")
    );
}

#[test]
fn crowds_are_counted() {
    let mut other = called(State::Established, Origin::EphemeralConnect);
    other.socket.cookie = Some(900);
    let held = vec![called(State::Established, Origin::EphemeralConnect), other];
    let mut failure = failure(Transport::Tcp, "0.0.0.0", held);
    let mut facts = facts(Some(71234));
    if let Some(users) = facts.socket_users.as_mut() {
        users.push((71234, user(9, S, "worker")));
        users.push((71234, user(10, S, "worker")));
    }
    facts.processes.push(process(9, S, "worker"));
    facts.processes.push(process(10, S, "worker"));
    let say = |failure: &_| verdict(failure, &facts, &ground()).conflict.message;
    let message = say(&failure);
    assert!(
        message.contains(&format!("{OSD} with 2 more processes")),
        "{message}"
    );
    assert!(
        message.ends_with("; 1 more socket blocks it as well"),
        "{message}"
    );
    failure.walk.skipped = 7;
    assert!(say(&failure).ends_with("; at least 1 more socket blocks it as well"));
}

#[test]
fn a_process_in_its_own_way_is_told_so() {
    let mut failure = failure(
        Transport::Tcp,
        "0.0.0.0",
        vec![scanned("0.0.0.0", State::Listen)],
    );
    failure.task.tgid = Tgid(3_013_825);
    let conflict = verdict(&failure, &facts(Some(71234)), &ground()).conflict;
    assert!(
        conflict
            .message
            .ends_with("(at 10:12:03 UTC); that is the same process"),
        "{}",
        conflict.message
    );
    assert_eq!(conflict.advice[0].id, "close-own");
}

#[test]
fn a_process_that_is_gone_is_called_so() {
    let held = called(State::TimeWait, Origin::EphemeralConnect);
    let failure = failure(Transport::Tcp, "0.0.0.0", vec![held]);
    let mut facts = facts(None);
    facts.processes.clear();
    let message = verdict(&failure, &facts, &ground()).conflict.message;
    assert!(
        message.contains("ceph-osd (pid 3013825, no longer running)"),
        "{message}"
    );
}

/// Nothing is added that a terminal would obey; what a name brings is left to the sink.
#[test]
fn one_line_and_no_control_character_of_our_own() {
    for state in [
        State::Established,
        State::TimeWait,
        State::Listen,
        State::Close,
    ] {
        let conflict = verdict_on("0.0.0.0", called(state, Origin::EphemeralConnect)).conflict;
        let texts = conflict.advice.iter().map(|advice| advice.text.as_str());
        for text in texts.chain([conflict.message.as_str()]) {
            assert!(!text.chars().any(char::is_control), "{text:?}");
            assert!(!text.ends_with('.'), "{text}");
        }
    }
    let mut odd = failure(Transport::Tcp, "0.0.0.0", Vec::new());
    odd.task.comm = Comm::from(&b"\x1b[31m"[..]);
    odd.time = Ktime(NOW.0);
    let message = verdict(&odd, &facts(None), &ground()).conflict.message;
    assert!(message.starts_with("\u{1b}[31m (pid 812)"), "{message:?}");
}

mod people;
