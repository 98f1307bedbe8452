//! `portwatch report`: captures as one HTML page.

use super::args::{EventChoice, ReportArgs};
use super::exit::Status;
use super::place::Place;
use super::playback::Playback;
use crate::capture::CaptureHeader;
use crate::page::{Page, Source};
use crate::sink::filter::Selection;
use crate::sink::redact::Cmdline;
use anyhow::Result;

/// Makes the page of every capture.
pub(super) fn run(args: &ReportArgs) -> Result<Status> {
    let playback = Playback {
        selection: Selection {
            events: EventChoice::names(&[EventChoice::All]),
            ..Selection::default()
        },
        redact: args.redact.redaction(Cmdline::Full),
        neighbours: false,
        incident_timeout: None,
        speed: None,
        bar: true,
        apart: false,
    };
    let place = Place::make(args.output.as_deref(), &args.from.captures)?;
    let (mut out, kept) = place.into_parts();
    let page = Page::default();
    let outcome = playback.run(&args.from.captures, &mut |header, _| {
        Box::new(page.sink(source(header, args)))
    })?;
    let mut skipped = outcome.skipped;
    skipped.iter_mut().for_each(|why| playback.redact.text(why));
    page.skipped(skipped);
    page.write(&mut out, &kept.name)?;
    kept.keep()?;
    match outcome.damaged && args.from.strict {
        true => Ok(Status::Failed),
        false => Ok(Status::Ran),
    }
}

fn source(header: &CaptureHeader, args: &ReportArgs) -> Source {
    let taken_out = header.taken_out().map(str::to_owned);
    let hidden = args.redact.words().map(str::to_owned);
    Source {
        host: header.host.clone(),
        run: header.run.clone(),
        redacted: taken_out.chain(hidden).collect(),
        filtered: !header.filtered.is_empty(),
    }
}
