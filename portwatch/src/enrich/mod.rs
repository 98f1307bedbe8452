//! Events meet the machine's facts: names, arguments, who has a socket now.
//!
//! Asks the [`facts::Facts`] trait, never /proc directly, so that a replay gives the same answers.

pub mod facts;

use crate::decode::event::Event;
use facts::{NetnsFacts, ProcessFacts, SocketUser};

/// An event with everything that was asked of the machine about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Enriched {
    /// What happened.
    pub event: Event,
    /// What the machine said.
    pub facts: EventFacts,
}

/// Answers of the machine about one event.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventFacts {
    /// Every process that the event or `socket_users` names and that still runs (same start time).
    pub processes: Vec<ProcessFacts>,
    /// Who has the holders' sockets now, by inode; `None` = nobody could look, an inode without a
    /// line = no visible process has it.
    pub socket_users: Option<Vec<(u64, SocketUser)>>,
    /// The namespace's reserved ports and the way there.
    pub netns: Option<NetnsFacts>,
    /// Names of the devices that the event mentions, by index.
    pub devices: Vec<(u32, String)>,
}
