//! Who has a socket now, by the descriptor iterator: some twenty times faster than reading /proc.

use super::{Scanner, range};
use crate::decode::event::Tgid;
use crate::decode::event::{Holder, Owner};
use crate::enrich::facts::{RangeQuestion, SocketUser};
use crate::enrich::live::{Descriptor, ProcScan, SocketFinder, Users, withholding};
use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

/// IPPROTO_UDP.
const UDP: u16 = 17;

/// For so long it is known which processes hide their descriptors.
const HIDDEN_FRESH: Duration = Duration::from_secs(1);

/// Asks the kernel; falls back to /proc where the iterator cannot be read.
pub struct IteratorFinder {
    scanner: Scanner,
    fallback: ProcScan,
    /// Processes whose descriptors /proc withholds, and when that was read.
    withholding: Option<(Instant, Vec<Tgid>)>,
}

impl IteratorFinder {
    /// A finder over a loaded iterator.
    #[must_use]
    pub fn new(scanner: Scanner) -> Self {
        Self {
            scanner,
            fallback: ProcScan::new(Path::new("/proc")),
            withholding: None,
        }
    }

    /// Some process hides its descriptors from the iterator too. The iterator shows every process by
    /// itself (kernel/bpf/task_iter.c:task_file_seq_get_next, Linux 6.18); a kernel that withholds
    /// process 1 everywhere was met. One that /proc withholds and of which the iterator shows a socket is
    /// not hidden.
    fn hides(&mut self, shown: &HashSet<Tgid>) -> bool {
        let fresh = |(at, _): &(Instant, Vec<Tgid>)| at.elapsed() < HIDDEN_FRESH;
        let known = self.withholding.take().filter(fresh);
        let (_, all) = self
            .withholding
            .insert(known.unwrap_or_else(|| (Instant::now(), withholding(Path::new("/proc")))));
        all.iter().any(|tgid| !shown.contains(tgid))
    }
}

impl IteratorFinder {
    /// The sockets of a range that have a descriptor: UDP's have one, where its table cannot be
    /// reached.
    fn by_descriptors(&mut self, question: &RangeQuestion) -> Option<range::Found> {
        let (found, bad) = self.scanner.pass().ok()?;
        let mut seen = HashSet::new();
        let holders = found
            .into_iter()
            .filter(|found| {
                let socket = &found.socket;
                found.netns == question.netns
                    && socket.protocol == question.protocol
                    && (question.low..=question.high).contains(&socket.port)
                    && seen.insert(socket.sk)
            })
            .map(|found| Holder {
                socket: found.socket,
                owner: None,
                l3mdev: 0,
                connect_only_bucket: false,
                bound_bucket: false,
                accepted_at: None,
                kernel_function: None,
                older: false,
            });
        Some(range::Found {
            holders: holders.collect(),
            missed: u32::try_from(bad).unwrap_or(u32::MAX),
        })
    }
}

impl SocketFinder for IteratorFinder {
    fn range(&mut self, question: &RangeQuestion) -> Option<range::Found> {
        match self.scanner.range(question) {
            Ok(Some(found)) => Some(found),
            // TCP's sockets without a descriptor are most of those that matter.
            Ok(None) if question.protocol == UDP => self.by_descriptors(question),
            Ok(None) => None,
            Err(error) => {
                log::warn!("{error}; who holds the range is not told");
                None
            }
        }
    }

    fn closer(&mut self, cookie: u64) -> Option<Owner> {
        self.scanner
            .closer(cookie)
            .inspect_err(|error| log::warn!("{error}; who closed a socket is not told"))
            .ok()
            .flatten()
    }

    fn users(&mut self, inodes: &[u64]) -> Users {
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
        let shown: HashSet<Tgid> = found.iter().map(|found| found.task.tgid).collect();
        let wanted: HashSet<u64> = inodes.iter().copied().collect();
        let mut seen = HashSet::new();
        let users = found.into_iter().filter_map(|found| {
            let inode = found.socket.inode.filter(|inode| wanted.contains(inode))?;
            // A process may have several descriptors of one socket.
            let fd = found.fd?;
            seen.insert((inode, found.task.tgid)).then_some(Descriptor {
                inode,
                fd,
                user: SocketUser {
                    tgid: found.task.tgid,
                    start: found.task.start,
                    comm: found.task.comm,
                },
            })
        });
        let mut users = Users {
            found: users.collect(),
            withheld: false,
        };
        users.withheld = !users.missing(inodes).is_empty() && self.hides(&shown);
        users
    }
}
