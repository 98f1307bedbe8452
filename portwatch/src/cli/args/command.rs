//! The commands.

use super::{ExportArgs, FormatArgs, ReplayArgs, ReportArgs, RunArgs, WatchArgs};
use clap::{Args, Subcommand};
use clap_complete::Shell;

/// One command.
#[derive(Clone, Debug, Subcommand)]
#[command(subcommand_help_heading = "Commands")]
pub enum Command {
    /// Watch live (the default)
    #[command(after_long_help = WATCH)]
    Watch(Box<WatchArgs>),
    /// Watch while a command runs, a deployment for example, and end with its status
    #[command(after_long_help = RUN)]
    Run(Box<RunArgs>),
    /// Play captures: the same verdicts as live, without root, on any machine
    #[command(after_long_help = REPLAY)]
    Replay(Box<ReplayArgs>),
    /// Make tables (Parquet, CSV), NDJSON or a timeline of captures
    #[command(after_long_help = EXPORT)]
    Export(Box<ExportArgs>),
    /// Make one HTML page of captures, which needs no network
    #[command(after_long_help = REPORT)]
    Report(Box<ReportArgs>),
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

const RUN: &str = "\
Examples:
  sudo portwatch run -- ./deploy.sh
  sudo portwatch run --fail-on-conflict --output conflicts.txt -- systemctl restart app
  sudo portwatch run --json --capture deploy.pwcap -- ansible-playbook site.yml

Every conflict of the machine while it runs is told, not only those of the command's own processes: a
service that the command starts is seldom its child. The filters narrow it.
Exit status: the command's own, 128+N if signal N ended it, 126 if it cannot be executed, 127 if there
is no such command, 125 if portwatch itself failed; with --fail-on-conflict 1 if the command ended with
0 and there was a conflict.";

const REPLAY: &str = "\
Examples:
  sudo portwatch --capture deploy.pwcap      take one
  portwatch replay deploy.pwcap
  portwatch replay --json --events all --port 60001 deploy.pwcap
  zcat old.pwcap.gz | portwatch replay -
  portwatch replay /var/lib/portwatch        every capture in there, in order of time

A capture that is cut or damaged is played as far as it goes, with a warning; --strict makes that an
error.";

const EXPORT: &str = "\
Examples:
  portwatch export --format parquet -o deploy.parquet deploy.pwcap
  portwatch export --format parquet --partition -o fleet captures/    fleet/date=.../host=.../
  portwatch export --format csv --events conflict deploy.pwcap
  portwatch export --format perfetto -o deploy.json deploy.pwcap      open in ui.perfetto.dev
  portwatch export --format ndjson --redact address,uid --redact-key team.key deploy.pwcap

docs/fleet.md has the columns, and asks them with DuckDB and Spark.";

const REPORT: &str = "\
Examples:
  portwatch report -o report.html deploy.pwcap
  portwatch report -o report.html --redact cmdline,address,uid captures/";

const DEMO: &str = "\
Examples:
  sudo portwatch demo
  sudo portwatch demo --format json";

const DOCTOR: &str = "\
Examples:
  sudo portwatch doctor
  portwatch doctor --btf vmlinux.btf.xz
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
    /// Answer for another machine's kernel, from its BTF: a copy of its /sys/kernel/btf/vmlinux, raw
    /// or packed by xz; needs no root
    #[arg(
        long,
        env = "PORTWATCH_BTF",
        value_name = "FILE",
        help_heading = "Kernel"
    )]
    pub btf: Option<std::path::PathBuf>,
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
