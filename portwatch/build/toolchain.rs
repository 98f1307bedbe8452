//! Which of this machine's toolchains can build the BPF object.
//!
//! Two programs ask: `portwatch/build.rs`, which then builds with the answer, and `cargo xtask
//! setup`, which installs what the answer says is missing. Both compile this one file, so they
//! cannot disagree. It only looks: it installs nothing and prints nothing.
//!
//! A version number does not say whether a `bpf-linker` reads a rustc's bitcode (it is built
//! against one LLVM and does not tell which), so the check links a crate of one empty function:
//! a fifth of a second, and it needs no `core`.

use std::{
    env, fmt, fs,
    path::Path,
    process::{Command, Output},
};

/// Environment variable that leaves one of [`Toolchain::ALL`], by its name.
pub(crate) const CHOICE: &str = "PORTWATCH_BPF_TOOLCHAIN";

/// The smallest crate that goes through `bpf-linker`.
const EMPTY_PROBE: &str = r#"#![feature(no_core, lang_items)]
#![no_core]
#![no_main]
#[lang = "pointee_sized"]
trait PointeeSized {}
#[lang = "meta_sized"]
trait MetaSized: PointeeSized {}
#[lang = "sized"]
trait Sized: MetaSized {}
#[unsafe(no_mangle)]
extern "C" fn probe() {}
"#;

/// A rustup toolchain that may build the BPF object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toolchain {
    /// rustup's own `nightly`, with `rust-src`.
    Nightly,
    /// The distribution's rustc with its sources, linked into rustup by `cargo xtask setup`.
    Distribution,
}

impl Toolchain {
    /// In the order in which they are tried.
    pub(crate) const ALL: [Self; 2] = [Self::Nightly, Self::Distribution];

    /// The name that rustup knows it by.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nightly => "nightly",
            Self::Distribution => "portwatch-bpf",
        }
    }

    /// Runs `program` of this toolchain and waits for it.
    fn output(self, program: &str, args: &[&str]) -> Option<Output> {
        Command::new("rustup")
            .args(["run", self.name(), program])
            .args(args)
            // The sources of `core` use unstable features; a stable rustc refuses them otherwise.
            .env("RUSTC_BOOTSTRAP", "1")
            .output()
            .ok()
    }

    /// What this toolchain lacks to build the BPF object, or its `rustc -vV`.
    ///
    /// `scratch` is a directory for the linked probe; it is made when it is not there.
    pub(crate) fn check(self, scratch: &Path) -> Result<String, Gap> {
        let version = self.output("rustc", &["-vV"]).ok_or(Gap::Rustup)?;
        if !version.status.success() {
            return Err(Gap::Rustc);
        }
        let sysroot = self
            .output("rustc", &["--print", "sysroot"])
            .ok_or(Gap::Rustup)?;
        let sysroot = String::from_utf8_lossy(&sysroot.stdout).trim().to_owned();
        if !Path::new(&sysroot)
            .join("lib/rustlib/src/rust/library/core/src/lib.rs")
            .is_file()
        {
            return Err(Gap::Sources);
        }
        self.link(scratch)?;
        Ok(String::from_utf8_lossy(&version.stdout).into_owned())
    }

    /// Links [`EMPTY_PROBE`].
    fn link(self, scratch: &Path) -> Result<(), Gap> {
        let source = scratch.join("empty-probe.rs");
        let object = scratch.join(format!("empty-probe-{}.o", self.name()));
        fs::create_dir_all(scratch)
            .and_then(|()| fs::write(&source, EMPTY_PROBE))
            .map_err(|error| Gap::Scratch(format!("{}: {error}", source.display())))?;
        let (source, object) = (source.to_string_lossy(), object.to_string_lossy());
        let linked = self
            .output(
                "rustc",
                &[
                    "--target=bpfel-unknown-none",
                    "--crate-type=bin",
                    "-Cpanic=abort",
                    "-Cdebuginfo=2",
                    "-Clink-arg=--btf",
                    "-Awarnings",
                    "-o",
                    &object,
                    &source,
                ],
            )
            .ok_or(Gap::Rustup)?;
        if linked.status.success() {
            return Ok(());
        }
        let told = String::from_utf8_lossy(&linked.stderr);
        if told.contains("linker `bpf-linker` not found") {
            Err(Gap::Linker)
        } else if told.contains("`bpf-linker` failed") {
            Err(Gap::LinkerRefused)
        } else {
            // The compiler refused the probe itself: its lang items have changed since. That says
            // nothing about the linker, and the real build will.
            Ok(())
        }
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a toolchain lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    /// There is no rustup to ask.
    Rustup,
    /// rustup has no toolchain of that name.
    Rustc,
    /// The sources of `core` are not there.
    Sources,
    /// There is no `bpf-linker` on the PATH.
    Linker,
    /// The `bpf-linker` is made for another LLVM.
    LinkerRefused,
    /// The check itself could not write its file.
    Scratch(String),
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rustup => f.write_str("no rustup"),
            Self::Rustc => f.write_str("not installed"),
            Self::Sources => f.write_str("no sources of `core`"),
            Self::Linker => f.write_str("no bpf-linker"),
            Self::LinkerRefused => f.write_str("its bpf-linker is made for another LLVM"),
            Self::Scratch(error) => write!(f, "not checked: {error}"),
        }
    }
}

/// The first toolchain that can build the BPF object, with its `rustc -vV`; or what each lacks.
///
/// The list of gaps is empty only when [`CHOICE`] names none of them.
pub(crate) fn find(scratch: &Path) -> Result<(Toolchain, String), Vec<(Toolchain, Gap)>> {
    let choice = env::var(CHOICE).unwrap_or_default();
    let mut gaps = Vec::new();
    for toolchain in Toolchain::ALL {
        if !choice.is_empty() && choice != toolchain.name() {
            continue;
        }
        match toolchain.check(scratch) {
            Ok(version) => return Ok((toolchain, version)),
            Err(gap) => gaps.push((toolchain, gap)),
        }
    }
    Err(gaps)
}
