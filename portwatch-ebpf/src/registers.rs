//! What a system call was made with: its saved registers, found by the kernel's own BTF, so that the
//! object is the same on x86-64 and on arm64.
//!
//! Every read is a direct load from registers that the verifier knows.

use crate::config::off;
use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};
use portwatch_common::offsets::ABSENT;

/// `struct pt_regs` of a system call.
#[derive(Clone, Copy)]
pub(crate) struct Registers(*const u8);

impl Registers {
    /// Of the system call that the current task is in (`bpf_task_pt_regs`, Linux 5.15).
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // SAFETY: helpers for the current task.
        Self(unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as *const u8)
    }

    /// From a BTF tracepoint that has them as an argument.
    #[inline(always)]
    pub(crate) fn of(regs: *const u8) -> Self {
        Self(regs)
    }

    /// The number of the system call; on arm64 the negative ones are no calls.
    #[inline(always)]
    pub(crate) fn number(self) -> u64 {
        if is_x86() {
            self.word(off!(regs_orig_ax))
        } else {
            // SAFETY: as in `word`; `syscallno` is an s32.
            u64::from(unsafe {
                self.0
                    .add(off!(regs_syscallno) as usize)
                    .cast::<u32>()
                    .read()
            })
        }
    }

    /// The first argument. On arm64 the return value stands in its register by the end of the call,
    /// and the kernel keeps a copy (arch/arm64/include/asm/syscall.h).
    #[inline(always)]
    pub(crate) fn first(self) -> u64 {
        if is_x86() {
            self.word(off!(regs_di))
        } else {
            self.word(off!(regs_orig_x0))
        }
    }

    /// The second argument.
    #[inline(always)]
    pub(crate) fn second(self) -> u64 {
        if is_x86() {
            self.word(off!(regs_si))
        } else {
            self.word(off!(regs_array).wrapping_add(8))
        }
    }

    /// The fifth argument.
    #[inline(always)]
    pub(crate) fn fifth(self) -> u64 {
        if is_x86() {
            self.word(off!(regs_r8))
        } else {
            self.word(off!(regs_array).wrapping_add(4 * 8))
        }
    }

    #[inline(always)]
    fn word(self, offset: u32) -> u64 {
        // SAFETY: a pointer that the verifier knows, and an offset that is a constant to it.
        unsafe { self.0.add(offset as usize).cast::<u64>().read() }
    }
}

/// The kernel is one of x86-64; the other branch is dead code to the verifier then.
#[inline(always)]
pub(crate) fn is_x86() -> bool {
    off!(regs_orig_ax) != ABSENT
}
