//! Sockets older than the probes, and who has a socket now: one pass of `iter/task_file` over every
//! descriptor of every process, in all network namespaces.
//!
//! The pass also seeds the kernel's OWNERS and LISTENERS maps (portwatch-ebpf, `probes/snapshot`):
//! nothing of that goes through user space, so nothing can come between.

pub mod finder;
pub mod range;
pub mod tables;

use crate::decode::event::Owner;
use crate::decode::{self, Found};
use crate::enrich::facts::RangeQuestion;
use crate::source::RawRecord;
use aya::{
    Btf, Ebpf,
    programs::{Iter, ProgramError, links::LinkError},
};
use bytes::Bytes;
use portwatch_common::SnapshotRecord;
use range::{RangeError, RangeScanner};
use std::io::{self, Read};

/// Program of the object.
const PROGRAM: &str = "snapshot";

/// Why the scan cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The object has no such program.
    #[error("the BPF object has no program `{PROGRAM}`")]
    NoProgram,
    /// The kernel refused it.
    #[error("the descriptor iterator was refused: {}", crate::probe::refusal::program_reason(.0))]
    Program(#[source] ProgramError),
    /// Its link cannot be made a file.
    #[error("the descriptor iterator cannot be opened")]
    Link(#[source] LinkError),
    /// Reading failed.
    #[error("the descriptor iterator cannot be read")]
    Read(#[source] io::Error),
}

/// The loaded iterator; each pass opens it anew. It keeps the whole object, which must live as long
/// as anything of it is attached.
pub struct Scanner {
    ebpf: Ebpf,
    ranges: Option<RangeScanner>,
}

impl Scanner {
    /// Loads the iterator and keeps the object.
    ///
    /// # Errors
    /// The kernel refused it. The object comes back: its other programs may go on without.
    pub fn load(mut ebpf: Ebpf, btf: &Btf) -> Result<Self, Box<(Ebpf, SnapshotError)>> {
        let loaded = program(&mut ebpf).and_then(|program| {
            program
                .load("task_file", btf)
                .map_err(SnapshotError::Program)
        });
        match loaded {
            Ok(()) => Ok(Self { ebpf, ranges: None }),
            Err(error) => Err(Box::new((ebpf, error))),
        }
    }

    /// Loads the scan of port ranges.
    ///
    /// # Errors
    /// The kernel refused it, or has no `bpf_loop`.
    pub fn load_ranges(&mut self) -> Result<(), RangeError> {
        self.ranges = Some(RangeScanner::load(&mut self.ebpf)?);
        Ok(())
    }

    /// Who holds a range of ports now; `None` where it cannot be told.
    ///
    /// # Errors
    /// The kernel refused to run the scan.
    pub fn range(&mut self, question: &RangeQuestion) -> Result<Option<range::Found>, RangeError> {
        match &mut self.ranges {
            Some(ranges) => ranges.scan(&mut self.ebpf, question),
            None => Ok(None),
        }
    }

    /// Who closed the last descriptor of a socket; `None` if its own entry says it, or nobody knows.
    ///
    /// # Errors
    /// The kernel's maps cannot be read.
    pub fn closer(&self, cookie: u64) -> Result<Option<Owner>, RangeError> {
        range::closer(&self.ebpf, cookie)
    }

    /// One pass: every descriptor of every process that is a socket with a port. Also the number of
    /// records that made no sense.
    ///
    /// # Errors
    /// The iterator cannot be opened or read.
    pub fn pass(&mut self) -> Result<(Vec<Found>, usize), SnapshotError> {
        let iterator = program(&mut self.ebpf)?;
        let link = iterator.attach().map_err(SnapshotError::Program)?;
        let mut file = iterator
            .take_link(link)
            .map_err(SnapshotError::Program)?
            .into_file()
            .map_err(SnapshotError::Link)?;
        let bytes = read_all(&mut file).map_err(SnapshotError::Read)?;
        Ok(split(Bytes::from(bytes)))
    }
}

/// How many records one read() asks for.
const SLICE: usize = 16;

/// Reads an iterator to its end, a few records at a time.
///
/// A socket that its process closes while the iterator shows it keeps its port until this thread is
/// back from read(), which then runs the last close (fs/file_table.c:fput, task_work). read() ends
/// once it has what it was asked for (kernel/bpf/bpf_iter.c:bpf_seq_read), so a short one gives the
/// port back some sockets later, not hundreds.
fn read_all(file: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let start = bytes.len();
        bytes.resize(start + SLICE * size_of::<SnapshotRecord>(), 0);
        let read = file.read(&mut bytes[start..]);
        bytes.truncate(start + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => return Ok(bytes),
            Ok(_) => {}
            // A million descriptors in a row of which none is a socket: the next call goes on there.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The records of one pass.
fn split(mut bytes: Bytes) -> (Vec<Found>, usize) {
    let mut found = Vec::new();
    let mut bad = 0;
    while bytes.len() >= size_of::<SnapshotRecord>() {
        let record = bytes.split_to(size_of::<SnapshotRecord>());
        match decode::found(&RawRecord::new(record)) {
            Ok(socket) => found.push(socket),
            Err(_) => bad += 1,
        }
    }
    (found, bad + usize::from(!bytes.is_empty()))
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Iter, SnapshotError> {
    ebpf.program_mut(PROGRAM)
        .ok_or(SnapshotError::NoProgram)?
        .try_into()
        .map_err(SnapshotError::Program)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An iterator of the kernel: between two records a million descriptors that make none, and never
    /// more than half a record for a read.
    struct Iterator {
        left: usize,
        busy: bool,
    }

    impl Read for Iterator {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(buffer.len() <= SLICE * size_of::<SnapshotRecord>());
            self.busy = !self.busy;
            match self.left {
                _ if self.busy => Err(io::ErrorKind::WouldBlock.into()),
                0 => Ok(0),
                _ => {
                    self.left -= 1;
                    let half = size_of::<SnapshotRecord>() / 2;
                    buffer[..half].fill(7);
                    Ok(half)
                }
            }
        }
    }

    #[test]
    fn a_scan_is_read_in_small_pieces() -> io::Result<()> {
        let bytes = read_all(&mut Iterator {
            left: 6,
            busy: false,
        })?;
        assert_eq!(bytes, vec![7; 3 * size_of::<SnapshotRecord>()]);
        Ok(())
    }
}
