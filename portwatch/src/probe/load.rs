//! The BPF object, loaded with this kernel's offsets and attached hook by hook.
//!
//! Everything is attached by links that die with the process: nothing is pinned, nothing is left
//! behind after a `kill -9`.

use super::{
    btf,
    hooks::{Hook, Target},
    offsets,
};
use crate::report::{History, Hook as AttachedHook, RefusedHook, Sizes};
use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader,
    programs::{
        BtfTracePoint, CgroupAttachMode, CgroupSock, CgroupSockAddr, ProgramError, SockOps,
        TracePoint,
    },
};
use portwatch_common::Offsets;
use std::{fs::File, path::Path};

/// The object, built from `portwatch-ebpf` by build.rs.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/portwatch-ebpf"));

/// Where the kernel shows its BTF.
pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// Why nothing can be traced.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// No BTF.
    #[error(
        "this kernel shows no BTF at `{BTF_PATH}`: portwatch finds every kernel field through it; \
         use a kernel built with CONFIG_DEBUG_INFO_BTF (Debian, Ubuntu, Fedora and RHEL kernels are)"
    )]
    NoBtf(#[source] std::io::Error),
    /// BTF that cannot be read.
    #[error("the kernel's BTF at `{BTF_PATH}` cannot be read")]
    BadBtf(#[source] btf::BtfError),
    /// A kernel whose structs are not what the probes need.
    #[error(transparent)]
    Offsets(#[from] offsets::OffsetsError),
    /// The object was refused.
    #[error("the kernel refused the BPF object: {}", reason(.0))]
    Object(#[source] EbpfError),
    /// aya's own reader of the BTF failed.
    #[error("the kernel's BTF at `{BTF_PATH}` cannot be read by the loader")]
    LoaderBtf(#[source] aya::BtfError),
    /// A hook without which nothing can be told.
    #[error("the hook `{hook}` was refused, and nothing can be told without it: {reason}")]
    Core {
        /// The hook.
        hook: String,
        /// The kernel's reason.
        reason: String,
    },
}

/// What to load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Leave the hooks of UDP autobind out.
    pub no_udp_autobind: bool,
    /// Bytes of the TRAFFIC ring; a power of two, at least a page.
    pub traffic_ring: u32,
    /// Bytes of the FAILURES ring; a power of two, at least a page.
    pub failures_ring: u32,
    /// Entries of OWNERS.
    pub owners: u32,
}

/// How long TIME_WAIT lasts (include/net/tcp.h, TCP_TIMEWAIT_LEN).
const TIME_WAIT_SECONDS: u32 = 60;

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            no_udp_autobind: false,
            traffic_ring: 1 << 22,
            failures_ring: 1 << 22,
            owners: 1 << 17,
        }
    }
}

impl LoadOptions {
    /// How far back the past is remembered.
    #[must_use]
    pub fn history(&self) -> History {
        let sizes = self.sizes();
        History {
            closed_connections: sizes.past,
            listeners: sizes.listeners,
            closes_per_second: sizes.past / TIME_WAIT_SECONDS,
        }
    }

    /// Sizes of everything that can overflow.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        Sizes {
            failures_ring: self.failures_ring,
            traffic_ring: self.traffic_ring,
            owners: self.owners,
            past: 1 << 16,
            listeners: 1 << 14,
            watched: 1 << 13,
        }
    }
}

/// The object in the kernel, nothing attached yet.
pub struct Loaded {
    /// aya's handle: maps and programs.
    pub ebpf: Ebpf,
    /// aya's BTF, for BTF tracepoints and iterators.
    pub btf: Btf,
}

/// What is attached and what is not.
#[derive(Clone, Debug, Default)]
pub struct Attached {
    /// Attached hooks.
    pub hooks: Vec<AttachedHook>,
    /// Refused hooks.
    pub refused: Vec<RefusedHook>,
}

/// Resolves the running kernel's offsets.
///
/// # Errors
/// No BTF, or a kernel that lacks a struct or member.
pub fn resolve_offsets(release: &str) -> Result<Offsets, LoadError> {
    let bytes = std::fs::read(Path::new(BTF_PATH)).map_err(LoadError::NoBtf)?;
    let btf = btf::Btf::parse(&bytes).map_err(LoadError::BadBtf)?;
    Ok(offsets::resolve(&btf, release)?)
}

/// Loads the object's maps and globals.
///
/// # Errors
/// The kernel's BTF cannot be used, or it refuses the object.
pub fn load(offsets: &Offsets, options: &LoadOptions) -> Result<Loaded, LoadError> {
    let btf = Btf::from_sys_fs().map_err(LoadError::LoaderBtf)?;
    let global = Global(*offsets);
    let ebpf = EbpfLoader::new()
        .btf(Some(&btf))
        .override_global("OFFSETS", &global, true)
        .map_max_entries("TRAFFIC", options.traffic_ring)
        .map_max_entries("FAILURES", options.failures_ring)
        .map_max_entries("OWNERS", options.owners)
        .load(OBJECT)
        .map_err(LoadError::Object)?;
    Ok(Loaded { ebpf, btf })
}

/// Attaches every hook of a table, going on without those that are refused.
///
/// # Errors
/// A hook was refused without which nothing can be told.
pub fn attach(
    loaded: &mut Loaded,
    cgroup: Option<&File>,
    options: &LoadOptions,
    table: &[Hook],
) -> Result<Attached, LoadError> {
    let mut attached = Attached::default();
    for hook in table {
        if options.no_udp_autobind && hook.udp_autobind {
            continue;
        }
        match attach_one(loaded, hook, cgroup) {
            Ok(()) => attached.hooks.push(AttachedHook {
                kind: hook.target.kind().to_owned(),
                target: hook.target.name(),
            }),
            Err(reason) if hook.core => {
                return Err(LoadError::Core {
                    hook: hook.target.name(),
                    reason,
                });
            }
            Err(reason) => attached.refused.push(RefusedHook {
                kind: hook.target.kind().to_owned(),
                target: hook.target.name(),
                reason,
                lost: hook.lost.to_owned(),
            }),
        }
    }
    Ok(attached)
}

/// Loads and attaches one program; the kernel's reason if it is refused.
fn attach_one(loaded: &mut Loaded, hook: &Hook, cgroup: Option<&File>) -> Result<(), String> {
    if hook.target.needs_cgroup() && cgroup.is_none() {
        return Err("no cgroup2 hierarchy is mounted here".to_owned());
    }
    let program = loaded
        .ebpf
        .program_mut(hook.program)
        .ok_or_else(|| format!("the object has no program `{}`", hook.program))?;
    let done = match (hook.target, cgroup) {
        (Target::Syscall(event), _) => {
            let program: Result<&mut TracePoint, ProgramError> = program.try_into();
            program.and_then(|program| {
                program.load()?;
                program.attach("syscalls", event).map(drop)
            })
        }
        (Target::TpBtf(event), _) => {
            let program: Result<&mut BtfTracePoint, ProgramError> = program.try_into();
            program.and_then(|program| {
                program.load(event, &loaded.btf)?;
                program.attach().map(drop)
            })
        }
        // `Single` is flags 0 in BPF_LINK_CREATE: a link always allows others beside it.
        (Target::CgroupSock(_), Some(cgroup)) => {
            let program: Result<&mut CgroupSock, ProgramError> = program.try_into();
            program.and_then(|program| {
                program.load()?;
                program.attach(cgroup, CgroupAttachMode::Single).map(drop)
            })
        }
        (Target::CgroupSockAddr(_), Some(cgroup)) => {
            let program: Result<&mut CgroupSockAddr, ProgramError> = program.try_into();
            program.and_then(|program| {
                program.load()?;
                program.attach(cgroup, CgroupAttachMode::Single).map(drop)
            })
        }
        (Target::SockOps, Some(cgroup)) => {
            let program: Result<&mut SockOps, ProgramError> = program.try_into();
            program.and_then(|program| {
                program.load()?;
                program.attach(cgroup, CgroupAttachMode::Single).map(drop)
            })
        }
        (Target::CgroupSock(_) | Target::CgroupSockAddr(_) | Target::SockOps, None) => {
            unreachable!("checked above")
        }
    };
    done.map_err(|error| {
        // kernel/bpf/cgroup.c:__cgroup_bpf_attach; that we may is checked before.
        if let ProgramError::SyscallError(refused) = &error
            && hook.target.needs_cgroup()
            && refused.io_error.kind() == std::io::ErrorKind::PermissionDenied
        {
            return "another program holds this hook of the cgroup exclusively (`bpftool cgroup \
                    tree` shows which)"
                .to_owned();
        }
        program_reason(&error)
    })
}

/// The kernel's reason for refusing a program, in a line or a few.
#[must_use]
pub fn program_reason(error: &ProgramError) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "aya's error enum is non_exhaustive; the rest tell themselves well enough"
    )]
    match error {
        ProgramError::LoadError {
            io_error,
            verifier_log,
        } => {
            let log = verifier_log.to_string();
            let tail: Vec<&str> = log.lines().rev().take(6).collect();
            if tail.is_empty() {
                return io_error.to_string();
            }
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            format!(
                "{io_error}; the verifier's last lines: {}",
                tail.join(" | ")
            )
        }
        ProgramError::SyscallError(error) => error.io_error.to_string(),
        ProgramError::TracePointError(error) => chain(error),
        other => chain(other),
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

fn reason(error: &EbpfError) -> String {
    chain(error)
}

/// [`Offsets`] as a global of the object.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct Global(Offsets);

// SAFETY: `Offsets` is `repr(C)` and holds nothing but `u32`s, so it is plain old data.
unsafe impl aya::Pod for Global {}

#[cfg(test)]
mod tests;
