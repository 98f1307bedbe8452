//! `portwatch replay`: captures through the same pipeline.

use super::args::{CommonArgs, ReplayArgs};
use super::exit::Status;
use super::place::spare;
use super::playback::Playback;
use super::sinks::{Origin, compose, rewrites};
use crate::capture::CaptureHeader;
use crate::sink::output::Output;
use crate::sink::{Printer, Sink};
use anyhow::Result;

/// Plays every capture to its end.
pub(super) fn run(args: &ReplayArgs, common: &CommonArgs) -> Result<Status> {
    let format = args.format.format();
    let output = args.show.output();
    if let Output::File(path) = &output {
        spare(path, &args.from.captures)?;
    }
    let outlet = output.direct(rewrites(format, common))?;
    let playback = Playback {
        selection: args.select.selection(),
        redact: args.show.redaction(),
        neighbours: args.show.neighbours,
        incident_timeout: args.play.incident_timeout,
        speed: args.play.speed,
        bar: !output.is_terminal(),
        apart: false,
    };
    let mut sinks = |header: &CaptureHeader, several: bool| -> Box<dyn Sink> {
        let origin = Origin {
            host: &header.host,
            run: several.then_some(header.run.as_str()),
            own_netns: header.begin.own_netns,
        };
        let compose = compose(&output, format, common, &origin);
        Box::new(Printer::new(compose, Box::new(outlet.clone()), None))
    };
    let outcome = playback.run(&args.from.captures, &mut sinks)?;
    if outcome.damaged && args.from.strict {
        return Ok(Status::Failed);
    }
    Ok(Status::of_run(
        outcome.incidents,
        args.play.fail_on_conflict,
    ))
}
