//! The layout, asserted when either side is compiled: a change here is a change of the wire.

use crate::{
    AssignRecord, BlindRecord, Config, Counters, ExitRecord, FailureRecord, HolderRecord, Owner,
    PortKey, RangeScan, RecordHeader, ReleaseRecord, SnapshotRecord, Sock, TableScan, Task,
};

macro_rules! size {
    ($($type:ty = $bytes:expr),* $(,)?) => {
        $(const _: () = assert!(size_of::<$type>() == $bytes && align_of::<$type>() <= 8);)*
    };
}

size! {
    RecordHeader = 24,
    Task = 48,
    Sock = 88,
    Owner = 72,
    PortKey = 24,
    Config = 24,
    FailureRecord = 232,
    HolderRecord = 256,
    AssignRecord = 176,
    ReleaseRecord = 248,
    ExitRecord = 72,
    SnapshotRecord = 176,
    TableScan = 48,
    RangeScan = 96,
    BlindRecord = 120,
    Counters = 240,
}
