//! Options of `watch`.

use super::{CaptureArgs, FormatArgs, LimitArgs, SelectArgs, ShowArgs, TraceArgs};
use crate::sink::filter::EventName;
use clap::Args;

/// Everything `watch` takes.
#[derive(Clone, Debug, Args)]
pub struct WatchArgs {
    /// Text or JSON.
    #[command(flatten)]
    pub format: FormatArgs,
    /// Which reports pass.
    #[command(flatten)]
    pub select: SelectArgs,
    /// What is shown of them.
    #[command(flatten)]
    pub show: ShowArgs,
    /// Where it is captured.
    #[command(flatten)]
    pub capture: CaptureArgs,
    /// When it ends.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// How the kernel is watched.
    #[command(flatten)]
    pub trace: TraceArgs,
}

impl WatchArgs {
    /// Two options that cannot both be meant.
    pub(super) fn contradiction(&self) -> Option<String> {
        let of_key = self.show.redact.contradiction();
        of_key.or_else(|| self.uncounted())
    }

    fn uncounted(&self) -> Option<String> {
        let option = match (&self.limits.max_conflicts, self.limits.fail_on_conflict) {
            (Some(_), _) => "--max-conflicts",
            (None, true) => "--fail-on-conflict",
            (None, false) => return None,
        };
        let unseen = !self
            .select
            .selection()
            .events
            .contains(&EventName::Conflict);
        unseen.then(|| format!("{option} counts conflicts: add `conflict` to --events"))
    }
}
