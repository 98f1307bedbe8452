//! The only reader of record bytes: checks kind and size, then copies the record out.

use crate::source::RawRecord;
use portwatch_common::RecordHeader;
use zerocopy::{FromBytes, Immutable, KnownLayout};

/// Why a record is not believed. It is counted and skipped, the stream goes on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Fewer bytes than the record's type has.
    #[error("a record of kind {kind} has {found} bytes, {expected} are needed")]
    Short {
        /// `RecordHeader::kind`.
        kind: u16,
        /// Bytes found.
        found: usize,
        /// Bytes needed.
        expected: usize,
    },
    /// A kind that this build does not know.
    #[error("records of kind {0} are not known to this version")]
    UnknownKind(u16),
    /// A field with a value it cannot have.
    #[error("field `{field}` holds {value}, which means nothing")]
    BadField {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
}

/// Head of a record.
pub(super) fn header(raw: &RawRecord) -> Result<RecordHeader, DecodeError> {
    prefix(raw, 0)
}

/// The whole record; bytes behind it are a newer writer's and ignored.
pub(super) fn prefix<T: FromBytes + KnownLayout + Immutable>(
    raw: &RawRecord,
    kind: u16,
) -> Result<T, DecodeError> {
    first(raw.bytes()).ok_or_else(|| DecodeError::Short {
        kind,
        found: raw.bytes().len(),
        expected: size_of::<T>(),
    })
}

/// The same of bytes that are no record yet.
#[inline]
pub(super) fn first<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8]) -> Option<T> {
    T::read_from_prefix(bytes).ok().map(|(record, _)| record)
}
