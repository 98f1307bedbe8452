//! portwatch: which socket of which process has the port that a failed bind wanted.
//!
//! The data's way, top to bottom; `pipeline` is the same in one function:
//!
//! ```text
//!  probe    loads the BPF object: offsets from BTF, hooks, fallbacks
//!  source   bytes of the rings (live) -> RawRecord
//!  decode   RawRecord -> Event: checked, owned; failures joined with their holders
//!  enrich   Event -> Enriched: facts of /proc asked through the `Facts` trait
//!  correlate Enriched -> Report: bind rule, cause, certainty, incidents (advise: words and commands)
//!  sink     Report -> filter -> redact -> text or JSON
//! ```
//!
//! `capture` keeps all that came in and `source::replay` plays it again; `export` and `page` make tables,
//! a timeline and a page of that.
//! `report` holds the JSON contract's types, `causes` the page about them, `cli` one file a command.

pub mod advise;
pub mod capture;
pub mod causes;
pub mod cli;
pub mod correlate;
pub mod decode;
pub mod demo;
pub mod enrich;
pub mod export;
pub mod page;
pub mod pipeline;
pub mod probe;
pub mod report;
pub mod sink;
pub mod snapshot;
pub mod source;
pub mod tracer;
