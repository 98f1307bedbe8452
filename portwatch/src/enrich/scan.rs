//! Who has a socket, by the descriptors in /proc: the way that works everywhere, and the slow one.

use super::facts::{RangeQuestion, SocketUser};
use super::proc::{self, Proc};
use crate::decode::event::{Owner, Tgid};
use crate::snapshot::range::Found;
use std::collections::HashSet;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A descriptor of a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The socket.
    pub inode: u64,
    /// Its number, one of several maybe.
    pub fd: u32,
    /// Whose it is.
    pub user: SocketUser,
}

/// What a search for the processes of sockets came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// One descriptor for each process and inode, of processes that have one of it now.
    pub found: Vec<Descriptor>,
    /// Some process's descriptors were withheld: a socket that was not found may be one of them.
    pub withheld: bool,
}

impl Users {
    /// Of these sockets none was found, because nobody could look.
    #[must_use]
    pub fn unseen() -> Self {
        Self {
            found: Vec::new(),
            withheld: true,
        }
    }

    /// Those of `inodes` that were not found.
    #[must_use]
    pub fn missing(&self, inodes: &[u64]) -> Vec<u64> {
        let found: HashSet<u64> = self.found.iter().map(|one| one.inode).collect();
        let missing = inodes.iter().filter(|inode| !found.contains(inode));
        missing.copied().collect()
    }
}

/// Finds the processes that have sockets.
pub trait SocketFinder {
    /// The processes that have them now.
    fn users(&mut self, inodes: &[u64]) -> Users;

    /// The sockets that hold a range of ports now; `None` where that cannot be told.
    fn range(&mut self, _question: &RangeQuestion) -> Option<Found> {
        None
    }

    /// Who closed the last descriptor of the socket with this cookie, if that was not the process that
    /// took its port; with process number 0 where it was nobody who had it.
    fn closer(&mut self, _cookie: u64) -> Option<Owner> {
        None
    }
}

/// Reads every descriptor of every process: about a microsecond each, so milliseconds on a small
/// machine and a tenth of a second on one with 100 000 descriptors. Tables of descriptors that single
/// threads keep apart from their process (`unshare(CLONE_FILES)`) are read only for what was not found
/// otherwise.
#[derive(Debug)]
pub struct ProcScan {
    root: PathBuf,
    proc: Proc,
}

impl ProcScan {
    /// Scans below `root`, which is /proc outside tests.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            proc: Proc::new(root),
        }
    }

    /// Adds a process's first descriptor of each wanted socket.
    fn among(&self, tgid: Tgid, wanted: &HashSet<u64>, links: Vec<PathBuf>, users: &mut Users) {
        let mut seen = HashSet::new();
        for link in links {
            let inode = match socket_inode(&link) {
                Ok(Some(inode)) => inode,
                Ok(None) => continue,
                // A security module, or a process with more rights than we have, may show a
                // descriptor and not what it is of (fs/proc/base.c:proc_pid_readlink, Linux 6.18).
                Err(error) => {
                    users.withheld |= error.kind() == ErrorKind::PermissionDenied;
                    continue;
                }
            };
            if wanted.contains(&inode)
                && !seen.contains(&inode)
                && let Some(descriptor) = self.descriptor(tgid, inode, &link)
            {
                seen.insert(inode);
                users.found.push(descriptor);
            }
        }
    }

    /// The process if it has the descriptor behind `link`, proven between two equal readings of its
    /// start: otherwise the number may have changed hands while its descriptors were read.
    fn descriptor(&self, tgid: Tgid, inode: u64, link: &Path) -> Option<Descriptor> {
        let before = self.proc.stat(tgid)?;
        if !is_of(link, inode) || self.proc.stat(tgid)?.start != before.start {
            return None;
        }
        Some(Descriptor {
            inode,
            fd: link.file_name()?.to_str()?.parse().ok()?,
            user: SocketUser {
                tgid,
                start: before.start,
                comm: before.comm,
            },
        })
    }
}

/// The links of every thread's descriptors.
fn of_threads(root: &Path, tgid: Tgid) -> Vec<PathBuf> {
    let entries = |dir: &Path| std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries(&root.join(tgid.0.to_string()).join("task"))
        .flat_map(|thread| entries(&thread.path().join("fd")))
        .map(|entry| entry.path())
        .collect()
}

/// The link is that of a descriptor of this socket.
fn is_of(link: &Path, inode: u64) -> bool {
    socket_inode(link).is_ok_and(|found| found == Some(inode))
}

/// The process still has this very descriptor. One that a thread keeps apart from its process is
/// not seen, nor one that the process has moved to another number.
pub(super) fn still_there(root: &Path, proc: &Proc, descriptor: &Descriptor) -> bool {
    let Descriptor { inode, fd, user } = descriptor;
    let link = root.join(format!("{}/fd/{fd}", user.tgid.0));
    // The start is read after the link: a number that has changed hands shows another one.
    is_of(&link, *inode)
        && proc
            .stat(user.tgid)
            .is_some_and(|now| super::same_start(now.start, user.start) && now.runs())
}

impl SocketFinder for ProcScan {
    fn users(&mut self, inodes: &[u64]) -> Users {
        let mut users = Users::default();
        let wanted: HashSet<u64> = inodes.iter().copied().collect();
        let Some(all) = processes(&self.root) else {
            return Users::unseen();
        };
        for tgid in all {
            match descriptors(&self.root, tgid) {
                Ok(links) => self.among(tgid, &wanted, links, &mut users),
                Err(error) => users.withheld |= error.kind() == ErrorKind::PermissionDenied,
            }
        }
        let wanted: HashSet<u64> = users.missing(inodes).into_iter().collect();
        if !wanted.is_empty() {
            for tgid in processes(&self.root).into_iter().flatten() {
                let links = of_threads(&self.root, tgid);
                self.among(tgid, &wanted, links, &mut users);
            }
        }
        users
    }
}

/// Every process below a /proc, in its order (ascending); `None` if it cannot be listed.
pub(super) fn processes(root: &Path) -> Option<impl Iterator<Item = Tgid> + use<>> {
    let entries = std::fs::read_dir(root).ok()?;
    Some(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().map(Tgid)))
}

/// The links of a process's descriptors. An exited leader has none any more, its threads have.
fn descriptors(root: &Path, tgid: Tgid) -> io::Result<Vec<PathBuf>> {
    let list = |dir: PathBuf| -> io::Result<Vec<PathBuf>> {
        Ok(std::fs::read_dir(dir.join("fd"))?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect())
    };
    let links = list(root.join(tgid.0.to_string()))?;
    match links.is_empty().then(|| proc::live_thread(root, tgid)) {
        Some(Some(thread)) => list(thread),
        Some(None) | None => Ok(links),
    }
}

/// N of `socket:[N]`; `None` of a link to anything else.
fn socket_inode(link: &Path) -> io::Result<Option<u64>> {
    let target = std::fs::read_link(link)?;
    let inside = |name: &[u8]| {
        let number = name.strip_prefix(b"socket:[")?.strip_suffix(b"]")?;
        std::str::from_utf8(number).ok()?.parse().ok()
    };
    Ok(inside(target.as_os_str().as_bytes()))
}

#[cfg(test)]
mod tests;
