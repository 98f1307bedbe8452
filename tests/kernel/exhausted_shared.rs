//! Ranges whose ports are in the way of a call at one own address and taken at another as well.

use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};
use portwatch_tests::actor::{Actor, Kind, Op, Opt};
use portwatch_tests::contract::Tally;
use portwatch_tests::machine::Started;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::HERE;
use portwatch_tests::wait::PATIENCE;

use crate::adversary::duel::{address, open};
use crate::exhausted::{Scene, full, tally};

/// Whoever has the same ports at another address holds more of them, and is not in the way.
#[test]
fn a_crowd_at_another_address_is_not_in_the_way() -> Result<()> {
    for (kind, state) in [("tcp4", "bound"), ("udp4", "unconnected")] {
        let Some(mut scene) = Scene::lay()? else {
            return Ok(());
        };
        let mut innocent = Puppet::start(&scene.stage.netns, "innocent")?;
        for number in 0..4 {
            let bound = innocent.try_bind(&format!("i{number}"), kind, &[], "127.0.0.1:0")?;
            ensure!(bound.is_ok(), "{bound:?}");
        }
        let mut other = Puppet::start(&scene.stage.netns, "other")?;
        for (number, holder) in [&mut scene.holder, &mut other].into_iter().enumerate() {
            for half in 0..2 {
                let socket = format!("b{number}-{half}");
                let bound = holder.try_bind(&socket, kind, &[], &format!("{HERE}:0"))?;
                ensure!(bound.is_ok(), "{bound:?}");
            }
        }
        let conflict = scene.refused(kind, &format!("bind x {HERE}:0"), "EADDRINUSE")?;
        full(&conflict, "binds", 4)?;
        let lines = tally(&conflict)?;
        let theirs = |line: &Tally| {
            scene.is_of(line, &scene.holder, 2, state) || scene.is_of(line, &other, 2, state)
        };
        ensure!(
            lines.len() == 2 && lines.iter().all(theirs),
            "{conflict:#?}"
        );
        scene.tracer.finish()?.check(true)?;
    }
    Ok(())
}

/// Connects so many times from an own address, whose ports are shared with other destinations.
fn connect_from(who: &mut Actor, from: &str, to: SocketAddr, times: u32) -> Result<()> {
    for slot in 1..=times {
        open(who, slot, Kind::Tcp)?;
        who.tell(&Op::Set(slot, Opt::BindAddressNoPort, 1))?;
        who.tell(&Op::Bind(slot, address(from, 0)?))?;
        who.tell(&Op::Connect(slot, to, false))?;
    }
    Ok(())
}

/// A scene in which somebody else has every port for the destination, at 127.0.0.2.
fn with_an_innocent() -> Result<Option<(Scene, Actor)>> {
    let Some(scene) = Scene::lay()? else {
        return Ok(None);
    };
    let mut innocent = Actor::start(&scene.stage.netns, "innocent")?;
    connect_from(&mut innocent, "127.0.0.2", scene.to, 4)?;
    Ok(Some((scene, innocent)))
}

/// The kernel picked 127.0.0.1 for the call, and both it and 127.0.0.2 have no port left for the
/// destination. Behind a system call that failed the socket has no address any more: each line says
/// from where then. A hook of the function that sought the port sees the one that was picked.
#[test]
fn connections_from_two_addresses_are_told_apart() -> Result<()> {
    let Some((mut scene, innocent)) = with_an_innocent()? else {
        return Ok(());
    };
    scene.connect(scene.to, 4)?;
    let call = format!("connect x {}", scene.to);
    let conflict = scene.refused("tcp4", &call, "EADDRNOTAVAIL")?;
    let mut lines: Vec<_> = tally(&conflict)?
        .iter()
        .map(|line| {
            let who = line.process.as_ref().map(|process| process.pid);
            (line.source.map(|a| a.to_string()), who, line.count)
        })
        .collect();
    lines.sort();
    let (picked, other) = (scene.holder.pid(), innocent.pid());
    let trace = scene.tracer.finish()?;
    trace.check(true)?;
    let in_time = Started::of(&trace)?.hooks().contains(&"inet_hash_connect");
    let (certainty, expected) = match in_time {
        true => ("exact", vec![(None, Some(picked), 4)]),
        false => (
            "inferred",
            vec![
                (Some("127.0.0.1".to_owned()), Some(picked), 4),
                (Some("127.0.0.2".to_owned()), Some(other), 4),
            ],
        ),
    };
    ensure!(
        conflict.certainty == certainty && lines == expected,
        "{conflict:#?}"
    );
    Ok(())
}

/// A call that names its own address: who has the same ports from another is not counted.
#[test]
fn connections_from_another_address_take_nothing_away() -> Result<()> {
    let Some((mut scene, _innocent)) = with_an_innocent()? else {
        return Ok(());
    };
    let mut workers = Vec::new();
    for name in ["worker-a", "worker-b"] {
        let mut worker = Actor::start(&scene.stage.netns, name)?;
        connect_from(&mut worker, "127.0.0.3", scene.to, 2)?;
        workers.push(worker);
    }
    let mut client = Actor::start(&scene.stage.netns, "from-3")?;
    let refused = connect_from(&mut client, "127.0.0.3", scene.to, 1);
    ensure!(refused.is_err(), "there was a port");
    let event = scene
        .tracer
        .wait_for("conflict", PATIENCE, |event| event.conflict().is_some())?;
    let conflict = event.conflict().context("no conflict")?;
    full(conflict, "destination", 4)?;
    let pids: Vec<_> = tally(conflict)?
        .iter()
        .filter_map(|line| line.process.as_ref().map(|process| process.pid))
        .collect();
    ensure!(
        pids.len() == 2 && workers.iter().all(|worker| pids.contains(&worker.pid())),
        "{conflict:#?}"
    );
    scene.tracer.finish()?.check(true)
}
