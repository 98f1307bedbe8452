//! Processes, addresses and what was wanted, in words. Everything is escaped here.

use super::super::escape::{escape, escape_bytes};
use crate::report::{Call, Endpoint, HolderProcess, Process, Wanted};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A string of another process: from its bytes when it is not UTF-8.
pub(super) fn foreign(text: &str, bytes: Option<&String>) -> String {
    match bytes.map(|bytes| STANDARD.decode(bytes)) {
        Some(Ok(bytes)) => escape_bytes(&bytes),
        Some(Err(_)) | None => escape(text).into_owned(),
    }
}

/// `python3 (pid 812)`.
pub(super) fn process(process: &Process) -> String {
    let comm = foreign(&process.comm, process.comm_bytes.as_ref());
    format!("{comm} (pid {})", process.pid)
}

/// `ceph-osd (pid 3013825)`.
pub(super) fn holder_process(process: &HolderProcess) -> String {
    let comm = foreign(&process.comm, process.comm_bytes.as_ref());
    format!("{comm} (pid {})", process.pid)
}

/// Where a process runs: container, pod, unit; empty where that is nothing worth a word.
pub(super) struct Place<'a> {
    pub(super) unit: Option<&'a str>,
    pub(super) socket_unit: Option<&'a str>,
    pub(super) container: Option<&'a str>,
    pub(super) runtime: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) pod: Option<&'a str>,
}

impl<'a> Place<'a> {
    /// That of a caller.
    pub(super) fn of(process: &'a Process) -> Self {
        Self {
            unit: process.systemd_unit.as_ref().and_then(Option::as_deref),
            socket_unit: process.socket_unit.as_deref(),
            container: process.container.as_ref().and_then(Option::as_deref),
            runtime: process.container_runtime.as_deref(),
            name: process.container_name.as_deref(),
            pod: process.pod_uid.as_deref(),
        }
    }

    /// That of who has a socket.
    pub(super) fn of_holder(process: &'a HolderProcess) -> Self {
        Self {
            unit: process.systemd_unit.as_ref().and_then(Option::as_deref),
            socket_unit: process.socket_unit.as_deref(),
            container: process.container.as_ref().and_then(Option::as_deref),
            runtime: process.container_runtime.as_deref(),
            name: process.container_name.as_deref(),
            pod: process.pod_uid.as_deref(),
        }
    }

    /// ` in app.service for app.socket`, ` in container web (docker 0123456789ab)`.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        if let Some(id) = self.container {
            let short = id.get(..SHORT_ID).unwrap_or(id);
            let engine = self.runtime.map(|runtime| format!("{runtime} "));
            let engine = engine.unwrap_or_default();
            text.push_str(&match self.name {
                Some(name) => format!(" in container {} ({engine}{short})", escape(name)),
                None => format!(" in container {engine}{short}"),
            });
            if let Some(pod) = self.pod {
                text.push_str(&format!(" of pod {}", escape(pod)));
            }
        } else if let Some(unit) = self.unit {
            text.push_str(&format!(" in {}", escape(unit)));
        }
        if let Some(socket) = self.socket_unit.filter(|socket| self.unit != Some(socket)) {
            text.push_str(&format!(" for {}", escape(socket)));
        }
        text
    }
}

/// Digits of a container's id that its engine shows.
const SHORT_ID: usize = 12;

/// Arguments with spaces between, each escaped, in quotes when they hold a space.
pub(super) fn cmdline(
    text: Option<&Vec<String>>,
    bytes: Option<&Vec<String>>,
    truncated: bool,
) -> Option<String> {
    let text = text.filter(|text| !text.is_empty())?;
    let shown = text.iter().enumerate().map(|(n, arg)| {
        let arg = foreign(arg, bytes.and_then(|bytes| bytes.get(n)));
        match arg.is_empty() || arg.contains(' ') {
            true => format!("'{arg}'"),
            false => arg,
        }
    });
    let mut shown = shown.collect::<Vec<_>>().join(" ");
    if shown.chars().count() > CMDLINE {
        shown = shown.chars().take(CMDLINE).collect();
        shown.push_str("...");
    } else if truncated {
        shown.push_str(" ...");
    }
    Some(shown)
}

/// Characters of a command line that are shown; JSON has all of it.
const CMDLINE: usize = 200;

/// `10.0.0.1:80`, `[::]:80`.
pub(super) fn endpoint(endpoint: &Endpoint) -> String {
    address_port(&endpoint.address, &endpoint.port.to_string())
}

/// `0.0.0.0:60001/tcp`, `[::]:any port/udp`.
pub(super) fn wanted(wanted: &Wanted) -> String {
    let port = wanted
        .port
        .map_or_else(|| String::from("any port"), |port| port.to_string());
    let device = match &wanted.device {
        Some(Some(device)) => format!(" on {}", escape(device)),
        Some(None) | None => String::new(),
    };
    format!(
        "{}/{}{device}",
        address_port(&wanted.address, &port),
        wanted.transport.word()
    )
}

/// `60001/tcp`.
pub(super) fn port(wanted: &Wanted) -> String {
    let port = wanted
        .port
        .map_or_else(|| String::from("any port"), |port| port.to_string());
    format!("{port}/{}", wanted.transport.word())
}

/// `bind`, `a UDP send`.
pub(super) fn call(call: Call) -> &'static str {
    match call {
        Call::Bind => "bind",
        Call::Listen => "listen",
        Call::Connect => "connect",
        Call::Autobind => "autobind",
    }
}

fn address_port(address: &str, port: &str) -> String {
    let address = escape(address);
    match address.contains(':') {
        true => format!("[{address}]:{port}"),
        false => format!("{address}:{port}"),
    }
}
