//! The entries.

use super::Entry;
use crate::report::Cause;

const STATE: &[&str] = &["ss -tanp 'sport = :60001'"];
const RANGE: &[&str] = &[
    "ss -tanp 'sport = :60001'",
    "sysctl net.ipv4.ip_local_port_range net.ipv4.ip_local_reserved_ports",
];

/// What there is to say of a cause.
pub(super) fn of(cause: Cause) -> Entry {
    match cause {
        Cause::OutboundConnection => Entry {
            means: "a live socket whose port the kernel picked at connect(), or when a UDP socket \
                    sent without binding one",
            arises: "The port lies in `net.ipv4.ip_local_port_range`, so the kernel may hand it to \
                     any client. A client that tries again and again to reach a local port of the \
                     range can even draw that very port and connect to itself.",
            see: RANGE,
            shows: "The first command shows a connection with a process, and no listener; `ss -l` \
                    and `netstat -l` show nothing. A connection to itself has the same address \
                    twice. The second one shows whether the port lies in the range.",
            mend: &[
                "Reserve the port (`net.ipv4.ip_local_reserved_ports`, with what is reserved \
                 already), so that it is not handed out again.",
                "Or give the service a port outside the range, or narrow the range.",
                "End the connection to free the port now. SO_REUSEADDR on the server does not \
                 help: the client is without it.",
                "Where many services need ports, put them behind one (nginx, HAProxy, Caddy), or \
                 let systemd hold the socket.",
            ],
        },
        Cause::OutboundTimeWait => Entry {
            means: "such a connection, closed: TIME_WAIT keeps its port for a minute",
            arises: "The client closed first. Its process may be long gone; the port is its \
                     connection's all the same, and SO_REUSEADDR on the server does not help.",
            see: STATE,
            shows: "`TIME-WAIT`, and no tool shows whose it was.",
            mend: &[
                "Wait: TIME_WAIT ends by itself, 60 s after the connection did.",
                "Reserve the port, or move the service out of the range, as for \
                 `outbound-connection`.",
            ],
        },
        Cause::ServerTimeWait => Entry {
            means: "a connection that an earlier server on this port accepted and closed",
            arises: "A server that closes first leaves TIME_WAIT on its own port. A restart gets \
                     the port only if the old server and the new one both set SO_REUSEADDR.",
            see: STATE,
            shows: "`TIME-WAIT` with the port as the local one, and no process.",
            mend: &[
                "Set SO_REUSEADDR before bind() in the server, the old and the new one.",
                "Or wait 60 s.",
            ],
        },
        Cause::Orphan => Entry {
            means: "a closing connection (FIN_WAIT, LAST_ACK, CLOSING) that no process has any more",
            arises: "Its process closed it or ended, and the peer has not answered.",
            see: STATE,
            shows: "The state, and no process.",
            mend: &[
                "Wait for the peer, or for `net.ipv4.tcp_fin_timeout` (FIN_WAIT2).",
                "If the port is one of the range, reserve it.",
            ],
        },
        Cause::AcceptedConnection => Entry {
            means: "a connection that a listener of this port accepted; the listener is gone",
            arises: "The server stopped listening while a worker or a child still serves a client.",
            see: STATE,
            shows: "A connection with its process, and no listener.",
            mend: &[
                "End the process that still has the connection.",
                "Set SO_REUSEADDR in the old server and the new one: then it does not matter.",
            ],
        },
        Cause::Listener => Entry {
            means: "a listener whose address overlaps",
            arises: "Another program, an older instance, or a socket unit of systemd has the port; \
                     a wildcard address overlaps with every other one. Two sockets with \
                     SO_REUSEADDR can both be bound, and then the second listen() is refused.",
            see: &["ss -tlnp 'sport = :60001'"],
            shows: "The listener and its processes; `systemd` with pid 1 stands for a socket unit.",
            mend: &[
                "Stop it: its service, or the socket unit that holds the port for it.",
                "Or take another port or another address, or put both behind one port.",
            ],
        },
        Cause::DualStackListener => Entry {
            means: "a `[::]` listener without IPV6_V6ONLY, which takes IPv4 as well, or the other \
                    way round",
            arises: "A socket on `[::]` takes IPv4 too unless IPV6_V6ONLY (or \
                     `net.ipv6.bindv6only`) says no.",
            see: &["ss -tlnpe 'sport = :60001'", "sysctl net.ipv6.bindv6only"],
            shows: "`*:60001`, or `[::]:60001` without `v6only:1`.",
            mend: &[
                "Set IPV6_V6ONLY before bind() on one of the two.",
                "Or give each an address of its own, or stop one.",
            ],
        },
        Cause::BoundNotListening => Entry {
            means: "a socket that was bound to the port and does not listen on it",
            arises: "A server between bind() and listen(), a port that is kept for later, or a \
                     client that binds its own source port.",
            see: &["ss -tanp 'sport = :60001'"],
            shows: "A client with its connection. Without one nothing: `netstat`, `lsof -i` and \
                    `ss` before Linux 6.8 do not show a socket that is only bound.",
            mend: &["Its process has to close it or end."],
        },
        Cause::ReuseportOtherUser => Entry {
            means: "a socket that has SO_REUSEPORT like the caller's, and belongs to another user",
            arises: "A port is shared within one user only (by effective uid at socket()). systemd \
                     opens its sockets as root, a service may not run as root.",
            see: &["ss -tlnpe 'sport = :60001'"],
            shows: "The listener with `uid:`, absent for root.",
            mend: &[
                "Run both as one user.",
                "Or let one process open the port for both (systemd with `ReusePort=`).",
            ],
        },
        Cause::ReuseportMissing => Entry {
            means: "a socket of the caller's own program, and only one of the two has SO_REUSEPORT",
            arises: "One instance was started with the option and another without, or it is set \
                     after bind(). It must be set on both before bind().",
            see: &["ss -tlnp 'sport = :60001'"],
            shows: "The listener; no tool shows the option.",
            mend: &[
                "Set SO_REUSEPORT before bind() on both, if they are meant to share the port.",
                "Or stop the one that has it.",
            ],
        },
        Cause::InheritedDescriptor => Entry {
            means: "the listening socket of a process that is dead: a child inherited the descriptor",
            arises: "The server opened its socket without SOCK_CLOEXEC and started another program, \
                     which still runs. The port is not free before that one ends. A daemon's \
                     child that goes on serving is no such heir, but `listener`.",
            see: &["ss -tlnp 'sport = :60001'"],
            shows: "A listener of a program that looks absurd, such as `sleep`.",
            mend: &[
                "End the process that has it (`kill PID`).",
                "Open sockets with SOCK_CLOEXEC.",
            ],
        },
        Cause::EphemeralBind => Entry {
            means: "a socket that asked for any port (bind to port 0) and does not listen",
            arises: "The port lies in the range, and the kernel gave it to that socket; it may have \
                     connected from there since.",
            see: RANGE,
            shows: "The connection, if there is one; a socket that is only bound is not shown before \
                    Linux 6.8.",
            mend: &[
                "Reserve the port, or move the service out of the range.",
                "Its process has to close the socket or end.",
            ],
        },
        Cause::KernelSocket => Entry {
            means: "a socket of the kernel itself",
            arises: "VXLAN, Geneve and WireGuard interfaces, NFS with its lock manager and sunrpc's \
                     reserved source ports, and MPTCP endpoints open sockets inside the kernel.",
            see: &[
                "ss -uanp 'sport = :60001'",
                "ss -tanp 'sport = :60001'",
                "ip -details link show type vxlan",
                "ip mptcp endpoint show",
            ],
            shows: "A row without a process, and which interface or endpoint has the port.",
            mend: &[
                "Take the port from what uses it in the kernel: remove or change the interface, \
                 the mount, the endpoint.",
                "Or use another port.",
            ],
        },
        Cause::DescriptorInFlight => Entry {
            means: "a socket whose descriptor no process is seen to have",
            arises: "It was sent over a Unix socket (SCM_RIGHTS) and nobody has read the message, or \
                     it is registered in an io_uring and closed otherwise. Some hardened kernels \
                     hide a process, process 1 for instance, even from their own iterators: what \
                     that has looks the same.",
            see: STATE,
            shows: "A row without a process.",
            mend: &[
                "Let the process at the other end of that Unix socket read its messages, or end it.",
                "End the process whose io_uring it is.",
            ],
        },
        Cause::UdpSocket => Entry {
            means: "a UDP socket that was bound to the port, or whose origin is not proven",
            arises: "UDP has no listener: whoever bound the port has it, for every peer.",
            see: &["ss -uanp 'sport = :60001'"],
            shows: "`UNCONN` with its process; `ss -l` shows that, too, but not a connected one.",
            mend: &[
                "Stop its process.",
                "Or take another port or another address.",
            ],
        },
        Cause::SameConnection => Entry {
            means: "a connection between the very two ends that connect() wants, also in TIME_WAIT",
            arises: "The caller bound its source port itself (or an IP address with \
                     IP_BIND_ADDRESS_NO_PORT), and a connection from there to that peer exists \
                     already, perhaps closed a moment ago.",
            see: STATE,
            shows: "The connection, with its process unless it is in TIME_WAIT.",
            mend: &[
                "Let the kernel pick the source port, or bind another port or address.",
                "Or end that connection; TIME_WAIT ends by itself after 60 s.",
            ],
        },
        Cause::RangeExhausted => Entry {
            means: "no particular port was wanted, and none of the range was free for that call",
            arises: "connect(): every port of `net.ipv4.ip_local_port_range` has a connection to \
                     that destination already, or a socket that bind() gave it to; other \
                     destinations may still work (`exhausted_for: destination`). bind() to port 0, \
                     listen() without bind() and a UDP socket's first send need a port that nobody \
                     has at all (`exhausted_for: binds`). TIME_WAIT counts for a minute.",
            see: &[
                "ss -tan state all '( sport >= :32768 and sport <= :60999 )' | awk '{print $1, $5}' \
                 | sort | uniq -c | sort -rn | head",
                "sysctl net.ipv4.ip_local_port_range net.ipv4.ip_local_reserved_ports",
            ],
            shows: "How many ports each state and peer takes; no tool counts them by process. \
                    Sockets that are only bound are not shown.",
            mend: &[
                "Keep connections open and use them again, instead of one for each request.",
                "Widen the range, or connect from another source address or to another one.",
                "Do not bind() before connect(); where the source address matters, set \
                 IP_BIND_ADDRESS_NO_PORT.",
            ],
        },
        Cause::AlreadyFree => Entry {
            means: "nobody any more: the holder left between the failure and the look",
            arises: "Whoever had the port closed it within microseconds after the failure, and its \
                     connection did not stay behind.",
            see: &[],
            shows: "Nothing shows it.",
            mend: &["Try again."],
        },
        Cause::Unknown => Entry {
            means: "it cannot be proven; proven holders are listed all the same",
            arises: "Records were lost, the holder is older than portwatch and left no trace, or the \
                     rule needs a fact that no program may read.",
            see: STATE,
            shows: "What is there now.",
            mend: &[
                "Read the message: it says what is missing.",
                "Let portwatch run before the holder takes the port.",
            ],
        },
    }
}
