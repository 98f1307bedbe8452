//! The directory that the cgroup hooks are attached to: the root of the cgroup2 hierarchy.

use super::environment::Cgroup2;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no such directory, in words that say what is lost.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The kernel has no cgroup2.
    #[error("this kernel has no cgroup2")]
    Missing,
    /// It could not be mounted.
    #[error("cgroup2 is mounted nowhere and cannot be mounted here")]
    Mount(#[source] io::Error),
    /// It could not be opened.
    #[error("the cgroup2 hierarchy at `{}` cannot be opened", .path.display())]
    Open {
        /// Where.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
}

/// Opens the root of the hierarchy. Where it is mounted nowhere (a host with cgroup v1 only), it is
/// mounted in a directory of our own, opened, and taken off again at once: the open directory is
/// all that the hooks need, and nothing is left behind.
///
/// # Errors
/// There is none, or it cannot be reached.
pub fn open(cgroup2: &Cgroup2) -> Result<File, CgroupError> {
    match cgroup2 {
        Cgroup2::Whole(path) | Cgroup2::Partial(path) => open_at(path),
        Cgroup2::Unmounted { .. } => {
            let at = std::env::temp_dir().join(format!("portwatch-cgroup2-{}", std::process::id()));
            std::fs::create_dir(&at).map_err(CgroupError::Mount)?;
            let opened = mount_and_open(&at);
            // Only the directory itself, which is empty again.
            let _ = std::fs::remove_dir(&at);
            opened
        }
        Cgroup2::Missing => Err(CgroupError::Missing),
    }
}

fn mount_and_open(at: &Path) -> Result<File, CgroupError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("none"), at, Some("cgroup2"), flags, None::<&str>)
        .map_err(|errno| CgroupError::Mount(errno.into()))?;
    let opened = open_at(at);
    umount2(at, MntFlags::MNT_DETACH).map_err(|errno| CgroupError::Mount(errno.into()))?;
    opened
}

fn open_at(path: &Path) -> Result<File, CgroupError> {
    File::open(path).map_err(|source| CgroupError::Open {
        path: path.to_owned(),
        source,
    })
}
