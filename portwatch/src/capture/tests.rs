//! Captures made block by block, and what becomes of them on the way.

mod damage;
mod fuzz;
mod glued;
mod live;
mod made;
mod moody;
mod pack;
mod redact;
mod write;

use super::block::{CLOSED, Codec, Content, Framer};
use super::fact::Fact;
use super::header::CaptureHeader;
use super::note::Begin;
use super::pack::Packer;
use super::{CaptureReader, Damage, Input, Piece, compat, own_layouts};
use crate::decode::event::{Ktime, NetnsId};
use crate::report::{BackendName, ClockAnchor, History, Sizes, Start};
use std::collections::BTreeMap;

pub(super) const SALT: u32 = 0x5a17;

/// Kernel time 1000 s is 10:12:03 UTC.
pub(super) const ANCHOR: ClockAnchor = ClockAnchor {
    boottime_ns: 1_000_000_000_000,
    realtime_ns: 1_795_342_323_000_000_000,
};

pub(super) fn start() -> Start {
    Start {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: "6.18.0".to_owned(),
        backend: BackendName::Tracepoint,
        hooks: Vec::new(),
        hooks_refused: Vec::new(),
        blind_spots: vec!["a socket of AF_SMC".to_owned()],
        warnings: Vec::new(),
        namespaces: Vec::new(),
        clock: ANCHOR,
        filters: BTreeMap::new(),
        sizes: Sizes {
            failures_ring: 1,
            traffic_ring: 2,
            owners: 3,
            past: 4,
            listeners: 5,
            watched: 6,
        },
        history: History {
            closed_connections: 3,
            listeners: 5,
            closes_per_second: 1,
        },
        snapshot_sockets: 7,
    }
}

pub(super) fn header() -> CaptureHeader {
    CaptureHeader {
        run: "00112233445566778899aabbccddeeff".to_owned(),
        part: 0,
        first_block: 0,
        host: "node-7".to_owned(),
        arch: "x86_64".to_owned(),
        abi: compat::ABI,
        layouts: own_layouts(),
        filtered: BTreeMap::new(),
        redacted: Vec::new(),
        begin: Begin {
            started: Ktime(ANCHOR.boottime_ns),
            scanned: Ktime(ANCHOR.boottime_ns + 5),
            anchor: ANCHOR,
            own_netns: Some(NetnsId(4_026_531_840)),
            incident_timeout: 30_000_000_000,
            settle: 3_000_000_000,
            start: start(),
        },
    }
}

/// A file made without a thread, a clock or a disk.
pub(super) struct Made {
    packer: Packer,
    framer: Framer,
    number: u64,
    pub(super) bytes: Vec<u8>,
    /// Where each block ends; the first end is the header's.
    pub(super) ends: Vec<usize>,
}

impl Made {
    pub(super) fn new(codec: Codec) -> Self {
        Self::of(codec, &header())
    }

    pub(super) fn of(codec: Codec, header: &CaptureHeader) -> Self {
        let bytes = header.to_bytes(SALT).unwrap();
        Self {
            packer: Packer::new(&header.layouts),
            framer: Framer::new(codec, SALT).unwrap(),
            number: header.first_block,
            ends: vec![bytes.len()],
            bytes,
        }
    }

    pub(super) fn block(self, pack: impl FnOnce(&mut Packer)) -> Self {
        self.forged(pack, |_| ())
    }

    /// A block whose payload is changed before its checksums are made.
    pub(super) fn forged(
        mut self,
        pack: impl FnOnce(&mut Packer),
        change: impl FnOnce(&mut Vec<u8>),
    ) -> Self {
        pack(&mut self.packer);
        let mut content = self.packer.take().unwrap();
        change(&mut content.payload);
        let (head, stored) = self.framer.frame(self.number, 0, &content).unwrap();
        self.bytes.extend_from_slice(&head);
        self.bytes.extend_from_slice(stored);
        self.ends.push(self.bytes.len());
        self.number += 1;
        self
    }

    pub(super) fn end(mut self, flags: u8) -> Self {
        let end = Content::default();
        let (head, stored) = self.framer.frame(self.number, flags, &end).unwrap();
        self.bytes.extend_from_slice(&head);
        self.bytes.extend_from_slice(stored);
        self
    }

    pub(super) fn closed(self) -> Self {
        self.end(CLOSED)
    }
}

/// Everything that a reader gives.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) inputs: Vec<(Input, Vec<Fact>)>,
    pub(super) damage: Vec<Damage>,
    pub(super) headers: usize,
}

pub(super) fn read(bytes: &[u8]) -> Result<Seen, super::CaptureError> {
    let mut reader = CaptureReader::new(bytes)?;
    let mut seen = Seen::default();
    while let Some(piece) = reader.next_piece()? {
        match piece {
            Piece::Step(step) => {
                let fact = |bytes| rmp_serde::from_slice(bytes).unwrap();
                let facts = step.answers.all().iter().map(|bytes| fact(bytes)).collect();
                seen.inputs.push((step.input, facts));
            }
            Piece::Damage(damage) => seen.damage.push(damage),
            Piece::Header(_) => seen.headers += 1,
        }
    }
    Ok(seen)
}
