//! Where and how a run is captured.

use super::parse;
use crate::capture::{Codec, WriteOptions};
use clap::Args;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

/// `--capture` and how.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Capture")]
pub struct CaptureArgs {
    /// Write everything that is seen to this file, for `portwatch replay` on any machine
    ///
    /// Every record goes in, whatever --events and the filters say; they act on what is told. The
    /// file is readable by its owner only. A capture that has this name is kept as FILE.old, in place of an older one.
    #[arg(long, env = "PORTWATCH_CAPTURE", value_name = "FILE")]
    pub capture: Option<PathBuf>,

    /// How the capture is compressed
    #[arg(
        long,
        env = "PORTWATCH_CAPTURE_COMPRESS",
        value_name = "HOW",
        default_value = "zstd"
    )]
    pub capture_compress: Codec,

    /// Begin a new file after so many bytes: 64M, 1G; the finished one becomes FILE.000001, ...
    #[arg(long, env = "PORTWATCH_CAPTURE_ROTATE_SIZE", value_name = "SIZE",
          value_parser = parse::size, requires = "capture")]
    pub capture_rotate_size: Option<u64>,

    /// Begin a new file after this time: 10m, 1h
    #[arg(long, env = "PORTWATCH_CAPTURE_ROTATE_AGE", value_name = "TIME",
          value_parser = parse::duration, requires = "capture")]
    pub capture_rotate_age: Option<Duration>,

    /// Keep so many finished files and delete the oldest
    #[arg(
        long,
        env = "PORTWATCH_CAPTURE_KEEP",
        value_name = "N",
        requires = "capture"
    )]
    pub capture_keep: Option<NonZeroUsize>,

    /// Capture only the kinds of events and the network namespaces that are asked for
    #[arg(long, env = "PORTWATCH_CAPTURE_FILTERED", value_parser = parse::flag)]
    pub capture_filtered: bool,
}

impl CaptureArgs {
    /// Where to write, if anywhere.
    #[must_use]
    pub fn options(&self) -> Option<WriteOptions> {
        Some(WriteOptions {
            path: self.capture.clone()?,
            codec: self.capture_compress,
            rotate_size: self.capture_rotate_size,
            rotate_age: self.capture_rotate_age,
            keep: self.capture_keep.map(NonZeroUsize::get),
            patient: false,
        })
    }

    /// Everything is captured, whatever is asked for.
    #[must_use]
    pub fn takes_all(&self) -> bool {
        self.capture.is_some() && !self.capture_filtered
    }
}
