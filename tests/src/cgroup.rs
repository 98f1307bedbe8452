//! A cgroup of a test's own, on the machine's cgroup2 hierarchy: for programs that are attached
//! there and nowhere else.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::bpf;
use crate::wait;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// Inode of the root of a cgroup2 hierarchy.
const ROOT: u64 = 1;

/// An empty cgroup, removed on drop with those that were made below: whoever is in them must have ended
/// by then.
#[derive(Debug)]
pub struct Cgroup {
    root: PathBuf,
    path: PathBuf,
}

impl Cgroup {
    /// Makes `pw-<pid>-<n>` below the root.
    pub fn new() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let root = mounts
            .lines()
            .filter_map(|line| {
                let mut words = line.split(' ').skip(1);
                Some(PathBuf::from(words.next()?)).filter(|_| words.next() == Some("cgroup2"))
            })
            .find(|path| fs::metadata(path).is_ok_and(|found| found.ino() == ROOT))
            .context("the root of the cgroup2 hierarchy is mounted nowhere")?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = root.join(format!("pw-{}-{number}", process::id()));
        fs::create_dir(&path)?;
        Ok(Self { root, path })
    }

    /// Puts a process into it: the sockets that it opens from now on are of this cgroup.
    pub fn put(&self, pid: u32) -> Result<()> {
        fs::write(self.path.join("cgroup.procs"), pid.to_string())
            .with_context(|| format!("pid {pid} could not be put into {}", self.path.display()))
    }

    /// A shell's commands after which this cgroup stands where the root was mounted.
    #[must_use]
    pub fn instead_of_the_root(&self) -> String {
        format!(
            "mount --bind {} {}",
            self.path.display(),
            self.root.display()
        )
    }

    /// A shell's commands by which it joins this cgroup, as a container's first process.
    #[must_use]
    pub fn join(&self) -> String {
        format!("echo $$ > {}/cgroup.procs", self.path.display())
    }

    /// A shell's commands by which the hierarchy is mounted anew, as a cgroup namespace sees it.
    #[must_use]
    pub fn mount_anew(&self) -> String {
        let root = self.root.display();
        format!("umount {root}; mount -t cgroup2 none {root}")
    }

    /// Attaches a program that allows everything to the closing of sockets, the old way: nobody
    /// else may attach there while this cgroup exists.
    pub fn hold_exclusively(&self) -> Result<()> {
        let program = bpf::load_allowing_sock_release()?;
        bpf::attach_exclusively(
            program.as_fd(),
            File::open(&self.path)?.as_fd(),
            bpf::SOCK_RELEASE,
        )
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let removed = wait::until("an empty cgroup", Duration::from_secs(10), || {
            Ok(remove(&self.path).ok())
        });
        if removed.is_err() {
            eprintln!("could not remove the cgroup {}", self.path.display());
        }
    }
}

fn remove(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}
