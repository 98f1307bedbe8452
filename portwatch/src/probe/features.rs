//! What the running kernel has beyond the floor, found by loading programs of two instructions.

use aya::programs::ProgramType;
use aya::sys::{BpfHelper, is_helper_supported};
use portwatch_common::Features;

/// For tests only: `5.8` makes the probes do without everything that Linux 5.8 lacks.
const ASSUME: &str = "PORTWATCH_ASSUME_KERNEL";

/// Asks the kernel.
#[must_use]
pub fn probe() -> Features {
    if std::env::var_os(ASSUME).is_some_and(|value| value == "5.8") {
        return Features::NONE;
    }
    let has = |kind, helper| u32::from(is_helper_supported(kind, helper).unwrap_or(false));
    Features {
        tracing_cookie: has(ProgramType::Tracing, BpfHelper::BPF_FUNC_get_socket_cookie),
        task_btf: has(
            ProgramType::TracePoint,
            BpfHelper::BPF_FUNC_get_current_task_btf,
        ),
        task_pt_regs: has(ProgramType::TracePoint, BpfHelper::BPF_FUNC_task_pt_regs),
        bpf_loop: has(ProgramType::TracePoint, BpfHelper::BPF_FUNC_loop),
        snprintf: has(ProgramType::TracePoint, BpfHelper::BPF_FUNC_snprintf),
    }
}

/// Programs may read the kernel's memory; not under `lockdown=confidentiality`
/// (kernel/bpf/helpers.c:bpf_base_func_proto, LOCKDOWN_BPF_READ_KERNEL). True where nobody can say.
#[must_use]
pub fn reads_kernel() -> bool {
    let helper = BpfHelper::BPF_FUNC_probe_read_kernel;
    is_helper_supported(ProgramType::TracePoint, helper).unwrap_or(true)
}
