//! Who is named: the process and never its thread, with strings that are safe to show.

use std::fs::{self, File};
use std::io::Read;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use portwatch_tests::event::Event;
use portwatch_tests::make;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::{Bare, Tracer};
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
    play::conflict(&stage, tracer, &mut made, "tcp4", &right).map(drop)
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

/// The pid of the dead holder belongs to somebody else by now, who must not be blamed.
#[test]
fn a_pid_used_again_is_not_the_holder() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &[])?;
    let mut made = make::time_wait_of_the_dead(&stage.netns)?;
    let pid = made.holder.pid();
    let mut stranger = None;
    // Others start processes too: the number may be snatched away, so it is tried again.
    for _ in 0..20 {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string())?;
        let puppet = Puppet::start(&stage.netns, "stranger")?;
        if puppet.pid() == pid {
            stranger = Some(puppet);
            break;
        }
    }
    ensure!(stranger.is_some(), "pid {pid} could not be had again");
    let right = crate::causes::TIME_WAIT.right;
    play::conflict(&stage, tracer, &mut made, "tcp4", &right).map(drop)
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

/// A command line of a megabyte is cut, and marked so.
#[test]
fn a_huge_command_line_is_cut() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let _made = make::listener(&stage.netns)?;
    let arguments = vec!["x".repeat(100_000); 10];
    let mut binder = Puppet::start_with(&stage.netns, "made-binder", &arguments)?;
    refused(&mut binder, "tcp4")?;
    let event = tracer.wait_conflict(PORT)?;
    tracer.finish()?.check(true)?;
    let requester = &event.conflict().context("no conflict")?.requester;
    let told: usize = requester
        .cmdline
        .iter()
        .flatten()
        .map(|word| word.len() + 1)
        .sum();
    ensure!(
        requester.cmdline_truncated == Some(true) && (1000..=4100).contains(&told),
        "{told} bytes: {:#}",
        event.raw
    );
    Ok(())
}

/// In another pid namespace the kernel's process ids are not looked up: a namesake's command line
/// would be told. That the holder was not found there is no news of it either.
#[test]
fn in_another_pid_namespace_no_stranger_is_described() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let printed = NamedTempFile::new()?;
    let wrapper = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let options = ["--format", "json", "--max-conflicts", "1"];
    let stdout = Stdio::from(printed.reopen()?);
    let mut tracer = Bare::start_under(&wrapper, &stage.netns, &options, stdout)?;
    let made = make::established(&stage.netns)?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    refused(&mut binder, "tcp4")?;
    ensure!(tracer.end(None)?.success(), "it failed");
    let text = read(printed.reopen()?)?;
    let events: Vec<Event> = text.lines().map(Event::parse).collect::<Result<_>>()?;
    let conflict = events
        .iter()
        .find_map(Event::conflict)
        .context("no conflict")?;
    let requester = &conflict.requester;
    ensure!(
        requester.pid == binder.pid()
            && requester.comm == "made-binder"
            && requester.exe.is_none()
            && requester.cmdline.is_none(),
        "{text}"
    );
    let process = conflict.holders[0].processes.first();
    let process = process.context("nobody is named")?;
    ensure!(
        process.pid == made.holder.pid()
            && process.comm == "made-client"
            && (process.has_socket, process.alive) == (Some(false), None)
            && process.exe.is_none(),
        "{text}"
    );
    ensure!(
        conflict.certainty == "remembered"
            && !conflict.message.contains("no longer")
            && conflict
                .advice
                .iter()
                .all(|a| !a.text.contains("try again")),
        "{text}"
    );
    Ok(())
}

fn read(mut file: File) -> Result<String> {
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}
