//! Sockets older than the probes that no descriptor leads to, from the kernel's bind tables, in all
//! network namespaces (portwatch-ebpf, `probes/tables`).

use crate::decode::{self, Found};
use crate::source::RawRecord;
use crate::source::live::Live;
use aya::Ebpf;
use aya::maps::{Array, MapError};
use aya::programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _};
use portwatch_common::{RecordKind, TableScan};

/// Program and map of the object.
const PROGRAM: &str = "scan_tables";
const MAP: &str = "TABLE_SCAN";

/// A table of 65 536 buckets with a million sockets has fewer parts.
const MAX_PARTS: u32 = 4096;

/// Why the tables cannot be scanned.
#[derive(Debug, thiserror::Error)]
pub enum TablesError {
    /// The object lacks a part.
    #[error("the BPF object has no `{0}`")]
    Missing(&'static str),
    /// The kernel refused the program.
    #[error("the scan of the bind tables was refused: {}", crate::probe::refusal::program_reason(.0))]
    Program(#[from] ProgramError),
    /// Its state cannot be read or written.
    #[error("the state of the scan of the bind tables cannot be used")]
    State(#[from] MapError),
    /// It does not come to an end.
    #[error("the scan of the bind tables did not end")]
    Endless,
}

/// Sockets without a descriptor, what did not fit, and the records of others that came between.
#[derive(Debug, Default)]
pub struct Tables {
    /// The sockets.
    pub found: Vec<Found>,
    /// Sockets that found no room in the ring, or made no sense.
    pub lost: u64,
    /// Traffic that was in the ring, in its order.
    pub traffic: Vec<RawRecord>,
}

/// Scans TCP's and UDP's tables.
///
/// # Errors
/// The kernel refused it (before Linux 5.10), or it does not end.
pub fn scan(ebpf: &mut Ebpf, live: &mut Live) -> Result<Tables, TablesError> {
    let map = ebpf.take_map(MAP).ok_or(TablesError::Missing(MAP))?;
    let mut state: Array<_, ScanValue> = Array::try_from(map)?;
    let program: &mut RawTracePoint = ebpf
        .program_mut(PROGRAM)
        .ok_or(TablesError::Missing(PROGRAM))?
        .try_into()?;
    program.load()?;
    let mut tables = Tables::default();
    for protocol in [6, 17] {
        let start = TableScan {
            protocol,
            ..TableScan::default()
        };
        state.set(0, ScanValue(start), 0)?;
        one_table(program, &state, live, &mut tables)?;
    }
    Ok(tables)
}

fn one_table(
    program: &RawTracePoint,
    state: &Array<aya::maps::MapData, ScanValue>,
    live: &mut Live,
    tables: &mut Tables,
) -> Result<(), TablesError> {
    for _ in 0..MAX_PARTS {
        program.test_run(RawTracePointRunOptions::new())?;
        let mut records = Vec::new();
        while !live.traffic_now(&mut records) {}
        for record in records {
            match decode::kind(&record) {
                Some(RecordKind::SNAPSHOT) => match decode::found(&record) {
                    Ok(found) => tables.found.push(found),
                    Err(_) => tables.lost += 1,
                },
                Some(_) | None => tables.traffic.push(record),
            }
        }
        let ScanValue(now) = state.get(&0, 0)?;
        if now.done != 0 {
            tables.lost += u64::from(now.lost);
            return Ok(());
        }
    }
    Err(TablesError::Endless)
}

/// [`TableScan`] as a map's value.
#[repr(transparent)]
#[derive(Clone, Copy, Debug)]
struct ScanValue(TableScan);

// SAFETY: `TableScan` is `repr(C)` without padding and holds nothing but integers.
unsafe impl aya::Pod for ScanValue {}
