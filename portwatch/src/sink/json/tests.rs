//! The contract's lines, as written and read back.

use super::super::schema::{Record, json_schema};
use super::super::test_support::*;
use super::*;
use serde_json::Value;

fn every_type() -> Vec<Report> {
    vec![
        report(start()),
        report(conflict()),
        report(time_wait()),
        report(orphan()),
        report(listener()),
        report(unknown()),
        report(evil()),
        report(resolved()),
        report(refused()),
        report(assign()),
        report(release()),
        report(lost(12)),
        report(summary()),
    ]
}

fn lines(reports: &[Report]) -> Vec<String> {
    let (data, _) = told(&mut Json::new("node-7", None), reports);
    data.lines().map(String::from).collect()
}

#[test]
fn goldens() {
    insta::assert_snapshot!(lines(&every_type()).join("\n"));
}

#[test]
fn the_contracts_own_order() {
    for (seq, line) in lines(&every_type()).iter().enumerate() {
        let value: Value = serde_json::from_str(line).unwrap();
        let names: Vec<_> = value.as_object().unwrap().keys().take(5).collect();
        assert_eq!(names, ["schema", "type", "time", "seq", "host"], "{line}");
        assert_eq!(value["seq"], seq);
        assert_eq!(value["time"], "2026-11-22T10:15:00.123456789Z");
    }
}

#[test]
fn every_line_reads_back_as_itself() {
    for (report, line) in every_type().iter().zip(lines(&every_type())) {
        let record: Record = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (record.schema.as_str(), record.host.as_str()),
            (SCHEMA, "node-7")
        );
        assert_eq!(
            serde_json::to_value(&record.body).unwrap(),
            serde_json::to_value(&report.body).unwrap()
        );
    }
}

#[test]
fn unknown_fields_are_refused_at_every_level() {
    for line in lines(&every_type()) {
        let with = line.replacen('{', r#"{"surprise":1,"#, 1);
        assert!(serde_json::from_str::<Record>(&with).is_err(), "{with}");
    }
    let line = &lines(&[report(conflict())])[0];
    for inner in [
        r#""wanted":{"#,
        r#""requester":{"#,
        r#""range":{"#,
        r#""peer":{"#,
        r#""holders":[{"#,
    ] {
        let with = line.replacen(inner, &format!(r#"{inner}"surprise":1,"#), 1);
        assert_ne!(&with, line);
        assert!(serde_json::from_str::<Record>(&with).is_err(), "{with}");
    }
}

#[test]
fn null_and_absent_stay_apart() {
    let line = &lines(&[report(conflict())])[0];
    assert!(line.contains(r#""container":null"#) && line.contains(r#""device":null"#));
    let record: Record = serde_json::from_str(line).unwrap();
    let Body::Conflict(conflict) = record.body else {
        panic!("{line}")
    };
    assert_eq!(conflict.requester.container, Some(None));
    assert!(!lines(&[report(time_wait())])[0].contains(r#""inode""#));
}

#[test]
fn no_line_holds_a_character_that_a_terminal_obeys() {
    let mut evil = evil();
    evil.requester.comm = "\u{7f}\u{9b}2J\u{202e}\u{200b}\u{e0041}\n\"\\".into();
    let line = &lines(&[report(evil.clone())])[0];
    assert!(!line.chars().any(crate::sink::escape::is_unsafe), "{line}");
    assert!(
        line.contains(r"\u007f\u009b2J\u202e\u200b\udb40\udc41\n"),
        "{line}"
    );
    let value: Value = serde_json::from_str(line).unwrap();
    assert_eq!(value["requester"]["comm"], evil.requester.comm.as_str());
}

#[test]
fn lines_have_what_the_schema_requires_and_nothing_else() {
    let schema = json_schema();
    let kinds = schema["oneOf"].as_array().unwrap();
    for line in lines(&every_type()) {
        let value: Value = serde_json::from_str(&line).unwrap();
        let kind = kinds
            .iter()
            .find(|kind| kind["title"] == value["type"])
            .unwrap();
        for name in kind["required"].as_array().unwrap() {
            assert!(
                value.get(name.as_str().unwrap()).is_some(),
                "{name} in {line}"
            );
        }
        for name in value.as_object().unwrap().keys() {
            assert!(
                kind["properties"].get(name).is_some(),
                "{name} in the schema"
            );
        }
    }
}

#[test]
fn losses_and_warnings_are_said_aloud_as_well() {
    let (_, talk) = told(
        &mut Json::new("node-7", None),
        &[report(start()), report(lost(12))],
    );
    insta::assert_snapshot!(talk);
}
