//! How far back history reaches: a connection that is closed is remembered over as many closes as the
//! start line says, and what is forgotten is given to nobody.

use anyhow::{Context, Result, anyhow, ensure};
use portwatch_common::Counter;
use portwatch_tests::bpf::Objects;
use portwatch_tests::event::{Body, Event};
use portwatch_tests::make;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{PORT, Stage};
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait::{self, PATIENCE};

const RECENT: u16 = PORT + 1;

fn conflict(tracer: &mut Tracer, binder: &mut Puppet, port: u16) -> Result<Event> {
    let answer = binder.try_bind("b", "tcp4", &["reuseaddr"], &format!("0.0.0.0:{port}"))?;
    ensure!(answer.is_err(), "the kernel let it have port {port}");
    binder.tell("close b")?;
    tracer.wait_conflict(port)
}

#[test]
fn it_reaches_as_far_as_is_told() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    // No storm of as many may outlast the TIME_WAIT that came before it, on the slowest machine.
    let mut tracer = Tracer::start(&stage.netns, &["--closed-connections", "8192"])?;
    let start = tracer.wait_for("start", PATIENCE, |event| {
        matches!(event.body, Body::Start(_))
    })?;
    let told = start.raw["history"]["closed_connections"].as_u64();
    let told = told.with_context(|| format!("it tells no history: {:#}", start.raw))?;
    ensure!(
        told == 8192,
        "it tells {told} instead of what was asked for"
    );
    let counters = Objects::of(tracer.pid())?.counters()?;
    let closed = || counters.get(Counter::PAST_WRITTEN);

    let mut server = Puppet::start(&stage.netns, "storm-server")?;
    let address = "127.0.0.1:7100";
    server
        .try_bind("l", "tcp4", &[], address)?
        .map_err(|errno| anyhow!("{address}: {errno}"))?;
    // A full queue would make each connect() wait for a second.
    server.tell_address("listen l 4096")?;
    server.tell("serve l")?;
    let mut clients = Puppet::start(&stage.netns, "storm-client")?;
    let mut old = make::time_wait(&stage.netns)?;
    old.other_end()?.exit()?;
    let begin = closed()?;
    clients.tell(&format!("storm {address} 1"))?;
    wait::until("more closes than are remembered", PATIENCE, || {
        Ok((closed()? > begin + told + told / 8).then_some(()))
    })?;
    let mut recent = make::established_on(&stage.netns, RECENT)?;
    make::close_client_first_on(&stage.netns, &mut recent, RECENT)?;
    // The kernel's map gives an entry up a little before it is full (kernel/bpf/bpf_lru_list.c).
    let begin = closed()?;
    let nearly = told - told / 8;
    wait::until("nearly as many closes as are remembered", PATIENCE, || {
        Ok((closed()? > begin + nearly).then_some(()))
    })?;
    clients.tell("calm")?;
    ensure!(
        closed()? < begin + told,
        "the storm was too fast for this test"
    );

    let mut binder = Puppet::start(&stage.netns, "made-binder")?;
    for (port, pid, must) in [
        (RECENT, recent.holder.pid(), true),
        (PORT, old.holder.pid(), false),
    ] {
        let event = conflict(&mut tracer, &mut binder, port)?;
        let holders = &event.conflict().context("no conflict")?.holders;
        let mut named = holders.iter().flat_map(|holder| &holder.processes);
        ensure!(
            named.clone().all(|process| process.pid == pid) && (!must || named.next().is_some()),
            "not {pid}: {holders:#?}"
        );
    }
    tracer.finish()?.check(true)
}
