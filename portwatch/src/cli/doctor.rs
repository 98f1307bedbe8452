//! `portwatch doctor`: what this kernel allows, every hook, every refusal with its reason.

mod btf;

use super::args::{DoctorArgs, Format};
use super::exit::Status;
use super::runtime;
use crate::probe::environment::Environment;
use crate::probe::privilege;
use crate::report::{History, Start};
use crate::sink::escape::escape;
use crate::tracer::{Tracer, TracerOptions};
use anyhow::Result;
use serde::Serialize;
use std::io::Write;

/// What the doctor found.
#[derive(Debug, Serialize)]
struct Findings {
    /// `uname -r`.
    kernel: String,
    /// Each thing that tracing rests on.
    checks: Vec<Check>,
    /// The start line of a run here; absent when nothing can be traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    start: Option<Start>,
    /// Why nothing can be traced.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// One thing that tracing rests on.
#[derive(Debug, Serialize)]
struct Check {
    /// What.
    name: &'static str,
    /// It is as it should be.
    good: bool,
    /// What was found.
    found: String,
}

/// Attaches everything, tells how that went, takes it off again.
pub(super) fn run(args: &DoctorArgs) -> Result<Status> {
    if let Some(file) = &args.btf {
        return btf::run(file, args.format.format());
    }
    let environment = Environment::probe();
    let started = runtime()?.block_on(async { Tracer::start(&TracerOptions::default()) });
    let (start, error) = match started {
        Ok((_, _, start)) => (Some(start), None),
        Err(error) => (None, Some(format!("{:#}", anyhow::Error::new(error)))),
    };
    let findings = Findings {
        kernel: environment.kernel.as_str().to_owned(),
        checks: checks(&environment),
        start,
        error,
    };
    let mut out = anstream::stdout();
    match args.format.format() {
        Format::Json => writeln!(out, "{}", serde_json::to_string(&findings)?)?,
        Format::Text => show(&findings, &mut out)?,
    }
    out.flush()?;
    Ok(if findings.error.is_some() {
        Status::Failed
    } else {
        Status::Ran
    })
}

fn checks(environment: &Environment) -> Vec<Check> {
    let privileges = privilege::check();
    let check = |name, good, found| Check { name, good, found };
    vec![
        check(
            "privileges",
            privileges.is_ok(),
            privileges.map_or_else(|error| error.to_string(), |()| "sufficient".to_owned()),
        ),
        check(
            "BTF",
            environment.btf.is_good(),
            environment.btf.to_string(),
        ),
        check(
            "tracefs",
            environment.tracefs.is_good(),
            environment.tracefs.to_string(),
        ),
        check(
            "cgroup2",
            environment.cgroup2.is_good(),
            environment.cgroup2.to_string(),
        ),
        check(
            "lockdown",
            environment.lockdown != Some(crate::probe::environment::Lockdown::Confidentiality),
            environment
                .lockdown
                .map_or_else(|| "not told".to_owned(), |lockdown| lockdown.to_string()),
        ),
        check(
            "pid namespace",
            environment.pid_namespace_initial != Some(false),
            initial(environment.pid_namespace_initial),
        ),
        check(
            "time namespace",
            environment.time_namespace_initial != Some(false),
            initial(environment.time_namespace_initial),
        ),
    ]
}

fn initial(initial: Option<bool>) -> String {
    match initial {
        Some(true) => "the host's",
        Some(false) => "one of its own",
        None => "not told",
    }
    .to_owned()
}

/// How far back closed sockets are known.
fn remembers(start: &Start, out: &mut dyn Write) -> Result<()> {
    let History {
        closed_connections,
        listeners,
        closes_per_second,
    } = start.history;
    if closed_connections == 0 && listeners == 0 {
        writeln!(out, "remembered: nothing")?;
        return Ok(());
    }
    let open = start.sizes.owners;
    writeln!(
        out,
        "remembered: {open} open sockets, {closed_connections} closed connections, {listeners} \
         listeners"
    )?;
    writeln!(
        out,
        "a connection in TIME_WAIT is among them up to {closes_per_second} closes a second \
         (more with `--closed-connections`)"
    )?;
    Ok(())
}

fn show(findings: &Findings, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "kernel {}", escape(&findings.kernel))?;
    for Check { name, good, found } in &findings.checks {
        let mark = if *good { "ok  " } else { "warn" };
        writeln!(out, "  {mark}  {name:<15} {}", escape(found))?;
    }
    if let Some(start) = &findings.start {
        writeln!(out, "backend: {}", start.backend.word())?;
        for hook in &start.hooks {
            writeln!(out, "  ok    {:<11} {}", hook.kind, hook.target)?;
        }
        for hook in &start.hooks_refused {
            writeln!(
                out,
                "  warn  {:<11} {}: refused ({}); lost: {}",
                hook.kind,
                hook.target,
                escape(&hook.reason),
                hook.lost
            )?;
        }
        writeln!(out, "cannot be seen with this backend:")?;
        for spot in &start.blind_spots {
            writeln!(out, "  {spot}")?;
        }
        for warning in &start.warnings {
            writeln!(out, "warning: {}", escape(warning))?;
        }
        remembers(start, out)?;
        writeln!(out, "{} sockets known", start.snapshot_sockets)?;
    }
    if let Some(error) = &findings.error {
        writeln!(out, "nothing can be traced: {}", escape(error))?;
    }
    Ok(())
}
