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
use portwatch_tests::wait::PATIENCE;

const RECENT: u16 = PORT + 1;

fn conflict(tracer: &mut Tracer, binder: &mut Puppet, port: u16) -> Result<Event> {
    let answer = binder.try_bind("b", "tcp4", &["reuseaddr"], &format!("0.0.0.0:{port}"))?;
    ensure!(answer.is_err(), "the kernel let it have port {port}");
    binder.tell("close b")?;
    tracer.wait_conflict(port)
}

/// Connections that are made and closed, so many at a time.
struct Storm {
    server: Puppet,
    clients: Puppet,
}

impl Storm {
    const AT_ONCE: u32 = 128;
    const ADDRESS: &str = "127.0.0.1:7100";

    fn begin(stage: &Stage) -> Result<Self> {
        let mut server = Puppet::start(&stage.netns, "storm-server")?;
        server
            .try_bind("l", "tcp4", &[], Self::ADDRESS)?
            .map_err(|errno| anyhow!("{}: {errno}", Self::ADDRESS))?;
        // A full queue would make each connect() wait for a second.
        server.tell_address("listen l 4096")?;
        let clients = Puppet::start(&stage.netns, "storm-client")?;
        Ok(Self { server, clients })
    }

    fn some(&mut self) -> Result<()> {
        let (address, times) = (Self::ADDRESS, Self::AT_ONCE);
        self.clients
            .tell(&format!("connect-times {address} {times}"))?;
        self.server.tell(&format!("accept-times l {times}"))?;
        Ok(())
    }
}

#[test]
fn it_reaches_as_far_as_is_told() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    // No storm of so many may outlast the TIME_WAIT that came before it, on the slowest machine.
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

    let mut storm = Storm::begin(&stage)?;
    let mut old = make::time_wait(&stage.netns)?;
    old.other_end()?.exit()?;
    let begin = closed()?;
    while closed()? <= begin + told + told / 8 {
        storm.some()?;
    }
    let mut recent = make::established_on(&stage.netns, RECENT)?;
    make::close_client_first_on(&stage.netns, &mut recent, RECENT)?;
    // The kernel's map gives an entry up a little before it is full (kernel/bpf/bpf_lru_list.c).
    let begin = closed()?;
    while closed()? <= begin + told - told / 8 {
        storm.some()?;
    }
    let since = closed()? - begin;
    ensure!(since < told, "{since} closes are too many for this test");

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
