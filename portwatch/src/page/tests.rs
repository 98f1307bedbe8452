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
    assert!(html.contains("not told here"));
    assert!(html.len() < 3_000_000, "{} bytes", html.len());
}
