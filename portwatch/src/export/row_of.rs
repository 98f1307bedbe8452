//! A report to its row.

use super::row::{HolderRow, ProcessRow, RangeRow, Row};
use super::{Place, wall_ns};
use crate::report::{
    Assign, Body, ClockAnchor, Conflict, Endpoint, Holder, HolderProcess, Lost, NetnsRange,
    Process, Refused, Release, Report, Resolved, Start, Summary, Wanted,
};

impl Row {
    /// The row of a report.
    #[must_use]
    pub fn of(report: &Report, place: &Place, anchor: ClockAnchor) -> Self {
        let time_ns = wall_ns(anchor, report.at);
        let mut row = Self {
            time: time_ns.div_euclid(1000),
            time_ns,
            host: place.host.clone(),
            run: place.run.clone(),
            r#type: report.body.word().to_owned(),
            ..Self::default()
        };
        match &report.body {
            Body::Start(start) => row.start(start),
            Body::Conflict(conflict) => row.conflict(conflict),
            Body::Resolved(resolved) => row.resolved(resolved),
            Body::Refused(refused) => row.refused(refused),
            Body::Assign(assign) => row.assign(assign),
            Body::Release(release) => row.release(release),
            Body::Lost(lost) => row.lost(lost),
            Body::Summary(summary) => row.summary(summary),
        }
        row
    }

    fn start(&mut self, start: &Start) {
        self.version = Some(start.version.clone());
        self.kernel = Some(start.kernel.clone());
        self.backend = Some(start.backend);
        self.namespaces = Some(start.namespaces.iter().map(range).collect());
    }

    fn conflict(&mut self, conflict: &Conflict) {
        self.incident = Some(conflict.incident.clone());
        self.attempt = Some(signed(conflict.attempt));
        self.call = Some(conflict.call);
        self.error = Some(conflict.error.clone());
        self.errno = i32::try_from(conflict.errno).ok();
        self.wanted(&conflict.wanted);
        self.process(&conflict.requester);
        self.cause = Some(conflict.cause);
        self.certainty = Some(conflict.certainty);
        if let Some(first) = conflict.holders.first() {
            self.holder(first);
        }
        self.holders_total = Some(i64::from(conflict.holders_total));
        self.holders = Some(conflict.holders.iter().map(holder).collect());
        self.exhausted_for = conflict.exhausted_for;
        self.range_low = Some(conflict.range.low.into());
        self.range_high = Some(conflict.range.high.into());
        self.range_contains_port = Some(conflict.range.contains_port);
        self.range_reserved = conflict.range.reserved;
        self.message = Some(conflict.message.clone());
    }

    fn holder(&mut self, first: &Holder) {
        self.holder_kind = Some(first.kind);
        self.holder_state = Some(first.state);
        self.holder_origin = first.origin;
        self.holder_address = Some(first.local.address.clone());
        (self.holder_peer_address, self.holder_peer_port) = end(first.peer.as_ref());
        self.holder_since = first.since.as_deref().and_then(micros);
        self.holder_held_ms = first.held_ms.or(first.held_at_least_ms).map(signed);
        if let Some(process) = first.processes.first() {
            self.holder_pid = Some(process.pid.into());
            self.holder_comm = Some(process.comm.clone());
            self.holder_exe.clone_from(&process.exe);
            self.holder_systemd_unit = process.systemd_unit.clone().flatten();
            self.holder_container = process.container.clone().flatten();
            self.holder_has_socket = Some(process.has_socket);
        }
    }

    fn resolved(&mut self, resolved: &Resolved) {
        self.incident = Some(resolved.incident.clone());
        self.attempts = Some(signed(resolved.attempts));
        self.after_ms = Some(signed(resolved.after_ms));
        self.how = Some(resolved.how);
        self.cause = Some(resolved.cause);
        self.wanted(&resolved.wanted);
        self.process(&resolved.requester);
        self.other_port = resolved.port.map(i32::from);
        self.freed_by = resolved.freed_by;
        self.message = Some(resolved.message.clone());
    }

    fn refused(&mut self, refused: &Refused) {
        self.call = Some(refused.call);
        self.error = Some(refused.error.clone());
        self.errno = i32::try_from(refused.errno).ok();
        self.wanted(&refused.wanted);
        self.process(&refused.requester);
        self.message = Some(refused.message.clone());
    }

    fn assign(&mut self, assign: &Assign) {
        self.call = Some(assign.call);
        self.transport = Some(assign.transport);
        self.origin = assign.origin;
        self.ends(&assign.local, assign.peer.as_ref());
        self.netns = Some(assign.netns.into());
        self.cookie = assign.cookie.map(signed);
        self.process(&assign.process);
    }

    fn release(&mut self, release: &Release) {
        self.transport = Some(release.transport);
        self.origin = release.origin;
        self.ends(&release.local, release.peer.as_ref());
        self.netns = Some(release.netns.into());
        self.cookie = release.cookie.map(signed);
        self.held_ms = release.held_ms.map(signed);
        self.port_free = release.port_free;
        self.left = release.left;
        self.process(&release.process);
    }

    fn lost(&mut self, lost: &Lost) {
        let counts = lost.since_last.iter().map(|count| count.count);
        self.lost = Some(signed(counts.fold(0, u64::saturating_add)));
        let meanings = lost.since_last.iter().map(|count| count.meaning.as_str());
        self.message = Some(meanings.collect::<Vec<_>>().join("; "));
    }

    fn summary(&mut self, summary: &Summary) {
        let counts = summary.lost.iter().map(|count| count.count);
        self.lost = Some(signed(counts.fold(0, u64::saturating_add)));
        self.incidents = Some(signed(summary.incidents));
        self.duration_ms = Some(signed(summary.duration_ms));
        self.complete = Some(summary.complete);
        self.message = Some(summary.reason.clone());
    }

    fn wanted(&mut self, wanted: &Wanted) {
        self.transport = Some(wanted.transport);
        self.netns = Some(wanted.netns.into());
        self.address = Some(wanted.address.clone());
        self.port = wanted.port.map(i32::from);
        (self.peer_address, self.peer_port) = end(wanted.destination.as_ref());
    }

    fn ends(&mut self, local: &Endpoint, peer: Option<&Endpoint>) {
        (self.address, self.port) = end(Some(local));
        (self.peer_address, self.peer_port) = end(peer);
    }

    fn process(&mut self, process: &Process) {
        let Process {
            pid,
            tid: _,
            ppid,
            comm,
            comm_bytes: _,
            exe,
            exe_bytes: _,
            cmdline,
            cmdline_bytes: _,
            cmdline_truncated: _,
            uid,
            start_time,
            cgroup,
            systemd_unit,
            socket_unit: _,
            container,
            container_runtime: _,
            container_name,
            pod_uid,
        } = process;
        self.pid = Some(i64::from(*pid));
        self.ppid = Some(i64::from(*ppid));
        self.comm = Some(comm.clone());
        self.exe.clone_from(exe);
        self.cmdline.clone_from(cmdline);
        self.uid = uid.map(i64::from);
        self.start_time = micros(start_time);
        self.cgroup.clone_from(cgroup);
        self.systemd_unit = systemd_unit.clone().flatten();
        self.container = container.clone().flatten();
        self.container_name.clone_from(container_name);
        self.pod_uid.clone_from(pod_uid);
    }
}

fn holder(holder: &Holder) -> HolderRow {
    let (peer_address, peer_port) = end(holder.peer.as_ref());
    HolderRow {
        blocking: holder.blocking,
        kind: holder.kind,
        state: holder.state,
        origin: holder.origin,
        address: holder.local.address.clone(),
        port: holder.local.port.into(),
        peer_address,
        peer_port,
        uid: holder.uid.map(i64::from),
        cookie: holder.cookie.map(signed),
        since: holder.since.as_deref().and_then(micros),
        held_ms: holder.held_ms.or(holder.held_at_least_ms).map(signed),
        processes: holder.processes.iter().map(process).collect(),
    }
}

fn process(process: &HolderProcess) -> ProcessRow {
    ProcessRow {
        pid: process.pid.into(),
        comm: process.comm.clone(),
        exe: process.exe.clone(),
        cmdline: process.cmdline.clone(),
        systemd_unit: process.systemd_unit.clone().flatten(),
        container: process.container.clone().flatten(),
        has_socket: process.has_socket,
        alive: process.alive,
    }
}

fn range(range: &NetnsRange) -> RangeRow {
    RangeRow {
        netns: range.netns.into(),
        low: range.low.into(),
        high: range.high.into(),
        reserved: range.reserved.clone(),
    }
}

fn end(end: Option<&Endpoint>) -> (Option<String>, Option<i32>) {
    match end {
        Some(end) => (Some(end.address.clone()), Some(end.port.into())),
        None => (None, None),
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Microseconds since 1970 of a time in the contract's form.
fn micros(time: &str) -> Option<i64> {
    let time: jiff::Timestamp = time.parse().ok()?;
    Some(time.as_microsecond())
}
