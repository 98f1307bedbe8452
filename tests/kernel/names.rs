//! Who is named: the process and never its thread, with strings that are safe to show.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use portwatch_tests::make;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::{Bare, Tracer};
use portwatch_tests::wait;
use rustix::process::Signal;
use tempfile::NamedTempFile;

use crate::causes::ESTABLISHED;
use crate::play::{self, Case, Verdict, holder_first, refused, tracer_first};

const BY_THREAD: Case = Case {
    make: make::established_by_thread,
    ..ESTABLISHED
};

/// ceph-osd's sockets belong to `msgr-worker-N`; the culprit is called ceph-osd.
#[test]
fn a_holding_thread_is_told_as_its_process() -> Result<()> {
    tracer_first(&BY_THREAD)
}

#[test]
fn a_holding_thread_of_before_is_told_as_its_process() -> Result<()> {
    let right = Verdict {
        certainties: &[],
        origin: None,
        ..BY_THREAD.right
    };
    holder_first(&BY_THREAD, &right)
}

/// The thread's socket is closed, its process gone: TIME_WAIT still has the process's name.
#[test]
fn a_thread_of_the_dead_is_told_as_its_process() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &[])?;
    let mut made = make::established_by_thread(&stage.netns)?;
    make::close_client_first(&stage.netns, &mut made)?;
    made.exit_holder()?;
    let right = crate::causes::TIME_WAIT.right;
    play::conflict(&stage, tracer, &mut made, "tcp4", &right)
}

#[test]
fn a_binding_thread_is_told_as_its_process() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let _made = make::listener(&stage.netns)?;
    let mut binder = Puppet::start(&stage.netns, "made-java")?;
    binder.open("b", "tcp4", &[])?;
    let answer = binder.ask(&format!("in-thread worker-7 bind b 0.0.0.0:{PORT}"))?;
    ensure!(answer.is_err(), "the binder got it");
    let event = tracer.wait_conflict(PORT)?;
    let requester = &event.conflict().context("no conflict")?.requester;
    ensure!(
        requester.pid == binder.pid()
            && requester.comm == "made-java"
            && requester.tid.is_some_and(|tid| tid != requester.pid),
        "{:#}",
        event.raw
    );
    tracer.finish()?.check(true)
}

/// It is shown lossily, its bytes stand beside it.
#[test]
fn a_name_that_is_not_utf8_is_kept() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let mut made = make::established(&stage.netns)?;
    made.holder.rename(b"caf\xe9")?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    binder.rename(b"bind\xff")?;
    refused(&mut binder, "tcp4")?;
    let event = tracer.wait_conflict(PORT)?;
    let conflict = event.conflict().context("no conflict")?;
    ensure!(
        conflict.requester.comm == "bind\u{fffd}"
            && conflict.requester.comm_bytes.as_deref() == Some("YmluZP8="),
        "{:#}",
        event.raw
    );
    // The holder's name was taken at its connect(), before it had the bad one, or after.
    let process = &conflict.holders[0].processes[0];
    ensure!(process.pid == made.holder.pid(), "{:#}", event.raw);
    if process.comm != "made-client" {
        let told = (process.comm.as_str(), process.comm_bytes.as_deref());
        ensure!(told == ("caf\u{fffd}", Some("Y2Fm6Q==")), "{:#}", event.raw);
    }
    tracer.finish()?.check(true)
}

/// No control character of a traced program reaches the user's screen.
#[test]
fn text_escapes_what_a_name_could_do_to_a_terminal() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let printed = NamedTempFile::new()?;
    let stdout = Stdio::from(printed.reopen()?);
    let options = ["--format", "text", "--color", "never"];
    let mut tracer = Bare::start(&stage.netns, &options, stdout)?;
    let mut holder = Puppet::start(&stage.netns, "x")?;
    holder.rename(b"\x1b[31mred\x07")?;
    holder.listener("l", "tcp4", &[], &format!("0.0.0.0:{PORT}"))?;
    let mut binder = Puppet::start(&stage.netns, "x")?;
    binder.rename(b"\x1b[2Jgone\r")?;
    refused(&mut binder, "tcp4")?;
    let text = wait::until("the verdict", wait::PATIENCE, || {
        let text = read(printed.reopen()?)?;
        Ok(text.contains(&holder.pid().to_string()).then_some(text))
    })?;
    ensure!(tracer.end(Some(Signal::INT))?.success(), "{text}");
    let text = read(printed.reopen()?)? + &text;
    let control = text
        .chars()
        .find(|shown| shown.is_control() && *shown != '\n' && *shown != '\t');
    ensure!(control.is_none(), "{control:?} in:\n{text}");
    ensure!(text.contains("red") && text.contains("gone"), "{text}");
    Ok(())
}

fn read(mut file: File) -> Result<String> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}
