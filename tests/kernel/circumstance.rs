//! Causes that lie in more than the socket: who has it, and whose options do not go together.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use portwatch_tests::actor::{Actor, Kind, Op, Opt, Reply};
use portwatch_tests::contract::Conflict;
use portwatch_tests::machine::kernel_before;
use portwatch_tests::make;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait;

use crate::adversary::duel::{Duel, any, is, listen, only, open};
use crate::play::refused;

/// The command that is printed for it, run as it stands.
pub(crate) fn run_advice(conflict: &Conflict, id: &str) -> Result<()> {
    let advice = conflict.advice.iter().find(|advice| advice.id == id);
    let command = advice.and_then(|advice| advice.command.as_deref());
    let command = command.with_context(|| format!("no command of {id}: {conflict:#?}"))?;
    let output = Command::new("sh").args(["-c", command]).output()?;
    ensure!(output.status.success(), "{command}: {output:?}");
    Ok(())
}

/// The opener is dead, `sleep` has its listener: both are named, and the printed command frees the
/// port.
#[test]
fn an_inherited_listener_names_both_and_is_freed_by_the_command() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let mut made = make::listener(&stage.netns)?;
    let child = u32::try_from(made.holder.tell_number("lend s")?)?;
    let opener = made.holder.pid();
    made.exit_holder()?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    refused(&mut binder, "tcp4")?;
    let event = tracer.wait_conflict(PORT)?;
    let conflict = event.conflict().context("no conflict")?;
    is(
        conflict,
        "inherited-descriptor",
        &[(opener, false), (child, true)],
    )?;
    let [heir, dead] = only(conflict)?.processes.as_slice() else {
        anyhow::bail!("{conflict:#?}");
    };
    ensure!(
        heir.comm == "sleep" && heir.alive == Some(true) && dead.alive == Some(false),
        "{conflict:#?}"
    );
    run_advice(conflict, "kill-child")?;
    binder.open("again", "tcp4", &["reuseaddr"])?;
    wait::until("the port", wait::PATIENCE, || {
        let answer = binder.ask(&format!("bind again 0.0.0.0:{PORT}"))?;
        Ok(answer.is_ok().then_some(()))
    })?;
    tracer.finish()?.check(true)
}

/// The same, older than the tracer in part: the opener dies under its eyes.
#[test]
fn an_older_listener_is_inherited_as_well() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut made = make::listener(&stage.netns)?;
    let child = u32::try_from(made.holder.tell_number("lend s")?)?;
    let opener = made.holder.pid();
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    made.exit_holder()?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    refused(&mut binder, "tcp4")?;
    let event = tracer.wait_conflict(PORT)?;
    let conflict = event.conflict().context("no conflict")?;
    is(
        conflict,
        "inherited-descriptor",
        &[(opener, false), (child, true)],
    )?;
    run_advice(conflict, "kill-child")?;
    tracer.finish()?.check(true)
}

#[test]
fn a_descriptor_in_an_unread_message() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    listen(&mut duel.holder, 1, Kind::Tcp, any(PORT))?;
    duel.holder.tell(&Op::Fly(1))?;
    let pid = duel.holder_pid();
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    is(&conflict, "listener", &[(pid, true)])?;
    // At once, while that answer is still fresh.
    duel.holder.tell(&Op::Close(1))?;
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    is(&conflict, "descriptor-in-flight", &[(pid, false)])?;
    ensure!(only(&conflict)?.kind == "in-flight", "{conflict:#?}");
    duel.end()
}

/// No hook and no scan has ever met it: nobody is named.
#[test]
fn an_older_descriptor_in_an_unread_message() -> Result<()> {
    let Some(mut duel) = Duel::set()? else {
        return Ok(());
    };
    for (slot, kind) in [(1, Kind::Tcp), (2, Kind::Udp)] {
        open(&mut duel.holder, slot, kind)?;
        duel.holder.tell(&Op::Bind(slot, any(PORT)))?;
        duel.holder.tell(&Op::Fly(slot))?;
        duel.holder.tell(&Op::Close(slot))?;
    }
    duel.trace()?;
    // Before 6.8 sock_diag shows no TCP socket that is bound and does not listen, so that nobody can
    // say whether it is still there (docs/kernel-support.md).
    let tcp = if kernel_before((6, 8))? {
        ("bound-not-listening", "bound")
    } else {
        ("descriptor-in-flight", "in-flight")
    };
    let udp = ("descriptor-in-flight", "in-flight");
    for (kind, (cause, told)) in [(Kind::Tcp, tcp), (Kind::Udp, udp)] {
        let conflict = duel.blocked(kind, any(PORT))?;
        is(&conflict, cause, &[])?;
        ensure!(
            only(&conflict)?.kind == told && conflict.certainty == "inferred",
            "{conflict:#?}"
        );
    }
    duel.end()
}

#[test]
fn reuseport_of_another_user() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    duel.holder.tell(&Op::Open {
        slot: 1,
        kind: Kind::Tcp,
        v6: false,
        uid: 65534,
    })?;
    duel.holder.tell(&Op::Set(1, Opt::Reuseport, 1))?;
    duel.holder.tell(&Op::Bind(1, any(PORT)))?;
    duel.holder.tell(&Op::Listen(1))?;
    open(&mut duel.binder, 1, Kind::Tcp)?;
    duel.binder.tell(&Op::Set(1, Opt::Reuseport, 1))?;
    let reply = duel.binder.ask(&Op::Bind(1, any(PORT)))?;
    ensure!(reply == Reply::Refused(libc::EADDRINUSE), "{reply:?}");
    let event = duel.tracer()?.wait_conflict(PORT)?;
    let conflict = event.conflict().context("no conflict")?;
    is(
        conflict,
        "reuseport-other-user",
        &[(duel.holder_pid(), true)],
    )?;
    ensure!(only(conflict)?.uid == Some(65534), "{conflict:#?}");
    duel.end()
}

/// Two of one program; the advice is right: with the option on both the call succeeds.
#[test]
fn reuseport_on_one_side_only() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    duel.binder = Actor::start(&duel.stage.netns, duel.holder.name())?;
    open(&mut duel.holder, 1, Kind::Tcp)?;
    duel.holder.tell(&Op::Set(1, Opt::Reuseport, 1))?;
    duel.holder.tell(&Op::Bind(1, any(PORT)))?;
    duel.holder.tell(&Op::Listen(1))?;
    let pid = duel.holder_pid();
    let conflict = duel.blocked(Kind::Tcp, any(PORT))?;
    is(&conflict, "reuseport-missing", &[(pid, true)])?;
    open(&mut duel.binder, 1, Kind::Tcp)?;
    duel.binder.tell(&Op::Set(1, Opt::Reuseport, 1))?;
    duel.binder.tell(&Op::Bind(1, any(PORT)))?;
    duel.end()
}

/// Two sockets with SO_REUSEADDR are both bound; the second one may not listen.
#[test]
fn a_listen_that_comes_second() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    for actor in [&mut duel.holder, &mut duel.binder] {
        open(actor, 1, Kind::Tcp)?;
        actor.tell(&Op::Set(1, Opt::Reuseaddr, 1))?;
        actor.tell(&Op::Bind(1, any(PORT)))?;
    }
    duel.holder.tell(&Op::Listen(1))?;
    let reply = duel.binder.ask(&Op::Listen(1))?;
    ensure!(reply == Reply::Refused(libc::EADDRINUSE), "{reply:?}");
    let event = duel.tracer()?.wait_conflict(PORT)?;
    let conflict = event.conflict().context("no conflict")?;
    is(conflict, "listener", &[(duel.holder_pid(), true)])?;
    ensure!(
        conflict.call == "listen" && conflict.message.contains("only one of them may listen"),
        "{conflict:#?}"
    );
    duel.end()
}

/// The option was cleared after bind(): a socket that is merely bound stops listen().
#[test]
fn a_listen_without_the_option_of_its_bind() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    for actor in [&mut duel.holder, &mut duel.binder] {
        open(actor, 1, Kind::Tcp)?;
        actor.tell(&Op::Set(1, Opt::Reuseaddr, 1))?;
        actor.tell(&Op::Bind(1, any(PORT)))?;
    }
    duel.binder.tell(&Op::Set(1, Opt::Reuseaddr, 0))?;
    let reply = duel.binder.ask(&Op::Listen(1))?;
    ensure!(reply == Reply::Refused(libc::EADDRINUSE), "{reply:?}");
    let event = duel.tracer()?.wait_conflict(PORT)?;
    let conflict = event.conflict().context("no conflict")?;
    is(
        conflict,
        "bound-not-listening",
        &[(duel.holder_pid(), true)],
    )?;
    let advice: Vec<&str> = conflict.advice.iter().map(|a| a.id.as_str()).collect();
    ensure!(advice.contains(&"set-reuseaddr"), "{advice:?}");
    duel.end()
}

#[test]
fn a_connection_to_itself_is_told_as_one() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let mut tracer = Tracer::start(&stage.netns, &[])?;
    let made = make::connected_to_itself(&stage.netns)?;
    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    refused(&mut binder, "tcp4")?;
    let event = tracer.wait_conflict(PORT)?;
    let conflict = event.conflict().context("no conflict")?;
    is(
        conflict,
        "outbound-connection",
        &[(made.holder.pid(), true)],
    )?;
    ensure!(
        conflict.message.contains("connected to itself")
            && conflict.advice.iter().any(|a| a.id == "self-connect"),
        "{conflict:#?}"
    );
    tracer.finish()?.check(true)
}
