//! `cargo xtask vm`: the kernel suite on Debian's kernels, in QEMU.
//!
//! The machine is emulated (TCG): no /dev/kvm, no privileges, nothing of the host is changed. Its
//! root is the host's, read-only over 9p below an overlay in memory, so whatever program the host
//! has runs in the guest. What the console says is kept in `target/vm/KERNEL/serial.log`. Kernels run
//! side by side.

mod boot;
mod guest;
mod image;
mod kernel;
mod qemu;

use std::{
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};

use crate::{
    build, machine,
    report::Report,
    step::{Step, say},
};
pub(crate) use guest::{Backend, Extent};
pub(crate) use kernel::Series;
use qemu::Qemu;

/// What `cargo xtask vm` takes.
#[derive(Args)]
pub(crate) struct VmArgs {
    /// Which of Debian's kernels.
    #[arg(long, value_enum, default_value = "all")]
    kernel: KernelChoice,
    /// Only these backends; all that portwatch has otherwise.
    #[arg(long, value_enum, value_delimiter = ',')]
    backend: Vec<Backend>,
    /// The part of the suite that `cargo xtask test` runs, instead of all of it.
    #[arg(long)]
    chosen: bool,
    /// Only tests whose names have one of these words.
    #[arg(value_name = "TEST")]
    tests: Vec<String>,
}

/// A word of `--kernel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum KernelChoice {
    #[value(name = "6.1")]
    V6_1,
    #[value(name = "6.12")]
    V6_12,
    All,
}

impl KernelChoice {
    fn series(self) -> &'static [Series] {
        match self {
            Self::V6_1 => &[Series::V6_1],
            Self::V6_12 => &[Series::V6_12],
            Self::All => Series::ALL,
        }
    }
}

/// `cargo xtask vm`.
pub(crate) fn vm(args: &VmArgs) -> Result<()> {
    // As the suites themselves do: one that is built already can be named.
    let portwatch = match std::env::var_os("PORTWATCH_BIN") {
        Some(portwatch) => std::path::absolute(portwatch)?,
        None => build::build(false)?,
    };
    let mut report = Report::default();
    let extent = match (args.tests.as_slice(), args.chosen) {
        ([], false) => Extent::Whole,
        ([], true) => Extent::Chosen,
        (tests, _) => Extent::Only(tests.to_vec()),
    };
    let backends = if args.backend.is_empty() {
        Backend::ALL.to_vec()
    } else {
        args.backend.clone()
    };
    if let Err(error) = run(
        args.kernel.series(),
        &backends,
        &extent,
        &portwatch,
        &mut report,
    ) {
        say(format_args!("{error:#}"));
        report.fail("vm");
    }
    report.judge(machine::is_ci())
}

/// Boots each kernel and runs the suite with each backend.
pub(crate) fn run(
    kernels: &[Series],
    backends: &[Backend],
    extent: &Extent,
    portwatch: &Path,
    report: &mut Report,
) -> Result<()> {
    if let Some(reason) = boot::hindrance() {
        report.skip(format!("the suites in virtual machines: {reason}"));
        return Ok(());
    }
    boot::install()?;
    let qemu = Qemu::get()?;
    let suites = Suites::build(portwatch)?;
    let mut failed = Vec::new();
    let mut ready = Vec::new();
    for series in kernels {
        let done = kernel::fetch(*series).and_then(|kernel| {
            let job = guest::job(&suites, backends, extent);
            let image = image::build(&kernel, &job)?;
            Ok((kernel, image))
        });
        match done {
            Ok(made) => ready.push(made),
            Err(error) => {
                say(format_args!("{error:#}"));
                failed.push(series.name());
            }
        }
    }
    // Side by side: a tracer's start keeps one processor busy and no more.
    let ended = thread::scope(|scope| {
        let guests: Vec<_> = ready
            .iter()
            .map(|(kernel, image)| {
                let guest = scope.spawn(|| {
                    let mut report = Report::default();
                    let done = boot::boot(&qemu, kernel, image, &mut report);
                    (done, report)
                });
                (kernel, guest)
            })
            .collect();
        guests
            .into_iter()
            .map(|(kernel, guest)| (kernel.series, guest.join()))
            .collect::<Vec<_>>()
    });
    for (series, joined) in ended {
        let (done, told) = joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        report.merge(told, series.name());
        if let Err(error) = done {
            say(format_args!("{error:#}"));
            failed.push(series.name());
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("the suite failed on: {}", failed.join(", "))
}

/// The programs under test, as the host built them.
pub(crate) struct Suites {
    /// The release.
    pub(crate) portwatch: PathBuf,
    /// The test runner of `tests/kernel`.
    pub(crate) kernel: PathBuf,
    /// That of `tests/real`.
    pub(crate) real: PathBuf,
}

impl Suites {
    fn build(portwatch: &Path) -> Result<Self> {
        let mut cargo = machine::cargo();
        cargo.args(["test", "--package", "portwatch-tests", "--no-run"]);
        let mut built = Vec::new();
        Step::new("build the suites", cargo)
            .fix("mend what the compiler says above")
            .watched(|line| built.extend(executable(line)))?;
        let find = |name: &str| {
            built
                .iter()
                .find(|(source, _)| source == name)
                .map(|(_, file)| machine::workspace().join(file))
                .with_context(|| format!("cargo built no test runner from `{name}`"))
        };
        Ok(Self {
            portwatch: portwatch.to_owned(),
            kernel: find("kernel/main.rs")?,
            real: find("real/main.rs")?,
        })
    }
}

/// Source and file of cargo's line `Executable SOURCE (FILE)`.
fn executable(line: &str) -> Option<(String, PathBuf)> {
    let (source, file) = line.trim().strip_prefix("Executable ")?.split_once(" (")?;
    Some((
        source.trim_start_matches("unittests ").to_owned(),
        PathBuf::from(file.strip_suffix(')')?),
    ))
}

/// Where everything of the virtual machines is kept.
fn folder() -> PathBuf {
    machine::target().join("vm")
}

#[cfg(test)]
mod tests {
    use super::executable;

    #[test]
    fn cargo_tells_what_it_built() {
        let (source, file) =
            executable("  Executable kernel/main.rs (target/debug/deps/kernel-bdb28)\n").unwrap();
        assert_eq!(source, "kernel/main.rs");
        assert_eq!(file.to_str(), Some("target/debug/deps/kernel-bdb28"));
        assert_eq!(executable("    Finished `test` profile"), None);
    }
}
