//! What the pipeline asks of the machine it runs on, behind one trait: the live source answers from
//! /proc and the kernel, a replay from the capture.
//!
//! The answers stand in captures, by the names of their fields, and captures are kept for ever: a
//! field added here takes `#[serde(default)]`, none is renamed or given another meaning, and a new
//! question goes through `capture::fact` as well.

use super::kernel_user::KernelUser;
use crate::decode::blind::Seen;
use crate::decode::event::{Comm, Holder, Ktime, NetnsId, Owner, Tgid, Transport};
use serde::{Deserialize, Deserializer, Serialize};
use std::net::SocketAddr;

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
    /// Process group: the process that made it with setpgid(2), alive or not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Tgid>,
    /// It runs what its parent ran: it has executed nothing since fork().
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forked_only: bool,
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

impl ProcessFacts {
    /// A process of which nothing is known but its name.
    #[must_use]
    pub fn named(tgid: Tgid, start: Ktime, comm: Comm) -> Self {
        Self {
            tgid,
            start,
            comm,
            ppid: None,
            session: None,
            group: None,
            forked_only: false,
            uid: None,
            exe: None,
            cmdline: None,
            cmdline_truncated: false,
            cgroup: None,
            systemd_unit: None,
            socket_unit: None,
            container: None,
            container_runtime: None,
            container_name: None,
            pod_uid: None,
        }
    }
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

/// A range in which a call found no free port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RangeQuestion {
    /// The namespace.
    pub netns: NetnsId,
    /// 6 TCP, 17 UDP.
    pub protocol: u16,
    /// Lowest port.
    pub low: u16,
    /// Highest port.
    pub high: u16,
    /// connect() of TCP: only what keeps it from there is asked for.
    pub destination: Option<SocketAddr>,
}

/// Who held a range, a moment after the failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeFacts {
    /// When it was looked at.
    pub at: Ktime,
    /// The sockets, largest group first.
    pub groups: Vec<RangeGroup>,
    /// Sockets in all.
    pub sockets: u32,
    /// Sockets that are in no group: too many, or they could not be read.
    pub missed: u32,
    /// Their users were looked for: a group without any has none.
    pub looked_for_users: bool,
}

/// A TCP connection, told by its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Our end.
    pub local: SocketAddr,
    /// The other end.
    pub peer: SocketAddr,
    /// Index of the device it is bound to; 0 = none.
    pub device: u32,
}

/// Sockets of a range that one process has or had, alike in all that decides whether they are in
/// the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RangeGroup {
    /// One of them.
    pub holder: Holder,
    /// Who has that one now.
    pub users: Vec<SocketUser>,
    /// How many they are.
    pub sockets: u32,
    /// How many different ports they have.
    pub count: u32,
    /// Of these, the ports that no other group has.
    pub ports: u32,
    /// And the others, from one to another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shared: Vec<(u16, u16)>,
    /// Their different peers; where they are several, that of `holder` is one of them.
    pub peers: u32,
    /// Some bind() has used the buckets of these ports, and whoever did is gone.
    pub stale_bucket: bool,
}

/// The questions. No answer blocks, none is guessed: a process that is gone, or whose start time
/// differs from `start`, is `None`. None has an answer by default: a tap or a replay that forgot one
/// would change what is told.
pub trait Facts {
    /// Processes can be looked up at all. Where not, that one is not found says nothing about it.
    fn sees_processes(&mut self) -> bool;

    /// The process `tgid` that started at `start`.
    fn process(&mut self, tgid: Tgid, start: Ktime) -> Option<ProcessFacts>;

    /// The same for an event that blames nobody: that it runs is of now, the rest may be a tenth of a
    /// second old.
    fn process_lately(&mut self, tgid: Tgid, start: Ktime) -> Option<ProcessFacts>;

    /// Every process that has one of the sockets with these inodes now, which is after `at`; `None` if
    /// one was not found and not every process could be looked at. Each of several can be asked for
    /// alone then.
    fn socket_users(&mut self, inodes: &[u64], at: Ktime) -> Option<Vec<(u64, SocketUser)>>;

    /// Path of the cgroup with this id, for processes that are gone.
    fn cgroup(&mut self, id: u64) -> Option<String>;

    /// What in the kernel has a port of a namespace, for sockets that no process has; `hint` is a
    /// process known to be inside.
    fn kernel_user(
        &mut self,
        netns: NetnsId,
        hint: Tgid,
        transport: Transport,
        port: u16,
    ) -> Option<KernelUser>;

    /// Reserved ports of a namespace and the way there; `hint` is a process known to be inside.
    fn netns(&mut self, netns: NetnsId, hint: Option<Tgid>) -> NetnsFacts;

    /// Name of a network device in a namespace, if it could be read.
    fn device(&mut self, netns: NetnsId, index: u32) -> Option<String>;

    /// Who holds a range of ports, a moment after a call that found none free in it. The answer may
    /// be as old as [`RangeFacts::at`] says: failures that storm share one. `None` if nobody can
    /// tell.
    fn range(&mut self, question: &RangeQuestion) -> Option<RangeFacts>;

    /// Who closed the last descriptors of the sockets with these cookies, by cookie: only of those that
    /// somebody else closed than the process which took their port. Process number 0: nobody that had
    /// the descriptor (it was in a message, for instance).
    fn closers(&mut self, cookies: &[u64]) -> Vec<(u64, Owner)>;

    /// How many milliseconds of TIME_WAIT each of these connections has left, in their order; `None`
    /// for one that is over, or not in TIME_WAIT, or that nobody can tell of. `hint` is a process known
    /// to be inside the namespace.
    fn time_wait_left(
        &mut self,
        netns: NetnsId,
        hint: Tgid,
        connections: &[Connection],
    ) -> Vec<Option<u32>>;

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
