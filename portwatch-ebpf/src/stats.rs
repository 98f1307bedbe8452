//! Counters: every drop is counted where it happens.

use crate::maps::STATS;

/// Adds one to a [`portwatch_common::Counter`].
#[inline(always)]
pub(crate) fn count(counter: u32) {
    if let Some(value) = STATS.get_ptr_mut(counter) {
        // SAFETY: a per-CPU value that only this CPU writes.
        unsafe { *value = (*value).wrapping_add(1) };
    }
}
