//! `cargo xtask lint`: the format, the lints of both sides, the dependencies.
//!
//! The BPF crate is linted for its own target with the toolchain that builds it, because the user
//! side's clippy would not see it at all.

use std::{env::consts::ARCH, process::Command, time::Duration};

use anyhow::{Result, bail};

use crate::{
    debian, machine, setup,
    step::{Step, say},
    toolchain::Toolchain,
};

/// Runs every check, also behind one that failed.
pub(crate) fn lint() -> Result<()> {
    let toolchain = setup::ensure()?;
    let mut failed = 0_usize;
    let checks = [
        format().aloud(),
        user_side(&[
            "--workspace",
            "--exclude",
            "portwatch-ebpf",
            "--all-targets",
        ])
        .aloud(),
        // No test has code of its own for it.
        user_side(&["--package", "portwatch", "--features", "probe-log"]).aloud(),
        kernel_side(toolchain),
        dependencies(),
    ];
    for error in checks.into_iter().filter_map(Result::err) {
        say(format_args!("{error:#}"));
        failed += 1;
    }
    if failed > 0 {
        bail!("{failed} of the checks above failed");
    }
    say("lint: all clean");
    Ok(())
}

fn format() -> Step {
    let mut cargo = machine::cargo();
    cargo.args(["fmt", "--all", "--check"]);
    Step::new("format", cargo).fix("`cargo fmt --all`")
}

fn user_side(what: &[&str]) -> Step {
    let mut cargo = machine::cargo();
    cargo
        .arg("clippy")
        .args(what)
        .args(["--", "-D", "warnings"]);
    Step::new(
        format!("clippy on the user side: {}", what.join(" ")),
        cargo,
    )
    .fix(
        "mend what clippy says above; a lint that is wrong here takes an #[expect] with its reason",
    )
}

/// Clippy on the BPF crate: with and without its diagnostics, and for the processor that is not this
/// machine's, on which nobody runs it here.
fn kernel_side(toolchain: Toolchain) -> Result<()> {
    get_clippy(toolchain)?;
    let other = if ARCH == "aarch64" {
        "x86_64"
    } else {
        "aarch64"
    };
    for (features, arch) in [("", ARCH), ("log", ARCH), ("", other), ("flat", other)] {
        let mut cargo = Command::new("rustup");
        cargo
            .args(["run", toolchain.name(), "cargo", "clippy"])
            .args(["--package", "portwatch-ebpf", "--features", features])
            .args(["--target", "bpfel-unknown-none", "-Z", "build-std=core"])
            .args(["--", "-D", "warnings"])
            .current_dir(machine::workspace())
            .env("CARGO_TARGET_DIR", machine::target().join("bpf"))
            .env(
                "CARGO_ENCODED_RUSTFLAGS",
                format!("--cfg=bpf_target_arch=\"{arch}\""),
            )
            .env("RUSTC_BOOTSTRAP", "1")
            .env_remove("CARGO")
            .env_remove("RUSTC")
            .env_remove("RUSTC_WORKSPACE_WRAPPER");
        Step::new(
            format!("clippy on the BPF side, {arch}, features: [{features}]"),
            cargo,
        )
        .fix("mend what clippy says above; `cargo xtask setup` checks the tools again")
        .aloud()?;
    }
    Ok(())
}

/// Installs the clippy that belongs to `toolchain` when it is not there.
fn get_clippy(toolchain: Toolchain) -> Result<()> {
    let there = Command::new("rustup")
        .args(["run", toolchain.name(), "clippy-driver", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if there {
        return Ok(());
    }
    match toolchain {
        Toolchain::Nightly => setup::rustup(
            "add clippy to the nightly toolchain",
            &["component", "add", "clippy", "--toolchain", "nightly"],
            Duration::from_secs(60),
        ),
        Toolchain::Distribution => {
            debian::apt_install("install the clippy of Debian's rustc", &["rust-web-clippy"])
        }
    }
}

/// Licences, sources, duplicates and advisories, by the rules of `deny.toml`.
fn dependencies() -> Result<()> {
    if !machine::has("cargo-deny") {
        say("SKIPPED: the dependencies: no cargo-deny (`cargo install cargo-deny --locked`)");
        return Ok(());
    }
    let mut rules = machine::cargo();
    rules.args([
        "deny",
        "--log-level",
        "error",
        "check",
        "licenses",
        "bans",
        "sources",
    ]);
    let rules = Step::new("the dependencies' licences, duplicates and sources", rules)
        .fix("replace that dependency, or say in deny.toml why it may stay")
        .aloud();

    let mut advisories = machine::cargo();
    advisories.args(["deny", "check", "advisories"]);
    let mut unreachable = false;
    let advisories = Step::new("the dependencies' advisories", advisories)
        .fix("update that dependency, or say in deny.toml why the advisory does not touch us")
        .watched(|line| unreachable |= line.contains("failed to fetch advisory database"));
    if unreachable {
        say("SKIPPED: the advisories: their database cannot be reached from here");
        return rules;
    }
    rules.and(advisories)
}
