//! A range without a free port: the story, and what to do about it.

use super::commands;
use super::text::{endpoint, process, state, transport};
use crate::correlate::exhausted::count_of;
use crate::correlate::verdict::Ground;
use crate::decode::event::NetnsId;
use crate::enrich::facts::NetnsFacts;
use crate::report::{
    Advice, Call, Conflict, Counted, ExhaustedFor, OriginName, StateName, Tally, TransportName,
};

/// Lines of the tally that the sentence has room for.
const TOLD: usize = 2;

/// Why the call found no port.
pub(super) fn why(conflict: &Conflict) -> String {
    let range = range(conflict);
    let transport = transport(conflict.wanted.transport);
    let reserved = conflict
        .counted
        .as_ref()
        .is_some_and(|counted| counted.available == Some(0));
    let no_port = match (conflict.exhausted_for, &conflict.wanted.destination) {
        _ if reserved => format!("no {transport} port of the {range} is left"),
        (Some(ExhaustedFor::Destination), Some(to)) => format!(
            "no {transport} port of the {range} is left for connections to {}; other destinations \
             can still share them",
            endpoint(to)
        ),
        (Some(ExhaustedFor::Destination), None) => {
            format!("no {transport} port of the {range} is left for this destination")
        }
        (Some(ExhaustedFor::Binds), Some(to))
            if conflict.wanted.transport == TransportName::Tcp =>
        {
            format!(
                "no {transport} port of the {range} is left, for {} or any other destination: all \
                 are bound",
                endpoint(to)
            )
        }
        (Some(ExhaustedFor::Binds) | None, _) => {
            format!("no {transport} port of the {range} is left for a socket of its own")
        }
    };
    match (&conflict.counted, conflict.tally.as_deref()) {
        (Some(counted), Some(tally)) => {
            let doubt = match tally.iter().any(|line| line.source.is_some()) {
                true => {
                    "; which of these addresses the kernel had picked for this call is not known, \
                     and the connections from the others are not in its way"
                }
                false => "",
            };
            format!("{no_port}{}{doubt}", who(counted, tally))
        }
        (None, _) | (_, None) => format!("{no_port}; who has them could not be counted"),
    }
}

/// `range 32768-60999`, or that it is the socket's own.
fn range(conflict: &Conflict) -> String {
    let range = &conflict.range;
    if conflict.wanted.netns == NetnsId::UNKNOWN.0 {
        return "range (of another network namespace than the process's, which is not known)"
            .to_owned();
    }
    if range.high == 0 {
        return "range (which could not be read)".to_owned();
    }
    let ports = u32::from(range.high).saturating_sub(u32::from(range.low)) + 1;
    let counted = conflict.counted.as_ref();
    let available = counted.and_then(|counted| counted.available);
    // Few of them explain nothing, and all of them are told otherwise.
    let reserved = match ports - available.unwrap_or(ports).min(ports) {
        reserved if reserved * 4 >= ports && reserved < ports => format!(
            " (of its {ports} ports {reserved} {} reserved, net.ipv4.ip_local_reserved_ports)",
            if reserved == 1 { "is" } else { "are" }
        ),
        _ => String::new(),
    };
    if range.of_socket {
        format!(
            "socket's own range {}-{} (IP_LOCAL_PORT_RANGE){reserved}",
            range.low, range.high
        )
    } else {
        format!("range {}-{}{reserved}", range.low, range.high)
    }
}

/// The largest lines of the tally.
fn who(counted: &Counted, tally: &[Tally]) -> String {
    if counted.available == Some(0) {
        return "; every port of it is reserved (net.ipv4.ip_local_reserved_ports)".to_owned();
    }
    let told: Vec<String> = tally.iter().take(TOLD).map(one).collect();
    let more = match tally.len().saturating_sub(TOLD) {
        0 => String::new(),
        _ => " and others".to_owned(),
    };
    let left = match counted.available {
        Some(all) if counted.ports < all => format!(
            "; when they were counted {} of {all} were still taken",
            counted.ports
        ),
        Some(_) | None => String::new(),
    };
    if told.is_empty() {
        return left;
    }
    format!("; {}{more}{left}", told.join(", "))
}

/// `28000 by envoy (pid 3), ESTABLISHED with 10.0.0.1:80`.
fn one(line: &Tally) -> String {
    let who = match &line.process {
        Some(Some(who)) => process(who),
        Some(None) => "the kernel".to_owned(),
        None => "a process that is not known".to_owned(),
    };
    let state = match &line.source {
        Some(source) => format!("{} from {source}", state(line.state)),
        None => state(line.state).to_owned(),
    };
    let how = match (&line.peer, line.peers) {
        (Some(Some(peer)), _) => format!("{state} with {}", endpoint(peer)),
        (_, Some(peers)) => format!("{state} with {peers} peers"),
        (Some(None) | None, None) => state,
    };
    format!("{} by {who}, {how}", line.count)
}

/// What gives the call a port, what helps most first.
pub(super) fn advice(
    conflict: &Conflict,
    netns: Option<&NetnsFacts>,
    ground: &Ground,
) -> Vec<Advice> {
    let tally = conflict.tally.as_deref().unwrap_or_default();
    let tcp = conflict.wanted.transport == TransportName::Tcp;
    let for_destination = conflict.exhausted_for == Some(ExhaustedFor::Destination);
    let mut list = Vec::new();
    let time_wait = tally
        .iter()
        .filter(|line| line.state == StateName::TimeWait)
        .map(|line| line.count)
        .sum::<u64>();
    if conflict
        .counted
        .as_ref()
        .is_some_and(|counted| counted.available == Some(0))
    {
        // Nobody has them, so nothing that is closed or shared helps.
        return vec![plain(
            "unreserve",
            "every port of the range is reserved: take some out of \
             net.ipv4.ip_local_reserved_ports, or move the range",
        )];
    }
    if tcp && time_wait > 0 {
        list.push(plain(
            "time-wait",
            &format!(
                "{time_wait} of them are in TIME_WAIT, which ends 60 s after the close: keep \
                 connections open and reuse them, or let the other side close first; \
                 net.ipv4.tcp_tw_reuse=1 lets connect() take such a port after 1 s, bind() never"
            ),
        ));
    } else if tcp && conflict.call == Call::Connect {
        list.push(plain(
            "reuse-connections",
            "reuse connections (keep-alive, a pool) and close idle ones, instead of one for each \
             request",
        ));
    } else {
        list.push(plain(
            "close-sockets",
            "close sockets that are not needed any more; one socket can serve many requests",
        ));
    }
    let bound = count_of(tally, OriginName::EphemeralBind);
    if tcp && (bound > 0 || conflict.call == Call::Bind) {
        let theirs = if bound > 0 {
            let ports = match bound {
                1 => "1 port was".to_owned(),
                _ => format!("{bound} ports were"),
            };
            format!("{ports} given to bind() with port 0 and cannot be shared: ")
        } else {
            String::new()
        };
        list.push(plain(
            "bind-no-port",
            &format!(
                "{theirs}a client that binds its address before connect() sets \
                 IP_BIND_ADDRESS_NO_PORT, so that connect() picks a port that other destinations \
                 share"
            ),
        ));
    }
    if tally.iter().any(|line| line.stale_bucket) {
        list.push(plain(
            "stale-bucket",
            "ports of connections to elsewhere are kept from this call because some socket was \
             bound to them for a while: before Linux 6.18 they are shared again only when these \
             connections end",
        ));
    }
    list.push(widen(conflict, netns, ground));
    if tcp && for_destination {
        list.push(plain(
            "other-address",
            "or connect from another own address (bind() to it with IP_BIND_ADDRESS_NO_PORT), or \
             to another address of the service: each pair of addresses has the whole range",
        ));
    }
    list
}

fn widen(conflict: &Conflict, netns: Option<&NetnsFacts>, ground: &Ground) -> Advice {
    if conflict.range.of_socket {
        return plain(
            "widen-range",
            "widen the socket's own range (IP_LOCAL_PORT_RANGE); it can only narrow that of the \
             namespace (net.ipv4.ip_local_port_range)",
        );
    }
    Advice {
        id: "widen-range".to_owned(),
        text: "widen the range the kernel picks from (net.ipv4.ip_local_port_range); reserve the \
               ports of services that lie in it then"
            .to_owned(),
        command: commands::widen(conflict, netns, ground),
    }
}

fn plain(id: &str, text: &str) -> Advice {
    Advice {
        id: id.to_owned(),
        text: text.to_owned(),
        command: None,
    }
}
