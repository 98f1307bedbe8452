//! The command line's contract: usage, faults, outputs, signals.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use portwatch_tests::event::{Body, Event};
use portwatch_tests::machine::reachable_binary;
use portwatch_tests::make;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::Stage;
use portwatch_tests::tracer::{Bare, Tracer, output};
use portwatch_tests::wait::{self, PATIENCE};
use rustix::process::Signal;

use crate::play::{refused, two_conflicts};

#[test]
fn wrong_usage_is_status_2() -> Result<()> {
    for wrong in [
        &["watch", "--port", "70000"][..],
        &["watch", "--port", ""],
        &["watch", "--port", "10-5"],
        &["watch", "--transport", "sctp"],
        &["watch", "--comm", ""],
        &["watch", "--duration", "soon"],
        &["no-such-command"],
    ] {
        let output = output(wrong)?;
        let talk = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(2) && output.stdout.is_empty() && !talk.is_empty(),
            "{wrong:?}: {} {talk}",
            output.status
        );
    }
    Ok(())
}

#[test]
fn without_root_it_says_what_is_missing() -> Result<()> {
    let Some(_stage) = Stage::set()? else {
        return Ok(());
    };
    // The build directory may be closed to others: a copy stands where all may go.
    let (_folder, copy) = reachable_binary()?;
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .args(["watch", "--duration", "1s"])
        .stdin(Stdio::null())
        .output()?;
    let talk = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(2) && talk.contains("CAP_BPF"),
        "{}: {talk}",
        output.status
    );
    Ok(())
}

#[test]
fn a_closed_stdout_ends_quietly() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Bare::start(&stage.netns, &["--format", "json"], Stdio::piped())?;
    let stdout = tracer.child.stdout.take().context("no stdout")?;
    let mut first = String::new();
    BufReader::new(stdout).read_line(&mut first)?;
    ensure!(first.contains("\"start\""), "{first}");
    // The reader is gone now; the next line finds that out.
    let _two = two_conflicts(&stage)?;
    let status = tracer.end(None)?;
    ensure!(status.success(), "{status}");
    Ok(())
}

#[test]
fn output_is_appended_and_reopened_on_sighup() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("out.ndjson");
    let moved = folder.path().join("out.1");
    fs::write(&file, "before\n")?;
    let path = file.to_str().context("a path that is not UTF-8")?;
    let options = ["--format", "json", "--output", path];
    let mut tracer = Bare::start(&stage.netns, &options, Stdio::null())?;
    let _made = make::listener(&stage.netns)?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    refused(&mut binder, "tcp4")?;
    wait::file("the first conflict", PATIENCE, &file, || {
        Ok(fs::read_to_string(&file)?
            .contains("\"conflict\"")
            .then_some(()))
    })?;
    fs::rename(&file, &moved)?;
    rustix::process::kill_process(rustix::process::Pid::from_child(&tracer.child), Signal::HUP)?;
    wait::file("the new file", PATIENCE, &file, || {
        Ok(file.exists().then_some(()))
    })?;
    binder.tell("close b")?;
    refused(&mut binder, "tcp4")?;
    wait::file("the second conflict", PATIENCE, &file, || {
        Ok(fs::read_to_string(&file)?
            .contains("\"attempt\":2")
            .then_some(()))
    })?;
    ensure!(tracer.end(Some(Signal::TERM))?.success(), "it failed");
    ensure!(
        fs::read_to_string(&moved)?.starts_with("before\n"),
        "not appended"
    );
    for line in fs::read_to_string(&file)?.lines() {
        Event::parse(line)?;
    }
    Ok(())
}

#[test]
fn sigusr1_gives_a_summary_so_far() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    tracer.signal(Signal::USR1)?;
    tracer.wait_for("summary", PATIENCE, |event| {
        matches!(event.body, Body::Summary(_))
    })?;
    tracer.finish()?.check(true)
}

/// The founding case, made and told by portwatch itself.
#[test]
fn demo_ends_well_only_with_the_right_verdict() -> Result<()> {
    if Stage::set()?.is_none() {
        return Ok(());
    }
    let text = output(&["demo"])?;
    let talk = String::from_utf8_lossy(&text.stderr);
    ensure!(
        text.status.success() && !text.stdout.is_empty(),
        "{}: {talk}",
        text.status
    );
    let json = output(&["demo", "--format", "json"])?;
    ensure!(json.status.success(), "{}", json.status);
    let printed = String::from_utf8(json.stdout)?;
    let events: Vec<Event> = printed.lines().map(Event::parse).collect::<Result<_>>()?;
    let conflict = events
        .iter()
        .find_map(Event::conflict)
        .context("no conflict")?;
    ensure!(conflict.cause == "outbound-connection", "{printed}");
    Ok(())
}

#[test]
fn doctor_says_what_runs() -> Result<()> {
    if Stage::set()?.is_none() {
        return Ok(());
    }
    let output = output(&["doctor"])?;
    let text = String::from_utf8_lossy(&output.stdout);
    let backend = text.lines().find_map(|line| line.strip_prefix("backend: "));
    ensure!(
        output.status.success()
            && backend.is_some_and(|name| ["trampoline", "kprobe", "tracepoint"].contains(&name))
            && text.contains("  ok    sock_ops    sock_ops\n"),
        "{text}"
    );
    Ok(())
}
