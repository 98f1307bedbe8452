//! Which files are read, and which are never written to.

use super::{captures, replayed, told};
use std::fs;
use std::process::Command;

/// A copy whose end is missing beside the whole one, in either order: the whole one is played.
#[test]
fn of_two_copies_the_whole_one_is_played() {
    let capture = captures().remove(0);
    let told = replayed(&capture, &["--json"]);
    let bytes = fs::read(&capture).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let torn = dir.path().join("torn.pwcap");
    fs::write(&torn, &bytes[..bytes.len() / 2]).unwrap();
    for pair in [[&torn, &capture], [&capture, &torn]] {
        let output = Command::new(env!("CARGO_BIN_EXE_portwatch"))
            .args(["replay", "--json"])
            .args(pair)
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), told);
        let talk = String::from_utf8_lossy(&output.stderr);
        let why = format!("skipped `{}`: a longer copy of it is read", torn.display());
        assert!(talk.contains(&why), "{talk}");
    }
    // The same twice is no complaint.
    let twice = Command::new(env!("CARGO_BIN_EXE_portwatch"))
        .args(["replay", "--json", "--strict"])
        .args([&capture, &capture])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&twice.stdout), told);
    let talk = String::from_utf8_lossy(&twice.stderr);
    assert!(
        twice.status.success() && !talk.contains("skipped"),
        "{talk}"
    );
}

/// Whatever its name, what is read is not written to.
#[test]
fn no_command_writes_into_its_own_capture() {
    let dir = tempfile::tempdir().unwrap();
    let capture = dir.path().join("a.pwcap");
    let bytes = fs::read(captures().remove(0)).unwrap();
    fs::write(&capture, &bytes).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(&capture, &link).unwrap();
    let (own, link) = (capture.to_str().unwrap(), link.to_str().unwrap());
    for arguments in [
        &["report", "-o", own, own][..],
        &["report", "-o", link, own],
        &["report", "-o", own, dir.path().to_str().unwrap()],
        &["export", "--format", "csv", "-o", own, link],
        &["export", "--format", "ndjson", "-o", link, own],
        &["replay", "--output", own, own],
    ] {
        let (talk, status) = told(arguments);
        assert_eq!(status, Some(2), "{arguments:?}: {talk}");
        assert_eq!(fs::read(&capture).unwrap(), bytes, "{arguments:?}");
    }
    // Both write to standard output.
    for arguments in [
        &["report", "-o", "-", own][..],
        &["replay", "--output", "-", own],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_portwatch"))
            .args(arguments)
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(output.status.success() && !output.stdout.is_empty());
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
}
