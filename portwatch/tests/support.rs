//! What is told of a kernel from its BTF alone: `portwatch doctor --btf`, and the table of
//! docs/kernel-support.md.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use lzma_rust2::{XzOptions, XzWriter};
use portwatch::probe::btf::Btf;
use portwatch::probe::support::{self, Support};

const KERNELS: &[&str] = &[
    "5.4", "5.11", "5.13", "5.16", "5.18", "5.19", "6.1", "6.6", "6.8", "6.11", "6.18", "7.1",
];

fn file(release: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/btf/vmlinux-{release}.btf"))
}

fn support(release: &str) -> Support {
    let data = std::fs::read(file(release)).expect("a fixture");
    support::of(&Btf::parse(&data).expect("BTF"))
}

/// The table between the marks of docs/kernel-support.md.
fn table() -> String {
    let found: Vec<(&str, Support)> = KERNELS
        .iter()
        .map(|release| (*release, support(release)))
        .collect();
    let mut text = String::from("| |");
    for (release, _) in &found {
        write!(text, " {release} |").expect("a string");
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(found.len()));
    let mut row = |name: &str, cell: &dyn Fn(&Support) -> String| {
        write!(text, "\n| {name} |").expect("a string");
        for (_, support) in &found {
            write!(text, " {} |", cell(support)).expect("a string");
        }
    };
    row("best backend", &|support| {
        support
            .backend
            .map_or_else(|| "refused".to_owned(), |backend| backend.word().to_owned())
    });
    let mark = |present: bool| if present { "yes" } else { "-" }.to_owned();
    let (_, first) = found.first().expect("kernels");
    for index in 0..first.features.len() {
        let name = first.features[index].name;
        row(name, &|support| mark(support.features[index].present));
    }
    for index in 0..first.functions.len() {
        let name = format!("`{}`", first.functions[index].name);
        row(&name, &|support| mark(support.functions[index].present));
    }
    text
}

#[test]
fn the_table_of_the_documentation_is_what_the_btf_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kernel-support.md");
    let text = std::fs::read_to_string(&path).expect("the documentation");
    let (begin, end) = ("<!-- generated: begin -->\n", "\n<!-- generated: end -->");
    let from = text.find(begin).expect("a begin") + begin.len();
    let to = text.find(end).expect("an end");
    let wanted = table();
    if text[from..to] == wanted {
        return;
    }
    if std::env::var_os("PORTWATCH_BLESS").is_some() {
        let blessed = format!("{}{wanted}{}", &text[..from], &text[to..]);
        std::fs::write(&path, blessed).expect("the documentation");
        return;
    }
    panic!(
        "docs/kernel-support.md is old; `PORTWATCH_BLESS=1 cargo test --test support` writes:\n{wanted}"
    );
}

fn doctor(file: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_portwatch"))
        .args(["doctor", "--btf"])
        .arg(file)
        .args(more)
        .output()
        .expect("portwatch")
}

#[test]
fn a_kernel_below_the_floor_is_refused_in_one_sentence() {
    let done = doctor(&file("5.4"), &[]);
    let told = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(2), "{told}");
    let sentence = told
        .lines()
        .find(|line| line.starts_with("nothing can be traced: "))
        .expect("a refusal");
    for words in ["ring buffer", "iter/task_file", "Linux 5.8 or newer"] {
        assert!(sentence.contains(words), "`{words}` is not in: {sentence}");
    }
}

#[test]
fn a_kernel_of_today_has_everything_and_what_btf_cannot_tell_is_said() {
    let done = doctor(&file("6.18"), &[]);
    let told = String::from_utf8_lossy(&done.stdout);
    assert_eq!(done.status.code(), Some(0), "{told}");
    assert!(!told.contains("LACKS"), "{told}");
    assert!(told.contains("trampoline"), "{told}");
    for words in ["configuration", "lockdown", "local policy"] {
        assert!(told.contains(words), "`{words}` is not in:\n{told}");
    }
}

#[test]
fn a_packed_file_says_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let packed = folder.path().join("vmlinux.btf.xz");
    let plain = std::fs::read(file("6.1")).expect("a fixture");
    let into = std::fs::File::create(&packed).expect("a file");
    let mut xz = XzWriter::new(into, XzOptions::with_preset(0)).expect("an encoder");
    xz.write_all(&plain).expect("room");
    xz.finish().expect("an end");
    let answer = |path: &Path| {
        let done = doctor(path, &["--format", "json"]);
        let mut value: serde_json::Value = serde_json::from_slice(&done.stdout).expect("JSON");
        value.as_object_mut().expect("an object").remove("file");
        (done.status.code(), value)
    };
    let told = answer(&packed);
    assert_eq!(told, answer(&file("6.1")));
    assert_eq!(told.1["backend"], "trampoline");
}

#[test]
fn what_is_no_btf_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let bad = folder.path().join("bad");
    for data in [
        &b"no BTF at all"[..],
        b"",
        b"\xfd7zXZ\0 and then nothing of the kind",
        &[0x9f, 0xeb, 1, 0, 24, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
    ] {
        std::fs::write(&bad, data).expect("a file");
        let done = doctor(&bad, &[]);
        let talk = String::from_utf8_lossy(&done.stderr);
        assert_eq!(done.status.code(), Some(2), "{data:?}: {talk}");
        assert!(talk.contains(&*bad.to_string_lossy()), "{data:?}: {talk}");
    }
    let done = doctor(&folder.path().join("absent"), &[]);
    assert_eq!(done.status.code(), Some(2));
}
