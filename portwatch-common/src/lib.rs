//! The wire between the kernel side and the user side of portwatch.
//!
//! Every type here is plain old data that both sides compile: no logic, no `bool`, no `enum`, no
//! hidden padding. Integers are in host byte order unless a field says "network order". What a
//! record *means* is decided by `portwatch::decode`, which believes none of it.
#![no_std]
#![forbid(unsafe_code)]

pub mod assign;
pub mod blind;
pub mod config;
pub mod exit;
pub mod failure;
pub mod features;
pub mod header;
pub mod holder;
mod layout;
pub mod offsets;
pub mod owner;
pub mod range;
pub mod release;
pub mod snapshot;
pub mod sock;
pub mod stats;
pub mod task;
pub mod watched;

pub use assign::AssignRecord;
pub use blind::BlindRecord;
pub use config::Config;
pub use exit::ExitRecord;
pub use failure::{Call, FailureRecord, SockAddr};
pub use features::Features;
pub use header::{RecordHeader, RecordKind};
pub use holder::HolderRecord;
pub use offsets::Offsets;
pub use owner::{Origin, Owner, OwnerSource, PortKey};
pub use range::RangeScan;
pub use release::ReleaseRecord;
pub use snapshot::{SnapshotRecord, TableScan};
pub use sock::Sock;
pub use stats::{Counter, Counters, HookId};
pub use task::Task;
