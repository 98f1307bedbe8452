//! Servers that are several processes: the one that opened the socket is gone, or has it with others.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portwatch_tests::contract::Conflict;
use portwatch_tests::program::Program;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::sockets::{Transport, processes_of};
use portwatch_tests::stage::PORT;
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait;

use crate::python;
use crate::scene::{PATIENCE, Scene, wait_rows};

/// A process that nothing but its number leads to.
struct Daemon(u32);

impl Drop for Daemon {
    fn drop(&mut self) {
        let pid = i32::try_from(self.0).map(Pid::from_raw);
        if let Err(error) = pid.map(|pid| kill(pid, Signal::SIGKILL)) {
            eprintln!("the daemon with pid {} may be left: {error}", self.0);
        }
    }
}

/// What is told to somebody who wants the port, by one tracer that saw the server start and one that
/// came later.
fn told(scene: &Scene, early: Tracer) -> Result<[Conflict; 2]> {
    let late = Tracer::start(scene.netns(), &[])?;
    let mut binder = Puppet::start(scene.netns(), "made-binder")?;
    let answer = binder.try_bind("b", "tcp4", &["reuseaddr"], &format!("0.0.0.0:{PORT}"))?;
    ensure!(answer.is_err(), "the kernel let it have the port");
    let hear = |mut tracer: Tracer| {
        let event = tracer.wait_conflict(PORT)?;
        tracer.finish()?.check(true)?;
        event.conflict().cloned().context("no conflict")
    };
    Ok([hear(early)?, hear(late)?])
}

/// Every process that has the socket, no other, and the cause that is neither's fault.
fn is_listener_of(conflict: &Conflict, pids: &BTreeSet<u32>, comm: &str) -> Result<()> {
    let processes = conflict.holders.iter().flat_map(|holder| &holder.processes);
    let having = processes
        .clone()
        .filter(|process| process.has_socket == Some(true));
    let named: BTreeSet<u32> = having.map(|process| process.pid).collect();
    ensure!(
        conflict.cause == "listener"
            && conflict.certainty == "exact"
            && conflict.holders.len() == 1
            && &named == pids
            && processes
                .clone()
                .next()
                .is_some_and(|process| process.comm == comm),
        "not the listener of {pids:?}: {conflict:#?}"
    );
    let kills = |command: &String| command.contains("kill");
    ensure!(
        !conflict
            .advice
            .iter()
            .any(|advice| advice.command.as_ref().is_some_and(kills)),
        "a server is to be killed: {:#?}",
        conflict.advice
    );
    Ok(())
}

/// It binds, forks twice and lets its parents end, as daemons do.
#[test]
fn dnsmasq_in_the_background() -> Result<()> {
    let Some(scene) = Scene::set(&["/usr/sbin/dnsmasq"])? else {
        return Ok(());
    };
    let early = Tracer::start(scene.netns(), &[])?;
    let file = scene.path("dnsmasq.pid")?;
    let mut command = scene.command("/usr/sbin/dnsmasq");
    command.args([
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
    ]);
    command.args([format!("--port={PORT}"), format!("--pid-file={file}")]);
    let mut program = Program::start(command)?;
    let status = program.wait_exit(PATIENCE)?;
    ensure!(status.success(), "{status}: {}", program.output());
    let daemon = Daemon(number(&file)?);
    for conflict in told(&scene, early)? {
        is_listener_of(&conflict, &BTreeSet::from([daemon.0]), "dnsmasq")?;
    }
    Ok(())
}

/// Another name than that of the process which bound the port: the program is the same all the same.
#[test]
fn a_daemon_under_a_name_of_its_own() -> Result<()> {
    const DAEMON: &str = "\
import ctypes, os, signal, socket, sys
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(('0.0.0.0', int(sys.argv[1])))
listener.listen()
if os.fork() == 0:
    os.setsid()
    ctypes.CDLL(None).prctl(15, b'renamed', 0, 0, 0)  # PR_SET_NAME
    with open(sys.argv[2] + '.new', 'w') as file:
        file.write(str(os.getpid()))
    os.rename(sys.argv[2] + '.new', sys.argv[2])
    signal.pause()
";
    let Some(scene) = Scene::set(&["/usr/bin/python3"])? else {
        return Ok(());
    };
    let early = Tracer::start(scene.netns(), &[])?;
    let file = scene.path("daemon.pid")?;
    let mut command = scene.command("/usr/bin/python3");
    command.args(["-c", DAEMON, &PORT.to_string(), &file]);
    let mut program = Program::start(command)?;
    let status = program.wait_exit(PATIENCE)?;
    ensure!(status.success(), "{status}: {}", program.output());
    let daemon = Daemon(number(&file)?);
    for conflict in told(&scene, early)? {
        is_listener_of(&conflict, &BTreeSet::from([daemon.0]), "renamed")?;
    }
    Ok(())
}

/// The number that a daemon writes.
fn number(file: &str) -> Result<u32> {
    wait::file(
        "the number of the daemon",
        PATIENCE,
        Path::new(file),
        || {
            let text = fs::read_to_string(file).ok();
            Ok(text.and_then(|text| text.trim().parse().ok()))
        },
    )
}

/// The first process binds and has the socket together with its workers, which listen.
#[test]
fn uvicorn_with_workers() -> Result<()> {
    let Some(scene) = python::set("uvicorn")? else {
        return Ok(());
    };
    let early = Tracer::start(scene.netns(), &[])?;
    scene.write("app.py", "async def app(scope, receive, send):\n    pass\n")?;
    let mut command = scene.command(&python::tool("uvicorn")?);
    command.args(["app:app", "--host", "0.0.0.0", "--workers", "2"]);
    command.args(["--port", &PORT.to_string()]);
    let mut server = Program::start(command)?;
    server.wait_until("two workers", PATIENCE, |server| {
        Ok(server
            .output()
            .matches("Application startup complete")
            .count()
            == 2)
    })?;
    let rows = wait_rows(scene.netns(), Transport::Tcp, "listen")?;
    let first = rows.first().context("nobody listens")?;
    let pids: BTreeSet<u32> = processes_of(first.inode)?.into_iter().collect();
    ensure!(pids.len() == 3 && pids.contains(&server.pid()), "{pids:?}");
    for conflict in told(&scene, early)? {
        is_listener_of(&conflict, &pids, "uvicorn")?;
    }
    Ok(())
}
