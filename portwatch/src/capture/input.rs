//! What a capture gives back, piece by piece.

use super::note::Note;
use crate::decode::event::Ktime;
use crate::source::RawRecord;
use bytes::Bytes;

/// What the pipeline took next.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    /// A record.
    Record(RawRecord),
    /// The rings were drained.
    Drained,
    /// Time had come so far.
    Tick(Ktime),
    /// Anything else.
    Note(Note),
    /// Something that this build does not know.
    Unknown(String),
}

/// An input and the answers behind it.
#[derive(Clone, Debug)]
pub struct Step {
    /// What was taken.
    pub input: Input,
    /// Kernel time of the block's clock then.
    pub time: Ktime,
    /// The answers that it asked for, stored [`super::fact::Fact`]s.
    pub answers: Stored,
}

/// Stored answers: nearly always one, which takes no memory of its own.
#[derive(Clone, Debug, Default)]
pub enum Stored {
    /// None.
    #[default]
    Nothing,
    /// One.
    One(Bytes),
    /// Several, in order.
    Several(Vec<Bytes>),
}

impl Stored {
    pub(super) fn push(&mut self, bytes: Bytes) {
        *self = match std::mem::take(self) {
            Self::Nothing => Self::One(bytes),
            Self::One(first) => Self::Several(vec![first, bytes]),
            Self::Several(mut all) => {
                all.push(bytes);
                Self::Several(all)
            }
        };
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> &[Bytes] {
        match self {
            Self::Nothing => &[],
            Self::One(bytes) => std::slice::from_ref(bytes),
            Self::Several(all) => all,
        }
    }
}
