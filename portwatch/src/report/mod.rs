//! The verdicts, in the shape of the JSON contract (schema `portwatch/1`): what `correlate` says
//! and every sink shows. Fields are added, never renamed, retyped or dropped.
//!
//! Not the pipeline's inner types: those are `decode::event`. Two levels of absence, as the
//! contract says: `None` is left out (not known), `Some(None)` is `null` (known to be none).
#![forbid(unsafe_code)]

mod conflict;
mod identifiers;
mod lifecycle;
mod process;
pub mod time;
mod traffic;

pub use conflict::{Advice, Conflict, Counted, Holder, PortRange, Ports, Tally, Wanted};
pub use identifiers::{
    Call, Cause, Certainty, ExhaustedFor, FamilyName, FreedBy, HolderKind, How, OptionName,
    OriginName, SinceSource, StateName, TransportName,
};
pub use lifecycle::{
    BackendName, ClockAnchor, History, Hook, Lost, LostCount, NetnsRange, Refused, RefusedHook,
    Resolved, Sizes, Start, Summary,
};
pub use process::{HolderProcess, Process};
pub use traffic::{Assign, Ended, Endpoint, Left, Release};

use crate::decode::event::Ktime;
use serde::{Deserialize, Serialize};

/// Name of the contract, in every object.
pub const SCHEMA: &str = "portwatch/1";

/// One thing to tell.
#[derive(Clone, Debug)]
pub struct Report {
    /// When it happened.
    pub at: Ktime,
    /// What.
    pub body: Body,
}

/// The kinds of lines.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Body {
    /// First line.
    Start(Box<Start>),
    /// A failed attempt.
    Conflict(Box<Conflict>),
    /// An incident's end.
    Resolved(Box<Resolved>),
    /// A bind that failed for another reason than a taken port.
    Refused(Box<Refused>),
    /// A socket got a port.
    Assign(Box<Assign>),
    /// A socket let go of its port.
    Release(Box<Release>),
    /// Events were dropped.
    Lost(Lost),
    /// Last line.
    Summary(Box<Summary>),
}

impl Body {
    /// The type of the line, as it stands in the JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Start(_) => "start",
            Self::Conflict(_) => "conflict",
            Self::Resolved(_) => "resolved",
            Self::Refused(_) => "refused",
            Self::Assign(_) => "assign",
            Self::Release(_) => "release",
            Self::Lost(_) => "lost",
            Self::Summary(_) => "summary",
        }
    }
}
