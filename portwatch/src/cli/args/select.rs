//! Filters.

use super::parse::{self, Netns};
use crate::report::TransportName;
use crate::sink::filter::{EventName, Ports, Selection};
use clap::{Args, ValueEnum};
use std::collections::BTreeSet;

/// Which reports pass. Options must all agree; several values of one are alternatives.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Filters")]
pub struct SelectArgs {
    /// What to tell: conflicts, ports taken, ports let go, binds refused for another reason
    #[arg(
        long,
        env = "PORTWATCH_EVENTS",
        value_delimiter = ',',
        default_value = "conflict"
    )]
    pub events: Vec<EventChoice>,

    /// Only these ports
    ///
    /// Numbers and ranges, for example 60001,8000-9000.
    #[arg(
        long = "port",
        env = "PORTWATCH_PORT",
        value_name = "PORTS",
        value_delimiter = ','
    )]
    pub ports: Vec<Ports>,

    /// Only this transport
    #[arg(long, env = "PORTWATCH_TRANSPORT", value_name = "TRANSPORT")]
    pub transport: Option<TransportChoice>,

    /// Only these processes, by id
    ///
    /// With a conflict the process that failed or one that holds the port, otherwise the one that
    /// made the call. --comm and --cgroup match in the same way.
    #[arg(long = "pid", env = "PORTWATCH_PID", value_name = "PID", value_delimiter = ',',
          value_parser = clap::value_parser!(u32).range(1..))]
    pub pids: Vec<u32>,

    /// Only processes with exactly this name (repeatable)
    ///
    /// The name of the process, not of its threads: at most 15 bytes, as in /proc/PID/comm.
    #[arg(long = "comm", env = "PORTWATCH_COMM", value_name = "NAME", value_parser = parse::comm)]
    pub comms: Vec<String>,

    /// Only processes in this cgroup or below it (repeatable)
    ///
    /// As in /proc/PID/cgroup, for example /system.slice/app.service.
    #[arg(long = "cgroup", env = "PORTWATCH_CGROUP", value_name = "PATH", value_parser = parse::cgroup)]
    pub cgroups: Vec<String>,

    /// Only this network namespace
    ///
    /// An inode as `readlink /proc/PID/ns/net` shows it, or a path such as /run/netns/blue.
    #[arg(
        long,
        env = "PORTWATCH_NETNS",
        value_name = "INODE|PATH",
        value_delimiter = ','
    )]
    pub netns: Vec<Netns>,
}

/// A word of `--events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EventChoice {
    /// Calls that failed for want of a port
    Conflict,
    /// Ports taken
    Assign,
    /// Ports let go
    Release,
    /// Binds that failed for another reason
    Refused,
    /// All of them
    All,
}

impl EventChoice {
    /// What these words stand for.
    #[must_use]
    pub fn names(choices: &[Self]) -> BTreeSet<EventName> {
        let names = choices.iter().flat_map(|choice| match choice {
            Self::Conflict => vec![EventName::Conflict],
            Self::Assign => vec![EventName::Assign],
            Self::Release => vec![EventName::Release],
            Self::Refused => vec![EventName::Refused],
            Self::All => EventName::ALL.to_vec(),
        });
        names.collect()
    }
}

/// A word of `--transport`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TransportChoice {
    /// TCP and MPTCP
    Tcp,
    /// UDP and UDP-Lite
    Udp,
}

impl SelectArgs {
    /// What the filter takes.
    #[must_use]
    pub fn selection(&self) -> Selection {
        Selection {
            ports: self.ports.clone(),
            transport: self.transport.map(|transport| match transport {
                TransportChoice::Tcp => TransportName::Tcp,
                TransportChoice::Udp => TransportName::Udp,
            }),
            pids: self.pids.clone(),
            comms: self.comms.clone(),
            cgroups: self.cgroups.clone(),
            netns: self.netns.iter().map(|netns| netns.0).collect(),
            events: EventChoice::names(&self.events),
        }
    }
}
