//! What happened as tables and as a timeline, for programs that are not ours.
//!
//! ```text
//!  Row       one report as one row of typed columns
//!  table     rows -> CSV or Parquet, one file or directories by date and host
//!  draft     a file that is there once it is whole
//!  holdings  assign and release -> who held which port from when to when
//!  told      holders that only a conflict tells, for holdings
//!  timeline  holdings and conflicts as a Chrome trace
//! ```
//!
//! All of them are sinks: they see what `--format json` would tell, one report at a time, and keep
//! no more than the ports that are held and the rows of one row group. Not here: a page for people
//! (`page`).

mod csv;
mod draft;
pub mod holdings;
mod lanes;
mod parquet;
mod partition;
pub mod row;
mod row_of;
pub mod table;
#[cfg(test)]
mod tests;
pub mod timeline;
mod told;

pub(crate) use draft::Draft;
pub use table::{Table, TableFormat};
pub use timeline::Timeline;

use crate::decode::event::Ktime;
use crate::report::ClockAnchor;
use crate::report::time::wall;

/// Where reports come from: a run of portwatch on a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Name of the machine.
    pub host: String,
    /// Id of the capture's run.
    pub run: String,
}

/// Nanoseconds since 1970; the ends of what 64 bits can say where that lies outside.
#[must_use]
pub fn wall_ns(anchor: ClockAnchor, at: Ktime) -> i64 {
    let ns = wall(anchor, at).as_nanosecond();
    i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
}
