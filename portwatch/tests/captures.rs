//! Captures and what they must say: every capture in `tests/captures`, in text and in JSON.
//!
//! Drop NAME.pwcap there and run `cargo xtask bless`: NAME.txt and NAME.json beside it are what every
//! later build has to say of it. Captures are never replaced, so that old ones keep replaying.

#![expect(clippy::unwrap_used, reason = "a test ends there")]

#[path = "captures/files.rs"]
mod files;
#[path = "captures/redacted.rs"]
mod redacted;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set by `cargo xtask bless`: what is said now becomes what has to be said.
const BLESS: &str = "PORTWATCH_BLESS";

fn captures() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures");
    let files = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files
        .filter(|path| path.extension().is_some_and(|end| end == "pwcap"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no capture in {}", dir.display());
    files
}

/// What `portwatch replay` prints, without anything of this machine.
fn replayed(capture: &Path, options: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_portwatch"))
        .arg("replay")
        .args(options)
        .arg(capture)
        .env_clear()
        .env("TZ", "UTC")
        .output()
        .unwrap();
    let talk = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {talk}", capture.display());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_capture_says_what_it_said() {
    let mut wrong = Vec::new();
    for capture in captures() {
        for (end, options) in [
            ("txt", &["--events", "all", "--neighbours"][..]),
            ("json", &["--events", "all", "--neighbours", "--json"]),
        ] {
            let said = replayed(&capture, options);
            let golden = capture.with_extension(end);
            if std::env::var_os(BLESS).is_some() {
                fs::write(&golden, &said).unwrap();
                continue;
            }
            let expected = fs::read_to_string(&golden).unwrap_or_default();
            if said != expected {
                let lines = expected.lines().zip(said.lines());
                let first = lines.clone().position(|(one, other)| one != other);
                let at = first.unwrap_or_else(|| lines.count());
                wrong.push(format!(
                    "{}, line {}:\n  was {}\n  is  {}",
                    golden.display(),
                    at + 1,
                    expected.lines().nth(at).unwrap_or("(nothing)"),
                    said.lines().nth(at).unwrap_or("(nothing)"),
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{}\nif this is meant: `cargo xtask bless`, and read the difference",
        wrong.join("\n")
    );
}

/// Cut anywhere, a capture is played up to there.
#[test]
fn a_cut_capture_is_played_up_to_there() {
    for capture in captures() {
        let whole = fs::read(&capture).unwrap();
        let told = replayed(&capture, &["--json", "--events", "all"]);
        let dir = tempfile::tempdir().unwrap();
        let cut = dir.path().join("cut.pwcap");
        fs::write(&cut, &whole[..whole.len() - 70]).unwrap();
        let less = replayed(&cut, &["--json", "--events", "all"]);
        let last = less.lines().count() - 1;
        let same = told
            .lines()
            .zip(less.lines())
            .take(last)
            .all(|(one, other)| one == other);
        assert!(same, "{}", capture.display());
        let summary = less.lines().last().unwrap();
        assert!(summary.contains(r#""complete":false"#), "{summary}");
        let strict = Command::new(env!("CARGO_BIN_EXE_portwatch"))
            .args(["replay", "--strict"])
            .arg(&cut)
            .output()
            .unwrap();
        assert_eq!(strict.status.code(), Some(2));
    }
}

/// By a pipe, several at once, a directory: what is told is the same.
#[test]
fn pipes_and_directories() {
    let capture = captures().remove(0);
    let told = replayed(&capture, &["--json"]);
    let piped = Command::new(env!("CARGO_BIN_EXE_portwatch"))
        .args(["replay", "--json", "-"])
        .stdin(fs::File::open(&capture).unwrap())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(piped.stdout).unwrap(), told);
    // What a shell gives for `<(cat FILE)`, which can be read once.
    let (from, mut to) = std::io::pipe().unwrap();
    let bytes = fs::read(&capture).unwrap();
    let writer = std::thread::spawn(move || std::io::Write::write_all(&mut to, &bytes));
    let once = Command::new(env!("CARGO_BIN_EXE_portwatch"))
        .args(["replay", "--json", "/dev/stdin"])
        .stdin(from)
        .output()
        .unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(String::from_utf8(once.stdout).unwrap(), told);
    let dir = tempfile::tempdir().unwrap();
    fs::copy(&capture, dir.path().join("any name")).unwrap();
    fs::write(dir.path().join("notes.txt"), "not a capture").unwrap();
    assert_eq!(replayed(dir.path(), &["--json"]), told);
}

/// Nothing of these is a capture: each has a reason, and none a backtrace.
#[test]
fn what_is_no_capture_is_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes, reason) in [
        ("empty", &b""[..], "is empty"),
        ("text", b"{\"schema\":\"portwatch/1\"}\n", "not a capture"),
        ("header", b"\x89PWC\r\n\x1a\n\x01\x02\x03\x04", "is damaged"),
        (
            "order",
            b"\x89PWC\r\n\x1a\n\x04\x03\x02\x01................",
            "byte order",
        ),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_portwatch"))
            .arg("replay")
            .arg(&path)
            .output()
            .unwrap();
        let talk = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{name}: {talk}");
        assert!(
            talk.contains(reason) && output.stdout.is_empty(),
            "{name}: {talk}"
        );
    }
}

/// A field that is added to an answer takes `#[serde(default)]`: without it the answers of old captures
/// would be skipped without a word.
#[test]
fn every_answer_of_a_capture_is_understood() {
    use portwatch::capture::fact::Fact;
    use portwatch::capture::{CaptureReader, Piece};
    for capture in captures() {
        let mut reader = CaptureReader::new(fs::File::open(&capture).unwrap()).unwrap();
        let mut answers = 0;
        while let Some(piece) = reader.next_piece().unwrap() {
            match piece {
                Piece::Step(step) => {
                    for bytes in step.answers.all() {
                        let fact = rmp_serde::from_slice::<Fact>(bytes);
                        assert!(fact.is_ok(), "{}: {fact:?}", capture.display());
                        answers += 1;
                    }
                }
                Piece::Damage(damage) => panic!("{}: {damage}", capture.display()),
                Piece::Header(_) => {}
            }
        }
        assert!(answers > 10, "{}: {answers} answers", capture.display());
    }
}

/// Lines of several runs say which one they are of, in text as in JSON.
#[test]
fn several_runs_are_told_apart() {
    let captures: Vec<String> = captures()
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let paths: Vec<&str> = captures.iter().map(String::as_str).collect();
    let (last, others) = paths.split_last().unwrap();
    let text = replayed(Path::new(last), others);
    let json = replayed(Path::new(last), &[others, &["--json"]].concat());
    let mut runs = std::collections::BTreeSet::new();
    for line in json.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let word = |name: &str| line[name].as_str().unwrap().to_owned();
        runs.insert(format!("{}/{}", word("host"), &word("run")[..8]));
    }
    assert_eq!(runs.len(), captures.len());
    for run in &runs {
        let conflict = text.lines().find(|line| line.starts_with(run.as_str()));
        assert!(
            conflict.is_some_and(|line| line.contains("CONFLICT")),
            "{run}\n{text}"
        );
    }
}

/// What a command prints, and how it ends.
fn told(arguments: &[&str]) -> (String, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_portwatch"))
        .args(arguments)
        .env_clear()
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (text, output.status.code())
}

/// The same address has the same pseudonym wherever the key is the same, and no other way.
#[test]
fn pseudonyms_of_a_key_are_the_same_everywhere() {
    let dir = tempfile::tempdir().unwrap();
    let key = |name: &str, digits: &str| {
        let path = dir.path().join(name);
        fs::write(&path, digits).unwrap();
        path.display().to_string()
    };
    let one = key("one", "00112233445566778899aabbccddeeff\n");
    let other = key("other", "ffeeddccbbaa99887766554433221100\n");
    let captures = captures();
    let addresses = |capture: &Path, key: &str| {
        let capture = capture.display().to_string();
        let options = ["export", "--format", "ndjson", "--redact", "address"];
        let (text, status) = told(&[&options[..], &["--redact-key", key, &capture]].concat());
        assert_eq!(status, Some(0));
        assert!(!text.contains("10.10.10."), "{text}");
        let pseudonym = |word: &&str| {
            let address = word.parse::<std::net::Ipv4Addr>();
            address.is_ok_and(|address| address.octets()[0] >= 240)
        };
        let words = text.split('"').filter(pseudonym);
        words
            .map(str::to_owned)
            .collect::<std::collections::BTreeSet<_>>()
    };
    let [first, second] = [&captures[0], &captures[1]].map(|capture| addresses(capture, &one));
    assert!(!first.is_empty());
    assert_eq!(
        first, second,
        "both captures tell of 10.10.10.1 and 10.10.10.2"
    );
    assert!(addresses(&captures[0], &other).is_disjoint(&first));
    let bad = key("bad", "secret");
    let capture = captures[0].display().to_string();
    let options = ["export", "--format", "csv", "--redact", "address"];
    let (_, status) = told(&[&options[..], &["--redact-key", &bad, &capture]].concat());
    assert_eq!(status, Some(2));
}

#[test]
fn exports_tell_what_a_replay_tells() {
    for capture in captures() {
        let lines = replayed(&capture, &["--json", "--events", "all", "--neighbours"]);
        let path = capture.display().to_string();
        let (ndjson, _) = told(&["export", "--format", "ndjson", &path]);
        assert_eq!(ndjson, lines);
        let (csv, _) = told(&["export", "--format", "csv", &path]);
        assert!(csv.starts_with("time,time_ns,host,run,type,"), "{csv}");
        let (trace, _) = told(&["export", "--format", "perfetto", &path]);
        let trace: serde_json::Value = serde_json::from_str(&trace).unwrap();
        let events = trace["traceEvents"].as_array().unwrap();
        let conflicts = events.iter().filter(|event| event["ph"] == "i").count();
        assert_eq!(conflicts, lines.matches(r#""type":"conflict""#).count());
    }
}

/// What was skipped is said on the page, which goes where standard error does not.
#[test]
fn the_page_says_what_was_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let whole = &captures()[0];
    fs::copy(whole, dir.path().join("a.pwcap")).unwrap();
    fs::write(dir.path().join("b.pwcap"), &fs::read(whole).unwrap()[..12]).unwrap();
    let (text, code) = told(&["report", &dir.path().display().to_string()]);
    assert_eq!(code, Some(0));
    assert!(text.contains("<p>Skipped: "), "{text}");
    assert!(text.contains("b.pwcap"));
    let named = dir.path().join("10.9.8.4.pwcap");
    fs::rename(dir.path().join("b.pwcap"), named).unwrap();
    let (text, _) = told(&[
        "report",
        "--redact",
        "address",
        &dir.path().display().to_string(),
    ]);
    assert!(text.contains("<p>Skipped: "), "{text}");
    assert!(!text.contains("10.9.8.4"), "{text}");
}

#[test]
fn a_cut_capture_is_exported_and_reported_up_to_there() {
    let whole = fs::read(&captures()[0]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cut = dir.path().join("cut.pwcap");
    fs::write(&cut, &whole[..whole.len() - 70]).unwrap();
    let cut = cut.display().to_string();
    for (command, status) in [
        (&["report", &cut][..], 0),
        (&["report", "--strict", &cut], 2),
        (&["export", "--format", "perfetto", &cut], 0),
        (&["export", "--format", "csv", "--strict", &cut], 2),
        (
            &[
                "export",
                "--format",
                "perfetto",
                "--partition",
                "-o",
                "x",
                &cut,
            ],
            2,
        ),
        (&["export", "--format", "parquet", "/dev/null"], 2),
    ] {
        let (text, code) = told(command);
        assert_eq!(code, Some(status), "{command:?}");
        assert!(
            command[0] != "report" || text.contains("not complete"),
            "{text}"
        );
    }
}
