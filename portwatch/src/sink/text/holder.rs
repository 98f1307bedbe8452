//! One holder in words: who, through which socket, since when.

use super::super::escape::escape;
use super::super::time::{local, local_clock};
use super::Look;
use super::block::Block;
use super::who::{Place, cmdline, endpoint, holder_process};
use crate::report::time::human;
use crate::report::{Holder, HolderKind, OptionName, OriginName, StateName};
use anstyle::Style;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;

/// Processes of one socket that are named.
const NAMED: usize = 3;

/// Label and style of a holder's first line.
pub(super) fn style(holder: &Holder, look: &Look) -> (&'static str, Style) {
    match holder.blocking {
        true => ("holder", look.data.culprit),
        false => ("beside", Style::new()),
    }
}

/// Adds a holder's lines. The command line of a process in `said` was told before.
pub(super) fn holder(
    block: &mut Block<'_>,
    holder: &Holder,
    said: &mut HashSet<u32>,
    at: Timestamp,
    look: &Look,
) {
    let (label, style) = style(holder, look);
    block.field(label, style, &processes(holder));
    block.field("", Style::new(), &socket(holder));
    command_line(block, holder, said, look);
    block.field("since", Style::new(), &since(holder, at, look));
}

/// The command line of its first process, unless it was told before.
pub(super) fn command_line(
    block: &mut Block<'_>,
    holder: &Holder,
    said: &mut HashSet<u32>,
    look: &Look,
) {
    if let Some(process) = holder.processes.first()
        && let Some(shown) = cmdline(
            process.cmdline.as_ref(),
            process.cmdline_bytes.as_ref(),
            process.cmdline_truncated,
        )
        && said.insert(process.pid)
    {
        block.field("", look.data.faint, &shown);
    }
}

/// Who has or had it.
pub(super) fn processes(holder: &Holder) -> String {
    let mut said = String::new();
    let named = holder.processes.iter().take(NAMED).map(|process| {
        let mut name = holder_process(process);
        let place = Place::of_holder(process).text();
        if place != said {
            name.push_str(&place);
        }
        said = place;
        match (process.has_socket, process.alive) {
            (true, Some(_)) => name,
            (false, Some(true)) => format!("{name}, which runs but has let go of it"),
            // Nobody could look: another may have it by now.
            (_, None) => format!("{name}, the last that is known to have it"),
            (false, Some(false)) => format!("{name}, which has exited"),
        }
    });
    let mut text = named.collect::<Vec<_>>().join(", ");
    if text.is_empty() {
        text.push_str(match holder.kind {
            HolderKind::Kernel => "the kernel itself",
            HolderKind::InFlight => {
                "no process that can be seen: the descriptor is in an unread message or an io_uring, \
                 or its process is just ending, or hidden"
            }
            HolderKind::Listener
            | HolderKind::Connection
            | HolderKind::Accepted
            | HolderKind::Bound
            | HolderKind::TimeWait
            | HolderKind::Orphan
            | HolderKind::Udp => "no process is known",
        });
    }
    let rest = holder.processes.iter().skip(NAMED);
    let (have, gone): (Vec<_>, Vec<_>) = rest.partition(|process| process.has_socket);
    if !have.is_empty() {
        text.push_str(&format!(" and {} more", have.len()));
    }
    // Told of those that are left out too, above all of the one that opened it.
    if let [gone] = gone[..] {
        text.push_str(&format!(", once also {}", holder_process(gone)));
    } else if !gone.is_empty() {
        text.push_str(&format!(", once also {} others", gone.len()));
    }
    text
}

/// The socket: its ends and its state.
fn socket(holder: &Holder) -> String {
    let local = endpoint(&holder.local);
    let ends = match &holder.peer {
        Some(peer) => format!("{local} -> {}", endpoint(peer)),
        None => local.clone(),
    };
    let state = state(holder.state);
    let mut text = match holder.kind {
        HolderKind::Listener => format!("listens on {local}"),
        HolderKind::Connection => format!("connection {ends}, {state}"),
        HolderKind::Accepted => format!("accepted connection {ends}, {state}"),
        HolderKind::Bound => format!("bound to {local}, does not listen"),
        HolderKind::TimeWait => format!("connection {ends}, closed; TIME_WAIT keeps the port"),
        HolderKind::Orphan => {
            format!("connection {ends}, closing ({state})")
        }
        HolderKind::Udp => format!("UDP socket {ends}"),
        HolderKind::Kernel | HolderKind::InFlight => format!("{ends}, {state}"),
    };
    if let Some(uid) = holder
        .uid
        .filter(|_| holder.options.contains(&OptionName::Reuseport))
    {
        text.push_str(&format!(", SO_REUSEPORT of uid {uid}"));
    }
    if let Some(device) = &holder.device {
        text.push_str(&format!(" on {}", escape(device)));
    }
    text
}

pub(super) fn state(state: StateName) -> &'static str {
    match state {
        StateName::Established => "established",
        StateName::SynSent => "connecting (SYN_SENT)",
        StateName::SynRecv => "being accepted (SYN_RECV)",
        StateName::FinWait1 => "FIN_WAIT1",
        StateName::FinWait2 => "FIN_WAIT2",
        StateName::TimeWait => "TIME_WAIT",
        StateName::CloseWait => "closed by the peer (CLOSE_WAIT)",
        StateName::LastAck => "LAST_ACK",
        StateName::Closing => "CLOSING",
        StateName::Listen => "listening",
        StateName::Bound => "bound",
        StateName::Unconnected => "not connected",
    }
}

/// Since when, and how it came to the port.
pub(super) fn since(holder: &Holder, at: Timestamp, look: &Look) -> String {
    let held = holder.held_ms.map(human);
    let mut text = match (&holder.since, held, holder.held_at_least_ms) {
        (Some(since), held, _) => {
            let since = since.parse().map_or_else(
                |_| escape(since).into_owned(),
                |since| local(since, &look.zone),
            );
            held.map_or(since.clone(), |held| format!("{since}, for {held}"))
        }
        (None, Some(held), _) => format!("{held} ago"),
        (None, None, Some(least)) => {
            let ago = SignedDuration::from_millis(i64::try_from(least).unwrap_or(i64::MAX));
            let start = at.checked_sub(ago).unwrap_or(Timestamp::MIN);
            format!(
                "before portwatch started (at {})",
                local_clock(start, &look.zone)
            )
        }
        (None, None, None) => String::from("not known"),
    };
    if let Some(origin) = holder.origin {
        text.push_str("; ");
        text.push_str(match origin {
            OriginName::EphemeralConnect => "the kernel picked the port at connect()",
            OriginName::EphemeralBind => "the kernel picked the port at bind(0)",
            OriginName::EphemeralAutobind => "the kernel picked the port, no bind() was made",
            OriginName::ExplicitBind => "bind() asked for this very port",
            OriginName::Accepted => "accepted by a listener on this port",
            OriginName::Kernel => "the kernel opened it",
        });
    }
    text
}
