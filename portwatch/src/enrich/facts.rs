//! What the pipeline asks of the machine it runs on, behind one trait: the live source answers from
//! /proc and the kernel, a replay from the capture.
//!
//! The answers stand in captures, by the names of their fields, and captures are kept for ever: a
//! field added here takes `#[serde(default)]`, none is renamed or given another meaning, and a new
//! question goes through `capture::fact` as well.

use crate::decode::blind::Seen;
use crate::decode::event::{Comm, Ktime, NetnsId, Tgid};
use serde::{Deserialize, Deserializer, Serialize};

/// A process as /proc tells it. A field that could not be read in time is `None`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessFacts {
    /// The process.
    pub tgid: Tgid,
    /// Start of its leader, from /proc/PID/stat, in clock ticks precision.
    pub start: Ktime,
    /// Name of the leader now.
    pub comm: Comm,
    /// Parent.
    pub ppid: Option<Tgid>,
    /// Session: the process that made it with setsid(2), alive or not.
    pub session: Option<Tgid>,
    /// Effective uid.
    pub uid: Option<u32>,
    /// Target of /proc/PID/exe.
    pub exe: Option<Vec<u8>>,
    /// Arguments, cut at 4 KiB in all.
    pub cmdline: Option<Vec<Vec<u8>>>,
    /// `cmdline` was cut.
    pub cmdline_truncated: bool,
    /// cgroup v2 path (v1: the path in the `name=systemd` or first hierarchy).
    pub cgroup: Option<String>,
    /// systemd unit of that path; `Some(None)` = in none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "known"
    )]
    pub systemd_unit: Option<Option<String>>,
    /// The unit whose socket systemd gave it (LISTEN_FDNAMES of its environment), if it is one.
    pub socket_unit: Option<String>,
    /// Container id of that path; `Some(None)` = in none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "known"
    )]
    pub container: Option<Option<String>>,
    /// What runs that container (`docker`, `containerd`, `cri-o`, `podman`), where the path tells.
    pub container_runtime: Option<String>,
    /// Name of that container; only where it was asked for and the engine said it in time.
    pub container_name: Option<String>,
    /// Uid of its Kubernetes pod.
    pub pod_uid: Option<String>,
}

/// A field that is there is known, also where it says none: without this, serde takes a null for an
/// absent field.
fn known<'de, T: Deserialize<'de>, D: Deserializer<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// A process that has a socket's descriptor now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketUser {
    /// The process.
    pub tgid: Tgid,
    /// Start of its leader.
    pub start: Ktime,
    /// Name of its leader.
    pub comm: Comm,
}

/// Reserved ports and range of one network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetnsFacts {
    /// `ip_local_reserved_ports` as the kernel prints it, e.g. `8080,9148-9150`; empty = none.
    pub reserved: Option<String>,
    /// A process whose namespace it is, for `nsenter`; `None` for the caller's own namespace.
    pub reach: Option<NetnsReach>,
}

/// How the user's shell reaches a namespace that is not its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetnsReach {
    /// `nsenter --net=PATH`: a mount such as /run/netns/NAME.
    Path(String),
    /// `nsenter --target TGID --net`.
    Process(Tgid),
}

/// A port as the kernel tells it on request, after a failure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortFacts {
    /// Sockets that have it; not all of them if there are many.
    pub sockets: Vec<Seen>,
    /// How many have it.
    pub total: u32,
    /// `ip_local_port_range` of the namespace.
    pub range: Option<(u16, u16)>,
}

/// The questions. No answer blocks, none is guessed: a process that is gone, or whose start time
/// differs from `start`, is `None`.
pub trait Facts {
    /// The process `tgid` that started at `start`.
    fn process(&mut self, tgid: Tgid, start: Ktime) -> Option<ProcessFacts>;

    /// Every process that has the socket with this inode now, which is after `at`; `None` if nobody
    /// could look.
    fn socket_users(&mut self, inodes: &[u64], at: Ktime) -> Option<Vec<(u64, SocketUser)>>;

    /// Reserved ports of a namespace and the way there; `hint` is a process known to be inside.
    fn netns(&mut self, netns: NetnsId, hint: Option<Tgid>) -> NetnsFacts;

    /// Name of a network device in a namespace, if it could be read.
    fn device(&mut self, netns: NetnsId, index: u32) -> Option<String>;

    /// Who has a port of a protocol now (`None` = of TCP and UDP), for failures that come without
    /// holders; `hint` is a process known to be inside the namespace. `None` if nobody can tell.
    fn port(
        &mut self,
        netns: NetnsId,
        hint: Tgid,
        protocol: Option<u16>,
        port: Option<u16>,
    ) -> Option<PortFacts>;
}
