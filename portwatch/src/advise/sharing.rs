//! Sockets that two could have, or that somebody else has than the one who opened them.

use super::commands::ENDPOINT;
use super::text::{endpoint, had, had_by, opener, owner, process, since, state};
use crate::correlate::verdict::Ground;
use crate::enrich::kernel_user::{FUNCTION, MODULE};
use crate::report::{Certainty, Conflict, Holder, OptionName, StateName};

/// SO_REUSEPORT on both sides, of two users.
pub(super) fn other_user(holder: &Holder, ground: &Ground) -> String {
    format!(
        "{} {} with SO_REUSEPORT{}; this call has it as well, but that socket is another user's: \
         a port is shared within one user only",
        owner(holder),
        has(holder),
        had(holder, ground)
    )
}

/// SO_REUSEPORT on one side of one program.
pub(super) fn missing(holder: &Holder, ground: &Ground) -> String {
    let (who, has, had) = (owner(holder), has(holder), had(holder, ground));
    if holder.options.contains(&OptionName::Reuseport) {
        format!("{who} {has} with SO_REUSEPORT{had}; this call is without it")
    } else {
        format!("{who} {has} without SO_REUSEPORT{had}: that this call has it is not enough")
    }
}

fn has(holder: &Holder) -> String {
    let at = endpoint(&holder.local);
    match holder.state {
        StateName::Listen => format!("listens on {at}"),
        StateName::Bound => format!("has {at} bound"),
        StateName::Established
        | StateName::SynSent
        | StateName::SynRecv
        | StateName::FinWait1
        | StateName::FinWait2
        | StateName::TimeWait
        | StateName::CloseWait
        | StateName::LastAck
        | StateName::Closing
        | StateName::Unconnected => format!("has a UDP socket at {at}"),
    }
}

/// A listening descriptor that outlived the process that opened it.
pub(super) fn inherited(conflict: &Conflict, holder: &Holder, ground: &Ground) -> String {
    let (who, at) = (owner(holder), endpoint(&holder.local));
    let from = opener(holder).map_or_else(|| "a process that is gone".to_owned(), process);
    let how = match conflict.certainty {
        Certainty::Exact => "that it inherited from",
        Certainty::Remembered | Certainty::Inferred | Certainty::Unknown => {
            "that it inherited from, or was sent by,"
        }
    };
    format!(
        "{who} still has the listening socket at {at} {how} {from}{}",
        had_by("; that socket", holder, ground)
    )
}

/// No process was found to have the descriptor. A kernel may hide one even from its own iterators, so
/// that nobody has it is never said.
pub(super) fn in_flight(holder: &Holder) -> String {
    let whose = match holder.processes.first() {
        Some(first) => format!(", opened by {},", process(first)),
        None => String::new(),
    };
    format!(
        "a socket at {} ({}){whose} has the port, and no process that can be seen has its \
         descriptor: it is in a message that nobody has read (SCM_RIGHTS), registered in an \
         io_uring, in a call of a thread that still waits on it, its process is just ending, or \
         this kernel hides that process",
        endpoint(&holder.local),
        state(holder.state)
    )
}

/// What in the kernel has it, as JSON tells it.
fn user_of(user: &str) -> String {
    match user.split_once(' ') {
        Some((ENDPOINT, id)) => format!("of MPTCP's endpoint {id}"),
        Some((MODULE, module)) => match known_module(module) {
            Some(known) => format!("of {known}, module {module}"),
            None => format!("of the module {module}"),
        },
        Some((FUNCTION, function)) => format!("whose input goes to the kernel's {function}()"),
        _ => format!("of the interface {user}"),
    }
}

/// What an engineer calls it.
fn known_module(module: &str) -> Option<&'static str> {
    Some(match module {
        "sunrpc" => "NFS or another service over RPC",
        "wireguard" => "WireGuard",
        "nvmet_tcp" => "the NVMe target",
        "rds_tcp" => "RDS",
        "dlm" => "the distributed lock manager",
        "ocfs2_nodemanager" => "OCFS2",
        "l2tp_core" => "L2TP",
        "rxrpc" => "AFS",
        "tipc" => "TIPC",
        "fou" => "FOU",
        "gtp" => "GTP",
        "smc" => "SMC",
        "rdma_rxe" => "RDMA over Ethernet",
        _ => return None,
    })
}

/// The kernel opened it for itself.
pub(super) fn of_kernel(holder: &Holder, ground: &Ground) -> String {
    let peer = match &holder.peer {
        Some(peer) => format!(" with {}", endpoint(peer)),
        None => String::new(),
    };
    let user = match &holder.kernel_user {
        Some(user) => format!(" ({})", user_of(user)),
        None => String::new(),
    };
    format!(
        "a socket of the kernel itself{user} has {} ({}{peer}){}",
        endpoint(&holder.local),
        state(holder.state),
        since(holder, ground)
    )
}
