//! Records as the kernel side writes them.

use portwatch_common::{
    AssignRecord, Call, ExitRecord, FailureRecord, HolderRecord, Origin, OwnerSource, RecordHeader,
    RecordKind, ReleaseRecord, Sock, Task,
};
use zerocopy::{FromZeros, Immutable, IntoBytes};

pub(super) const S: u64 = 1_000_000_000;
pub(super) const NETNS: u32 = 4_026_531_840;

pub(super) fn bytes<T: IntoBytes + Immutable>(record: &T) -> Vec<u8> {
    record.as_bytes().to_vec()
}

pub(super) fn comm(name: &str) -> [u64; 2] {
    let mut bytes = [0; 16];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    [0, 8].map(|at| u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap()))
}

pub(super) fn head<T>(kind: u16, time: u64, id: u64) -> RecordHeader {
    RecordHeader {
        kind,
        size: u16::try_from(size_of::<T>()).unwrap(),
        cpu: u32::try_from(time % 2).unwrap(),
        time: 1_000 * S + time,
        id,
    }
}

pub(super) fn task(tgid: u32) -> Task {
    Task {
        tgid,
        tid: tgid,
        ppid: 1,
        uid: 167,
        start_time: 900 * S + u64::from(tgid),
        cgroup: 55,
        comm: comm(&format!("proc-{tgid}")),
    }
}

pub(super) fn sock(n: u64, port: u16) -> Sock {
    Sock {
        sk: 0xffff_8880_0000_0000 + n * 2432,
        cookie: 100 + n,
        inode: 70_000 + n,
        rcv_saddr: [10, 10, 10, 1],
        daddr: [10, 10, 10, 2],
        uid: 167,
        family: 2,
        protocol: 6,
        port,
        peer_port: 6836,
        state: Sock::STATE_ESTABLISHED,
        flags: Sock::FLAG_FULL | Sock::FLAG_HAS_SOCKET | Sock::FLAG_HAS_FILE,
        ..Sock::new_zeroed()
    }
}

pub(super) fn assign(time: u64, tgid: u32, n: u64, watched: u8) -> AssignRecord {
    AssignRecord {
        header: head::<AssignRecord>(RecordKind::ASSIGN, time, 0),
        task: task(tgid),
        sock: sock(n, 40_000 + u16::try_from(n).unwrap()),
        netns_cookie: 1,
        netns: NETNS,
        origin: Origin::EPHEMERAL_CONNECT,
        call: if watched == 0 {
            Call::CONNECT
        } else {
            Call::BIND
        },
        watched,
        pad: 0,
    }
}

pub(super) fn release(time: u64, tgid: u32, n: u64) -> ReleaseRecord {
    let taken = assign(0, tgid, n, 0);
    let mut record = ReleaseRecord::new_zeroed();
    record.header = head::<ReleaseRecord>(RecordKind::RELEASE, time, 0);
    record.task = taken.task;
    record.sock = taken.sock;
    record.owner.comm = taken.task.comm;
    record.owner.start_time = taken.task.start_time;
    record.owner.taken_at = taken.header.time;
    record.owner.tgid = tgid;
    record.owner.origin = Origin::EPHEMERAL_CONNECT;
    record.owner.source = OwnerSource::CALL;
    record.owner.port = taken.sock.port;
    record.netns = NETNS;
    record
}

pub(super) fn failure(time: u64, id: u64, tgid: u32, emitted: u32) -> FailureRecord {
    let mut record = FailureRecord::new_zeroed();
    record.header = head::<FailureRecord>(RecordKind::FAILURE, time, id);
    record.task = task(tgid);
    record.sock.family = 2;
    record.sock.protocol = 6;
    record.sock.state = Sock::STATE_CLOSE;
    record.sock.flags = Sock::FLAG_FULL;
    record.addr.family = 2;
    record.addr.port = 40_001;
    record.netns = NETNS;
    record.errno = 98;
    record.call = Call::BIND;
    (record.total, record.emitted, record.buckets) = (emitted, emitted, 1);
    (record.range_low, record.range_high) = (32_768, 60_999);
    record
}

pub(super) fn holder(time: u64, id: u64, tgid: u32) -> HolderRecord {
    let mut record = HolderRecord::new_zeroed();
    record.header = head::<HolderRecord>(RecordKind::HOLDER, time, id);
    record.sock = sock(1, 40_001);
    record.owner = release(0, tgid, 1).owner;
    record.owner_source = u32::from(OwnerSource::CALL);
    (record.fastreuse, record.fastreuseport) = (-1, -1);
    record
}

pub(super) fn exit(time: u64, tgid: u32) -> ExitRecord {
    ExitRecord {
        header: head::<ExitRecord>(RecordKind::EXIT, time, 0),
        task: task(tgid),
    }
}
