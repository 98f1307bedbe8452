//! Captures that were redacted when they were taken, and what later commands make of them.

use super::{captures, told};
use portwatch::capture::{CaptureHeader, Damage, Recorder, Redaction, WriteOptions};
use portwatch::correlate::Correlator;
use portwatch::pipeline::Pipeline;
use portwatch::report::{ClockAnchor, Report};
use portwatch::sink::filter::{EventName, Filter, Selection};
use portwatch::sink::redact::{Cmdline, Redact, RedactKey};
use portwatch::sink::{Sink, SinkError};
use portwatch::source::replay::{Answers, Audience, play};
use portwatch::source::runs::runs;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

const KEY: &str = "00112233445566778899aabbccddeeff";

struct Deaf;

impl Sink for Deaf {
    fn report(&mut self, _: &Report) -> Result<(), SinkError> {
        Ok(())
    }

    fn anchor(&mut self, _: ClockAnchor) {}

    fn reopen(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

impl Audience for Deaf {
    fn comes(&mut self, _: i64, _: &mut Pipeline) -> Result<(), SinkError> {
        Ok(())
    }

    fn damage(&mut self, damage: &Damage) {
        panic!("{damage}");
    }
}

/// Takes the run of a capture again, with this taken out.
fn taken(capture: &Path, to: &Path, redaction: Redaction) -> String {
    let open = |path: &Path| -> io::Result<Box<dyn io::Read>> { Ok(Box::new(File::open(path)?)) };
    let (found, _) = runs(&[capture.to_owned()], &open).unwrap();
    let mut redaction = Some(redaction);
    let mut recorder = None;
    let mut stages = |header: &CaptureHeader, answers: Answers| {
        let options = WriteOptions {
            path: to.to_owned(),
            patient: true,
            ..WriteOptions::default()
        };
        let tap = Recorder::create(options, header.clone(), redaction.take().unwrap()).unwrap();
        recorder = Some(tap.clone());
        let begin = &header.begin;
        let mut correlator = Correlator::new(begin.options(), begin.started, begin.start.clock);
        correlator.snapshot_complete(begin.scanned);
        let selection = Selection {
            events: EventName::ALL.into(),
            ..Selection::default()
        };
        let pipeline = Pipeline::new(
            Box::new(answers),
            correlator,
            Filter::new(selection),
            Redact::new(Cmdline::Full, false, false),
            Box::new(Deaf),
            begin.started,
        );
        (pipeline.tapped(tap), begin.start.clone())
    };
    play(found, &open, &mut stages, &mut Deaf).unwrap();
    assert_eq!(recorder.unwrap().finish(), None);
    to.display().to_string()
}

fn addresses(text: &str) -> BTreeSet<IpAddr> {
    let words = text.split('"').filter_map(|word| word.parse().ok());
    words
        .filter(|word: &IpAddr| !word.is_unspecified() && !word.is_loopback())
        .collect()
}

/// What is taken with a key and exported with the same one has the pseudonyms of that key.
#[test]
fn pseudonyms_of_a_capture_stay() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    fs::write(&file, KEY).unwrap();
    let file = file.display().to_string();
    let key: RedactKey = KEY.parse().unwrap();
    let capture = &captures()[0];
    let exported = |capture: &str, options: &[&str]| {
        let (text, status) = told(&[&["export", "--format", "ndjson", capture], options].concat());
        assert_eq!(status, Some(0));
        text
    };
    let keyed = ["--redact", "address", "--redact-key", &file];
    let whole = addresses(&exported(&capture.display().to_string(), &keyed));
    assert!(!whole.is_empty());
    let redaction = Redaction::new(false, true, false).keyed(Some(key));
    let with_key = taken(capture, &dir.path().join("a"), redaction);
    let once = exported(&with_key, &[]);
    assert_eq!(addresses(&once), whole, "the join of docs/fleet.md");
    assert_eq!(exported(&with_key, &keyed), once);
    assert_eq!(exported(&with_key, &["--redact", "address"]), once);
    let numbered = taken(
        capture,
        &dir.path().join("b"),
        Redaction::new(false, true, false),
    );
    assert_eq!(exported(&numbered, &keyed), exported(&numbered, &[]));
}

#[test]
fn numbered_pseudonyms_that_meet_others_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let key: RedactKey = KEY.parse().unwrap();
    let captures = captures();
    let [numbered, keyed] = [None, Some(key)].map(|key| {
        let mut number = 0;
        [0, 1].map(|n: usize| {
            number += 1;
            let path = dir.path().join(format!("{}-{number}", key.is_some()));
            taken(
                &captures[n],
                &path,
                Redaction::new(false, true, false).keyed(key),
            )
        })
    });
    let clear = captures[1].display().to_string();
    let warns = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_portwatch"))
            .arg("replay")
            .args(arguments)
            .env_clear()
            .output()
            .unwrap();
        assert!(output.status.success());
        let talk = String::from_utf8_lossy(&output.stderr);
        assert!(talk.contains("address were taken out"), "{talk}");
        assert!(!talk.contains("address-key"), "{talk}");
        talk.contains("addresses were numbered")
    };
    let [one, other] = &numbered;
    assert!(warns(&[one, other]));
    assert!(warns(&[one, &keyed[1]]));
    assert!(warns(&[one, &clear, "--redact", "address"]));
    assert!(!warns(&[one, &clear]), "that one has none");
    assert!(!warns(&[one, "--redact", "address"]), "a run alone");
    assert!(!warns(&[&keyed[0], &keyed[1]]));
}
