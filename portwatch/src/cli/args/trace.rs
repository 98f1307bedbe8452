//! How the kernel is watched, and at what cost.

use super::parse;
use crate::probe::attach::Choice;
use crate::report::BackendName;
use clap::{Args, ValueEnum};

/// The kernel side.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Kernel side")]
pub struct TraceArgs {
    /// Which hooks to use
    #[arg(
        long,
        env = "PORTWATCH_BACKEND",
        value_name = "BACKEND",
        default_value = "auto"
    )]
    pub backend: BackendChoice,

    /// Do not watch the sends by which unbound UDP sockets get a port: cheaper under heavy UDP load
    #[arg(long, env = "PORTWATCH_NO_UDP_AUTOBIND", value_parser = parse::flag)]
    pub no_udp_autobind: bool,

    /// Bytes of each ring to the kernel, a power of two from 4K to 1G: 256K, 1M
    #[arg(long, env = "PORTWATCH_RING_SIZE", value_name = "SIZE", value_parser = parse::ring_size)]
    pub ring_size: Option<u32>,

    /// Sockets whose owner is remembered in the kernel at once
    #[arg(long, env = "PORTWATCH_OWNERS", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1024..=16_777_216))]
    pub owners: Option<u32>,

    /// Closed connections whose process is remembered in the kernel: what is in TIME_WAIT is named
    /// as long as fewer are closed in a minute
    #[arg(long, env = "PORTWATCH_CLOSED_CONNECTIONS", value_name = "N",
          value_parser = clap::value_parser!(u32).range(1024..=16_777_216))]
    pub closed_connections: Option<u32>,
}

/// A word of `--backend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendChoice {
    /// The best that this kernel allows, hook by hook
    Auto,
    /// The kernel's own functions, by BPF trampolines
    Trampoline,
    /// The kernel's own functions, by kprobes
    Kprobe,
    /// The exits of system calls, cgroup hooks and sock_ops
    Tracepoint,
}

impl BackendChoice {
    /// As the loader takes it.
    #[must_use]
    pub fn choice(self) -> Choice {
        match self {
            Self::Auto => Choice::Auto,
            Self::Trampoline => Choice::Only(BackendName::Trampoline),
            Self::Kprobe => Choice::Only(BackendName::Kprobe),
            Self::Tracepoint => Choice::Only(BackendName::Tracepoint),
        }
    }
}
