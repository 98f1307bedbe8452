//! `portwatch watch` under test: started, waited for, read, ended.

use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader, PipeReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::NamedTempFile;

use crate::event::Event;
use crate::netns::NetNs;
use crate::trace::{Trace, list};
use crate::wait;

/// How long the hooks and the snapshot may take on a busy machine.
const START: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(15);

/// The binary under test: `$PORTWATCH_BIN`, else the workspace's release build.
#[must_use]
pub fn binary() -> PathBuf {
    env::var_os("PORTWATCH_BIN").map_or_else(
        || {
            PathBuf::from(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/../target/release/portwatch"
            ))
        },
        PathBuf::from,
    )
}

/// A running tracer that sees one network namespace.
#[derive(Debug)]
pub struct Tracer {
    child: Child,
    lines: Receiver<Result<Event>>,
    reader: Option<JoinHandle<()>>,
    seen: Vec<Event>,
    talk: NamedTempFile,
}

impl Tracer {
    /// Starts it for `netns` with more options, and waits until it is ready.
    pub fn start(netns: &NetNs, options: &[&str]) -> Result<Self> {
        let talk = NamedTempFile::new()?;
        let options: Vec<&str> = ["--format", "json"]
            .iter()
            .chain(options)
            .copied()
            .collect();
        let (mut child, ready) =
            spawn(&[], netns, &options, Stdio::piped(), talk.reopen()?.into())?;
        let stdout = child.stdout.take().context("no stdout")?;
        let (sender, lines) = mpsc::channel();
        let reader = thread::spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let event = line.map_err(anyhow::Error::from).and_then(|line| {
                    Event::parse(&line).with_context(|| format!("in the line `{line}`"))
                });
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        let tracer = Self {
            child,
            lines,
            reader: Some(reader),
            seen: Vec::new(),
            talk,
        };
        wait_ready(ready).with_context(|| format!("it said:\n{}", tracer.talk()))?;
        Ok(tracer)
    }

    /// The tracer's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its stderr so far.
    #[must_use]
    pub fn talk(&self) -> String {
        let mut text = String::new();
        if let Ok(mut file) = self.talk.reopen() {
            let _ = file.read_to_string(&mut text);
        }
        text
    }

    /// Waits for an event; those that came before it count too.
    pub fn wait_for(
        &mut self,
        what: &str,
        timeout: Duration,
        wanted: impl Fn(&Event) -> bool,
    ) -> Result<Event> {
        if let Some(event) = self.seen.iter().find(|event| wanted(event)) {
            return Ok(event.clone());
        }
        let timeout = wait::patient(timeout);
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(event) => {
                    let event = event?;
                    self.seen.push(event.clone());
                    if wanted(&event) {
                        return Ok(event);
                    }
                }
                Err(RecvTimeoutError::Timeout) => bail!(
                    "no {what} within {timeout:?}; seen:\n{}\nit said:\n{}",
                    list(&self.seen),
                    self.talk()
                ),
                Err(RecvTimeoutError::Disconnected) => bail!(
                    "the tracer ended before {what}; seen:\n{}\nit said:\n{}",
                    list(&self.seen),
                    self.talk()
                ),
            }
        }
    }

    /// The events that were waited for or passed by, which it forgets: for long runs.
    pub fn take_seen(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.seen)
    }

    /// Waits for the conflict over a port, whoever wanted it.
    pub fn wait_conflict(&mut self, port: u16) -> Result<Event> {
        self.wait_for(
            &format!("conflict over port {port}"),
            wait::PATIENCE,
            |event| {
                event
                    .conflict()
                    .is_some_and(|conflict| conflict.wanted.port == Some(port))
            },
        )
    }

    /// Waits for the end that an option (`--duration`, `--max-conflicts`) brings.
    pub fn wait_end(mut self, timeout: Duration) -> Result<Trace> {
        let status = wait::exit("the tracer's end", timeout, &mut self.child)
            .with_context(|| format!("it said:\n{}", self.talk()))?;
        if let Some(reader) = self.reader.take() {
            reader.join().map_err(|_| anyhow!("the reader panicked"))?;
        }
        let mut events = std::mem::take(&mut self.seen);
        while let Ok(event) = self.lines.try_recv() {
            events.push(event?);
        }
        Ok(Trace {
            events,
            status,
            talk: self.talk(),
        })
    }

    /// Ends it as Ctrl-C does.
    pub fn finish(self) -> Result<Trace> {
        self.signal(Signal::INT)?;
        self.wait_end(END)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.child), signal).context("could not signal the tracer")
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

/// A tracer with free output, for what [`Tracer`] does not read: text, a closed pipe. It is killed
/// on drop.
#[derive(Debug)]
pub struct Bare {
    /// The process.
    pub child: Child,
}

impl Bare {
    /// Starts it and waits until it is ready.
    pub fn start(netns: &NetNs, options: &[&str], stdout: Stdio) -> Result<Self> {
        Self::start_under(&[], netns, options, stdout)
    }

    /// The same, started by another command that ends with it.
    pub fn start_under(
        wrapper: &[&str],
        netns: &NetNs,
        options: &[&str],
        stdout: Stdio,
    ) -> Result<Self> {
        let (child, ready) = spawn(wrapper, netns, options, stdout, Stdio::inherit())?;
        let bare = Self { child };
        wait_ready(ready)?;
        Ok(bare)
    }

    /// Sends it a signal, if any, and waits for its end.
    pub fn end(&mut self, signal: Option<Signal>) -> Result<ExitStatus> {
        if let Some(signal) = signal {
            kill_process(Pid::from_child(&self.child), signal)?;
        }
        wait::exit("the tracer's end", END, &mut self.child)
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn end(child: &mut Child) {
    if matches!(child.try_wait(), Ok(None)) {
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn spawn(
    wrapper: &[&str],
    netns: &NetNs,
    options: &[&str],
    stdout: Stdio,
    stderr: Stdio,
) -> Result<(Child, PipeReader)> {
    if !binary().is_file() {
        bail!(
            "no tracer at {}: build it, or set PORTWATCH_BIN",
            binary().display()
        );
    }
    let (ready, ready_writer) = std::io::pipe()?;
    let child = command(wrapper, netns, options, ready_writer.into())
        .stdout(stdout)
        .stderr(stderr)
        .spawn()
        .context("could not start the tracer")?;
    Ok((child, ready))
}

/// `portwatch watch` for one namespace, to run with a descriptor that it tells its readiness to.
///
/// The pipe arrives as stdin and becomes descriptor 3 in a shell that then replaces itself: no
/// inheritable descriptor ever exists in this process, where other tests start programs.
fn command(wrapper: &[&str], netns: &NetNs, options: &[&str], ready: OwnedFd) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "sh", "-c"])
        .arg(r#"exec 3>&0 </dev/null; exec "$@""#)
        .arg("sh")
        .args(wrapper)
        .arg(binary())
        .args(["watch", "--ready-fd", "3", "--netns"])
        .arg(netns.inode().to_string())
        .args(options)
        .stdin(Stdio::from(ready))
        .process_group(0);
    command
}

fn wait_ready(ready: PipeReader) -> Result<()> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let outcome = BufReader::new(ready).read_line(&mut line).map(|_| line);
        let _ = sender.send(outcome);
    });
    let line = receiver
        .recv_timeout(wait::patient(START))
        .context("the tracer did not get ready")??;
    if line != "ready\n" {
        bail!("the tracer ended instead of getting ready (`{line}`)");
    }
    Ok(())
}

/// Runs portwatch with free arguments to its end: usage errors, text output.
pub fn output(arguments: &[&str]) -> Result<std::process::Output> {
    Command::new(binary())
        .args(arguments)
        .stdin(File::open("/dev/null")?)
        .output()
        .context("could not run portwatch")
}
