//! Sockets that give a port back and take another, or the same one in another way.

use anyhow::{Result, ensure};
use portwatch_tests::actor::{Kind, Op, Reply};
use portwatch_tests::stage::PORT;
use portwatch_tests::wait;
use std::time::{Duration, Instant};

use super::duel::{Duel, OTHER, PEER, address, any, has_origin, is, listen, only, open};

/// connect() picked a port, AF_UNSPEC gave it back, bind() took another.
#[test]
fn a_socket_used_again_is_told_by_its_last_port() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    duel.connects_from(OTHER)?;
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
    duel.connects_from(PORT)?;
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
    // The two takings must be told apart by their age.
    let (first, apart) = (Instant::now(), Duration::from_millis(1500));
    wait::until("an age of the first port", 2 * apart, || {
        Ok((first.elapsed() >= apart).then_some(()))
    })?;
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
