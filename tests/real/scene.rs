//! The scene of every test here: a program wants a port that another one has, and says so itself
//! before the tracer is asked.

use std::fs;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use portwatch_tests::event::Event;
use portwatch_tests::expect::Expected;
use portwatch_tests::make::{self, Made};
use portwatch_tests::netns::NetNs;
use portwatch_tests::program::Program;
use portwatch_tests::programs;
use portwatch_tests::sockets::{Row, Transport, processes_of};
use portwatch_tests::stage::{PORT, Stage, skip_without};
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait;
use tempfile::TempDir;

/// How long a program may take to fail: a JVM or Jupyter on two busy cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A stage and a folder for files, removed with it.
pub(crate) struct Scene {
    pub(crate) stage: Stage,
    folder: TempDir,
}

impl Scene {
    /// `None`, said loudly, when one of the files is missing or no tracer can run.
    pub(crate) fn set(needs: &[&str]) -> Result<Option<Self>> {
        Self::on(Stage::set()?, needs)
    }

    /// The same on a stage without addresses.
    pub(crate) fn bare(needs: &[&str]) -> Result<Option<Self>> {
        Self::on(Stage::bare()?, needs)
    }

    fn on(stage: Option<Stage>, needs: &[&str]) -> Result<Option<Self>> {
        let Some(stage) = stage else {
            return Ok(None);
        };
        for file in needs {
            if programs::find(file).is_none() {
                skip_without(file)?;
                return Ok(None);
            }
        }
        let folder = tempfile::tempdir()?;
        // Some programs change to a user of their own.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Some(Self { stage, folder }))
    }

    pub(crate) fn netns(&self) -> &NetNs {
        &self.stage.netns
    }

    /// A path in the folder, as text for a command line.
    pub(crate) fn path(&self, name: &str) -> Result<String> {
        let path = self.folder.path().join(name);
        Ok(path
            .to_str()
            .context("a path that is not UTF-8")?
            .to_owned())
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        fs::write(self.path(name)?, text).with_context(|| format!("could not write `{name}`"))
    }

    /// A command in the namespace whose home is the folder.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.command_in(self.netns(), program)
    }

    /// A command in another namespace.
    pub(crate) fn command_in(&self, netns: &NetNs, program: &str) -> Command {
        let mut command = netns.command(program);
        command
            .current_dir(self.folder.path())
            .env("HOME", self.folder.path());
        command
    }

    /// A command of another user; it dies with the test like all others.
    pub(crate) fn command_as(&self, user: &str, program: &str) -> Command {
        let mut command = self.command("setpriv");
        command
            .arg(format!("--reuid={user}"))
            .arg(format!("--regid={user}"))
            .args(["--clear-groups", "--pdeathsig", "KILL", program]);
        command
    }
}

/// The newest installed file of a pattern, as text.
pub(crate) fn file(pattern: &str) -> Result<String> {
    let path: PathBuf = programs::find(pattern).with_context(|| format!("no `{pattern}`"))?;
    Ok(path
        .to_str()
        .context("a path that is not UTF-8")?
        .to_owned())
}

/// The program whose bind fails.
pub(crate) struct Binder {
    pub(crate) command: Command,
    /// The name of the process that binds.
    pub(crate) comm: &'static str,
    /// What the program itself prints about it.
    pub(crate) complaint: &'static str,
    pub(crate) port: u16,
    /// A child of the started process binds.
    pub(crate) by_child: bool,
    /// How many times it tries.
    pub(crate) attempts: RangeInclusive<usize>,
    /// How its incident ends.
    pub(crate) how: &'static str,
}

impl Binder {
    /// A program that binds 60001 itself, once, and exits.
    pub(crate) fn new(command: Command, comm: &'static str, complaint: &'static str) -> Self {
        Self {
            command,
            comm,
            complaint,
            port: PORT,
            by_child: false,
            attempts: 1..=1,
            how: "exited",
        }
    }
}

/// The program that has the port, and how.
pub(crate) struct Holding {
    pub(crate) pid: u32,
    pub(crate) comm: String,
    pub(crate) peers: Vec<SocketAddr>,
    pub(crate) cause: &'static str,
    pub(crate) state: &'static str,
    pub(crate) origin: Option<&'static str>,
    pub(crate) has_socket: bool,
}

impl Holding {
    /// A made outbound connection.
    pub(crate) fn made(made: &Made) -> Self {
        Self {
            pid: made.holder.pid(),
            comm: made.holder.comm().to_owned(),
            peers: made.peer.into_iter().collect(),
            cause: "outbound-connection",
            state: "established",
            origin: Some("ephemeral-connect"),
            has_socket: made.alive,
        }
    }

    /// The one process that has the rows' sockets, as /proc/PID/fd tells.
    pub(crate) fn found(rows: &[Row]) -> Result<Self> {
        let first = rows.first().context("no socket has the port")?;
        let processes = processes_of(first.inode)?;
        ensure!(processes.len() == 1, "{rows:?} belongs to {processes:?}");
        let comm = fs::read_to_string(format!("/proc/{}/comm", processes[0]))?;
        Ok(Self {
            pid: processes[0],
            comm: comm.trim_end().to_owned(),
            peers: rows.iter().map(|row| row.peer).collect(),
            cause: "outbound-connection",
            state: first.state,
            origin: Some("ephemeral-connect"),
            has_socket: true,
        })
    }

    /// What a tracer that came later must still know.
    pub(crate) fn late(self) -> Self {
        Self {
            origin: None,
            ..self
        }
    }
}

/// Waits until sockets have the port of the founding case in `state`.
pub(crate) fn wait_rows(netns: &NetNs, transport: Transport, state: &str) -> Result<Vec<Row>> {
    wait::until(&format!("port {PORT} in {state}"), PATIENCE, || {
        let rows = netns.sockets()?.into_iter();
        let rows: Vec<Row> = rows
            .filter(|row| row.transport == transport && row.local.port() == PORT)
            .filter(|row| row.state == state)
            .collect();
        Ok((!rows.is_empty()).then_some(rows))
    })
}

/// Runs the binder against the holder under a tracer that runs already, and checks all that must
/// follow: the program's own complaint, the verdict, one incident with its attempts, its end.
pub(crate) fn verdict(mut tracer: Tracer, mut binder: Binder, holding: &Holding) -> Result<()> {
    let mut program = Program::start(&mut binder.command)?;
    program.wait_output(binder.complaint, PATIENCE)?;
    let event = tracer.wait_conflict(binder.port)?;
    check(&event, &program, &binder, holding)
        .with_context(|| format!("the program said:\n{}", program.output()))?;
    if binder.how == "exited" {
        program.wait_exit(PATIENCE)?;
    }
    let end = tracer.wait_for("resolved", wait::PATIENCE, |event| {
        event.resolved().is_some()
    })?;
    program.kill();
    let trace = tracer.finish()?;
    trace.check(true)?;
    let conflicts = trace.conflicts();
    ensure!(
        trace.incidents().len() == 1 && binder.attempts.contains(&conflicts.len()),
        "{} attempts of {:?}, not {:?} of one: {conflicts:#?}",
        conflicts.len(),
        trace.incidents(),
        binder.attempts
    );
    ensure!(
        end.resolved().is_some_and(|end| end.how == binder.how
            && usize::try_from(end.attempts).is_ok_and(|count| count == conflicts.len())),
        "{:#}",
        end.raw
    );
    Ok(())
}

fn check(event: &Event, program: &Program, binder: &Binder, holding: &Holding) -> Result<()> {
    let conflict = event.conflict().context("no conflict")?;
    let requester = &conflict.requester;
    let pid = if binder.by_child {
        ensure!(
            requester.ppid == Some(program.pid()),
            "not a child of {}: {requester:#?}",
            program.pid()
        );
        requester.pid
    } else {
        program.pid()
    };
    Expected {
        port: binder.port,
        causes: &[holding.cause],
        requester: Some((pid, binder.comm)),
        holder: Some((holding.pid, &holding.comm)),
        has_socket: Some(holding.has_socket),
        states: &[holding.state],
        origin: holding.origin,
        peers: &holding.peers,
        ..Expected::default()
    }
    .check(event)
}

/// The binder against a made outbound connection on its port.
pub(crate) fn against_made(scene: &Scene, binder: Binder) -> Result<()> {
    let tracer = Tracer::start(scene.netns(), &[])?;
    let made = make::established_on(scene.netns(), binder.port)?;
    verdict(tracer, binder, &Holding::made(&made))
}
