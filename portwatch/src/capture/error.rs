//! What can be wrong with a capture.

use std::fmt;
use std::io;

/// Why a capture cannot be read, or not on.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// Reading failed.
    #[error("the capture cannot be read")]
    Read(#[source] io::Error),
    /// Nothing in it.
    #[error(
        "the capture is empty: nothing was written before the run ended, or the copy is not complete"
    )]
    Empty,
    /// Something else.
    #[error("this is not a capture of portwatch: it does not begin as one does")]
    Foreign,
    /// The header is cut or damaged: nothing behind it has a meaning.
    #[error("the header of the capture is damaged ({0}); get another copy of the file")]
    Header(String),
    /// A newer format.
    #[error("the capture has format {found}, this portwatch reads up to {known}; update portwatch")]
    Version {
        /// Of the file.
        found: u16,
        /// The newest known.
        known: u16,
    },
    /// Made on a machine of the other byte order.
    #[error("the capture is from a machine of the other byte order; replay it on such a machine")]
    ByteOrder,
    /// Records of a newer build.
    #[error("the records are of ABI {found}, this portwatch knows up to {known}; update portwatch")]
    Abi {
        /// Of the file.
        found: u32,
        /// The newest known.
        known: u32,
    },
    /// The content of a block whose checksum agrees makes no sense.
    #[error("{0}")]
    Content(&'static str),
    /// A value cannot be stored.
    #[error("cannot be stored in the capture")]
    Encode(#[from] rmp_serde::encode::Error),
    /// The file cannot be made.
    #[error("could not make the capture `{path}`: {why}")]
    Create {
        /// As given.
        path: String,
        /// And what to do.
        why: String,
    },
}

/// A part of a capture that is not there. The rest is read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Blocks that cannot be read, or were never written.
    Hole {
        /// How many; 0 = not known.
        blocks: u64,
        /// Records in them as far as known; 0 = not known.
        records: u64,
        /// Bytes that were skipped.
        bytes: u64,
        /// Kernel time of the last record before, nanoseconds.
        after: u64,
        /// Kernel time of the first record behind.
        until: u64,
    },
    /// The end of a file is missing.
    Torn {
        /// Bytes that belong to no whole block.
        bytes: u64,
        /// Kernel time of the last record.
        after: u64,
    },
    /// Files of a rotation are missing, or the first ones were dropped.
    Parts {
        /// The first that is not there.
        first: u32,
        /// The first that is.
        next: u32,
    },
    /// Records that were played already: the same file twice, or its parts in another order.
    Repeated {
        /// How many.
        count: u64,
    },
    /// Things of a kind that this build does not know.
    Unknown {
        /// How many.
        count: u64,
        /// What the first one was.
        what: String,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hole {
                blocks,
                records,
                bytes,
                after,
                until,
            } => {
                write!(out, "a hole of {} s", Seconds(until.saturating_sub(*after)))?;
                match (*blocks, *records) {
                    (0, _) => {}
                    (blocks, 0) => write!(out, ", {blocks} blocks")?,
                    (blocks, records) => write!(out, ", {blocks} blocks with {records} records")?,
                }
                if *bytes > 0 {
                    write!(out, ", {bytes} unreadable bytes")?;
                }
                write!(
                    out,
                    ": nothing is known between {} s and {} s after boot",
                    Seconds(*after),
                    Seconds(*until)
                )
            }
            Self::Torn { bytes: 0, after } => write!(
                out,
                "the capture has no end: portwatch was killed, or the rest is missing; the last \
                 record is of {} s after boot",
                Seconds(*after)
            ),
            Self::Torn { bytes, after } => write!(
                out,
                "the capture is torn: its last {bytes} bytes are no whole block; the last whole \
                 record is of {} s after boot",
                Seconds(*after)
            ),
            Self::Parts { first, next } if *next == first + 1 => {
                write!(out, "file {first} of the rotation is missing")
            }
            Self::Parts { first, next } => {
                write!(
                    out,
                    "files {first} to {} of the rotation are missing",
                    next - 1
                )
            }
            Self::Repeated { count } => write!(
                out,
                "{count} records were skipped that were there already, or come in the wrong order"
            ),
            Self::Unknown { count, what } => write!(
                out,
                "{count} things that this version does not know were skipped ({what})"
            ),
        }
    }
}

/// Nanoseconds as seconds with three digits.
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0 / 1_000_000;
        write!(out, "{}.{:03}", ms / 1000, ms % 1000)
    }
}
