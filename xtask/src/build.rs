//! `cargo xtask build`: one self-contained file with the BPF object inside.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{
    machine, setup,
    step::{Step, say},
};

/// Builds portwatch after the set-up and gives its path: a release, or a debug build whose probes
/// talk.
pub(crate) fn build(debug: bool) -> Result<PathBuf> {
    setup::ensure()?;
    let mut cargo = machine::cargo();
    cargo.args(["build", "--package", "portwatch", "--bin", "portwatch"]);
    let profile = if debug {
        cargo.args(["--features", "probe-log"]);
        "debug"
    } else {
        cargo.arg("--release");
        "release"
    };
    Step::new(format!("build portwatch ({profile})"), cargo)
        .fix("mend what the compiler says above; `cargo xtask setup` checks the tools again")
        .aloud()?;
    let built = machine::target().join(profile).join("portwatch");
    let size = fs::metadata(&built)
        .with_context(|| format!("cargo built no `{}`", built.display()))?
        .len();
    say(format_args!(
        "built {} ({} kB, the BPF object inside)",
        built.display(),
        size / 1000
    ));
    Ok(built)
}
