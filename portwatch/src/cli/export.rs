//! `portwatch export`: captures as tables, lines or a timeline.

use super::args::{CommonArgs, EventChoice, ExportArgs, ExportFormat, Format};
use super::exit::Status;
use super::playback::Playback;
use super::sinks::{Origin, compose};
use crate::capture::CaptureHeader;
use crate::export::table::Target;
use crate::export::{Place, Table, TableFormat, Timeline};
use crate::sink::filter::Selection;
use crate::sink::output::Output;
use crate::sink::redact::Cmdline;
use crate::sink::{Printer, Sink};
use anyhow::{Context as _, Result, bail};
use std::io::{self, IsTerminal as _, Write};
use std::path::Path;

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
            let (out, name) = output(args.output.as_deref())?;
            let timeline = Timeline::new(out, &name);
            let outcome = playback.run(&args.from.captures, &mut |header, _| {
                Box::new(timeline.sink(place(header)))
            })?;
            timeline.finish()?;
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
    let target = match &args.output {
        Some(dir) if args.partition => Target::Partitioned(dir.clone()),
        path => {
            let (out, name) = output(path.as_deref())?;
            Target::One(out, name)
        }
    };
    let table = Table::new(format, target)?;
    let outcome = playback.run(&args.from.captures, &mut |header, _| {
        Box::new(table.sink(place(header)))
    })?;
    table.finish()?;
    Ok(outcome)
}

fn lines(
    args: &ExportArgs,
    common: &CommonArgs,
    playback: &Playback,
) -> Result<super::playback::Outcome> {
    let output = match &args.output {
        Some(path) => {
            // Lines are appended to what --output names: here it is replaced.
            drop(crate::export::create(path).with_context(|| path.display().to_string())?);
            Output::File(path.clone())
        }
        None => Output::Stdout,
    };
    let outlet = output.direct(false)?;
    playback.run(&args.from.captures, &mut |header,
                                            several|
     -> Box<dyn Sink> {
        let origin = Origin {
            host: &header.host,
            run: several.then_some(header.run.as_str()),
            own_netns: header.begin.own_netns,
        };
        let compose = compose(&output, Format::Json, common, &origin);
        Box::new(Printer::new(compose, Box::new(outlet.clone()), None))
    })
}

fn place(header: &CaptureHeader) -> Place {
    Place {
        host: header.host.clone(),
        run: header.run.clone(),
    }
}

/// Where one file goes, and what errors call it.
pub(super) fn output(path: Option<&Path>) -> Result<(Box<dyn Write + Send>, String)> {
    Ok(match path {
        Some(path) => {
            let name = format!("`{}`", path.display());
            let file = crate::export::create(path);
            (
                Box::new(file.with_context(|| format!("could not make {name}"))?),
                name,
            )
        }
        None => {
            let out = io::BufWriter::with_capacity(1 << 16, io::stdout());
            (Box::new(out), "standard output".to_owned())
        }
    })
}
