//! A conflict: told in full at first, afterwards in a line.

use super::super::escape::escape;
use super::super::time::local_clock;
use super::Look;
use super::block::Block;
use super::holders::holders;
use super::who::{Place, call, cmdline, endpoint, foreign, holder_process, port, process, wanted};
use crate::decode::event::NetnsId;
use crate::report::{Cause, Certainty, Conflict, HolderKind, Tally};
use anstyle::Style;
use jiff::Timestamp;
use std::collections::HashSet;

/// Lines of a tally that are told.
const TALLY: usize = 5;

/// What must be the same for an attempt to be a mere repetition: the cause and who comes first. On a
/// port with many connections the others come and go between two tries.
pub(super) fn signature(conflict: &Conflict) -> String {
    let first = conflict.holders.first().map(|holder| {
        // One accepted connection is like another.
        let peer = holder.peer.as_ref();
        let peer = peer.filter(|_| holder.kind != HolderKind::Accepted);
        let pid = holder.processes.first().map(|process| process.pid);
        (holder.kind, &holder.local.address, peer, pid)
    });
    format!("{:?} {first:?}", conflict.cause)
}

/// The whole story.
pub(super) fn full(conflict: &Conflict, at: Timestamp, stamp: &str, look: &Look) -> String {
    let palette = &look.data;
    let again = match conflict.attempt {
        1 => String::new(),
        n => format!("  attempt {n}"),
    };
    let head = palette.paint(palette.alarm, "CONFLICT");
    let mut block = Block::new(
        format!("{stamp}  {head}  {}{again}", port(&conflict.wanted)),
        look,
    );
    block.sentence(&escape(&conflict.message));
    failed(&mut block, conflict, look);
    tally(&mut block, conflict, look);
    let mut said = HashSet::from([conflict.requester.pid]);
    let shown = holders(&mut block, &conflict.holders, &mut said, at, look);
    if let Some(rest) = unlisted(conflict, shown) {
        block.field("more", Style::new(), &rest);
    }
    // Without a wanted port there is nobody to be sure of.
    if let Some(why) = doubt(conflict.certainty)
        && (conflict.wanted.port.is_some() || conflict.cause == Cause::RangeExhausted)
    {
        block.field("sure?", Style::new(), why);
    }
    for (n, advice) in conflict.advice.iter().enumerate() {
        let label = if n == 0 { "do" } else { "" };
        block.field(label, Style::new(), &escape(&advice.text));
        if let Some(command) = &advice.command {
            block.verbatim(palette.command, &escape(command));
        }
    }
    block.finish()
}

/// One line for an attempt that found the same.
pub(super) fn repeat(conflict: &Conflict, stamp: &str, look: &Look) -> String {
    let palette = &look.data;
    let by = conflict
        .holders
        .first()
        .and_then(|holder| holder.processes.first());
    let by = by
        .map(|by| format!(", still {}", holder_process(by)))
        .unwrap_or_default();
    format!(
        "{stamp}  {}  {}  attempt {} of {}{by}",
        palette.paint(palette.alarm, "AGAIN   "),
        port(&conflict.wanted),
        conflict.attempt,
        process(&conflict.requester),
    )
}

fn failed(block: &mut Block<'_>, conflict: &Conflict, look: &Look) {
    let Conflict {
        requester,
        wanted: what,
        ..
    } = conflict;
    let mut who = process(requester);
    who.push_str(&Place::of(requester).text());
    block.field("failed", Style::new(), &who);
    let mut tried = format!("{} {}", call(conflict.call), wanted(what));
    if let Some(to) = &what.destination {
        tried.push_str(&format!(" to {}", endpoint(to)));
    }
    if !what.options.is_empty() {
        let options: Vec<_> = what.options.iter().map(|option| option.word()).collect();
        tried.push_str(&format!(" with {}", options.join(", ")));
    }
    if what.netns == NetnsId::UNKNOWN.0 {
        tried.push_str(" in a network namespace that is not known");
    } else if look.own_netns != Some(what.netns) {
        tried.push_str(&format!(" in network namespace {}", what.netns));
        match (&what.netns_path, what.netns_pid) {
            (Some(path), _) => tried.push_str(&format!(" ({})", escape(path))),
            (None, Some(pid)) => tried.push_str(&format!(" (that of pid {pid})")),
            (None, None) => {}
        }
    }
    tried.push_str(&format!(": {}", escape(&conflict.error)));
    block.field("", Style::new(), &tried);
    let shown = cmdline(
        requester.cmdline.as_ref(),
        requester.cmdline_bytes.as_ref(),
        requester.cmdline_truncated,
    );
    let exe = || {
        requester
            .exe
            .as_ref()
            .map(|exe| foreign(exe, requester.exe_bytes.as_ref()))
    };
    if let Some(shown) = shown.or_else(exe) {
        block.field("", look.data.faint, &shown);
    }
}

/// Who holds the range, and when that was counted.
fn tally(block: &mut Block<'_>, conflict: &Conflict, look: &Look) {
    let (Some(lines), Some(counted)) = (&conflict.tally, &conflict.counted) else {
        return;
    };
    for (n, line) in lines.iter().take(TALLY).enumerate() {
        let label = if n == 0 { "in use" } else { "" };
        block.field(label, look.data.culprit, &tally_line(line));
    }
    let listed: u64 = lines.iter().take(TALLY).map(|line| line.count).sum();
    let all = u64::from(counted.ports);
    if all > listed {
        let rest = format!("{} more ports by others", all - listed);
        block.field("", Style::new(), &rest);
    }
    let at = counted.time.parse().map_or_else(
        |_| escape(&counted.time).into_owned(),
        |at| local_clock(at, &look.zone),
    );
    let of = counted
        .available
        .map_or_else(String::new, |all| format!(" of {all}"));
    let mut text = format!("{}{of} ports in the way at {at}", counted.ports);
    if counted.missed > 0 {
        text.push_str(&format!(
            "; {} sockets more were not looked at",
            counted.missed
        ));
    }
    block.field("counted", Style::new(), &text);
}

/// `28000  envoy (pid 3), established -> 10.0.0.1:80`.
fn tally_line(line: &Tally) -> String {
    let who = match &line.process {
        Some(Some(process)) => holder_process(process),
        Some(None) => "the kernel itself".to_owned(),
        None => "no process is known".to_owned(),
    };
    let state = match &line.source {
        Some(source) => format!("{} {}", line.state.word(), escape(source)),
        None => line.state.word().to_owned(),
    };
    let to = match (&line.peer, line.peers) {
        (Some(Some(peer)), _) => format!(" -> {}", endpoint(peer)),
        (_, Some(peers)) => format!(" -> {peers} peers"),
        (Some(None) | None, None) => String::new(),
    };
    format!("{}  {who}, {state}{to}", line.count)
}

/// What the block leaves out. That the rest does not block is said only where that is known.
fn unlisted(conflict: &Conflict, shown: usize) -> Option<String> {
    let total = usize::try_from(conflict.holders_total).unwrap_or(usize::MAX);
    let more = total.max(conflict.holders.len()) - shown;
    let sockets = if more == 1 {
        "1 more socket".to_owned()
    } else {
        format!("{more} more sockets")
    };
    let in_json = conflict.holders.len() - shown;
    match (
        more,
        conflict.truncated || conflict.cause == Cause::Unknown,
        in_json,
    ) {
        (0, false, _) => None,
        (0, true, _) => conflict
            .truncated
            .then(|| String::from("more sockets may block this port")),
        (_, true, _) => Some(format!(
            "{sockets} on this port not shown, which may block as well"
        )),
        (_, false, 0) => Some(format!("{sockets} on this port, not blocking")),
        (_, false, n) => Some(format!(
            "{sockets} on this port, {n} of them listed in the JSON"
        )),
    }
}

fn doubt(certainty: Certainty) -> Option<&'static str> {
    match certainty {
        Certainty::Exact => None,
        Certainty::Remembered => {
            Some("remembered: named from an earlier record, not by the socket itself")
        }
        Certainty::Inferred => Some("inferred: deduced, not read from the kernel at the failure"),
        Certainty::Unknown => Some("unknown: it cannot be proven who has the port"),
    }
}
