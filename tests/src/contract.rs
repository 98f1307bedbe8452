//! The JSON contract, version 1, as a reader sees it. Unknown fields are errors.
//!
//! Written from the contract and not from portwatch's own types, so that a change there shows here.

use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use serde_json::Value;

/// A failed attempt to get a port.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract says what each field means")]
pub struct Conflict {
    pub incident: String,
    pub attempt: u64,
    pub call: String,
    pub error: String,
    pub errno: i32,
    pub wanted: Wanted,
    pub requester: Process,
    pub cause: String,
    pub certainty: String,
    pub holders: Vec<Holder>,
    pub holders_total: u64,
    #[serde(default)]
    pub truncated: Option<bool>,
    pub range: Range,
    #[serde(default)]
    pub port_range: Option<PortRange>,
    #[serde(default)]
    pub serves: Vec<Endpoint>,
    #[serde(default)]
    pub tally: Option<Vec<Tally>>,
    #[serde(default)]
    pub counted: Option<Counted>,
    #[serde(default)]
    pub exhausted_for: Option<String>,
    pub message: String,
    #[serde(default)]
    pub advice: Vec<Advice>,
}

/// What the failing call asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract says what each field means")]
pub struct Wanted {
    pub transport: String,
    pub family: String,
    pub address: Option<IpAddr>,
    pub port: Option<u16>,
    #[serde(default)]
    pub destination: Option<Endpoint>,
    pub netns: u64,
    #[serde(default)]
    pub netns_path: Option<String>,
    #[serde(default)]
    pub netns_pid: Option<u32>,
    #[serde(default)]
    pub device: Option<String>,
    pub options: Vec<String>,
}

/// A process: the requester, or the one that a socket belongs to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract says what each field means")]
pub struct Process {
    pub pid: u32,
    #[serde(default)]
    pub tid: Option<u32>,
    #[serde(default)]
    pub ppid: Option<u32>,
    pub comm: String,
    #[serde(default)]
    pub comm_bytes: Option<String>,
    #[serde(default)]
    pub exe: Option<String>,
    #[serde(default)]
    pub exe_bytes: Option<String>,
    #[serde(default)]
    pub cmdline: Option<Vec<String>>,
    #[serde(default)]
    pub cmdline_bytes: Option<Value>,
    #[serde(default)]
    pub cmdline_truncated: Option<bool>,
    #[serde(default)]
    pub uid: Option<u32>,
    #[serde(default)]
    pub start_time: Option<String>,
    #[serde(default)]
    pub cgroup: Option<String>,
    #[serde(default)]
    pub systemd_unit: Option<String>,
    #[serde(default)]
    pub socket_unit: Option<String>,
    #[serde(default)]
    pub container: Option<Value>,
    #[serde(default)]
    pub container_runtime: Option<String>,
    #[serde(default)]
    pub container_name: Option<String>,
    #[serde(default)]
    pub pod_uid: Option<String>,
    #[serde(default)]
    pub has_socket: Option<bool>,
    #[serde(default)]
    pub alive: Option<bool>,
    #[serde(default)]
    pub seen: Option<String>,
}

/// A socket that has the port.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract says what each field means")]
pub struct Holder {
    pub blocking: bool,
    pub kind: String,
    pub state: String,
    #[serde(default)]
    pub origin: Option<String>,
    pub local: Endpoint,
    #[serde(default)]
    pub peer: Option<Endpoint>,
    pub options: Vec<String>,
    #[serde(default)]
    pub device: Option<String>,
    #[serde(default)]
    pub uid: Option<u32>,
    #[serde(default)]
    pub inode: Option<u64>,
    #[serde(default)]
    pub cookie: Option<u64>,
    #[serde(default)]
    pub since: Option<String>,
    #[serde(default)]
    pub since_source: Option<String>,
    #[serde(default)]
    pub held_ms: Option<u64>,
    #[serde(default)]
    pub held_at_least_ms: Option<u64>,
    #[serde(default)]
    pub closed: Option<String>,
    #[serde(default)]
    pub closed_ms: Option<u64>,
    pub time_wait_left_ms: Option<u64>,
    #[serde(default)]
    pub kernel_user: Option<String>,
    pub processes: Vec<Process>,
}

/// An address and a port.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract says what each field means")]
pub struct Endpoint {
    pub address: IpAddr,
    pub port: u16,
}

impl From<&Endpoint> for SocketAddr {
    fn from(endpoint: &Endpoint) -> Self {
        Self::new(endpoint.address, endpoint.port)
    }
}

/// The namespace's ephemeral range at the failure.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract says what each field means")]
pub struct Range {
    pub low: u16,
    pub high: u16,
    pub contains_port: bool,
    #[serde(default)]
    pub of_socket: bool,
    #[serde(default)]
    pub reserved: Option<bool>,
}

/// Who keeps ports of an exhausted range.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract says what each field means")]
pub struct Tally {
    #[serde(default)]
    pub process: Option<Process>,
    pub state: String,
    #[serde(default)]
    pub peer: Option<Endpoint>,
    #[serde(default)]
    pub source: Option<IpAddr>,
    #[serde(default)]
    pub peers: Option<u32>,
    #[serde(default)]
    pub origin: Option<String>,
    #[serde(default)]
    pub stale_bucket: bool,
    pub count: u64,
}

/// The count behind a tally.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract says what each field means")]
pub struct Counted {
    pub time: String,
    pub sockets: u64,
    pub ports: u32,
    #[serde(default)]
    pub available: Option<u32>,
    #[serde(default)]
    pub missed: u32,
}

/// The ports of an incident over a fixed range of them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract says what each field means")]
pub struct PortRange {
    pub low: u16,
    pub high: u16,
}

/// What to do about it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract says what each field means")]
pub struct Advice {
    pub id: String,
    pub text: String,
    #[serde(default)]
    pub command: Option<String>,
}

/// The end of an incident.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract says what each field means")]
pub struct Resolved {
    pub incident: String,
    pub attempts: u64,
    pub after_ms: u64,
    pub how: String,
    pub cause: String,
    pub wanted: Wanted,
    pub requester: Process,
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub freed_by: Option<String>,
    #[serde(default)]
    pub freed_certainty: Option<String>,
    #[serde(default)]
    pub port_range: Option<PortRange>,
    #[serde(default)]
    pub serves: Vec<Endpoint>,
    pub message: String,
}

/// A call refused for another reason than use.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract says what each field means")]
pub struct Refused {
    pub call: String,
    pub error: String,
    pub errno: i32,
    pub wanted: Wanted,
    pub requester: Process,
    pub message: String,
}

/// A socket got a port.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract says what each field means")]
pub struct Assign {
    pub call: String,
    pub transport: String,
    #[serde(default)]
    pub origin: Option<String>,
    pub local: Endpoint,
    pub peer: Option<Endpoint>,
    pub netns: u64,
    #[serde(default)]
    pub cookie: Option<u64>,
    pub process: Process,
}

/// A socket let go of its port.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract says what each field means")]
pub struct Release {
    pub transport: String,
    pub local: Endpoint,
    pub peer: Option<Endpoint>,
    #[serde(default)]
    pub origin: Option<String>,
    #[serde(default)]
    pub held_ms: Option<u64>,
    #[serde(default)]
    pub port_free: Option<bool>,
    #[serde(default)]
    pub ended: Option<String>,
    #[serde(default)]
    pub left: Option<String>,
    pub netns: u64,
    #[serde(default)]
    pub cookie: Option<u64>,
    pub process: Process,
}
