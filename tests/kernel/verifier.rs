//! What the kernel's verifier has to do at every start.

use std::fs;

use anyhow::{Context, Result, ensure};
use portwatch_tests::machine::Machine;
use portwatch_tests::stage::Stage;

/// The largest program needs 14 000 on 6.18, and 88 000 with trampolines on 6.1, whose verifier prunes
/// less. A value that adds up in a register, or one pointer to whichever map had an entry, makes it
/// twenty times as many, and seconds of every start.
const MOST: u64 = 120_000;

/// The same without `bpf_loop`, where each turn of the walk is followed: 40 000 on 6.18, 88 000 on 6.1.
/// At a million the kernel refuses the program (include/linux/bpf_verifier.h,
/// BPF_COMPLEXITY_LIMIT_INSNS).
const MOST_FLAT: u64 = 200_000;

#[test]
fn every_program_is_verified_quickly() -> Result<()> {
    judge(&Machine::whole(), MOST)
}

#[test]
fn without_bpf_loop_as_well() -> Result<()> {
    judge(
        &Machine::whole().script("export PORTWATCH_ASSUME_KERNEL=5.8"),
        MOST_FLAT,
    )
}

fn judge(machine: &Machine, most: u64) -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    machine
        .trace(&stage.netns, &[], |tracer| {
            programs(tracer.child.id(), most)
        })
        .map(drop)
}

fn programs(tracer: u32, most: u64) -> Result<()> {
    let mut programs = 0;
    for entry in fs::read_dir(format!("/proc/{tracer}/fdinfo"))? {
        // A descriptor may have been closed meanwhile.
        let Ok(text) = fs::read_to_string(entry?.path()) else {
            continue;
        };
        // kernel/bpf/syscall.c:bpf_prog_show_fdinfo, Linux 5.16.
        let Some(line) = text
            .lines()
            .find(|line| line.starts_with("verified_insns:"))
        else {
            continue;
        };
        let count: u64 = line
            .split_whitespace()
            .nth(1)
            .and_then(|number| number.parse().ok())
            .with_context(|| line.to_owned())?;
        ensure!(count < most, "{count} instructions were verified: {text}");
        programs += 1;
    }
    ensure!(programs >= 10, "only {programs} programs were seen");
    Ok(())
}
