//! Less than root: what is missing is said by name, and what is told to be enough is enough.

use anyhow::{Context, Result, ensure};
use portwatch_tests::machine::{Machine, NEEDED, Started};
use portwatch_tests::make;
use portwatch_tests::puppet::Puppet;
use portwatch_tests::stage::Stage;

use crate::play::{check, refused};

/// All at once, each with its purpose.
#[test]
fn nobody_is_told_everything_that_is_missing() -> Result<()> {
    if Stage::set()?.is_none() {
        return Ok(());
    }
    let talk = Machine::whole().nobody_with(&[]).refusal()?;
    for capability in NEEDED {
        ensure!(talk.contains(&named(capability)), "{capability}: {talk}");
    }
    Ok(())
}

/// The one that is missing, and no other.
#[test]
fn each_missing_capability_is_named_alone() -> Result<()> {
    if Stage::set()?.is_none() {
        return Ok(());
    }
    for missing in NEEDED {
        let held: Vec<&str> = NEEDED.into_iter().filter(|name| *name != missing).collect();
        let talk = Machine::whole().nobody_with(&held).refusal()?;
        for capability in NEEDED {
            ensure!(
                talk.contains(&named(capability)) == (capability == missing),
                "without {missing}: {talk}"
            );
        }
    }
    Ok(())
}

/// `CAP_BPF (to ...`: the name and, behind it, for what.
fn named(capability: &str) -> String {
    format!("CAP_{} (to ", capability.to_uppercase())
}

/// Every hook is attached, and the verdict is that of root: exact, named by the holder's cookie
/// after its end, with the requester's files read.
#[test]
fn the_five_capabilities_are_enough() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let machine = Machine::whole().nobody_with(&NEEDED);
    let ((made, binder), trace) = machine.trace(&stage.netns, &[], |_| {
        let made = make::time_wait_of_the_dead(&stage.netns)?;
        let mut binder = Puppet::start(&stage.netns, "made-binder")?;
        refused(&mut binder, "tcp4")?;
        Ok((made, binder))
    })?;
    trace.check(true)?;
    let start = Started::of(&trace)?;
    ensure!(start.refused().is_empty(), "{start:#?}");
    let conflict = trace.events.iter().find(|event| event.conflict().is_some());
    let event = conflict.context("no conflict")?;
    check(event, &made, &binder, &crate::causes::TIME_WAIT.right)?;
    let requester = event.conflict().map(|conflict| &conflict.requester);
    ensure!(
        requester.is_some_and(|process| process.exe.is_some() && process.cmdline.is_some()),
        "{:#}",
        event.raw
    );
    Ok(())
}

/// Locked memory that cannot be raised is nothing to a kernel since 5.11, so nothing is said.
#[test]
fn little_locked_memory_is_enough() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let machine = Machine::whole().script("ulimit -l 0").nobody_with(&NEEDED);
    let (_binder, trace) = machine.trace(&stage.netns, &[], |_| {
        let made = make::listener(&stage.netns)?;
        let mut binder = Puppet::start(&stage.netns, "made-binder")?;
        refused(&mut binder, "tcp4")?;
        Ok((made, binder))
    })?;
    trace.check(true)?;
    let start = Started::of(&trace)?;
    ensure!(!start.warns_of("RLIMIT_MEMLOCK"), "{start:#?}");
    ensure!(trace.conflicts().len() == 1, "{:#?}", trace.conflicts());
    Ok(())
}
