//! A run, captured, and the same run from its capture: byte for byte the same.

use super::super::block::Codec;
use super::super::{Recorder, Redaction, WriteOptions};
use super::made::{S, assign, bytes, exit, failure, holder, release};
use super::moody::Moody;
use super::{ANCHOR, header, start};
use crate::capture::CaptureHeader;
use crate::correlate::{Correlator, Options};
use crate::decode::event::Ktime;
use crate::enrich::facts::Facts;
use crate::pipeline::Pipeline;
use crate::report::{ClockAnchor, LostCount};
use crate::sink::filter::{EventName, Filter, Selection};
use crate::sink::json::Json;
use crate::sink::outlet::Direct;
use crate::sink::redact::{Cmdline, Redact};
use crate::sink::tally::EndReason;
use crate::sink::writer::LineWriter;
use crate::sink::{Printer, SinkError};
use crate::source::RawRecord;
use crate::source::replay::{Answers, Audience, play};
use crate::source::runs::runs;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Bytes that several can look into.
#[derive(Clone, Default)]
pub(super) struct Page(Arc<Mutex<Vec<u8>>>);

impl Page {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The stages of a run and of its replay are made in the same way.
pub(super) fn stages(
    header: &CaptureHeader,
    facts: Box<dyn Facts + Send>,
    events: &[EventName],
    page: &Page,
) -> Pipeline {
    let begin = &header.begin;
    let mut correlator = Correlator::new(begin.options(), begin.started, begin.start.clock);
    correlator.snapshot_complete(begin.scanned);
    let writer = LineWriter::new(Box::new(page.clone()), Box::new(io::sink()), false);
    let outlet = Direct::new(writer, "a page", 0);
    let json = Json::new(&header.host, None);
    let selection = Selection {
        events: events.iter().copied().collect(),
        ..Selection::default()
    };
    Pipeline::new(
        facts,
        correlator,
        Filter::new(selection),
        Redact::new(Cmdline::Full, false, false),
        Box::new(Printer::new(Box::new(json), Box::new(outlet), None)),
        begin.started,
    )
}

struct Silent(Vec<String>);

impl Audience for Silent {
    fn comes(&mut self, _: i64, _: &mut Pipeline) -> Result<(), SinkError> {
        Ok(())
    }

    fn damage(&mut self, damage: &crate::capture::Damage) {
        self.0.push(damage.to_string());
    }
}

/// The JSON of a replay, and what it complained of.
pub(super) fn replayed(paths: &[PathBuf], events: &[EventName]) -> (String, Vec<String>) {
    let page = Page::default();
    let open = |path: &Path| -> io::Result<Box<dyn io::Read>> { Ok(Box::new(File::open(path)?)) };
    let (found, mut complaints) = runs(paths, &open).unwrap();
    let mut make = |header: &CaptureHeader, answers: Answers| {
        let pipeline = stages(header, Box::new(answers), events, &page);
        (pipeline, header.begin.start.clone())
    };
    let mut silent = Silent(Vec::new());
    play(found, &open, &mut make, &mut silent).unwrap();
    complaints.extend(silent.0);
    (page.text(), complaints)
}

pub(super) fn raw(bytes: Vec<u8>) -> RawRecord {
    RawRecord::new(Bytes::from(bytes))
}

/// Conflicts, incidents and their ends, traffic, losses, a step of the clock, nonsense.
pub(super) fn scene(pipeline: &mut Pipeline, end: Option<EndReason>) {
    let record = |pipeline: &mut Pipeline, bytes: Vec<u8>| {
        pipeline.record(&raw(bytes)).unwrap();
    };
    for n in 0..20_u64 {
        record(pipeline, bytes(&assign(n, 5, n, 0)));
        record(pipeline, bytes(&assign(n, 6, n, 0)));
        if n % 3 == 0 {
            record(pipeline, bytes(&release(n + 1, 5, n)));
        }
    }
    for id in 0..4_u64 {
        let time = 100 + id * S;
        let tgid = 70 + u32::try_from(id % 2).unwrap();
        record(pipeline, bytes(&failure(time, id, tgid, 2)));
        record(pipeline, bytes(&holder(time, id, 5)));
        if id != 2 {
            record(pipeline, bytes(&holder(time, id, 6)));
        }
        pipeline.drained().unwrap();
        pipeline.tick(Ktime(1_000 * S + time + S / 2)).unwrap();
    }
    let step = ClockAnchor {
        realtime_ns: ANCHOR.realtime_ns + 3_600_000_000_000,
        ..ANCHOR
    };
    pipeline.anchor(step);
    let at = Ktime(1_006 * S);
    let lost = LostCount::new("assign", 3, "ports taken");
    pipeline.lost(at, vec![lost]).unwrap();
    record(pipeline, vec![9; 40]);
    record(pipeline, vec![]);
    let mut refused = failure(7 * S, 0, 80, 0);
    refused.header.kind = portwatch_common::RecordKind::REFUSED;
    refused.errno = 13;
    record(pipeline, bytes(&refused));
    pipeline
        .summary(Ktime(1_008 * S), EndReason::SoFar)
        .unwrap();
    record(pipeline, bytes(&assign(9 * S, 70, 1, 1)));
    record(pipeline, bytes(&failure(10 * S, 50, 71, 0)));
    record(pipeline, bytes(&exit(11 * S, 71)));
    record(pipeline, bytes(&failure(12 * S, 51, 72, 1)));
    let mut exhausted = failure(13 * S, 52, 73, 0);
    (exhausted.call, exhausted.errno) = (portwatch_common::Call::CONNECT, 99);
    exhausted.addr.addr[..4].copy_from_slice(&[10, 10, 10, 2]);
    exhausted.addr.port = 6836;
    exhausted.sock.daddr = [10, 10, 10, 2];
    record(pipeline, bytes(&exhausted));
    pipeline.tick(Ktime(1_045 * S)).unwrap();
    if let Some(reason) = end {
        pipeline.summary(Ktime(1_050 * S), reason).unwrap();
    }
}

const ALL: [EventName; 4] = EventName::ALL;

/// The JSON of a live run that is captured to `path`.
fn live(path: &Path, codec: Codec, events: &[EventName], end: Option<EndReason>) -> String {
    let page = Page::default();
    let header = header();
    let options = WriteOptions {
        path: path.to_owned(),
        codec,
        ..WriteOptions::default()
    };
    let recorder = Recorder::create(options, header.clone(), Redaction::default()).unwrap();
    let mut pipeline =
        stages(&header, Box::new(Moody::default()), events, &page).tapped(recorder.clone());
    pipeline.start(start()).unwrap();
    scene(&mut pipeline, end);
    assert_eq!(recorder.finish(), None);
    page.text()
}

#[test]
fn a_replay_is_the_live_run_again() {
    let dir = tempfile::tempdir().unwrap();
    for codec in [Codec::None, Codec::Zstd] {
        for events in [&ALL[..], &[EventName::Conflict], &[EventName::Release]] {
            let path = dir.path().join("a.pwcap");
            let told = live(&path, codec, events, Some(EndReason::Interrupted));
            let (again, complaints) = replayed(&[path], events);
            assert_eq!(complaints, [""; 0]);
            assert_eq!(told, again);
            assert!(told.contains(r#""reason":"interrupted""#), "{told}");
        }
    }
}

/// The scene says something of everything.
#[test]
fn the_scene_is_worth_it() {
    let dir = tempfile::tempdir().unwrap();
    let told = live(
        &dir.path().join("a"),
        Codec::None,
        &ALL,
        Some(EndReason::Duration),
    );
    for kind in [
        "start", "conflict", "resolved", "refused", "assign", "release", "lost", "summary",
    ] {
        assert!(
            told.contains(&format!(r#""type":"{kind}""#)),
            "no {kind}: {told}"
        );
    }
    assert!(
        told.contains("T11:"),
        "the clock's step does not show: {told}"
    );
    assert!(told.contains(r#""place":"decode""#));
}

/// What is not asked for live can be asked for later, and what is known of a process then is told.
#[test]
fn a_replay_may_ask_for_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    live(
        &path,
        Codec::Zstd,
        &[EventName::Conflict],
        Some(EndReason::Duration),
    );
    let (told, _) = replayed(&[path], &ALL);
    let assigns: Vec<&str> = told
        .lines()
        .filter(|line| line.contains(r#""type":"assign""#))
        .collect();
    assert_eq!(assigns.len(), 40);
    assert!(
        assigns.iter().all(|line| line.contains("a.service")),
        "{assigns:#?}"
    );
}

/// A run that was killed is the same up to there, and says that it is not complete.
#[test]
fn a_run_without_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let told = live(&path, Codec::Zstd, &ALL, None);
    let (again, complaints) = replayed(&[path], &ALL);
    let more = again.strip_prefix(&told).expect("not the same up to there");
    assert_eq!(complaints, [""; 0], "it was closed, without a summary");
    assert!(
        more.contains(r#""reason":"end-of-input","complete":false"#),
        "{more}"
    );
}

/// Two runs play together, in the order of the clock, with one sequence of numbers.
#[test]
fn runs_are_merged_by_time() {
    let dir = tempfile::tempdir().unwrap();
    let one = dir.path().join("one");
    live(&one, Codec::Zstd, &ALL, Some(EndReason::Duration));
    let two = dir.path().join("two");
    let mut header = header();
    header.run = "another".to_owned();
    header.begin.anchor.realtime_ns += 10_000_000_000;
    header.begin.start.clock = header.begin.anchor;
    let options = WriteOptions {
        path: two.clone(),
        ..WriteOptions::default()
    };
    let recorder = Recorder::create(options, header.clone(), Redaction::default()).unwrap();
    let page = Page::default();
    let mut pipeline =
        stages(&header, Box::new(Moody::default()), &ALL, &page).tapped(recorder.clone());
    pipeline.start(header.begin.start.clone()).unwrap();
    scene(&mut pipeline, Some(EndReason::Duration));
    assert_eq!(recorder.finish(), None);
    let (told, complaints) = replayed(&[two, one], &ALL);
    assert_eq!(complaints, [""; 0]);
    assert_eq!(
        told.lines()
            .filter(|line| line.contains(r#""type":"summary""#))
            .count(),
        4
    );
    let _ = Options::default();
}

/// Nothing that was to be kept out is in the file, and the verdicts are the same ones.
#[test]
fn a_redacted_capture_holds_nothing_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let header = header();
    let options = WriteOptions {
        path: path.clone(),
        codec: Codec::None,
        ..WriteOptions::default()
    };
    let redaction = Redaction::new(true, true, true);
    let recorder = Recorder::create(options, header.clone(), redaction).unwrap();
    let page = Page::default();
    let mut pipeline =
        stages(&header, Box::new(Moody::default()), &ALL, &page).tapped(recorder.clone());
    pipeline.start(start()).unwrap();
    scene(&mut pipeline, Some(EndReason::Duration));
    assert_eq!(recorder.finish(), None);
    let (told, complaints) = replayed(&[path], &ALL);
    assert_eq!(complaints, [""; 0]);
    for secret in ["10.10.10.", "cmdline", r#""uid":167"#] {
        assert!(page.text().contains(secret), "the scene has no {secret}");
        assert!(!told.contains(secret), "{secret} in {told}");
    }
    let causes = |text: &str| -> Vec<String> {
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let conflicts = lines.filter(|line: &serde_json::Value| line["type"] == "conflict");
        conflicts
            .map(|line| format!("{} {}", line["cause"], line["certainty"]))
            .collect()
    };
    assert_eq!(causes(&told), causes(&page.text()));
}
