//! A failed attempt and who has the port.

use super::process::nullable;
use super::traffic::Endpoint;
use super::{
    Call, Cause, Certainty, FamilyName, HolderKind, HolderProcess, OptionName, OriginName, Process,
    SinceSource, StateName, TransportName,
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
    /// Inode of the network namespace.
    pub netns: u32,
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
    /// The wanted port is in `ip_local_reserved_ports`; absent when it could not be told.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reserved: Option<bool>,
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
