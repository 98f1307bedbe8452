//! Harness of the tests that need a kernel.
//!
//! A test asks for a [`stage::Stage`]: a network namespace of its own in which programs and made
//! sockets run while the real tracer watches that namespace only. The tracer is known here by its
//! command-line and JSON contract alone; nothing of its crate is linked.

pub mod actor;
pub mod bpf;
pub mod cgroup;
pub mod contract;
pub mod event;
pub mod expect;
pub mod machine;
pub mod make;
pub mod manager;
pub mod netns;
pub mod program;
pub mod programs;
pub mod puppet;
pub mod ring;
pub mod sockets;
pub mod stage;
pub mod trace;
pub mod tracer;
pub mod wait;
