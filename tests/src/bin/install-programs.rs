//! Installs what the suite `real` needs and this machine lacks: Debian packages, and Python
//! and Node packages in a folder of the target directory. What is there is left alone, and no service is started.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use portwatch_tests::programs::{NODE, PACKAGED, PYTHON, find, folder, python};
use rustix::process::geteuid;

/// Debian asks this script before a package starts its service.
const POLICY: &str = "/usr/sbin/policy-rc.d";

fn main() -> ExitCode {
    match install() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("install-programs: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn install() -> Result<()> {
    packages()?;
    python_packages()?;
    node_packages()?;
    println!("every real program is there");
    Ok(())
}

fn packages() -> Result<()> {
    let mut missing: Vec<&str> = PACKAGED
        .iter()
        .filter(|packaged| find(packaged.file).is_none())
        .map(|packaged| packaged.package)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    if missing.is_empty() {
        println!("packages: all there");
        return Ok(());
    }
    if !geteuid().is_root() {
        bail!(
            "not root: run it with sudo, or install by hand: {}",
            missing.join(" ")
        );
    }
    let _policy = NoServices::set()?;
    println!("packages: apt-get update");
    apt(&["update"])
        .context("could not read the package lists; check apt's sources and network")?;
    println!("packages: installing {}", missing.join(" "));
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(&missing);
    apt(&arguments).with_context(|| {
        format!(
            "could not install; try `apt-get install --no-install-recommends {}` by hand",
            missing.join(" ")
        )
    })?;
    let absent: Vec<&str> = PACKAGED
        .iter()
        .filter(|packaged| find(packaged.file).is_none())
        .map(|packaged| packaged.file)
        .collect();
    if !absent.is_empty() {
        bail!(
            "installed, and still missing: {}; this is not the Debian the suite was written on",
            absent.join(" ")
        );
    }
    Ok(())
}

fn apt(arguments: &[&str]) -> Result<()> {
    run(Command::new("apt-get")
        .args(["--quiet", "--option", "DPkg::Lock::Timeout=600"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

fn python_packages() -> Result<()> {
    let environment = folder().join("python");
    once("python", &environment, PYTHON, || {
        let venv = ["-m", "venv"];
        run(Command::new("/usr/bin/python3")
            .args(venv)
            .arg(&environment))
        .context("could not make a virtual environment; package python3-venv brings it")?;
        run(Command::new(python("pip"))
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .args(PYTHON))
        .context("pip failed; check its index and network, then run this again")
    })
}

fn node_packages() -> Result<()> {
    let prefix = folder().join("node");
    once("node", &prefix, NODE, || {
        fs::create_dir_all(&prefix)?;
        run(Command::new("/usr/bin/npm")
            .args(["install", "--silent", "--no-fund", "--no-audit", "--prefix"])
            .arg(&prefix)
            .args(NODE))
        .context("npm failed; check its registry and network, then run this again")
    })
}

/// Installs into `folder` unless the same list was installed there before.
fn once(
    what: &str,
    folder: &Path,
    packages: &[&str],
    install: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let mark = folder.join("installed");
    let wanted = packages.join(" ");
    if fs::read_to_string(&mark).is_ok_and(|installed| installed == wanted) {
        println!("{what}: all there");
        return Ok(());
    }
    println!("{what}: installing {wanted} into {}", folder.display());
    install()?;
    fs::write(&mark, wanted).with_context(|| format!("could not write {}", mark.display()))
}

fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("could not start {command:?}"))?;
    if !status.success() {
        bail!("{command:?} ended with {status}");
    }
    Ok(())
}

/// While this lives no package starts a service; a policy of the machine's own stays as it is.
struct NoServices {
    ours: bool,
}

impl NoServices {
    fn set() -> Result<Self> {
        if Path::new(POLICY).exists() {
            return Ok(Self { ours: false });
        }
        let mut file =
            fs::File::create_new(POLICY).with_context(|| format!("could not make {POLICY}"))?;
        let policy = Self { ours: true };
        file.write_all(b"#!/bin/sh\nexit 101\n")?;
        file.set_permissions(fs::Permissions::from_mode(0o755))?;
        Ok(policy)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.ours
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("could not remove {POLICY}: {error}; remove it by hand");
        }
    }
}
