//! What the machine offers a tracer: mounts, namespaces, kernel switches. Facts, no judgement: what
//! is lost by each is said where it is used.
//!
//! [`Environment::probe`] only reads. The one thing that can be changed, [`Environment::ensure_tracefs`],
//! is asked for by name, so that `doctor` leaves the machine as it is.

use super::mountinfo::{self, Mount};
use crate::decode::event::NetnsId;
use nix::mount::{MsFlags, mount};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

mod kernel;
mod words;

pub use kernel::{KernelRelease, Lockdown};

/// Where tracefs belongs (Documentation/trace/ftrace.rst).
const TRACEFS: &str = "/sys/kernel/tracing";

/// Where it was before 4.1. aya looks for tracepoints in these two places and in no other.
const OLD_TRACEFS: &str = "/sys/kernel/debug/tracing";

/// Inode of the root of every cgroup2 hierarchy: the first that kernfs gives.
const CGROUP_ROOT: u64 = 1;

/// Everything about this machine that decides what can be traced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The running kernel.
    pub kernel: KernelRelease,
    /// The kernel's own type information.
    pub btf: Btf,
    /// Where tracepoints are found.
    pub tracefs: Tracefs,
    /// Where cgroup hooks are attached.
    pub cgroup2: Cgroup2,
    /// What the kernel withholds even from root; `None` where it does not say (securityfs is not
    /// mounted, or the kernel has no lockdown).
    pub lockdown: Option<Lockdown>,
    /// The kernel's process numbers are ours.
    pub pid_namespace_initial: Option<bool>,
    /// Capabilities count for the whole machine.
    pub user_namespace_initial: Option<bool>,
    /// cgroup paths are those of the whole machine.
    pub cgroup_namespace_initial: Option<bool>,
    /// Kernel times are those of our clocks.
    pub time_namespace_initial: Option<bool>,
    /// Our network namespace.
    pub netns: Option<NetnsId>,
    /// `kernel.unprivileged_bpf_disabled`: 0 allowed, 1 and 2 not.
    pub unprivileged_bpf_disabled: Option<u32>,
    /// `kernel.perf_event_paranoid`.
    pub perf_event_paranoid: Option<i32>,
}

/// The kernel's own type information.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Btf {
    /// It can be read.
    Readable,
    /// The kernel was built without CONFIG_DEBUG_INFO_BTF.
    Missing,
    /// It is there but cannot be read; the reason.
    Unreadable(String),
}

/// Where the kernel's tracepoints are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tracefs {
    /// Mounted here.
    Mounted(PathBuf),
    /// Not mounted, but the kernel has it and this directory for it.
    Mountable(PathBuf),
    /// The kernel has none.
    Missing,
}

/// The hierarchy that cgroup hooks are attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cgroup2 {
    /// Its root is mounted here: every process of the machine is below.
    Whole(PathBuf),
    /// Only a part is mounted here (the cgroup namespace of a container): others are not seen.
    Partial(PathBuf),
    /// The kernel has it, but it is mounted nowhere: it can be mounted privately.
    Unmounted {
        /// A host with cgroup v1 only.
        v1: bool,
    },
    /// The kernel has none.
    Missing,
}

/// tracefs is not there and could not be mounted.
#[derive(Debug, thiserror::Error)]
pub enum TracefsError {
    /// The kernel has none.
    #[error("this kernel has no tracefs (CONFIG_FTRACE), so no tracepoint can be attached")]
    Missing,
    /// Mounting failed.
    #[error("cannot mount tracefs; as root of the host: `mount -t tracefs tracefs {}`", .at.display())]
    Mount {
        /// Where.
        at: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

impl Environment {
    /// Reads what this machine offers. Changes nothing.
    #[must_use]
    pub fn probe() -> Self {
        let proc = Path::new("/proc");
        let mounts = mountinfo::read(proc);
        let supported = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
        Self {
            kernel: KernelRelease::running(),
            btf: btf(Path::new(super::btf::KERNEL)),
            tracefs: tracefs(&mounts, Path::new(TRACEFS).is_dir(), &supported),
            cgroup2: cgroup2(&mounts, Mount::inode, &supported),
            lockdown: std::fs::read_to_string("/sys/kernel/security/lockdown")
                .ok()
                .and_then(|text| Lockdown::parse(&text)),
            pid_namespace_initial: is_initial("pid", 0xEFFF_FFFC),
            user_namespace_initial: is_initial("user", 0xEFFF_FFFD),
            cgroup_namespace_initial: is_initial("cgroup", 0xEFFF_FFFB),
            time_namespace_initial: is_initial("time", 0xEFFF_FFFA),
            netns: namespace("net").and_then(|inode| Some(NetnsId(u32::try_from(inode).ok()?))),
            unprivileged_bpf_disabled: sysctl("unprivileged_bpf_disabled"),
            perf_event_paranoid: sysctl("perf_event_paranoid"),
        }
    }

    /// Where tracefs is; mounts it where the kernel wants it if it is not mounted. `true`: it was
    /// mounted just now, and the user is to be told, since it stays.
    ///
    /// # Errors
    ///
    /// The kernel has none, or we may not mount.
    pub fn ensure_tracefs(&mut self) -> Result<(PathBuf, bool), TracefsError> {
        let at = match &self.tracefs {
            Tracefs::Mounted(path) => return Ok((path.clone(), false)),
            Tracefs::Mountable(path) => path.clone(),
            Tracefs::Missing => return Err(TracefsError::Missing),
        };
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let (source, no_data) = (Some("tracefs"), None::<&str>);
        mount(source, &at, source, flags, no_data).map_err(|errno| TracefsError::Mount {
            at: at.clone(),
            source: errno.into(),
        })?;
        self.tracefs = Tracefs::Mounted(at.clone());
        Ok((at, true))
    }
}

/// tracefs among the mounts, where the loader finds it; the place where it belongs comes first. A
/// mount anywhere else is of no use.
fn tracefs(mounts: &[Mount], has_place: bool, supported: &str) -> Tracefs {
    let mounted_at = |place: &&str| {
        mounts
            .iter()
            .any(|mount| mount.kind == "tracefs" && mount.point == Path::new(place))
    };
    match [TRACEFS, OLD_TRACEFS].into_iter().find(mounted_at) {
        Some(place) => Tracefs::Mounted(PathBuf::from(place)),
        None if has_place && has_file_system(supported, "tracefs") => {
            Tracefs::Mountable(PathBuf::from(TRACEFS))
        }
        None => Tracefs::Missing,
    }
}

/// The cgroup2 mount that shows most. The root shown by mountinfo does not tell: inside a cgroup
/// namespace it is `/` as well, but the inode there is not that of the hierarchy's root.
fn cgroup2(mounts: &[Mount], inode: impl Fn(&Mount) -> Option<u64>, supported: &str) -> Cgroup2 {
    let mut part = None;
    for mount in mounts.iter().filter(|mount| mount.kind == "cgroup2") {
        match inode(mount) {
            Some(CGROUP_ROOT) => return Cgroup2::Whole(mount.point.clone()),
            Some(_) => part = part.or(Some(mount)),
            // Hidden under another mount, or not ours to look at.
            None => {}
        }
    }
    match part {
        Some(mount) => Cgroup2::Partial(mount.point.clone()),
        None if has_file_system(supported, "cgroup2") => Cgroup2::Unmounted {
            v1: mounts.iter().any(|mount| mount.kind == "cgroup"),
        },
        None => Cgroup2::Missing,
    }
}

/// Whether /proc/filesystems has a type.
fn has_file_system(text: &str, kind: &str) -> bool {
    text.lines()
        .any(|line| line.split_ascii_whitespace().next_back() == Some(kind))
}

fn btf(path: &Path) -> Btf {
    match std::fs::File::open(path) {
        Ok(_) => Btf::Readable,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Btf::Missing,
        Err(error) => Btf::Unreadable(error.to_string()),
    }
}

fn namespace(kind: &str) -> Option<u64> {
    let link = Path::new("/proc/self/ns").join(kind);
    Some(std::fs::metadata(link).ok()?.ino())
}

/// Compares with the fixed inode of the initial namespace (include/linux/proc_ns.h); `None` where
/// the kernel has no such namespaces.
fn is_initial(kind: &str, inode: u64) -> Option<bool> {
    Some(namespace(kind)? == inode)
}

fn sysctl<T: std::str::FromStr>(name: &str) -> Option<T> {
    let path = Path::new("/proc/sys/kernel").join(name);
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
