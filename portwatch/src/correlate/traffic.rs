//! Ports taken and let go, and refusals of another kind, in the contract's words.

use super::people::requester;
use super::words;
use crate::advise;
use crate::decode::event::{Assign, Failure, LetGo, OwnerSource, Release, Socket, State};
use crate::enrich::EventFacts;
use crate::report::time::millis;
use crate::report::{self, ClockAnchor, Ended, Left};

pub(super) fn assign(event: &Assign, facts: &EventFacts, anchor: ClockAnchor) -> report::Assign {
    report::Assign {
        call: words::call(event.call),
        transport: words::transport(event.socket.transport),
        origin: event.origin.map(words::origin),
        local: words::local(&event.socket),
        peer: words::peer(&event.socket),
        netns: event.netns.0,
        cookie: event.socket.cookie,
        process: requester(&event.task, facts, anchor),
    }
}

/// The close of the last descriptor: what is left of the port after it (TIME_WAIT, an orphan, other
/// sockets) is not seen then, so `port_free` stays absent. Or the end of what was left.
pub(super) fn release(event: &Release, facts: &EventFacts, anchor: ClockAnchor) -> report::Release {
    let owner = event
        .owner
        .as_ref()
        .filter(|owner| owner.source != OwnerSource::LastListener);
    let (port_free, left) = match event.let_go {
        Some(LetGo::Free) => (Some(true), None),
        Some(LetGo::TimeWait) => (Some(false), Some(Left::TimeWait)),
        Some(LetGo::Shared) => (Some(false), Some(Left::Shared)),
        Some(LetGo::Unknown) | None => (None, None),
    };
    report::Release {
        transport: words::transport(event.socket.transport),
        local: words::local(&event.socket),
        peer: words::peer(&event.socket),
        origin: owner.and_then(|owner| owner.origin).map(words::origin),
        held_ms: owner
            .and_then(|owner| owner.taken_at)
            .map(|taken| millis(taken, event.time)),
        port_free,
        ended: event.let_go.map(|_| ended(&event.socket)),
        left,
        netns: event.netns.0,
        cookie: event.socket.cookie,
        process: requester(&event.task, facts, anchor),
    }
}

/// What lets go of a port without a process.
fn ended(socket: &Socket) -> Ended {
    if socket.state == State::TimeWait {
        Ended::TimeWait
    } else {
        Ended::Socket
    }
}

pub(super) fn refused(event: &Failure, facts: &EventFacts, anchor: ClockAnchor) -> report::Refused {
    let mut refused = report::Refused {
        call: words::call(event.call),
        error: words::errno(event.errno),
        errno: event.errno,
        wanted: words::wanted(event, facts),
        requester: requester(&event.task, facts, anchor),
        message: String::new(),
    };
    refused.message = advise::refused_message(&refused);
    refused
}
