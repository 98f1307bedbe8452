//! The text that a tired engineer reads.

use std::fs;
use std::process::Stdio;

use anyhow::{Result, ensure};
use portwatch_tests::make;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::Bare;
use portwatch_tests::wait;
use rustix::process::Signal;
use tempfile::NamedTempFile;

use crate::play::refused;

/// Runs the tracer in text while `scene` plays; the text is complete once it has what the scene
/// returned.
fn text(scene: impl FnOnce(&Stage) -> Result<(String, Vec<Puppet>)>) -> Result<Option<String>> {
    let Some(stage) = Stage::set()? else {
        return Ok(None);
    };
    let printed = NamedTempFile::new()?;
    let stdout = Stdio::from(printed.reopen()?);
    let options = ["--format", "text", "--color", "never"];
    let mut tracer = Bare::start(&stage.netns, &options, stdout)?;
    let (last, _puppets) = scene(&stage)?;
    wait::file("the verdict", wait::PATIENCE, printed.path(), || {
        Ok(fs::read_to_string(printed.path())?
            .contains(&last)
            .then_some(()))
    })?;
    let status = tracer.end(Some(Signal::INT))?;
    let text = fs::read_to_string(printed.path())?;
    ensure!(status.success(), "{status}: {text}");
    Ok(Some(text))
}

#[test]
fn it_says_who_has_the_port_and_what_to_do() -> Result<()> {
    let mut binder_pid = 0;
    let mut holder_pid = 0;
    let told = text(|stage| {
        let made = make::established(&stage.netns)?;
        let mut binder = Puppet::start(&stage.netns, "made-binder")?;
        refused(&mut binder, "tcp4")?;
        (binder_pid, holder_pid) = (binder.pid(), made.holder.pid());
        let mut puppets = made.others;
        puppets.extend([made.holder, binder]);
        Ok((holder_pid.to_string(), puppets))
    })?;
    let Some(told) = told else {
        return Ok(());
    };
    for needle in [
        "60001",
        "made-binder",
        &binder_pid.to_string(),
        "made-client",
        &holder_pid.to_string(),
        "10.10.10.2:7000",
        "ip_local_reserved_ports",
    ] {
        ensure!(told.contains(needle), "`{needle}` is missing:\n{told}");
    }
    Ok(())
}

/// No control character of a traced program reaches the user's screen.
#[test]
fn it_escapes_what_a_name_could_do_to_a_terminal() -> Result<()> {
    let told = text(|stage| {
        let mut holder = Puppet::start(&stage.netns, "x")?;
        holder.rename(b"\x1b[31mred\x07")?;
        holder.listener("l", "tcp4", &[], &format!("0.0.0.0:{PORT}"))?;
        let mut binder = Puppet::start(&stage.netns, "x")?;
        binder.rename(b"\x1b[2Jgone\r")?;
        refused(&mut binder, "tcp4")?;
        Ok((holder.pid().to_string(), vec![holder, binder]))
    })?;
    let Some(told) = told else {
        return Ok(());
    };
    let control = told
        .chars()
        .find(|shown| shown.is_control() && *shown != '\n' && *shown != '\t');
    ensure!(control.is_none(), "{control:?} in:\n{told}");
    ensure!(told.contains("red") && told.contains("gone"), "{told}");
    Ok(())
}
