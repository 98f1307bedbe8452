//! What the kernel's verifier has to do at every start.

use std::fs;

use anyhow::{Context, Result, ensure};
use portwatch_tests::stage::Stage;
use portwatch_tests::tracer::Tracer;

/// The largest program needs 14 000 on 6.18. A value that adds up in a register, or one pointer to
/// whichever map had an entry, makes it twenty times as many, and seconds of every start.
const MOST: u64 = 60_000;

#[test]
fn every_program_is_verified_quickly() -> Result<()> {
    let Some(stage) = Stage::set()? else {
        return Ok(());
    };
    let tracer = Tracer::start(&stage.netns, &[])?;
    let mut programs = 0;
    for entry in fs::read_dir(format!("/proc/{}/fdinfo", tracer.pid()))? {
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
        ensure!(count < MOST, "{count} instructions were verified: {text}");
        programs += 1;
    }
    tracer.finish()?;
    ensure!(programs >= 10, "only {programs} programs were seen");
    Ok(())
}
