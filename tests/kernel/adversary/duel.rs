//! A holder against a binder, and what is told of it.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use portwatch_tests::actor::{Actor, Kind, Op, Opt, Reply, Slot};
use portwatch_tests::contract::{Conflict, Holder};
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::Tracer;

/// The port of a second fight.
pub(crate) const OTHER: u16 = PORT + 1;
/// Where the peer listens.
pub(crate) const PEER: u16 = 7100;

/// A holder, a binder and a peer before the tracer.
pub(crate) struct Duel {
    pub(crate) tracer: Option<Tracer>,
    pub(crate) holder: Actor,
    pub(crate) binder: Actor,
    pub(crate) peer: Actor,
    next: Slot,
    pub(crate) stage: Stage,
}

impl Duel {
    /// Everything but the tracer; `None` where nothing can run.
    pub(crate) fn set() -> Result<Option<Self>> {
        let Some(stage) = Stage::bare()? else {
            return Ok(None);
        };
        Ok(Some(Self {
            tracer: None,
            holder: Actor::start(&stage.netns, "holder")?,
            binder: Actor::start(&stage.netns, "binder")?,
            peer: Actor::start(&stage.netns, "peer")?,
            next: 1000,
            stage,
        }))
    }

    /// With the tracer.
    pub(crate) fn traced() -> Result<Option<Self>> {
        let Some(mut duel) = Self::set()? else {
            return Ok(None);
        };
        duel.trace()?;
        Ok(Some(duel))
    }

    pub(crate) fn trace(&mut self) -> Result<()> {
        self.tracer = Some(Tracer::start(&self.stage.netns, &["--neighbours"])?);
        Ok(())
    }

    pub(crate) fn tracer(&mut self) -> Result<&mut Tracer> {
        self.tracer.as_mut().context("no tracer")
    }

    pub(crate) fn pin(&mut self, port: u16) -> Result<()> {
        self.peer.tell(&Op::Range(port, port))
    }

    /// A peer that listens, to connect to.
    pub(crate) fn door(&mut self) -> Result<SocketAddr> {
        let at = address("127.0.0.3", PEER)?;
        listen(&mut self.peer, 1, Kind::Tcp, at)?;
        Ok(at)
    }

    /// The holder connects, in its slot 1, from the port, which the kernel picks.
    pub(crate) fn connects_from(&mut self, port: u16) -> Result<()> {
        let door = self.door()?;
        open(&mut self.holder, 1, Kind::Tcp)?;
        self.pin(port)?;
        self.holder.tell(&Op::Connect(1, door, false))
    }

    pub(crate) fn try_bind(&mut self, kind: Kind, at: SocketAddr) -> Result<Reply> {
        self.next += 1;
        let slot = self.next;
        open(&mut self.binder, slot, kind)?;
        if kind != Kind::Udp {
            self.binder.tell(&Op::Set(slot, Opt::Reuseaddr, 1))?;
        }
        let reply = self.binder.ask(&Op::Bind(slot, at))?;
        self.binder.tell(&Op::Abort(slot))?;
        Ok(reply)
    }

    /// The binder is refused; what is told of it.
    pub(crate) fn blocked(&mut self, kind: Kind, at: SocketAddr) -> Result<Conflict> {
        let reply = self.try_bind(kind, at)?;
        ensure!(
            reply == Reply::Refused(libc::EADDRINUSE),
            "{at}: {reply:?} is no conflict"
        );
        let event = self.tracer()?.wait_conflict(at.port())?;
        self.tracer()?.take_seen();
        event.conflict().cloned().context("no conflict")
    }

    /// The binder gets the port.
    pub(crate) fn free(&mut self, kind: Kind, at: SocketAddr) -> Result<()> {
        let reply = self.try_bind(kind, at)?;
        ensure!(reply == Reply::Done, "{at} is not free: {reply:?}");
        Ok(())
    }

    pub(crate) fn holder_pid(&self) -> u32 {
        self.holder.pid()
    }

    pub(crate) fn end(self) -> Result<()> {
        let tracer = self.tracer.context("no tracer")?;
        let trace = tracer.finish()?;
        ensure!(trace.status.success(), "{}", trace.talk);
        Ok(())
    }
}

pub(crate) fn address(ip: &str, port: u16) -> Result<SocketAddr> {
    Ok(SocketAddr::new(ip.parse()?, port))
}

pub(crate) fn any(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}

pub(crate) fn open(actor: &mut Actor, slot: Slot, kind: Kind) -> Result<()> {
    actor.tell(&opening(slot, kind))
}

pub(crate) fn opening(slot: Slot, kind: Kind) -> Op {
    Op::Open {
        slot,
        kind,
        v6: false,
        uid: 0,
    }
}

pub(crate) fn listen(actor: &mut Actor, slot: Slot, kind: Kind, at: SocketAddr) -> Result<()> {
    open(actor, slot, kind)?;
    actor.tell(&Op::Bind(slot, at))?;
    actor.tell(&Op::Listen(slot))
}

/// The one holder that is told.
pub(crate) fn only(conflict: &Conflict) -> Result<&Holder> {
    let [holder] = conflict.holders.as_slice() else {
        bail!("not one holder: {conflict:#?}");
    };
    ensure!(holder.blocking, "it does not block: {conflict:#?}");
    Ok(holder)
}

/// The cause, and the processes that are named, as pid and whether they have the socket.
pub(crate) fn is(conflict: &Conflict, cause: &str, processes: &[(u32, bool)]) -> Result<()> {
    let holder = only(conflict)?;
    let mut told: Vec<(u32, bool)> = holder
        .processes
        .iter()
        .map(|process| (process.pid, process.has_socket == Some(true)))
        .collect();
    told.sort_unstable();
    let mut right = processes.to_vec();
    right.sort_unstable();
    ensure!(
        conflict.cause == cause && told == right,
        "not {cause} by {right:?}: {conflict:#?}"
    );
    Ok(())
}

pub(crate) fn has_origin(conflict: &Conflict, origin: &str) -> Result<()> {
    let told = only(conflict)?.origin.as_deref();
    ensure!(told == Some(origin), "not {origin}: {conflict:#?}");
    Ok(())
}

impl Duel {
    /// All that is told of `port` up to a conflict over `fence` names `pid` or nobody.
    pub(crate) fn blocked_quietly(&mut self, fence: u16, port: u16, pid: u32) -> Result<()> {
        let reply = self.try_bind(Kind::Tcp, any(fence))?;
        ensure!(reply != Reply::Done, "no fence");
        let tracer = self.tracer()?;
        tracer.wait_conflict(fence)?;
        for event in tracer.take_seen() {
            let Some(conflict) = event.conflict() else {
                continue;
            };
            let strangers = conflict
                .holders
                .iter()
                .flat_map(|holder| &holder.processes)
                .any(|process| process.pid != pid);
            ensure!(
                conflict.wanted.port != Some(port) || !strangers,
                "{conflict:#?}"
            );
        }
        Ok(())
    }
}
