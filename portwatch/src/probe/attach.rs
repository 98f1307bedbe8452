//! Hook by hook into the kernel: what is refused is told with the kernel's reason, and something
//! else takes its place where there is something.
//!
//! Functions of the kernel come first, each by a trampoline, else by a kprobe; what none of them
//! serves is left to the exits of system calls. Nothing is chosen by the kernel's version.

use super::assume;
use super::control::Control;
use super::functions::{ALL_SERVED, DUTIES};
use super::hooks::{self, Hook, Target};
use super::load::{LoadError, LoadOptions, Loaded};
use super::refusal::program_reason;
use super::serve;
use crate::report::{BackendName, Hook as AttachedHook, RefusedHook};
use aya::programs::{
    BtfTracePoint, CgroupAttachMode, CgroupSock, CgroupSockAddr, FEntry, FExit, KProbe,
    ProgramError, SockOps, TracePoint,
};
use std::{collections::BTreeMap, fs::File, path::Path};

/// Which of the kernel's hooks may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// The best that each of them allows.
    #[default]
    Auto,
    /// Only these, an error where they are refused.
    Only(BackendName),
}

impl Choice {
    pub(super) fn allows(self, backend: BackendName) -> bool {
        match self {
            Self::Auto => true,
            Self::Only(only) => only == backend,
        }
    }
}

/// What is attached and what is not.
#[derive(Clone, Debug, Default)]
pub struct Attached {
    /// Attached hooks.
    pub hooks: Vec<AttachedHook>,
    /// Refused hooks.
    pub refused: Vec<RefusedHook>,
    /// What functions of the kernel serve, as [`portwatch_common::Config::served`].
    pub served: u32,
    /// The programs of the attached hooks, with the hooks' names.
    programs: BTreeMap<&'static str, String>,
    /// A function is served by a kprobe.
    pub(super) kprobes: bool,
    /// A function is served by a trampoline.
    pub(super) trampolines: bool,
}

impl Attached {
    /// The name of what tells the failures; of a mixture the better one.
    #[must_use]
    pub fn backend(&self) -> BackendName {
        if self.trampolines {
            BackendName::Trampoline
        } else if self.kprobes {
            BackendName::Kprobe
        } else {
            BackendName::Tracepoint
        }
    }

    /// Every attached program, and the hook that it serves; of several the first.
    pub fn programs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.programs
            .iter()
            .map(|(program, hook)| (*program, hook.as_str()))
    }

    pub(super) fn attached(&mut self, program: &'static str, target: Target) {
        self.programs
            .entry(program)
            .or_insert_with(|| target.name());
        self.hooks.push(AttachedHook {
            kind: target.kind().to_owned(),
            target: target.name(),
        });
    }

    pub(super) fn refused(&mut self, target: Target, reason: String, lost: &str) {
        self.refused.push(RefusedHook {
            kind: target.kind().to_owned(),
            target: target.name(),
            reason,
            lost: lost.to_owned(),
        });
    }
}

/// Attaches everything that is wanted and allowed.
///
/// # Errors
/// A hook was refused without which nothing can be told, or all of those that the user chose.
pub fn attach(
    loaded: &mut Loaded,
    control: &mut Control,
    cgroup: Option<&File>,
    options: &LoadOptions,
) -> Result<Attached, LoadError> {
    let mut attached = Attached::default();
    table(loaded, cgroup, options, hooks::OWNERS, &mut attached)?;
    for duty in DUTIES {
        serve::serve(loaded, duty, options.backend, &mut attached);
    }
    if let Choice::Only(only @ (BackendName::Trampoline | BackendName::Kprobe)) = options.backend
        && attached.served & ALL_SERVED == 0
    {
        return Err(LoadError::Backend {
            backend: only,
            reason: attached
                .refused
                .iter()
                .map(|hook| format!("{} {}: {}", hook.kind, hook.target, hook.reason))
                .collect::<Vec<_>>()
                .join("; "),
        });
    }
    control.serve(attached.served).map_err(LoadError::Control)?;
    let all_ask = attached.served & ALL_SERVED == ALL_SERVED
        && !attached.kprobes
        && loaded.features.tracing_cookie != 0;
    if !all_ask {
        table(loaded, cgroup, options, hooks::COOKIES, &mut attached)?;
    }
    if loaded.features.task_pt_regs == 0 {
        table(
            loaded,
            cgroup,
            options,
            hooks::SYSCALL_ENTRIES,
            &mut attached,
        )?;
    }
    table(loaded, cgroup, options, hooks::SYSCALLS, &mut attached)?;
    Ok(attached)
}

/// Attaches every hook of a table that is needed, going on without those that are refused.
///
/// # Errors
/// A hook was refused without which nothing can be told.
pub fn table(
    loaded: &mut Loaded,
    cgroup: Option<&File>,
    options: &LoadOptions,
    table: &[Hook],
    attached: &mut Attached,
) -> Result<(), LoadError> {
    for hook in table {
        let served = hook.unless != 0 && attached.served & hook.unless == hook.unless;
        if served || options.no_udp_autobind && hook.udp_autobind {
            continue;
        }
        match attach_one(loaded, hook.program, hook.target, cgroup) {
            Ok(()) => attached.attached(hook.program, hook.target),
            Err(reason) if hook.core && attached.served & ALL_SERVED == 0 => {
                return Err(LoadError::Core {
                    hook: hook.target.name(),
                    reason,
                });
            }
            Err(reason) => attached.refused(hook.target, reason, hook.lost),
        }
    }
    Ok(())
}

/// Where the kernel offers kprobes to programs (kernel/events/core.c:perf_kprobe).
const KPROBES: &str = "/sys/bus/event_source/devices/kprobe/type";

/// Loads and attaches one program; the kernel's reason if it is refused.
pub(super) fn attach_one(
    loaded: &mut Loaded,
    name: &str,
    target: Target,
    cgroup: Option<&File>,
) -> Result<(), String> {
    if let Some(reason) = assume::refusal(target) {
        return Err(reason);
    }
    if target.needs_cgroup() && cgroup.is_none() {
        return Err("no cgroup2 hierarchy is mounted here".to_owned());
    }
    if matches!(target, Target::Kprobe(_) | Target::Kretprobe(_)) && !Path::new(KPROBES).exists() {
        return Err("this kernel has no kprobes (CONFIG_KPROBES, CONFIG_KPROBE_EVENTS)".to_owned());
    }
    let program = loaded
        .ebpf
        .program_mut(name)
        .ok_or_else(|| format!("the object has no program `{name}`"))?;
    let loaded_before = program.fd().is_ok();
    let done = match (target, cgroup) {
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
        (Target::Fentry(function), _) => {
            let program: Result<&mut FEntry, ProgramError> = program.try_into();
            program.and_then(|program| {
                program.load(function, &loaded.btf)?;
                program.attach().map(drop)
            })
        }
        (Target::Fexit(function), _) => {
            let program: Result<&mut FExit, ProgramError> = program.try_into();
            program.and_then(|program| {
                program.load(function, &loaded.btf)?;
                program.attach().map(drop)
            })
        }
        (Target::Kprobe(function) | Target::Kretprobe(function), _) => {
            let program: Result<&mut KProbe, ProgramError> = program.try_into();
            program.and_then(|program| {
                if !loaded_before {
                    program.load()?;
                }
                program.attach(function, 0).map(drop)
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
            && target.needs_cgroup()
            && refused.io_error.kind() == std::io::ErrorKind::PermissionDenied
        {
            return "another program holds this hook of the cgroup exclusively (`bpftool cgroup \
                    tree` shows which)"
                .to_owned();
        }
        program_reason(&error)
    })
}
