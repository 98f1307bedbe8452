//! What captures cost, one step a call, each printing one line of JSON: `cargo xtask bench` makes
//! ratios of them.
//!
//! ```text
//! capture-bench generate RECORDS PROCESSES zstd|none FILE   records shaped like real ones, with random ports
//! capture-bench assigns RECORDS PROCESSES zstd FILE         assignments alone: bytes of each
//! capture-bench replay FILE                                 decode and correlate, nothing told
//! capture-bench json FILE OUT                               every event as NDJSON
//! ```

mod host;

use anyhow::{Context as _, Result, bail};
use host::{Host, one, process};
use portwatch::capture::fact::{Answer, Question};
use portwatch::capture::note::Begin;
use portwatch::capture::{
    CaptureHeader, Codec, Damage, Recorder, Redaction, WriteOptions, compat, own_layouts,
};
use portwatch::correlate::Correlator;
use portwatch::decode::event::{Ktime, NetnsId, Tgid};
use portwatch::pipeline::Pipeline;
use portwatch::report::{BackendName, ClockAnchor, History, Report, Sizes, Start};
use portwatch::sink::filter::{EventName, Filter, Selection};
use portwatch::sink::json::Json;
use portwatch::sink::outlet::Direct;
use portwatch::sink::redact::{Cmdline, Redact};
use portwatch::sink::tally::EndReason;
use portwatch::sink::writer::LineWriter;
use portwatch::sink::{Printer, Sink, SinkError};
use portwatch::source::replay::{Answers, Audience, play};
use portwatch::source::runs::runs;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

const S: u64 = 1_000_000_000;
/// Records that are made at once: few enough to be as near as those that a ring has just given.
const BATCH: usize = 500;
const ANCHOR: ClockAnchor = ClockAnchor {
    boottime_ns: 1_000 * S,
    realtime_ns: 1_795_342_323_000_000_000,
};

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [
            what @ ("generate" | "assigns"),
            records,
            processes,
            codec,
            file,
        ] => {
            let host = Host::new(processes.parse()?);
            generate(host, records.parse()?, codec, file, what == "generate")
        }
        ["replay", file] => replay(file, None),
        ["json", file, out] => replay(file, Some(out)),
        _ => bail!("see the head of examples/capture-bench.rs"),
    }
}

fn header() -> CaptureHeader {
    CaptureHeader {
        run: "0123456789abcdef0123456789abcdef".to_owned(),
        part: 0,
        first_block: 0,
        host: "bench".to_owned(),
        arch: std::env::consts::ARCH.to_owned(),
        abi: compat::ABI,
        layouts: own_layouts(),
        filtered: std::collections::BTreeMap::new(),
        redacted: Vec::new(),
        begin: Begin {
            started: Ktime(1_000 * S),
            scanned: Ktime(1_000 * S),
            anchor: ANCHOR,
            own_netns: Some(NetnsId(4_026_531_840)),
            incident_timeout: 30 * S,
            settle: 3 * S,
            start: Start {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                kernel: "6.18.0".to_owned(),
                backend: BackendName::Tracepoint,
                hooks: Vec::new(),
                hooks_refused: Vec::new(),
                blind_spots: Vec::new(),
                warnings: Vec::new(),
                namespaces: Vec::new(),
                clock: ANCHOR,
                filters: std::collections::BTreeMap::new(),
                sizes: Sizes {
                    failures_ring: 0,
                    traffic_ring: 0,
                    owners: 0,
                    past: 0,
                    listeners: 0,
                    watched: 0,
                },
                history: History::default(),
                snapshot_sockets: 0,
            },
        },
    }
}

/// Writes `records`; `mixed`: 99 of 100 assign and release, the rest failures with their holders.
fn generate(mut host: Host, records: u64, codec: &str, file: &str, mixed: bool) -> Result<()> {
    let codec = match codec {
        "zstd" => Codec::Zstd,
        "none" => Codec::None,
        other => bail!("`{other}` is no codec"),
    };
    let options = WriteOptions {
        path: PathBuf::from(file),
        codec,
        patient: true,
        ..WriteOptions::default()
    };
    let recorder = Recorder::create(options, header(), Redaction::default())?;
    let (mut written, mut cpu, mut made, mut batch) = (0, 0.0, 0.0, Vec::new());
    let at_first = cpu_seconds_of_process()?;
    let began = Instant::now();
    while written < records {
        let before = cpu_seconds()?;
        batch.clear();
        while batch.len() < BATCH {
            one(&mut host, mixed, &mut batch);
        }
        made += cpu_seconds()? - before;
        let before = cpu_seconds()?;
        // As the pipeline does with what a ring has given.
        let _held = recorder.hold();
        for (record, task) in &batch {
            if recorder.record(record)
                && let Some(task) = task
            {
                // As the pipeline does for a record that nobody shows.
                let (tgid, start) = (Tgid(task.tgid), Ktime(task.start_time));
                recorder.background(tgid, start, || {
                    let answer = Some(process(task));
                    let told = Answer::Process(answer.clone());
                    recorder.fact(Question::Process(tgid, start), told);
                    answer
                });
            }
        }
        cpu += cpu_seconds()? - before;
        written += batch.len() as u64;
    }
    recorder.summary(Ktime(host.time), EndReason::Duration);
    if let Some(missing) = recorder.finish() {
        bail!(missing);
    }
    // With that of the thread that compresses and writes.
    let all = cpu_seconds_of_process()? - at_first - made;
    let size = std::fs::metadata(file)?.len();
    println!(
        "{}",
        serde_json::json!({
            "records": written, "bytes": size, "bytes_per_record": size as f64 / written as f64,
            "pack_us": cpu * 1e6 / written as f64, "all_us": all * 1e6 / written as f64,
            "seconds": began.elapsed().as_secs_f64(),
        })
    );
    Ok(())
}

/// CPU time of this thread.
fn cpu_seconds() -> Result<f64> {
    clock(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID)
}

fn cpu_seconds_of_process() -> Result<f64> {
    clock(nix::time::ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

fn clock(id: nix::time::ClockId) -> Result<f64> {
    let time = nix::time::clock_gettime(id)?;
    Ok(time.tv_sec() as f64 + time.tv_nsec() as f64 / 1e9)
}

struct Silent;

impl Audience for Silent {
    fn comes(&mut self, _: i64, _: &mut Pipeline) -> Result<(), SinkError> {
        Ok(())
    }

    fn damage(&mut self, damage: &Damage) {
        eprintln!("{damage}");
    }
}

/// Counts verdicts.
struct Nobody;

impl Sink for Nobody {
    fn report(&mut self, _: &Report) -> Result<(), SinkError> {
        Ok(())
    }

    fn anchor(&mut self, _: ClockAnchor) {}

    fn flush(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    fn reopen(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Plays a capture: with `out` every event is written there as JSON, without it is decoded and
/// correlated, and conflicts are told to nobody.
fn replay(file: &str, out: Option<&str>) -> Result<()> {
    let open = |path: &Path| -> io::Result<Box<dyn io::Read>> { Ok(Box::new(File::open(path)?)) };
    let (runs, _) = runs(&[PathBuf::from(file)], &open)?;
    let (outlet, events) = match out {
        Some(out) => {
            let out = Box::new(File::create(out)?);
            let writer = LineWriter::new(out, Box::new(io::sink()), false);
            let outlet = Direct::new(writer, "the file", 1 << 16);
            (Some(outlet), EventName::ALL.to_vec())
        }
        None => (None, vec![EventName::Conflict]),
    };
    let mut stages = |header: &CaptureHeader, answers: Answers| {
        let begin = &header.begin;
        let mut correlator = Correlator::new(begin.options(), begin.started, begin.start.clock);
        correlator.snapshot_complete(begin.scanned);
        let sink: Box<dyn Sink> = match &outlet {
            Some(outlet) => {
                let json = Json::new(&header.host, None);
                Box::new(Printer::new(Box::new(json), Box::new(outlet.clone()), None))
            }
            None => Box::new(Nobody),
        };
        let selection = Selection {
            events: events.iter().copied().collect(),
            ..Selection::default()
        };
        let pipeline = Pipeline::new(
            Box::new(answers),
            correlator,
            Filter::new(selection),
            Redact::new(Cmdline::Full, false, false),
            sink,
            begin.started,
        );
        (pipeline, begin.start.clone())
    };
    let began = Instant::now();
    let played = play(runs, &open, &mut stages, &mut Silent)?;
    let seconds = began.elapsed().as_secs_f64();
    let cpu = cpu_seconds()?;
    println!(
        "{}",
        serde_json::json!({
            "inputs": played.inputs, "incidents": played.incidents, "seconds": seconds,
            "cpu_s": cpu, "per_cpu_second": played.inputs as f64 / cpu, "peak_kib": peak()?,
        })
    );
    Ok(())
}

/// Peak of resident memory, KiB.
fn peak() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib
        .context("/proc/self/status has no VmHWM")?
        .trim()
        .parse()?)
}
