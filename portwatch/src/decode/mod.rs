//! Bytes to events: the only bridge between what was captured and what is believed.
//!
//! Cannot panic, whatever the bytes: a record that makes no sense is an error, which the caller
//! counts. A failure is given out once all its holders have arrived; in a ring they stand right
//! behind it.

#![forbid(unsafe_code)]

pub mod blind;
mod cursor;
pub mod event;
mod fields;
pub mod id;
mod join;
mod records;
mod traffic;

pub use cursor::DecodeError;
pub use traffic::{Traffic, looked_at, traffic};

use crate::source::RawRecord;
use event::{Event, Ktime, NetnsId, Socket, Task};
use join::Join;
use portwatch_common::{RecordKind, SnapshotRecord};

/// A socket that the start-up scan found, and one descriptor of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// When it was found.
    pub time: Ktime,
    /// The process.
    pub task: Task,
    /// The socket.
    pub socket: Socket,
    /// Its namespace.
    pub netns: NetnsId,
    /// The descriptor's number; `None` = no descriptor leads to the socket.
    pub fd: Option<u32>,
}

/// Turns records into events; keeps failures whose holders are still to come.
#[derive(Debug, Default)]
pub struct Decoder {
    join: Join,
}

impl Decoder {
    /// A decoder that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The events that a record completes: usually none or one.
    ///
    /// # Errors
    /// A record that makes no sense; the decoder goes on with the next one.
    pub fn record(&mut self, raw: &RawRecord) -> Result<Option<Event>, DecodeError> {
        let kind = cursor::header(raw)?.kind;
        match kind {
            RecordKind::FAILURE => {
                let id = cursor::header(raw)?.id;
                let head = records::failure(raw, kind)?;
                Ok(self.join.failure(id, head).map(Event::Failure))
            }
            RecordKind::HOLDER => match records::holder(raw, kind) {
                Ok((id, holder)) => Ok(self.join.holder(id, holder).map(Event::Failure)),
                Err(error) => {
                    // Its failure must not wait for it.
                    self.join.unreadable(cursor::header(raw)?.id);
                    Err(error)
                }
            },
            RecordKind::REFUSED => {
                let head = records::failure(raw, kind)?;
                Ok(Some(Event::Refused(Box::new(head.failure))))
            }
            RecordKind::ASSIGN => Ok(Some(Event::Assign(Box::new(records::assign(raw, kind)?)))),
            RecordKind::RELEASE => Ok(Some(Event::Release(Box::new(records::release(raw, kind)?)))),
            RecordKind::EXIT => Ok(Some(Event::Exit(records::exit(raw, kind)?))),
            // Only wakes the reader, who then looks at the counters.
            RecordKind::LOSS => Ok(None),
            _ => Err(DecodeError::UnknownKind(kind)),
        }
    }

    /// The ring is drained: a failure whose holders are not all there by now has lost them.
    pub fn drained(&mut self) -> Vec<Event> {
        self.join
            .give_up()
            .into_iter()
            .map(|failure| Event::Failure(Box::new(failure)))
            .collect()
    }
}

/// Kind of a record; `None` if it is too short to have one.
#[must_use]
pub fn kind(raw: &RawRecord) -> Option<u16> {
    cursor::header(raw).ok().map(|header| header.kind)
}

/// A holder that a scan of a range found, of no failure.
///
/// # Errors
/// A record that makes no sense.
pub fn holder(raw: &RawRecord) -> Result<event::Holder, DecodeError> {
    Ok(records::holder(raw, RecordKind::HOLDER)?.1)
}

/// Who took a socket, as the kernel side's maps have it.
///
/// # Errors
/// A value that names nothing.
pub fn owner(owner: &portwatch_common::Owner) -> Result<Option<event::Owner>, DecodeError> {
    fields::owner(owner, u32::from(owner.source))
}

/// A record of the start-up scan.
///
/// # Errors
/// A record that makes no sense.
pub fn found(raw: &RawRecord) -> Result<Found, DecodeError> {
    let record: SnapshotRecord = cursor::prefix(raw, RecordKind::SNAPSHOT)?;
    let SnapshotRecord {
        header,
        task,
        sock,
        netns_cookie: _,
        netns,
        fd,
    } = record;
    Ok(Found {
        time: Ktime(header.time),
        task: fields::task(&task),
        socket: fields::socket(&sock)?,
        netns: NetnsId(netns),
        fd: (fd != SnapshotRecord::NO_FD).then_some(fd),
    })
}

#[cfg(test)]
mod tests;
