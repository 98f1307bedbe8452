//! `cargo xtask bless`: what the captures of portwatch/tests/captures say now is what they have to
//! say from now on.

use anyhow::Result;

use crate::{
    machine, setup,
    step::{Step, say},
};

/// Writes the goldens anew.
pub(crate) fn bless() -> Result<()> {
    setup::ensure()?;
    let mut cargo = machine::cargo();
    cargo
        .args(["test", "--package", "portwatch", "--test", "captures"])
        .arg("every_capture_says_what_it_said")
        .env("PORTWATCH_BLESS", "1");
    Step::new("replay the captures", cargo)
        .fix("read above which capture cannot be replayed; none may be taken away")
        .aloud()?;
    say("blessed; `git diff portwatch/tests/captures` shows what changed: read it");
    Ok(())
}
