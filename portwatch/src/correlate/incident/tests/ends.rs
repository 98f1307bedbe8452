//! Ends without the wanted port, what may be forgotten, and the bound.

use super::*;

/// Jupyter: 8888 and 8889 are taken, 8890 is not.
#[test]
fn moving_on_settles_after_three_seconds() {
    let mut run = Run::new();
    run.fails(0);
    run.fails_with(10, |failure| failure.wanted.port = Some(PORT + 1));
    // A port that it is only bound to may be a client's.
    run.assigned(15, "0.0.0.0", PORT + 1_000);
    let listens = |assign: &mut Assign| assign.call = Call::Listen;
    run.assigned_with(20, "0.0.0.0", PORT + 2, listens);
    run.assigned_with(30, "0.0.0.0", PORT + 9, listens);
    assert_eq!(run.correlator.next_deadline(), Some(at(3_020)));
    run.correlator.tick(at(3_019), &mut run.out);
    assert!(run.resolved().is_empty());
    run.correlator.tick(at(3_020), &mut run.out);
    let end = run.only_resolved();
    assert_eq!(
        (end.how, end.port, end.after_ms, end.attempts),
        (How::OtherPort, Some(PORT + 2), 20, 2)
    );
    let tried = Ports {
        low: PORT,
        high: PORT + 1,
    };
    assert_eq!(end.port_range, Some(tried));
    assert!(
        end.message
            .contains("took port 60003 instead of 0.0.0.0:60001-60002/tcp"),
        "{}",
        end.message
    );
    let told: Vec<_> = run
        .conflicts()
        .iter()
        .map(|c| (c.incident.clone(), c.attempt, c.port_range))
        .collect();
    assert_eq!(
        told,
        [(ID.to_owned(), 1, None), (ID.to_owned(), 2, Some(tried))]
    );
    assert_eq!(run.correlator.next_deadline(), None);
}

/// Ceph: the range once more from its beginning, until a port of it is free.
#[test]
fn a_range_that_is_tried_again_is_the_same_incident() {
    let mut run = Run::new();
    let tries = |run: &mut Run, ms: u64, last: u16| {
        for n in 0..=last {
            run.fails_with(ms + u64::from(n), |failure| {
                failure.wanted.port = Some(PORT + n);
            });
        }
    };
    tries(&mut run, 0, 3);
    tries(&mut run, 5_000, 1);
    run.assigned(5_003, "0.0.0.0", PORT + 2);
    let end = run.only_resolved();
    assert_eq!(
        (end.how, end.attempts, end.freed_by),
        (How::GotPort, 6, None)
    );
    assert_eq!(
        end.port_range,
        Some(Ports {
            low: PORT,
            high: PORT + 3
        })
    );
    assert_eq!(run.correlator.next_deadline(), None);
}

/// Another address, a port further on, a later try: another matter each.
#[test]
fn what_does_not_follow_is_another_incident() {
    let mut run = Run::new();
    run.fails(0);
    run.fails_with(1, |failure| {
        failure.wanted.port = Some(PORT + 1);
        failure.wanted.addr = Some("10.10.10.1".parse().unwrap());
    });
    run.fails_with(2, |failure| failure.wanted.port = Some(PORT + 3));
    run.fails_with(2_000, |failure| failure.wanted.port = Some(PORT + 4));
    let ids: BTreeSet<_> = run.conflicts().iter().map(|c| c.incident.clone()).collect();
    assert_eq!(ids.len(), 4);
    assert!(run.conflicts().iter().all(|c| c.port_range.is_none()));
}

/// sshd: 0.0.0.0 is taken, [::] is not, and it goes on with that.
#[test]
fn what_is_served_all_the_same_is_told() {
    let mut run = Run::new();
    run.fails(0);
    run.assigned_with(10, "::", PORT, |assign| {
        assign.socket.v6only = true;
        assign.call = Call::Listen;
    });
    run.correlator.tick(at(30_000), &mut run.out);
    let end = run.only_resolved();
    assert_eq!(end.how, How::GaveUp);
    let serves: Vec<_> = end.serves.iter().map(|end| end.address.as_str()).collect();
    assert_eq!(serves, ["::"]);
    assert!(
        end.message.ends_with("; it serves on [::]:60001 only"),
        "{}",
        end.message
    );
}

/// Each destination is an incident of its own, and a connection there its end.
#[test]
fn a_destination_is_reached_at_last() {
    let mut run = Run::new();
    let to = |port: u16| {
        move |failure: &mut Failure| {
            failure.call = Call::Connect;
            failure.wanted = Wanted {
                addr: None,
                port: None,
                destination: Some(format!("10.10.10.2:{port}").parse().unwrap()),
            };
            failure.holders.clear();
        }
    };
    run.fails_with(0, to(80));
    run.fails_with(1, to(443));
    run.fails_with(2, to(80));
    let connected = |port: u16| {
        move |assign: &mut Assign| {
            assign.call = Call::Connect;
            assign.origin = Some(Origin::EphemeralConnect);
            connect(&mut assign.socket, "10.10.10.2", port);
        }
    };
    run.assigned_with(5, "10.10.10.1", 40_000, connected(8080));
    assert!(run.resolved().is_empty());
    run.assigned_with(6, "10.10.10.1", 40_000, connected(80));
    let left = run.correlator.take_unwatch();
    assert_eq!(
        left,
        [Unwatch::Destination(
            run.binder.tgid,
            "10.10.10.2:80".parse().unwrap()
        )]
    );
    let end = run.only_resolved();
    assert_eq!(
        (end.incident.as_str(), end.how, end.attempts),
        ("any-tcp-4026531840-1", How::GotPort, 2)
    );
    assert!(
        end.message.contains("got a port for 10.10.10.2:80"),
        "{}",
        end.message
    );
}

/// The port was bound on every address, the connection has one.
#[test]
fn the_same_connection_is_made_at_last() {
    let mut run = Run::new();
    run.fails_with(0, |failure| {
        failure.call = Call::Connect;
        failure.wanted.destination = Some("10.10.10.2:80".parse().unwrap());
    });
    run.assigned_with(5, "10.10.10.1", PORT, |assign| {
        assign.call = Call::Connect;
        connect(&mut assign.socket, "10.10.10.2", 80);
    });
    assert_eq!(run.only_resolved().how, How::GotPort);
}

#[test]
fn an_outbound_connection_is_no_other_port() {
    let mut run = Run::new();
    run.fails(0);
    run.assigned_with(20, "10.10.10.1", 40_000, |assign| {
        assign.call = Call::Connect;
        assign.origin = Some(Origin::EphemeralConnect);
        connect(&mut assign.socket, "10.10.10.2", 443);
    });
    assert_eq!(run.correlator.next_deadline(), Some(at(30_000)));
}

#[test]
fn a_process_that_ends_has_not_settled() {
    let mut run = Run::new();
    run.fails(0);
    run.assigned_with(20, "0.0.0.0", 9090, |assign| assign.call = Call::Listen);
    let binder = run.binder.clone();
    run.event(exit(&binder, at(900)));
    assert_eq!(run.only_resolved().how, How::Exited);
    assert_eq!(run.only_resolved().port, None);
}

#[test]
fn giving_up_takes_thirty_seconds_without_a_try() {
    let mut run = Run::new();
    run.fails(0);
    run.fails(20_000);
    run.correlator.tick(at(49_999), &mut run.out);
    assert!(run.resolved().is_empty());
    assert_eq!(run.correlator.next_deadline(), Some(at(50_000)));
    run.correlator.tick(at(50_400), &mut run.out);
    let end = run.only_resolved();
    assert_eq!(
        (end.how, end.attempts, end.after_ms),
        (How::GaveUp, 2, 50_000)
    );
    assert_eq!(run.out.last().map(|report| report.at), Some(at(50_000)));
}

/// A late tick changes nothing: the record's own time closes what is over.
#[test]
fn a_try_after_the_timeout_is_a_new_incident_without_any_tick() {
    let mut run = Run::new();
    run.fails(0);
    run.fails(40_000);
    let ids: Vec<_> = run.conflicts().iter().map(|c| c.incident.clone()).collect();
    assert_eq!(ids, [1, 2].map(|n| format!("60001-tcp-4026531840-{n}")));
    assert_eq!(run.only_resolved().how, How::GaveUp);
}

#[test]
fn the_end_of_the_run_tells_only_what_is_known() {
    let mut run = Run::new();
    run.fails(0);
    run.binder = task(813, "jupyter");
    run.fails(10);
    run.assigned_with(20, "0.0.0.0", 8890, |assign| assign.call = Call::Listen);
    run.correlator.finish(at(500), &mut run.out);
    let end = run.only_resolved();
    assert_eq!((end.how, end.port), (How::OtherPort, Some(8890)));
    assert_eq!(end.requester.comm, "jupyter");
    assert_eq!(end.after_ms, 10);
}

/// listen() failed: binding again is not what was wanted.
#[test]
fn a_failed_listen_waits_for_a_listen() {
    let mut run = Run::new();
    run.fails_with(0, |failure| {
        failure.call = Call::Listen;
        failure.socket.port = PORT;
    });
    run.assigned(100, "0.0.0.0", PORT);
    assert!(run.resolved().is_empty());
    run.assigned_with(200, "0.0.0.0", PORT, |assign| assign.call = Call::Listen);
    assert_eq!(run.only_resolved().how, How::GotPort);
}

#[test]
fn an_exhausted_range_resolves_with_any_port() {
    let mut run = Run::new();
    run.fails_with(0, |failure| {
        failure.call = Call::Connect;
        failure.wanted = Wanted {
            addr: None,
            port: None,
            destination: None,
        };
        failure.holders.clear();
    });
    assert_eq!(run.conflicts()[0].incident, "any-tcp-4026531840-1");
    run.assigned(100, "0.0.0.0", 8080);
    assert!(run.resolved().is_empty());
    run.assigned_with(200, "10.10.10.1", 40_001, |assign| {
        assign.call = Call::Connect;
        assign.origin = Some(Origin::EphemeralConnect);
    });
    assert_eq!(run.only_resolved().how, How::GotPort);
}

#[test]
fn the_kernel_may_forget_what_nobody_waits_for() {
    let mut run = Run::new();
    run.fails(0);
    run.fails_with(10, |failure| failure.wanted.port = Some(PORT + 7));
    assert!(run.correlator.take_unwatch().is_empty());
    // Another holder has the port at the second try.
    run.fails_with(500, |failure| {
        if let Some(holder) = failure.holders.first_mut() {
            holder.socket.cookie = Some(500);
        }
    });
    assert!(
        run.correlator.take_unwatch().is_empty(),
        "487 still blocks the other port"
    );
    run.assigned(600, "0.0.0.0", PORT);
    assert_eq!(run.correlator.take_unwatch(), [Unwatch::Socket(500)]);
    run.assigned(700, "0.0.0.0", PORT + 7);
    let all = [Unwatch::Process(Tgid(812)), Unwatch::Socket(487)];
    assert_eq!(run.correlator.take_unwatch(), all);
    assert!(run.correlator.take_unwatch().is_empty());
}

/// Both may happen before anybody takes what is over.
#[test]
fn what_is_waited_for_again_is_not_forgotten() {
    let mut run = Run::new();
    run.fails(0);
    run.assigned(600, "0.0.0.0", PORT);
    run.fails(700);
    assert_eq!(run.correlator.take_unwatch(), []);
    run.assigned(800, "0.0.0.0", PORT);
    let all = [Unwatch::Process(Tgid(812)), Unwatch::Socket(487)];
    assert_eq!(run.correlator.take_unwatch(), all);
}

#[test]
fn memory_is_bounded_and_the_loss_is_told() {
    let mut run = Run::new();
    let over = 3;
    for n in 0..u32::try_from(MAX_OPEN + over).unwrap() {
        run.binder = task(10_000 + n, "flood");
        run.fails(0);
    }
    assert_eq!(run.correlator.incidents.open.len(), MAX_OPEN);
    assert!(run.resolved().is_empty());
    let unwatch = run.correlator.take_unwatch();
    assert!(unwatch.contains(&Unwatch::Process(Tgid(10_000))));
    run.correlator.finish(at(1), &mut run.out);
    let mut lost = Vec::new();
    for report in &run.out {
        if let Body::Lost(said) = &report.body {
            lost.push((said.since_last[0].place.clone(), said.total));
        }
    }
    // The first at once, those of the same second together.
    let told = |total| ("incidents".to_owned(), total);
    assert_eq!(lost, [told(1), told(3)]);
}
