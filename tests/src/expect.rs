//! What a test expects of a conflict, compared field by field with everything that differs told.

use std::net::SocketAddr;

use anyhow::{Result, bail};

use crate::contract::Conflict;
use crate::event::Event;

/// The expectation; an empty list or `None` leaves the field open.
#[derive(Debug, Clone, Default)]
pub struct Expected<'a> {
    /// The wanted port.
    pub port: u16,
    /// The identifiers that are right.
    pub causes: &'a [&'a str],
    /// The certainties that are right; when empty, any but `unknown`.
    pub certainties: &'a [&'a str],
    /// The failing process: pid and name.
    pub requester: Option<(u32, &'a str)>,
    /// The process of the first holder: pid and name.
    pub holder: Option<(u32, &'a str)>,
    /// Whether that process still has the socket.
    pub has_socket: Option<bool>,
    /// Whether that process still runs.
    pub alive: Option<bool>,
    /// The first holder's kind.
    pub kinds: &'a [&'a str],
    /// The first holder's state.
    pub states: &'a [&'a str],
    /// The first holder's origin, which may be absent when `None`.
    pub origin: Option<&'a str>,
    /// The remote ends that are right for the first holder.
    pub peers: &'a [SocketAddr],
    /// The first holder's inode.
    pub inode: Option<u64>,
}

impl Expected<'_> {
    /// Compares; the error lists every difference and the event.
    pub fn check(&self, event: &Event) -> Result<()> {
        let Some(conflict) = event.conflict() else {
            bail!("no conflict: {}", event.raw);
        };
        let mut wrong = Vec::new();
        self.check_conflict(conflict, &mut wrong);
        self.check_holder(conflict, &mut wrong);
        if wrong.is_empty() {
            Ok(())
        } else {
            bail!("{}\n{:#}", wrong.join("\n"), event.raw)
        }
    }

    fn check_conflict(&self, conflict: &Conflict, wrong: &mut Vec<String>) {
        if conflict.wanted.port != Some(self.port) {
            wrong.push(format!(
                "wanted.port is {:?}, not {}",
                conflict.wanted.port, self.port
            ));
        }
        one_of("cause", &conflict.cause, self.causes, wrong);
        one_of("certainty", &conflict.certainty, self.certainties, wrong);
        if self.certainties.is_empty() && conflict.certainty == "unknown" {
            wrong.push("certainty is unknown".to_owned());
        }
        if let Some((pid, comm)) = self.requester {
            let requester = &conflict.requester;
            if (requester.pid, requester.comm.as_str()) != (pid, comm) {
                wrong.push(format!(
                    "requester is {} (pid {}), not {comm} (pid {pid})",
                    requester.comm, requester.pid
                ));
            }
        }
        if conflict.holders_total < conflict.holders.len() as u64 {
            wrong.push("holders_total is less than the list".to_owned());
        }
    }

    fn check_holder(&self, conflict: &Conflict, wrong: &mut Vec<String>) {
        let Some(holder) = conflict.holders.first() else {
            if self.holder.is_some() {
                wrong.push("no holder at all".to_owned());
            }
            return;
        };
        if !holder.blocking {
            wrong.push("the first holder does not block".to_owned());
        }
        if holder.local.port != self.port {
            wrong.push(format!("the holder's port is {}", holder.local.port));
        }
        one_of("holders[0].kind", &holder.kind, self.kinds, wrong);
        one_of("holders[0].state", &holder.state, self.states, wrong);
        if self.origin.is_some() && holder.origin.as_deref() != self.origin {
            wrong.push(format!(
                "origin is {:?}, not {:?}",
                holder.origin, self.origin
            ));
        }
        let peer = holder.peer.as_ref().map(SocketAddr::from);
        if !self.peers.is_empty() && !peer.is_some_and(|peer| self.peers.contains(&peer)) {
            wrong.push(format!("peer is {peer:?}, not one of {:?}", self.peers));
        }
        if self.inode.is_some() && holder.inode != self.inode {
            wrong.push(format!("inode is {:?}, not {:?}", holder.inode, self.inode));
        }
        if let Some((pid, comm)) = self.holder {
            let told: Vec<(u32, &str)> = holder
                .processes
                .iter()
                .map(|process| (process.pid, process.comm.as_str()))
                .collect();
            if told.first() != Some(&(pid, comm)) {
                wrong.push(format!(
                    "the holder's processes are {told:?}, not {comm} (pid {pid})"
                ));
            }
        }
        if let Some(process) = holder.processes.first() {
            for (field, told, expected) in [
                ("has_socket", process.has_socket, self.has_socket),
                ("alive", process.alive, self.alive),
            ] {
                if expected.is_some() && told != expected {
                    wrong.push(format!("{field} is {told:?}, not {expected:?}"));
                }
            }
        }
    }
}

fn one_of(field: &str, told: &str, right: &[&str], wrong: &mut Vec<String>) {
    if !right.is_empty() && !right.contains(&told) {
        wrong.push(format!("{field} is `{told}`, not {}", right.join(" or ")));
    }
}
