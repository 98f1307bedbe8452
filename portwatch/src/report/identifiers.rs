//! The closed lists of words in the contract.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$meta:meta])* $name:ident $rename:literal { $($(#[$vmeta:meta])* $variant:ident),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = $rename)]
        pub enum $name { $($(#[$vmeta])* $variant),* }

        impl $name {
            /// Every word, in the order of the list.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The word as it stands in the JSON.
            #[must_use]
            pub fn word(self) -> String {
                match serde_json::to_value(self) {
                    Ok(serde_json::Value::String(word)) => word,
                    _ => unreachable!("a unit variant serializes as a string"),
                }
            }
        }
    };
}

words! {
    /// Why a port was refused (docs/causes.md).
    #[non_exhaustive]
    Cause "kebab-case" {
        /// A live socket that got the port by connect() or an autobind.
        OutboundConnection,
        /// Such a connection is closed; TIME_WAIT holds the port.
        OutboundTimeWait,
        /// TIME_WAIT of the server's side.
        ServerTimeWait,
        /// FIN_WAIT, LAST_ACK or CLOSING that no process has any more.
        Orphan,
        /// The listener is gone, connections it accepted are not.
        AcceptedConnection,
        /// A listener whose address overlaps.
        Listener,
        /// A `[::]` listener without v6only against an IPv4 bind, or the other way.
        DualStackListener,
        /// Bound, never listened.
        BoundNotListening,
        /// A listener that shares its port with SO_REUSEPORT, but not with another user's sockets.
        ReuseportOtherUser,
        /// Both sides belong to one program, and only one of them has SO_REUSEPORT.
        ReuseportMissing,
        /// A listening descriptor that another process inherited of the dead one that opened it.
        InheritedDescriptor,
        /// Taken with bind(0), not listening.
        EphemeralBind,
        /// A socket of the kernel itself.
        KernelSocket,
        /// No process has the descriptor: it is in an unread message, or registered in an io_uring.
        DescriptorInFlight,
        /// A UDP socket that was bound explicitly, or whose origin is not proven.
        UdpSocket,
        /// connect() with a port of its own: that connection exists already.
        SameConnection,
        /// No port was wanted, and none of the range was free for the call.
        RangeExhausted,
        /// The holder left between the failure and the walk.
        AlreadyFree,
        /// It cannot be proven; the message says what is missing.
        Unknown,
    }
}

words! {
    /// What a range has no port for any more.
    ExhaustedFor "lowercase" {
        /// connect() to this destination; another one can share the ports.
        Destination,
        /// Whatever needs a port of its own: bind(), and any connect() as well.
        Binds,
    }
}

words! {
    /// How sure a verdict is.
    Certainty "lowercase" {
        /// Read from the kernel's own bucket, the process by cookie or descriptor.
        Exact,
        /// Named from an earlier record that the cookie does not prove.
        Remembered,
        /// Deduced.
        Inferred,
        /// Not known.
        Unknown,
    }
}

words! {
    /// The failing call.
    Call "lowercase" {
        /// bind().
        Bind,
        /// listen().
        Listen,
        /// connect().
        Connect,
        /// A UDP send on a socket without a port.
        Autobind,
    }
}

words! {
    /// Transport protocol.
    TransportName "lowercase" {
        /// TCP, MPTCP included.
        Tcp,
        /// UDP, UDP-Lite included.
        Udp,
    }
}

words! {
    /// Address family; v4-mapped counts as ipv4.
    FamilyName "lowercase" {
        /// IPv4.
        Ipv4,
        /// IPv6.
        Ipv6,
    }
}

words! {
    /// What a holder is.
    HolderKind "kebab-case" {
        /// In LISTEN.
        Listener,
        /// A connection its own side opened (or whose side is not known).
        Connection,
        /// A connection that a listener accepted.
        Accepted,
        /// Bound, neither listening nor connected.
        Bound,
        /// TIME_WAIT.
        TimeWait,
        /// A closing connection without a process.
        Orphan,
        /// Any UDP socket.
        Udp,
        /// A socket of the kernel itself.
        Kernel,
        /// A descriptor that no process has: in an unread message.
        InFlight,
    }
}

words! {
    /// State of a holder's socket.
    StateName "snake_case" {
        /// TCP, or connected UDP.
        Established,
        /// TCP SYN_SENT.
        SynSent,
        /// TCP SYN_RECV.
        SynRecv,
        /// TCP FIN_WAIT1.
        #[serde(rename = "fin_wait1")]
        FinWait1,
        /// TCP FIN_WAIT2.
        #[serde(rename = "fin_wait2")]
        FinWait2,
        /// TCP TIME_WAIT.
        TimeWait,
        /// TCP CLOSE_WAIT.
        CloseWait,
        /// TCP LAST_ACK.
        LastAck,
        /// TCP CLOSING.
        Closing,
        /// TCP LISTEN.
        Listen,
        /// TCP, bound and not listening.
        Bound,
        /// UDP without a peer.
        Unconnected,
    }
}

words! {
    /// How a socket came to its port; absent when not proven.
    OriginName "kebab-case" {
        /// connect() let the kernel pick.
        EphemeralConnect,
        /// bind() to port 0.
        EphemeralBind,
        /// listen() or a UDP send let the kernel pick.
        EphemeralAutobind,
        /// bind() to a port.
        ExplicitBind,
        /// accept().
        Accepted,
        /// The kernel opened the socket.
        Kernel,
    }
}

words! {
    /// Socket options that matter to the bind rule.
    OptionName "kebab-case" {
        /// SO_REUSEADDR.
        Reuseaddr,
        /// SO_REUSEPORT.
        Reuseport,
        /// IPV6_V6ONLY.
        V6only,
        /// IP_FREEBIND.
        Freebind,
        /// IP_TRANSPARENT.
        Transparent,
        /// IP_BIND_ADDRESS_NO_PORT.
        BindNoPort,
    }
}

words! {
    /// What `since` rests on.
    SinceSource "kebab-case" {
        /// The call that took the port was seen.
        Assigned,
        /// The holder is older than the tracer.
        Snapshot,
    }
}

words! {
    /// How an incident ended.
    How "kebab-case" {
        /// The requester got the port.
        GotPort,
        /// It took another.
        OtherPort,
        /// It did not try again.
        GaveUp,
        /// It exited.
        Exited,
    }
}

words! {
    /// What freed the port; absent when not known.
    FreedBy "kebab-case" {
        /// The holder closed its socket.
        HolderClosed,
        /// The holder's process ended.
        HolderExited,
        /// TIME_WAIT ran out.
        TimeWaitOver,
        /// The kernel ended the holder's connection.
        ConnectionOver,
    }
}
