//! Ends of processes, for the requesters of open incidents.

use super::kprobe;
use crate::traffic;
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};

/// `sched_process_exit`.
#[btf_tracepoint(function = "sched_process_exit")]
pub(crate) fn process_exit(ctx: BtfTracePointContext) -> i32 {
    let task: u64 = ctx.arg(0);
    kprobe::ended(task);
    traffic::exited(task);
    0
}
