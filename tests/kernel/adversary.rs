//! Ways to make portwatch name the wrong process, or miss the right one.

mod again;
pub(crate) mod duel;

use std::io::{self, Write};

use anyhow::{Context, Result, ensure};
use portwatch_tests::actor::{Actor, Kind, Op, Opt, Reply};
use portwatch_tests::netns::NetNs;
use portwatch_tests::stage::PORT;

use duel::{Duel, OTHER, address, any, is, listen, only, open, opening};

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

/// TCP_FASTOPEN_CONNECT: connect() takes the port, and the first send, which anybody may make, sends
/// the SYN. The port is of whoever called connect().
#[test]
fn a_connection_that_waits_for_its_first_send() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    // Without a cookie of the server.
    duel.stage.netns.sysctl("net/ipv4/tcp_fastopen", "5")?;
    let door = duel.door()?;
    open(&mut duel.holder, 1, Kind::Tcp)?;
    duel.holder.tell(&Op::Set(1, Opt::FastopenConnect, 1))?;
    duel.pin(PORT)?;
    duel.holder.tell(&Op::Connect(1, door, false))?;
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    is(
        &conflict,
        "outbound-connection",
        &[(duel.holder_pid(), true)],
    )?;
    let holder = only(&conflict)?;
    ensure!(
        holder.state == "syn_sent" && holder.since_source.as_deref() == Some("assigned"),
        "{conflict:#?}"
    );
    duel.end()
}
