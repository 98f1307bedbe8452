//! One step of a command: a line that says it, a process, its progress, and what to do when it fails.

use std::{
    collections::VecDeque,
    fmt::Display,
    io::{self, BufRead as _, BufReader, IsTerminal as _, PipeReader, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, bail};

/// How often a step that says nothing else says that it is still at work.
const TICK: Duration = Duration::from_secs(10);

/// How often a child is asked whether it has ended.
const POLL: Duration = Duration::from_millis(50);

/// How long output may still come once the child has ended: a process it left behind may hold the
/// pipe open for ever.
const DRAIN: Duration = Duration::from_secs(1);

/// How many last lines of a quiet step are shown when it fails.
const TAIL: usize = 25;

/// Says one line on standard error.
pub(crate) fn say(line: impl Display) {
    eprintln!("xtask: {line}");
}

/// A step that is about to run.
pub(crate) struct Step {
    what: String,
    command: Command,
    fix: String,
    limit: Option<Duration>,
    prefix: String,
}

impl Step {
    /// `what` is told before the start and named in the failure.
    pub(crate) fn new(what: impl Into<String>, command: Command) -> Self {
        Self {
            what: what.into(),
            command,
            fix: String::new(),
            limit: None,
            prefix: String::new(),
        }
    }

    /// Stands before each line that [`Step::watched`] shows: for steps that run side by side.
    pub(crate) fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// What the user can do when the step fails.
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = fix.into();
        self
    }

    /// Ends the step with a failure after `limit`. Not for [`Step::aloud`].
    pub(crate) fn limit(mut self, limit: Duration) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Runs a step that may ask and tells its own progress.
    pub(crate) fn aloud(mut self) -> Result<()> {
        say(&self.what);
        let start = Instant::now();
        let mut child = self.spawn()?;
        // On a terminal cargo draws a bar of its own.
        let tick = !io::stderr().is_terminal();
        let mut ticker = Ticker::new(start);
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if tick {
                ticker.tick("");
            }
            thread::sleep(POLL);
        };
        self.judge(status)
    }

    /// Runs a step whose output matters only when it fails.
    pub(crate) fn quietly(mut self) -> Result<()> {
        say(&self.what);
        let mut tail = VecDeque::with_capacity(TAIL);
        let start = Instant::now();
        let mut ticker = Ticker::new(start);
        let ended = self.pump(start, |line| match line {
            Some(line) => {
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(String::from_utf8_lossy(line).trim_end().to_owned());
            }
            None => ticker.tick(tail.back().map_or("", String::as_str)),
        });
        let done = ended.and_then(|status| self.judge(status));
        if done.is_err() {
            for line in &tail {
                eprintln!("    {line}");
            }
        }
        done
    }

    /// Runs a step whose output is shown as it comes and given to `each`, line by line.
    pub(crate) fn watched(mut self, mut each: impl FnMut(&str)) -> Result<()> {
        say(&self.what);
        let mut stdout = io::stdout();
        let prefix = std::mem::take(&mut self.prefix);
        let status = self.pump(Instant::now(), |line| {
            if let Some(line) = line {
                // A reader that went away is no reason to leave the tests half run.
                let shown = [prefix.as_bytes(), line].concat();
                let _ = stdout.write_all(&shown).and_then(|()| stdout.flush());
                each(&String::from_utf8_lossy(line));
            }
        })?;
        self.judge(status)
    }

    fn spawn(&mut self) -> Result<Child> {
        self.command.spawn().map_err(|error| {
            let program = self.command.get_program().to_string_lossy();
            anyhow!(
                "{}: `{program}` does not start: {error}{}",
                self.what,
                self.advice()
            )
        })
    }

    /// Runs the command with both outputs in one pipe, and calls `on` with every line of it, and
    /// with nothing at every [`POLL`] without a line.
    fn pump(&mut self, start: Instant, mut on: impl FnMut(Option<&[u8]>)) -> Result<ExitStatus> {
        let (reader, writer) = io::pipe()?;
        self.command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer);
        let mut child = self.spawn()?;
        // The command holds the writing ends, which would keep the pipe open.
        self.command.stdout(Stdio::null()).stderr(Stdio::null());
        let lines = read_lines(reader);
        let mut ended: Option<(ExitStatus, Instant)> = None;
        loop {
            match lines.recv_timeout(POLL) {
                Ok(line) => on(Some(&line)),
                Err(RecvTimeoutError::Timeout) => on(None),
                Err(RecvTimeoutError::Disconnected) => return Ok(child.wait()?),
            }
            match ended {
                Some((status, at)) if at.elapsed() > DRAIN => return Ok(status),
                Some(_) => {}
                None => ended = child.try_wait()?.map(|status| (status, Instant::now())),
            }
            if let Some(limit) = self.limit
                && ended.is_none()
                && start.elapsed() > limit
            {
                child.kill()?;
                child.wait()?;
                bail!(
                    "{}: given up after {} s{}",
                    self.what,
                    limit.as_secs(),
                    self.advice()
                );
            }
        }
    }

    fn judge(&self, status: ExitStatus) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        bail!("{}: failed, {status}{}", self.what, self.advice())
    }

    fn advice(&self) -> String {
        if self.fix.is_empty() {
            String::new()
        } else {
            format!("\n  what to do: {}", self.fix)
        }
    }
}

/// Sends every line of `reader`, its end of line included.
fn read_lines(reader: PipeReader) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(reader);
        loop {
            let mut line = Vec::new();
            match reader.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    if sender.send(line).is_err() {
                        return;
                    }
                }
            }
        }
    });
    receiver
}

/// Says the seconds of a long step.
struct Ticker {
    start: Instant,
    next: Duration,
}

impl Ticker {
    fn new(start: Instant) -> Self {
        Self { start, next: TICK }
    }

    fn tick(&mut self, last: &str) {
        let elapsed = self.start.elapsed();
        if elapsed >= self.next {
            self.next = elapsed + TICK;
            say(format_args!("  {} s  {}", elapsed.as_secs(), last.trim()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failed_step_ends_with_what_to_do() {
        let error = Step::new("break", shell("exit 3"))
            .fix("mend it")
            .quietly()
            .unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "break: failed, exit status: 3\n  what to do: mend it"
        );
    }

    #[test]
    fn a_step_is_given_up_at_its_limit() {
        let start = Instant::now();
        let error = Step::new("hang", shell("exec sleep 600"))
            .limit(Duration::from_millis(200))
            .quietly()
            .unwrap_err();
        assert!(format!("{error:#}").starts_with("hang: given up after"));
        assert!(start.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_process_left_behind_does_not_hold_the_step() {
        let mut seen = String::new();
        Step::new("leave one behind", shell("sleep 600 & echo $!"))
            .watched(|line| seen.push_str(line))
            .unwrap();
        let left: u32 = seen.trim().parse().unwrap();
        shell(&format!("kill {left}")).status().unwrap();
    }

    #[test]
    fn both_outputs_are_watched_in_order() {
        let mut seen = Vec::new();
        Step::new("talk", shell("echo a; echo b >&2; printf c"))
            .watched(|line| seen.push(line.trim().to_owned()))
            .unwrap();
        assert_eq!(seen, ["a", "b", "c"]);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Step::new("start", Command::new("no-such-program-of-ours"))
            .fix("install it")
            .quietly()
            .unwrap_err();
        let error = format!("{error:#}");
        assert!(error.contains("no-such-program-of-ours"), "{error}");
        assert!(error.contains("install it"), "{error}");
    }
}
