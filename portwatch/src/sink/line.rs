//! A line that is ready to be written, as far as it can be before its turn comes.

/// What may be dropped first when the output stands still, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// assign, release.
    Traffic,
    /// refused.
    Refused,
    /// conflict, resolved.
    Verdict,
    /// start, lost, summary: these have a reserve of their own.
    Essential,
}

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Standard output or the file of `--output`.
    Data,
    /// Standard error.
    Talk,
}

/// What is written; the newline at the end is added then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// As it stands; may be a block of several lines.
    Plain(String),
    /// With the number of the line between the two: only written lines are counted.
    Numbered {
        /// Up to the number.
        before: String,
        /// Behind it.
        after: String,
    },
    /// Replaces the line before it on a terminal, when that one has the same key.
    Repeat {
        /// The incident.
        key: String,
        /// The line.
        text: String,
        /// Rows it takes on the terminal.
        rows: usize,
    },
}

/// One line or block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When it may be dropped.
    pub class: Class,
    /// Where it goes.
    pub channel: Channel,
    /// What is written.
    pub content: Content,
}

impl Line {
    /// A line of data.
    #[must_use]
    pub fn data(class: Class, content: Content) -> Self {
        Self {
            class,
            channel: Channel::Data,
            content,
        }
    }

    /// A line to the user, on standard error.
    #[must_use]
    pub fn talk(text: String) -> Self {
        Self {
            class: Class::Essential,
            channel: Channel::Talk,
            content: Content::Plain(text),
        }
    }

    /// Bytes it takes while it waits.
    #[must_use]
    pub fn size(&self) -> usize {
        let text = match &self.content {
            Content::Plain(text) => text.len(),
            Content::Numbered { before, after } => before.len() + after.len(),
            Content::Repeat { key, text, rows: _ } => key.len() + text.len(),
        };
        text + size_of::<Self>()
    }
}
