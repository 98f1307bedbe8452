//! Who has a socket now, by the descriptor iterator: some twenty times faster than reading /proc.

use super::Scanner;
use crate::enrich::facts::SocketUser;
use crate::enrich::live::{Descriptor, ProcScan, SocketFinder};
use std::collections::HashSet;
use std::path::Path;

/// Asks the kernel; falls back to /proc where the iterator cannot be read.
pub struct IteratorFinder {
    scanner: Scanner,
    fallback: ProcScan,
}

impl IteratorFinder {
    /// A finder over a loaded iterator.
    #[must_use]
    pub fn new(scanner: Scanner) -> Self {
        Self {
            scanner,
            fallback: ProcScan::new(Path::new("/proc")),
        }
    }
}

impl SocketFinder for IteratorFinder {
    fn users(&mut self, inodes: &[u64]) -> Option<Vec<Descriptor>> {
        let found = match self.scanner.pass() {
            Ok((found, 0)) => found,
            Ok((_, bad)) => {
                log::warn!("{bad} records of the descriptor iterator made no sense; reading /proc");
                return self.fallback.users(inodes);
            }
            Err(error) => {
                log::warn!("{error}; reading /proc instead");
                return self.fallback.users(inodes);
            }
        };
        let wanted: HashSet<u64> = inodes.iter().copied().collect();
        let mut seen = HashSet::new();
        let users = found.into_iter().filter_map(|found| {
            let inode = found.socket.inode.filter(|inode| wanted.contains(inode))?;
            // A process may have several descriptors of one socket.
            let fd = found.fd?;
            seen.insert((inode, found.task.tgid)).then(|| Descriptor {
                inode,
                fd,
                user: SocketUser {
                    tgid: found.task.tgid,
                    start: found.task.start,
                    comm: found.task.comm,
                },
            })
        });
        Some(users.collect())
    }
}
