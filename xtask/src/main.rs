//! Builds, runs and tests portwatch: `cargo xtask COMMAND`.
//!
//! It does not depend on portwatch, so it builds on a machine that cannot build BPF yet. Every
//! command says each step in a line on standard error, skips what is there, and ends a failed step
//! with what to do. It exits with 0 only when all that was asked for was done; `run` becomes
//! portwatch and leaves with its status.
#![forbid(unsafe_code)]

mod bench;
mod bless;
mod build;
mod debian;
mod lint;
mod machine;
mod report;
mod run;
mod setup;
mod step;
mod test;
#[path = "../../portwatch/build/toolchain.rs"]
mod toolchain;
mod vm;

use std::{ffi::OsString, process::ExitCode};

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Builds, runs and tests portwatch.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the BPF build lacks, and say what was taken.
    Setup,
    /// Set up, then build the one file `target/release/portwatch`.
    Build {
        /// Build `target/debug/portwatch` instead, with the probes' own diagnostics.
        #[arg(long)]
        debug: bool,
    },
    /// Set up, build a release and run it as root; without arguments it traces live.
    Run {
        /// The arguments of portwatch.
        #[arg(trailing_var_arg = true, value_name = "ARGS")]
        args: Vec<OsString>,
    },
    /// Set up, build a release and run every test this machine can run, but for the heavy suite.
    Test {
        /// Run this suite alone.
        #[arg(long, value_enum)]
        suite: Option<test::Suite>,
    },
    /// Measure what captures cost, and fail where a goal is missed.
    Bench,
    /// Let the golden captures say from now on what they say now.
    Bless,
    /// Boot Debian's kernels in QEMU and run the kernel suite on them with every backend.
    Vm(vm::VmArgs),
    /// Check the format, the lints of both sides, and the dependencies.
    Lint,
}

fn main() -> ExitCode {
    match dispatch(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            step::say(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<()> {
    match command {
        Command::Setup => setup::ensure().map(drop),
        Command::Build { debug } => build::build(debug).map(drop),
        Command::Run { args } => run::run(&args),
        Command::Test { suite } => test::test(suite),
        Command::Bench => bench::bench(),
        Command::Bless => bless::bless(),
        Command::Vm(args) => vm::vm(&args),
        Command::Lint => lint::lint(),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, Parser as _};

    use super::{Cli, Command};

    #[test]
    fn the_commands_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn run_passes_everything_behind_it_on() {
        for line in [
            &["cargo xtask", "run", "--", "demo", "--format", "json"][..],
            &["cargo xtask", "run", "demo", "--format", "json"],
        ] {
            let Command::Run { args } = Cli::parse_from(line).command else {
                panic!("{line:?} is not `run`");
            };
            assert_eq!(args, ["demo", "--format", "json"]);
        }
    }
}
