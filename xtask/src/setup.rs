//! `cargo xtask setup`: installs what the BPF build lacks.
//!
//! Two ways, in this order: the ordinary one (rustup's nightly with `rust-src`), given up at the
//! first refusal; then Debian's own rustc with its sources (`debian.rs`). Both need a `bpf-linker`
//! made for that rustc's LLVM. What works already is left alone, so a warm run takes half a second.

use std::{process::Command, time::Duration};

use anyhow::{Result, bail};

use crate::{
    debian, machine,
    step::{Step, say},
    toolchain::{self, Gap, Toolchain},
};

/// How long rustup may take for the sources of `core`.
const COMPONENT_LIMIT: Duration = Duration::from_secs(30);

/// How long rustup may take for a whole nightly.
const TOOLCHAIN_LIMIT: Duration = Duration::from_secs(30);

/// Makes sure that a toolchain can build the BPF object.
pub(crate) fn ensure() -> Result<Toolchain> {
    let gaps = match toolchain::find(&machine::scratch()) {
        Ok((toolchain, version)) => return Ok(tell(toolchain, &version)),
        Err(gaps) => gaps,
    };
    if gaps.is_empty() {
        bail!(
            "{} names no toolchain that builds the BPF part\n  what to do: unset it",
            toolchain::CHOICE
        );
    }
    for (toolchain, gap) in &gaps {
        say(format_args!("BPF toolchain `{toolchain}`: {gap}"));
    }
    if gaps.iter().any(|(_, gap)| *gap == Gap::Rustup) {
        bail!(
            "the BPF build needs rustup, and it is not installed\n  what to do: install it \
             (https://rustup.rs), open a new shell, run `cargo xtask setup` again"
        );
    }
    let mut refusals = Vec::new();
    for (toolchain, _) in &gaps {
        let installed = match toolchain {
            Toolchain::Nightly => ordinary(),
            Toolchain::Distribution => debian::install(),
        };
        match installed.map(|()| toolchain.check(&machine::scratch())) {
            Ok(Ok(version)) => return Ok(tell(*toolchain, &version)),
            Ok(Err(gap)) => refusals.push(format!("{toolchain}, after its installation: {gap}")),
            Err(error) => refusals.push(format!("{toolchain}: {error:#}")),
        }
        if let Some(refusal) = refusals.last() {
            say(refusal);
        }
    }
    bail!(
        "no toolchain of this machine can build the BPF part\n  what to do: \
         `rustup toolchain install nightly --component rust-src` and a bpf-linker on the PATH that \
         was made for the LLVM version which `rustup run nightly rustc -vV` prints; then \
         `cargo xtask setup` again (docs/building.md has both ways step by step)"
    )
}

/// Says which toolchain it is.
fn tell(toolchain: Toolchain, version: &str) -> Toolchain {
    let release = field(version, "release").unwrap_or("?");
    let llvm = field(version, "LLVM version").unwrap_or("?");
    say(format_args!(
        "BPF toolchain `{toolchain}`: rustc {release}, LLVM {llvm}, ready"
    ));
    toolchain
}

/// The ordinary way: rustup's nightly, its `rust-src`, and a bpf-linker for it.
fn ordinary() -> Result<()> {
    let scratch = machine::scratch();
    let mut gap = Toolchain::Nightly.check(&scratch).err();
    if gap == Some(Gap::Rustc) {
        rustup(
            "install the nightly toolchain with rust-src",
            &[
                "toolchain",
                "install",
                "nightly",
                "--profile",
                "minimal",
                "--component",
                "rust-src",
            ],
            TOOLCHAIN_LIMIT,
        )?;
        gap = Toolchain::Nightly.check(&scratch).err();
    } else if gap == Some(Gap::Sources) {
        rustup(
            "add rust-src to the nightly toolchain",
            &["component", "add", "rust-src", "--toolchain", "nightly"],
            COMPONENT_LIMIT,
        )?;
        gap = Toolchain::Nightly.check(&scratch).err();
    }
    if matches!(gap, Some(Gap::Linker | Gap::LinkerRefused)) {
        debian::install_linker(Toolchain::Nightly)?;
    }
    Ok(())
}

/// One quiet step of rustup, which does not try again what was refused once.
pub(crate) fn rustup(what: &str, args: &[&str], limit: Duration) -> Result<()> {
    let mut rustup = Command::new("rustup");
    rustup.args(args).env("RUSTUP_MAX_RETRIES", "0");
    Step::new(what, rustup).limit(limit).quietly()
}

/// A field of `rustc -vV`.
pub(crate) fn field<'a>(version: &'a str, name: &str) -> Option<&'a str> {
    version
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

#[cfg(test)]
mod tests {
    use super::field;

    #[test]
    fn fields_of_rustc() {
        let version =
            "rustc 1.96.0 (ac68faa20 2026-05-25)\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(field(version, "release"), Some("1.96.0"));
        assert_eq!(field(version, "LLVM version"), Some("22.1.8"));
        assert_eq!(field(version, "host"), None);
    }
}
