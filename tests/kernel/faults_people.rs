//! Holders that leave, change or come in crowds while they are told.

use std::fs;

use anyhow::{Context, Result, ensure};
use portwatch_tests::actor::{Actor, Kind, Op, Opt, Reply};
use portwatch_tests::contract::Conflict;
use portwatch_tests::make;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait::{self, PATIENCE};
use rustix::process::{Pid, Signal, kill_process};

use crate::adversary::duel::{Duel, OTHER, address, any, is, listen, only, open};

/// The tracer does nothing while `meanwhile` happens: the failure's records wait in the ring.
pub(crate) fn while_it_sleeps(
    tracer: &Tracer,
    meanwhile: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let pid = i32::try_from(tracer.pid()).ok().and_then(Pid::from_raw);
    let pid = pid.context("no process id")?;
    kill_process(pid, Signal::STOP)?;
    let done = meanwhile();
    kill_process(pid, Signal::CONT)?;
    done
}

/// The binder is refused while the tracer sleeps, and then `meanwhile` happens; what is told of it.
pub(crate) fn overslept(
    duel: &mut Duel,
    meanwhile: impl FnOnce(&mut Actor, &mut Actor) -> Result<()>,
) -> Result<Conflict> {
    open(&mut duel.binder, 1, Kind::Tcp)?;
    let (holder, binder) = (&mut duel.holder, &mut duel.binder);
    let tracer = duel.tracer.as_ref().context("no tracer")?;
    while_it_sleeps(tracer, || {
        let reply = binder.ask(&Op::Bind(1, any(PORT)))?;
        ensure!(reply == Reply::Refused(libc::EADDRINUSE), "{reply:?}");
        meanwhile(holder, binder)
    })?;
    let event = duel.tracer()?.wait_conflict(PORT)?;
    event.conflict().cloned().context("no conflict")
}

/// The binder, refused before, gets the port.
pub(crate) fn gets_it(binder: &mut Actor) -> Result<()> {
    wait::until("the port", PATIENCE, || {
        Ok((binder.ask(&Op::Bind(1, any(PORT)))? == Reply::Done).then_some(()))
    })
}

/// Waits until whoever starts from now on has another start in /proc, whose clock ticks every 10 ms:
/// nothing else tells two processes with one number apart.
fn is_older_than_a_tick(pid: u32) -> Result<()> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let start = fields.split_whitespace().nth(19).context("no start")?;
    let start: u64 = start.parse()?;
    wait::until("the next tick", PATIENCE, || {
        let uptime = fs::read_to_string("/proc/uptime")?;
        let now = uptime.split_whitespace().next().context("no uptime")?;
        let now: u64 = now.replace('.', "").parse()?;
        Ok((now > start).then_some(()))
    })
}

/// It had the port at the failure and is gone when its name is looked up: it is named by what the
/// kernel had kept, and said to be gone.
#[test]
fn a_holder_that_exits_before_it_is_looked_up() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let mut holder = Actor::start(&stage.netns, "mortal")?;
    listen(&mut holder, 1, Kind::Tcp, any(PORT))?;
    let pid = holder.pid();
    let mut binder = Actor::start(&stage.netns, "binder")?;
    open(&mut binder, 1, Kind::Tcp)?;
    while_it_sleeps(&tracer, || {
        let reply = binder.ask(&Op::Bind(1, any(PORT)))?;
        ensure!(reply == Reply::Refused(libc::EADDRINUSE), "{reply:?}");
        holder.kill()
    })?;
    let event = tracer.wait_conflict(PORT)?;
    let conflict = event.conflict().context("no conflict")?;
    is(conflict, "listener", &[(pid, false)])?;
    let process = &only(conflict)?.processes[0];
    ensure!(
        process.comm == "mortal" && process.alive == Some(false) && process.exe.is_none(),
        "{conflict:#?}"
    );
    tracer.finish()?.check(true)
}

/// The descriptor is closed, its process lives on: it has the socket no more, and no message has it.
#[test]
fn a_holder_that_closes_before_it_is_looked_up() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    listen(&mut duel.holder, 1, Kind::Tcp, any(PORT))?;
    let conflict = overslept(&mut duel, |holder, _| holder.tell(&Op::Close(1)))?;
    is(&conflict, "listener", &[(duel.holder_pid(), false)])?;
    duel.end()
}

/// A child had the socket at the failure, its parent had closed it long before: the parent is named as
/// who opened it, never as who had it.
#[test]
fn a_child_that_exits_before_it_is_looked_up() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    listen(&mut duel.holder, 1, Kind::Tcp, any(PORT))?;
    let child = u32::try_from(duel.holder.number(&Op::Fork)?)?;
    duel.holder.tell(&Op::Close(1))?;
    let conflict = overslept(&mut duel, |_, binder| {
        end(child)?;
        gets_it(binder)
    })?;
    last_had_by(&conflict, "listener", child, duel.holder_pid())?;
    let advice: Vec<&str> = conflict.advice.iter().map(|a| a.id.as_str()).collect();
    ensure!(advice.first() == Some(&"try-again"), "{advice:?}");
    duel.end()
}

/// The first process is the one that had the socket last, the second the one that opened it; neither
/// has it now.
fn last_had_by(conflict: &Conflict, cause: &str, last: u32, opener: u32) -> Result<()> {
    let processes = &only(conflict)?.processes;
    let named: Vec<_> = processes.iter().map(|p| (p.pid, p.has_socket)).collect();
    ensure!(
        conflict.cause == cause && named == [(last, Some(false)), (opener, Some(false))],
        "{last}, then {opener}: {conflict:#?}"
    );
    Ok(())
}

/// Ends a process that a helper started.
pub(crate) fn end(pid: u32) -> Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    Ok(kill_process(pid.context("no process id")?, Signal::KILL)?)
}

/// The number of the dead holder is another process's by the time it is looked up.
#[test]
fn a_number_that_is_another_processs_by_then() -> Result<()> {
    const LAST: &str = "/proc/sys/kernel/ns_last_pid";
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    // Others start processes too: now and then they are faster.
    for round in 0..20 {
        let port = 20_000 + round;
        let mut holder = Actor::start(&duel.stage.netns, "mortal")?;
        listen(&mut holder, 1, Kind::Tcp, any(port))?;
        let pid = holder.pid();
        is_older_than_a_tick(pid)?;
        let mut heir = None;
        open(&mut duel.binder, u32::from(port), Kind::Tcp)?;
        let (stage, binder) = (&duel.stage, &mut duel.binder);
        let tracer = duel.tracer.as_ref().context("no tracer")?;
        while_it_sleeps(tracer, || {
            let reply = binder.ask(&Op::Bind(u32::from(port), any(port)))?;
            ensure!(reply == Reply::Refused(libc::EADDRINUSE), "{reply:?}");
            holder.kill()?;
            fs::write(LAST, (pid - 1).to_string())?;
            heir = Some(Actor::start(&stage.netns, "stranger")?);
            Ok(())
        })?;
        let event = duel.tracer()?.wait_conflict(port)?;
        let conflict = event.conflict().context("no conflict")?;
        let process = only(conflict)?.processes.first();
        ensure!(
            process.is_none_or(|process| {
                process.comm == "mortal" && process.alive == Some(false) && process.exe.is_none()
            }),
            "{conflict:#?}"
        );
        if heir.is_some_and(|heir| heir.pid() == pid) {
            return duel.end();
        }
    }
    anyhow::bail!("the number never came again")
}

/// Two have the port, one of them blocks: the other is not named at all.
#[test]
fn of_two_holders_only_the_one_that_blocks_is_named() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let mut right = Actor::start(&stage.netns, "right")?;
    let mut wrong = Actor::start(&stage.netns, "wrong")?;
    listen(&mut right, 1, Kind::Tcp, address("127.0.0.1", PORT)?)?;
    listen(&mut wrong, 1, Kind::Tcp, address("127.0.0.2", PORT)?)?;
    let mut binder = Actor::start(&stage.netns, "binder")?;
    open(&mut binder, 1, Kind::Tcp)?;
    let reply = binder.ask(&Op::Bind(1, address("127.0.0.1", PORT)?))?;
    ensure!(reply == Reply::Refused(libc::EADDRINUSE), "{reply:?}");
    let event = tracer.wait_conflict(PORT)?;
    let conflict = event.conflict().context("no conflict")?;
    is(conflict, "listener", &[(right.pid(), true)])?;
    ensure!(
        conflict.holders_total == 2 && !event.raw.to_string().contains("wrong"),
        "{conflict:#?}"
    );
    tracer.finish()?.check(true)
}

/// In the kernel's list the listener comes behind all connections that it accepted, or will.
#[test]
fn fifty_thousand_children_and_their_listener() -> Result<()> {
    const CLIENTS: [&str; 3] = ["127.0.1.1", "127.0.1.2", "127.0.1.3"];
    const EACH: u32 = 17_000;
    const ACCEPTED: u32 = 10_000;
    let Some(stage) = Stage::alone()? else {
        return Ok(());
    };
    stage.netns.sysctl("net/core/somaxconn", "65535")?;
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let mut holder = Actor::start(&stage.netns, "holder")?;
    let door = address("127.0.0.1", 8080)?;
    open(&mut holder, 1, Kind::Tcp)?;
    holder.tell(&Op::Set(1, Opt::Reuseaddr, 1))?;
    holder.tell(&Op::Bind(1, door))?;
    holder.tell(&Op::Backlog(1, 65535))?;
    let mut clients = Vec::new();
    for from in CLIENTS {
        let mut client = Actor::start(&stage.netns, "clients")?;
        client.tell(&Op::Crowd(door, from.parse()?, EACH))?;
        clients.push(client);
    }
    holder.tell(&Op::AcceptMany(1, ACCEPTED))?;
    let mut binder = Actor::start(&stage.netns, "binder")?;
    let mut told = |slot, reuseaddr| -> Result<Conflict> {
        open(&mut binder, slot, Kind::Tcp)?;
        binder.tell(&Op::Set(slot, Opt::Reuseaddr, reuseaddr))?;
        let reply = binder.ask(&Op::Bind(slot, any(8080)))?;
        ensure!(reply == Reply::Refused(libc::EADDRINUSE), "{reply:?}");
        let event = tracer.wait_conflict(8080)?;
        tracer.take_seen();
        event.conflict().cloned().context("no conflict")
    };
    let all = u64::from(EACH) * CLIENTS.len() as u64 + 1;
    let conflict = told(1, 1)?;
    is(&conflict, "listener", &[(holder.pid(), true)])?;
    ensure!(
        conflict.holders_total == all && conflict.truncated != Some(true),
        "{conflict:#?}"
    );
    // Without SO_REUSEADDR every one of them blocks: the listener first, a few, and a count.
    let conflict = told(2, 0)?;
    let first = &conflict.holders[0];
    ensure!(
        conflict.cause == "listener"
            && conflict.certainty == "exact"
            && first.kind == "listener"
            && first.processes[0].pid == holder.pid()
            && conflict.holders_total == all
            && conflict.holders.len() < 200
            && conflict.truncated == Some(true),
        "{} of {} holders, first {first:#?}",
        conflict.holders.len(),
        conflict.holders_total
    );
    let trace = tracer.finish()?;
    ensure!(trace.status.success(), "{}", trace.talk);
    Ok(())
}

/// The maps are full, nothing is known of who took what: nobody is named, or the right one.
#[test]
fn an_owner_map_without_room_names_no_stranger() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &["--owners", "1024"])?;
    // Two processes, since each may have but so many descriptors.
    let mut crowd = [
        Actor::start(&stage.netns, "crowd")?,
        Actor::start(&stage.netns, "crowd")?,
    ];
    for slot in 0..1200 {
        let one = &mut crowd[slot as usize % 2];
        open(one, slot, Kind::Tcp)?;
        one.tell(&Op::Bind(slot, any(20_000 + u16::try_from(slot)?)))?;
    }
    let made = make::time_wait(&stage.netns)?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    crate::play::refused(&mut binder, "tcp4")?;
    let event = tracer.wait_conflict(PORT)?;
    let conflict = event.conflict().context("no conflict")?;
    let holder = only(conflict)?;
    ensure!(
        holder.processes.iter().all(|p| p.pid == made.holder.pid())
            && (conflict.cause == "outbound-time-wait" || conflict.cause == "unknown"),
        "{conflict:#?}"
    );
    tracer.finish()?;
    Ok(())
}

/// Sockets are closed and their ports taken by another process while the start-up scan runs.
#[test]
fn a_scan_that_races_with_closes() -> Result<()> {
    const PORTS: u16 = 300;
    let Some(mut duel) = Duel::set()? else {
        return Ok(());
    };
    let mut heir = Actor::start(&duel.stage.netns, "heir")?;
    for number in 0..PORTS {
        listen(
            &mut duel.holder,
            u32::from(number),
            Kind::Tcp,
            any(20_000 + number),
        )?;
    }
    let mut holder = std::mem::replace(&mut duel.holder, Actor::start(&duel.stage.netns, "none")?);
    let racing = std::thread::spawn(move || -> Result<(Actor, Actor)> {
        for number in 0..PORTS {
            holder.tell(&Op::Abort(u32::from(number)))?;
            listen(
                &mut heir,
                u32::from(number),
                Kind::Tcp,
                any(20_000 + number),
            )?;
        }
        Ok((holder, heir))
    });
    duel.trace()?;
    let joined = racing.join();
    let (_holder, heir) = joined.map_err(|_| anyhow::anyhow!("the racer panicked"))??;
    for number in 0..PORTS {
        let conflict = duel.blocked(Kind::Tcp, any(20_000 + number))?;
        is(&conflict, "listener", &[(heir.pid(), true)])?;
    }
    duel.free(Kind::Tcp, any(OTHER))?;
    duel.end()
}
