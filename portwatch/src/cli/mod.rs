//! One file a command.

pub mod args;
mod capture;
mod demo;
mod doctor;
pub mod exit;
mod export;
pub mod generate;
mod page;
mod place;
mod playback;
mod ready;
mod replay;
mod run;
mod sinks;
mod watch;

use anyhow::Result;
use args::{Cli, CommonArgs, Run};
use exit::Status;
use std::io::stdout;
use std::process::ExitCode;

/// Reads the command line, runs the command, prints an error once.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::from_env() {
        Ok(cli) => cli,
        Err(error) => {
            let status = Status::of_usage(&error);
            // A closed output is no error.
            let _ = error.print();
            return status.into();
        }
    };
    log_to_stderr(&cli.common);
    match run(&cli) {
        Ok(status) => status.into(),
        Err(error) => {
            let status = match cli.to_run() {
                Run::Run(_) => Status::of_run_error(&error),
                Run::Watch(_)
                | Run::Replay(_)
                | Run::Export(_)
                | Run::Report(_)
                | Run::Demo(_)
                | Run::Doctor(_)
                | Run::Generate(_) => Status::of_error(&error),
            };
            if status != Status::Ran {
                anstream::eprintln!("portwatch: {error:#}");
            }
            status.into()
        }
    }
}

fn run(cli: &Cli) -> Result<Status> {
    match cli.to_run() {
        Run::Watch(args) => watch::run(args, &cli.common),
        Run::Run(args) => run::run(args, &cli.common),
        Run::Replay(args) => replay::run(args, &cli.common),
        Run::Export(args) => export::run(args, &cli.common),
        Run::Report(args) => page::run(args),
        Run::Demo(args) => demo::run(args, &cli.common),
        Run::Doctor(args) => doctor::run(args),
        Run::Generate(args) => {
            generate::run(args, &mut stdout().lock())?;
            Ok(Status::Ran)
        }
    }
}

/// `-v` tells more of portwatch itself, `-vv` of the probes as well (in builds that have that).
fn log_to_stderr(common: &CommonArgs) {
    let level = match common.verbose {
        0 => log::LevelFilter::Warn,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Debug,
    };
    env_logger::Builder::new()
        .filter_level(level)
        // The loader tells every relocation.
        .filter_module("aya", level.min(log::LevelFilter::Warn))
        .filter_module("aya_obj", level.min(log::LevelFilter::Warn))
        .format_timestamp(None)
        .format_target(false)
        .init();
}

/// One thread with its I/O and timers: the tracer sleeps most of the time.
fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}
