//! What makes lines of reports, for every command that tells some.

use super::args::{CommonArgs, Format};
use crate::decode::event::NetnsId;
use crate::sink::Compose;
use crate::sink::json::Json;
use crate::sink::output::Output;
use crate::sink::text::{Look, Palette, Text, Width};
use jiff::tz::TimeZone;
use std::io::{stderr, stdout};

/// Where the reports come from.
pub(super) struct Origin<'a> {
    /// Name of the machine.
    pub(super) host: &'a str,
    /// The run, where several are told.
    pub(super) run: Option<&'a str>,
    /// The tracer's network namespace.
    pub(super) own_netns: Option<NetnsId>,
}

/// The lines of a format over an output.
pub(super) fn compose(
    output: &Output,
    format: Format,
    common: &CommonArgs,
    origin: &Origin<'_>,
) -> Box<dyn Compose> {
    let terminal = output.is_terminal();
    match format {
        Format::Json => Box::new(Json::new(origin.host, origin.run)),
        Format::Text => Box::new(Text::new(Look {
            // Eight digits of 32 tell a few runs of a host apart.
            run: origin.run.map(|run| {
                let short = run.get(..8).unwrap_or(run);
                format!("{}/{short}", origin.host)
            }),
            zone: TimeZone::system(),
            data: Palette::new(match output {
                Output::Stdout => common.color.wanted(&stdout()),
                Output::File(_) => false,
            }),
            talk: Palette::new(common.color.wanted(&stderr())),
            width: if terminal {
                Width::Terminal
            } else {
                Width::Endless
            },
            own_netns: origin.own_netns.map(|netns| netns.0),
            repeat_losses: !terminal,
        })),
    }
}

/// A repeated attempt may replace its last line: not between two lines of a log.
pub(super) fn rewrites(format: Format, common: &CommonArgs) -> bool {
    format == Format::Text && common.verbose == 0
}

/// Name of this machine.
pub(super) fn host() -> String {
    nix::unistd::gethostname()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
