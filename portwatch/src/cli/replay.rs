//! `portwatch replay`: captures through the same pipeline.

use super::args::{CommonArgs, ReplayArgs};
use super::exit::Status;
use super::sinks::{Origin, compose, rewrites};
use crate::capture::{CaptureHeader, Damage};
use crate::correlate::{Correlator, Options};
use crate::pipeline::Pipeline;
use crate::report::Start;
use crate::sink::filter::Filter;
use crate::sink::output::Output;
use crate::sink::{Printer, SinkError};
use crate::source::replay::{Answers, Audience, play};
use crate::source::runs::runs;
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::Path;
use std::time::{Duration, Instant};

/// Plays every capture to its end.
pub(super) fn run(args: &ReplayArgs, common: &CommonArgs) -> Result<Status> {
    let selection = args.select.selection();
    let format = args.format.format();
    let output = match &args.show.output {
        Some(path) => Output::File(path.clone()),
        None => Output::Stdout,
    };
    let plain = |path: &Path| open(path, &ProgressBar::hidden());
    let (runs, skipped) = runs(&args.captures, &plain)?;
    for why in &skipped {
        log::warn!("skipped {why}");
    }
    let several = runs.len() > 1;
    let outlet = output.direct(rewrites(format, common))?;
    let mut told = 0_u32;
    let mut stages = |header: &CaptureHeader, answers: Answers| {
        about(header);
        told += 1;
        let origin = Origin {
            host: &header.host,
            run: (several || told > 1).then_some(header.run.as_str()),
            own_netns: header.begin.own_netns,
        };
        let compose = compose(&output, format, common, &origin);
        let options = Options {
            neighbours: args.show.neighbours,
            ..header.begin.options()
        };
        let options = Options {
            incident_timeout: args
                .play
                .incident_timeout
                .unwrap_or(options.incident_timeout),
            ..options
        };
        let begin = &header.begin;
        let mut correlator = Correlator::new(options, begin.started, begin.start.clock);
        correlator.snapshot_complete(begin.scanned);
        let printer = Printer::new(compose, Box::new(outlet.clone()), None);
        let start = Start {
            filters: selection.told(),
            ..begin.start.clone()
        };
        let pipeline = Pipeline::new(
            Box::new(answers),
            correlator,
            Filter::new(selection.clone()),
            args.show.redaction(),
            Box::new(printer),
            begin.started,
        );
        (pipeline, start)
    };
    let bar = bar(args, &output);
    let mut listener = Listener {
        speed: args.play.speed,
        first: None,
        bar: bar.clone(),
        damaged: !skipped.is_empty(),
    };
    let counting = |path: &Path| open(path, &bar);
    let played = play(runs, &counting, &mut stages, &mut listener)?;
    bar.finish_and_clear();
    if played.unanswered > 0 {
        log::info!(
            "{} questions to the machine were not asked when this was captured: what they would \
             have told is missing",
            played.unanswered
        );
    }
    if listener.damaged && args.play.strict {
        return Ok(Status::Failed);
    }
    Ok(Status::of_run(played.incidents, args.play.fail_on_conflict))
}

/// What the reader of a replay should know before its first line.
fn about(header: &CaptureHeader) {
    let CaptureHeader {
        filtered,
        redacted,
        begin,
        ..
    } = header;
    let now = env!("CARGO_PKG_VERSION");
    if begin.start.version != now {
        log::warn!(
            "captured by portwatch {}, replayed by {now}: its verdicts may differ",
            begin.start.version
        );
    }
    if !filtered.is_empty() {
        let filters: Vec<String> = filtered
            .iter()
            .map(|(name, value)| format!("--{name} {value}"))
            .collect();
        log::warn!(
            "captured with --capture-filtered {}: other events are not in it",
            filters.join(" ")
        );
    }
    if !redacted.is_empty() {
        log::warn!(
            "{} were taken out when this was captured",
            redacted.join(", ")
        );
    }
}

/// Opens a capture, `-` as standard input; what is read of it moves the bar.
fn open(path: &Path, bar: &ProgressBar) -> io::Result<Box<dyn Read>> {
    Ok(match path == Path::new("-") {
        true => Box::new(bar.wrap_read(io::stdin().lock())),
        false => Box::new(bar.wrap_read(File::open(path)?)),
    })
}

/// A bar on a terminal that shows nothing else, while it goes as fast as possible.
fn bar(args: &ReplayArgs, output: &Output) -> ProgressBar {
    let shown = io::stderr().is_terminal() && !output.is_terminal() && args.play.speed.is_none();
    let size = |path: &Path| match path.is_dir() {
        true => std::fs::read_dir(path)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()))
            .sum(),
        false => path.metadata().map_or(0, |file| file.len()),
    };
    let total: u64 = args.captures.iter().map(|path| size(path)).sum();
    if !shown {
        return ProgressBar::hidden();
    }
    let style = match total {
        0 => "{spinner} {bytes} replayed, {bytes_per_sec}",
        _ => "{bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left",
    };
    let bar = match total {
        0 => ProgressBar::new_spinner(),
        total => ProgressBar::new(total),
    };
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// Paces the replay and says what is missing.
struct Listener {
    speed: Option<f64>,
    first: Option<(i64, Instant)>,
    bar: ProgressBar,
    damaged: bool,
}

impl Audience for Listener {
    fn comes(&mut self, wall_ns: i64, pipeline: &mut Pipeline) -> Result<(), SinkError> {
        let Some(speed) = self.speed else {
            return Ok(());
        };
        let (first, began) = *self.first.get_or_insert_with(|| (wall_ns, Instant::now()));
        let since = u64::try_from(wall_ns.saturating_sub(first)).unwrap_or(0);
        let due = Duration::from_nanos(since).div_f64(speed);
        let wait = due.saturating_sub(began.elapsed());
        if !wait.is_zero() {
            pipeline.sink.flush()?;
            std::thread::sleep(wait);
        }
        Ok(())
    }

    fn damage(&mut self, damage: &Damage) {
        self.damaged = true;
        self.bar.suspend(|| log::warn!("{damage}"));
    }
}
