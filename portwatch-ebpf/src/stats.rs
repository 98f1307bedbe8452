//! Counters: every drop is counted where it happens, in the row of the hook that dropped.

use crate::{
    maps::{FAILURES, LOSS_TOLD, STATS},
    owners,
    walk::header,
};
use aya_ebpf::bindings::BPF_RB_FORCE_WAKEUP;
use core::{arch::asm, ptr::NonNull};
use portwatch_common::{Counters, RecordHeader, RecordKind};

/// One hook's row of counters on this CPU.
///
/// Looked up once in each program, and without it the program ends: a look-up for each count doubles
/// the paths that the verifier follows each time (20 times the instructions of a whole program).
#[derive(Clone, Copy)]
pub(crate) struct Row(NonNull<Counters>);

/// The row of a [`portwatch_common::HookId`]; there is one for every hook.
#[inline(always)]
pub(crate) fn row(hook: u32) -> Option<Row> {
    STATS.get_ptr_mut(hook).and_then(NonNull::new).map(Row)
}

impl Row {
    /// Adds one to a [`portwatch_common::Counter`]: a cgroup program may be preempted by another
    /// task's.
    #[inline(always)]
    pub(crate) fn count(self, counter: u32) {
        // SAFETY: a value of our own map, aligned to 8 and only ever changed like this.
        unsafe {
            let values = (&raw mut (*self.0.as_ptr()).values).cast::<u64>();
            add(values.add(counter as usize), 1);
        }
    }
}

/// Adds to a number in one instruction (`BPF_XADD`), so that nobody is between load and store. The
/// target has no compare-and-swap, so `core`'s atomics cannot say this.
///
/// # Safety
/// `to` is in a map's value, aligned to 8 and only ever changed like this.
#[inline(always)]
pub(crate) unsafe fn add(to: *mut u64, value: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        asm!(
            "lock *(u64 *)({to} + 0) += {value}",
            to = in(reg) to,
            value = in(reg) value,
            options(nostack),
        );
    }
}

/// Adds one to a counter of a hook that counts nothing else on its way.
#[inline(always)]
pub(crate) fn count(hook: u32, counter: u32) {
    if let Some(row) = row(hook) {
        row.count(counter);
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
