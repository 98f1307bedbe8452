//! `portwatch watch`: trace live.

use super::args::{CommonArgs, Format, WatchArgs};
use super::exit::Status;
use super::place::same_file;
use super::ready::Ready;
use super::sinks::{Origin, compose, host, rewrites};
use super::{capture, runtime};
use crate::capture::Recorder;
use crate::correlate::{Correlator, Options};
use crate::decode::event::Socket;
use crate::enrich::live::LiveFacts;
use crate::pipeline::Pipeline;
use crate::probe::load::LoadOptions;
use crate::report::Start;
use crate::sink::Sink;
use crate::sink::filter::{EventName, Filter, Selection};
use crate::sink::hangup::Hangup;
use crate::sink::output::Output;
use crate::sink::redact::Redact;
use crate::tracer::{Limits, Tracer, TracerOptions};
use anyhow::{Result, bail};
use std::path::Path;

/// Runs until a limit, a signal or a closed output.
pub(super) fn run(args: &WatchArgs, common: &CommonArgs) -> Result<Status> {
    let mut ready = Ready::take(args.limits.ready_fd)?;
    let watched = runtime()?.block_on(watch(args, common, &mut ready, no_command))?;
    let incidents = watched.incidents;
    Ok(Status::of_run(incidents, args.limits.fail_on_conflict))
}

/// Nothing is started: only signals and limits end the run.
fn no_command() -> Result<Option<std::future::Pending<()>>> {
    Ok(None)
}

/// How a run went.
pub(super) struct Watched {
    /// Incidents that passed the filters.
    pub(super) incidents: u64,
}

/// Traces until a limit, a signal, a closed output, or what `command` started once nothing is missed
/// any more.
pub(super) async fn watch<F: Future<Output = ()>>(
    args: &WatchArgs,
    common: &CommonArgs,
    ready: &mut Ready,
    command: impl FnOnce() -> Result<Option<F>>,
) -> Result<Watched> {
    let selection = args.select.selection();
    let (mut tracer, mut facts, start) = Tracer::start(&tracer_options(args, &selection))?;
    if args.show.containers {
        facts.name_containers();
    }
    let output = args.show.output();
    if args.capture.capture.as_deref() == Some(Path::new("-")) {
        bail!("--capture writes a file, not standard output: `./-` is one of that name");
    }
    let (sink, hangup) = open(&output, args.format.format(), common, &tracer)?;
    if let (Some(capture), Output::File(output)) = (&args.capture.capture, &output)
        && same_file(capture, output)
    {
        bail!(
            "--capture and --output are both `{}`: give each a file of its own",
            capture.display()
        );
    }
    let options = Options {
        incident_timeout: args.limits.incident_timeout,
        neighbours: args.show.neighbours,
        own_netns: tracer.own_netns,
        closes_seen: start.sees_closes(),
        ..Options::default()
    };
    let start = Start {
        filters: selection.told(),
        ..start
    };
    let recorder = capture::recorder(
        &args.capture,
        &args.show,
        &selection,
        &tracer,
        &options,
        &start,
    )?;
    let mut pipeline = assemble(
        &mut tracer,
        facts,
        sink,
        &selection,
        args.show.redaction(),
        options,
        recorder.clone(),
    );
    pipeline.start(start)?;
    let command = command()?;
    let limits = Limits {
        duration: args.limits.duration,
        max_conflicts: args.limits.max_conflicts.map(std::num::NonZero::get),
        reopen_on_hangup: matches!(output, Output::File(_)),
        of_command: command.is_some(),
    };
    let over = async {
        match command {
            Some(over) => over.await,
            None => std::future::pending().await,
        }
    };
    let tell = || ready.tell();
    let ended = crate::tracer::run(&mut tracer, &mut pipeline, hangup, limits, tell, over).await;
    if let Some(missing) = recorder.and_then(Recorder::finish) {
        log::error!("{missing}");
    }
    ended?;
    Ok(Watched {
        incidents: pipeline.tally.incidents(),
    })
}

fn tracer_options(args: &WatchArgs, selection: &Selection) -> TracerOptions {
    let wants = |event| selection.events.contains(&event);
    // Filters act on what is told: a capture has everything.
    let all = args.capture.takes_all();
    let defaults = LoadOptions::default();
    TracerOptions {
        load: LoadOptions {
            backend: args.trace.backend.choice(),
            no_udp_autobind: args.trace.no_udp_autobind,
            traffic_ring: args.trace.ring_size.unwrap_or(defaults.traffic_ring),
            failures_ring: args.trace.ring_size.unwrap_or(defaults.failures_ring),
            owners: args.trace.owners.unwrap_or(defaults.owners),
            closed_connections: args
                .trace
                .closed_connections
                .unwrap_or(defaults.closed_connections),
        },
        traffic: all || wants(EventName::Assign) || wants(EventName::Release),
        refused: all || wants(EventName::Refused),
        netns: match all {
            true => Vec::new(),
            false => selection.netns.clone(),
        },
    }
}

/// The sink of a format over an output.
pub(super) fn open(
    output: &Output,
    format: Format,
    common: &CommonArgs,
    tracer: &Tracer,
) -> Result<(Box<dyn Sink>, Hangup)> {
    let origin = Origin {
        host: &host(),
        run: None,
        own_netns: tracer.own_netns,
    };
    let compose = compose(output, format, common, &origin);
    let (printer, hangup) = output.sink(compose, rewrites(format, common))?;
    Ok((Box::new(printer), hangup))
}

/// The stages of a live run.
pub(super) fn assemble(
    tracer: &mut Tracer,
    facts: LiveFacts,
    sink: Box<dyn Sink>,
    selection: &Selection,
    redact: Redact,
    options: Options,
    recorder: Option<Recorder>,
) -> Pipeline {
    let mut correlator = Correlator::new(options, tracer.started, tracer.anchor);
    correlator.snapshot_complete(tracer.scanned);
    let older = std::mem::take(&mut tracer.older);
    let older: Vec<Socket> = older.into_iter().map(|found| found.socket).collect();
    if let Some(recorder) = &recorder {
        recorder.older(&older);
    }
    correlator.older(older);
    let pipeline = Pipeline::new(
        Box::new(facts),
        correlator,
        Filter::new(selection.clone()),
        redact,
        sink,
        tracer.started,
    );
    match recorder {
        Some(recorder) => pipeline.tapped(recorder),
        None => pipeline,
    }
}
