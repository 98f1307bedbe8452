//! How it ends, whoever ends it: signals, a reader that stands still or is gone, a kill.

use std::fs;
use std::io::{Read, Seek};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use portwatch_tests::bpf::{Object, Objects};
use portwatch_tests::event::{Body, Event};
use portwatch_tests::machine::wait_default;
use portwatch_tests::make;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::{Bare, Tracer, binary};
use portwatch_tests::wait::{self, PATIENCE};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::play::refused;

/// Nothing is pinned, nothing outlives it: no program, no map, no attachment.
#[test]
fn a_kill_leaves_nothing_in_the_kernel() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let options = ["--format", "json", "--events", "all"];
    let mut tracer = Bare::start(&stage.netns, &options, Stdio::null())?;
    let objects = Objects::of(tracer.child.id())?.all;
    let count = |is: fn(&Object) -> bool| objects.iter().filter(|object| is(object)).count();
    ensure!(
        count(|object| matches!(object, Object::Program(_))) >= 15
            && count(|object| matches!(object, Object::Map(_))) >= 8
            && count(|object| matches!(object, Object::Link(_))) >= 15,
        "{objects:?}"
    );
    for object in &objects {
        ensure!(object.exists()?, "{object:?} is not there while it runs");
    }
    tracer.end(Some(Signal::KILL))?;
    // The kernel frees them after a grace period.
    for object in objects {
        wait::until(&format!("the end of {object:?}"), PATIENCE, || {
            Ok((!object.exists()?).then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn interrupt_and_terminate_end_with_a_summary() -> Result<()> {
    for (signal, reason) in [
        (Signal::INT, "interrupted"),
        (Signal::TERM, "terminated"),
        (Signal::HUP, "terminated"),
    ] {
        let Some(stage) = Stage::set()? else {
            return Ok(());
        };
        let _made = make::listener(&stage.netns)?;
        let tracer = Tracer::start(&stage.netns, &[])?;
        let mut binder = Puppet::start(&stage.netns, "made-binder")?;
        refused(&mut binder, "tcp4")?;
        tracer.signal(signal)?;
        let trace = tracer.wait_end(PATIENCE)?;
        trace.check(true)?;
        ensure!(trace.conflicts().len() == 1, "{:#?}", trace.conflicts());
        let Some(Body::Summary(summary)) = trace.events.last().map(|event| &event.body) else {
            unreachable!("checked")
        };
        ensure!(
            summary.get("reason").and_then(Value::as_str) == Some(reason)
                && summary.get("complete") == Some(&Value::Bool(true)),
            "{summary:?}"
        );
    }
    Ok(())
}

/// The reader stands still, so the summary cannot be written: the second signal does not wait.
#[test]
fn a_second_signal_ends_it_at_once() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    for signal in [Signal::INT, Signal::TERM] {
        let _made = make::listener(&stage.netns)?;
        let (reader, writer) = std::io::pipe()?;
        let mut tracer = Bare::start(&stage.netns, &["--format", "json"], writer.into())?;
        let mut binder = Puppet::start(&stage.netns, "made-binder")?;
        // More than a pipe holds.
        for _ in 0..200 {
            refused(&mut binder, "tcp4")?;
            binder.tell("close b")?;
        }
        let pid = Pid::from_child(&tracer.child);
        kill_process(pid, signal)?;
        wait_default(tracer.child.id(), signal)?;
        ensure!(tracer.child.try_wait()?.is_none(), "it did not wait");
        kill_process(pid, signal)?;
        let status = tracer.end(None)?;
        // Not by itself, after it had waited long enough.
        ensure!(status.signal() == Some(signal.as_raw()), "{status}");
        drop(reader);
    }
    Ok(())
}

/// Nobody ever reads: the very first line finds that out.
#[test]
fn a_stdout_closed_from_the_start_ends_quietly() -> Result<()> {
    if Stage::set()?.is_none() {
        return Ok(());
    }
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let mut talk = tempfile::tempfile()?;
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL"])
        .arg(binary())
        .args(["watch", "--format", "json"])
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(talk.try_clone()?);
    let mut tracer = Bare {
        child: command.spawn()?,
    };
    // The pipe's only writer is the tracer now.
    drop(command);
    let status = tracer.end(None)?;
    let mut said = String::new();
    talk.rewind()?;
    talk.read_to_string(&mut said)?;
    ensure!(status.success() && said.is_empty(), "{status}: {said}");
    Ok(())
}

/// `mv` and SIGHUP while failures come in: every line is in one of the files, in order.
#[test]
fn a_rotated_output_loses_nothing() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("out.ndjson");
    let path = file.to_str().context("a path that is not UTF-8")?;
    let options = ["--format", "json", "--output", path];
    let mut tracer = Bare::start(&stage.netns, &options, Stdio::null())?;
    let _made = make::listener(&stage.netns)?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    let mut files = Vec::new();
    for round in 0..4 {
        for _ in 0..50 {
            refused(&mut binder, "tcp4")?;
            binder.tell("close b")?;
        }
        let moved = folder.path().join(format!("out.{round}"));
        fs::rename(&file, &moved)?;
        files.push(moved);
        kill_process(Pid::from_child(&tracer.child), Signal::HUP)?;
        wait::file("the new file", PATIENCE, &file, || {
            Ok(file.exists().then_some(()))
        })?;
    }
    ensure!(tracer.end(Some(Signal::TERM))?.success(), "it failed");
    files.push(file);
    let mut text = String::new();
    for file in &files {
        text.push_str(&fs::read_to_string(file)?);
    }
    let events: Vec<Event> = text.lines().map(Event::parse).collect::<Result<_>>()?;
    let numbers: Vec<u64> = events.iter().map(|event| event.envelope.seq).collect();
    let attempts: Vec<u64> = events
        .iter()
        .filter_map(|event| Some(event.conflict()?.attempt))
        .collect();
    ensure!(
        numbers == (0..events.len() as u64).collect::<Vec<_>>(),
        "{numbers:?}"
    );
    ensure!(attempts == (1..=200).collect::<Vec<_>>(), "{attempts:?}");
    let last = events.last().map(|event| &event.body);
    ensure!(matches!(last, Some(Body::Summary(_))), "{last:?}");
    Ok(())
}

/// Who failed and died before anybody looked is told as the kernel knew it; nothing is made up.
#[test]
fn a_requester_that_died_before_its_name_was_read() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let _made = make::listener(&stage.netns)?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    let pid = binder.pid();
    // It cannot look while the binder still lives.
    tracer.signal(Signal::STOP)?;
    refused(&mut binder, "tcp4")?;
    binder.exit()?;
    tracer.signal(Signal::CONT)?;
    let event = tracer.wait_conflict(PORT)?;
    let requester = &event.conflict().context("no conflict")?.requester;
    ensure!(
        requester.pid == pid
            && requester.comm == "made-binder"
            && requester.exe.is_none()
            && requester.cmdline.is_none()
            && requester.start_time.is_some(),
        "{:#}",
        event.raw
    );
    tracer.finish()?.check(true)
}
