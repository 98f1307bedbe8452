//! Ports taken and let go, told only when asked for.

use super::{Call, OriginName, Process, TransportName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An address and a port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// RFC 5952, unbracketed; v4-mapped as IPv4.
    pub address: String,
    /// The port.
    pub port: u16,
}

/// A socket got a port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assign {
    /// The call.
    pub call: Call,
    /// Transport.
    pub transport: TransportName,
    /// How the port was taken; absent when not proven.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub origin: Option<OriginName>,
    /// The socket's own end.
    pub local: Endpoint,
    /// The other end; null = not connected.
    pub peer: Option<Endpoint>,
    /// Inode of the network namespace.
    pub netns: u32,
    /// Socket cookie.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cookie: Option<u64>,
    /// Who called.
    pub process: Process,
}

/// Why a released port is not free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Left {
    /// TIME_WAIT follows.
    TimeWait,
    /// The connection is still closing.
    Orphan,
    /// Other sockets have the port as well.
    Shared,
}

/// What let go of a port by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// TIME_WAIT.
    TimeWait,
    /// A socket that the kernel closed: an orphan, a connection that was reset, one of its own.
    Socket,
}

/// A socket let go of its port as far as its process is concerned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Transport.
    pub transport: TransportName,
    /// The socket's own end.
    pub local: Endpoint,
    /// The other end; null = not connected.
    pub peer: Option<Endpoint>,
    /// How the port was taken; absent when not proven.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub origin: Option<OriginName>,
    /// How long it had the port; absent when the taking was not seen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held_ms: Option<u64>,
    /// The port is free now; absent when this backend cannot know.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port_free: Option<bool>,
    /// What ended, when no process closed it: TIME_WAIT, or a connection that lived on; only where
    /// functions of the kernel are hooked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended: Option<Ended>,
    /// With `port_free` false: what is left of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub left: Option<Left>,
    /// Inode of the network namespace.
    pub netns: u32,
    /// Socket cookie.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cookie: Option<u64>,
    /// Who closed it; with `ended` who had it.
    pub process: Process,
}
