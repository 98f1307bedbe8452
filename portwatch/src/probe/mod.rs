//! Reaches into the kernel: offsets, hooks, what this machine allows.

pub mod btf;
pub mod hooks;
pub mod load;
pub mod offsets;
