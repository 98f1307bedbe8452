//! What is told of any process: its strings, and where it runs.

use crate::enrich::container;
use crate::enrich::facts::ProcessFacts;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Where a process runs, as /proc told it or, of one that is gone, as its cgroup does.
pub(super) struct Place {
    pub(super) cgroup: Option<String>,
    pub(super) systemd_unit: Option<Option<String>>,
    pub(super) socket_unit: Option<String>,
    pub(super) container: Option<Option<String>>,
    pub(super) container_runtime: Option<String>,
    pub(super) container_name: Option<String>,
    pub(super) pod_uid: Option<String>,
}

impl Place {
    pub(super) fn of(known: Option<&ProcessFacts>, cgroup: Option<&str>) -> Self {
        if let Some(known) = known {
            return Self {
                cgroup: known.cgroup.clone(),
                systemd_unit: known.systemd_unit.clone(),
                socket_unit: known.socket_unit.clone(),
                container: known.container.clone(),
                container_runtime: known.container_runtime.clone(),
                container_name: known.container_name.clone(),
                pod_uid: known.pod_uid.clone(),
            };
        }
        let container = cgroup.map(container::container);
        let runtime = container.as_ref().and_then(|c| c.as_ref()?.runtime);
        Self {
            cgroup: cgroup.map(str::to_owned),
            systemd_unit: cgroup.map(container::systemd_unit),
            socket_unit: None,
            container_runtime: runtime.map(str::to_owned),
            container: container.map(|found| found.map(|found| found.id)),
            container_name: None,
            pod_uid: cgroup.and_then(container::pod_uid),
        }
    }
}

/// The strings of a process, each with its bytes where they are not UTF-8.
#[derive(Default)]
pub(super) struct About {
    pub(super) exe: Option<String>,
    pub(super) exe_bytes: Option<String>,
    pub(super) cmdline: Option<Vec<String>>,
    pub(super) cmdline_bytes: Option<Vec<String>>,
    pub(super) cmdline_truncated: bool,
}

impl About {
    pub(super) fn of(known: Option<&ProcessFacts>) -> Self {
        let Some(known) = known else {
            return Self::default();
        };
        let exe = known.exe.as_deref().map(text);
        let cmdline = known.cmdline.as_deref();
        let odd = cmdline.is_some_and(|args| args.iter().any(|a| str::from_utf8(a).is_err()));
        Self {
            exe: exe.as_ref().map(|(shown, _)| shown.clone()),
            exe_bytes: exe.and_then(|(_, bytes)| bytes),
            cmdline: cmdline.map(|args| args.iter().map(|a| text(a).0).collect()),
            cmdline_bytes: cmdline
                .filter(|_| odd)
                .map(|args| args.iter().map(|a| STANDARD.encode(a)).collect()),
            cmdline_truncated: known.cmdline_truncated,
        }
    }
}

/// Lossy text, and base64 of the bytes when they are not UTF-8.
pub(super) fn text(bytes: &[u8]) -> (String, Option<String>) {
    match str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (
            String::from_utf8_lossy(bytes).into_owned(),
            Some(STANDARD.encode(bytes)),
        ),
    }
}
