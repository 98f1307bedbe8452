//! The commands.

use super::{FormatArgs, WatchArgs};
use clap::{Args, Subcommand};
use clap_complete::Shell;

/// One command.
#[derive(Clone, Debug, Subcommand)]
#[command(subcommand_help_heading = "Commands")]
pub enum Command {
    /// Watch live (the default)
    #[command(after_long_help = WATCH)]
    Watch(Box<WatchArgs>),
    /// Make the founding case in a network namespace of its own and show the verdict
    ///
    /// Ends with 0 only if the verdict names the process, the peer and the port that it made.
    #[command(after_long_help = DEMO)]
    Demo(DemoArgs),
    /// Tell what this kernel allows: every hook, and for each refusal the reason
    #[command(after_long_help = DOCTOR)]
    Doctor(DoctorArgs),
    /// Print what is made from the program's own definitions
    #[command(after_long_help = GENERATE)]
    Generate(GenerateArgs),
}

const WATCH: &str = "\
Examples:
  sudo portwatch watch --port 60001
  sudo portwatch watch --format json --events all --output /var/log/portwatch.json
  sudo portwatch watch --cgroup /system.slice/app.service --duration 10m --fail-on-conflict
  sudo portwatch watch --netns /run/netns/blue --transport udp";

const DEMO: &str = "\
Examples:
  sudo portwatch demo
  sudo portwatch demo --format json";

const DOCTOR: &str = "\
Examples:
  sudo portwatch doctor
  sudo portwatch doctor --format json";

const GENERATE: &str = "\
Examples:
  portwatch generate json-schema > portwatch-1.schema.json
  portwatch generate man > /usr/local/share/man/man1/portwatch.1
  portwatch generate completions bash > /etc/bash_completion.d/portwatch";

/// Of `demo`.
#[derive(Clone, Debug, Args)]
pub struct DemoArgs {
    /// How it is told.
    #[command(flatten)]
    pub format: FormatArgs,
    /// The part that a process of the demo plays; the demo starts them by itself.
    #[arg(long, hide = true, value_name = "ROLE")]
    pub role: Option<crate::demo::roles::Role>,
}

/// Of `doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// How it is told.
    #[command(flatten)]
    pub format: FormatArgs,
}

/// Of `generate`.
#[derive(Clone, Debug, Args)]
pub struct GenerateArgs {
    /// What to print.
    #[command(subcommand)]
    pub what: GenerateWhat,
}

/// What `generate` prints.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum GenerateWhat {
    /// The JSON Schema of a line of `--format json`
    JsonSchema,
    /// What each cause means, how it comes about, how to see it by hand and to mend it; Markdown
    Causes,
    /// The manual page, for man(1)
    Man,
    /// Completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}
