//! Causes that lie in more than the socket: who has it, and whose options do not go together.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use portwatch_tests::actor::{Actor, Kind, Op, Opt, Reply};
use portwatch_tests::contract::{Conflict, Holder};
use portwatch_tests::machine::kernel_before;
use portwatch_tests::make;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::sockets::{Row, Transport};
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait;

use crate::adversary::duel::{Duel, any, is, listen, only, open};
use crate::play::refused;

/// The command that is printed for it, run as it stands.
fn run_advice(conflict: &Conflict, id: &str) -> Result<()> {
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

/// Whoever made the kernel open it (here `ip`) has nothing of it.
#[test]
fn sockets_of_the_kernel_itself() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    let netns = &duel.stage.netns;
    netns.run(
        "ip",
        &[
            "link", "add", "vx0", "type", "vxlan", "id", "42", "dstport", "60001",
        ],
    )?;
    netns.run("ip", &["link", "set", "vx0", "up"])?;
    let endpoint = [
        "mptcp",
        "endpoint",
        "add",
        "127.0.0.1",
        "port",
        "60002",
        "signal",
    ];
    netns.run("ip", &endpoint)?;
    for (kind, port) in [(Kind::Udp, PORT), (Kind::Tcp, PORT + 1)] {
        let conflict = duel.blocked(kind, any(port))?;
        is(&conflict, "kernel-socket", &[])?;
        let holder = only(&conflict)?;
        ensure!(
            holder.kind == "kernel" && holder.origin.as_deref() == Some("kernel"),
            "{conflict:#?}"
        );
        let user = match kind {
            Kind::Udp => "vxlan vx0",
            Kind::Tcp | Kind::Mptcp => "mptcp-endpoint 1",
        };
        ensure!(holder.kernel_user.as_deref() == Some(user), "{conflict:#?}");
        run_advice(&conflict, "kernel-socket")?;
        duel.free(kind, any(port))?;
    }
    duel.end()
}

/// An interface that was moved to another namespace leaves its socket behind, and nothing tells of it
/// there but the function that it has put into the socket.
#[test]
fn a_socket_of_the_kernel_that_only_its_function_knows() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    let elsewhere = Stage::bare()?.context("no second namespace")?.netns;
    let netns = &duel.stage.netns;
    let link = "link add vx1 type vxlan id 43 dstport 60001";
    netns.run("ip", &link.split(' ').collect::<Vec<_>>())?;
    netns.give("vx1", &elsewhere)?;
    elsewhere.run("ip", &["link", "set", "vx1", "up"])?;
    let conflict = duel.blocked(Kind::Udp, any(PORT))?;
    is(&conflict, "kernel-socket", &[])?;
    let user = if std::path::Path::new("/sys/module/vxlan/initstate").exists() {
        "module vxlan"
    } else {
        "function vxlan_rcv"
    };
    let told = only(&conflict)?.kernel_user.as_deref();
    ensure!(told == Some(user), "not {user}: {conflict:#?}");
    duel.end()
}

/// WireGuard tells its port only with its key, which nobody asks for.
#[test]
fn a_port_of_wireguard() -> Result<()> {
    let Some(mut duel) = Duel::traced()? else {
        return Ok(());
    };
    let netns = &duel.stage.netns;
    let added = netns.run("ip", &["link", "add", "wg0", "type", "wireguard"]);
    if let Err(refused) = added {
        let told = format!("{refused:#}");
        ensure!(told.contains("Unknown device type"), "{told}");
        eprintln!("this kernel has no WireGuard: {told}");
        return duel.end();
    }
    netns.run("ip", &["link", "set", "wg0", "up"])?;
    let rows = netns.sockets()?;
    let udp = |row: &&Row| row.transport == Transport::Udp;
    let port = rows.iter().find(udp).context("no port")?.local.port();
    let conflict = duel.blocked(Kind::Udp, any(port))?;
    // One socket for each family.
    let told = |held: &Holder| {
        held.kernel_user.as_deref() == Some("module wireguard") && held.processes.is_empty()
    };
    ensure!(
        conflict.cause == "kernel-socket"
            && !conflict.holders.is_empty()
            && conflict.holders.iter().all(told),
        "{conflict:#?}"
    );
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
