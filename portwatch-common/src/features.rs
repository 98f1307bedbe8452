//! What a kernel has beyond the floor, as far as the probes care. Found by trying, never by a version.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Each field is 1 or 0; a read-only global of the object.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct Features {
    /// `bpf_get_socket_cookie` in fentry and fexit programs (Linux 5.12).
    pub tracing_cookie: u32,
    /// `bpf_get_current_task_btf` (Linux 5.11).
    pub task_btf: u32,
    /// `bpf_task_pt_regs` (Linux 5.15).
    pub task_pt_regs: u32,
    /// `bpf_loop` (Linux 5.17).
    pub bpf_loop: u32,
    /// `bpf_snprintf` (Linux 5.13).
    pub snprintf: u32,
}

impl Features {
    /// A kernel of today.
    pub const ALL: Self = Self {
        tracing_cookie: 1,
        task_btf: 1,
        task_pt_regs: 1,
        bpf_loop: 1,
        snprintf: 1,
    };
    /// The floor: Linux 5.8.
    pub const NONE: Self = Self {
        tracing_cookie: 0,
        task_btf: 0,
        task_pt_regs: 0,
        bpf_loop: 0,
        snprintf: 0,
    };
}
