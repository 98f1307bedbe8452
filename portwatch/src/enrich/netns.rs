//! Network namespaces: the ways into one, and what it says inside.
//!
//! /proc/sys/net is that of the *task* that reads it (net/sysctl_net.c:net_ctl_header_lookup), so a
//! thread of its own enters the namespace, reads and ends; no other thread is ever moved. Entering
//! needs CAP_SYS_ADMIN: without it another namespace's values stay unknown.

use super::facts::{NetnsFacts, NetnsReach};
use crate::decode::event::{NetnsId, Tgid};
use crate::probe::mountinfo;
use crate::report::NetnsRange;
use nix::sched::{CloneFlags, setns};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Longest `ip_local_reserved_ports` there can be: every other port. A second read gives nothing
/// (kernel/sysctl.c:proc_do_large_bitmap), so one read must hold it all; the standard library's
/// `read_to_string` begins with 32 bytes and would lose the rest.
const RESERVED_MAX: usize = 1 << 18;

/// A namespace to which no way was found is not searched for again for so long.
const SEARCH_AGAIN: Duration = Duration::from_millis(200);

/// More ways than this are not remembered.
const KNOWN_MAX: usize = 4096;

/// The network namespaces of this machine. Remembers only the ways, and checks each before use.
#[derive(Debug)]
pub struct Namespaces {
    proc_root: PathBuf,
    processes: bool,
    own: Option<NetnsId>,
    known: HashMap<NetnsId, NetnsReach>,
    missing: HashMap<NetnsId, Instant>,
}

impl Namespaces {
    /// Looks below `proc_root` (/proc outside tests). `processes`: the numbers there are those that
    /// the kernel's records have; otherwise only mounts are ways.
    #[must_use]
    pub fn new(proc_root: &Path, processes: bool) -> Self {
        Self {
            proc_root: proc_root.to_owned(),
            processes,
            own: inode(&proc_root.join("self/ns/net")),
            known: HashMap::new(),
            missing: HashMap::new(),
        }
    }

    /// The namespace that we run in; `None` where /proc does not say.
    #[must_use]
    pub fn own(&self) -> Option<NetnsId> {
        self.own
    }

    /// Reserved ports and the way there. Where both are `None` the namespace is not ours and could
    /// not be reached: no command can be given then.
    pub fn facts(&mut self, netns: NetnsId, hint: Option<Tgid>) -> NetnsFacts {
        if self.own == Some(netns) {
            let reserved = Sysctls::read(&self.proc_root).map(|values| values.reserved);
            return NetnsFacts {
                reserved,
                reach: None,
            };
        }
        let Some((reach, door)) = self.open(netns, hint) else {
            return NetnsFacts {
                reserved: None,
                reach: None,
            };
        };
        NetnsFacts {
            reserved: inside(&door, || Sysctls::read(&self.proc_root))
                .flatten()
                .map(|values| values.reserved),
            reach: Some(reach),
        }
    }

    /// Range and reserved ports of a namespace now; `None` if it cannot be reached.
    pub fn range(&mut self, netns: NetnsId, hint: Option<Tgid>) -> Option<NetnsRange> {
        let values = if self.own == Some(netns) {
            Sysctls::read(&self.proc_root)
        } else {
            let (_, door) = self.open(netns, hint)?;
            inside(&door, || Sysctls::read(&self.proc_root)).flatten()
        }?;
        Some(NetnsRange {
            netns: netns.0,
            low: values.low,
            high: values.high,
            reserved: values.reserved,
        })
    }

    /// Name of a network device in a namespace; `None` if it cannot be read or is gone.
    pub fn device(&mut self, netns: NetnsId, index: u32) -> Option<String> {
        let name = move || {
            let name = nix::net::if_::if_indextoname(index).ok()?;
            // nix 0.31 says `Ok("")` where there is no such device.
            name.into_string().ok().filter(|name| !name.is_empty())
        };
        if self.own == Some(netns) {
            return name();
        }
        let (_, door) = self.open(netns, None)?;
        inside(&door, name).flatten()
    }

    /// Every namespace that a mount or a process leads to now, our own first.
    pub fn all(&mut self) -> Vec<NetnsId> {
        let mut ways = BTreeMap::new();
        if self.processes {
            for tgid in super::scan::processes(&self.proc_root)
                .into_iter()
                .flatten()
            {
                if let Some(netns) = inode(&self.process_door(tgid)) {
                    ways.entry(netns).or_insert(NetnsReach::Process(tgid));
                }
            }
        }
        ways.extend(self.mounted());
        if let Some(own) = self.own {
            ways.remove(&own);
        }
        let all = self.own.into_iter().chain(ways.keys().copied()).collect();
        self.known.extend(ways);
        all
    }

    /// Those of `wanted` to which neither a mount nor a process leads now; none where processes cannot
    /// be looked at.
    pub fn absent(&mut self, wanted: &[u32]) -> Vec<u32> {
        if !self.processes || wanted.is_empty() {
            return Vec::new();
        }
        let all = self.all();
        let there = |inode: &u32| all.contains(&NetnsId(*inode));
        wanted.iter().copied().filter(|one| !there(one)).collect()
    }

    /// Runs `ask` on a thread inside a namespace, or on this thread if that is ours; `None` if it
    /// cannot be entered.
    pub fn enter<T: Send>(&mut self, netns: NetnsId, ask: impl FnOnce() -> T + Send) -> Option<T> {
        if self.own == Some(netns) {
            return Some(ask());
        }
        let (_, door) = self.open(netns, None)?;
        inside(&door, ask)
    }

    /// A way into a namespace, and the descriptor that proves it.
    fn open(&mut self, netns: NetnsId, hint: Option<Tgid>) -> Option<(NetnsReach, File)> {
        if let Some(reach) = self.known.get(&netns)
            && let Some(door) = self.door(reach, netns)
        {
            return Some((reach.clone(), door));
        }
        self.known.remove(&netns);
        // The hint comes last: it is most often the process that just failed, and a command that
        // goes through it would soon find nobody.
        let found = self.search(netns).or_else(|| {
            let reach = NetnsReach::Process(hint.filter(|_| self.processes)?);
            Some((reach.clone(), self.door(&reach, netns)?))
        })?;
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(netns, found.0.clone());
        Some(found)
    }

    fn search(&mut self, netns: NetnsId) -> Option<(NetnsReach, File)> {
        self.missing
            .retain(|_, since| since.elapsed() < SEARCH_AGAIN);
        if self.missing.contains_key(&netns) {
            return None;
        }
        let mounts = self.mounted().into_iter();
        let by_mount = mounts
            .filter(|(id, _)| *id == netns)
            .map(|(_, reach)| reach);
        let numbers = self
            .processes
            .then(|| super::scan::processes(&self.proc_root));
        let by_process = numbers
            .flatten()
            .into_iter()
            .flatten()
            .map(NetnsReach::Process);
        let found = by_mount
            .chain(by_process)
            .find_map(|reach| Some((reach.clone(), self.door(&reach, netns)?)));
        if found.is_none() {
            self.missing.insert(netns, Instant::now());
        }
        found
    }

    /// Every namespace that is mounted, as `ip netns` and container engines do; those of
    /// /run/netns last, so that they win where a later entry replaces an earlier one.
    fn mounted(&self) -> Vec<(NetnsId, NetnsReach)> {
        let mut found: Vec<(NetnsId, String)> = mountinfo::read(&self.proc_root)
            .into_iter()
            .filter(|mount| mount.kind == "nsfs")
            .filter_map(|mount| {
                let root = mount.root.to_str()?;
                let number = root
                    .strip_prefix("net:[")?
                    .strip_suffix(']')?
                    .parse()
                    .ok()?;
                Some((NetnsId(number), mount.point.to_str()?.to_owned()))
            })
            .collect();
        found.sort_by_key(|(_, path)| path.starts_with("/run/netns/"));
        found
            .into_iter()
            .map(|(netns, path)| (netns, NetnsReach::Path(path)))
            .collect()
    }

    /// The open namespace behind a way, if it is the one that is meant.
    fn door(&self, reach: &NetnsReach, netns: NetnsId) -> Option<File> {
        let path = match reach {
            NetnsReach::Path(path) => PathBuf::from(path),
            NetnsReach::Process(tgid) => self.process_door(*tgid),
        };
        let door = File::open(path).ok()?;
        (door.metadata().ok()?.ino() == u64::from(netns.0)).then_some(door)
    }

    fn process_door(&self, tgid: Tgid) -> PathBuf {
        self.proc_root.join(tgid.0.to_string()).join("ns/net")
    }
}

/// Runs `ask` on a thread of its own inside the namespace; `None` if it may not enter.
fn inside<T: Send>(door: &File, ask: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("portwatch-netns".to_owned())
            .spawn_scoped(scope, || {
                setns(door, CloneFlags::CLONE_NEWNET).ok()?;
                Some(ask())
            })
            .ok()?
            .join()
            .ok()
            .flatten()
    })
}

/// What a namespace says of its ports.
#[derive(Debug, PartialEq, Eq)]
struct Sysctls {
    low: u16,
    high: u16,
    reserved: String,
}

impl Sysctls {
    /// Those of the namespace that the calling thread is in.
    fn read(proc_root: &Path) -> Option<Self> {
        let dir = proc_root.join("sys/net/ipv4");
        let range = read_once(&dir.join("ip_local_port_range"), 64)?;
        let mut bounds = range.split_ascii_whitespace();
        Some(Self {
            low: bounds.next()?.parse().ok()?,
            high: bounds.next()?.parse().ok()?,
            reserved: read_once(&dir.join("ip_local_reserved_ports"), RESERVED_MAX)?
                .trim_end()
                .to_owned(),
        })
    }
}

fn read_once(path: &Path, limit: usize) -> Option<String> {
    let mut text = vec![0; limit];
    let length = File::open(path).ok()?.read(&mut text).ok()?;
    text.truncate(length);
    String::from_utf8(text).ok()
}

fn inode(path: &Path) -> Option<NetnsId> {
    let inode = std::fs::metadata(path).ok()?.ino();
    u32::try_from(inode).ok().map(NetnsId)
}

#[cfg(test)]
mod tests;
