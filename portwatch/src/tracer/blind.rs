//! The tracer under `lockdown=confidentiality`: failures are seen, the kernel's memory is not.
//!
//! Hooks that read no kernel memory tell of failed binds, and who has the port is asked
//! afterwards. Nothing here is ever `exact`, and the start line says what is lost.

use super::losses::Losses;
use super::{KeepAttached, Tracer, TracerError, TracerOptions, about, absent, ranges};
use crate::enrich::clock;
use crate::enrich::live::LiveFacts;
use crate::probe::attach::{self, Attached};
use crate::probe::control::Control;
use crate::probe::environment::{Environment, Lockdown};
use crate::probe::load::{self, LoadError};
use crate::probe::misses::Misses;
use crate::probe::{cgroup, features, hooks};
use crate::report::{BackendName, ClockAnchor, History, Start};
use crate::source::live::Live;
use std::collections::{BTreeMap, VecDeque};

/// For tests only: `confidentiality` starts this tracer on a kernel that is not locked down.
const ASSUME: &str = "PORTWATCH_ASSUME_LOCKDOWN";

/// Nothing is remembered here: no hook sees who takes or leaves a port.
const NO_HISTORY: History = History {
    closed_connections: 0,
    listeners: 0,
    closes_per_second: 0,
};

/// This tracer is asked for.
pub(super) fn assumed() -> bool {
    std::env::var_os(ASSUME).is_some_and(|value| value == "confidentiality")
}

/// Why the usual tracer did not start may be the lockdown: it opens no file of tracefs
/// (kernel/trace/trace.c:tracing_check_open_get_tr, LOCKDOWN_TRACEFS) and loads nothing that reads
/// its memory (kernel/bpf/helpers.c:bpf_base_func_proto, LOCKDOWN_BPF_READ_KERNEL).
pub(super) fn explains(environment: &Environment, error: &TracerError) -> bool {
    // Without securityfs (a container) the kernel does not say it; that it refuses the helper does.
    let locked = match environment.lockdown {
        Some(said) => said == Lockdown::Confidentiality,
        None => !features::reads_kernel(),
    };
    locked
        && matches!(
            error,
            TracerError::Tracefs(_) | TracerError::Load(LoadError::Core { .. })
        )
}

/// Attaches what is left.
///
/// # Errors
/// As [`Tracer::start`].
pub(super) fn start(
    options: &TracerOptions,
    environment: &Environment,
    mut warnings: Vec<String>,
) -> Result<(Tracer, LiveFacts, Start), TracerError> {
    warnings.extend(about(environment));
    warnings.push(
        "lockdown=confidentiality: the kernel shows no program its memory, so only failed bind() \
         calls are seen and holders are asked for afterwards: at best `inferred`, never `exact` \
         (see blind_spots); boot with lockdown=integrity or none for the rest"
            .to_owned(),
    );
    let release = environment.kernel.as_str();
    let offsets = load::resolve_offsets(release)?;
    let mut loaded = load::load(&offsets, &options.load)?;
    let mut control = Control::take(&mut loaded.ebpf)?;
    let live = Live::take(&mut loaded.ebpf)?;
    control.want(false, false, &options.netns)?;
    let directory = cgroup::open(&environment.cgroup2);
    if let Err(error) = &directory {
        warnings.push(format!("{error}: binds outside of it are not seen"));
    }
    let cgroup = directory.as_ref().ok();
    let mut attached = Attached::default();
    attach::table(
        &mut loaded,
        cgroup,
        &options.load,
        hooks::BLIND,
        &mut attached,
    )
    .map_err(TracerError::LockedDown)?;
    let misses = Misses::of(&loaded.ebpf, &attached);
    let started = clock::now()?;
    let mut facts = LiveFacts::with_finder(Box::new(KeepAttached::new(loaded.ebpf)));
    warnings.extend(absent(&mut facts, options));
    let anchor = ClockAnchor::now()?;
    let start = Start {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: release.to_owned(),
        backend: BackendName::Tracepoint,
        hooks: attached.hooks,
        hooks_refused: attached.refused,
        blind_spots: hooks::BLIND_BLIND_SPOTS
            .iter()
            .chain(hooks::TRACEPOINT_BLIND_SPOTS)
            .chain(hooks::RELEASE_BLIND_SPOTS)
            .map(|spot| (*spot).to_owned())
            .collect(),
        warnings,
        namespaces: ranges(&mut facts, &[]),
        clock: anchor,
        filters: BTreeMap::new(),
        sizes: options.load.sizes(),
        history: NO_HISTORY,
        snapshot_sockets: 0,
    };
    let tracer = Tracer {
        live,
        control,
        traffic: false,
        started,
        scanned: started,
        anchor,
        own_netns: environment.netns,
        older: Vec::new(),
        waiting: VecDeque::new(),
        losses: Losses::new(misses),
    };
    Ok((tracer, facts, start))
}
