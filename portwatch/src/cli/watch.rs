//! `portwatch watch`: trace live.

use super::args::{CommonArgs, Format, WatchArgs};
use super::exit::Status;
use super::ready::Ready;
use super::runtime;
use crate::correlate::{Correlator, Options};
use crate::enrich::live::LiveFacts;
use crate::pipeline::Pipeline;
use crate::probe::load::LoadOptions;
use crate::report::Start;
use crate::sink::filter::{EventName, Filter, Selection};
use crate::sink::hangup::Hangup;
use crate::sink::json::Json;
use crate::sink::output::Output;
use crate::sink::redact::Redact;
use crate::sink::text::{Look, Palette, Text, Width};
use crate::sink::{Compose, Sink};
use crate::tracer::{Limits, Tracer, TracerOptions};
use anyhow::Result;
use jiff::tz::TimeZone;
use std::io::{stderr, stdout};

/// Runs until a limit, a signal or a closed output.
pub(super) fn run(args: &WatchArgs, common: &CommonArgs) -> Result<Status> {
    let mut ready = Ready::take(args.limits.ready_fd)?;
    let selection = args.select.selection();
    let runtime = runtime()?;
    runtime.block_on(async {
        let (mut tracer, mut facts, start) = Tracer::start(&tracer_options(args, &selection))?;
        if args.show.containers {
            facts.name_containers();
        }
        let output = match &args.show.output {
            Some(path) => Output::File(path.clone()),
            None => Output::Stdout,
        };
        let (sink, hangup) = open(&output, args.format.format(), common, &tracer)?;
        let own_netns = tracer.own_netns;
        let mut pipeline = assemble(
            &mut tracer,
            facts,
            sink,
            &selection,
            args.show.redaction(),
            Options {
                incident_timeout: args.limits.incident_timeout,
                neighbours: args.show.neighbours,
                own_netns,
                ..Options::default()
            },
        );
        pipeline.start(Start {
            filters: selection.told(),
            ..start
        })?;
        let limits = Limits {
            duration: args.limits.duration,
            max_conflicts: args.limits.max_conflicts.map(std::num::NonZero::get),
            reopen_on_hangup: args.show.output.is_some(),
        };
        crate::tracer::run(&mut tracer, &mut pipeline, hangup, limits, || ready.tell()).await?;
        let incidents = pipeline.tally.incidents();
        Ok(Status::of_run(incidents, args.limits.fail_on_conflict))
    })
}

fn tracer_options(args: &WatchArgs, selection: &Selection) -> TracerOptions {
    let wants = |event| selection.events.contains(&event);
    let defaults = LoadOptions::default();
    TracerOptions {
        load: LoadOptions {
            no_udp_autobind: args.trace.no_udp_autobind,
            traffic_ring: args.trace.ring_size.unwrap_or(defaults.traffic_ring),
            failures_ring: args.trace.ring_size.unwrap_or(defaults.failures_ring),
            owners: args.trace.owners.unwrap_or(defaults.owners),
        },
        traffic: wants(EventName::Assign) || wants(EventName::Release),
        refused: wants(EventName::Refused),
        netns: selection.netns.clone(),
    }
}

/// The sink of a format over an output.
pub(super) fn open(
    output: &Output,
    format: Format,
    common: &CommonArgs,
    tracer: &Tracer,
) -> Result<(Box<dyn Sink>, Hangup)> {
    let terminal = output.is_terminal();
    let compose: Box<dyn Compose> = match format {
        Format::Json => Box::new(Json::new(&host())),
        Format::Text => Box::new(Text::new(Look {
            zone: TimeZone::system(),
            data: Palette::new(match output {
                Output::Stdout => common.color.wanted(&stdout()),
                Output::File(_) => false,
            }),
            talk: Palette::new(common.color.wanted(&stderr())),
            width: if terminal {
                Width::Terminal
            } else {
                Width::Endless
            },
            own_netns: tracer.own_netns.map(|netns| netns.0),
            repeat_losses: !terminal,
        })),
    };
    // A line of the log between two attempts would be overwritten.
    let rewrite = format == Format::Text && common.verbose == 0;
    let (printer, hangup) = output.sink(compose, rewrite)?;
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
) -> Pipeline {
    let mut correlator = Correlator::new(options, tracer.started, tracer.anchor);
    correlator.snapshot_complete(tracer.scanned);
    correlator.older(
        std::mem::take(&mut tracer.older)
            .into_iter()
            .map(|found| found.socket),
    );
    Pipeline::new(
        Box::new(facts),
        correlator,
        Filter::new(selection.clone()),
        redact,
        sink,
        tracer.started,
    )
}

/// Name of this machine.
fn host() -> String {
    nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
