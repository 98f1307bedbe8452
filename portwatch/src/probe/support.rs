//! What a kernel allows, as far as its BTF tells: for `doctor --btf`, the table in
//! docs/kernel-support.md, and the refusal of kernels below the floor.
//!
//! BTF says what a kernel was built with. Its configuration beyond that, lockdown and local policy
//! cannot be seen there, and neither can it whether the verifier takes a program.

use super::btf::{Btf, Kind};
use super::functions::{ALL_SERVED, DUTIES, Function};
use super::offsets::{self, OffsetsError};
use crate::report::BackendName;
use portwatch_common::Offsets;
use portwatch_common::offsets::ABSENT;
use serde::Serialize;

/// The oldest kernel, as the refusal names it.
pub const FLOOR: &str = "Linux 5.8 or newer";

/// Something beyond the offsets that the probes rest on.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// What it is called.
    pub name: &'static str,
    /// The first kernel that has it.
    pub since: &'static str,
    /// What is lost without it; `None`: nothing can be traced.
    pub lost: Option<&'static str>,
    mark: Mark,
}

/// What of the BTF shows that a kernel has it.
#[derive(Clone, Copy, Debug)]
enum Mark {
    Enumerator(&'static str),
    Struct(&'static str),
    Typedef(&'static str),
}

impl Mark {
    fn stands_in(self, btf: &Btf<'_>) -> bool {
        match self {
            Self::Enumerator(name) => btf.enumerator(name).is_ok(),
            Self::Struct(name) => btf.has(Kind::Struct, name),
            Self::Typedef(name) => btf.has(Kind::Typedef, name),
        }
    }
}

/// Every feature, the indispensable ones first.
pub const FEATURES: &[Feature] = &[
    Feature {
        name: "ring buffer",
        since: "5.8",
        lost: None,
        mark: Mark::Enumerator("BPF_MAP_TYPE_RINGBUF"),
    },
    Feature {
        name: "iter/task_file",
        since: "5.8",
        lost: None,
        mark: Mark::Struct("bpf_iter__task_file"),
    },
    Feature {
        name: "cgroup/sock_release",
        since: "5.9",
        lost: Some("who had a connection that is in TIME_WAIT now, and when a holder closed"),
        mark: Mark::Enumerator("BPF_CGROUP_INET_SOCK_RELEASE"),
    },
    Feature {
        name: "bpf_sock_from_file",
        since: "5.11",
        lost: Some(
            "who had sockets that are older than portwatch and closed before they were in the way; the others are looked for in /proc, more slowly",
        ),
        mark: Mark::Enumerator("BPF_FUNC_sock_from_file"),
    },
    Feature {
        name: "bpf_get_current_task_btf",
        since: "5.11",
        lost: Some("nothing: an older helper serves in its place"),
        mark: Mark::Enumerator("BPF_FUNC_get_current_task_btf"),
    },
    Feature {
        name: "cookies in tracing programs",
        since: "5.12",
        lost: Some("nothing: cgroup hooks ask the cookies in their place"),
        mark: Mark::Typedef("btf_bpf_get_socket_ptr_cookie"),
    },
    Feature {
        name: "bpf_snprintf",
        since: "5.13",
        lost: Some(
            "which module of the kernel has a `kernel-socket`, unless it is a tunnel's interface or an endpoint of MPTCP",
        ),
        mark: Mark::Enumerator("BPF_FUNC_snprintf"),
    },
    Feature {
        name: "bpf_task_pt_regs",
        since: "5.15",
        lost: Some(
            "who closed a socket, unless by exiting; system calls are hooked at their entry as well",
        ),
        mark: Mark::Enumerator("BPF_FUNC_task_pt_regs"),
    },
    Feature {
        name: "bpf_loop",
        since: "5.17",
        lost: Some(
            "who holds a range that is exhausted (`tally`); the age of sockets without a descriptor",
        ),
        mark: Mark::Enumerator("BPF_FUNC_loop"),
    },
];

/// The features without which nothing can be traced that a kernel lacks.
#[must_use]
pub fn below_floor(btf: &Btf<'_>) -> Vec<&'static str> {
    FEATURES
        .iter()
        .filter(|feature| feature.lost.is_none() && !feature.mark.stands_in(btf))
        .map(|feature| feature.name)
        .collect()
}

/// Why a kernel is refused, in one sentence; `None` if it is not below the floor.
#[must_use]
pub fn refusal(btf: &Btf<'_>) -> Option<String> {
    let missing = below_floor(btf);
    (!missing.is_empty()).then(|| {
        format!(
            "this kernel lacks what portwatch cannot do without ({}): it needs {FLOOR}",
            missing.join(", ")
        )
    })
}

/// What one kernel allows.
#[derive(Clone, Debug, Serialize)]
pub struct Support {
    /// Why it is refused; absent if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// The best backend whose parts are all there; absent if it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendName>,
    /// Every feature.
    pub features: Vec<Found>,
    /// What the probes read where it is there.
    pub fields: Vec<Field>,
    /// Every function that may serve.
    pub functions: Vec<FoundFunction>,
}

/// Whether a feature is there.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// Its name.
    pub name: &'static str,
    /// It is there.
    pub present: bool,
    /// The first kernel that has it.
    pub since: &'static str,
    /// What is lost without it.
    pub lost: &'static str,
}

/// Whether something that the probes can do without is there.
#[derive(Clone, Debug, Serialize)]
pub struct Field {
    /// What it is called.
    pub name: &'static str,
    /// It is there.
    pub present: bool,
    /// What is lost without it.
    pub lost: &'static str,
}

/// Whether a function is there.
#[derive(Clone, Debug, Serialize)]
pub struct FoundFunction {
    /// Its name.
    pub name: &'static str,
    /// It is there, with the prototype that the programs take.
    pub present: bool,
    /// What it serves.
    pub serves: &'static str,
}

/// Reads a kernel's BTF.
#[must_use]
pub fn of(btf: &Btf<'_>) -> Support {
    let resolved = offsets::resolve(btf, "");
    let refused = refusal(btf).or_else(|| resolved.as_ref().err().map(without_release));
    let has = |function: &Function| matches!(function.unfit(btf), Ok(None));
    // Without the others nobody's failure goes untold.
    let by_functions = DUTIES
        .iter()
        .filter(|duty| duty.bit & ALL_SERVED != 0)
        .all(|duty| duty.ways.iter().any(|way| way.iter().all(&has)));
    let backend = refused.is_none().then(|| match by_functions {
        true if has_trampolines(btf) => BackendName::Trampoline,
        true if btf.has(Kind::Struct, "trace_kprobe") => BackendName::Kprobe,
        true | false => BackendName::Tracepoint,
    });
    Support {
        refused,
        backend,
        features: FEATURES
            .iter()
            .map(|feature| Found {
                name: feature.name,
                present: feature.mark.stands_in(btf),
                since: feature.since,
                lost: feature.lost.unwrap_or("everything"),
            })
            .collect(),
        fields: resolved.as_ref().map(optional).unwrap_or_default(),
        functions: DUTIES
            .iter()
            .flat_map(|duty| duty.ways.iter().map(move |way| (duty, *way)))
            .flat_map(|(duty, way)| way.iter().map(move |function| (duty, function)))
            .map(|(duty, function)| FoundFunction {
                name: function.name,
                present: has(function),
                serves: duty.what,
            })
            .collect(),
    }
}

/// Trampolines hang on ftrace's direct calls, which arm64 has since Linux 6.4
/// (CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS, include/linux/ftrace.h:ftrace_ops.direct_call); on x86-64
/// they are older than that member.
fn has_trampolines(btf: &Btf<'_>) -> bool {
    let x86 = btf.member("pt_regs", "orig_ax").is_ok();
    let direct = btf.member("ftrace_ops", "direct_call").is_ok();
    btf.enumerator("BPF_TRACE_FEXIT").is_ok() && (x86 || direct)
}

/// What some kernels have and the probes do without.
struct Optional {
    /// How it is known; one of these is enough.
    fields: &'static [&'static str],
    name: &'static str,
    lost: &'static str,
}

const OPTIONAL: &[Optional] = &[
    Optional {
        fields: &["tw_connect_bind"],
        name: "SOCK_CONNECT_BIND",
        lost: "the origin of a connection older than portwatch, unless its bucket proves it",
    },
    Optional {
        fields: &["inet_flag_freebind", "inet_freebind"],
        name: "options of inet sockets",
        lost: "whether a socket is freebind, transparent or binds without a port",
    },
    Optional {
        fields: &["inet_local_port_range"],
        name: "IP_LOCAL_PORT_RANGE",
        lost: "ranges of single sockets, where the kernel has them",
    },
    Optional {
        fields: &["mptcp_first"],
        name: "MPTCP",
        lost: "failed calls on MPTCP sockets, where the kernel has them",
    },
    Optional {
        fields: &["sk_data_ready"],
        name: "sock.sk_data_ready",
        lost: "which module of the kernel has a TCP socket",
    },
    Optional {
        fields: &["udp_encap_rcv"],
        name: "udp_sock.encap_rcv",
        lost: "which module of the kernel has a UDP socket",
    },
];

fn optional(offsets: &Offsets) -> Vec<Field> {
    let values: [u32; Offsets::TABLE.len()] = zerocopy::transmute!(*offsets);
    let there = |field: &str| {
        let mut all = Offsets::TABLE.iter().zip(values);
        all.any(|(entry, value)| entry.field == field && value != ABSENT)
    };
    let field = |optional: &Optional| Field {
        name: optional.name,
        present: optional.fields.iter().any(|field| there(field)),
        lost: optional.lost,
    };
    OPTIONAL.iter().map(field).collect()
}

/// The error's text, for a kernel whose name is not known.
fn without_release(error: &OffsetsError) -> String {
    error.to_string().replace("kernel ``", "this kernel")
}
