//! The live tracer: everything between "may we?" and the first record.
//!
//! Attach first, then scan: a socket is either seen by a hook or found by the scan, and the scan
//! never overwrites a hook's entry.

mod blind;
mod losses;
mod run;

pub use run::{Limits, run};

use crate::decode::Found;
use crate::decode::event::{Ktime, NetnsId};
use crate::enrich::clock::{self, ClockError};
use crate::enrich::live::{LiveFacts, ProcScan, SocketFinder, Users};
use crate::probe::attach::{self, Attached};
use crate::probe::control::{Control, ControlError};
use crate::probe::environment::{Cgroup2, Environment, Lockdown, TracefsError};
use crate::probe::load::{self, LoadError, LoadOptions};
use crate::probe::misses::Misses;
use crate::probe::privilege::{self, PrivilegeError};
use crate::probe::{cgroup, hooks};
use crate::report::{ClockAnchor, NetnsRange, RefusedHook, Start};
use crate::snapshot::{self, Scanner, finder::IteratorFinder, tables::Tables};
use crate::source::RawRecord;
use crate::source::live::{Live, SourceError};
use losses::Losses;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::path::Path;

/// Network namespaces whose ranges the start line tells at most.
const NAMESPACES_TOLD: usize = 64;

/// Why the kernel cannot be traced.
#[derive(Debug, thiserror::Error)]
pub enum TracerError {
    /// Not allowed.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    /// No tracefs.
    #[error(transparent)]
    Tracefs(#[from] TracefsError),
    /// The object cannot be loaded or attached.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The kernel keeps its memory to itself, and refuses even what does not read it.
    #[error(
        "lockdown=confidentiality: this kernel lets no program read its sockets and shows nobody \
         its tracepoints, so no failed bind can be seen; boot with lockdown=integrity or none"
    )]
    LockedDown(#[source] LoadError),
    /// Its maps cannot be used.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// Its rings cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The clocks cannot be read.
    #[error(transparent)]
    Clock(#[from] ClockError),
}

/// What to trace.
#[derive(Clone, Debug, Default)]
pub struct TracerOptions {
    /// What to load and how big.
    pub load: LoadOptions,
    /// Assignments and releases are wanted.
    pub traffic: bool,
    /// Calls refused for other reasons are wanted.
    pub refused: bool,
    /// Only these network namespaces are wanted; none = all.
    pub netns: Vec<u32>,
}

/// Attached probes.
pub struct Tracer {
    /// The rings.
    pub live: Live,
    /// The steering maps.
    pub control: Control,
    /// Assignments and releases are wanted.
    pub traffic: bool,
    /// When the hooks were attached.
    pub started: Ktime,
    /// When the start-up scan was complete.
    pub scanned: Ktime,
    /// The clocks at the start.
    pub anchor: ClockAnchor,
    /// Our own network namespace.
    pub own_netns: Option<NetnsId>,
    /// Sockets older than the hooks that no descriptor leads to.
    pub older: Vec<Found>,
    /// Records that are out of the rings and not worked on yet; first those of the time of the scan.
    waiting: VecDeque<RawRecord>,
    /// Losses that are told.
    losses: Losses,
}

impl Tracer {
    /// Attaches the probes and scans what is older. Also the facts of this machine and the start
    /// line, its filters still empty. Needs a tokio runtime.
    ///
    /// # Errors
    /// Anything without which nothing can be told.
    pub fn start(options: &TracerOptions) -> Result<(Self, LiveFacts, Start), TracerError> {
        privilege::check()?;
        let warnings: Vec<String> = privilege::raise_limits().into_iter().collect();
        let environment = Environment::probe();
        if blind::assumed() {
            return blind::start(options, &environment, warnings);
        }
        match Self::seeing(options, environment.clone(), warnings.clone()) {
            Err(error) if blind::explains(&environment, &error) => {
                log::debug!("the usual hooks are refused: {error}");
                blind::start(options, &environment, warnings)
            }
            done => done,
        }
    }

    /// The tracer that reads the kernel's own tables.
    fn seeing(
        options: &TracerOptions,
        mut environment: Environment,
        mut warnings: Vec<String>,
    ) -> Result<(Self, LiveFacts, Start), TracerError> {
        let (tracefs, mounted) = environment.ensure_tracefs()?;
        if mounted {
            warnings.push(format!("mounted tracefs at {}", tracefs.display()));
        }
        warnings.extend(about(&environment));
        if environment.lockdown == Some(Lockdown::Confidentiality) {
            warnings.push(
                "lockdown=confidentiality: this kernel says that nobody may read its memory, and \
                 yet loads what does"
                    .to_owned(),
            );
        }

        let release = environment.kernel.as_str();
        let offsets = load::resolve_offsets(release)?;
        let mut loaded = load::load(&offsets, &options.load)?;
        #[cfg(feature = "probe-log")]
        crate::probe::diagnostics::listen(&mut loaded.ebpf);
        let mut control = Control::take(&mut loaded.ebpf)?;
        let mut live = Live::take(&mut loaded.ebpf)?;
        control.want(options.traffic, options.refused, &options.netns)?;

        let directory = cgroup::open(&environment.cgroup2);
        if let Err(error) = &directory {
            warnings.push(format!("{error}: who took a port is not remembered"));
        }
        let cgroup = directory.as_ref().ok();
        let mut attached = attach::attach(&mut loaded, &mut control, cgroup, &options.load)?;
        let misses = Misses::of(&loaded.ebpf, &attached);
        let started = clock::now()?;

        let bpf_loop = loaded.features.bpf_loop != 0;
        let tables = scan_tables(&mut loaded, &mut live, &mut attached, &mut warnings);
        let (finder, found) = scan(loaded, &mut attached, &mut warnings);
        control.snapshot_done()?;
        let scanned = clock::now()?;

        let mut facts = LiveFacts::with_finder(finder);
        if !facts.pid_namespace_is_initial() {
            warnings.push(
                "portwatch runs in a pid namespace of its own: processes are named as the kernel \
                 told them, none is looked up in /proc; run it in the host's pid namespace"
                    .to_owned(),
            );
        }
        warnings.extend(absent(&mut facts, options));
        let anchor = ClockAnchor::now()?;
        let start = Start {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: release.to_owned(),
            backend: attached.backend(),
            blind_spots: hooks::blind_spots(attached.served, bpf_loop),
            hooks: attached.hooks,
            hooks_refused: attached.refused,
            warnings,
            namespaces: ranges(&mut facts, &found.netns),
            clock: anchor,
            filters: BTreeMap::new(),
            sizes: options.load.sizes(),
            history: options.load.history(),
            snapshot_sockets: found.sockets + tables.found.len() as u64,
        };
        let own_netns = environment.netns;
        let mut older = tables.found;
        older.extend(found.found);
        let tracer = Self {
            live,
            control,
            traffic: options.traffic,
            started,
            scanned,
            anchor,
            own_netns,
            older,
            waiting: tables.traffic.into(),
            losses: Losses::new(misses),
        };
        Ok((tracer, facts, start))
    }
}

/// Namespaces of the filter that are nowhere.
fn absent(facts: &mut LiveFacts, options: &TracerOptions) -> Vec<String> {
    let absent = facts.namespaces().absent(&options.netns).into_iter();
    let told = absent.map(|inode| {
        format!(
            "--netns {inode}: there is no such network namespace now, so nothing is told until \
             one is made with that inode; `lsns -t net` lists them"
        )
    });
    told.collect()
}

/// What the start-up scan found.
#[derive(Default)]
struct Scanned {
    sockets: u64,
    netns: Vec<NetnsId>,
    /// All of them. Subflows of MPTCP get no entry in the kernel (nobody may ask their cookie), so
    /// that they were met is all that says how old they are.
    found: Vec<Found>,
}

/// The scan for what has no descriptor; where it is refused, the age of such sockets is not known.
fn scan_tables(
    loaded: &mut load::Loaded,
    live: &mut Live,
    attached: &mut Attached,
    warnings: &mut Vec<String>,
) -> Tables {
    match snapshot::tables::scan(&mut loaded.ebpf, live) {
        Ok(tables) => {
            attached.hooks.push(crate::report::Hook {
                kind: "raw_tp".to_owned(),
                target: "test_run of the bind tables' scan".to_owned(),
            });
            if tables.lost > 0 {
                warnings.push(format!(
                    "{} older sockets without a descriptor found no room in the ring; a larger \
                     --ring-size keeps them",
                    tables.lost
                ));
            }
            tables
        }
        Err(error) => {
            attached.refused.push(RefusedHook {
                kind: "raw_tp".to_owned(),
                target: "test_run of the bind tables' scan".to_owned(),
                reason: error.to_string(),
                lost: "how old TIME_WAIT and orphaned sockets are at least".to_owned(),
            });
            Tables::default()
        }
    }
}

/// The start-up scan; where it is refused, older sockets have no owner, and that is said.
fn scan(
    loaded: load::Loaded,
    attached: &mut Attached,
    warnings: &mut Vec<String>,
) -> (Box<dyn SocketFinder + Send>, Scanned) {
    let load::Loaded { ebpf, btf, .. } = loaded;
    let mut scanner = match Scanner::load(ebpf, &btf) {
        Ok(scanner) => scanner,
        Err(refusal) => {
            let (ebpf, error) = *refusal;
            attached.refused.push(RefusedHook {
                kind: "iter".to_owned(),
                target: "task_file".to_owned(),
                reason: error.to_string(),
                lost: "who has sockets that are older than portwatch".to_owned(),
            });
            return (Box::new(KeepAttached::new(ebpf)), Scanned::default());
        }
    };
    attached.hooks.push(crate::report::Hook {
        kind: "iter".to_owned(),
        target: "task_file".to_owned(),
    });
    let ranges = "test_run of a range's scan".to_owned();
    match scanner.load_ranges() {
        Ok(()) => attached.hooks.push(crate::report::Hook {
            kind: "raw_tp".to_owned(),
            target: ranges,
        }),
        Err(error) => attached.refused.push(RefusedHook {
            kind: "raw_tp".to_owned(),
            target: ranges,
            reason: error.to_string(),
            lost: "who holds a range that has no free port left (`tally`)".to_owned(),
        }),
    }
    let mut scanned = Scanned::default();
    match scanner.pass() {
        Ok((found, bad)) => {
            if bad > 0 {
                warnings.push(format!("{bad} records of the start-up scan made no sense"));
            }
            let sockets: HashSet<u64> = found.iter().map(|found| found.socket.sk).collect();
            scanned.sockets = sockets.len() as u64;
            let mut seen = HashSet::new();
            scanned.netns = found
                .iter()
                .map(|found| found.netns)
                .filter(|netns| seen.insert(*netns))
                .collect();
            scanned.found = found;
        }
        Err(error) => warnings.push(format!(
            "{error}: who has sockets that are older than portwatch is not known"
        )),
    }
    (Box::new(IteratorFinder::new(scanner)), scanned)
}

/// Ranges of the namespaces known now, our own first.
fn ranges(facts: &mut LiveFacts, found: &[NetnsId]) -> Vec<NetnsRange> {
    let namespaces = facts.namespaces();
    let mut known: Vec<NetnsId> = namespaces.own().into_iter().collect();
    for netns in namespaces.all().into_iter().chain(found.iter().copied()) {
        if !known.contains(&netns) {
            known.push(netns);
        }
    }
    known
        .into_iter()
        .take(NAMESPACES_TOLD)
        .filter_map(|netns| namespaces.range(netns, None))
        .collect()
}

/// What of this machine takes something away from the verdicts.
fn about(environment: &Environment) -> Vec<String> {
    let mut warnings = Vec::new();
    match &environment.cgroup2 {
        Cgroup2::Partial(path) => warnings.push(format!(
            "only a part of the cgroup2 hierarchy is mounted here ({}): who took a port outside \
             of it is not remembered",
            path.display()
        )),
        Cgroup2::Whole(_) | Cgroup2::Unmounted { .. } | Cgroup2::Missing => {}
    }
    if environment.time_namespace_initial == Some(false) {
        warnings.push(
            "portwatch runs in a time namespace: start times of processes do not agree with the \
             kernel's, so none is looked up in /proc"
                .to_owned(),
        );
    }
    warnings
}

/// Reads /proc for a socket's users and keeps the object, whose links die with it.
struct KeepAttached {
    _ebpf: aya::Ebpf,
    scan: ProcScan,
}

impl KeepAttached {
    fn new(ebpf: aya::Ebpf) -> Self {
        Self {
            _ebpf: ebpf,
            scan: ProcScan::new(Path::new("/proc")),
        }
    }
}

impl SocketFinder for KeepAttached {
    fn users(&mut self, inodes: &[u64]) -> Users {
        self.scan.users(inodes)
    }
}
