//! The founding case and other conflicts.

use crate::report::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

fn strings(words: &str) -> Vec<String> {
    words.split(' ').map(String::from).collect()
}

pub(in crate::sink) fn flask() -> Process {
    Process {
        pid: 812,
        tid: 812,
        ppid: 811,
        comm: "python3".into(),
        comm_bytes: None,
        exe: Some("/usr/bin/python3.11".into()),
        exe_bytes: None,
        cmdline: Some(strings("python3 app.py --port 60001")),
        cmdline_bytes: None,
        cmdline_truncated: false,
        uid: Some(1000),
        start_time: "2026-11-22T10:14:59.900000000Z".into(),
        cgroup: Some("/system.slice/app.service".into()),
        systemd_unit: Some(Some("app.service".into())),
        socket_unit: None,
        container: Some(None),
        container_runtime: None,
        container_name: None,
        pod_uid: None,
    }
}

pub(in crate::sink) fn ceph_osd() -> HolderProcess {
    HolderProcess {
        pid: 3_013_825,
        comm: "ceph-osd".into(),
        comm_bytes: None,
        exe: Some("/usr/bin/ceph-osd".into()),
        exe_bytes: None,
        cmdline: Some(strings("/usr/bin/ceph-osd -f --cluster ceph --id 0")),
        cmdline_bytes: None,
        cmdline_truncated: false,
        uid: Some(167),
        start_time: Some("2026-11-18T10:00:00.000000000Z".into()),
        cgroup: Some("/system.slice/ceph-osd@0.service".into()),
        systemd_unit: Some(Some("ceph-osd@0.service".into())),
        socket_unit: None,
        container: Some(None),
        container_runtime: None,
        container_name: None,
        pod_uid: None,
        has_socket: true,
        alive: Some(true),
        seen: None,
    }
}

pub(in crate::sink) fn endpoint(address: &str, port: u16) -> Endpoint {
    Endpoint {
        address: address.into(),
        port,
    }
}

/// The founding case.
pub(crate) fn conflict() -> Conflict {
    Conflict {
        incident: "60001-tcp-4026531840-1".into(),
        attempt: 1,
        call: Call::Bind,
        error: "EADDRINUSE".into(),
        errno: 98,
        wanted: Wanted {
            transport: TransportName::Tcp,
            family: FamilyName::Ipv4,
            address: "0.0.0.0".into(),
            port: Some(60001),
            destination: None,
            netns: 4_026_531_840,
            netns_path: None,
            netns_pid: None,
            device: Some(None),
            options: vec![OptionName::Reuseaddr],
        },
        requester: flask(),
        cause: Cause::OutboundConnection,
        certainty: Certainty::Exact,
        holders: vec![Holder {
            blocking: true,
            kind: HolderKind::Connection,
            state: StateName::Established,
            origin: Some(OriginName::EphemeralConnect),
            local: endpoint("10.10.10.1", 60001),
            peer: Some(endpoint("10.10.10.2", 6836)),
            device: None,
            options: vec![],
            uid: Some(167),
            inode: Some(71_234),
            cookie: Some(487),
            since: Some("2026-11-20T06:07:25.679135789Z".into()),
            since_source: Some(SinceSource::Assigned),
            held_ms: Some(187_654_321),
            held_at_least_ms: None,
            closed: None,
            closed_ms: None,
            time_wait_left_ms: None,
            kernel_user: None,
            processes: vec![ceph_osd()],
        }],
        holders_total: 1,
        truncated: false,
        range: PortRange {
            low: 32768,
            high: 60999,
            contains_port: true,
            of_socket: false,
            reserved: Some(false),
        },
        port_range: None,
        serves: Vec::new(),
        exhausted_for: None,
        tally: None,
        counted: None,
        message:
            "python3 (pid 812) could not bind 0.0.0.0:60001/tcp: the kernel gave that port to \
                  ceph-osd (pid 3013825) for its connection to 10.10.10.2:6836, 2d 4h ago"
                .into(),
        advice: vec![Advice {
            id: "reserve-port".into(),
            text:
                "60001 lies in the range the kernel picks from (32768-60999); end that connection \
                   to free it now, reserve the port so that it is not handed out again"
                    .into(),
            command: Some("sysctl -w net.ipv4.ip_local_reserved_ports=8080,60001".into()),
        }],
    }
}

/// One holder of another kind, with the message `correlate` gives it.
pub(in crate::sink) fn held(
    cause: Cause,
    kind: HolderKind,
    state: StateName,
    message: &str,
) -> Conflict {
    let mut conflict = conflict();
    conflict.cause = cause;
    conflict.message = format!("python3 (pid 812) could not bind 0.0.0.0:60001/tcp: {message}");
    conflict.holders[0].kind = kind;
    conflict.holders[0].state = state;
    conflict
}

/// The holder's process is gone; TIME_WAIT is left.
pub(in crate::sink) fn time_wait() -> Conflict {
    let mut conflict = held(
        Cause::OutboundTimeWait,
        HolderKind::TimeWait,
        StateName::TimeWait,
        "TIME_WAIT still holds the port after the connection of curl (pid 4711, no longer running) \
         to 10.10.10.2:6836, for which the kernel had picked it, 12s ago",
    );
    conflict.certainty = Certainty::Remembered;
    let holder = &mut conflict.holders[0];
    (holder.uid, holder.inode, holder.held_ms) = (None, None, Some(12_345));
    holder.since = Some("2026-11-22T10:14:47.778456789Z".into());
    let process = &mut holder.processes[0];
    (process.pid, process.comm) = (4711, "curl".into());
    process.exe = Some("/usr/bin/curl".into());
    (process.has_socket, process.alive, process.cmdline) = (false, Some(false), None);
    (process.systemd_unit, process.cgroup) = (None, None);
    process.seen = Some("2026-11-22T10:14:49.000000000Z".into());
    conflict
}

/// A closing connection whose process still runs.
pub(in crate::sink) fn orphan() -> Conflict {
    let mut conflict = held(
        Cause::Orphan,
        HolderKind::Orphan,
        StateName::FinWait2,
        "a connection with 10.10.10.2:6836 still holds the port in FIN_WAIT2 though no process has \
         it any more; it was that of ceph-osd (pid 3013825)",
    );
    conflict.holders[0].processes[0].has_socket = false;
    conflict
}

/// A listener that is older than the tracer.
pub(in crate::sink) fn listener() -> Conflict {
    let mut conflict = held(
        Cause::DualStackListener,
        HolderKind::Listener,
        StateName::Listen,
        "nginx (pid 90) listens on [::]:60001 without IPV6_V6ONLY, which takes IPv4 as well, since \
         before portwatch started (at 10:12:03 UTC)",
    );
    let holder = &mut conflict.holders[0];
    (holder.local, holder.peer, holder.origin) = (endpoint("::", 60001), None, None);
    (holder.since, holder.held_ms) = (None, None);
    holder.since_source = Some(SinceSource::Snapshot);
    holder.held_at_least_ms = Some(177_000);
    let mut worker = ceph_osd();
    (worker.comm, worker.cmdline) = ("nginx".into(), Some(strings("nginx: worker process")));
    worker.systemd_unit = Some(Some("nginx.service".into()));
    worker.exe = Some("/usr/sbin/nginx".into());
    worker.cgroup = Some("/system.slice/nginx.service".into());
    holder.processes = (90..95)
        .map(|pid| HolderProcess {
            pid,
            ..worker.clone()
        })
        .collect();
    conflict.holders_total = 3;
    conflict.advice[0].command = None;
    conflict.advice.push(Advice {
        id: "stop-unit".into(),
        text: "stop that service if it should not have the port".into(),
        command: Some("systemctl stop nginx.service".into()),
    });
    conflict
}

/// Nobody to name.
pub(in crate::sink) fn unknown() -> Conflict {
    let mut conflict = conflict();
    conflict.cause = Cause::Unknown;
    conflict.certainty = Certainty::Unknown;
    conflict.message = "python3 (pid 812) could not bind 0.0.0.0:60001/tcp: who has it cannot be \
                        told, 3 records of its holders were lost"
        .into();
    (conflict.holders, conflict.holders_total, conflict.truncated) = (vec![], 3, true);
    conflict.advice.clear();
    conflict
}

/// Names that try to take over the screen, one of them not UTF-8, on both sides.
pub(in crate::sink) fn evil() -> Conflict {
    let mut conflict = conflict();
    let name = "\u{1b}]0;x\u{7}\u{1b}[2J";
    conflict.requester.comm = name.into();
    conflict.requester.cmdline = Some(vec![
        "a\nb".into(),
        "\u{202e}gnp.exe".into(),
        "two words".into(),
        String::new(),
    ]);
    conflict.requester.systemd_unit = Some(Some("evil\u{9b}31m.service".into()));
    conflict.message = conflict.message.replace("python3", name);
    let process = &mut conflict.holders[0].processes[0];
    let raw = b"os\xff\xfe\x1b[1m";
    process.comm = String::from_utf8_lossy(raw).into_owned();
    process.comm_bytes = Some(STANDARD.encode(raw));
    process.cmdline = Some(vec!["x".repeat(300)]);
    conflict
}
