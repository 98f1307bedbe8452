//! `portwatch run -- CMD`: watch while a command runs, and pass its status on.

use super::args::{CommonArgs, RunArgs};
use super::exit::Status;
use super::ready::Ready;
use super::runtime;
use super::watch::watch;
use anyhow::Result;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{ErrorKind, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

/// The command could not be started, with the status that shells have for it.
#[derive(Debug, thiserror::Error)]
#[error("could not start `{command}`")]
struct NotStarted {
    command: String,
    status: u8,
    #[source]
    source: std::io::Error,
}

/// Starts the command once every hook is attached; ends when it does.
pub(super) fn run(args: &RunArgs, common: &CommonArgs) -> Result<Status> {
    let mut ready = Ready::take(args.watch.limits.ready_fd)?;
    let limits = CallersLimits::now();
    runtime()?.block_on(async {
        let (tell, status) = oneshot::channel();
        let (ended, over) = oneshot::channel();
        let start = || {
            let child = start(args, &limits)?;
            tokio::task::spawn(attend(child, tell, ended));
            Ok(Some(async {
                // Told by the task, or it has died with the runtime.
                let _ = over.await;
            }))
        };
        let watched = watch(&args.watch, common, &mut ready, start).await;
        let watched = match watched {
            Ok(watched) => watched,
            Err(error) => match error.downcast_ref::<NotStarted>() {
                Some(NotStarted { status, .. }) => {
                    anstream::eprintln!("portwatch: {error:#}");
                    return Ok(Status::Command(*status));
                }
                None => return Err(error),
            },
        };
        // The watch may have ended by a limit of its own: the command goes on.
        let status = status.await??;
        let conflicts = Status::of_run(watched.incidents, args.watch.limits.fail_on_conflict);
        Ok(match of_command(status) {
            0 => conflicts,
            status => Status::Command(status),
        })
    })
}

/// The status of a shell: its own, or 128 and the signal.
fn of_command(status: ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(125)
}

fn start(args: &RunArgs, limits: &CallersLimits) -> Result<Child> {
    let (program, arguments) = match args.command.split_first() {
        Some((program, arguments)) => (program.as_os_str(), arguments),
        None => (std::ffi::OsStr::new(""), &[][..]),
    };
    let ours = CallersLimits::now();
    limits.set();
    let child = Command::new(program).args(arguments).spawn();
    ours.set();
    Ok(child.map_err(|source| NotStarted {
        command: program.to_string_lossy().into_owned(),
        status: if source.kind() == ErrorKind::NotFound {
            127
        } else {
            126
        },
        source,
    })?)
}

/// Waits for the command and passes signals on to it: those that a terminal gives to us it gives to
/// the command as well, in the same process group.
async fn attend(
    mut child: Child,
    tell: oneshot::Sender<std::io::Result<ExitStatus>>,
    ended: oneshot::Sender<()>,
) {
    let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
    let terminal = std::io::stderr().is_terminal();
    let pass = |kind: Signal| {
        if let Some(pid) = pid
            && !(terminal && kind == Signal::SIGINT)
        {
            // It may have ended in between.
            let _ = kill(Pid::from_raw(pid), kind);
        }
    };
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
        signal(SignalKind::hangup()),
    );
    let status = match signals {
        (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) => loop {
            tokio::select! {
                status = child.wait() => break status,
                _ = interrupt.recv() => pass(Signal::SIGINT),
                _ = terminate.recv() => pass(Signal::SIGTERM),
                _ = hangup.recv() => pass(Signal::SIGHUP),
            }
        },
        _ => child.wait().await,
    };
    let _ = tell.send(status);
    let _ = ended.send(());
}

/// Limits of whoever called us: loading BPF raises ours, and the command gets them as they were.
struct CallersLimits([(Resource, Option<(rlim_t, rlim_t)>); 2]);

impl CallersLimits {
    fn now() -> Self {
        let kinds = [Resource::RLIMIT_NOFILE, Resource::RLIMIT_MEMLOCK];
        Self(kinds.map(|kind| (kind, getrlimit(kind).ok())))
    }

    fn set(&self) {
        for (kind, limit) in self.0 {
            if let Some((soft, hard)) = limit
                && let Err(errno) = setrlimit(kind, soft, hard)
            {
                log::debug!("{kind:?} cannot be set to {soft}: {errno}");
            }
        }
    }
}
