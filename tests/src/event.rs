//! One line of output: the envelope that every object has, and its body by `type`.
//!
//! `start`, `lost` and `summary` stay free-form; the other bodies are in [`crate::contract`].

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::contract::{Assign, Conflict, Refused, Release, Resolved};

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

#[cfg(test)]
mod tests {
    use super::*;

    /// The contract's own example.
    const CONFLICT: &str = r#"{"schema":"portwatch/1","type":"conflict","time":"2026-11-22T10:15:00.123456789Z","seq":17,"host":"node-7",
 "incident":"60001-tcp-4026531840-1","attempt":1,"call":"bind","error":"EADDRINUSE","errno":98,
 "wanted":{"transport":"tcp","family":"ipv4","address":"0.0.0.0","port":60001,"netns":4026531840,"device":null,"options":["reuseaddr"]},
 "requester":{"pid":812,"tid":812,"ppid":811,"comm":"python3","exe":"/usr/bin/python3","cmdline":["python3","app.py"],"uid":0,
              "start_time":"...","cgroup":"/system.slice/app.service","systemd_unit":"app.service","container":null},
 "cause":"outbound-connection","certainty":"exact",
 "holders":[{"blocking":true,"kind":"connection","state":"established","origin":"ephemeral-connect",
   "local":{"address":"10.10.10.1","port":60001},"peer":{"address":"10.10.10.2","port":6836},
   "options":[],"uid":167,"inode":71234,"cookie":487,"since":"...","since_source":"assigned","held_ms":187654321,
   "processes":[{"pid":3013825,"comm":"ceph-osd","exe":"...","cmdline":["..."],"has_socket":true,"alive":true}]}],
 "holders_total":1,"range":{"low":32768,"high":60999,"contains_port":true,"reserved":false},
 "message":"...","advice":[{"id":"reserve-port","text":"...","command":"portwatch reserve 60001 --apply"}]}"#;

    #[test]
    fn the_example_is_read() -> Result<()> {
        let event = Event::parse(CONFLICT)?;
        let conflict = event.conflict().context("no conflict")?;
        assert_eq!(conflict.wanted.port, Some(60001));
        assert_eq!(conflict.holders[0].processes[0].comm, "ceph-osd");
        Ok(())
    }

    #[test]
    fn what_the_contract_does_not_know_is_refused() {
        for (known, unknown) in [
            ("\"seq\":17", "\"seq\":17,\"sequence\":17"),
            ("\"blocking\":true", "\"blocking\":true,\"guilty\":true"),
            ("portwatch/1", "portwatch/2"),
            ("\"type\":\"conflict\"", "\"type\":\"quarrel\""),
        ] {
            assert!(
                Event::parse(&CONFLICT.replacen(known, unknown, 1)).is_err(),
                "{unknown}"
            );
        }
    }
}
