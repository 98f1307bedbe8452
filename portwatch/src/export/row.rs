//! The columns: one row for each report, whatever its type, with what does not apply left empty.
//!
//! Integers are signed, times are microseconds beside a column of nanoseconds: every engine reads
//! those (Spark knows neither unsigned integers nor nanoseconds). docs/fleet.md lists the columns.

use crate::report::{
    BackendName, Call, Cause, Certainty, ExhaustedFor, FreedBy, HolderKind, How, Left, OriginName,
    StateName, TransportName,
};
use serde::{Deserialize, Serialize};

/// One report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "the names of the contract, docs/json-events.md and docs/fleet.md"
)]
pub struct Row {
    /// Microseconds since 1970, UTC.
    pub time: i64,
    /// The same in nanoseconds.
    pub time_ns: i64,
    pub host: String,
    pub run: String,
    /// `start`, `conflict`, ...
    pub r#type: String,
    pub incident: Option<String>,
    pub attempt: Option<i64>,
    pub call: Option<Call>,
    pub error: Option<String>,
    pub errno: Option<i32>,
    pub transport: Option<TransportName>,
    pub netns: Option<i64>,
    /// Wanted, or the socket's own.
    pub address: Option<String>,
    pub port: Option<i32>,
    pub peer_address: Option<String>,
    pub peer_port: Option<i32>,
    pub origin: Option<OriginName>,
    pub cookie: Option<i64>,
    /// Who called.
    pub pid: Option<i64>,
    pub ppid: Option<i64>,
    pub comm: Option<String>,
    pub exe: Option<String>,
    pub cmdline: Option<Vec<String>>,
    pub uid: Option<i64>,
    pub start_time: Option<i64>,
    pub cgroup: Option<String>,
    pub systemd_unit: Option<String>,
    pub container: Option<String>,
    pub container_name: Option<String>,
    pub pod_uid: Option<String>,
    pub cause: Option<Cause>,
    pub certainty: Option<Certainty>,
    /// The first of `holders`.
    pub holder_kind: Option<HolderKind>,
    pub holder_state: Option<StateName>,
    pub holder_origin: Option<OriginName>,
    pub holder_address: Option<String>,
    pub holder_peer_address: Option<String>,
    pub holder_peer_port: Option<i32>,
    pub holder_since: Option<i64>,
    pub holder_held_ms: Option<i64>,
    pub holder_pid: Option<i64>,
    pub holder_comm: Option<String>,
    pub holder_exe: Option<String>,
    pub holder_systemd_unit: Option<String>,
    pub holder_container: Option<String>,
    pub holder_has_socket: Option<bool>,
    pub holders_total: Option<i64>,
    pub holders: Option<Vec<HolderRow>>,
    pub exhausted_for: Option<ExhaustedFor>,
    pub range_low: Option<i32>,
    pub range_high: Option<i32>,
    pub range_contains_port: Option<bool>,
    pub range_reserved: Option<bool>,
    pub held_ms: Option<i64>,
    pub port_free: Option<bool>,
    pub left: Option<Left>,
    pub how: Option<How>,
    pub attempts: Option<i64>,
    pub after_ms: Option<i64>,
    pub freed_by: Option<FreedBy>,
    pub other_port: Option<i32>,
    /// Of `lost`: how many since the last such row. Of `summary`: in the whole run.
    pub lost: Option<i64>,
    pub incidents: Option<i64>,
    pub duration_ms: Option<i64>,
    pub complete: Option<bool>,
    pub version: Option<String>,
    pub kernel: Option<String>,
    pub backend: Option<BackendName>,
    pub namespaces: Option<Vec<RangeRow>>,
    pub message: Option<String>,
}

/// One holder of a conflict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names of the contract")]
pub struct HolderRow {
    pub blocking: bool,
    pub kind: HolderKind,
    pub state: StateName,
    pub origin: Option<OriginName>,
    pub address: String,
    pub port: i32,
    pub peer_address: Option<String>,
    pub peer_port: Option<i32>,
    pub uid: Option<i64>,
    pub cookie: Option<i64>,
    pub since: Option<i64>,
    pub held_ms: Option<i64>,
    pub processes: Vec<ProcessRow>,
}

/// A process that has, or had, a holder's socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names of the contract")]
pub struct ProcessRow {
    pub pid: i64,
    pub comm: String,
    pub exe: Option<String>,
    pub cmdline: Option<Vec<String>>,
    pub systemd_unit: Option<String>,
    pub container: Option<String>,
    pub has_socket: bool,
    pub alive: Option<bool>,
}

/// The ports that the kernel picks from in a namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names of the contract")]
pub struct RangeRow {
    pub netns: i64,
    pub low: i32,
    pub high: i32,
    pub reserved: String,
}
