//! What is said of the caller itself, of who cannot be seen, and of the other family.

use super::*;
use crate::decode::event::Family;

/// A child of whoever listens that tries to bind the port again.
#[test]
fn a_caller_that_has_the_listener_as_well_is_told_so() {
    let listener = scanned("0.0.0.0", State::Listen);
    let failure = failure(Transport::Tcp, "0.0.0.0", vec![listener]);
    let mut facts = facts(Some(71234));
    let (tgid, start) = (failure.task.tgid, failure.task.start);
    let child = user(tgid.0, start.0, "python3");
    let users = facts.socket_users.as_mut().unwrap();
    users.push((71234, child));
    facts.processes.push(process(tgid.0, start.0, "python3"));
    let conflict = verdict(&failure, &facts, &ground()).conflict;
    let told = "; the caller has that socket itself, too";
    assert!(conflict.message.ends_with(told), "{}", conflict.message);
    assert_eq!(conflict.advice[0].id, "close-own");
    assert_eq!(
        conflict.advice[0].text,
        format!(
            "the caller has that socket itself, inherited or handed over: it can serve on that one \
             instead of a second; for a new one it has to close it, and so has {OSD}"
        )
    );
}

#[test]
fn a_socket_of_the_other_family_is_explained() {
    let said = |wanted: &str, holder: Holder| {
        let failure = failure(Transport::Tcp, wanted, vec![holder]);
        verdict(&failure, &facts(Some(71234)), &ground())
            .conflict
            .message
    };
    let message = said("::", scanned("10.10.10.1", State::Listen));
    let told = "; a bind to [::] without IPV6_V6ONLY wants IPv4 as well";
    assert!(message.ends_with(told), "{message}");
    let mut connection = called(State::Established, Origin::EphemeralConnect);
    connection.socket.family = Family::Ipv6;
    connection.socket.v6_rcv_saddr = "::1".parse().unwrap();
    connection.socket.v6_daddr = "::1".parse().unwrap();
    let message = said("0.0.0.0", connection);
    let told = "; without IPV6_V6ONLY an IPv6 socket keeps IPv4 from its port as well";
    assert!(message.ends_with(told), "{message}");
    let message = said("0.0.0.0", scanned("10.10.10.1", State::Listen));
    assert!(!message.contains("IPV6_V6ONLY"), "{message}");
}

/// From a pid namespace of its own: whoever took the port may have left it to a child.
#[test]
fn who_cannot_be_looked_at_is_only_the_last_known() {
    let mut facts = facts(None);
    (facts.processes, facts.socket_users) = (Vec::new(), None);
    facts.processes_hidden = true;
    let connection = called(State::Established, Origin::EphemeralConnect);
    let failure = failure(Transport::Tcp, "0.0.0.0", vec![connection]);
    let conflict = verdict(&failure, &facts, &ground()).conflict;
    let told = "ceph-osd (pid 3013825, the last known to have it)";
    assert!(conflict.message.contains(told), "{}", conflict.message);
    let end = conflict.advice.iter().find(|a| a.id == "end-connection");
    let said = end.map_or("", |advice| &advice.text);
    assert!(said.contains(", or whoever has it now, closes"), "{said}");
}

#[test]
fn every_connection_of_the_port_has_to_end() {
    let connections = [6836, 6837, 6838].map(|port| {
        let mut connection = called(State::Established, Origin::EphemeralConnect);
        connection.socket.peer_port = port;
        connection.socket.sk += u64::from(port);
        connection
    });
    let failure = failure(Transport::Tcp, "0.0.0.0", connections.to_vec());
    let conflict = verdict(&failure, &facts(Some(71234)), &ground()).conflict;
    let end = conflict.advice.iter().find(|a| a.id == "end-connection");
    let said = end.map_or("", |advice| &advice.text);
    let told = format!("the port is free when {OSD} closes its 3 connections of this port");
    assert!(said.starts_with(&told), "{said}");
}
