//! Words and commands for a verdict: what happened in one sentence, and what to do about it.
//!
//! Pure, like `correlate`: a sentence holds nothing that the verdict does not. Strings of other
//! processes go into it as they are; every sink escapes them for where it writes. A command works
//! as printed, or there is none.
#![forbid(unsafe_code)]

mod commands;
mod connection;
mod exhausted;
mod gap;
mod lifecycle;
mod message;
mod ports;
mod sharing;
mod stop;
mod text;
mod todo;

pub use lifecycle::{refused_message, resolved_message};
pub use message::conflict_message;
pub use ports::PortList;
pub use todo::advice;
