//! May we do what we are about to do: capabilities, and limits that can be raised.
//!
//! Asked before anything is loaded, so that the answer is a list of what is missing and for what,
//! not the first `Operation not permitted`.

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};
use std::fmt;
use std::os::unix::fs::MetadataExt;

/// Inode of the initial user namespace (include/linux/proc_ns.h, PROC_USER_INIT_INO).
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// What the live commands need, and for what.
const NEEDS: [(Capability, &str); 5] = [
    (Capability::CAP_BPF, "to load the probes into the kernel"),
    (
        Capability::CAP_PERFMON,
        "to attach them and to read the kernel's sockets",
    ),
    (
        Capability::CAP_NET_ADMIN,
        "to attach the cgroup hooks that see who takes a port",
    ),
    (
        Capability::CAP_DAC_READ_SEARCH,
        "to read tracefs and other users' files in /proc",
    ),
    (
        Capability::CAP_SYS_PTRACE,
        "to see whose descriptor a socket is and what its program is",
    ),
];

/// We may not trace here. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// Capabilities are missing.
    #[error("{}; run it as root: `sudo portwatch`", Missing(.0))]
    Missing(Vec<MissingCapability>),
    /// Root of a user namespace only, whose capabilities the kernel does not count for tracing.
    #[error(
        "this is root of a user namespace (a rootless container?), which may not trace the kernel; \
         run portwatch as root of the host"
    )]
    UserNamespace,
    /// The kernel does not tell.
    #[error("cannot read the capabilities of this process from the kernel")]
    Unreadable(#[source] caps::errors::CapsError),
}

/// A capability that this process lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingCapability {
    /// Which.
    pub capability: Capability,
    /// For what: `to load the probes into the kernel`.
    pub purpose: &'static str,
}

/// All in one sentence: a capability's purpose follows its name.
struct Missing<'a>(&'a [MissingCapability]);

impl fmt::Display for Missing<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("missing ")?;
        for (index, missing) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(out, "{comma}{} ({})", missing.capability, missing.purpose)?;
        }
        Ok(())
    }
}

/// Checks that this process may load, attach and read what the live commands need.
///
/// # Errors
///
/// Every missing capability at once, or that none of them would count.
pub fn check() -> Result<(), PrivilegeError> {
    let held = caps::read(None, CapSet::Effective).map_err(PrivilegeError::Unreadable)?;
    let missing = missing(&held, &caps::runtime::thread_all_supported());
    if !missing.is_empty() {
        return Err(PrivilegeError::Missing(missing));
    }
    let elsewhere = std::fs::metadata("/proc/self/ns/user")
        .is_ok_and(|namespace| namespace.ino() != INITIAL_USER_NAMESPACE);
    if elsewhere {
        return Err(PrivilegeError::UserNamespace);
    }
    Ok(())
}

/// What `held` lacks on a kernel that knows `supported`.
fn missing(held: &CapsHashSet, supported: &CapsHashSet) -> Vec<MissingCapability> {
    let mut missing: Vec<MissingCapability> = Vec::new();
    for (capability, purpose) in NEEDS {
        // CAP_BPF and CAP_PERFMON are from 5.8. CAP_SYS_ADMIN, which did their work before, still
        // includes them (include/linux/capability.h: bpf_capable, perfmon_capable).
        let of_admin = matches!(capability, Capability::CAP_BPF | Capability::CAP_PERFMON);
        let admin = of_admin && held.contains(&Capability::CAP_SYS_ADMIN);
        if held.contains(&capability) || admin {
            continue;
        }
        let capability = if of_admin && !supported.contains(&capability) {
            Capability::CAP_SYS_ADMIN
        } else {
            capability
        };
        missing.push(MissingCapability {
            capability,
            purpose,
        });
    }
    missing
}

/// The limits that [`raise_limits`] changes, as they were: `run` gives them back to its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    files: Option<(rlim_t, rlim_t)>,
    memory: Option<(rlim_t, rlim_t)>,
}

impl Limits {
    /// The limits of this process now.
    #[must_use]
    pub fn current() -> Self {
        Self {
            files: getrlimit(Resource::RLIMIT_NOFILE).ok(),
            memory: getrlimit(Resource::RLIMIT_MEMLOCK).ok(),
        }
    }

    /// Sets them again, as far as the kernel allows. Only system calls: may run between fork and
    /// exec.
    pub fn restore(&self) {
        for (resource, limit) in [
            (Resource::RLIMIT_NOFILE, self.files),
            (Resource::RLIMIT_MEMLOCK, self.memory),
        ] {
            if let Some((soft, hard)) = limit {
                // Lowering is always allowed, and there is nobody to tell if it were not.
                let _ = setrlimit(resource, soft, hard);
            }
        }
    }
}

/// Raises the limits that tracing may meet: open files to what is allowed, locked memory (maps
/// before 5.11 count against it) to no limit. The answer is a warning for the user where locked
/// memory counts and stays limited; no failure is an error, since loading shows what fits.
#[must_use = "the user must know"]
pub fn raise_limits() -> Option<String> {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(errno) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        log::debug!("cannot raise RLIMIT_NOFILE from {soft} to {hard}: {errno}");
    }
    let counts = super::environment::KernelRelease::running().before(5, 11);
    raise_locked_memory(counts)
}

fn raise_locked_memory(counts: bool) -> Option<String> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    if soft == RLIM_INFINITY
        || setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY).is_ok()
    {
        return None;
    }
    // Without CAP_SYS_RESOURCE the hard limit is as far as it goes.
    let reached = match setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard) {
        Ok(()) => hard,
        Err(_) => soft,
    };
    locked_memory_warning(counts, reached)
}

/// `counts`: the kernel counts BPF maps against the limit.
fn locked_memory_warning(counts: bool, limit: rlim_t) -> Option<String> {
    (counts && limit != RLIM_INFINITY).then(|| {
        format!(
            "RLIMIT_MEMLOCK stays at {} KiB and this kernel (before 5.11) counts BPF maps against \
             it: loading may fail; raise it with `ulimit -l unlimited` or CAP_SYS_RESOURCE",
            limit / 1024
        )
    })
}

#[cfg(test)]
mod tests;
