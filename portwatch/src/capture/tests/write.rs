//! Captures on a real disk, and on one that is full.

use super::super::block::Codec;
use super::super::{Input, Recorder, Redaction, WriteOptions};
use super::live::{Page, raw, replayed, scene, stages};
use super::made::{assign, bytes, failure, holder};
use super::moody::Moody;
use super::{header, read, start};
use crate::decode;
use crate::decode::event::{Ktime, Tgid};
use crate::enrich::facts::Facts as _;
use crate::sink::filter::EventName;
use crate::sink::tally::EndReason;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use portwatch_common::RecordKind;
use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

fn options(path: &Path) -> WriteOptions {
    WriteOptions {
        path: path.to_owned(),
        ..WriteOptions::default()
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

/// A long run, told and captured.
fn long(options: WriteOptions) -> (String, Option<String>) {
    let page = Page::default();
    let recorder = Recorder::create(options, header(), Redaction::default()).unwrap();
    let mut pipeline = stages(
        &header(),
        Box::new(Moody::default()),
        &EventName::ALL,
        &page,
    )
    .tapped(recorder.clone());
    pipeline.start(start()).unwrap();
    for n in 0..100_000_u64 {
        let mut record = assign(n, u32::try_from(n % 50).unwrap() + 5, n % 20_000, 0);
        record.sock.cookie = n * 77_777;
        pipeline.record(&raw(bytes(&record))).unwrap();
    }
    scene(&mut pipeline, Some(EndReason::Duration));
    (page.text(), recorder.finish())
}

#[test]
fn a_rotation_is_one_run() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pwcap");
    let (told, missing) = long(WriteOptions {
        codec: Codec::None,
        rotate_size: Some(1 << 20),
        ..options(&path)
    });
    assert_eq!(missing, None);
    let all = files(dir.path());
    assert!(all.len() > 3, "{all:?}");
    let (again, complaints) = replayed(&[dir.path().to_owned()], &EventName::ALL);
    assert_eq!(complaints, [""; 0]);
    assert!(told == again, "the replay differs");

    // The files of a run belong together in whatever order they are named.
    let backwards: Vec<PathBuf> = all.iter().rev().cloned().collect();
    assert!(replayed(&backwards, &EventName::ALL).0 == told);

    // One from the middle is gone: up to there all is the same, and the summary says so.
    fs::remove_file(&all[2]).unwrap();
    let (less, complaints) = replayed(&[dir.path().to_owned()], &EventName::ALL);
    assert!(
        complaints
            .iter()
            .any(|text| text.contains("of the rotation")),
        "{complaints:?}"
    );
    let summary = less.lines().last().unwrap();
    assert!(summary.contains(r#""complete":false"#), "{summary}");
    assert!(less.contains(r#""place":"capture""#));
    let same = told
        .lines()
        .zip(less.lines())
        .take_while(|(one, other)| one == other)
        .count();
    assert!(same > 1000, "{same} lines");
}

#[test]
fn only_so_many_files_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pwcap");
    long(WriteOptions {
        codec: Codec::None,
        rotate_size: Some(1 << 20),
        keep: Some(1),
        ..options(&path)
    });
    assert_eq!(files(dir.path()).len(), 2);
    let (told, complaints) = replayed(&[dir.path().to_owned()], &EventName::ALL);
    assert!(told.lines().last().unwrap().contains(r#""complete":false"#));
    assert_eq!(complaints.len(), 1, "{complaints:?}");
}

#[test]
fn a_full_disk_ends_the_capture_and_not_the_run() {
    let (told, missing) = long(options(Path::new("/dev/full")));
    let missing = missing.unwrap();
    assert!(missing.contains("No space left"), "{missing}");
    // Nothing of the run is in it.
    let (_, count) = missing.rsplit_once("; ").unwrap();
    let count: u64 = count.split(' ').next().unwrap().parse().unwrap();
    assert!(count > 100_000, "{missing}");
    assert!(told.lines().count() > 100_000);
    assert!(told.lines().last().unwrap().contains(r#""complete":true"#) || told.contains("lost"));
}

/// Whoever reads a FIFO gets a whole capture, also where nobody read it yet when it was opened.
#[test]
fn a_reader_of_a_fifo() {
    for reads_first in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let [fifo, copy] = ["fifo", "copy"].map(|name| dir.path().join(name));
        mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        let held = reads_first.then(|| {
            let mut held = fs::OpenOptions::new();
            held.read(true).custom_flags(libc::O_NONBLOCK);
            held.open(&fifo).unwrap()
        });
        let read = std::thread::spawn({
            let fifo = fifo.clone();
            move || fs::read(fifo).unwrap()
        });
        let recorder = Recorder::create(options(&fifo), header(), Redaction::default()).unwrap();
        // More than a FIFO takes without its reader.
        for n in 0..20_000 {
            let (tgid, start) = (Tgid(5), Ktime(1));
            recorder.record(&raw(bytes(&assign(n, 5, n, 0))));
            recorder.background(tgid, start, || Moody::default().process(tgid, start));
        }
        recorder.summary(Ktime(20_000), EndReason::Duration);
        assert_eq!(recorder.finish(), None);
        fs::write(&copy, read.join().unwrap()).unwrap();
        let (told, complaints) = replayed(&[copy], &EventName::ALL);
        assert_eq!(told.matches(r#""type":"assign""#).count(), 20_000);
        assert_eq!(complaints, Vec::<String>::new());
        drop(held);
    }
}

/// What is told of a file to which more would have come.
fn as_a_kill_leaves_it(path: &Path) -> String {
    let copy = path.with_extension("copy");
    fs::copy(path, &copy).unwrap();
    let (told, complaints) = replayed(&[copy], &EventName::ALL);
    assert!(complaints[0].contains("has no end"), "{complaints:?}");
    told
}

/// The block that is begun goes out by itself: a killed run loses a second at most.
#[test]
fn a_block_does_not_wait_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pwcap");
    let recorder = Recorder::create(options(&path), header(), Redaction::default()).unwrap();
    recorder.record(&raw(bytes(&assign(1, 5, 1, 0))));
    let (tgid, start) = (Tgid(5), Ktime(1));
    recorder.background(tgid, start, || Moody::default().process(tgid, start));
    recorder.wait_for_block();
    let told = as_a_kill_leaves_it(&path);
    assert!(told.contains(r#""type":"assign""#), "{told}");
    assert_eq!(recorder.finish(), None);
}

/// Nor does one to which something comes all the time.
#[test]
fn a_block_of_a_busy_run_does_not_wait_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pwcap");
    let recorder = Recorder::create(options(&path), header(), Redaction::default()).unwrap();
    let (done, written) = std::sync::mpsc::channel();
    let waiting = recorder.clone();
    let waiter = std::thread::spawn(move || {
        waiting.wait_for_block();
        done.send(()).unwrap();
    });
    let pace = std::time::Duration::from_millis(1);
    let held = recorder.hold();
    let mut count = 0;
    while written.recv_timeout(pace).is_err() {
        count += 1;
        assert!(count < 30_000, "no block is written");
        recorder.record(&raw(bytes(&assign(count, 5, count, 0))));
    }
    waiter.join().unwrap();
    drop(held);
    assert_eq!(recorder.finish(), None);
}

/// A run may be killed behind any block: none ends between a failure and the holders that a ring
/// gave with it.
#[test]
fn a_failure_stands_with_its_holders() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pwcap");
    let options = WriteOptions {
        codec: Codec::None,
        rotate_size: Some(64 << 10),
        patient: true,
        ..options(&path)
    };
    let recorder = Recorder::create(options, header(), Redaction::default()).unwrap();
    let held = recorder.hold();
    for id in 0..8000 {
        recorder.record(&raw(bytes(&failure(id, id, 6, 2))));
        for n in 0..2 {
            let mut record = holder(id, id, 5);
            record.sock.cookie = id * 77_777 + n;
            recorder.record(&raw(bytes(&record)));
        }
    }
    drop(held);
    assert_eq!(recorder.finish(), None);
    let files = files(dir.path());
    assert!(files.len() > 2, "{files:?}");
    let mut records = 0;
    for file in files {
        let seen = read(&fs::read(file).unwrap()).unwrap();
        let kind = |input: &Input| {
            let Input::Record(record) = input else {
                panic!("{input:?}");
            };
            decode::kind(record)
        };
        let kinds: Vec<_> = seen.inputs.iter().map(|(input, _)| kind(input)).collect();
        records += kinds.len();
        let failures = kinds
            .iter()
            .filter(|kind| **kind == Some(RecordKind::FAILURE));
        assert_eq!(failures.count() * 3, kinds.len());
    }
    assert_eq!(records, 24_000);
}

/// A failure whose holders were not written any more is not told as one that has none.
#[test]
fn a_failure_at_the_cut_is_not_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.pwcap");
    let recorder = Recorder::create(options(&path), header(), Redaction::default()).unwrap();
    recorder.record(&raw(bytes(&assign(1, 5, 1, 0))));
    recorder.record(&raw(bytes(&failure(2, 9, 6, 1))));
    recorder.wait_for_block();
    let told = as_a_kill_leaves_it(&path);
    assert!(!told.contains(r#""type":"conflict""#), "{told}");
    assert!(told.contains(r#""complete":false"#), "{told}");
    assert_eq!(recorder.finish(), None);
}
