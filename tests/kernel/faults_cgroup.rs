//! A part of the cgroup hierarchy in place of the whole: what a container sees, what another tool
//! leaves over, and where it is safe to prove that every program allows.

use anyhow::{Context, Result, ensure};
use portwatch_tests::cgroup::Cgroup;
use portwatch_tests::event::Event;
use portwatch_tests::machine::{Machine, Started};
use portwatch_tests::make;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::Stage;
use portwatch_tests::trace::Trace;

use crate::causes::{ESTABLISHED, TIME_WAIT};
use crate::play::{Verdict, check, refused};

/// The programs that are attached to a cgroup.
const CGROUP_HOOKS: [&str; 8] = [
    "sock_ops",
    "post_bind4",
    "post_bind6",
    "connect4",
    "connect6",
    "sendmsg4",
    "sendmsg6",
    "sock_release",
];

fn conflict(trace: &Trace) -> Result<&Event> {
    let conflict = trace.events.iter().find(|event| event.conflict().is_some());
    conflict.context("no conflict")
}

/// In a container's cgroup namespace only the container's own processes are remembered: that is
/// said, and a holder outside is not named by a guess.
#[test]
fn a_containers_view_is_told_as_partial() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let cgroup = Cgroup::new()?;
    let machine = Machine::whole()
        .script(&cgroup.join())
        .under(&["unshare", "--cgroup", "--mount", "--propagation", "private"])
        .script(&cgroup.mount_anew());
    let ((made, binder), trace) = machine.trace(&stage.netns, &[], |_| {
        let made = make::time_wait_of_the_dead(&stage.netns)?;
        let mut binder = Puppet::start(&stage.netns, "made-binder")?;
        refused(&mut binder, "tcp4")?;
        Ok((made, binder))
    })?;
    trace.check(true)?;
    let start = Started::of(&trace)?;
    ensure!(start.warns_of("only a part of the cgroup2"), "{start:#?}");
    ensure!(start.refused().is_empty(), "{start:#?}");
    let right = Verdict {
        causes: &["outbound-time-wait", "unknown"],
        certainties: &["exact", "remembered", "inferred", "unknown"],
        kinds: &[],
        origin: None,
        named: false,
        ..TIME_WAIT.right
    };
    check(conflict(&trace)?, &made, &binder, &right)
}

/// A program attached the old way, without a flag, shuts every other one out: that hook's loss is
/// told with its reason, the others are attached, the verdict stands.
#[test]
fn another_tool_that_holds_a_hook_exclusively() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let cgroup = Cgroup::new()?;
    cgroup.hold_exclusively()?;
    let machine = Machine::mounts(&cgroup.instead_of_the_root());
    let ((made, binder), trace) = machine.trace(&stage.netns, &[], |_| {
        let made = make::established(&stage.netns)?;
        let mut binder = Puppet::start(&stage.netns, "made-binder")?;
        refused(&mut binder, "tcp4")?;
        Ok((made, binder))
    })?;
    trace.check(true)?;
    let start = Started::of(&trace)?;
    let (reason, lost) = start.refusal_of("sock_release").context("not refused")?;
    ensure!(
        reason.contains("exclusively") && !lost.is_empty(),
        "{start:#?}"
    );
    ensure!(start.refused() == ["sock_release"], "{start:#?}");
    let right = Verdict {
        certainties: &[],
        origin: None,
        ..ESTABLISHED.right
    };
    check(conflict(&trace)?, &made, &binder, &right)
}

/// Every program that could deny is attached to a cgroup in which every kind of socket is used in
/// every way: all of it succeeds, and the programs have run.
#[test]
fn the_programs_on_a_cgroup_allow_everything() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    stage.netns.sysctl("net/ipv4/ping_group_range", "0 0")?;
    let cgroup = Cgroup::new()?;
    let machine = Machine::mounts(&cgroup.instead_of_the_root());
    for options in [&["--events", "all"][..], &[]] {
        let (done, trace) = machine.trace(&stage.netns, options, |_| {
            let mut puppet = Puppet::start(&stage.netns, "everything")?;
            cgroup.put(puppet.pid())?;
            for (family, host) in [("4", "127.0.0.1"), ("6", "[::1]")] {
                everything(&mut puppet, family, host)
                    .with_context(|| format!("IPv{family} with {options:?}"))?;
            }
            puppet.tell("unix")?;
            Ok(puppet.pid())
        })?;
        ensure!(trace.status.success(), "{}", trace.status);
        let start = Started::of(&trace)?;
        for hook in CGROUP_HOOKS {
            ensure!(start.hooks().contains(&hook), "{hook}: {start:#?}");
        }
        let assigned = trace.assigned();
        let calls = |call: &str| {
            let mut calls = assigned.iter();
            calls.any(|assign| assign.call == call && assign.process.pid == done)
        };
        ensure!(
            options.is_empty() || ["connect", "listen", "autobind"].into_iter().all(calls),
            "{assigned:#?}"
        );
    }
    Ok(())
}

fn everything(puppet: &mut Puppet, family: &str, host: &str) -> Result<()> {
    for stream in ["tcp", "mptcp"] {
        let kind = format!("{stream}{family}");
        let server = puppet.listener("l", &kind, &["reuseaddr"], &format!("{host}:0"))?;
        puppet.open("c", &kind, &[])?;
        puppet.tell(&format!("connect c {server}"))?;
        puppet.tell("accept l a")?;
        puppet.tell("send c")?;
        puppet.tell("recv a")?;
        puppet.open("bound", &kind, &[])?;
        puppet.tell(&format!("bind bound {host}:0"))?;
        puppet.tell(&format!("connect bound {server}"))?;
        puppet.open("free", &kind, &[])?;
        puppet.tell("listen free 8")?;
        close(puppet, &["c", "a", "bound", "free", "l"])?;
    }
    let kind = format!("udp{family}");
    puppet.open("u", &kind, &[])?;
    puppet.tell(&format!("bind u {host}:0"))?;
    let receiver = puppet.tell_address("local u")?;
    puppet.open("v", &kind, &[])?;
    puppet.tell(&format!("sendto v {receiver}"))?;
    puppet.tell("recv u")?;
    puppet.open("w", &kind, &[])?;
    puppet.tell(&format!("connect w {receiver}"))?;
    puppet.tell("send w")?;
    puppet.tell("recv u")?;
    close(puppet, &["u", "v", "w"])?;
    puppet.open("r", &format!("raw{family}"), &[])?;
    puppet.tell(&format!("bind r {host}:0"))?;
    puppet.tell(&format!("connect r {host}:0"))?;
    puppet.open("p", &format!("ping{family}"), &[])?;
    puppet.tell(&format!("bind p {host}:0"))?;
    puppet.tell(&format!("connect p {host}:0"))?;
    close(puppet, &["r", "p"])
}

fn close(puppet: &mut Puppet, sockets: &[&str]) -> Result<()> {
    for socket in sockets {
        puppet.tell(&format!("close {socket}"))?;
    }
    Ok(())
}
