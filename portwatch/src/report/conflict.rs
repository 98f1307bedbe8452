//! A failed attempt and who has the port.

use super::process::nullable;
use super::traffic::Endpoint;
use super::{
    Call, Cause, Certainty, ExhaustedFor, FamilyName, HolderKind, HolderProcess, OptionName,
    OriginName, Process, SinceSource, StateName, TransportName,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One failed attempt of a bind, listen, connect or autobind for want of a port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Conflict {
    /// Id of the incident this attempt belongs to: PORT-TRANSPORT-NETNS-NUMBER.
    pub incident: String,
    /// 1, 2, ... within the incident.
    pub attempt: u64,
    /// The call.
    pub call: Call,
    /// The errno's name.
    pub error: String,
    /// The errno.
    pub errno: u32,
    /// What was wanted.
    pub wanted: Wanted,
    /// Who wanted it.
    pub requester: Process,
    /// Why it failed: that of `holders[0]`.
    pub cause: Cause,
    /// How sure that is.
    pub certainty: Certainty,
    /// Who has the port: blocking ones first.
    pub holders: Vec<Holder>,
    /// Every owner of the port that was counted, blocking or not.
    pub holders_total: u32,
    /// The count stopped early, or there may be blockers that are not listed.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub truncated: bool,
    /// The ephemeral range at the failure.
    pub range: PortRange,
    /// The ports that the incident has tried, if several: one after another, as programs do that
    /// take the first free one of a range.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port_range: Option<Ports>,
    /// Where the requester serves this very port all the same: on other addresses.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub serves: Vec<Endpoint>,
    /// With `range-exhausted`: what there is no port for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub exhausted_for: Option<ExhaustedFor>,
    /// With `range-exhausted`: who holds its ports, largest first; absent when nobody could look.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tally: Option<Vec<Tally>>,
    /// With `tally`: when it was counted, and what in all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub counted: Option<Counted>,
    /// The story in one sentence.
    pub message: String,
    /// What to do.
    pub advice: Vec<Advice>,
}

/// What a call wanted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Transport.
    pub transport: TransportName,
    /// Family of the address.
    pub family: FamilyName,
    /// RFC 5952, unbracketed.
    pub address: String,
    /// null = no port was wanted: the range was exhausted.
    pub port: Option<u16>,
    /// connect(): where to; absent when that is not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub destination: Option<Endpoint>,
    /// Inode of the network namespace; 0 = not known (`lockdown=confidentiality`).
    pub netns: u32,
    /// Where that namespace is mounted, `/run/netns/web`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub netns_path: Option<String>,
    /// A process in that namespace, where no mount leads there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub netns_pid: Option<u32>,
    /// Device of SO_BINDTODEVICE; null = none.
    #[serde(
        skip_serializing_if = "Option::is_none",
        default,
        deserialize_with = "nullable"
    )]
    pub device: Option<Option<String>>,
    /// Options of the failing socket.
    pub options: Vec<OptionName>,
}

/// A socket that has the port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// The kernel's rule says that this socket blocks.
    pub blocking: bool,
    /// What it is.
    pub kind: HolderKind,
    /// Its state.
    pub state: StateName,
    /// How it came to the port; absent when not proven.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub origin: Option<OriginName>,
    /// Its own end.
    pub local: Endpoint,
    /// The other end; null = not connected.
    pub peer: Option<Endpoint>,
    /// Device of SO_BINDTODEVICE, when there is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub device: Option<String>,
    /// Its options.
    pub options: Vec<OptionName>,
    /// Owner of the socket (`sk_uid`); absent where the kernel keeps none (TIME_WAIT).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub uid: Option<u32>,
    /// Inode of the socket; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub inode: Option<u64>,
    /// Socket cookie (`ss -e` shows it in hex); absent where nobody asked for one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cookie: Option<u64>,
    /// When it took the port; absent for holders older than the tracer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<String>,
    /// What `since` or `held_at_least_ms` rests on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since_source: Option<SinceSource>,
    /// How long it has had the port.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held_ms: Option<u64>,
    /// At least that long: it is older than the tracer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held_at_least_ms: Option<u64>,
    /// When its last descriptor was closed; absent while it is open, or where that was not seen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub closed: Option<String>,
    /// How long before the failure that was.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub closed_ms: Option<u64>,
    /// How long TIME_WAIT still has it, as the kernel said when it was asked, a moment after the
    /// failure; absent in other states and where it could not be told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub time_wait_left_ms: Option<u64>,
    /// What in the kernel has it, as far as that is known: `vxlan vx0`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kernel_user: Option<String>,
    /// Who has, or had, the socket.
    pub processes: Vec<HolderProcess>,
}

/// The ports the kernel picks from, in the failing socket's namespace at the failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortRange {
    /// Lowest.
    pub low: u16,
    /// Highest.
    pub high: u16,
    /// The wanted port lies inside.
    pub contains_port: bool,
    /// It is the socket's own (IP_LOCAL_PORT_RANGE), which narrows the namespace's.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub of_socket: bool,
    /// The wanted port is in `ip_local_reserved_ports`; absent when it could not be told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reserved: Option<bool>,
}

/// Sockets of one process, state and peer that keep ports of the range from the call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tally {
    /// Who has them, or had them (`has_socket` false); null = the kernel itself, absent = not known.
    #[serde(
        skip_serializing_if = "Option::is_none",
        default,
        deserialize_with = "nullable"
    )]
    pub process: Option<Option<HolderProcess>>,
    /// Their state.
    pub state: StateName,
    /// Their peer; null = not connected, absent = several.
    #[serde(
        skip_serializing_if = "Option::is_none",
        default,
        deserialize_with = "nullable"
    )]
    pub peer: Option<Option<Endpoint>>,
    /// Own address of the connections: only where those from several lead to the destination, and
    /// which of them the kernel had picked for this call is not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source: Option<String>,
    /// How many peers, where they are several.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub peers: Option<u32>,
    /// How they came to their ports; absent when not proven.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub origin: Option<OriginName>,
    /// They are connections to elsewhere, in the way only because somebody had bound to their port
    /// as well (kernels before 6.18 keep it from other connections until they end).
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub stale_bucket: bool,
    /// How many ports of the range they keep.
    pub count: u64,
}

/// The count behind a tally.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Counted {
    /// When: after the failure, or up to half a second before it where failures storm.
    pub time: String,
    /// Sockets in the way, those that `tally` does not list included.
    pub sockets: u64,
    /// Different ports that they keep.
    pub ports: u32,
    /// Ports of the range that are not reserved; absent when that is not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub available: Option<u32>,
    /// Sockets of the range that were not looked at: there may be more in the way.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub missed: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(value: &u32) -> bool {
    *value == 0
}

/// Ports from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ports {
    /// Lowest.
    pub low: u16,
    /// Highest.
    pub high: u16,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Advice {
    /// Stable name.
    pub id: String,
    /// In words.
    pub text: String,
    /// A command that works as printed; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub command: Option<String>,
}
