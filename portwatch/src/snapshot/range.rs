//! Who holds a range of ports, from the kernel's bind tables (portwatch-ebpf, `probes/range`).

use crate::decode::{
    self,
    event::{Holder, Owner},
};
use crate::enrich::facts::RangeQuestion;
use crate::source::RawRecord;
use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError, RingBuf};
use aya::programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _};
use bytes::Bytes;
use portwatch_common::{RangeScan, TableScan};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Program and maps of the object.
const PROGRAM: &str = "scan_range";
const STATE: &str = "RANGE_SCAN";
const RING: &str = "RANGE";
const OWNERS: [&str; 2] = ["OWNERS", "PAST"];

/// A table of 65 536 buckets with 131 072 sockets has some 50 parts.
const MAX_PARTS: u32 = 1024;

/// A scan is left unfinished after so long.
const PATIENCE: Duration = Duration::from_millis(250);

/// Why a range cannot be scanned.
#[derive(Debug, thiserror::Error)]
pub enum RangeError {
    /// The object lacks a part.
    #[error("the BPF object has no `{0}`")]
    Missing(&'static str),
    /// The object for kernels without `bpf_loop` has no such program.
    #[error("the scan of a range of ports needs `bpf_loop` (Linux 5.17)")]
    NoLoop,
    /// The kernel refused the program.
    #[error("the scan of a range of ports was refused: {}", crate::probe::refusal::program_reason(.0))]
    Program(#[from] ProgramError),
    /// Its state or its ring cannot be used.
    #[error("the state of the scan of a range cannot be used")]
    State(#[from] MapError),
}

/// The sockets of a range that were found, and how many more there are.
#[derive(Debug, Default)]
pub struct Found {
    /// Those that were read.
    pub holders: Vec<Holder>,
    /// Those that were not.
    pub missed: u32,
}

/// The loaded scan.
pub struct RangeScanner {
    state: Array<MapData, ScanValue>,
    ring: RingBuf<MapData>,
}

impl RangeScanner {
    /// Loads the program and takes its maps.
    ///
    /// # Errors
    /// The kernel refused it (before Linux 5.10).
    pub fn load(ebpf: &mut Ebpf) -> Result<Self, RangeError> {
        program(ebpf)?.load()?;
        let state = Array::try_from(ebpf.take_map(STATE).ok_or(RangeError::Missing(STATE))?)?;
        let ring = RingBuf::try_from(ebpf.take_map(RING).ok_or(RangeError::Missing(RING))?)?;
        Ok(Self { state, ring })
    }

    /// One scan. `None` where the kernel has no table that can be reached for this protocol.
    ///
    /// # Errors
    /// The kernel refused to run it.
    pub fn scan(
        &mut self,
        ebpf: &mut Ebpf,
        question: &RangeQuestion,
    ) -> Result<Option<Found>, RangeError> {
        let program = program(ebpf)?;
        self.state.set(0, ScanValue(asked(question)), 0)?;
        let started = Instant::now();
        let mut found = Found::default();
        for part in 0..MAX_PARTS {
            program.test_run(RawTracePointRunOptions::new())?;
            while let Some(item) = self.ring.next() {
                let raw = RawRecord::new(Bytes::copy_from_slice(&item));
                match decode::holder(&raw) {
                    Ok(holder) => found.holders.push(holder),
                    Err(_) => found.missed = found.missed.saturating_add(1),
                }
            }
            let ScanValue(now) = self.state.get(&0, 0)?;
            if now.table.buckets == 0 {
                return Ok(None);
            }
            if now.table.done != 0 || started.elapsed() > PATIENCE || part + 1 == MAX_PARTS {
                let unfinished =
                    u32::from(now.table.done == 0 || now.table.index < now.table.buckets);
                found.missed = found.missed.saturating_add(now.table.lost + unfinished);
                break;
            }
        }
        for holder in &mut found.holders {
            // Beyond that the rest stays without: who has a socket now is known all the same.
            if started.elapsed() > PATIENCE {
                break;
            }
            holder.owner = remembered(ebpf, holder.socket.cookie)?;
        }
        Ok(Some(found))
    }
}

/// Who took a socket or had it last; `None` where nobody is known.
fn remembered(ebpf: &Ebpf, cookie: Option<u64>) -> Result<Option<Owner>, RangeError> {
    let Some(cookie) = cookie else {
        return Ok(None);
    };
    for name in OWNERS {
        let map = ebpf.map(name).ok_or(RangeError::Missing(name))?;
        let map: HashMap<_, u64, OwnerValue> = HashMap::try_from(map)?;
        match map.get(&cookie, 0) {
            // An entry of a version of its own cannot be: the object is ours.
            Ok(OwnerValue(owner)) => return Ok(decode::owner(&owner).ok().flatten()),
            Err(MapError::KeyNotFound) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// The question as the kernel side takes it.
fn asked(question: &RangeQuestion) -> RangeScan {
    let mut scan = RangeScan {
        table: TableScan {
            protocol: u32::from(question.protocol),
            ..TableScan::default()
        },
        netns: question.netns.0,
        low: question.low,
        high: question.high,
        ..RangeScan::default()
    };
    if let Some(to) = question.destination {
        scan.connects = 1;
        scan.peer_port_be = to.port().to_be();
        scan.peer = peer_words(to.ip());
    }
    scan
}

/// An address as the kernel side compares peers (portwatch-ebpf, `sock::peer_words`).
#[must_use]
pub fn peer_words(address: IpAddr) -> [u64; 2] {
    match address {
        IpAddr::V4(v4) => [0, u64::from(u32::from_ne_bytes(v4.octets()))],
        IpAddr::V6(v6) => {
            let [a, b, c, d, e, f, g, h, rest @ ..] = v6.octets();
            [
                u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
                u64::from_ne_bytes(rest),
            ]
        }
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut RawTracePoint, RangeError> {
    let program = ebpf.program_mut(PROGRAM).ok_or(RangeError::NoLoop)?;
    Ok(program.try_into()?)
}

/// [`portwatch_common::Owner`] as a map's value.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct OwnerValue(portwatch_common::Owner);

// SAFETY: `Owner` is `repr(C)` without padding and holds nothing but integers.
unsafe impl aya::Pod for OwnerValue {}

/// [`RangeScan`] as a map's value.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct ScanValue(RangeScan);

// SAFETY: `RangeScan` is `repr(C)` without padding and holds nothing but integers.
unsafe impl aya::Pod for ScanValue {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::event::NetnsId;

    /// As `sock::peer_words` reads them: IPv4 alone in the second word, IPv6 as it stands.
    #[test]
    fn addresses_are_asked_as_the_kernel_side_compares_them() {
        let ask = |to: &str| {
            let scan = asked(&RangeQuestion {
                netns: NetnsId(1),
                protocol: 6,
                low: 32768,
                high: 60999,
                destination: Some(to.parse().unwrap()),
            });
            (scan.connects, scan.peer, scan.peer_port_be.to_ne_bytes())
        };
        let v4 = u64::from(u32::from_ne_bytes([10, 0, 0, 1]));
        assert_eq!(ask("10.0.0.1:80"), (1, [0, v4], [0, 80]));
        let last = u64::from_ne_bytes([0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(ask("[::1]:258"), (1, [0, last], [1, 2]));
    }
}
