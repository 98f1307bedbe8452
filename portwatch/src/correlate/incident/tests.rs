//! Incidents through the whole correlator, as the pipeline drives it.

use super::*;
use crate::correlate::testing::{
    ANCHOR, NETNS, NOW, PORT, START, assign, connect, enriched, exit, failure, held_by, holder,
    owner, release, task, tcp,
};
use crate::correlate::{Correlator, Options};
use crate::decode::event::{
    Call, Event, Holder, LetGo, NetnsId, Origin, OwnerSource, State, Task, Transport, Wanted,
};
use crate::report::{Certainty, Conflict, FreedBy, Ports};

mod ends;

const MS: u64 = 1_000_000;
const ID: &str = "60001-tcp-4026531840-1";

/// A correlator and what it said.
struct Run {
    correlator: Correlator,
    out: Vec<Report>,
    binder: Task,
}

impl Run {
    fn new() -> Self {
        let mut correlator = Correlator::new(Options::default(), START, ANCHOR);
        correlator.snapshot_complete(START);
        Self {
            correlator,
            out: Vec::new(),
            binder: task(812, "nginx"),
        }
    }

    fn event(&mut self, event: Event) {
        self.correlator.event(enriched(event), &mut self.out);
    }

    /// The binder fails at `ms` after NOW.
    fn fails(&mut self, ms: u64) {
        self.fails_with(ms, |_| {});
    }

    fn fails_with(&mut self, ms: u64, change: impl FnOnce(&mut Failure)) {
        let mut failure = failure(Transport::Tcp, "0.0.0.0", vec![osd()]);
        failure.task = self.binder.clone();
        failure.time = at(ms);
        change(&mut failure);
        self.event(Event::Failure(Box::new(failure)));
    }

    fn assigned(&mut self, ms: u64, local: &str, port: u16) {
        self.assigned_with(ms, local, port, |_| {});
    }

    fn assigned_with(&mut self, ms: u64, local: &str, port: u16, change: impl FnOnce(&mut Assign)) {
        let mut assign = assign(&self.binder, at(ms), local, port);
        change(&mut assign);
        self.event(Event::Assign(Box::new(assign)));
    }

    fn conflicts(&self) -> Vec<&Conflict> {
        let mut found = Vec::new();
        for report in &self.out {
            if let Body::Conflict(conflict) = &report.body {
                found.push(conflict.as_ref());
            }
        }
        found
    }

    fn resolved(&self) -> Vec<&Resolved> {
        let mut found = Vec::new();
        for report in &self.out {
            if let Body::Resolved(resolved) = &report.body {
                found.push(resolved.as_ref());
            }
        }
        found
    }

    fn only_resolved(&self) -> &Resolved {
        let resolved = self.resolved();
        assert_eq!(resolved.len(), 1, "{resolved:?}");
        resolved[0]
    }
}

fn at(ms: u64) -> Ktime {
    Ktime(NOW.0 + ms * MS)
}

fn osd() -> Holder {
    let owner = owner(OwnerSource::Call, Some(Origin::EphemeralConnect));
    held_by(tcp("10.10.10.1", State::Established), owner)
}

/// nginx tries five times 0.5 s apart, binds 443 in between, and ends.
#[test]
fn nginxs_five_tries_are_one_incident_that_exits() {
    let mut run = Run::new();
    run.fails(0);
    run.assigned(1, "0.0.0.0", 443);
    for n in 1..5 {
        run.fails(n * 500);
        run.correlator.tick(at(n * 500 + 400), &mut run.out);
    }
    let binder = run.binder.clone();
    run.event(exit(&binder, at(2_501)));
    let tries: Vec<_> = run
        .conflicts()
        .iter()
        .map(|c| (c.attempt, c.incident.clone()))
        .collect();
    assert_eq!(tries, [1, 2, 3, 4, 5].map(|n| (n, ID.to_owned())));
    let end = run.only_resolved();
    assert_eq!(
        (end.how, end.attempts, end.after_ms),
        (How::Exited, 5, 2_501)
    );
    assert_eq!(end.cause, crate::report::Cause::OutboundConnection);
    assert_eq!(end.port, None);
    assert_eq!(run.correlator.next_deadline(), None);
}

/// One process a try: systemd restarts a service.
#[test]
fn a_restart_is_another_incident() {
    let mut run = Run::new();
    run.fails(0);
    let first = run.binder.clone();
    run.event(exit(&first, at(10)));
    run.binder = task(813, "nginx");
    run.fails(1_000);
    // The same pid with another start is another process too.
    run.binder.start = Ktime(1);
    run.fails(2_000);
    let ids: Vec<_> = run.conflicts().iter().map(|c| c.incident.clone()).collect();
    assert_eq!(ids, [1, 2, 3].map(|n| format!("60001-tcp-4026531840-{n}")));
    assert_eq!(run.only_resolved().how, How::Exited);
}

#[test]
fn the_port_is_got_when_its_holder_closes() {
    let mut run = Run::new();
    run.fails(0);
    run.fails(500);
    run.event(Event::Release(Box::new(release(487, at(700)))));
    run.assigned(1_000, "0.0.0.0", PORT);
    let end = run.only_resolved();
    assert_eq!(
        (end.how, end.attempts, end.after_ms),
        (How::GotPort, 2, 1_000)
    );
    // It was a connection: the kernel may have ended it later.
    assert_eq!(
        (end.freed_by, end.freed_certainty),
        (Some(FreedBy::HolderClosed), Some(Certainty::Inferred))
    );
    assert_eq!(end.port, None);
    assert_eq!(run.correlator.next_deadline(), None);
}

#[test]
fn what_was_not_seen_did_not_free_it() {
    let mut run = Run::new();
    run.fails(0);
    // Closed before the last try: that try still failed.
    run.event(Event::Release(Box::new(release(487, at(100)))));
    run.fails(500);
    // Another socket than the holder's.
    run.event(Event::Release(Box::new(release(99, at(600)))));
    run.assigned(1_000, "0.0.0.0", PORT);
    let end = run.only_resolved();
    assert_eq!((end.how, end.freed_by), (How::GotPort, None));
}

#[test]
fn one_of_two_blockers_seen_is_only_inferred() {
    let mut run = Run::new();
    run.fails_with(0, |failure| {
        let mut other = osd();
        other.socket.cookie = Some(488);
        failure.holders.push(other);
        failure.walk.total = 2;
    });
    run.event(Event::Release(Box::new(release(488, at(700)))));
    run.assigned(1_000, "0.0.0.0", PORT);
    let end = run.only_resolved();
    assert_eq!(
        (end.freed_by, end.freed_certainty),
        (Some(FreedBy::HolderClosed), Some(Certainty::Inferred))
    );
}

#[test]
fn a_holder_that_ends_closes_its_socket_too() {
    let mut run = Run::new();
    run.fails(0);
    let closing = release(487, at(700));
    run.event(exit(&closing.task, at(699)));
    run.event(Event::Release(Box::new(closing)));
    run.assigned(1_000, "0.0.0.0", PORT);
    assert_eq!(run.only_resolved().freed_by, Some(FreedBy::HolderExited));
}

/// Where functions of the kernel tell it, nothing is inferred.
#[test]
fn what_the_kernel_let_go_of_was_seen() {
    let mut run = Run::new();
    for (from, state, by) in [
        (0, State::TimeWait, FreedBy::TimeWaitOver),
        (20_000, State::FinWait2, FreedBy::ConnectionOver),
    ] {
        run.fails(from);
        let mut over = release(487, at(from + 6_000));
        over.socket.state = state;
        over.let_go = Some(LetGo::Free);
        run.event(Event::Release(Box::new(over)));
        run.assigned(from + 7_000, "0.0.0.0", PORT);
        let ends = run.resolved();
        let end = ends.last().expect("an end");
        assert_eq!(
            (end.freed_by, end.freed_certainty),
            (Some(by), Some(Certainty::Exact))
        );
    }
}

#[test]
fn time_wait_runs_out() {
    let mut run = Run::new();
    let closed = |failure: &mut Failure| {
        failure.holders = vec![holder(tcp("10.10.10.1", State::TimeWait))];
    };
    run.fails_with(0, closed);
    run.assigned(9_000, "0.0.0.0", PORT);
    // With SO_REUSEADDR now set it may still be there.
    run.fails_with(10_000, closed);
    run.assigned_with(11_000, "0.0.0.0", PORT, |assign| assign.socket.reuse = true);
    let ends: Vec<_> = run
        .resolved()
        .iter()
        .map(|r| (r.freed_by, r.freed_certainty))
        .collect();
    let over = (Some(FreedBy::TimeWaitOver), Some(Certainty::Inferred));
    assert_eq!(ends, [over, (None, None)]);
}

#[test]
fn another_address_is_not_the_wanted_port() {
    let mut run = Run::new();
    let on_one = |failure: &mut Failure| {
        failure.wanted = Wanted {
            addr: Some("10.10.10.1".parse().unwrap()),
            port: Some(PORT),
            destination: None,
        };
    };
    run.fails_with(0, on_one);
    run.assigned(100, "10.10.10.9", PORT);
    assert!(run.resolved().is_empty());
    run.assigned(200, "10.10.10.1", PORT);
    assert_eq!(run.only_resolved().how, How::GotPort);
}

/// nginx's `listen 80; listen [::]:80 ipv6only=on;`: the second succeeds, the first is tried again.
#[test]
fn an_ipv6_socket_does_not_resolve_an_ipv4_want() {
    let mut run = Run::new();
    run.fails(0);
    run.assigned_with(1, "::", PORT, |assign| assign.socket.v6only = true);
    assert!(run.resolved().is_empty());
    run.fails(500);
    run.assigned(600, "::", PORT);
    assert_eq!(run.only_resolved().how, How::GotPort);
}

/// A narrower address on the wanted port is not what was wanted: its holder is still there.
#[test]
fn one_address_of_many_is_not_the_wanted_one() {
    let mut run = Run::new();
    run.fails(0);
    run.assigned(1, "127.0.0.2", PORT);
    assert!(run.resolved().is_empty());
}

/// Apache fails on `[::]` and takes `0.0.0.0`.
#[test]
fn the_ipv4_half_of_a_dual_stack_want_is_enough() {
    let mut run = Run::new();
    let dual = |failure: &mut Failure| {
        failure.wanted.addr = Some("::".parse().unwrap());
        failure.socket.family = crate::decode::event::Family::Ipv6;
    };
    run.fails_with(0, dual);
    run.assigned(1, "0.0.0.0", PORT);
    assert_eq!(run.only_resolved().how, How::GotPort);
}

#[test]
fn somebody_elses_success_resolves_nothing() {
    let mut run = Run::new();
    run.fails(0);
    let mut other = assign(&task(900, "other"), at(100), "0.0.0.0", PORT);
    run.event(Event::Assign(Box::new(other.clone())));
    other.task = run.binder.clone();
    other.netns = NetnsId(1);
    run.event(Event::Assign(Box::new(other.clone())));
    other.netns = NETNS;
    (other.socket.transport, other.socket.protocol) = (Transport::Udp, 17);
    run.event(Event::Assign(Box::new(other.clone())));
    (other.socket.transport, other.socket.protocol) = (Transport::Tcp, 6);
    // An outbound connection of the requester that happens to get the number.
    other.call = Call::Connect;
    other.origin = Some(Origin::EphemeralConnect);
    run.event(Event::Assign(Box::new(other)));
    assert!(run.resolved().is_empty());
}
