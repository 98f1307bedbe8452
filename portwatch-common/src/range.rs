//! Who holds a range of ports, asked after a call that found none free in it.

use crate::TableScan;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Value 0 of the map RANGE_SCAN: what to look for and how far the scan has come. User space sets
/// the question, zeros the rest, and runs the program until `table.done`; the answers are
/// [`crate::HolderRecord`]s of the ring RANGE.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct RangeScan {
    /// The way through the table, its `protocol` a part of the question; `lost` also counts sockets
    /// that were too many for one bucket or one scan.
    pub table: TableScan,
    /// Question, connect() only: the address that it wants to reach, as the kernel side compares it
    /// (`sock::peer_words`).
    pub peer: [u64; 2],
    /// Records written since the start of the scan.
    pub told: u32,
    /// Records written in this run.
    pub of_part: u32,
    /// Question: `net.ns.inum` of the namespace.
    pub netns: u32,
    /// `l3mdev` of the bucket under way.
    pub l3mdev: u32,
    /// Question: lowest port.
    pub low: u16,
    /// Question: highest port.
    pub high: u16,
    /// Question, connect() only: the port that it wants to reach, network order; 0 = any.
    pub peer_port_be: u16,
    /// Question. 1: connect(), only what keeps it from its destination counts; 0: every socket does.
    pub connects: u8,
    /// `fastreuse` of the bucket under way.
    pub fastreuse: i8,
    /// `fastreuseport` of the bucket under way.
    pub fastreuseport: i8,
    /// Records written of the bucket under way.
    pub of_bucket: u8,
    /// Zero.
    pub reserved: [u8; 6],
}
