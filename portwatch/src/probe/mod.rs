//! Reaches into the kernel: offsets, hooks, what this machine allows.

mod assume;
pub mod attach;
pub mod btf;
pub mod cgroup;
pub mod control;
#[cfg(feature = "probe-log")]
pub mod diagnostics;
pub mod environment;
pub mod features;
pub mod functions;
pub mod hooks;
pub mod load;
pub mod losses;
pub mod misses;
pub mod mountinfo;
pub mod offsets;
pub mod privilege;
pub mod refusal;
mod serve;
pub mod support;
