//! Ways to make portwatch name the wrong process, or miss the right one.

use std::io::{self, Write};
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use portwatch_tests::actor::{Actor, Kind, Op, Opt, Reply, Slot};
use portwatch_tests::contract::{Conflict, Holder};
use portwatch_tests::netns::NetNs;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::Tracer;

/// The port of a second fight.
const OTHER: u16 = PORT + 1;
/// Where the peer listens.
const PEER: u16 = 7100;

/// A holder, a binder and a peer before the tracer.
struct Duel {
    tracer: Option<Tracer>,
    holder: Actor,
    binder: Actor,
    peer: Actor,
    next: Slot,
    stage: Stage,
}

impl Duel {
    /// Everything but the tracer; `None` where nothing can run.
    fn set() -> Result<Option<Self>> {
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
    fn traced() -> Result<Option<Self>> {
        let Some(mut duel) = Self::set()? else {
            return Ok(None);
        };
        duel.trace()?;
        Ok(Some(duel))
    }

    fn trace(&mut self) -> Result<()> {
        self.tracer = Some(Tracer::start(&self.stage.netns, &["--neighbours"])?);
        Ok(())
    }

    fn tracer(&mut self) -> Result<&mut Tracer> {
        self.tracer.as_mut().context("no tracer")
    }

    fn pin(&mut self, port: u16) -> Result<()> {
        self.peer.tell(&Op::Range(port, port))
    }

    /// A peer that listens, to connect to.
    fn door(&mut self) -> Result<SocketAddr> {
        let at = address("127.0.0.3", PEER)?;
        listen(&mut self.peer, 1, Kind::Tcp, at)?;
        Ok(at)
    }

    fn try_bind(&mut self, kind: Kind, at: SocketAddr) -> Result<Reply> {
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
    fn blocked(&mut self, kind: Kind, at: SocketAddr) -> Result<Conflict> {
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
    fn free(&mut self, kind: Kind, at: SocketAddr) -> Result<()> {
        let reply = self.try_bind(kind, at)?;
        ensure!(reply == Reply::Done, "{at} is not free: {reply:?}");
        Ok(())
    }

    fn holder_pid(&self) -> u32 {
        self.holder.pid()
    }

    fn end(self) -> Result<()> {
        let tracer = self.tracer.context("no tracer")?;
        let trace = tracer.finish()?;
        ensure!(trace.status.success(), "{}", trace.talk);
        Ok(())
    }
}

fn address(ip: &str, port: u16) -> Result<SocketAddr> {
    Ok(SocketAddr::new(ip.parse()?, port))
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}

fn open(actor: &mut Actor, slot: Slot, kind: Kind) -> Result<()> {
    actor.tell(&opening(slot, kind))
}

fn opening(slot: Slot, kind: Kind) -> Op {
    Op::Open {
        slot,
        kind,
        v6: false,
        uid: 0,
    }
}

fn listen(actor: &mut Actor, slot: Slot, kind: Kind, at: SocketAddr) -> Result<()> {
    open(actor, slot, kind)?;
    actor.tell(&Op::Bind(slot, at))?;
    actor.tell(&Op::Listen(slot))
}

/// The one holder that is told.
fn only(conflict: &Conflict) -> Result<&Holder> {
    let [holder] = conflict.holders.as_slice() else {
        bail!("not one holder: {conflict:#?}");
    };
    ensure!(holder.blocking, "it does not block: {conflict:#?}");
    Ok(holder)
}

/// The cause, and the processes that are named, as pid and whether they have the socket.
fn is(conflict: &Conflict, cause: &str, processes: &[(u32, bool)]) -> Result<()> {
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

fn has_origin(conflict: &Conflict, origin: &str) -> Result<()> {
    let told = only(conflict)?.origin.as_deref();
    ensure!(told == Some(origin), "not {origin}: {conflict:#?}");
    Ok(())
}

#[test]
fn a_forked_child_shares_the_socket() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    listen(&mut duel.holder, 1, Kind::Tcp, any(PORT))?;
    let parent = duel.holder_pid();
    let child = u32::try_from(duel.holder.number(&Op::Fork)?)?;
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    is(&conflict, "listener", &[(parent, true), (child, true)])?;
    duel.end()
}

#[test]
fn a_forked_child_has_the_socket_that_its_parent_closed() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    listen(&mut duel.holder, 1, Kind::Tcp, any(PORT))?;
    let parent = duel.holder_pid();
    let child = u32::try_from(duel.holder.number(&Op::Fork)?)?;
    duel.holder.tell(&Op::Close(1))?;
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    let told = &only(&conflict)?.processes;
    ensure!(
        told.first().is_some_and(|first| first.pid == child)
            && told
                .iter()
                .skip(1)
                .all(|process| { process.pid == parent && process.has_socket == Some(false) }),
        "{conflict:#?}"
    );
    duel.end()
}

/// The descriptor is in a message that nobody reads: no process has it.
#[test]
fn a_descriptor_in_flight_is_nobodys() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    listen(&mut duel.holder, 1, Kind::Tcp, any(PORT))?;
    duel.holder.tell(&Op::Fly(1))?;
    duel.holder.tell(&Op::Close(1))?;
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    let pid = duel.holder_pid();
    let told = &only(&conflict)?.processes;
    ensure!(
        told.iter()
            .all(|process| process.pid == pid && process.has_socket == Some(false)),
        "{conflict:#?}"
    );
    duel.end()
}

/// /proc/PID/fd shows the leader's descriptors only.
#[test]
fn a_thread_with_descriptors_of_its_own_is_told_as_its_process() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    let steps = vec![opening(1, Kind::Tcp), Op::Bind(1, any(PORT)), Op::Listen(1)];
    duel.holder.tell(&Op::Thread(steps, true))?;
    let pid = duel.holder_pid();
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    is(&conflict, "listener", &[(pid, true)])?;
    duel.end()
}

#[test]
fn a_thread_with_descriptors_of_its_own_is_found_later() -> Result<()> {
    let Some(mut duel) = Duel::set()? else {
        return Ok(());
    };
    let steps = vec![opening(1, Kind::Tcp), Op::Bind(1, any(PORT)), Op::Listen(1)];
    duel.holder.tell(&Op::Thread(steps, true))?;
    duel.trace()?;
    let pid = duel.holder_pid();
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    is(&conflict, "listener", &[(pid, true)])?;
    duel.end()
}

#[test]
fn an_exec_keeps_the_process() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    listen(&mut duel.holder, 1, Kind::Tcp, any(PORT))?;
    duel.holder.tell(&Op::Exec(vec![1]))?;
    duel.holder.look(1)?;
    let pid = duel.holder_pid();
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    is(&conflict, "listener", &[(pid, true)])?;
    let process = &only(&conflict)?.processes[0];
    ensure!(process.comm == "after-exec", "{conflict:#?}");
    duel.end()
}

#[test]
fn dup2_closes_one_socket_and_shares_the_other() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    listen(&mut duel.holder, 1, Kind::Tcp, any(PORT))?;
    listen(&mut duel.holder, 2, Kind::Tcp, any(OTHER))?;
    duel.holder.tell(&Op::Dup2(1, 2))?;
    duel.free(Kind::Tcp, any(OTHER))?;
    duel.holder.tell(&Op::Close(1))?;
    let pid = duel.holder_pid();
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    is(&conflict, "listener", &[(pid, true)])?;
    duel.end()
}

/// Whatever is told of a holder that dies meanwhile, it is never another process.
#[test]
fn a_dying_holder_is_never_another() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    for round in 0..30 {
        let port = 20_000 + round;
        let mut holder = Actor::start(&duel.stage.netns, "mortal")?;
        listen(&mut holder, 1, Kind::Tcp, any(port))?;
        let pid = holder.pid();
        let dying = std::thread::spawn(move || holder.kill());
        while duel.try_bind(Kind::Tcp, any(port))? != Reply::Done {}
        dying
            .join()
            .map_err(|_| anyhow::anyhow!("the killer panicked"))??;
        listen(&mut duel.holder, 1, Kind::Tcp, any(OTHER))?;
        duel.blocked_quietly(OTHER, port, pid)?;
        duel.holder.tell(&Op::Abort(1))?;
    }
    duel.end()
}

impl Duel {
    /// All that is told of `port` up to a conflict over `fence` names `pid` or nobody.
    fn blocked_quietly(&mut self, fence: u16, port: u16, pid: u32) -> Result<()> {
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

#[test]
fn another_namespace_with_the_port_is_no_holder() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    let elsewhere = NetNs::new()?;
    let mut stranger = Actor::start(&elsewhere, "stranger")?;
    listen(&mut stranger, 1, Kind::Tcp, any(PORT))?;
    listen(&mut stranger, 2, Kind::Tcp, any(OTHER))?;
    duel.free(Kind::Tcp, any(OTHER))?;
    listen(&mut duel.holder, 1, Kind::Tcp, any(PORT))?;
    let pid = duel.holder_pid();
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    is(&conflict, "listener", &[(pid, true)])?;
    duel.end()
}

/// connect() picked a port, AF_UNSPEC gave it back, bind() took another.
#[test]
fn a_socket_used_again_is_told_by_its_last_port() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    let door = duel.door()?;
    open(&mut duel.holder, 1, Kind::Tcp)?;
    duel.pin(OTHER)?;
    duel.holder.tell(&Op::Connect(1, door, false))?;
    duel.holder.tell(&Op::Disconnect(1))?;
    duel.free(Kind::Tcp, any(OTHER))?;
    duel.holder.tell(&Op::Bind(1, any(PORT)))?;
    let pid = duel.holder_pid();
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    is(&conflict, "bound-not-listening", &[(pid, true)])?;
    has_origin(&conflict, "explicit-bind")?;
    duel.end()
}

/// The same port both times.
#[test]
fn a_port_taken_again_is_told_by_the_last_call() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    let door = duel.door()?;
    open(&mut duel.holder, 1, Kind::Tcp)?;
    duel.pin(PORT)?;
    duel.holder.tell(&Op::Connect(1, door, false))?;
    duel.holder.tell(&Op::Disconnect(1))?;
    duel.holder.tell(&Op::Bind(1, any(PORT)))?;
    let pid = duel.holder_pid();
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    is(&conflict, "bound-not-listening", &[(pid, true)])?;
    has_origin(&conflict, "explicit-bind")?;
    duel.end()
}

#[test]
fn bind_zero_disconnected_and_connected_again_is_outbound() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    let door = duel.door()?;
    open(&mut duel.holder, 1, Kind::Tcp)?;
    duel.pin(OTHER)?;
    duel.holder.tell(&Op::Bind(1, any(0)))?;
    duel.holder.tell(&Op::Connect(1, door, false))?;
    duel.holder.tell(&Op::Disconnect(1))?;
    duel.pin(PORT)?;
    duel.holder.tell(&Op::Connect(1, door, false))?;
    let pid = duel.holder_pid();
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    is(&conflict, "outbound-connection", &[(pid, true)])?;
    has_origin(&conflict, "ephemeral-connect")?;
    duel.end()
}

/// UDP gives an ephemeral port back with AF_UNSPEC, and takes the next with a send.
#[test]
fn udp_disconnected_and_autobound_is_told_by_the_send() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    let there = address("127.0.0.3", PEER)?;
    open(&mut duel.holder, 1, Kind::Udp)?;
    duel.pin(OTHER)?;
    duel.holder.tell(&Op::Connect(1, there, false))?;
    duel.holder.tell(&Op::Disconnect(1))?;
    duel.free(Kind::Udp, any(OTHER))?;
    duel.pin(PORT)?;
    duel.holder.tell(&Op::Send(1, there))?;
    let pid = duel.holder_pid();
    let conflict = duel.blocked(Kind::Udp, any(PORT))?;
    is(&conflict, "outbound-connection", &[(pid, true)])?;
    has_origin(&conflict, "ephemeral-autobind")?;
    duel.end()
}

/// A failed connect() gives the port back; the next one takes another.
#[test]
fn a_second_connect_is_told_with_its_own_port() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    let closed = address("127.0.0.3", PEER + 1)?;
    let door = duel.door()?;
    open(&mut duel.holder, 1, Kind::Tcp)?;
    duel.pin(OTHER)?;
    let refused = duel.holder.ask(&Op::Connect(1, closed, false))?;
    ensure!(refused == Reply::Refused(libc::ECONNREFUSED), "{refused:?}");
    std::thread::sleep(std::time::Duration::from_millis(1500));
    duel.pin(PORT)?;
    duel.holder.tell(&Op::Connect(1, door, false))?;
    let pid = duel.holder_pid();
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    is(&conflict, "outbound-connection", &[(pid, true)])?;
    let held = only(&conflict)?.held_ms;
    ensure!(held.is_some_and(|held| held < 1500), "{conflict:#?}");
    duel.end()
}

/// A listener that stopped listening is bound only.
#[test]
fn a_listener_that_stopped_is_bound_only() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    listen(&mut duel.holder, 1, Kind::Tcp, any(PORT))?;
    duel.holder.tell(&Op::Disconnect(1))?;
    let pid = duel.holder_pid();
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    is(&conflict, "bound-not-listening", &[(pid, true)])?;
    duel.end()
}

/// fchown() changes the user that SO_REUSEPORT compares.
#[test]
fn a_socket_given_to_another_user_blocks() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    open(&mut duel.holder, 1, Kind::Tcp)?;
    duel.holder.tell(&Op::Set(1, Opt::Reuseport, 1))?;
    duel.holder.tell(&Op::Chown(1, 65534))?;
    duel.holder.tell(&Op::Bind(1, any(PORT)))?;
    open(&mut duel.binder, 1, Kind::Tcp)?;
    duel.binder.tell(&Op::Set(1, Opt::Reuseport, 1))?;
    let reply = duel.binder.ask(&Op::Bind(1, any(PORT)))?;
    ensure!(reply == Reply::Refused(libc::EADDRINUSE), "{reply:?}");
    let event = duel.tracer()?.wait_conflict(PORT)?;
    let conflict = event.conflict().context("no conflict")?;
    let holder = only(conflict)?;
    ensure!(
        holder.uid == Some(65534) && holder.processes.len() == 1,
        "{conflict:#?}"
    );
    duel.end()
}

#[test]
fn multipath_tcp_is_told_like_tcp() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    if duel.holder.ask(&opening(1, Kind::Mptcp))? != Reply::Done {
        writeln!(io::stderr(), "SKIPPED: this kernel has no MPTCP")?;
        return Ok(());
    }
    duel.holder.tell(&Op::Bind(1, any(PORT)))?;
    duel.holder.tell(&Op::Listen(1))?;
    let pid = duel.holder_pid();
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    is(&conflict, "listener", &[(pid, true)])?;
    let door = duel.door()?;
    open(&mut duel.holder, 2, Kind::Mptcp)?;
    duel.pin(OTHER)?;
    duel.holder.tell(&Op::Connect(2, door, false))?;
    let conflict = duel.blocked(Kind::Mptcp, any(OTHER))?;
    is(&conflict, "outbound-connection", &[(pid, true)])?;
    duel.end()
}

/// The TIME_WAIT is older than the tracer; whoever listens on another address since then did not
/// leave it.
#[test]
fn an_older_time_wait_is_not_the_next_listeners() -> Result<()> {
    let Some(mut duel) = Duel::set()? else {
        return Ok(());
    };
    let here = address("127.0.0.1", PORT)?;
    listen(&mut duel.holder, 1, Kind::Tcp, here)?;
    open(&mut duel.peer, 1, Kind::Tcp)?;
    duel.peer.tell(&Op::Connect(1, here, false))?;
    duel.holder.tell(&Op::Accept(1, 2))?;
    duel.holder.tell(&Op::Close(2))?;
    duel.peer.tell(&Op::Close(1))?;
    duel.holder.tell(&Op::Close(1))?;
    duel.trace()?;
    listen(&mut duel.peer, 2, Kind::Tcp, address("127.0.0.2", PORT)?)?;
    let conflict = duel.blocked(Kind::Tcp, here)?;
    let blocking = conflict.holders.iter().filter(|holder| holder.blocking);
    let named: Vec<u32> = blocking
        .flat_map(|holder| &holder.processes)
        .map(|process| process.pid)
        .collect();
    ensure!(
        conflict.holders[0].state == "time_wait" && named.is_empty(),
        "{conflict:#?}"
    );
    duel.end()
}
