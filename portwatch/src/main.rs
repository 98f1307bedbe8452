//! The binary: reads the command line, runs the command, gives its status.

use portwatch::cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
