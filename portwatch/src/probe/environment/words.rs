//! What was found, in words, for `doctor`.

use super::{Btf, Cgroup2, Lockdown, Tracefs};
use std::fmt;

impl Btf {
    /// The probes can be fitted to this kernel.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Readable)
    }
}

impl fmt::Display for Btf {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Readable => out.write_str("readable"),
            Self::Missing => out.write_str("missing: the kernel needs CONFIG_DEBUG_INFO_BTF"),
            Self::Unreadable(reason) => write!(out, "unreadable: {reason}"),
        }
    }
}

impl Tracefs {
    /// Tracepoints can be attached.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Mounted(_) | Self::Mountable(_))
    }
}

impl fmt::Display for Tracefs {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mounted(path) => write!(out, "mounted at {}", path.display()),
            Self::Mountable(path) => {
                write!(out, "not mounted; a trace mounts it at {}", path.display())
            }
            Self::Missing => out.write_str("missing: the kernel needs CONFIG_FTRACE"),
        }
    }
}

impl Cgroup2 {
    /// Every process of the machine is below it.
    #[must_use]
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Whole(_) | Self::Unmounted { .. })
    }
}

impl fmt::Display for Cgroup2 {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(path) => write!(out, "whole hierarchy at {}", path.display()),
            Self::Partial(path) => write!(
                out,
                "only a part at {}: processes outside of it are not remembered",
                path.display()
            ),
            Self::Unmounted { v1: true } => {
                out.write_str("mounted nowhere (cgroup v1 only); a trace mounts it for itself")
            }
            Self::Unmounted { v1: false } => {
                out.write_str("mounted nowhere; a trace mounts it for itself")
            }
            Self::Missing => out.write_str("missing: who took a port is not remembered"),
        }
    }
}

impl fmt::Display for Lockdown {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::None => "none",
            Self::Integrity => "integrity",
            Self::Confidentiality => {
                "confidentiality: nobody may read kernel memory: holders come from sock_diag and /proc, at best inferred"
            }
        })
    }
}
