//! Captures through the pipeline, for every command that reads them: what is missing or redacted is
//! said, a bar shows how far it is.

use crate::capture::{CaptureHeader, Damage};
use crate::correlate::{Correlator, Options};
use crate::pipeline::Pipeline;
use crate::report::Start;
use crate::sink::filter::{Filter, Selection};
use crate::sink::redact::Redact;
use crate::sink::{Sink, SinkError};
use crate::source::replay::{Answers, Audience, Played, play};
use crate::source::runs::{Run, runs};
use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::fs::File;
use std::io::{self, IsTerminal as _, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How captures are played.
pub(super) struct Playback {
    /// What passes.
    pub(super) selection: Selection,
    /// What is taken out of it.
    pub(super) redact: Redact,
    /// List the sockets that do not block as well.
    pub(super) neighbours: bool,
    /// Other than in the live run.
    pub(super) incident_timeout: Option<Duration>,
    /// So many times as fast as it happened.
    pub(super) speed: Option<f64>,
    /// Show how far it is, if standard error is a terminal.
    pub(super) bar: bool,
    /// Run after run instead of merged by time.
    pub(super) apart: bool,
}

/// Makes the sink of a run; the run's name is to be told where there are several.
pub(super) type Sinks<'a> = dyn FnMut(&CaptureHeader, bool) -> Box<dyn Sink> + 'a;

/// How it went.
pub(super) struct Outcome {
    /// Incidents that passed.
    pub(super) incidents: u64,
    /// A part of a capture is missing or damaged.
    pub(super) damaged: bool,
    /// Files that were not played, each with the reason.
    pub(super) skipped: Vec<String>,
}

impl Playback {
    /// Plays the captures into the sinks.
    pub(super) fn run(&self, captures: &[PathBuf], sinks: &mut Sinks<'_>) -> Result<Outcome> {
        many_files();
        let (found, skipped) = runs(captures, &|path| open(path, &ProgressBar::hidden()))?;
        for why in &skipped {
            log::warn!("skipped {why}");
        }
        let several = found.len() > 1;
        let mut told = 0_u32;
        let mut names = Names::default();
        let mut stages = |header: &CaptureHeader, answers: Answers| {
            about(header);
            names.come(header, self.redact.hides_addresses());
            told += 1;
            let sink = sinks(header, several || told > 1);
            self.stages(header, answers, sink)
        };
        let shown = self.bar && self.speed.is_none() && io::stderr().is_terminal();
        let bar = match shown {
            true => {
                let bar = bar(captures);
                // A block is read at once and played for a while: the clock goes on meanwhile.
                bar.enable_steady_tick(Duration::from_millis(250));
                bar
            }
            false => ProgressBar::hidden(),
        };
        let mut listener = Listener {
            speed: self.speed,
            first: None,
            bar: bar.clone(),
            damaged: !skipped.is_empty(),
        };
        let mut played = Played::default();
        let groups: Vec<Vec<Run>> = match self.apart {
            true => found.into_iter().map(|run| vec![run]).collect(),
            false => vec![found],
        };
        for group in groups {
            let counting = |path: &Path| open(path, &bar);
            let one = play(group, &counting, &mut stages, &mut listener)?;
            played.incidents += one.incidents;
            played.unanswered += one.unanswered;
        }
        bar.finish_and_clear();
        if played.unanswered > 0 {
            log::info!(
                "{} questions to the machine were not asked when this was captured: what they \
                 would have told is missing",
                played.unanswered
            );
        }
        Ok(Outcome {
            incidents: played.incidents,
            damaged: listener.damaged,
            skipped,
        })
    }

    fn stages(
        &self,
        header: &CaptureHeader,
        answers: Answers,
        sink: Box<dyn Sink>,
    ) -> (Pipeline, Start) {
        let begin = &header.begin;
        let told = begin.options();
        let options = Options {
            neighbours: self.neighbours,
            incident_timeout: self.incident_timeout.unwrap_or(told.incident_timeout),
            ..told
        };
        let mut correlator = Correlator::new(options, begin.started, begin.start.clock);
        correlator.snapshot_complete(begin.scanned);
        let start = Start {
            filters: self.selection.told(),
            ..begin.start.clone()
        };
        let redact = self.redact.clone();
        let redact = match header.has_pseudonyms() {
            true => redact.once(),
            false => redact,
        };
        let pipeline = Pipeline::new(
            Box::new(answers),
            correlator,
            Filter::new(self.selection.clone()),
            redact,
            sink,
            begin.started,
        );
        (pipeline, start)
    }
}

/// As many captures may be open at once as the machine allows: runs of a thousand hosts overlap.
fn many_files() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        log::debug!("no more than {soft} files can be open: {error}");
    }
}

/// What the reader of a replay should know before its first line.
fn about(header: &CaptureHeader) {
    let CaptureHeader {
        filtered, begin, ..
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
    let redacted: Vec<&str> = header.taken_out().collect();
    if !redacted.is_empty() {
        log::warn!(
            "{} were taken out when this was captured",
            redacted.join(", ")
        );
    }
}

/// Whose pseudonyms of addresses come into one output.
#[derive(Debug, Default)]
struct Names {
    numbered: u32,
    others: u32,
    said: bool,
}

impl Names {
    /// Those of one more run. `given`: of an address that is none the output has a pseudonym as well.
    fn come(&mut self, header: &CaptureHeader, given: bool) {
        match header.has_pseudonyms() {
            true if header.is_keyed() => self.others += 1,
            true => self.numbered += 1,
            false => self.others += u32::from(given),
        }
        if !self.said && self.numbered > 0 && self.numbered + self.others > 1 {
            self.said = true;
            log::warn!(
                "addresses were numbered when a run was captured, and other runs have pseudonyms \
                 too: across runs one pseudonym may stand for several addresses; captured with \
                 --redact-key they can be compared"
            );
        }
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
fn bar(captures: &[PathBuf]) -> ProgressBar {
    let size = |path: &Path| match path.is_dir() {
        true => std::fs::read_dir(path)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()))
            .sum(),
        false => path.metadata().map_or(0, |file| file.len()),
    };
    let total: u64 = captures.iter().map(|path| size(path)).sum();
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
        let due = Duration::from_nanos(since).as_secs_f64() / speed;
        let due = Duration::try_from_secs_f64(due).unwrap_or(Duration::MAX);
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
