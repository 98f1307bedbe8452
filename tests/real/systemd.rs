//! systemd's services and socket units as holders, and the commands that end them. Where the machine's
//! first process is systemd (Debian's kernels in `cargo xtask vm`) it is that one, else one in a
//! container.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use portwatch_tests::contract::{Conflict, Process};
use portwatch_tests::manager::Manager;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::sockets::Transport;
use portwatch_tests::stage::PORT;
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait::PATIENCE;

use crate::scene::{Scene, wait_rows};

const NEEDS: [&str; 3] = [
    "/lib/systemd/systemd",
    "/usr/bin/python3",
    "/usr/bin/nsenter",
];

/// Who wants the port, and what it is told.
struct Wanting {
    tracer: Tracer,
    binder: Puppet,
    /// Incidents and attempts that were looked at.
    known: Vec<(String, u64)>,
}

impl Wanting {
    fn refused(&mut self) -> Result<Conflict> {
        let address = format!("0.0.0.0:{PORT}");
        let answer = self
            .binder
            .try_bind("b", "tcp4", &["reuseaddr"], &address)?;
        ensure!(answer.is_err(), "the kernel let it have the port");
        self.binder.tell("close b")?;
        let known = &self.known;
        let event = self.tracer.wait_for("conflict", PATIENCE, |event| {
            let conflict = event.conflict();
            conflict.is_some_and(|conflict| !known.contains(&attempt(conflict)))
        })?;
        let conflict = event.conflict().context("no conflict")?;
        ensure!(conflict.cause == "listener", "{conflict:#?}");
        self.known.push(attempt(conflict));
        Ok(conflict.clone())
    }

    /// The printed command stops these units, and that frees the port.
    fn frees_it(&mut self, conflict: &Conflict, units: &str) -> Result<()> {
        let command = advice(conflict, "socket-unit")?.context("no command")?;
        let due = format!("systemctl stop {units}");
        ensure!(command.ends_with(&due), "{command} instead of {due}");
        run(command)?;
        self.has_it(conflict)
    }

    /// The port is free now, and it is said why.
    fn has_it(&mut self, conflict: &Conflict) -> Result<()> {
        let address = format!("0.0.0.0:{PORT}");
        let answer = self
            .binder
            .try_bind("b", "tcp4", &["reuseaddr"], &address)?;
        ensure!(answer.is_ok(), "the port is not free: {answer:?}");
        self.binder.tell("close b")?;
        let event = self.tracer.wait_for("resolved", PATIENCE, |event| {
            let end = event.resolved();
            end.is_some_and(|end| end.incident == conflict.incident && end.how == "got-port")
        })?;
        ensure!(event.resolved().is_some_and(|end| end.freed_by.is_some()));
        Ok(())
    }
}

fn attempt(conflict: &Conflict) -> (String, u64) {
    (conflict.incident.clone(), conflict.attempt)
}

/// The only advice to end the holder.
fn advice<'a>(conflict: &'a Conflict, id: &str) -> Result<Option<&'a str>> {
    let found = conflict.advice.iter().find(|advice| advice.id == id);
    let found = found.with_context(|| format!("no `{id}`: {conflict:#?}"))?;
    Ok(found.command.as_deref())
}

/// A command as it was printed.
fn run(command: &str) -> Result<String> {
    let output = Command::new("sh").args(["-c", command]).output()?;
    ensure!(output.status.success(), "{command}: {output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

fn having<'a>(conflict: &'a Conflict, comm: &str) -> Result<&'a Process> {
    let mut processes = conflict.holders.iter().flat_map(|holder| &holder.processes);
    processes
        .find(|process| process.comm == comm && process.has_socket == Some(true))
        .with_context(|| format!("no {comm}: {conflict:#?}"))
}

/// Runs the command that is due where systemd is the machine's, and does itself what none can be
/// printed for: a container's units are no business of the machine's systemctl.
fn end(manager: &Manager, command: Option<&str>, arguments: &[&str]) -> Result<()> {
    if manager.container().is_some() {
        ensure!(command.is_none(), "{command:?} would not act there");
        return manager.systemctl(arguments).map(drop);
    }
    let due = format!("systemctl {}", arguments.join(" "));
    ensure!(command == Some(&due), "{command:?} instead of {due}");
    run(&due).map(drop)
}

#[test]
fn units_are_named_and_ended() -> Result<()> {
    let Some(scene) = Scene::set(&NEEDS)? else {
        return Ok(());
    };
    let mut manager = Manager::of(scene.netns())?;
    let listen = format!("/usr/bin/python3 -m http.server --bind 0.0.0.0 {PORT}");
    manager.unit(
        "pw-api.service",
        "Service",
        &format!("ExecStart={listen}\n"),
    )?;
    manager.unit(
        "pw-web.socket",
        "Socket",
        &format!("ListenStream=0.0.0.0:{PORT}\n"),
    )?;
    manager.unit(
        "pw-web.service",
        "Service",
        // Started only once it is no copy of systemd any more.
        "Type=exec\nExecStart=/bin/sleep infinity\n",
    )?;
    let mut wanting = Wanting {
        tracer: Tracer::start(scene.netns(), &[])?,
        binder: Puppet::start(scene.netns(), "made-binder")?,
        known: Vec::new(),
    };

    manager.systemctl(&["start", "pw-api.service"])?;
    wait_rows(scene.netns(), Transport::Tcp, "listen")?;
    let conflict = wanting.refused()?;
    let process = having(&conflict, "python3")?;
    ensure!(
        process.systemd_unit.as_deref() == Some("pw-api.service"),
        "{process:?}"
    );
    let command = advice(&conflict, "stop-holder")?;
    end(&manager, command, &["stop", "pw-api.service"])?;
    wanting.has_it(&conflict)?;

    // The process that made it was in the unit's own cgroup.
    manager.systemctl(&["start", "pw-web.socket"])?;
    let conflict = wanting.refused()?;
    wanting.frees_it(&conflict, "pw-web.socket")?;
    wanting.tracer.finish()?.check(true)?;

    // Who comes late cannot know that.
    manager.systemctl(&["start", "pw-web.socket"])?;
    wanting.tracer = Tracer::start(scene.netns(), &[])?;
    wanting.known.clear();
    let conflict = wanting.refused()?;
    let process = having(&conflict, "systemd")?;
    ensure!(
        process.pid == manager.container().unwrap_or(1),
        "{process:?}"
    );
    let command = advice(&conflict, "socket-unit")?;
    let command = command.with_context(|| format!("no command: {conflict:#?}"))?;
    let listed = run(command)?;
    let line = listed.lines().find(|line| line.contains("pw-web.socket"));
    ensure!(
        line.is_some_and(|line| line.contains(&format!("0.0.0.0:{PORT}"))),
        "{command}: {listed}"
    );

    // Both have it now: whoever stops the service alone sees it started again.
    manager.systemctl(&["start", "pw-web.service"])?;
    let conflict = wanting.refused()?;
    let process = having(&conflict, "sleep")?;
    ensure!(
        process.socket_unit.as_deref() == Some("pw-web.socket"),
        "{process:?}"
    );
    wanting.frees_it(&conflict, "pw-web.socket pw-web.service")?;
    wanting.tracer.finish()?.check(true)
}
