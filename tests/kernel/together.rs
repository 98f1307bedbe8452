//! What `causes` and `late` ask one by one, before one tracer: where a start takes a quarter of a
//! minute (an emulated machine, whose verifier is emulated too), every holder is tried all the same.

use anyhow::{Context, Result, bail, ensure};
use portwatch_tests::event::Event;
use portwatch_tests::make::Made;
use portwatch_tests::netns::NetNs;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::{HERE, PORT, Stage, THERE};
use portwatch_tests::tracer::Tracer;
use portwatch_tests::wait::PATIENCE;

use crate::play::{Verdict, check, refused, says_since_when};
use crate::{causes, late};

/// Namespaces with the founding case's two addresses, and the options that make a tracer see them.
fn namespaces(count: usize) -> Result<(Vec<NetNs>, Vec<String>)> {
    let mut all = Vec::new();
    let mut options = Vec::new();
    for _ in 0..count {
        let netns = NetNs::new()?;
        for address in [HERE, THERE] {
            netns.add_address(&format!("{address}/32"))?;
        }
        options.extend(["--netns".to_owned(), netns.inode().to_string()]);
        all.push(netns);
    }
    Ok((all, options))
}

fn start(stage: &Stage, options: &[String]) -> Result<Tracer> {
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    Tracer::start(&stage.netns, &options)
}

/// Lets a binder fail against a holder and checks what is told of that.
fn try_one(
    tracer: &mut Tracer,
    netns: &NetNs,
    made: &Made,
    kind: &str,
    right: &Verdict,
) -> Result<Event> {
    let mut binder = Puppet::start(netns, "made-binder")?;
    refused(&mut binder, kind)?;
    let here = |event: &Event| {
        event.conflict().is_some_and(|conflict| {
            conflict.wanted.netns == netns.inode() && conflict.wanted.port == Some(PORT)
        })
    };
    let event = tracer.wait_for("conflict", PATIENCE, here)?;
    check(&event, made, &binder, right)?;
    Ok(event)
}

/// Everything that went wrong, or nothing.
fn judge(wrong: &[String], tracer: Tracer, tried: usize) -> Result<()> {
    let trace = tracer.finish()?;
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n\n"));
    }
    trace.check(true)?;
    ensure!(
        trace.conflicts().len() == tried && trace.incidents().len() == tried,
        "{tried} tries, but: {:#?}",
        trace.conflicts()
    );
    Ok(())
}

/// The holders are made while the tracer watches.
#[test]
fn every_holder_is_found_and_named() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let (all, options) = namespaces(causes::ALL.len())?;
    let mut tracer = start(&stage, &options)?;
    let mut wrong = Vec::new();
    for ((name, case), netns) in causes::ALL.iter().zip(&all) {
        let made = (case.make)(netns).with_context(|| format!("making: {name}"))?;
        let told = try_one(&mut tracer, netns, &made, case.kind, &case.right);
        if let Err(error) = told.and_then(|event| says_since_when(&event)) {
            wrong.push(format!("{name}: {error:#}"));
        }
    }
    judge(&wrong, tracer, causes::ALL.len())
}

/// The holders are older than the tracer.
#[test]
fn every_older_holder_is_found() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let (all, options) = namespaces(late::lasting().len())?;
    let mut made = Vec::new();
    for ((name, (case, _)), netns) in late::lasting().iter().zip(&all) {
        made.push((case.make)(netns).with_context(|| format!("making: {name}"))?);
    }
    let mut tracer = start(&stage, &options)?;
    let mut wrong = Vec::new();
    let tries = late::lasting().iter().zip(&all).zip(&made);
    for (((name, (case, right)), netns), made) in tries {
        if let Err(error) = try_one(&mut tracer, netns, made, case.kind, right) {
            wrong.push(format!("{name}: {error:#}"));
        }
    }
    judge(&wrong, tracer, late::lasting().len())
}
