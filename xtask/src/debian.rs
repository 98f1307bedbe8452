//! What Debian's packages give the BPF build: a rustc with its sources, and an LLVM for bpf-linker.
//!
//! Only used where the ordinary way is refused, but for the LLVM, which any bpf-linker is made with.

use std::{env, process::Command, time::Duration};

use anyhow::{Context as _, Result, bail};

use crate::{
    machine, setup,
    step::Step,
    toolchain::{Gap, Toolchain},
};

/// The bpf-linker that the pinned aya was measured with.
const BPF_LINKER: &str = "0.13.0";

/// The LLVM versions which that bpf-linker can be made with: its features.
const LLVM_OF_BPF_LINKER: [u32; 3] = [21, 22, 23];

/// How long one call of apt-get may take, waiting for another one's lock included.
const APT_LIMIT: Duration = Duration::from_secs(900);

/// How long the compilation of bpf-linker may take; one minute on two cores.
const CARGO_INSTALL_LIMIT: Duration = Duration::from_secs(1200);

/// Installs Debian's rustc and the sources of its `core`, links it into rustup, and makes a
/// bpf-linker for it.
pub(crate) fn install() -> Result<()> {
    apt_get("fetch the package lists", &["update"])?;
    apt_install(
        "install Debian's rustc and its sources",
        &["rustc-web", "rust-web-src"],
    )
    .context("rustc-web and rust-web-src are in Debian 12's security suite")?;
    let scratch = machine::scratch();
    let mut gap = Toolchain::Distribution.check(&scratch).err();
    if gap == Some(Gap::Rustc) {
        setup::rustup(
            "link Debian's rustc into rustup as `portwatch-bpf`",
            &["toolchain", "link", Toolchain::Distribution.name(), "/usr"],
            Duration::from_secs(30),
        )?;
        gap = Toolchain::Distribution.check(&scratch).err();
    }
    match gap {
        Some(Gap::Linker | Gap::LinkerRefused) => install_linker(Toolchain::Distribution),
        _ => Ok(()),
    }
}

/// Makes a bpf-linker with the LLVM of `toolchain`'s rustc.
///
/// It takes the place of a bpf-linker that an earlier `cargo install` made; another program's one,
/// or one earlier on the PATH, is left alone, and then the caller's check fails.
pub(crate) fn install_linker(toolchain: Toolchain) -> Result<()> {
    let llvm = llvm_of(toolchain)?;
    if !LLVM_OF_BPF_LINKER.contains(&llvm) {
        bail!(
            "its rustc has LLVM {llvm}, and bpf-linker {BPF_LINKER} can be made with LLVM \
             {LLVM_OF_BPF_LINKER:?} alone"
        );
    }
    let llvm_dev = [format!("llvm-{llvm}-dev"), format!("libpolly-{llvm}-dev")];
    let mut packages = vec![
        &llvm_dev[0],
        &llvm_dev[1],
        "libzstd-dev",
        "zlib1g-dev",
        "libxml2-dev",
    ];
    if !machine::has("c++") {
        packages.push("g++");
    }
    let prefix = match env::var("LLVM_PREFIX") {
        Ok(prefix) => prefix,
        Err(_) => {
            if !has_packages(&packages) {
                install_llvm(llvm, toolchain, &packages)
                    .with_context(|| format!("bpf-linker has to be made with LLVM {llvm}"))?;
            }
            format!("/usr/lib/llvm-{llvm}")
        }
    };
    let mut cargo = machine::cargo();
    cargo
        .args(["install", "bpf-linker", "--version", BPF_LINKER, "--locked"])
        .args([
            "--no-default-features",
            "--features",
            &format!("llvm-{llvm}"),
        ])
        .env("LLVM_PREFIX", &prefix)
        // Cargo then compiles in a directory that it removes afterwards.
        .env_remove("CARGO_TARGET_DIR");
    Step::new(
        format!("compile bpf-linker {BPF_LINKER} with LLVM {llvm} (about a minute)"),
        cargo,
    )
    .fix(format!(
        "if a file is in the way, remove that bpf-linker; if a library is missing, \
             `apt-get install {}`; then `cargo xtask setup` again",
        packages.join(" ")
    ))
    .limit(CARGO_INSTALL_LIMIT)
    .quietly()
}

/// The major version of the LLVM in `toolchain`'s rustc.
fn llvm_of(toolchain: Toolchain) -> Result<u32> {
    let output = Command::new("rustup")
        .args(["run", toolchain.name(), "rustc", "-vV"])
        .output()
        .context("rustup does not start")?;
    let version = String::from_utf8_lossy(&output.stdout);
    llvm_major(&version)
        .with_context(|| format!("`rustup run {toolchain} rustc -vV` tells no LLVM version"))
}

/// The major version of LLVM in the text of `rustc -vV`.
fn llvm_major(version: &str) -> Option<u32> {
    setup::field(version, "LLVM version")?
        .split('.')
        .next()?
        .parse()
        .ok()
}

/// Installs what bpf-linker is made with.
fn install_llvm(llvm: u32, toolchain: Toolchain, packages: &[&str]) -> Result<()> {
    if toolchain == Toolchain::Nightly {
        // For the other one they have just been fetched.
        apt_get("fetch the package lists", &["update"])?;
    }
    apt_install(&format!("install LLVM {llvm}"), packages)
}

/// Whether dpkg has every one of `packages`.
fn has_packages(packages: &[&str]) -> bool {
    Command::new("dpkg")
        .arg("--status")
        .args(packages)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// `apt-get install`, which removes nothing to make room.
pub(crate) fn apt_install(what: &str, packages: &[&str]) -> Result<()> {
    let mut args = vec!["install", "-y", "--no-install-recommends", "--no-remove"];
    args.extend(packages);
    apt_get(
        &format!("{what}: apt-get install {}", packages.join(" ")),
        &args,
    )
}

/// One quiet step of apt-get, as root.
pub(crate) fn apt_get(what: &str, args: &[&str]) -> Result<()> {
    if !machine::has("apt-get") {
        bail!("this way is for Debian and its relatives, and there is no apt-get here");
    }
    let mut command = machine::as_root("env").with_context(|| {
        format!(
            "there is no sudo here\n  what to do: as root, run `apt-get {}`",
            args.join(" ")
        )
    })?;
    command
        .args(["DEBIAN_FRONTEND=noninteractive", "apt-get"])
        .args(["-q", "-o", "DPkg::Lock::Timeout=300"])
        .args(args);
    Step::new(what, command)
        .fix(format!("`apt-get {}` as root tells more", args.join(" ")))
        .limit(APT_LIMIT)
        .quietly()
}

#[cfg(test)]
mod tests {
    use super::llvm_major;

    #[test]
    fn the_llvm_of_a_rustc() {
        assert_eq!(
            llvm_major("release: 1.96.0\nLLVM version: 22.1.8\n"),
            Some(22)
        );
        assert_eq!(llvm_major("LLVM version: unknown\n"), None);
        assert_eq!(llvm_major("release: 1.96.0\n"), None);
    }
}
