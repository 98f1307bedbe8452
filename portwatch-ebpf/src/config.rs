//! What user space asks for, and the offsets it resolved.

use crate::maps::{CONFIG, NETNS};
use portwatch_common::{Features, Offsets};

/// Written by the loader (`EbpfLoader::override_global`) before the object is loaded; frozen
/// afterwards, so that the verifier sees constants and drops the variants a kernel does not have.
#[unsafe(no_mangle)]
pub(crate) static OFFSETS: Offsets = Offsets::ZERO;

/// What this kernel has, written and frozen like [`OFFSETS`]: what it lacks becomes dead code, which
/// the verifier does not look at.
#[unsafe(no_mangle)]
pub(crate) static FEATURES: Features = Features::ALL;

/// The questions to [`FEATURES`].
pub(crate) mod features {
    use super::{FEATURES, resolved};

    /// `bpf_get_current_task_btf`.
    #[inline(always)]
    pub(crate) fn task_btf() -> bool {
        resolved(&raw const FEATURES.task_btf) != 0
    }

    /// `bpf_task_pt_regs`.
    #[inline(always)]
    pub(crate) fn task_pt_regs() -> bool {
        resolved(&raw const FEATURES.task_pt_regs) != 0
    }

    /// `bpf_snprintf`.
    #[inline(always)]
    pub(crate) fn snprintf() -> bool {
        resolved(&raw const FEATURES.snprintf) != 0
    }

    /// Tracing programs may ask a socket's cookie.
    #[inline(always)]
    pub(crate) fn tracing_cookie() -> bool {
        resolved(&raw const FEATURES.tracing_cookie) != 0
    }
}

/// One resolved offset, by the field's name.
macro_rules! off {
    ($field:ident) => {
        $crate::config::resolved(&raw const $crate::config::OFFSETS.$field)
    };
}
pub(crate) use off;

/// Reads a field of [`OFFSETS`]; volatile, since the loader writes it.
#[inline(always)]
pub(crate) fn resolved(field: *const u32) -> u32 {
    // SAFETY: only `off!` calls this, with a field of a static.
    unsafe { core::ptr::read_volatile(field) }
}

/// Assignments and releases are wanted.
#[inline(always)]
pub(crate) fn traffic() -> bool {
    CONFIG.get(0).is_some_and(|config| config.traffic != 0)
}

/// Calls refused for other reasons are wanted.
#[inline(always)]
pub(crate) fn refused() -> bool {
    CONFIG.get(0).is_some_and(|config| config.refused != 0)
}

/// A function of the kernel serves this part of what a system call's exit tells.
#[inline(always)]
pub(crate) fn served(part: u32) -> bool {
    CONFIG
        .get(0)
        .is_some_and(|config| config.served & part != 0)
}

/// Calls in this network namespace are wanted.
#[inline(always)]
pub(crate) fn wants_netns(inum: u32) -> bool {
    let all = CONFIG.get(0).is_none_or(|config| config.only_netns == 0);
    all || NETNS.get_ptr(inum).is_some()
}

/// The start-up scan is complete.
#[inline(always)]
pub(crate) fn snapshot_done() -> bool {
    CONFIG
        .get(0)
        .is_some_and(|config| config.snapshot_done != 0)
}

/// Tgid of portwatch itself, whatever pid namespace it runs in; 0 before its first scan.
#[inline(always)]
pub(crate) fn own_tgid() -> u32 {
    CONFIG.get(0).map_or(0, |config| config.own_tgid)
}

/// Portwatch's own task runs the iterator: now its tgid is known.
#[inline(always)]
pub(crate) fn set_own_tgid(tgid: u32) {
    if let Some(config) = CONFIG.get_ptr_mut(0) {
        // SAFETY: a value of our own map; user space writes 0 here, which the next scan mends.
        unsafe { (*config).own_tgid = tgid };
    }
}
