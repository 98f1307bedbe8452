//! A program under test: started in a process group of its own, its output kept, killed on drop.

use std::borrow::BorrowMut;
use std::cell::Cell;
use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use crate::wait;

/// What a program printed so far, and a signal that it printed more.
#[derive(Default)]
struct Output {
    text: Mutex<String>,
    grown: Condvar,
}

impl Output {
    fn text(&self) -> MutexGuard<'_, String> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, line: &[u8]) {
        self.text().push_str(&String::from_utf8_lossy(line));
        self.grown.notify_all();
    }

    /// Waits until it is longer than `length`, at most for `time`.
    fn wait_longer(&self, length: usize, time: Duration) {
        let text = self.text();
        drop(
            self.grown
                .wait_timeout_while(text, time, |text| text.len() <= length),
        );
    }
}

/// A running (or ended) program and all that it printed.
pub struct Program {
    child: Child,
    group: Pid,
    stdin: Option<ChildStdin>,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
    ended: Option<ExitStatus>,
}

impl Program {
    /// Starts `command`; its stdin is a pipe, its stdout and stderr are kept together.
    pub fn start(mut command: impl BorrowMut<Command>) -> Result<Self> {
        let command = command.borrow_mut();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("could not start {command:?}"))?;
        let group = Pid::from_child(&child);
        let output = Arc::new(Output::default());
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(keep(stdout, Arc::clone(&output)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(keep(stderr, Arc::clone(&output)));
        }
        let stdin = child.stdin.take();
        Ok(Self {
            child,
            group,
            stdin,
            output,
            readers,
            ended: None,
        })
    }

    /// The process id: that of the program itself, since the wrappers replace themselves.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far, stdout and stderr in the order of arrival.
    #[must_use]
    pub fn output(&self) -> String {
        self.output.text().clone()
    }

    /// Writes a line to its stdin.
    pub fn write_line(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().context("stdin is closed")?;
        writeln!(stdin, "{line}").with_context(|| format!("could not write `{line}`"))
    }

    /// Whether it ended; never blocks.
    pub fn try_exit(&mut self) -> Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait()?;
        }
        Ok(self.ended)
    }

    /// Waits for its end and for the last of its output.
    pub fn wait_exit(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let what = format!("the end of pid {}", self.pid());
        let status = match self.ended {
            Some(status) => status,
            None => wait::exit(&what, timeout, &mut self.child)
                .with_context(|| format!("it printed:\n{}", self.output()))?,
        };
        self.ended = Some(status);
        self.drain();
        Ok(status)
    }

    /// Waits for the end of its output. A descendant may keep the pipe open: what matters was
    /// printed by then.
    fn drain(&self) {
        let _ = wait::until("its output", Duration::from_secs(2), || {
            let finished = self.readers.iter().all(JoinHandle::is_finished);
            Ok(finished.then_some(()))
        });
    }

    /// Waits until it printed `needle`; its end before that is an error.
    pub fn wait_output(&mut self, needle: &str, timeout: Duration) -> Result<()> {
        self.wait_until(&format!("`{needle}` in its output"), timeout, |program| {
            Ok(program.output().contains(needle))
        })
    }

    /// Waits for a condition; the program's end before that is an error.
    pub fn wait_until(
        &mut self,
        what: &str,
        timeout: Duration,
        mut condition: impl FnMut(&mut Self) -> Result<bool>,
    ) -> Result<()> {
        let output = Arc::clone(&self.output);
        let seen = Cell::new(0);
        let pause = |left: Duration| {
            output.wait_longer(seen.get(), left.min(wait::INTERVAL));
            Ok(())
        };
        wait::until_with(what, timeout, pause, || {
            seen.set(output.text().len());
            let ended = self.try_exit()?;
            if condition(self)? {
                return Ok(Some(()));
            }
            let Some(status) = ended else {
                return Ok(None);
            };
            // Its last words may still be on their way.
            self.drain();
            if condition(self)? {
                return Ok(Some(()));
            }
            bail!("it ended with {status}")
        })
        .with_context(|| format!("waiting for {what}; it printed:\n{}", self.output()))
    }

    /// Sends a signal to the program alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(self.group, signal).context("could not signal the program")
    }

    /// Ends the whole process group and reaps the program.
    pub fn kill(&mut self) {
        if matches!(self.try_exit(), Ok(Some(_)))
            && self.readers.iter().all(JoinHandle::is_finished)
        {
            return;
        }
        // ESRCH: all of the group is gone already.
        let _ = kill_process_group(self.group, Signal::KILL);
        if self.ended.is_none() {
            self.ended = self.child.wait().ok();
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Program")
            .field("pid", &self.pid())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

fn keep(source: impl Read + Send + 'static, output: Arc<Output>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while let Ok(1..) = source.read_until(b'\n', &mut line) {
            output.append(&line);
            line.clear();
        }
    })
}
