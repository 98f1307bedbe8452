//! Builds the BPF object and leaves it in `OUT_DIR/portwatch-ebpf`, where `portwatch` embeds it.
//!
//! aya-build runs the inner cargo. It takes the toolchain's switches from its own environment, so
//! this script runs itself a second time with that environment set (setting a variable of a running
//! process is unsafe):
//!
//! * `RUSTC_BOOTSTRAP=1`: without it aya-build does not build `core` on a rustc that is not a nightly;
//! * `CARGO_BUILD_BUILD_DIR`: one directory for `core`, shared by the dev and the release profile,
//!   which saves the second one half a minute;
//! * `CARGO_TERM_QUIET=true`: aya-build passes every line of the inner cargo on as a warning.
//!
//! What is missing is said in one sentence that names the command which installs it.

#[path = "build/toolchain.rs"]
mod toolchain;

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context as _, Result, bail};
use aya_build::{Package, Toolchain};

/// The BPF crate: its directory from here, and the object that aya-build leaves in `OUT_DIR`.
const PACKAGE: &str = "portwatch-ebpf";

/// Set in the second run: the toolchain to build with.
const SECOND_RUN: &str = "PORTWATCH_BUILD_WITH";

fn main() -> ExitCode {
    let done = match env::var(SECOND_RUN) {
        Ok(toolchain) => build(&toolchain),
        Err(_) => prepare(),
    };
    if let Err(error) = done {
        // Not an exit status: cargo would then print the whole script's output below the sentence.
        println!("cargo::error={error:#}");
    }
    ExitCode::SUCCESS
}

/// The first run: says what the object depends on, chooses the toolchain, starts the second run.
fn prepare() -> Result<()> {
    // aya-build names the BPF crate. The records it shares with us are a normal dependency, which
    // reruns no build script; its own dependencies and its profile are in the workspace's files.
    for path in ["../portwatch-common", "../Cargo.toml", "../Cargo.lock"] {
        println!("cargo::rerun-if-changed={path}");
    }
    println!("cargo::rerun-if-env-changed={}", toolchain::CHOICE);

    let out_dir = out_dir()?;
    let toolchain = match toolchain::find(&out_dir) {
        Ok((toolchain, _)) => toolchain,
        Err(gaps) if gaps.is_empty() => {
            bail!(
                "{} names no toolchain that builds the BPF part: unset it, then run `cargo xtask setup`",
                toolchain::CHOICE
            )
        }
        Err(gaps) => {
            let gaps: Vec<_> = gaps
                .iter()
                .map(|(toolchain, gap)| format!("{toolchain}: {gap}"))
                .collect();
            bail!(
                "the BPF part of portwatch cannot be built yet ({}): run `cargo xtask setup` once, \
                 then build again",
                gaps.join("; ")
            );
        }
    };
    let this = env::current_exe().context("the build script cannot find itself")?;
    let mut again = Command::new(this);
    again
        .env(SECOND_RUN, toolchain.name())
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TERM_QUIET", "true");
    // OUT_DIR is TARGET/PROFILE/build/PACKAGE-HASH/out.
    if let Some(target) = out_dir.ancestors().nth(4) {
        again.env("CARGO_BUILD_BUILD_DIR", target.join("bpf"));
    }
    let mut again = again
        .stdout(Stdio::piped())
        .spawn()
        .context("the build script cannot run itself")?;
    if let Some(told) = again.stdout.take() {
        for line in BufReader::new(told).lines() {
            let line = line.context("the build script's own output")?;
            if !is_noise(&line) {
                println!("{line}");
            }
        }
    }
    let status = again.wait()?;
    if !status.success() {
        bail!("the build of the BPF object ended with {status}");
    }
    Ok(())
}

/// Warnings that warn of nothing: blank lines, and rustup's notes that the distribution's toolchain
/// has no cargo and another one's is taken. Cargo would repeat them at every build.
fn is_noise(line: &str) -> bool {
    line.strip_prefix("cargo:warning=")
        .is_some_and(|text| text.is_empty() || text.starts_with("info: "))
}

/// The second run: builds the object without `bpf_loop`, then the other.
fn build(toolchain: &str) -> Result<()> {
    let out = out_dir()?;
    object(toolchain, &["flat"])?;
    let flat = out.join(format!("{PACKAGE}-flat"));
    // aya-build makes the file anew.
    fs::rename(out.join(PACKAGE), flat).context("the flat object cannot be put aside")?;
    if env::var_os("CARGO_FEATURE_PROBE_LOG").is_some() {
        object(toolchain, &["log"])
    } else {
        object(toolchain, &[])
    }
}

fn object(toolchain: &str, features: &[&str]) -> Result<()> {
    let package = Package {
        name: PACKAGE,
        root_dir: "../portwatch-ebpf",
        features,
        ..Package::default()
    };
    aya_build::build_ebpf([package], Toolchain::Custom(toolchain)).map_err(|_| {
        // Its text is the inner cargo's whole command line; the compiler's is in the warnings above.
        anyhow::anyhow!(
            "the BPF object did not build with the toolchain `{toolchain}`: the lines above say \
             why; if they speak of the linker or of `core`, run `cargo xtask setup`"
        )
    })?;
    strip(&out_dir()?.join(PACKAGE));
    Ok(())
}

/// Takes the DWARF out of the object where LLVM's strip is at hand: two thirds of its size.
///
/// The BTF and its line information, which the verifier's messages quote, stay. Without the tool,
/// or when it fails, the object stays as it is: the kernel reads no DWARF.
fn strip(object: &Path) {
    let stripped = object.with_extension("stripped");
    let done = [
        "llvm-strip-23",
        "llvm-strip-22",
        "llvm-strip-21",
        "llvm-strip",
    ]
    .iter()
    .any(|tool| {
        Command::new(tool)
            .arg("--strip-debug")
            .arg("-o")
            .args([&stripped, object])
            .output()
            .is_ok_and(|output| output.status.success())
    });
    if done {
        // A failed rename leaves the unstripped object, which is as good.
        let _ = fs::rename(&stripped, object);
    }
}

fn out_dir() -> Result<PathBuf> {
    env::var_os("OUT_DIR")
        .map(PathBuf::from)
        .context("cargo did not set OUT_DIR")
}
