//! Counters: every drop is counted where it happens, in the row of the hook that dropped.

use crate::{
    maps::{FAILURES, LOSS_TOLD, STATS},
    owners,
    walk::header,
};
use aya_ebpf::bindings::BPF_RB_FORCE_WAKEUP;
use core::arch::asm;
use portwatch_common::{RecordHeader, RecordKind};

/// Adds one to a [`portwatch_common::Counter`] of a [`portwatch_common::HookId`], in one instruction
/// (`BPF_XADD`): a cgroup program may be preempted by another task's between load and store. The
/// target has no compare-and-swap, so `core`'s atomics cannot say this.
#[inline(always)]
pub(crate) fn count(hook: u32, counter: u32) {
    if let Some(row) = STATS.get_ptr_mut(hook) {
        // SAFETY: a value of our own map, aligned to 8 and only ever changed like this.
        unsafe {
            let value = (&raw mut (*row).values).cast::<u64>().add(counter as usize);
            asm!(
                "lock *(u64 *)({value} + 0) += {one}",
                value = in(reg) value,
                one = in(reg) 1_u64,
                options(nostack),
            );
        }
    }
}

/// Counts a loss for which no record stands, and wakes user space: once, until it has looked.
///
/// What finds no room in the FAILURES ring needs none of this: user space still has that ring to
/// read, and looks at the counters behind it.
#[inline(always)]
pub(crate) fn lose(hook: u32, counter: u32) {
    count(hook, counter);
    let Some(told) = LOSS_TOLD.get_ptr_mut(0) else {
        return;
    };
    // SAFETY: a value of our own map. Two CPUs may both find 0: then two records say it.
    unsafe {
        if told.read_volatile() != 0 {
            return;
        }
        told.write_volatile(1);
    }
    if let Some(mut record) = FAILURES.reserve::<RecordHeader>(0) {
        // SAFETY: the reserved record; every byte is written.
        unsafe {
            *record.as_mut_ptr() = header::<RecordHeader>(RecordKind::LOSS, owners::now(), 0);
        }
        record.submit(u64::from(BPF_RB_FORCE_WAKEUP));
    }
}
