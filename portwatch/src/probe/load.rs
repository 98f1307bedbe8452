//! The BPF object, loaded with this kernel's offsets.
//!
//! Everything is attached by links that die with the process: nothing is pinned, nothing is left
//! behind after a `kill -9`.

use super::{
    attach::Choice, btf, control::ControlError, features, functions, offsets, refusal::chain,
    support,
};
use crate::report::{BackendName, History, Sizes};
use aya::{Btf, Ebpf, EbpfError, EbpfLoader};
use portwatch_common::{Features, Offsets};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The object, built from `portwatch-ebpf` by build.rs.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/portwatch-ebpf"));

/// The same with a walk that does without `bpf_loop`.
static FLAT_OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/portwatch-ebpf-flat"));

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
    /// A kernel below the floor.
    #[error("{0}")]
    Floor(String),
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
    /// Every hook of the backend that was asked for.
    #[error(
        "this kernel refuses every hook of `--backend {}`: {reason}; `--backend auto` takes what it \
         allows",
        backend.word()
    )]
    Backend {
        /// What was asked for.
        backend: BackendName,
        /// The kernel's reasons.
        reason: String,
    },
    /// The hooks cannot be told what the others serve.
    #[error(transparent)]
    Control(ControlError),
}

/// What to load.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Which of the kernel's hooks.
    pub backend: Choice,
    /// Leave the hooks of UDP autobind out.
    pub no_udp_autobind: bool,
    /// Bytes of the TRAFFIC ring; a power of two, at least a page.
    pub traffic_ring: u32,
    /// Bytes of the FAILURES ring; a power of two, at least a page.
    pub failures_ring: u32,
    /// Entries of OWNERS.
    pub owners: u32,
    /// Entries of PAST.
    pub closed_connections: u32,
}

/// How long TIME_WAIT lasts (include/net/tcp.h, TCP_TIMEWAIT_LEN).
const TIME_WAIT_SECONDS: u32 = 60;

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            backend: Choice::Auto,
            no_udp_autobind: false,
            traffic_ring: 1 << 22,
            failures_ring: 1 << 22,
            owners: 1 << 17,
            closed_connections: 1 << 16,
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
            past: self.closed_connections,
            listeners: 1 << 14,
            watched: 1 << 13,
        }
    }
}

/// The object in the kernel, nothing attached yet.
pub struct Loaded {
    /// aya's handle: maps and programs.
    pub ebpf: Ebpf,
    /// aya's BTF, for BTF tracepoints, trampolines and iterators.
    pub btf: Btf,
    /// What this kernel has.
    pub features: Features,
    /// Functions that are not as the programs take them, and why.
    pub unfit: BTreeMap<&'static str, String>,
    /// Functions that its BTF does not know.
    pub absent: BTreeSet<&'static str>,
}

/// Resolves the running kernel's offsets.
///
/// # Errors
/// No BTF, or a kernel that lacks a struct or member.
pub fn resolve_offsets(release: &str) -> Result<Offsets, LoadError> {
    let bytes = std::fs::read(Path::new(BTF_PATH)).map_err(LoadError::NoBtf)?;
    let btf = btf::Btf::parse(&bytes).map_err(LoadError::BadBtf)?;
    if let Some(refusal) = support::refusal(&btf) {
        return Err(LoadError::Floor(refusal));
    }
    Ok(offsets::resolve(&btf, release)?)
}

/// Loads the object's maps and globals.
///
/// # Errors
/// The kernel's BTF cannot be used, or it refuses the object.
pub fn load(offsets: &Offsets, options: &LoadOptions) -> Result<Loaded, LoadError> {
    let btf = Btf::from_sys_fs().map_err(LoadError::LoaderBtf)?;
    let bytes = std::fs::read(Path::new(BTF_PATH)).map_err(LoadError::NoBtf)?;
    let kernel = btf::Btf::parse(&bytes).map_err(LoadError::BadBtf)?;
    let unfit = functions::unfit(&kernel);
    let absent = functions::absent(&kernel);
    let global = Global(*offsets);
    let features = features::probe();
    let ebpf = EbpfLoader::new()
        .btf(Some(&btf))
        .override_global("OFFSETS", &global, true)
        .override_global("FEATURES", &FeaturesGlobal(features), true)
        .map_max_entries("TRAFFIC", options.traffic_ring)
        .map_max_entries("FAILURES", options.failures_ring)
        .map_max_entries("OWNERS", options.owners)
        .map_max_entries("PAST", options.closed_connections)
        .load(if features.bpf_loop != 0 {
            OBJECT
        } else {
            FLAT_OBJECT
        })
        .map_err(LoadError::Object)?;
    Ok(Loaded {
        ebpf,
        btf,
        features,
        unfit,
        absent,
    })
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

/// [`Features`] as a global of the object.
#[repr(transparent)]
#[derive(Clone, Copy)]
struct FeaturesGlobal(Features);

// SAFETY: `Features` is `repr(C)` and holds nothing but `u32`s, so it is plain old data.
unsafe impl aya::Pod for FeaturesGlobal {}

#[cfg(test)]
mod tests;
