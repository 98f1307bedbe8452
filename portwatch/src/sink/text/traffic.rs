//! Ports taken and let go, and refusals: one line each, in columns.

use super::super::escape::escape;
use super::Look;
use super::block::sentence;
use super::who::{call, endpoint, process};
use crate::report::time::human;
use crate::report::{Assign, Endpoint, Left, OriginName, Refused, Release, TransportName};

/// A port was taken.
pub(super) fn assign(assign: &Assign, stamp: &str, look: &Look) -> String {
    let how = assign
        .origin
        .map_or_else(|| call(assign.call).to_owned(), OriginName::word);
    columns(
        "assign",
        assign.transport,
        (&assign.local, assign.peer.as_ref()),
        &how,
        stamp,
    ) + &process(&assign.process)
        + &netns(assign.netns, look)
}

/// A port was let go.
pub(super) fn release(release: &Release, stamp: &str, look: &Look) -> String {
    let held = release.held_ms.map(|ms| format!("held {}", human(ms)));
    let left = match (release.port_free, release.left) {
        (Some(true), _) => "free",
        (_, Some(Left::TimeWait)) => "TIME_WAIT",
        (_, Some(Left::Orphan)) => "closing",
        (_, Some(Left::Shared)) => "shared",
        (Some(false), None) => "not free",
        (None, None) => "",
    };
    let how = match left {
        "" => held.unwrap_or_default(),
        left => held.map_or_else(|| left.to_owned(), |held| format!("{held}, {left}")),
    };
    columns(
        "release",
        release.transport,
        (&release.local, release.peer.as_ref()),
        &how,
        stamp,
    ) + &process(&release.process)
        + &netns(release.netns, look)
}

/// A bind was refused for another reason.
pub(super) fn refused(refused: &Refused, stamp: &str, look: &Look) -> String {
    let palette = &look.data;
    let head = format!("{stamp}  {}  ", palette.paint(palette.strong, "REFUSED "));
    let netns = netns(refused.wanted.netns, look);
    sentence(&head, &format!("{}{netns}", escape(&refused.message)), look)
}

fn columns(
    kind: &str,
    transport: TransportName,
    (local, peer): (&Endpoint, Option<&Endpoint>),
    how: &str,
    stamp: &str,
) -> String {
    let peer = peer
        .map(|peer| format!("-> {}", endpoint(peer)))
        .unwrap_or_default();
    let (transport, local) = (transport.word(), endpoint(local));
    format!("{stamp}  {kind:<8}  {transport}  {local:<21}  {peer:<24}  {how:<22}  ")
}

fn netns(netns: u32, look: &Look) -> String {
    match look.own_netns == Some(netns) {
        true => String::new(),
        false => format!("  netns {netns}"),
    }
}
