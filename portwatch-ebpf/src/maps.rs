//! Every map, in one place. Sizes are defaults that the loader may change.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use portwatch_common::{
    Config, Counters, HookId, Owner, PortKey, RangeScan, SnapshotRecord, TableScan,
};

use crate::{
    notes::{Key, Note},
    probes::Wanted,
    walk::{self, Walk},
};

/// What user space asks for.
#[map]
pub(crate) static CONFIG: Array<Config> = Array::with_max_entries(1, 0);

/// `net.ns.inum` of the namespaces that were asked for, if not all are.
#[map]
pub(crate) static NETNS: HashMap<u32, u32> = HashMap::with_max_entries(256, 0);

/// Failures, their holders, and the ends of incidents: few, precious, each wakes user space.
#[map]
pub(crate) static FAILURES: RingBuf = RingBuf::with_byte_size(1 << 22, 0);

/// Ports taken and let go: many, only when asked for, never a wake-up.
#[map]
pub(crate) static TRAFFIC: RingBuf = RingBuf::with_byte_size(1 << 22, 0);

/// Who holds a range of ports, while user space asks; never a wake-up.
#[map]
pub(crate) static RANGE: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// How far the scan of a range has come.
#[map]
pub(crate) static RANGE_SCAN: Array<RangeScan> = Array::with_max_entries(1, 0);

/// Socket cookie -> who took its port, while a descriptor is open.
#[map]
pub(crate) static OWNERS: HashMap<u64, Owner> = HashMap::with_max_entries(1 << 17, 0);

/// Socket cookie -> who had it, for connections whose last descriptor is closed.
#[map]
pub(crate) static PAST: LruHashMap<u64, Owner> = LruHashMap::with_max_entries(1 << 16, 0);

/// Socket cookie -> who closed its last descriptor, where that is not the process of its entry.
#[map]
pub(crate) static CLOSERS: LruHashMap<u64, Owner> = LruHashMap::with_max_entries(1 << 14, 0);

/// Socket cookie -> when a listener got the connection, CLOCK_BOOTTIME nanoseconds.
#[map]
pub(crate) static ACCEPTED: LruHashMap<u64, u64> = LruHashMap::with_max_entries(1 << 16, 0);

/// Address and port -> their last listener.
#[map]
pub(crate) static LISTENERS: LruHashMap<PortKey, Owner> = LruHashMap::with_max_entries(1 << 14, 0);

/// What open incidents wait for, by the keys of [`portwatch_common::watched`].
#[map]
pub(crate) static WATCHED: HashMap<u64, u64> = HashMap::with_max_entries(1 << 13, 0);

/// State of a walk. In a map value because verifiers before 6.7 verify a `bpf_loop` callback once
/// with its initial stack context and drop "dead" branches (docs/kernel-support.md). One slot a
/// program, and more where a program may run twice on one CPU at a time ([`walk::DEPTH`]).
#[map]
pub(crate) static WALKS: PerCpuArray<Walk> =
    PerCpuArray::with_max_entries(walk::PROGRAMS * walk::DEPTH, 0);

/// Task -> what the bind() that it is in wants, for failures that are seen blindly.
#[map]
pub(crate) static WANTED: LruHashMap<u64, Wanted> = LruHashMap::with_max_entries(1 << 13, 0);

/// Task and function -> what the call began with.
#[map]
pub(crate) static NOTES: LruHashMap<Key, Note> = LruHashMap::with_max_entries(1 << 13, 0);

/// Counters by [`HookId`].
#[map]
pub(crate) static STATS: PerCpuArray<Counters> = PerCpuArray::with_max_entries(HookId::COUNT, 0);

/// Not 0: a record says that counters have grown, and user space has not looked yet.
#[map]
pub(crate) static LOSS_TOLD: Array<u32> = Array::with_max_entries(1, 0);

/// The record that the snapshot iterator writes next.
#[map]
pub(crate) static SNAPSHOT: PerCpuArray<SnapshotRecord> = PerCpuArray::with_max_entries(1, 0);

/// How far the scan of a bind table has come.
#[map]
pub(crate) static TABLE_SCAN: Array<TableScan> = Array::with_max_entries(1, 0);
