//! What user space added to the records, and what every file begins with.

use crate::correlate::Options;
use crate::decode::event::{Ktime, NetnsId, Socket};
use crate::report::{ClockAnchor, LostCount, Start};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Something that the pipeline took and that is no record. Kept by name: one that is added later is
/// skipped by an older reader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Note {
    /// Sockets that the start-up scan met; several such notes add up.
    Older(Vec<Socket>),
    /// Something was dropped.
    Lost {
        /// When that was noticed.
        at: Ktime,
        /// What.
        counts: Vec<LostCount>,
    },
    /// The wall clock was set, or the machine resumed.
    Anchor(ClockAnchor),
    /// A summary was told; one that is not `so-far` is the end of the run.
    Summary {
        /// When.
        at: Ktime,
        /// [`crate::sink::tally::EndReason::word`].
        reason: String,
    },
}

/// How the run began; in the header of every file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begin {
    /// When the hooks were attached.
    pub started: Ktime,
    /// When the start-up scan was complete.
    pub scanned: Ktime,
    /// The clocks at the beginning of this file.
    pub anchor: ClockAnchor,
    /// The tracer's own network namespace.
    pub own_netns: Option<NetnsId>,
    /// `--incident-timeout`, nanoseconds.
    pub incident_timeout: u64,
    /// How long a process keeps another port until it has settled there, nanoseconds.
    pub settle: u64,
    /// The start line; its filters are those of the live output.
    pub start: Start,
}

impl Begin {
    /// The correlator's options of that run; what a replay chooses is put over it.
    #[must_use]
    pub fn options(&self) -> Options {
        Options {
            incident_timeout: Duration::from_nanos(self.incident_timeout),
            settle: Duration::from_nanos(self.settle),
            own_netns: self.own_netns,
            closes_seen: self.start.sees_closes(),
            ..Options::default()
        }
    }
}
