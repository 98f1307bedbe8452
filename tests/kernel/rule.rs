//! The kernel is the judge: random holders of a port against random binders, and whatever it does
//! must be what portwatch says.
//!
//! Of every socket that has the port the kernel is asked whether it stops the call all alone; when
//! all that portwatch blames are gone, the call must succeed. Cells run in batches, since every
//! question is answered by the kernel itself and never by the report; one that differs runs again
//! alone and is made smaller by proptest.
//!
//! `PORTWATCH_RULE_SECONDS` makes the runs longer, `PORTWATCH_RULE_SEED` repeats the random one.

mod build;
mod cell;
mod made;
mod play;
mod truth;
mod world;

use std::env;
use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use portwatch_tests::stage::Stage;
use portwatch_tests::wait;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use cell::Cell;
use play::Play;

/// Runs that make a cell smaller, at most.
const SHRINKS: u32 = 60;
/// Differences after which a run ends.
const ENOUGH: usize = 3;
/// Cells that may differ once and not again, of some thousand.
const ONCE: usize = 8;

/// The holders are made while the tracer watches.
#[test]
fn the_kernel_agrees() -> Result<()> {
    run(false, &[1, random()?], 16, Duration::from_secs(20))
}

/// The holders are older than the tracer.
#[test]
fn the_kernel_agrees_about_older_sockets() -> Result<()> {
    run(true, &[2, random()?], 150, Duration::from_secs(10))
}

/// A seed that is another at every run, unless it is given; always the same in CI, where a run must
/// say something of the change and not of its luck.
fn random() -> Result<u64> {
    if let Ok(seed) = env::var("PORTWATCH_RULE_SEED") {
        return seed.parse().context("PORTWATCH_RULE_SEED is no number");
    }
    if env::var_os("CI").is_some() {
        return Ok(3);
    }
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos();
    Ok(u64::from(nanos))
}

/// Batches of cells from each seed, for as long as told.
fn run(late: bool, seeds: &[u64], batch: usize, time: Duration) -> Result<()> {
    let time = match env::var("PORTWATCH_RULE_SECONDS") {
        Ok(seconds) => Duration::from_secs(seconds.parse()?),
        Err(_) => time,
    };
    // TIME_WAIT ends after a minute and SYN_SENT after two, wherever the batch is then.
    let batch = wait::timely(batch);
    let mut wrong = Vec::new();
    let mut once = Vec::new();
    for &seed in seeds {
        let Some(stage) = Stage::bare()? else {
            return Ok(());
        };
        let mut play = Play::new(stage, late)?;
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let mut runner = TestRunner::new_with_rng(Config::default(), random);
        let strategy = cell::cell();
        let end = Instant::now() + time;
        while Instant::now() < end && wrong.len() < ENOUGH {
            let mut trees = Vec::new();
            for _ in 0..batch {
                let tree = strategy.new_tree(&mut runner);
                trees.push(tree.map_err(|reason| anyhow::anyhow!("no cell: {reason}"))?);
            }
            let cells: Vec<Cell> = trees.iter().map(ValueTree::current).collect();
            let differences = play.batch(&cells)?;
            for (tree, differences) in trees.iter_mut().zip(differences) {
                if !differences.is_empty() && wrong.len() < ENOUGH {
                    let cell = tree.current();
                    let Some(differences) = again(&mut play, &cell)? else {
                        let told = format!("{cell}  differed once: {differences:?}");
                        if differences.iter().any(|one| accuses(one)) {
                            wrong.push(told);
                        } else {
                            once.push(told);
                        }
                        continue;
                    };
                    let (cell, differences) = smallest(&mut play, tree, differences)?;
                    wrong.push(format!(
                        "seed {seed}:\n{cell}  differs:\n  - {}",
                        differences.join("\n  - ")
                    ));
                }
            }
        }
        // Not a print macro: the test runner hides those of tests that pass.
        writeln!(
            io::stderr(),
            "seed {seed}, late: {late}: {:?}",
            play.tally()
        )?;
        // `unknown` is honest, and no answer: of what was seen from the start it is seldom due.
        let tally = play.tally();
        let rarely = if late { 3 } else { 10 };
        ensure!(
            tally.unknown_cause * rarely <= tally.refused.max(50),
            "the cause of too many is unknown: {tally:?}"
        );
        play.finish()?;
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    for cell in &once {
        writeln!(io::stderr(), "not repeated: {cell}")?;
    }
    ensure!(once.len() <= ONCE, "{} cells differed once", once.len());
    Ok(())
}

/// A wrong culprit is no accident of a loaded machine, however seldom it comes.
fn accuses(difference: &str) -> bool {
    difference.contains(" names Process") || difference.contains("does NOT block")
}

/// Plays a cell that differed again: a rule that is wrong is wrong each time, a packet that was late
/// on a loaded machine (a state not yet reached when the holders were made) is late once.
fn again(play: &mut Play, cell: &Cell) -> Result<Option<Vec<String>>> {
    for _ in 0..2 {
        let differences = play.batch(std::slice::from_ref(cell))?.remove(0);
        if !differences.is_empty() {
            return Ok(Some(differences));
        }
    }
    Ok(None)
}

/// The smallest cell that differs, too, and how.
fn smallest(
    play: &mut Play,
    tree: &mut impl ValueTree<Value = Cell>,
    first: Vec<String>,
) -> Result<(Cell, Vec<String>)> {
    let mut smallest = (tree.current(), first);
    for _ in 0..SHRINKS {
        let cell = tree.current();
        let differences = play.batch(std::slice::from_ref(&cell))?.remove(0);
        let moved = if differences.is_empty() {
            tree.complicate()
        } else {
            smallest = (cell, differences);
            tree.simplify()
        };
        if !moved {
            break;
        }
    }
    Ok(smallest)
}
