//! `portwatch demo`: makes the founding case, traces it, compares the verdict with what was made.

use super::args::{CommonArgs, DemoArgs, Format};
use super::exit::Status;
use super::runtime;
use super::watch::{assemble, open};
use crate::correlate::Options;
use crate::demo::{Looked, Made, PORT, Watching, differences, roles, roles::Role};
use crate::report::{Conflict, Start};
use crate::sink::filter::Selection;
use crate::sink::output::Output;
use crate::sink::redact::{Cmdline, Redact};
use crate::tracer::{Limits, Tracer, TracerOptions};
use anyhow::{Context as _, Result, bail};
use std::future::pending;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::PoisonError;
use std::time::Duration;

/// The case takes well under a second; a machine under load may take longer.
const PATIENCE: Duration = Duration::from_secs(9);

/// Makes the case and tells it; an error if the verdict is not what was made.
pub(super) fn run(args: &DemoArgs, common: &CommonArgs) -> Result<Status> {
    if let Some(role) = args.role {
        roles::play(role)?;
        return Ok(Status::Ran);
    }
    crate::probe::privilege::check()?;
    let format = args.format.format();
    let mut scene = Scene::start()?;
    let selection = Selection {
        netns: vec![scene.netns],
        ..Selection::default()
    };
    let told = runtime()?.block_on(async {
        let (mut tracer, facts, start) = Tracer::start(&TracerOptions {
            netns: selection.netns.clone(),
            ..TracerOptions::default()
        })?;
        let (sink, hangup) = open(&Output::Stdout, format, common, &tracer)?;
        let (sink, seen) = Watching::new(sink);
        let redact = Redact::new(Cmdline::Full, false, false);
        let options = Options {
            own_netns: tracer.own_netns,
            closes_seen: start.sees_closes(),
            ..Options::default()
        };
        let mut pipeline = assemble(
            &mut tracer,
            facts,
            Box::new(sink),
            &selection,
            redact,
            options,
            None,
        );
        pipeline.start(Start {
            filters: selection.told(),
            ..start
        })?;
        let limits = Limits {
            duration: Some(PATIENCE),
            max_conflicts: Some(1),
            reopen_on_hangup: false,
            of_command: false,
        };
        crate::tracer::run(
            &mut tracer,
            &mut pipeline,
            hangup,
            limits,
            || scene.go(),
            pending(),
        )
        .await?;
        let conflict = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        anyhow::Ok(conflict)
    })?;
    let made = scene.made()?;
    if format == Format::Text {
        show(&made)?;
        if let Some(conflict) = &told {
            show_commands(conflict)?;
        }
    }
    let Some(conflict) = told else {
        bail!("the case was made, but no conflict was told within {PATIENCE:?}");
    };
    let wrong = differences(&made, scene.netns, &conflict);
    if !wrong.is_empty() {
        bail!("the verdict is not what was made: {}", wrong.join("; "));
    }
    Ok(Status::Ran)
}

/// What the server said and what the usual tool shows.
fn show(made: &Made) -> Result<()> {
    let mut out = anstream::stdout();
    writeln!(out, "\nWhat the server said:   {}", made.server_error)?;
    if let Some(Looked { command, output }) = &made.looked {
        writeln!(out, "What `{command}` showed at that moment:")?;
        for line in output.lines() {
            writeln!(out, "    {}", crate::sink::escape::escape(line))?;
        }
        if !output.contains(&format!(":{PORT} ")) {
            writeln!(out, "    (nothing listens on {PORT})")?;
        }
    }
    Ok(out.flush()?)
}

/// The commands of the verdict, which would work in its namespace while it lasts.
fn show_commands(conflict: &Conflict) -> Result<()> {
    let commands = conflict.advice.iter().filter_map(|a| a.command.as_ref());
    let commands: Vec<_> = commands.collect();
    if commands.is_empty() {
        return Ok(());
    }
    let mut out = anstream::stdout();
    writeln!(
        out,
        "\nThis case was made in a network namespace of its own, which is gone by now. For a \
         conflict of yours\nthe advice has its command below it; here it would have been:"
    )?;
    for command in commands {
        writeln!(out, "    {}", crate::sink::escape::escape(command))?;
    }
    Ok(out.flush()?)
}

/// The process that makes the case; it and its parts end with us.
struct Scene {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: BufReader<ChildStdout>,
    netns: u32,
}

impl Scene {
    /// Starts it; it waits in its namespace.
    fn start() -> Result<Self> {
        let mut child = Command::new("/proc/self/exe")
            .args(["demo", "--role", Role::Scene.word()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("the demo's scene cannot be started")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("the scene has no output")?;
        let mut scene = Self {
            child,
            stdin,
            lines: BufReader::new(stdout),
            netns: 0,
        };
        let line = scene.line("its namespace")?;
        scene.netns = line
            .parse()
            .with_context(|| format!("the scene told `{line}` instead of its namespace"))?;
        Ok(scene)
    }

    /// Lets it play.
    fn go(&mut self) -> Result<()> {
        let stdin = self.stdin.as_mut().context("the scene is over")?;
        stdin.write_all(b"\n").context("the scene is gone")
    }

    /// What it made.
    fn made(&mut self) -> Result<Made> {
        let line = self.line("what it made")?;
        serde_json::from_str(&line).with_context(|| format!("the scene told `{line}`"))
    }

    fn line(&mut self, what: &str) -> Result<String> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        if line.is_empty() {
            bail!("the demo's scene ended before it told {what}; its reason stands above");
        }
        Ok(line.trim_end().to_owned())
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}
