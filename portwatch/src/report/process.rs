//! Processes in the contract.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

/// The process whose call failed, or that took a port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Process {
    /// Thread-group id in the initial pid namespace.
    pub pid: u32,
    /// The thread that called.
    pub tid: u32,
    /// Parent process.
    pub ppid: u32,
    /// Name of the thread-group leader.
    pub comm: String,
    /// `comm` in base64 when it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub comm_bytes: Option<String>,
    /// Executable.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exe: Option<String>,
    /// `exe` in base64 when it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exe_bytes: Option<String>,
    /// Arguments.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cmdline: Option<Vec<String>>,
    /// `cmdline` in base64 when one of them is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cmdline_bytes: Option<Vec<String>>,
    /// `cmdline` was cut at 4 KiB.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub cmdline_truncated: bool,
    /// Effective uid in the initial user namespace; absent when redacted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uid: Option<u32>,
    /// Start of the process.
    pub start_time: String,
    /// cgroup path.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cgroup: Option<String>,
    /// systemd unit; null = in none.
    #[serde(
        skip_serializing_if = "Option::is_none",
        default,
        deserialize_with = "nullable"
    )]
    pub systemd_unit: Option<Option<String>>,
    /// The unit whose socket systemd opened or gave to it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub socket_unit: Option<String>,
    /// Container id; null = in none.
    #[serde(
        skip_serializing_if = "Option::is_none",
        default,
        deserialize_with = "nullable"
    )]
    pub container: Option<Option<String>>,
    /// What runs the container: `docker`, `containerd`, `cri-o`, `podman`; absent where its cgroup
    /// does not tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub container_runtime: Option<String>,
    /// Name of the container; only with `--containers`, and if the engine said it in time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub container_name: Option<String>,
    /// Uid of the Kubernetes pod.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pod_uid: Option<String>,
}

/// A process that has, or had, a holder's socket.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HolderProcess {
    /// Thread-group id in the initial pid namespace.
    pub pid: u32,
    /// Name of the thread-group leader.
    pub comm: String,
    /// `comm` in base64 when it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub comm_bytes: Option<String>,
    /// Executable.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exe: Option<String>,
    /// `exe` in base64 when it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exe_bytes: Option<String>,
    /// Arguments.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cmdline: Option<Vec<String>>,
    /// `cmdline` in base64 when one of them is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cmdline_bytes: Option<Vec<String>>,
    /// `cmdline` was cut at 4 KiB.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub cmdline_truncated: bool,
    /// Effective uid; absent when not known or redacted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uid: Option<u32>,
    /// Start of the process.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub start_time: Option<String>,
    /// cgroup path.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cgroup: Option<String>,
    /// systemd unit; null = in none.
    #[serde(
        skip_serializing_if = "Option::is_none",
        default,
        deserialize_with = "nullable"
    )]
    pub systemd_unit: Option<Option<String>>,
    /// The unit whose socket systemd opened or gave to it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub socket_unit: Option<String>,
    /// Container id; null = in none.
    #[serde(
        skip_serializing_if = "Option::is_none",
        default,
        deserialize_with = "nullable"
    )]
    pub container: Option<Option<String>>,
    /// What runs the container: `docker`, `containerd`, `cri-o`, `podman`; absent where its cgroup
    /// does not tell.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub container_runtime: Option<String>,
    /// Name of the container; only with `--containers`, and if the engine said it in time.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub container_name: Option<String>,
    /// Uid of the Kubernetes pod.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pod_uid: Option<String>,
    /// It has the socket now; with `alive` absent: it was the last to have it, and has not let go of it
    /// as far as the kernel told.
    pub has_socket: bool,
    /// This very process (same start time) still runs; absent where no process can be looked up.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub alive: Option<bool>,
    /// When it was last seen with the socket, for one that has it no more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub seen: Option<String>,
}

/// A field that is there is `Some`, even as `null`.
pub(super) fn nullable<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
