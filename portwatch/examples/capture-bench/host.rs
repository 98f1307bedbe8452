//! A host that takes and lets go of ports, from a seed.

use bytes::Bytes;
use portwatch::decode::event::{Comm, Ktime, Tgid};
use portwatch::enrich::facts::ProcessFacts;
use portwatch::source::RawRecord;
use portwatch_common::{
    AssignRecord, Call, FailureRecord, HolderRecord, Origin, OwnerSource, RecordHeader, RecordKind,
    ReleaseRecord, Sock, Task,
};
use std::collections::VecDeque;
use zerocopy::{FromZeros as _, Immutable, IntoBytes};

const S: u64 = 1_000_000_000;
/// Ports that are held at once.
const LIVE: usize = 100_000;

/// splitmix64: the same records from the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn small<T: TryFrom<u64> + Default>(&mut self, limit: u64) -> T {
        T::try_from(self.below(limit)).unwrap_or_default()
    }
}

/// A host that takes and lets go of ports.
pub(crate) struct Host {
    dice: Dice,
    pub(crate) time: u64,
    count: u64,
    processes: Vec<Task>,
    live: VecDeque<AssignRecord>,
    id: u64,
}

impl Host {
    /// With so many processes that take ports, each as likely as the other.
    pub(crate) fn new(processes: u64) -> Self {
        let mut dice = Dice(42);
        let names = [
            "nginx", "ceph-osd", "python3", "java", "haproxy", "postgres",
        ];
        let processes = (0..processes).map(|n| {
            let tgid = dice.small::<u32>(4_194_304);
            let mut comm = [0; 16];
            let name = names[dice.small::<usize>(6)].as_bytes();
            comm[..name.len()].copy_from_slice(name);
            let half = |at: usize| {
                let half = comm[at..at + 8].first_chunk().copied();
                u64::from_ne_bytes(half.unwrap_or_default())
            };
            Task {
                tgid,
                tid: tgid,
                ppid: 1,
                uid: dice.small(1000),
                start_time: 900 * S + n * 1_000_003 + dice.below(1_000_000),
                cgroup: 4000 + n % 40,
                comm: [half(0), half(8)],
            }
        });
        let processes = processes.collect();
        Self {
            dice,
            time: 1_000 * S,
            count: 0,
            processes,
            live: VecDeque::new(),
            id: 0,
        }
    }

    fn head<T>(&mut self, kind: u16, id: u64) -> RecordHeader {
        self.time += self.dice.below(20_000);
        RecordHeader {
            kind,
            size: u16::try_from(size_of::<T>()).unwrap_or(0),
            cpu: self.dice.small(8),
            time: self.time,
            id,
        }
    }

    fn process(&mut self) -> Task {
        let at = self.dice.small::<usize>(self.processes.len() as u64);
        self.processes[at]
    }

    fn assign(&mut self) -> AssignRecord {
        self.count += 1;
        let header = self.head::<AssignRecord>(RecordKind::ASSIGN, 0);
        let task = self.process();
        let mut sock = Sock::new_zeroed();
        sock.sk = 0xffff_8880_0000_0000 + self.dice.below(200_000) * 2432;
        sock.cookie = self.count;
        sock.inode = 70_000 + self.count * 2 + self.dice.below(2);
        sock.rcv_saddr = [10, 10, 10, 1];
        sock.daddr = [10, 10, self.dice.small(4), self.dice.small(256)];
        (sock.family, sock.protocol) = (2, 6);
        sock.port = 32_768 + self.dice.small::<u16>(28_232);
        sock.peer_port = [443, 80, 5432, 6379, 6836, 9092][self.dice.small::<usize>(6)];
        sock.state = Sock::STATE_SYN_SENT;
        sock.flags = Sock::FLAG_FULL | Sock::FLAG_HAS_SOCKET | Sock::FLAG_HAS_FILE;
        AssignRecord {
            header,
            task,
            sock,
            netns_cookie: 1,
            netns: 4_026_531_840,
            origin: Origin::EPHEMERAL_CONNECT,
            call: Call::CONNECT,
            watched: 0,
            pad: 0,
        }
    }

    fn release(&mut self, taken: &AssignRecord) -> ReleaseRecord {
        let mut record = ReleaseRecord::new_zeroed();
        record.header = self.head::<ReleaseRecord>(RecordKind::RELEASE, 0);
        record.task = taken.task;
        record.sock = taken.sock;
        record.sock.state = Sock::STATE_ESTABLISHED;
        record.owner.comm = taken.task.comm;
        record.owner.start_time = taken.task.start_time;
        record.owner.taken_at = taken.header.time - self.dice.below(2_000);
        record.owner.cgroup = taken.task.cgroup;
        record.owner.tgid = taken.task.tgid;
        record.owner.uid = taken.task.uid;
        record.owner.origin = Origin::EPHEMERAL_CONNECT;
        record.owner.source = OwnerSource::CALL;
        record.owner.port = taken.sock.port;
        record.netns_cookie = 1;
        record.netns = taken.netns;
        record
    }

    fn failure(&mut self, holder: &AssignRecord) -> (FailureRecord, HolderRecord) {
        self.id += 1;
        let mut failure = FailureRecord::new_zeroed();
        failure.header = self.head::<FailureRecord>(RecordKind::FAILURE, self.id);
        failure.task = self.process();
        (failure.sock.family, failure.sock.protocol) = (2, 6);
        (failure.sock.state, failure.sock.flags) = (Sock::STATE_CLOSE, Sock::FLAG_FULL);
        (failure.addr.family, failure.addr.port) = (2, holder.sock.port);
        (failure.netns, failure.netns_cookie) = (holder.netns, 1);
        (failure.errno, failure.call) = (98, Call::BIND);
        (failure.total, failure.emitted, failure.buckets) = (1, 1, 1);
        (failure.range_low, failure.range_high) = (32_768, 60_999);
        let mut record = HolderRecord::new_zeroed();
        record.header = self.head::<HolderRecord>(RecordKind::HOLDER, self.id);
        record.sock = holder.sock;
        record.sock.state = Sock::STATE_ESTABLISHED;
        record.owner = self.release(holder).owner;
        record.owner_source = u32::from(OwnerSource::CALL);
        (record.fastreuse, record.fastreuseport) = (-1, -1);
        (failure, record)
    }
}

/// The next record or two, and the process whose facts are asked for.
pub(crate) fn one(host: &mut Host, mixed: bool, batch: &mut Vec<(RawRecord, Option<Task>)>) {
    if !mixed {
        let record = host.assign();
        batch.push((raw(&record), Some(record.task)));
        return;
    }
    let dice = host.dice.below(200);
    if dice == 0 && !host.live.is_empty() {
        let holder = host.live[host.dice.small::<usize>(host.live.len() as u64)];
        let (failure, holder) = host.failure(&holder);
        batch.push((raw(&failure), Some(failure.task)));
        batch.push((raw(&holder), None));
    } else if host.live.len() < LIVE / 2 || (host.live.len() < LIVE && dice.is_multiple_of(2)) {
        let record = host.assign();
        batch.push((raw(&record), Some(record.task)));
        host.live.push_back(record);
    } else {
        let at = host.dice.small::<usize>(host.live.len() as u64);
        if let Some(taken) = host.live.swap_remove_back(at) {
            let record = host.release(&taken);
            batch.push((raw(&record), Some(record.task)));
        }
    }
}

fn raw<T: IntoBytes + Immutable>(record: &T) -> RawRecord {
    RawRecord::new(Bytes::copy_from_slice(record.as_bytes()))
}

/// What the machine would say of a process.
pub(crate) fn process(task: &Task) -> ProcessFacts {
    let name = task.comm.map(u64::to_ne_bytes).concat();
    let name: Vec<u8> = name.into_iter().take_while(|byte| *byte != 0).collect();
    let unit = format!("app-{}.service", task.cgroup);
    let arguments = [
        &name[..],
        b"--config",
        b"/etc/app/config.yaml",
        b"--verbose",
    ];
    ProcessFacts {
        exe: Some([b"/usr/bin/", &name[..]].concat()),
        cmdline: Some(arguments.map(<[u8]>::to_vec).to_vec()),
        cgroup: Some(format!("/system.slice/{unit}")),
        systemd_unit: Some(Some(unit)),
        container: Some(None),
        uid: Some(task.uid),
        ppid: Some(Tgid(1)),
        ..ProcessFacts::named(
            Tgid(task.tgid),
            Ktime(task.start_time / 10_000_000 * 10_000_000),
            Comm::from(&name[..]),
        )
    }
}
