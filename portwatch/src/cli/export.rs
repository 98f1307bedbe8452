//! `portwatch export`: captures as tables, lines or a timeline.

use super::args::{CommonArgs, EventChoice, ExportArgs, ExportFormat, Format};
use super::exit::Status;
use super::place::{Kept, Place};
use super::playback::Playback;
use super::sinks::{Origin, compose};
use crate::capture::CaptureHeader;
use crate::export::table::Target;
use crate::export::{self, Table, TableFormat, Timeline};
use crate::sink::filter::Selection;
use crate::sink::outlet::Direct;
use crate::sink::output::Output;
use crate::sink::redact::Cmdline;
use crate::sink::writer::LineWriter;
use crate::sink::{Printer, Sink};
use anyhow::{Result, bail};
use std::io::{self, IsTerminal as _};

/// Makes what was asked for of every capture.
pub(super) fn run(args: &ExportArgs, common: &CommonArgs) -> Result<Status> {
    let playback = Playback {
        selection: Selection {
            events: EventChoice::names(&args.events),
            ..Selection::default()
        },
        redact: args.redact.redaction(Cmdline::Full),
        neighbours: true,
        incident_timeout: None,
        speed: None,
        bar: args.output.is_some() || !io::stdout().is_terminal(),
        apart: args.format != ExportFormat::Ndjson,
    };
    let outcome = match args.format {
        ExportFormat::Parquet => {
            if args.output.is_none() && io::stdout().is_terminal() {
                bail!("Parquet is nothing to read on a terminal: name a file with -o");
            }
            table(args, TableFormat::Parquet, &playback)?
        }
        ExportFormat::Csv => table(args, TableFormat::Csv, &playback)?,
        ExportFormat::Perfetto => {
            let (out, kept) = output(args)?.into_parts();
            let timeline = Timeline::new(out, &kept.name);
            let outcome = playback.run(&args.from.captures, &mut |header, _| {
                Box::new(timeline.sink(place(header)))
            })?;
            timeline.finish()?;
            kept.keep()?;
            outcome
        }
        ExportFormat::Ndjson => lines(args, common, &playback)?,
    };
    match outcome.damaged && args.from.strict {
        true => Ok(Status::Failed),
        false => Ok(Status::Ran),
    }
}

fn table(
    args: &ExportArgs,
    format: TableFormat,
    playback: &Playback,
) -> Result<super::playback::Outcome> {
    let (target, kept) = match &args.output {
        Some(dir) if args.partition => (Target::Partitioned(dir.clone()), None),
        _ => {
            let (out, kept) = output(args)?.into_parts();
            (Target::One(out, kept.name.clone()), Some(kept))
        }
    };
    let table = Table::new(format, target)?;
    let outcome = playback.run(&args.from.captures, &mut |header, _| {
        Box::new(table.sink(place(header)))
    })?;
    table.finish()?;
    kept.map_or(Ok(()), Kept::keep)?;
    Ok(outcome)
}

fn lines(
    args: &ExportArgs,
    common: &CommonArgs,
    playback: &Playback,
) -> Result<super::playback::Outcome> {
    /// What a reader of a pipe may wait for until the next flush.
    const LAZY: usize = 64 << 10;
    let place = output(args)?;
    let to_file = place.is_file();
    let (out, kept) = place.into_parts();
    let outlet = match to_file {
        true => {
            let writer = LineWriter::new(out, Box::new(io::stderr()), false);
            Direct::new(writer, &kept.name, LAZY)
        }
        false => Output::Stdout.direct(false)?,
    };
    let outcome = playback.run(&args.from.captures, &mut |header,
                                                           several|
     -> Box<dyn Sink> {
        let origin = Origin {
            host: &header.host,
            run: several.then_some(header.run.as_str()),
            own_netns: header.begin.own_netns,
        };
        let compose = compose(&Output::Stdout, Format::Json, common, &origin);
        Box::new(Printer::new(compose, Box::new(outlet.clone()), None))
    })?;
    drop(outlet);
    kept.keep()?;
    Ok(outcome)
}

fn output(args: &ExportArgs) -> Result<Place> {
    Place::make(args.output.as_deref(), &args.from.captures)
}

fn place(header: &CaptureHeader) -> export::Place {
    export::Place {
        host: header.host.clone(),
        run: header.run.clone(),
    }
}
