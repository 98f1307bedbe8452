//! The kernel's two rings.
//!
//! FAILURES wakes us; TRAFFIC never does and is polled by whoever wants it. Bytes are copied out of
//! the ring at once, so that a slow consumer behind us cannot fill it.

use super::RawRecord;
use aya::{
    Ebpf,
    maps::{MapData, MapError, RingBuf},
};
use bytes::Bytes;
use std::io;
use tokio::io::{Interest, unix::AsyncFd};

/// Records taken in one go, so that the other branches of the loop get their turn.
const BATCH: usize = 4096;

/// Why the rings cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The object has no such ring.
    #[error("the BPF object has no ring `{0}`")]
    NoRing(&'static str),
    /// It is not a ring, or cannot be mapped.
    #[error("the ring `{name}` cannot be read")]
    Ring {
        /// The ring.
        name: &'static str,
        /// aya's reason.
        #[source]
        source: MapError,
    },
    /// The ring's descriptor cannot be waited on.
    #[error("the kernel's rings cannot be waited on")]
    Wait(#[source] io::Error),
}

/// The live source.
pub struct Live {
    failures: AsyncFd<RingBuf<MapData>>,
    traffic: RingBuf<MapData>,
}

impl Live {
    /// Takes the rings out of a loaded object. Needs a tokio runtime with its I/O driver.
    ///
    /// # Errors
    /// A ring is missing, cannot be mapped or cannot be waited on.
    pub fn take(ebpf: &mut Ebpf) -> Result<Self, SourceError> {
        let failures = ring(ebpf, "FAILURES")?;
        let traffic = ring(ebpf, "TRAFFIC")?;
        // SAFETY: a `RingBuf` owns its descriptor and gives the same one as long as it lives.
        let failures = unsafe { AsyncFd::register_with_interest(failures, Interest::READABLE) }
            .map_err(|error| SourceError::Wait(error.into()))?;
        Ok(Self { failures, traffic })
    }

    /// Waits until the FAILURES ring has records, then takes up to a batch of them. True if the
    /// ring was drained to its end.
    ///
    /// # Errors
    /// The descriptor cannot be waited on.
    pub async fn failures(&mut self, out: &mut Vec<RawRecord>) -> Result<bool, SourceError> {
        let mut guard = self
            .failures
            .readable_mut()
            .await
            .map_err(SourceError::Wait)?;
        let drained = drain(guard.get_inner_mut(), out);
        if drained {
            guard.clear_ready();
        }
        Ok(drained)
    }

    /// Takes what the FAILURES ring has now, without waiting. True if it was drained to its end.
    pub fn failures_now(&mut self, out: &mut Vec<RawRecord>) -> bool {
        drain(self.failures.get_mut(), out)
    }

    /// Takes up to a batch of what the TRAFFIC ring has now. True if it was drained to its end.
    pub fn traffic_now(&mut self, out: &mut Vec<RawRecord>) -> bool {
        drain(&mut self.traffic, out)
    }
}

fn drain(ring: &mut RingBuf<MapData>, out: &mut Vec<RawRecord>) -> bool {
    for _ in 0..BATCH {
        match ring.next() {
            Some(item) => out.push(RawRecord::new(Bytes::copy_from_slice(&item))),
            None => return true,
        }
    }
    false
}

fn ring(ebpf: &mut Ebpf, name: &'static str) -> Result<RingBuf<MapData>, SourceError> {
    let map = ebpf.take_map(name).ok_or(SourceError::NoRing(name))?;
    RingBuf::try_from(map).map_err(|source| SourceError::Ring { name, source })
}
