//! The JSON contract, version 1, as a reader sees it. Unknown fields are errors.
//!
//! Written from the contract and not from portwatch's own types, so that a change there shows here.
//! `start`, `lost` and `summary` keep free-form parts as values.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value};

/// One line of output.
#[derive(Debug, Clone)]
pub struct Event {
    /// What every object carries.
    pub envelope: Envelope,
    /// The rest, by `type`.
    pub body: Body,
    /// The whole object, for messages and for searches over every field.
    pub raw: Value,
}

/// The fields of every object.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the contract says what each field means")]
pub struct Envelope {
    pub schema: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub time: String,
    pub seq: u64,
    pub host: String,
    #[serde(default)]
    pub run: Option<String>,
}

/// The part that depends on `type`.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "named as the contract's types")]
pub enum Body {
    Start(Map<String, Value>),
    Conflict(Box<Conflict>),
    Resolved(Resolved),
    Refused(Refused),
    Assign(Assign),
    Release(Release),
    Lost(Map<String, Value>),
    Summary(Map<String, Value>),
}

const ENVELOPE: [&str; 6] = ["schema", "type", "time", "seq", "host", "run"];

impl Event {
    /// Parses one line, strictly.
    pub fn parse(line: &str) -> Result<Self> {
        let raw: Value = serde_json::from_str(line).context("not JSON")?;
        let Value::Object(object) = raw.clone() else {
            bail!("not an object");
        };
        let (head, rest): (Map<_, _>, Map<_, _>) = object
            .into_iter()
            .partition(|(key, _)| ENVELOPE.contains(&key.as_str()));
        let envelope: Envelope = serde_json::from_value(Value::Object(head))?;
        if envelope.schema != "portwatch/1" {
            bail!("schema `{}`", envelope.schema);
        }
        let body = body(&envelope.kind, rest)
            .with_context(|| format!("a `{}` event off the contract", envelope.kind))?;
        Ok(Self {
            envelope,
            body,
            raw,
        })
    }

    /// The conflict, if it is one.
    #[must_use]
    pub fn conflict(&self) -> Option<&Conflict> {
        if let Body::Conflict(conflict) = &self.body {
            Some(conflict)
        } else {
            None
        }
    }

    /// The end of an incident, if it is one.
    #[must_use]
    pub fn resolved(&self) -> Option<&Resolved> {
        if let Body::Resolved(resolved) = &self.body {
            Some(resolved)
        } else {
            None
        }
    }

    /// The refused call, if it is one.
    #[must_use]
    pub fn refused(&self) -> Option<&Refused> {
        if let Body::Refused(refused) = &self.body {
            Some(refused)
        } else {
            None
        }
    }

    /// The port that a socket got, if it tells of one.
    #[must_use]
    pub fn assign(&self) -> Option<&Assign> {
        if let Body::Assign(assign) = &self.body {
            Some(assign)
        } else {
            None
        }
    }
}

fn body(kind: &str, rest: Map<String, Value>) -> Result<Body> {
    let value = Value::Object(rest.clone());
    Ok(match kind {
        "start" => Body::Start(rest),
        "conflict" => Body::Conflict(Box::new(serde_json::from_value(value)?)),
        "resolved" => Body::Resolved(serde_json::from_value(value)?),
        "refused" => Body::Refused(serde_json::from_value(value)?),
        "assign" => Body::Assign(serde_json::from_value(value)?),
        "release" => Body::Release(serde_json::from_value(value)?),
        "lost" => Body::Lost(rest),
        "summary" => Body::Summary(rest),
        other => bail!("unknown type `{other}`"),
    })
}

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
    pub tally: Option<Vec<Value>>,
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
    pub netns: u64,
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
    pub container: Option<Value>,
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
    pub reserved: Option<bool>,
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
    pub left: Option<String>,
    pub netns: u64,
    #[serde(default)]
    pub cookie: Option<u64>,
    pub process: Process,
}
