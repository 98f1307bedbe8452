//! A process as /proc tells it.
//!
//! Two defences against naming a stranger who inherited the number: every file is opened below one
//! descriptor of /proc/PID, which the kernel ties to the process and not to the number (it gives
//! ESRCH once the process is gone), and the start time is compared before and after.
//!
//! None of these reads waits for the process, with two exceptions that go through `patience`:
//! cmdline (and environ) takes the process's mmap_lock (fs/proc/base.c:get_mm_cmdline, mm/memory.c:
//! access_remote_vm), which a process stuck in the kernel may hold for ever, and cgroup took the
//! global cgroup_mutex before 6.14 (kernel/cgroup/cgroup.c:proc_cgroup_show).

use super::container;
use super::facts::ProcessFacts;
use super::patience::{Patience, ROOM};
use crate::decode::event::{Comm, Ktime, Tgid};
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Nanoseconds in a clock tick of /proc (USER_HZ is 100 wherever eBPF runs).
const TICK_NS: u64 = 10_000_000;

/// Longest command line that is read and shown, in bytes.
pub const CMDLINE_MAX: usize = 4096;

/// As much of an environment as is read; nothing of it is kept but the names of systemd's sockets.
const ENVIRON_MAX: usize = 1 << 16;

/// Longest name the kernel keeps of a task (TASK_COMM_LEN without its NUL).
const COMM_MAX: usize = 15;

/// The start of a process as /proc/PID/stat shows it: fs/proc/array.c prints
/// `nsec_to_clock_t(start_boottime)`, which rounds down.
#[must_use]
pub fn ticks(start: Ktime) -> u64 {
    start.0 / TICK_NS
}

/// `PF_FORKNOEXEC` (include/linux/sched.h) in the flags of /proc/PID/stat.
const FORKED_NO_EXEC: u32 = 0x40;

/// What /proc/PID/stat says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Name of the leader, any bytes.
    pub comm: Comm,
    /// Parent; 0 = none that is visible here.
    pub ppid: Tgid,
    /// Session; 0 = one of another pid namespace.
    pub session: Tgid,
    /// Process group; 0 = one of another pid namespace.
    pub group: Tgid,
    /// It runs what its parent ran: it has executed nothing since fork().
    pub forked_only: bool,
    /// Start, rounded down to a clock tick.
    pub start: Ktime,
    /// The leader has exited. Its process goes on while `threads` is more than 1.
    pub leader_exited: bool,
    /// Threads, the leader included.
    pub threads: u32,
    /// Where its code and its arguments lie (`start_code`, `end_code`, `arg_start`, `arg_end`), where we
    /// may see that; another program lies elsewhere.
    pub program: [Option<u64>; 4],
}

impl Stat {
    /// Reads the text of /proc/PID/stat; the name in it may contain `)`, blanks and newlines.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let open = text.iter().position(|&byte| byte == b'(')?;
        let close = text.iter().rposition(|&byte| byte == b')')?;
        let name = text.get(open + 1..close)?;
        let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // proc(5) counts from 1 and the first field here is its third.
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Self {
            comm: Comm::from(name.get(..COMM_MAX).unwrap_or(name)),
            ppid: Tgid(field(4)?.parse().ok()?),
            group: Tgid(field(5)?.parse().ok()?),
            session: Tgid(field(6)?.parse().ok()?),
            forked_only: field(9)?.parse::<u32>().ok()? & FORKED_NO_EXEC != 0,
            start: Ktime(field(22)?.parse::<u64>().ok()?.checked_mul(TICK_NS)?),
            leader_exited: matches!(field(3)?, "Z" | "X" | "x"),
            threads: field(20)?.parse().ok()?,
            program: [26, 27, 48, 49].map(|number| field(number)?.parse().ok()),
        })
    }

    /// The process still runs: not a zombie that waits for its parent.
    #[must_use]
    pub fn runs(&self) -> bool {
        !self.leader_exited || self.threads > 1
    }
}

/// Processes below one /proc.
#[derive(Debug)]
pub struct Proc {
    root: PathBuf,
    patience: Patience,
}

impl Proc {
    /// Processes below `root`, which is /proc outside tests.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            patience: Patience::default(),
        }
    }

    /// The process `tgid` that started at `start`; `None` if it is gone, a zombie, or another
    /// process has the number. Returns within a tenth of a second even if the process is stuck.
    pub fn process(&mut self, tgid: Tgid, start: Ktime) -> Option<ProcessFacts> {
        let dir = self.open(tgid)?;
        let stat = read_stat(&dir)?;
        if ticks(stat.start) != ticks(start) || !stat.runs() {
            return None;
        }
        let status = read(&dir, "status", 8192);
        let uid = status.as_deref().and_then(effective_uid);
        // A leader that has exited has no memory any more, its threads have.
        let thread = stat.leader_exited.then(|| live_thread(&self.root, tgid));
        let body = thread.flatten().and_then(|path| open_dir(&path));
        let body = body.as_ref().unwrap_or(&dir);
        let exe = readlinkat(body, "exe").ok().map(OsStringExt::into_vec);
        let cgroup = open_in(&dir, "cgroup").map(|file| (file, 1 << 16));
        let cmdline = open_in(body, "cmdline").map(|file| (file, CMDLINE_MAX + 1));
        let [cgroup, cmdline] = self.patience.read(tgid, [cgroup, cmdline]);
        let cgroup =
            cgroup.and_then(|text| container::cgroup_path(&String::from_utf8_lossy(&text)));
        let cmdline = cmdline.map(arguments);
        let systemd_unit = cgroup.as_deref().map(container::systemd_unit);
        // Only what a unit started can have a socket of systemd's.
        let environ = systemd_unit
            .as_ref()
            .filter(|unit| unit.is_some())
            .and_then(|_| open_in(body, "environ"))
            .and_then(|file| {
                let [environ] = self.patience.read(tgid, [Some((file, ENVIRON_MAX))]);
                environ
            });
        let own = status.as_deref().and_then(own_number).unwrap_or(tgid.0);
        let socket_unit = environ.and_then(|text| container::socket_unit(&text, own));
        if read_stat(&dir).map(|now| now.start) != Some(stat.start) {
            return None;
        }
        // A process on its way out has no memory any more: nothing could be read, not "no arguments".
        let cmdline = cmdline.filter(|(list, _)| exe.is_some() || !list.is_empty());
        let (cmdline, cmdline_truncated) = cmdline.unzip();
        let container = cgroup.as_deref().map(container::container);
        let container_runtime = container.as_ref().and_then(|found| found.as_ref()?.runtime);
        let container_runtime = container_runtime.map(str::to_owned);
        Some(ProcessFacts {
            tgid,
            start: stat.start,
            comm: stat.comm,
            ppid: Some(stat.ppid),
            session: Some(stat.session).filter(|session| session.0 != 0),
            group: Some(stat.group).filter(|group| group.0 != 0),
            forked_only: stat.forked_only,
            uid,
            exe,
            cmdline,
            cmdline_truncated: cmdline_truncated.unwrap_or(false),
            systemd_unit,
            socket_unit,
            container: container.map(|found| found.map(|found| found.id)),
            container_runtime,
            container_name: None,
            pod_uid: cgroup.as_deref().and_then(container::pod_uid),
            cgroup,
        })
    }

    /// Name and start of the process that has this number now.
    #[must_use]
    pub fn stat(&self, tgid: Tgid) -> Option<Stat> {
        read_stat(&self.open(tgid)?)
    }

    fn open(&self, tgid: Tgid) -> Option<OwnedFd> {
        open_dir(&self.root.join(tgid.0.to_string()))
    }
}

/// The directory of a thread of the process that still runs, for one whose leader has exited.
pub(super) fn live_thread(root: &Path, tgid: Tgid) -> Option<PathBuf> {
    let threads = root.join(tgid.0.to_string()).join("task");
    std::fs::read_dir(threads)
        .ok()?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| {
            open_dir(path)
                .and_then(|dir| read_stat(&dir))
                .is_some_and(|stat| !stat.leader_exited)
        })
}

fn open_dir(path: &Path) -> Option<OwnedFd> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::open(path, flags, Mode::empty()).ok()
}

fn open_in(dir: &OwnedFd, name: &str) -> Option<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    openat(dir.as_fd(), name, flags, Mode::empty())
        .ok()
        .map(File::from)
}

fn read(dir: &OwnedFd, name: &str, limit: u64) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(ROOM);
    open_in(dir, name)?
        .take(limit)
        .read_to_end(&mut text)
        .ok()?;
    Some(text)
}

fn read_stat(dir: &OwnedFd) -> Option<Stat> {
    Stat::parse(&read(dir, "stat", 4096)?)
}

/// `Uid:` of /proc/PID/status: real, effective, saved, file system.
fn effective_uid(status: &[u8]) -> Option<u32> {
    String::from_utf8_lossy(status)
        .lines()
        .find_map(|line| line.strip_prefix("Uid:"))?
        .split_ascii_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// `NSpid:` of /proc/PID/status, the last one: the number that the process itself knows.
fn own_number(status: &[u8]) -> Option<u32> {
    String::from_utf8_lossy(status)
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))?
        .split_ascii_whitespace()
        .next_back()?
        .parse()
        .ok()
}

/// Arguments of a cmdline, and whether it was cut. Empty arguments at the end are dropped: programs
/// that write their title over their arguments leave a tail of NULs.
fn arguments(mut bytes: Vec<u8>) -> (Vec<Vec<u8>>, bool) {
    let cut = bytes.len() > CMDLINE_MAX;
    if cut {
        bytes.truncate(CMDLINE_MAX);
        // The cut itself makes no invalid text: an incomplete character at the end goes with it.
        if let Err(error) = std::str::from_utf8(&bytes)
            && error.error_len().is_none()
        {
            bytes.truncate(error.valid_up_to());
        }
    }
    let end = bytes.iter().rposition(|&byte| byte != 0);
    let text = end.and_then(|end| bytes.get(..=end)).unwrap_or_default();
    if text.is_empty() {
        return (Vec::new(), cut);
    }
    let list = text.split(|&byte| byte == 0).map(<[u8]>::to_vec).collect();
    (list, cut)
}

#[cfg(test)]
mod tests;
