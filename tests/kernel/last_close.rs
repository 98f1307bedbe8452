//! Who runs the last close of a socket is not always who had it.

use anyhow::{Result, ensure};
use portwatch_tests::actor::{Kind, Op};
use portwatch_tests::contract::Conflict;
use portwatch_tests::sockets::Row;
use portwatch_tests::stage::PORT;
use portwatch_tests::wait::{self, PATIENCE};

use crate::adversary::duel::{Duel, address, any, is, listen, only, open};
use crate::faults_people::{end, gets_it, overslept};

/// A connection that a child closed, after its parent had: it was the parent's connect() that took the
/// port.
#[test]
fn a_connection_that_a_child_closed_last() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    duel.connects_from(PORT)?;
    let child = u32::try_from(duel.holder.number(&Op::Fork)?)?;
    closed_by_child(duel, child)
}

/// The holder closes its connection, then its child ends: the holder is told.
fn closed_by_child(mut duel: Duel, child: u32) -> Result<()> {
    duel.holder.tell(&Op::Close(1))?;
    end(child)?;
    let conflict = orphaned(&mut duel)?;
    is(&conflict, "orphan", &[(duel.holder_pid(), false)])?;
    duel.end()
}

/// Somebody wants the port once the connection that had it has no process.
fn orphaned(duel: &mut Duel) -> Result<Conflict> {
    let netns = &duel.stage.netns;
    wait::until("the connection's end", PATIENCE, || {
        let rows = netns.sockets()?;
        let left = |row: &Row| row.local.port() == PORT && row.state == "fin_wait2";
        Ok(rows.iter().any(left).then_some(()))
    })?;
    duel.blocked(Kind::Tcp, any(PORT))
}

/// The last close runs in a process that throws away a message with the descriptor, and that never had
/// it: it is not named.
#[test]
fn a_connection_in_a_message_that_is_thrown_away() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    duel.connects_from(PORT)?;
    duel.holder.tell(&Op::Fly(1))?;
    duel.holder.tell(&Op::Close(1))?;
    // It has both ends that the message lies between, and no descriptor of the connection.
    let child = u32::try_from(duel.holder.number(&Op::Fork)?)?;
    let taker = duel.holder_pid();
    duel.holder.kill()?;
    end(child)?;
    let conflict = orphaned(&mut duel)?;
    is(&conflict, "orphan", &[(taker, false)])?;
    duel.end()
}

/// A child of the holder, which has both ends that a message lies between from then on.
fn courier(duel: &mut Duel) -> Result<u32> {
    open(&mut duel.holder, 10, Kind::Udp)?;
    duel.holder.tell(&Op::Fly(10))?;
    Ok(u32::try_from(duel.holder.number(&Op::Fork)?)?)
}

/// The holder accepts a connection, in its slot 2, and listens no more.
fn accepts(duel: &mut Duel) -> Result<()> {
    listen(&mut duel.holder, 1, Kind::Tcp, any(PORT))?;
    open(&mut duel.peer, 2, Kind::Tcp)?;
    let door = address("127.0.0.1", PORT)?;
    duel.peer.tell(&Op::Connect(2, door, false))?;
    duel.holder.tell(&Op::Accept(1, 2))?;
    duel.holder.tell(&Op::Close(1))
}

/// Told of the connection that [`accepts`] made.
fn is_accepted_by(conflict: &Conflict, pid: u32, certainty: &str) -> Result<()> {
    is(conflict, "orphan", &[(pid, false)])?;
    let origin = only(conflict)?.origin.as_deref();
    ensure!(
        origin == Some("accepted") && conflict.certainty == certainty,
        "not {certainty}: {conflict:#?}"
    );
    Ok(())
}

/// Whoever accepts a connection and closes it is proven to have had it: the file is its own.
#[test]
fn an_accepted_connection_of_whoever_closed_it() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    accepts(&mut duel)?;
    duel.holder.tell(&Op::Close(2))?;
    let conflict = orphaned(&mut duel)?;
    is_accepted_by(&conflict, duel.holder_pid(), "exact")?;
    duel.end()
}

/// A child that was forked for the connection had it, as servers do that fork for each.
#[test]
fn an_accepted_connection_that_a_child_inherited() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    accepts(&mut duel)?;
    let child = u32::try_from(duel.holder.number(&Op::Fork)?)?;
    duel.holder.tell(&Op::Close(2))?;
    end(child)?;
    let conflict = orphaned(&mut duel)?;
    is_accepted_by(&conflict, child, "exact")?;
    duel.end()
}

/// The child is older than the connection, and threw away the message that had it. Its listener has
/// ended by then, and may have before the connection came, for all that is known: nobody is named.
#[test]
fn an_accepted_connection_in_a_message_that_is_thrown_away() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    let child = accepts_for_another(&mut duel)?;
    duel.holder.kill()?;
    end(child)?;
    let conflict = orphaned(&mut duel)?;
    is(&conflict, "orphan", &[])?;
    let origin = only(&conflict)?.origin.as_deref();
    ensure!(
        origin == Some("accepted") && conflict.certainty == "inferred",
        "{conflict:#?}"
    );
    duel.end()
}

/// The holder accepts a connection and sends it on, to a process that has the message alone from then
/// on.
fn accepts_for_another(duel: &mut Duel) -> Result<u32> {
    let child = courier(duel)?;
    accepts(duel)?;
    duel.holder.tell(&Op::Fly(2))?;
    duel.holder.tell(&Op::Close(2))?;
    // With its end of the pair, the other one has the message.
    duel.holder.tell(&Op::LetFly)?;
    Ok(child)
}

/// The listener still runs, but it had sent the connection on before: it is not named for it.
#[test]
fn an_accepted_connection_that_was_sent_on() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    let child = accepts_for_another(&mut duel)?;
    end(child)?;
    let conflict = orphaned(&mut duel)?;
    is(&conflict, "orphan", &[])?;
    duel.end()
}

/// The same, and it was there when the call failed.
#[test]
fn an_accepted_connection_that_was_sent_on_and_closed_meanwhile() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    let child = accepts_for_another(&mut duel)?;
    let conflict = overslept(&mut duel, |_, _| end(child))?;
    is(&conflict, "accepted-connection", &[])?;
    duel.end()
}

/// A connection that is older than the tracer: who had it then is told, not the child that closed it
/// last.
#[test]
fn an_older_connection_that_a_child_closed_last() -> Result<()> {
    let Some(mut duel) = Duel::set()? else {
        return Ok(());
    };
    duel.connects_from(PORT)?;
    duel.trace()?;
    let child = u32::try_from(duel.holder.number(&Op::Fork)?)?;
    closed_by_child(duel, child)
}

/// Of several that have an older socket the one that made it is remembered, whatever their numbers.
#[test]
fn an_older_connection_of_several_is_of_whoever_made_it() -> Result<()> {
    let Some(mut duel) = Duel::set()? else {
        return Ok(());
    };
    duel.connects_from(PORT)?;
    // The scan meets processes in the order of their numbers.
    std::fs::write("/proc/sys/kernel/ns_last_pid", "310")?;
    let child = u32::try_from(duel.holder.number(&Op::Fork)?)?;
    ensure!(child < duel.holder_pid(), "{child} is not met first");
    duel.trace()?;
    closed_by_child(duel, child)
}

/// A listener in a message had the port at the failure; whoever threw the message away meanwhile is
/// not named.
#[test]
fn a_listener_in_a_message_that_is_thrown_away_meanwhile() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    let child = courier(&mut duel)?;
    listen(&mut duel.holder, 1, Kind::Tcp, any(PORT))?;
    duel.holder.tell(&Op::Fly(1))?;
    duel.holder.tell(&Op::Close(1))?;
    let conflict = overslept(&mut duel, |holder, binder| {
        holder.kill()?;
        end(child)?;
        gets_it(binder)
    })?;
    is(&conflict, "listener", &[])?;
    ensure!(conflict.certainty == "inferred", "{conflict:#?}");
    duel.end()
}
