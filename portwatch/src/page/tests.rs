use super::{Page, Source};
use crate::report::{Body, Report};
use crate::sink::Sink;
use crate::sink::test_support::{
    ANCHOR, assign, conflict, release, report_at, resolved, start, summary,
};

const S: u64 = 1_000_000_000;

fn source() -> Source {
    Source {
        host: "node-7".to_owned(),
        run: "r1".to_owned(),
        redacted: Vec::new(),
        filtered: false,
    }
}

fn page(source: Source, reports: impl IntoIterator<Item = Report>) -> String {
    let page = Page::default();
    let mut sink = page.sink(source);
    let mut begin = start();
    begin.clock = ANCHOR;
    sink.report(&report_at(0, begin)).unwrap();
    for report in reports {
        sink.report(&report).unwrap();
    }
    let mut out = Vec::new();
    page.write(&mut out, "memory").unwrap();
    String::from_utf8(out).unwrap()
}

/// A traced program chooses its name, its arguments, its paths.
#[test]
fn everything_is_escaped() {
    const EVIL: &str = "</title><script>alert(1)</script><img src=x onerror=\"a\">'\u{202e}";
    let mut failed = conflict();
    failed.requester.comm = EVIL.to_owned();
    failed.holders[0].processes[0].comm = EVIL.to_owned();
    failed.message = EVIL.to_owned();
    failed.advice[0].text = EVIL.to_owned();
    failed.advice[0].command = Some(EVIL.to_owned());
    failed.incident = EVIL.to_owned();
    let mut taken = assign();
    taken.process.comm = EVIL.to_owned();
    let mut from = source();
    from.host = EVIL.to_owned();
    let html = page(
        from,
        [
            report_at(S, taken),
            report_at(2 * S, failed),
            report_at(3 * S, summary()),
        ],
    );
    assert!(!html.contains("<script"), "{html}");
    assert!(!html.contains("<img"));
    assert!(!html.contains('\u{202e}'));
    assert!(html.contains("&#60;script&#62;"));
    // Nothing is fetched, and nothing would be.
    assert!(html.contains("default-src 'none'"));
    for word in ["src=", "url(", "@import", "<link", "https://"] {
        let harmless = html.replace("img src=x", "");
        assert!(!harmless.contains(word), "{word}");
    }
}

#[test]
fn an_incident_is_a_story_with_its_end() {
    let html = page(
        source(),
        [
            report_at(S, assign()),
            report_at(2 * S, conflict()),
            report_at(3 * S, conflict()),
            report_at(4 * S, resolved()),
            report_at(5 * S, release()),
            report_at(6 * S, summary()),
        ],
    );
    for said in [
        "1 incident, 2 failed calls",
        "60001/tcp",
        "outbound-connection",
        "ceph-osd",
        "network namespace 4026531840",
        "<h3>The range 32768 to 60999, and the services inside it</h3>",
    ] {
        assert!(html.contains(said), "{said}\n{html}");
    }
}

#[test]
fn nothing_seen_is_said() {
    let html = page(source(), [report_at(S, summary())]);
    assert!(html.contains("No call failed for want of a port."));
}

/// One failure of each of many ports, then many of one: the page tells of that one.
#[test]
fn the_busiest_port_may_come_last() {
    for ports in [1_100_u16, 4_000, 5_050] {
        let mut reports = Vec::new();
        for n in 0..ports + 300 {
            let mut failed = conflict();
            failed.wanted.port = Some(if n < ports { 20_000 + n } else { 55_555 });
            failed.holders[0].local.port = failed.wanted.port.unwrap();
            failed.incident = format!("incident-{n}");
            reports.push(report_at(S + u64::from(n) * S / 100, failed));
        }
        reports.push(report_at(100 * S, summary()));
        let html = page(source(), reports);
        assert!(html.contains("<caption>55555/tcp: 300 failed calls"));
        let (first, _) = html.split_once("</details>").unwrap();
        assert!(first.contains(r#"<span class="port">55555/tcp</span>"#));
        assert!(first.contains("300 incidents"), "{first}");
        let more = super::words::number(u64::from(ports) - 23);
        let said = format!("Not drawn: {more} more ports, of at most 1 failed call each.");
        assert!(html.contains(&said), "{said}");
    }
}

/// Many namespaces, and the one with most to tell is the last.
#[test]
fn the_busiest_namespace_may_come_last() {
    let mut reports = Vec::new();
    for n in 0..300_u32 {
        let mut failed = conflict();
        failed.wanted.netns = n.min(130);
        failed.incident = format!("incident-{n}");
        reports.push(report_at(S + u64::from(n), failed));
    }
    reports.push(report_at(100 * S, summary()));
    let html = page(source(), reports);
    assert!(html.contains("network namespace 130</h2>"));
    assert!(html.contains("Not drawn: 127 more network namespaces, of at most 1 incident each."));
}

/// What is said of marks is said of the range's own.
#[test]
fn no_word_of_failures_that_are_none_of_the_range() {
    let mut reports = vec![report_at(S, assign())];
    for n in 0..2_000_u16 {
        let mut failed = conflict();
        failed.wanted.port = Some(1_000 + n);
        failed.incident = format!("incident-{n}");
        reports.push(report_at(2 * S, failed));
    }
    reports.push(report_at(100 * S, summary()));
    let html = page(source(), reports);
    assert!(html.contains("<h3>The whole range"));
    assert!(!html.contains("Not every failed call"));
}

/// Thousands of incidents and a hundred thousand ports: the page stays one that a browser opens.
#[test]
fn a_page_is_bounded() {
    let mut seed = 1_u64;
    let mut dice = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    let mut reports = Vec::new();
    for n in 0..100_000_u64 {
        let at = S + n * 10_000_000;
        let mut taken = assign();
        taken.cookie = Some(n);
        taken.local.port = u16::try_from(32_768 + dice(28_000)).unwrap();
        taken.process.comm = format!("program-{}", dice(3_000));
        reports.push(report_at(at, taken.clone()));
        if n % 20 == 0 {
            let mut failed = conflict();
            failed.incident = format!("incident-{n}");
            failed.wanted.port = Some(u16::try_from(32_768 + dice(28_000)).unwrap());
            failed.requester.comm = format!("program-{}", dice(3_000));
            reports.push(report_at(at + 1, failed));
        }
        if n % 2 == 0 {
            let mut closed = release();
            (closed.cookie, closed.local) = (taken.cookie, taken.local);
            reports.push(report_at(at + 5_000_000, closed));
        }
    }
    reports.push(report_at(2_000 * S, summary()));
    let conflicts = |report: &&Report| matches!(report.body, Body::Conflict(_));
    assert_eq!(reports.iter().filter(conflicts).count(), 5_000);
    let html = page(source(), reports);
    assert!(html.contains("<dd>5\u{a0}000</dd>"));
    assert!(html.contains("Not told here"));
    assert!(html.len() < 3_000_000, "{} bytes", html.len());
}

/// A holder whose end nobody saw is not gone at the failure.
#[test]
fn a_holder_is_told_until_its_end() {
    let said = |failed: &crate::report::Conflict, later: Option<Report>| {
        let failed = report_at(5 * S, failed.clone());
        let end = report_at(90 * S, summary());
        page(source(), [failed].into_iter().chain(later).chain([end]))
    };
    let mut failed = conflict();
    let holder = &mut failed.holders[0];
    (holder.held_ms, holder.held_at_least_ms) = (None, Some(2_000));
    let html = said(&failed, None);
    assert!(html.contains("still held at the end, 2026-11-22 10:16:30.000</td>"));
    let mut let_go = release();
    (let_go.cookie, let_go.origin) = (Some(487), None);
    let_go.local = failed.holders[0].local.clone();
    let html = said(&failed, Some(report_at(17 * S, let_go)));
    assert!(html.contains("until 2026-11-22 10:15:17.000</td>"));
    let holder = &mut failed.holders[0];
    holder.kind = crate::report::HolderKind::TimeWait;
    holder.time_wait_left_ms = Some(50_000);
    let html = said(&failed, None);
    assert!(html.contains("until 2026-11-22 10:15:55.000, when TIME_WAIT was over</td>"));
    failed.holders[0].time_wait_left_ms = None;
    failed.holders[0].processes.clear();
    let html = said(&failed, None);
    assert!(html.contains("end not seen, still held at 2026-11-22 10:15:05.000</td>"));
}

/// The page counts an incident under the cause that the summary of the run has.
#[test]
fn an_incident_of_two_causes_counts_as_in_the_summary() {
    let mut second = conflict();
    second.cause = crate::report::Cause::OutboundTimeWait;
    let mut ended = resolved();
    ended.cause = second.cause;
    let tally = |end: Option<Report>| {
        let tries = [report_at(S, conflict()), report_at(2 * S, second.clone())];
        let html = page(
            source(),
            tries
                .into_iter()
                .chain(end)
                .chain([report_at(9 * S, summary())]),
        );
        let (_, tally) = html.split_once("<caption>By cause").unwrap();
        tally.split_once("</table>").unwrap().0.to_owned()
    };
    for end in [None, Some(report_at(3 * S, ended.clone()))] {
        let tally = tally(end);
        assert!(
            tally.contains(r#"outbound-time-wait</th><td class="n">1<"#),
            "{tally}"
        );
        assert!(!tally.contains("outbound-connection"));
    }
}

/// Nobody alone is to blame for an exhausted range, but who has its ports is known.
#[test]
fn an_exhausted_range_is_told_with_its_tally() {
    let mut failed = conflict();
    failed.cause = crate::report::Cause::RangeExhausted;
    let holder = failed.holders.remove(0);
    failed.wanted.port = None;
    failed.exhausted_for = Some(crate::report::ExhaustedFor::Destination);
    failed.tally = Some(vec![crate::report::Tally {
        process: holder.processes.first().cloned().map(Some),
        state: holder.state,
        peer: Some(holder.peer),
        source: None,
        peers: None,
        origin: None,
        stale_bucket: false,
        count: 50,
    }]);
    failed.counted = Some(crate::report::Counted {
        time: "2026-11-22T10:15:02Z".to_owned(),
        sockets: 51,
        ports: 51,
        available: Some(51),
        missed: 0,
    });
    let mut binds = failed.clone();
    binds.exhausted_for = Some(crate::report::ExhaustedFor::Binds);
    binds.incident = "any-tcp-2".to_owned();
    let html = page(
        source(),
        [
            report_at(S, assign()),
            report_at(2 * S, failed),
            report_at(3 * S, binds),
            report_at(9 * S, summary()),
        ],
    );
    for said in [
        "<strong>ceph-osd</strong> held 50 of the 51 ports in the way",
        "ceph-osd (pid 3013825): 50 ports, established to 10.10.10.2 port 6836",
        "others: 1 port<",
        "51 ports of 51 in the way, by 51 sockets",
        "range-exhausted (destination) · 1 incident",
        "range-exhausted (binds) · 1 incident",
        r#"ceph-osd</th><td class="n">2<"#,
        "<caption>any port/tcp: 2 failed calls",
        "python3 did not get any port at 2026-11-22 10:15:02.000",
        "calls that found no port of the range.",
    ] {
        assert!(html.contains(said), "{said}\n{html}");
    }
    assert!(!html.contains("(none known)"));
}
