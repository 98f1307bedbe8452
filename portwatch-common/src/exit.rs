//! A watched process that ended.

use crate::{RecordHeader, Task};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The last thread of a requester of an open incident exited (`sched_process_exit`).
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct ExitRecord {
    /// Kind EXIT.
    pub header: RecordHeader,
    /// The process.
    pub task: Task,
}
