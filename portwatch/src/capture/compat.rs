//! Records of older builds.
//!
//! | ABI | since | what changed |
//! |---|---|---|
//! | 1 | 0.1.0 | the first |
//!
//! A field that is added at a record's end needs nothing: an older record gets it as 0, "not known".
//! Any other change of a record in `portwatch-common` takes the next number, a line above, and a step
//! in [`upgrade`]. tests/captures keeps captures of every ABI, and
//! they are replayed in every run of the tests: a change that forgets this breaks them.

use bytes::{Bytes, BytesMut};
use portwatch_common as wire;

/// The ABI of this build's records.
pub const ABI: u32 = 1;

/// A record of an older ABI as this build has it; one of this ABI as it is.
#[must_use]
pub(super) fn upgrade(abi: u32, record: Bytes) -> Bytes {
    match abi {
        // The next number begins here with what ABI 1 has to become.
        0..=ABI => grown(record),
        _ => record,
    }
}

/// A record that has fields at its end today which it had not then: they are 0, not known.
fn grown(record: Bytes) -> Bytes {
    let [a, b, ..] = *record else {
        return record;
    };
    let today = match u16::from_ne_bytes([a, b]) {
        wire::RecordKind::FAILURE | wire::RecordKind::REFUSED => size_of::<wire::FailureRecord>(),
        wire::RecordKind::HOLDER => size_of::<wire::HolderRecord>(),
        wire::RecordKind::ASSIGN => size_of::<wire::AssignRecord>(),
        wire::RecordKind::RELEASE => size_of::<wire::ReleaseRecord>(),
        wire::RecordKind::EXIT => size_of::<wire::ExitRecord>(),
        wire::RecordKind::BLIND => size_of::<wire::BlindRecord>(),
        _ => return record,
    };
    if record.len() >= today {
        return record;
    }
    let mut longer = BytesMut::with_capacity(today);
    longer.extend_from_slice(&record);
    longer.resize(today, 0);
    longer.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_record_gets_the_fields_it_lacks() {
        let old = Bytes::from_static(&[6, 0, 72, 0]);
        let new = upgrade(ABI, old.clone());
        assert_eq!(new.len(), size_of::<wire::ExitRecord>());
        assert!(new.starts_with(&old));
        assert_eq!(upgrade(ABI, new.clone()), new);
        assert_eq!(upgrade(ABI, Bytes::from_static(&[6])).len(), 1);
        let unknown = Bytes::from_static(&[200, 0, 1, 1]);
        assert_eq!(upgrade(ABI, unknown.clone()), unknown);
    }
}
