//! The lines around the verdicts: the start, the end of incidents and of the run, losses.
//!
//! [`Start`], [`ClockAnchor`] and [`LostCount`] stand in captures, which are kept for ever: a field
//! that is added to them or to their parts takes `#[serde(default)]`, and those of a newer build are
//! skipped when they are read.

use super::{
    Call, Cause, Certainty, Endpoint, FreedBy, How, Ports, Process, TransportName, Wanted,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the kernel is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BackendName {
    /// fexit and fentry.
    Trampoline,
    /// kprobe and kretprobe.
    Kprobe,
    /// Tracepoints, cgroup hooks, sock_ops.
    Tracepoint,
}

impl BackendName {
    /// As `--backend` and JSON write it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Trampoline => "trampoline",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
        }
    }
}

/// First line: what this run can see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Start {
    /// portwatch's version.
    pub version: String,
    /// `uname -r`.
    pub kernel: String,
    /// How the kernel is watched.
    pub backend: BackendName,
    /// Attached hooks.
    pub hooks: Vec<Hook>,
    /// Hooks that were refused, and why.
    pub hooks_refused: Vec<RefusedHook>,
    /// What this backend cannot see.
    pub blind_spots: Vec<String>,
    /// Warnings about this machine: what is lost by them.
    pub warnings: Vec<String>,
    /// Ephemeral range and reserved ports of the namespaces known now.
    pub namespaces: Vec<NetnsRange>,
    /// How wall time follows from kernel time.
    pub clock: ClockAnchor,
    /// Filters in force, as given.
    pub filters: BTreeMap<String, String>,
    /// Sizes of rings and maps.
    pub sizes: Sizes,
    /// How far back the past is remembered; zeros where a capture does not say.
    #[serde(default)]
    pub history: History,
    /// Sockets that the start-up scan found.
    pub snapshot_sockets: u64,
}

impl Start {
    /// The hook is attached that sees a socket's last close, and who it was.
    #[must_use]
    pub fn sees_closes(&self) -> bool {
        self.hooks.iter().any(|hook| hook.target == "sock_release")
    }
}

/// An attached hook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Hook {
    /// Kind of the program: `fentry`, `fexit`, `kprobe`, `kretprobe`, `tracepoint`, `tp_btf`,
    /// `cgroup`, `sock_ops`, `iter`, `raw_tp`.
    pub kind: String,
    /// Where it is attached.
    pub target: String,
}

/// A hook that was refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RefusedHook {
    /// Kind of the program.
    pub kind: String,
    /// Where it was to be attached.
    pub target: String,
    /// The kernel's reason.
    pub reason: String,
    /// What is lost without it.
    pub lost: String,
}

/// Range and reserved ports of one namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct NetnsRange {
    /// Inode of the network namespace.
    pub netns: u32,
    /// Lowest port the kernel picks.
    pub low: u16,
    /// Highest.
    pub high: u16,
    /// `ip_local_reserved_ports`; empty = none.
    pub reserved: String,
}

/// Wall time = `realtime_ns` + (kernel time - `boottime_ns`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ClockAnchor {
    /// CLOCK_BOOTTIME at the anchor.
    pub boottime_ns: u64,
    /// CLOCK_REALTIME at the same moment, nanoseconds since 1970.
    pub realtime_ns: i64,
}

/// Sizes of what can overflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Sizes {
    /// FAILURES ring, bytes.
    pub failures_ring: u32,
    /// TRAFFIC ring, bytes.
    pub traffic_ring: u32,
    /// Entries of OWNERS.
    pub owners: u32,
    /// Entries of PAST: closed connections that are remembered.
    pub past: u32,
    /// Entries of LISTENERS.
    pub listeners: u32,
    /// Entries of WATCHED.
    pub watched: u32,
}

/// How far back a holder without a process is still named by the record of its own socket. The oldest
/// entries make room for new ones, so it is a number and not a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct History {
    /// Connections whose last descriptor was closed: who had them, when they took and left the port.
    pub closed_connections: u32,
    /// Addresses and ports whose last listener is known.
    pub listeners: u32,
    /// Up to so many closes a second every connection in TIME_WAIT (60 s) is among them.
    pub closes_per_second: u32,
}

/// The end of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Resolved {
    /// Id of the incident.
    pub incident: String,
    /// Failed attempts in all.
    pub attempts: u64,
    /// From the first failure to what ended it.
    pub after_ms: u64,
    /// How it ended.
    pub how: How,
    /// The cause of the last attempt.
    pub cause: Cause,
    /// What was wanted.
    pub wanted: Wanted,
    /// Who wanted it.
    pub requester: Process,
    /// The ports that were tried, if several: one after another.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port_range: Option<Ports>,
    /// Where the requester serves the wanted port all the same: on other addresses.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub serves: Vec<Endpoint>,
    /// With `other-port`: the port taken instead.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port: Option<u16>,
    /// What freed the port.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub freed_by: Option<FreedBy>,
    /// How sure `freed_by` is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub freed_certainty: Option<Certainty>,
    /// The story in one sentence.
    pub message: String,
}

/// A call that failed for another reason than a taken port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// The call.
    pub call: Call,
    /// The errno's name.
    pub error: String,
    /// The errno.
    pub errno: u32,
    /// What was wanted.
    pub wanted: Wanted,
    /// Who wanted it.
    pub requester: Process,
    /// In one sentence.
    pub message: String,
}

/// Events were dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    /// Since the last such line.
    pub since_last: Vec<LostCount>,
    /// Since the start, all kinds together.
    pub total: u64,
}

/// One kind of loss.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LostCount {
    /// Where: `failures`, `sockets`, `sends`, `holders`, `refused`, `assign`, `release`, `watched`,
    /// `watch`, `owners`, `missed`, `returns`, `decode`, `output`.
    pub place: String,
    /// How many.
    pub count: u64,
    /// What that means for the verdicts.
    pub meaning: String,
    /// The ring that was full: `failures` or `traffic`; absent where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring: Option<String>,
    /// How many at each hook, by the names of the start line; empty for what no hook lost.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub hooks: BTreeMap<String, u64>,
}

impl LostCount {
    /// A loss that happened at no hook.
    #[must_use]
    pub fn new(place: impl Into<String>, count: u64, meaning: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            count,
            meaning: meaning.into(),
            ring: None,
            hooks: BTreeMap::new(),
        }
    }
}

/// Last line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Summary {
    /// Length of the run.
    pub duration_ms: u64,
    /// Incidents that passed the filters.
    pub incidents: u64,
    /// Lines per type.
    pub totals: BTreeMap<String, u64>,
    /// Incidents per cause.
    pub causes: BTreeMap<Cause, u64>,
    /// Incidents per transport.
    pub transports: BTreeMap<TransportName, u64>,
    /// Losses of the whole run.
    pub lost: Vec<LostCount>,
    /// Why the run ended: `interrupted`, `terminated`, `duration`, `max-conflicts`, `command-ended`,
    /// `end-of-input`, `so-far`.
    pub reason: String,
    /// Nothing was lost, and no more will come.
    pub complete: bool,
}
