//! `--capture`: the recorder of a live run.

use super::args::{CaptureArgs, ShowArgs};
use super::sinks::host;
use crate::capture::note::Begin;
use crate::capture::{CaptureHeader, Recorder, compat, own_layouts};
use crate::correlate::Options;
use crate::report::Start;
use crate::sink::filter::Selection;
use crate::tracer::Tracer;
use anyhow::Result;
use std::collections::BTreeMap;

/// The recorder, if a capture is asked for. The file is made here, before anything is told.
///
/// # Errors
/// The file cannot be made.
pub(super) fn recorder(
    args: &CaptureArgs,
    show: &ShowArgs,
    selection: &Selection,
    tracer: &Tracer,
    options: &Options,
    start: &Start,
) -> Result<Option<Recorder>> {
    let Some(write) = args.options() else {
        return Ok(None);
    };
    let nanos = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let header = CaptureHeader {
        run: run_id()?,
        part: 0,
        first_block: 0,
        host: host(),
        arch: std::env::consts::ARCH.to_owned(),
        abi: compat::ABI,
        layouts: own_layouts(),
        filtered: match args.takes_all() {
            true => BTreeMap::new(),
            false => selection.told(),
        },
        redacted: Vec::new(), // by the recorder
        begin: Begin {
            started: tracer.started,
            scanned: tracer.scanned,
            anchor: tracer.anchor,
            own_netns: options.own_netns,
            incident_timeout: nanos(options.incident_timeout),
            settle: nanos(options.settle),
            start: start.clone(),
        },
    };
    Ok(Some(Recorder::create(write, header, show.kept_out())?))
}

/// 32 hexadecimal digits that no other run has.
fn run_id() -> Result<String> {
    let bytes: [u8; 16] = crate::capture::random()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
