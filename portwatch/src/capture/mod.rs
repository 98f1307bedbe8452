//! Captures: everything that decided a run's output, in the order in which the pipeline took it.
//!
//! ```text
//!  Recorder  taps the pipeline: records before decode, ticks, anchors, losses, the machine's answers
//!  pack      records to columns, by the layouts that the header names        <->  unpack
//!  block     frames with checksums, optional zstd
//!  writer    files: rotation, retention, a disk that is full                 <->  reader
//! ```
//!
//! docs/capture-format.md has it byte by byte. Not here: what a record means (`decode`), and who
//! drives a replay (`source::replay`).
#![forbid(unsafe_code)]

mod ahead;
mod block;
mod buffer;
mod columns;
pub mod compat;
mod contexts;
mod error;
pub mod fact;
mod files;
pub mod header;
mod input;
pub mod layout;
pub mod note;
mod own;
mod pack;
mod packing;
mod plan;
mod random;
mod reader;
mod recorder;
mod redact;
mod rows;
mod seek;
mod sockets;
mod streams;
mod table;
mod tap;
#[cfg(test)]
mod tests;
mod unpack;
mod varint;
mod writer;

pub use block::Codec;
pub use error::{CaptureError, Damage};
pub use header::CaptureHeader;
pub use input::{Input, Step, Stored};
pub use own::own as own_layouts;
pub(crate) use random::random;
pub use reader::{CaptureReader, Piece};
pub use recorder::{Held, Recorder};
pub use redact::Redaction;
pub use tap::RecordingFacts;
pub use unpack::Passed;
pub use writer::WriteOptions;
