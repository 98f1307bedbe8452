//! The text as it is read.

use super::super::test_support::*;
use super::*;
use crate::report::{Conflict, HolderKind, OriginName, Release, StateName, TransportName};
use crate::sink::escape::is_unsafe;
use jiff::tz::offset;

fn look(width: Width, coloured: bool) -> Look {
    let palette = Palette::new(coloured);
    Look {
        run: None,
        zone: TimeZone::fixed(offset(1)),
        data: palette,
        talk: palette,
        width,
        own_netns: Some(4_026_531_840),
        repeat_losses: false,
    }
}

fn text(reports: &[Report]) -> String {
    let (data, talk) = told(&mut Text::new(look(Width::Columns(100), false)), reports);
    if talk.is_empty() {
        data
    } else {
        format!("{data}--- stderr\n{talk}")
    }
}

#[test]
fn founding_case() {
    insta::assert_snapshot!(text(&[report(conflict())]));
}

#[test]
fn founding_case_endless() {
    let (data, _) = told(
        &mut Text::new(look(Width::Endless, false)),
        &[report(conflict())],
    );
    insta::assert_snapshot!(data);
}

#[test]
fn founding_case_in_colour() {
    let (data, _) = told(
        &mut Text::new(look(Width::Columns(80), true)),
        &[report(conflict())],
    );
    insta::assert_snapshot!(data.replace('\x1b', "ESC"));
    let (plain, _) = told(
        &mut Text::new(look(Width::Columns(80), false)),
        &[report(conflict())],
    );
    assert_eq!(anstream::adapter::strip_str(&data).to_string(), plain);
}

#[test]
fn other_holders() {
    insta::assert_snapshot!(text(&[
        report(time_wait()),
        report(Conflict {
            incident: "b".into(),
            ..orphan()
        }),
        report(Conflict {
            incident: "c".into(),
            ..listener()
        }),
        report(Conflict {
            incident: "d".into(),
            ..unknown()
        }),
    ]));
}

#[test]
fn strings_of_other_processes_are_escaped() {
    let told = text(&[report(evil())]);
    assert!(!told.chars().any(|c| is_unsafe(c) && c != '\n'), "{told:?}");
    insta::assert_snapshot!(told);
}

#[test]
fn repeated_attempts_are_one_line_until_the_holder_changes() {
    let attempt = |attempt, conflict: Conflict| {
        report_at(
            attempt * 500_000_000,
            Conflict {
                attempt,
                ..conflict
            },
        )
    };
    insta::assert_snapshot!(text(&[
        attempt(1, conflict()),
        attempt(2, conflict()),
        attempt(3, conflict()),
        attempt(4, time_wait()),
        report_at(30_000_000_000, resolved()),
    ]));
}

/// nginx with two `listen` lines tries both, five times over.
#[test]
fn two_addresses_in_turn_are_two_blocks() {
    let reports: Vec<_> = (0..10)
        .map(|attempt| {
            let mut conflict = conflict();
            conflict.attempt = attempt + 1;
            conflict.wanted.address = if attempt % 2 == 0 { "0.0.0.0" } else { "::" }.to_owned();
            report_at(attempt * 500_000_000, conflict)
        })
        .collect();
    let told = text(&reports);
    let count = |word| told.matches(word).count();
    assert_eq!((count("CONFLICT"), count("AGAIN")), (2, 8), "{told}");
}

/// A server, and a hundred connections that it accepted, in any order.
fn crowded(shift: usize) -> Conflict {
    let mut conflict = listener();
    let listener = &mut conflict.holders[0];
    listener.processes.truncate(2);
    let mut accepted = listener.clone();
    accepted.processes.truncate(1);
    (accepted.kind, accepted.state) = (HolderKind::Accepted, StateName::Established);
    accepted.origin = Some(OriginName::Accepted);
    accepted.local = endpoint("10.10.10.1", 60001);
    conflict.holders.extend((0..100).map(|n| {
        let n = (n + shift) % 100;
        let mut one = accepted.clone();
        if n == 7 {
            one.state = StateName::CloseWait;
            one.processes[0].pid = 91;
        }
        one.peer = Some(endpoint("10.10.10.2", 40_000 + u16::try_from(n).unwrap()));
        one
    }));
    conflict.holders_total = 101;
    conflict
}

#[test]
fn a_crowd_of_accepted_connections_is_one_line() {
    let told = text(&[report(crowded(0))]);
    assert!(!told.contains("more sockets"), "{told}");
    assert_eq!(told.matches("nginx: worker process").count(), 1, "{told}");
    insta::assert_snapshot!(told);
}

/// Without their listener, and with other connections of another process.
#[test]
fn crowds_of_a_kind_are_told_together() {
    let mut conflict = crowded(0);
    conflict.holders.remove(0);
    let mut outbound = self::conflict().holders[0].clone();
    conflict.holders.push(outbound.clone());
    outbound.peer = Some(endpoint("10.10.10.3", 443));
    conflict.holders.push(outbound);
    conflict.holders_total = 102;
    insta::assert_snapshot!(text(&[report(conflict)]));
}

#[test]
fn holders_in_another_order_are_no_news() {
    let again = |attempt, shift| {
        report(Conflict {
            attempt,
            ..crowded(shift)
        })
    };
    let told = text(&[again(1, 0), again(2, 50), again(3, 8)]);
    assert_eq!(told.matches("CONFLICT").count(), 1, "{told}");
    // The first one changes: that is told.
    let mut other = crowded(0);
    (other.attempt, other.holders[0].processes[0].pid) = (2, 91);
    let told = text(&[again(1, 0), report(other)]);
    assert_eq!(told.matches("CONFLICT").count(), 2, "{told}");
}

#[test]
fn the_second_attempt_goes_where_the_first_may_be_rewritten() {
    let mut text = Text::new(look(Width::Columns(40), false));
    text.anchor(ANCHOR);
    let _ = text.lines(&report(conflict()));
    let again = text.lines(&report(Conflict {
        attempt: 2,
        ..conflict()
    }));
    let [
        Line {
            content: Content::Repeat { key, rows, .. },
            ..
        },
    ] = &again[..]
    else {
        panic!("{again:?}");
    };
    assert_eq!((key.as_str(), *rows), ("60001-tcp-4026531840-1", 3));
}

#[test]
fn lifecycle_and_traffic() {
    let mut other = assign();
    (other.netns, other.local, other.peer) = (4_026_532_000, endpoint("::1", 5353), None);
    (other.transport, other.origin) = (TransportName::Udp, None);
    insta::assert_snapshot!(text(&[
        report(start()),
        report(assign()),
        report(other),
        report(release()),
        report(Release {
            port_free: Some(true),
            left: None,
            held_ms: None,
            ..release()
        }),
        report(refused()),
        report(lost(12)),
        report(summary()),
    ]));
}

/// Those that are left out are counted, whoever has let go of the socket apart from those that have it.
#[test]
fn whoever_let_go_of_it_is_not_among_those_that_have_it() {
    let told = |present: u32, gone: u32| {
        let mut conflict = conflict();
        let holder = &mut conflict.holders[0];
        let mut process = holder.processes[0].clone();
        holder.processes.clear();
        for number in 0..present + gone {
            process.pid = number;
            process.has_socket = number < present;
            process.alive = Some(number < present);
            holder.processes.push(process.clone());
        }
        holder::processes(holder)
    };
    assert!(told(5, 0).ends_with(" and 2 more"), "{}", told(5, 0));
    let one = told(5, 1);
    assert!(
        one.contains(" and 2 more, once also ") && one.ends_with("(pid 5)"),
        "{one}"
    );
    assert!(
        told(3, 2).ends_with(", once also 2 others"),
        "{}",
        told(3, 2)
    );
}
