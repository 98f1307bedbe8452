//! The command line's contract: statuses, limits, filters, outputs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portwatch_tests::event::{Body, Event};
use portwatch_tests::make;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::trace::Trace;
use portwatch_tests::tracer::{Bare, Tracer, binary, output};
use portwatch_tests::wait::{self, PATIENCE};
use rustix::process::Signal;

use crate::play::refused;

const END: Duration = Duration::from_secs(15);

/// A conflict over the port of the founding case and one over the next port, by other processes.
struct Two {
    _holders: [Puppet; 2],
    binders: [Puppet; 2],
}

fn two_conflicts(stage: &Stage) -> Result<Two> {
    let make = |port: u16, name: &str| -> Result<(Puppet, Puppet)> {
        let address = format!("0.0.0.0:{port}");
        let mut holder = Puppet::start(&stage.netns, &format!("holder-{name}"))?;
        holder.listener("l", "tcp4", &[], &address)?;
        let mut binder = Puppet::start(&stage.netns, &format!("binder-{name}"))?;
        let answer = binder.try_bind("b", "tcp4", &[], &address)?;
        ensure!(answer.is_err(), "two listeners on one port");
        Ok((holder, binder))
    };
    let (first_holder, first_binder) = make(PORT, "one")?;
    let (second_holder, second_binder) = make(PORT + 1, "two")?;
    Ok(Two {
        _holders: [first_holder, second_holder],
        binders: [first_binder, second_binder],
    })
}

/// Two conflicts under a tracer with `options`; ended by SIGINT after the last wanted one.
fn filtered(options: &[&str], wanted: &[u16]) -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, options)?;
    let _two = two_conflicts(&stage)?;
    for port in wanted {
        tracer.wait_conflict(*port)?;
    }
    let trace = tracer.finish()?;
    trace.check(true)?;
    let told: Vec<Option<u16>> = trace
        .conflicts()
        .iter()
        .map(|told| told.wanted.port)
        .collect();
    let wanted: Vec<Option<u16>> = wanted.iter().copied().map(Some).collect();
    ensure!(told == wanted, "{options:?}: {told:?}");
    Ok(())
}

#[test]
fn port_filter() -> Result<()> {
    filtered(&["--port", "60002,7000-7999"], &[PORT + 1])
}

#[test]
fn port_range_filter() -> Result<()> {
    filtered(&["--port", "60000-60005"], &[PORT, PORT + 1])
}

#[test]
fn transport_filter() -> Result<()> {
    filtered(&["--transport", "udp"], &[])
}

#[test]
fn comm_filter_matches_requester_and_holder() -> Result<()> {
    filtered(&["--comm", "binder-two"], &[PORT + 1])?;
    filtered(&["--comm", "holder-two"], &[PORT + 1])
}

#[test]
fn max_conflicts_ends_the_run() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &["--max-conflicts", "2"])?;
    let _two = two_conflicts(&stage)?;
    let trace = tracer.wait_end(END)?;
    trace.check(true)?;
    ensure!(trace.incidents().len() == 2, "{:?}", trace.incidents());
    Ok(())
}

/// Attempts of one incident do not count.
#[test]
fn max_conflicts_counts_incidents() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &["--max-conflicts", "2"])?;
    let mut two = two_conflicts_of_one(&stage)?;
    let _second = two_conflicts_of_next(&stage)?;
    let trace = tracer.wait_end(END)?;
    trace.check(true)?;
    ensure!(trace.incidents().len() == 2, "{:?}", trace.incidents());
    ensure!(trace.conflicts().len() == 4, "{:#?}", trace.conflicts());
    two.1.exit()
}

/// Three attempts of one process.
fn two_conflicts_of_one(stage: &Stage) -> Result<(Puppet, Puppet)> {
    let mut holder = Puppet::start(&stage.netns, "made-holder")?;
    holder.listener("l", "tcp4", &[], &format!("0.0.0.0:{PORT}"))?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    for _ in 0..3 {
        refused(&mut binder, "tcp4")?;
        binder.tell("close b")?;
    }
    Ok((holder, binder))
}

/// One attempt of another.
fn two_conflicts_of_next(stage: &Stage) -> Result<Puppet> {
    let mut binder = Puppet::start(&stage.netns, "other-binder")?;
    refused(&mut binder, "tcp4")?;
    Ok(binder)
}

#[test]
fn duration_ends_the_run() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &["--duration", "1s"])?;
    let trace = tracer.wait_end(END)?;
    trace.check(true)
}

fn fail_on_conflict(conflict: bool) -> Result<Option<Trace>> {
    let Some(stage) = Stage::set()? else {
        return Ok(None);
    };
    let mut tracer = Tracer::start(&stage.netns, &["--fail-on-conflict"])?;
    if conflict {
        let _two = two_conflicts(&stage)?;
        tracer.wait_conflict(PORT + 1)?;
    }
    tracer.finish().map(Some)
}

#[test]
fn fail_on_conflict_is_status_1() -> Result<()> {
    if let Some(trace) = fail_on_conflict(true)? {
        trace.check(false)?;
        ensure!(trace.status.code() == Some(1), "{}", trace.status);
    }
    Ok(())
}

#[test]
fn fail_on_conflict_without_one_is_status_0() -> Result<()> {
    match fail_on_conflict(false)? {
        Some(trace) => trace.check(true),
        None => Ok(()),
    }
}

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
    let folder = tempfile::tempdir_in("/tmp")?;
    let copy = folder.path().join("portwatch");
    fs::copy(binary(), &copy)?;
    Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(folder.path())
        .status()?;
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
    wait::until("the first conflict", PATIENCE, || {
        Ok(fs::read_to_string(&file)?
            .contains("\"conflict\"")
            .then_some(()))
    })?;
    fs::rename(&file, &moved)?;
    rustix::process::kill_process(rustix::process::Pid::from_child(&tracer.child), Signal::HUP)?;
    wait::until("the new file", PATIENCE, || Ok(file.exists().then_some(())))?;
    binder.tell("close b")?;
    refused(&mut binder, "tcp4")?;
    wait::until("the second conflict", PATIENCE, || {
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

/// `cmdline none` leaves it out; `--redact` hides what it names.
#[test]
fn cmdline_and_redaction() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let options = ["--cmdline", "none", "--redact", "uid"];
    let mut tracer = Tracer::start(&stage.netns, &options)?;
    let two = two_conflicts(&stage)?;
    let event = tracer.wait_conflict(PORT)?;
    tracer.finish()?.check(true)?;
    let conflict = event.conflict().context("no conflict")?;
    ensure!(
        conflict.requester.pid == two.binders[0].pid(),
        "{:#}",
        event.raw
    );
    let holder = &conflict.holders[0];
    ensure!(
        conflict.requester.cmdline.is_none()
            && holder
                .processes
                .iter()
                .all(|process| process.cmdline.is_none())
            && conflict.requester.uid.is_none()
            && holder.uid.is_none(),
        "{:#}",
        event.raw
    );
    Ok(())
}
