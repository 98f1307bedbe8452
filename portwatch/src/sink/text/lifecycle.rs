//! The lines around the verdicts: start, the end of incidents, losses, summary.

use super::super::escape::escape;
use super::block::sentence;
use super::{Look, Palette};
use crate::report::time::human;
use crate::report::{
    BackendName, Body, How, Lost, LostCount, RefusedHook, Report, Resolved, Start, Summary,
};
use std::fmt::Display;

/// What a report warns of, for standard error: losses, refused hooks, what this machine lacks.
///
/// Functions of the kernel that are refused are no warning: the exits of system calls serve instead,
/// and what they cannot see stands in the start line.
#[must_use]
pub fn warnings(report: &Report) -> Vec<String> {
    match &report.body {
        Body::Start(start) => {
            let refused = refusals(&start.hooks_refused).into_iter();
            let warnings = start
                .warnings
                .iter()
                .map(|text| format!("portwatch: warning: {}", escape(text)));
            refused.chain(warnings).collect()
        }
        Body::Lost(lost) => lost
            .since_last
            .iter()
            .map(|lost| format!("portwatch: lost {}", count(lost)))
            .collect(),
        Body::Conflict(_)
        | Body::Resolved(_)
        | Body::Refused(_)
        | Body::Assign(_)
        | Body::Release(_)
        | Body::Summary(_) => Vec::new(),
    }
}

/// One line for all hooks of a kind that were refused for one reason: it is one fact.
fn refusals(refused: &[RefusedHook]) -> Vec<String> {
    let mut groups: Vec<(&str, &str, Vec<&RefusedHook>)> = Vec::new();
    let warned_of = |hook: &&RefusedHook| !matches!(family(&hook.kind), "trampoline" | "kprobe");
    for hook in refused.iter().filter(warned_of) {
        let same = |(kind, reason, _): &&mut (&str, &str, _)| {
            *kind == family(&hook.kind) && *reason == hook.reason
        };
        match groups.iter_mut().find(same) {
            Some((_, _, hooks)) => hooks.push(hook),
            None => groups.push((family(&hook.kind), &hook.reason, vec![hook])),
        }
    }
    groups
        .into_iter()
        .map(|(kind, reason, hooks)| {
            let targets: Vec<_> = hooks.iter().map(|hook| escape(&hook.target)).collect();
            let mut lost: Vec<_> = hooks.iter().map(|hook| escape(&hook.lost)).collect();
            lost.dedup();
            let (noun, verb) = match hooks.len() {
                1 => ("hook", "was"),
                _ => ("hooks", "were"),
            };
            format!(
                "portwatch: {noun} {} {} {verb} refused ({}): {}",
                escape(kind),
                targets.join(", "),
                escape(reason),
                lost.join("; ")
            )
        })
        .collect()
}

/// Kinds that the kernel allows or refuses together.
fn family(kind: &str) -> &str {
    match kind {
        "fentry" | "fexit" => "trampoline",
        "kretprobe" => "kprobe",
        other => other,
    }
}

/// What this run watches.
pub(super) fn start(start: &Start, palette: &Palette) -> String {
    let backend = match start.backend {
        BackendName::Trampoline => "trampolines",
        BackendName::Kprobe => "kprobes",
        BackendName::Tracepoint => "tracepoints",
    };
    let mut text = format!(
        "portwatch {}: watching with {backend} on {}",
        escape(&start.version),
        escape(&start.kernel)
    );
    if let Some(own) = start.namespaces.first() {
        text.push_str(&format!(", range {}-{}", own.low, own.high));
        if !own.reserved.is_empty() {
            text.push_str(&format!(" without {}", escape(&own.reserved)));
        }
    }
    text.push_str(&format!(", {} sockets known", start.snapshot_sockets));
    let filters = start
        .filters
        .iter()
        .filter(|(name, value)| *name != "events" || *value != "conflict");
    let filters: Vec<_> = filters
        .map(|(name, value)| format!("--{name} {}", escape(value)))
        .collect();
    if !filters.is_empty() {
        text.push_str(&format!(", only {}", filters.join(" ")));
    }
    palette.paint(palette.faint, &text)
}

/// The end of an incident.
pub(super) fn resolved(resolved: &Resolved, stamp: &str, look: &Look) -> String {
    let palette = &look.data;
    // Only one of the ends is good news.
    let word = match resolved.how {
        How::GotPort => palette.paint(palette.relief, "RESOLVED"),
        How::OtherPort => palette.paint(palette.strong, "MOVED   "),
        How::GaveUp => palette.paint(palette.strong, "GAVE UP "),
        How::Exited => palette.paint(palette.strong, "EXITED  "),
    };
    let head = format!("{stamp}  {word}  ");
    sentence(&head, &escape(&resolved.message), look)
}

/// Losses, loud.
pub(super) fn lost(lost: &Lost, stamp: &str, look: &Look) -> String {
    let palette = &look.data;
    let told = lost
        .since_last
        .iter()
        .map(count)
        .collect::<Vec<_>>()
        .join("; ");
    let head = format!("{stamp}  {}  ", palette.paint(palette.alarm, "LOST    "));
    sentence(
        &head,
        &format!("{told}; {} since the start", lost.total),
        look,
    )
}

/// The counts of the run.
pub(super) fn summary(summary: &Summary, palette: &Palette) -> String {
    let incidents = match summary.incidents {
        1 => String::from("1 conflict"),
        n => format!("{n} conflicts"),
    };
    let causes = list(
        summary
            .causes
            .iter()
            .map(|(cause, n)| format!("{n} {}", cause.word())),
    );
    let mut text = format!("portwatch: {incidents} in {}", human(summary.duration_ms));
    if !causes.is_empty() {
        text.push_str(&format!(": {causes}"));
    }
    if summary.lost.is_empty() {
        return palette.paint(palette.strong, &(text + "; nothing lost"));
    }
    let lost = list(summary.lost.iter().map(count));
    format!(
        "{}; {}",
        palette.paint(palette.strong, &text),
        palette.paint(palette.alarm, &format!("lost {lost}"))
    )
}

fn count(lost: &LostCount) -> String {
    format!(
        "{} at {}: {}",
        lost.count,
        escape(&lost.place),
        escape(&lost.meaning)
    )
}

fn list(items: impl Iterator<Item = impl Display>) -> String {
    items
        .map(|item| item.to_string())
        .collect::<Vec<_>>()
        .join(", ")
}
