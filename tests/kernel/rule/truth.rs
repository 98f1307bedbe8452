//! What is right to say of a cell, and every way in which a report can be wrong about it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use portwatch_tests::contract::{Conflict, Holder};

use super::cell::{Cell, Flag, Options};
use super::made::{Made, Scene};
use super::world::{Attempt, BINDER, World};

/// What is known to be true when the reports are read.
pub(crate) struct Truth<'a> {
    pub(crate) cell: &'a Cell,
    pub(crate) scene: &'a Scene,
    pub(crate) attempt: Attempt,
    /// Of each socket made, whether it stops the call all alone; `None` = could not be tried.
    pub(crate) blocks: Vec<Option<bool>>,
    /// The sockets were there before the tracer.
    pub(crate) late: bool,
}

/// How often a report stayed below what could have been said.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) cells: u64,
    pub(crate) scenes: u64,
    pub(crate) unmade: u64,
    pub(crate) refused: u64,
    pub(crate) free: u64,
    pub(crate) blocking: u64,
    pub(crate) neighbours: u64,
    pub(crate) uncertain: u64,
    pub(crate) unknown_cause: u64,
    pub(crate) no_origin: u64,
    pub(crate) nobody_named: u64,
}

impl Truth<'_> {
    /// Every difference between the report of the binder's try and the truth.
    pub(crate) fn compare(
        &self,
        conflict: Option<&Conflict>,
        world: &mut World,
        tally: &mut Tally,
    ) -> Vec<String> {
        let (call, conflict) = match (self.attempt.call(), conflict) {
            (None, None) => return Vec::new(),
            (None, Some(_)) => return vec!["a conflict is told, but no call failed".to_owned()],
            (Some(call), None) => return vec![format!("{call}() failed, and nothing is told")],
            (Some(call), Some(conflict)) => (call, conflict),
        };
        let mut wrong = Vec::new();
        self.requester(call, conflict, world, &mut wrong);
        let mut told: Vec<Option<&Holder>> = vec![None; self.scene.made.len()];
        let mut first = None;
        for holder in &conflict.holders {
            let position = self.scene.made.iter().position(|made| made.is(holder));
            let Some(index) = position else {
                wrong.push(format!("a holder that nobody made: {holder:?}"));
                continue;
            };
            if told[index].replace(holder).is_some() {
                wrong.push(format!("told twice: {holder:?}"));
            }
            if holder.blocking && first.is_none() {
                first = Some(index);
            }
            self.holder(&self.scene.made[index], holder, world, tally, &mut wrong);
        }
        self.blame(&told, conflict, tally, &mut wrong);
        if let Some(first) = first {
            self.cause(&self.scene.made[first], conflict, tally, &mut wrong);
        }
        wrong
    }

    fn requester(&self, call: &str, conflict: &Conflict, world: &World, wrong: &mut Vec<String>) {
        let binder = world.actor(BINDER);
        let requester = &conflict.requester;
        if (requester.pid, requester.comm.as_str()) != (binder.pid(), binder.name()) {
            wrong.push(format!("the requester is {requester:?}"));
        }
        if conflict.call != call || conflict.error != "EADDRINUSE" {
            wrong.push(format!("{} {}", conflict.call, conflict.error));
        }
        let address = self.cell.binder.at.address().to_canonical();
        if conflict.wanted.address != Some(address) {
            wrong.push(format!("wanted is {:?}", conflict.wanted));
        }
    }

    fn holder(
        &self,
        made: &Made,
        holder: &Holder,
        world: &mut World,
        tally: &mut Tally,
        wrong: &mut Vec<String>,
    ) {
        let local = SocketAddr::from(&holder.local);
        let peer = holder.peer.as_ref().map(SocketAddr::from);
        // The peer acknowledges a FIN when it likes.
        let state = holder.state.replace("fin_wait1", "fin_wait2");
        if (local, peer, state.as_str()) != (made.local, made.peer, made.state) {
            wrong.push(format!("{holder:?} is in truth {made:?}"));
        }
        match holder.origin.as_deref() {
            None => tally.no_origin += 1,
            Some(origin) if origin == made.origin => {}
            Some(_) => wrong.push(format!("the origin of {holder:?} is {}", made.origin)),
        }
        if let (Some(slot), Some(cookie)) = (made.slot, holder.cookie)
            && world.cookie(made.actor, slot).ok() != Some(cookie)
        {
            wrong.push(format!("the cookie of {holder:?} is another's"));
        }
        let actor = world.actor(made.actor);
        for process in &holder.processes {
            if (process.pid, process.comm.as_str()) != (actor.pid(), actor.name()) {
                wrong.push(format!("{holder:?} names {process:?}"));
            }
            if process.has_socket != Some(made.slot.is_some()) || process.alive != Some(true) {
                wrong.push(format!("{holder:?} is wrong about {process:?}"));
            }
        }
        match holder.processes.len() {
            0 if made.slot.is_some() => wrong.push(format!("{holder:?} names nobody")),
            0 => tally.nobody_named += 1,
            1 => {}
            _ => wrong.push(format!("{holder:?} names several")),
        }
    }

    /// The caller had the option set at the call that failed.
    fn asked(&self, flag: Flag) -> bool {
        match self.attempt {
            Attempt::Listen => has(flag),
            Attempt::Bind | Attempt::Free | Attempt::Unfit => {
                matches!(flag, Flag::On | Flag::Cleared)
            }
        }
    }

    /// Who is said to block, against who does.
    fn blame(
        &self,
        told: &[Option<&Holder>],
        conflict: &Conflict,
        tally: &mut Tally,
        wrong: &mut Vec<String>,
    ) {
        for ((made, told), blocks) in self.scene.made.iter().zip(told).zip(&self.blocks) {
            if made.udp != self.cell.binder_udp {
                if told.is_some() {
                    wrong.push(format!("{made:?} is of the other transport"));
                }
                continue;
            }
            match (told.map(|told| told.blocking), *blocks) {
                (Some(true), Some(false)) => wrong.push(format!("{made:?} does NOT block")),
                (Some(false) | None, Some(true)) if conflict.truncated == Some(true) => {
                    tally.uncertain += 1;
                }
                (Some(false) | None, Some(true)) => wrong.push(format!("{made:?} DOES block")),
                (None, Some(false) | None) => wrong.push(format!("{made:?} is not listed")),
                (Some(true), Some(true) | None) => tally.blocking += 1,
                (Some(false), Some(false) | None) => tally.neighbours += 1,
            }
        }
    }

    /// The cause is that of the first holder, which blocks.
    fn cause(&self, made: &Made, conflict: &Conflict, tally: &mut Tally, wrong: &mut Vec<String>) {
        let options = &self.cell.holders[made.holder].options;
        let binder = &self.cell.binder;
        let told = conflict.cause.as_str();
        if told == "unknown" {
            tally.unknown_cause += 1;
            return;
        }
        let right = match (made.udp, made.state) {
            (false, "listen") if dual(made, options, binder) => "dual-stack-listener",
            (false, "listen") => "listener",
            (false, "fin_wait2") if made.slot.is_none() => "orphan",
            // Who chose the port of an older UDP socket cannot be known.
            (true, _) if self.late && told == "udp-socket" => "udp-socket",
            (udp, state) => match made.origin {
                "ephemeral-bind" => "ephemeral-bind",
                "accepted" if state == "time_wait" => "server-time-wait",
                "accepted" => "accepted-connection",
                "explicit-bind" if udp => "udp-socket",
                "explicit-bind" if state == "time_wait" => "outbound-time-wait",
                "explicit-bind" => "bound-not-listening",
                _ if state == "time_wait" => "outbound-time-wait",
                _ => "outbound-connection",
            },
        };
        let sharing = match (has(options.reuseport), self.asked(binder.reuseport)) {
            (true, true) if options.other_user != binder.other_user => "reuseport-other-user",
            (true, false) | (false, true) => "reuseport-missing",
            (true, true) | (false, false) => right,
        };
        // A listener of the port makes an older connection look accepted; never `exact`.
        let deduced = self.late
            && conflict.certainty == "inferred"
            && matches!(told, "accepted-connection" | "server-time-wait");
        if told != right && told != sharing && !deduced {
            wrong.push(format!("the cause is {told}, but {made:?} is {right}"));
        }
    }
}

/// One side takes both families, the other only IPv4.
fn dual(made: &Made, holder: &Options, binder: &Options) -> bool {
    let (here, there) = (made.local.ip(), binder.at.address());
    let holder_takes_both = here == Ipv6Addr::UNSPECIFIED && !holder.v6only;
    let binder_takes_both = there == Ipv6Addr::UNSPECIFIED && !binder.v6only;
    (holder_takes_both && there.to_canonical().is_ipv4())
        || (here == Ipv4Addr::UNSPECIFIED && binder_takes_both)
}

/// The option is set as things stand in the end.
fn has(flag: Flag) -> bool {
    matches!(flag, Flag::On | Flag::Later)
}
