//! `cargo xtask test`: every test this machine can run; the heavy suite only when it is asked for.
//!
//! A test that cannot run prints a line that starts with `SKIPPED:` and passes. Such lines are
//! listed at the end, and in a continuous-integration run (`CI=true`) they are a failure: there,
//! green means that everything ran.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::{
    build, debian, machine,
    report::Report,
    setup,
    step::{Step, say},
    vm,
};

/// A part of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Unit tests, goldens and documentation: no root, any kernel.
    Unit,
    /// The release against this machine's kernel, in network namespaces of its own: root.
    Kernel,
    /// The release on Debian's kernels in emulated machines, with every backend: a chosen part of
    /// the kernel suite (`cargo xtask vm` runs all of it): minutes.
    Vm,
    /// The release against real servers and clients, installed first, and some of them in the emulated
    /// machines: root, minutes.
    Real,
}

/// Runs `suite`, or all but the heavy one.
pub(crate) fn test(suite: Option<Suite>) -> Result<()> {
    let suites: &[Suite] = match suite {
        None => &[Suite::Unit, Suite::Kernel, Suite::Vm],
        Some(Suite::Unit) => &[Suite::Unit],
        Some(Suite::Kernel) => &[Suite::Kernel],
        Some(Suite::Vm) => &[Suite::Vm],
        Some(Suite::Real) => &[Suite::Real],
    };
    let mut report = Report::default();
    let portwatch = build::build(false)?;
    for suite in suites {
        let done = match suite {
            Suite::Unit => unit(&mut report),
            Suite::Kernel => privileged("kernel", &portwatch, &mut report),
            Suite::Vm => vm::run(
                vm::Series::ALL,
                vm::Backend::ALL,
                &vm::Extent::Chosen,
                &portwatch,
                &mut report,
            ),
            // Its programs are installed then.
            Suite::Real => privileged("real", &portwatch, &mut report).and_then(|()| {
                vm::run(
                    vm::Series::ALL,
                    &[vm::Backend::Trampoline, vm::Backend::Kprobe],
                    &vm::Extent::Founding,
                    &portwatch,
                    &mut report,
                )
            }),
        };
        if let Err(error) = done {
            // The other suites still have something to say.
            say(format_args!("{error:#}"));
            report.fail(&format!("{suite:?}").to_lowercase());
        }
    }
    report.judge(machine::is_ci())
}

/// The tests that need nothing of the kernel.
fn unit(report: &mut Report) -> Result<()> {
    let mut cargo = machine::cargo();
    cargo.args(["test", "--workspace", "--no-fail-fast"]);
    cargo.args([
        "--exclude",
        "portwatch-ebpf",
        "--exclude",
        "portwatch-tests",
    ]);
    cargo.args(["--", "--show-output"]);
    Step::new("unit tests, goldens and documentation", cargo)
        .fix("read the failed test above; run it alone with `cargo test NAME`")
        .watched(|line| report.read(line))
}

/// A suite of the package `portwatch-tests` that needs root.
fn privileged(name: &str, portwatch: &Path, report: &mut Report) -> Result<()> {
    let package = machine::workspace().join("tests");
    if !["", "tests"]
        .iter()
        .any(|under| package.join(under).join(name).join("main.rs").is_file())
    {
        report.skip(format!(
            "the {name} suite: tests/{name}/main.rs is not in this tree"
        ));
        return Ok(());
    }
    let Some(runner) = runner()? else {
        report.skip(format!(
            "the {name} suite: it needs root, and there is no sudo here"
        ));
        return Ok(());
    };
    machine::mount_tracefs()?;
    if !["ip", "ss", "sysctl"]
        .into_iter()
        .all(machine::has_with_sbin)
    {
        debian::apt_get("fetch the package lists", &["update"])?;
        debian::apt_install("install what the suites call", &["iproute2", "procps"])?;
    }
    if name == "real" {
        let mut cargo = with_runner(&runner, portwatch);
        cargo.args([
            "run",
            "--package",
            "portwatch-tests",
            "--bin",
            "install-programs",
        ]);
        Step::new("install the programs of the real suite", cargo)
            .fix("read above which one is refused; `apt-get update` and network access may help")
            .watched(|line| report.read(line))?;
    }
    let mut cargo = with_runner(&runner, portwatch);
    cargo.args(["test", "--package", "portwatch-tests", "--test", name]);
    cargo.args(["--", "--test-threads=2", "--show-output"]);
    Step::new(format!("the {name} suite"), cargo)
        .fix(format!(
            "read the failed test above; `cargo xtask test --suite {name}` runs this suite alone, \
             `portwatch doctor` tells what this kernel allows"
        ))
        .watched(|line| report.read(line))
}

/// The cargo runner that makes a test root: its variable and its value, which is nothing when we
/// are root. Cargo itself stays the user's, and so do the files it makes. Nothing without sudo.
fn runner() -> Result<Option<(String, String)>> {
    let output = Command::new("rustc")
        .arg("-vV")
        .output()
        .context("`rustc -vV` does not start")?;
    let version = String::from_utf8_lossy(&output.stdout);
    let host = setup::field(&version, "host").context("`rustc -vV` tells no host")?;
    let variable = format!(
        "CARGO_TARGET_{}_RUNNER",
        host.to_uppercase().replace('-', "_")
    );
    if machine::is_root() {
        return Ok(Some((variable, String::new())));
    }
    Ok(machine::has("sudo").then(|| (variable, format!("sudo {} --", machine::preserved()))))
}

/// A cargo whose programs find `portwatch` and are run by `runner`.
fn with_runner((variable, value): &(String, String), portwatch: &Path) -> Command {
    let mut cargo = machine::cargo();
    cargo.env("PORTWATCH_BIN", portwatch);
    if !value.is_empty() {
        cargo.env(variable, value);
    }
    cargo
}
