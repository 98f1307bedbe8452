//! The head that every record starts with.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What every record of a ring, of the snapshot iterator and of a capture starts with.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RecordHeader {
    /// One of [`RecordKind`]'s numbers.
    pub kind: u16,
    /// Size of the whole record in bytes, this header included.
    pub size: u16,
    /// The CPU that wrote it.
    pub cpu: u32,
    /// CLOCK_BOOTTIME in nanoseconds (`bpf_ktime_get_boot_ns`, Linux 5.8).
    pub time: u64,
    /// Joins a failure with its holders; 0 in records that stand alone.
    pub id: u64,
}

/// Numbers of [`RecordHeader::kind`]. A number is never reused.
#[derive(Clone, Copy, Debug)]
pub struct RecordKind;

impl RecordKind {
    /// A call that failed for want of a port: [`crate::FailureRecord`].
    pub const FAILURE: u16 = 1;
    /// One owner of the port that a failure wanted: [`crate::HolderRecord`].
    pub const HOLDER: u16 = 2;
    /// A call that failed for another reason: [`crate::FailureRecord`] without holders.
    pub const REFUSED: u16 = 3;
    /// A socket got a port: [`crate::AssignRecord`].
    pub const ASSIGN: u16 = 4;
    /// A descriptor's last close let a port go: [`crate::ReleaseRecord`].
    pub const RELEASE: u16 = 5;
    /// A watched process ended: [`crate::ExitRecord`].
    pub const EXIT: u16 = 6;
    /// A socket that the start-up scan found: [`crate::SnapshotRecord`].
    pub const SNAPSHOT: u16 = 7;
    /// A bind() that failed where no walk is possible: [`crate::BlindRecord`].
    pub const BLIND: u16 = 8;
    /// Something was lost for which no other record stands; only the header. User space reads the
    /// counters then.
    pub const LOSS: u16 = 9;
}
