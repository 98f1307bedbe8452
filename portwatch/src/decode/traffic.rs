//! What a record is that only tells of a port taken or let go: most of them, and most are asked for
//! by nobody. Nothing is made here.

use super::cursor::first;
use super::{DecodeError, fields};
use portwatch_common::{AssignRecord, OwnerSource, RecordKind, ReleaseRecord};
use std::mem::{offset_of, size_of};
use std::ops::Range;

/// The kind of such a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// A port was taken.
    Assign,
    /// A port was let go.
    Release,
}

/// What these bytes are, if [`super::Decoder::record`] takes them for an event of traffic that no
/// incident waits for; `None` of anything else, also of what makes no sense.
#[inline]
#[must_use]
pub fn traffic(bytes: &[u8]) -> Option<Traffic> {
    let kind = u16::from_ne_bytes(*bytes.first_chunk()?);
    match kind {
        RecordKind::ASSIGN => {
            let record: AssignRecord = first(bytes)?;
            let sound = record.watched == 0 && assign(&record).is_ok();
            sound.then_some(Traffic::Assign)
        }
        RecordKind::RELEASE => {
            let record: ReleaseRecord = first(bytes)?;
            let sound = record.flags & ReleaseRecord::WATCHED == 0 && release(&record).is_ok();
            sound.then_some(Traffic::Release)
        }
        _ => None,
    }
}

/// The bytes of a record of `kind` that [`traffic`] looks at; with the same there, and the same size,
/// it says the same. `None` of other kinds.
#[must_use]
pub fn looked_at(kind: u16) -> Option<Vec<Range<usize>>> {
    macro_rules! place {
        ($record:ty, $($field:ident).+, $type:ty) => {{
            let start = offset_of!($record, $($field).+);
            start..start + size_of::<$type>()
        }};
    }
    Some(match kind {
        RecordKind::ASSIGN => vec![
            place!(AssignRecord, header.kind, u16),
            place!(AssignRecord, sock.family, u16),
            place!(AssignRecord, sock.protocol, u16),
            place!(AssignRecord, sock.state, u8),
            place!(AssignRecord, origin, u8),
            place!(AssignRecord, call, u8),
            place!(AssignRecord, watched, u8),
        ],
        RecordKind::RELEASE => vec![
            place!(ReleaseRecord, header.kind, u16),
            place!(ReleaseRecord, sock.family, u16),
            place!(ReleaseRecord, sock.protocol, u16),
            place!(ReleaseRecord, sock.state, u8),
            place!(ReleaseRecord, owner.source, u8),
            place!(ReleaseRecord, owner.origin, u8),
            place!(ReleaseRecord, flags, u32),
        ],
        _ => return None,
    })
}

/// Every field that can make no sense.
#[inline]
fn assign(record: &AssignRecord) -> Result<(), DecodeError> {
    fields::socket(&record.sock)?;
    fields::origin(record.origin)?;
    fields::call(record.call)?;
    Ok(())
}

#[inline]
fn release(record: &ReleaseRecord) -> Result<(), DecodeError> {
    fields::socket(&record.sock)?;
    // Of an owner that is not there, nothing is looked at.
    if record.owner.source != OwnerSource::NONE {
        fields::owner_source(u32::from(record.owner.source))?;
        fields::origin(record.owner.origin)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Decoder;
    use super::super::event::Event;
    use super::*;
    use crate::source::RawRecord;
    use bytes::Bytes;
    use proptest::prelude::*;
    use zerocopy::{FromZeros as _, IntoBytes as _};

    /// A sound record of either kind.
    fn sound(kind: u16) -> Vec<u8> {
        let mut assign = AssignRecord::new_zeroed();
        (assign.header.kind, assign.call) = (kind, 1);
        (assign.sock.family, assign.sock.protocol, assign.sock.state) = (2, 6, 1);
        let mut release = ReleaseRecord::new_zeroed();
        (release.header.kind, release.sock) = (kind, assign.sock);
        match kind {
            RecordKind::RELEASE => release.as_bytes().to_vec(),
            _ => assign.as_bytes().to_vec(),
        }
    }

    proptest! {
        /// Whatever is changed in a record.
        #[test]
        fn both_ways_to_read_a_record_agree(
            kind in RecordKind::ASSIGN..=RecordKind::RELEASE,
            changes in proptest::collection::vec((2..300_usize, 0..14_u8), 0..4),
            cut in proptest::option::of(0..300_usize),
        ) {
            let mut bytes = sound(kind);
            for (at, value) in changes {
                let at = at % bytes.len();
                if at > 1 {
                    bytes[at] = value;
                }
            }
            bytes.truncate(cut.unwrap_or(usize::MAX));
            let raw = RawRecord::new(Bytes::from(bytes.clone()));
            let expected = match Decoder::new().record(&raw) {
                Ok(Some(Event::Assign(assign))) if !assign.watched => Some(Traffic::Assign),
                Ok(Some(Event::Release(release))) if !release.watched => Some(Traffic::Release),
                _ => None,
            };
            prop_assert_eq!(traffic(&bytes), expected);
        }
    }

    proptest! {
        /// Whatever stands in the other bytes.
        #[test]
        fn nothing_else_is_looked_at(
            kind in RecordKind::ASSIGN..=RecordKind::RELEASE,
            wrong in proptest::option::of((0..8_usize, 0..14_u8)),
            other in proptest::collection::vec(any::<u8>(), 300),
        ) {
            let mut bytes = sound(kind);
            let places = looked_at(kind).unwrap();
            if let Some((place, value)) = wrong
                && let Some(place) = places.get(place + 1)
            {
                bytes[place.start] = value;
            }
            let expected = traffic(&bytes);
            for (at, byte) in bytes.iter_mut().enumerate() {
                if !places.iter().any(|place| place.contains(&at)) {
                    *byte = other[at];
                }
            }
            prop_assert_eq!(traffic(&bytes), expected);
        }
    }

    #[test]
    fn each_kind_is_told() {
        assert_eq!(traffic(&sound(RecordKind::ASSIGN)), Some(Traffic::Assign));
        assert_eq!(traffic(&sound(RecordKind::RELEASE)), Some(Traffic::Release));
        assert_eq!(traffic(&sound(RecordKind::EXIT)), None);
        assert_eq!(traffic(&[4]), None);
    }
}
