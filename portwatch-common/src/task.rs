//! A process, as the kernel tells it at a call.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The thread-group leader of the task that made a call.
#[repr(C)]
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Task {
    /// Thread-group id in the initial pid namespace.
    pub tgid: u32,
    /// Id of the thread that made the call, in the initial pid namespace.
    pub tid: u32,
    /// Thread-group id of the parent, in the initial pid namespace.
    pub ppid: u32,
    /// Effective uid of the calling thread in the initial user namespace.
    pub uid: u32,
    /// The leader's start, CLOCK_BOOTTIME nanoseconds (`task_struct.start_boottime`).
    pub start_time: u64,
    /// cgroup v2 id of the calling thread; 0 where it could not be read.
    pub cgroup: u64,
    /// The leader's name (`task_struct.comm`), NUL-padded, as two words so that the BPF side copies
    /// it without a call to `memmove`.
    pub comm: [u64; 2],
}
