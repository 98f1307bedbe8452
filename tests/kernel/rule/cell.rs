//! What a cell is: a few holders of one port, made in an order, and a binder that wants it.
//!
//! Plain values that say nothing of how they are made (`build`) or of what is right (`truth`).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

/// An address to bind to, and with it the family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum At {
    Any4,
    One4,
    Two4,
    /// What native IPv6 sockets carry as their IPv4 address.
    Six4,
    Any6,
    One6,
    Two6,
    MappedAny,
    MappedOne,
}

impl At {
    pub(crate) fn v6(self) -> bool {
        !matches!(self, Self::Any4 | Self::One4 | Self::Two4 | Self::Six4)
    }

    pub(crate) fn address(self) -> IpAddr {
        match self {
            Self::Any4 => Ipv4Addr::UNSPECIFIED.into(),
            Self::One4 => Ipv4Addr::LOCALHOST.into(),
            Self::Two4 => Ipv4Addr::new(127, 0, 0, 2).into(),
            Self::Six4 => Ipv4Addr::new(127, 0, 0, 6).into(),
            Self::Any6 => Ipv6Addr::UNSPECIFIED.into(),
            Self::One6 => Ipv6Addr::LOCALHOST.into(),
            Self::Two6 => TWO6.into(),
            Self::MappedAny => Ipv4Addr::UNSPECIFIED.to_ipv6_mapped().into(),
            Self::MappedOne => Ipv4Addr::LOCALHOST.to_ipv6_mapped().into(),
        }
    }

    /// Where a peer of a socket that is bound here can be.
    pub(crate) fn peer(self) -> IpAddr {
        let v4 = Ipv4Addr::new(127, 0, 0, 3);
        match self {
            Self::Any4 | Self::One4 | Self::Two4 | Self::Six4 => v4.into(),
            Self::Any6 | Self::One6 | Self::Two6 => Ipv6Addr::LOCALHOST.into(),
            Self::MappedAny | Self::MappedOne => v4.to_ipv6_mapped().into(),
        }
    }
}

/// A second IPv6 address, on `lo`.
pub(crate) const TWO6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

/// An option that sharing depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flag {
    Off,
    On,
    /// Set when the socket has the port already.
    Later,
    /// Set for the call, cleared when the socket has the port.
    Cleared,
}

/// The device that a socket is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Device {
    None,
    Lo,
    Veth,
}

impl Device {
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Lo => Some("lo"),
            Self::Veth => Some("veth-a"),
        }
    }
}

/// What both sides may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) at: At,
    pub(crate) v6only: bool,
    pub(crate) reuseaddr: Flag,
    pub(crate) reuseport: Flag,
    pub(crate) other_user: bool,
    pub(crate) device: Device,
}

/// How a TCP connection got its local port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Connect,
    Zero,
    Explicit,
    NoPort,
}

/// In which state a connection is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Established,
    CloseWait,
    FinWait,
    Orphan,
    /// FIN_WAIT2 that the kernel keeps in a small socket.
    SmallOrphan,
    TimeWait,
}

/// How a holder comes to the port and what it does then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Bound,
    BoundZero,
    Listen,
    ListenZero,
    /// listen() without bind().
    ListenAuto,
    Connected(By, End),
    SynSent(By),
    Accepted {
        listens_on: bool,
        end: End,
    },
    /// A connection that nobody accepted.
    Queued,
    UdpBound,
    UdpZero,
    UdpConnected,
    UdpBoundConnected,
    UdpAutobound,
}

impl Way {
    fn has_peer(self) -> bool {
        !matches!(
            self,
            Self::Bound
                | Self::BoundZero
                | Self::Listen
                | Self::ListenZero
                | Self::ListenAuto
                | Self::UdpBound
                | Self::UdpZero
        )
    }

    pub(crate) fn udp(self) -> bool {
        matches!(
            self,
            Self::UdpBound
                | Self::UdpZero
                | Self::UdpConnected
                | Self::UdpBoundConnected
                | Self::UdpAutobound
        )
    }
}

/// One holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) way: Way,
    pub(crate) options: Options,
    /// Which of the two holding processes has it.
    pub(crate) second_process: bool,
}

/// The whole scene.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) holders: Vec<Holder>,
    pub(crate) binder: Options,
    pub(crate) binder_udp: bool,
}

pub(crate) fn cell() -> impl Strategy<Value = Cell> {
    prop_oneof![5 => cell_of(false), 2 => cell_of(true)]
}

fn cell_of(udp: bool) -> impl Strategy<Value = Cell> {
    // Now and then a neighbour of the other transport, which must never matter.
    let way = if udp {
        prop_oneof![9 => udp_way(), 1 => tcp_way()].boxed()
    } else {
        prop_oneof![19 => tcp_way(), 1 => udp_way()].boxed()
    };
    let holder = (way, options(), any::<bool>()).prop_map(|(way, mut options, second_process)| {
        // A connection stays on `lo`.
        if options.device == Device::Veth && way.has_peer() {
            options.device = Device::Lo;
        }
        Holder {
            way,
            options,
            second_process,
        }
    });
    (prop::collection::vec(holder, 1..=4), options()).prop_map(move |(holders, binder)| Cell {
        holders,
        binder,
        binder_udp: udp,
    })
}

fn tcp_way() -> impl Strategy<Value = Way> {
    let by = prop_oneof![
        2 => Just(By::Connect),
        1 => Just(By::Zero),
        2 => Just(By::Explicit),
        1 => Just(By::NoPort),
    ];
    prop_oneof![
        3 => Just(Way::Bound),
        1 => Just(Way::BoundZero),
        4 => Just(Way::Listen),
        1 => Just(Way::ListenZero),
        1 => Just(Way::ListenAuto),
        6 => (by.clone(), end()).prop_map(|(by, end)| Way::Connected(by, end)),
        1 => by.prop_map(Way::SynSent),
        4 => (any::<bool>(), end())
            .prop_map(|(listens_on, end)| Way::Accepted { listens_on, end }),
        1 => Just(Way::Queued),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        3 => Just(End::Established),
        1 => Just(End::CloseWait),
        1 => Just(End::FinWait),
        1 => Just(End::Orphan),
        1 => Just(End::SmallOrphan),
        3 => Just(End::TimeWait),
    ]
}

fn udp_way() -> impl Strategy<Value = Way> {
    prop_oneof![
        3 => Just(Way::UdpBound),
        1 => Just(Way::UdpZero),
        2 => Just(Way::UdpConnected),
        1 => Just(Way::UdpBoundConnected),
        2 => Just(Way::UdpAutobound),
    ]
}

fn options() -> impl Strategy<Value = Options> {
    let at = prop_oneof![
        4 => Just(At::Any4),
        4 => Just(At::One4),
        2 => Just(At::Two4),
        1 => Just(At::Six4),
        3 => Just(At::Any6),
        2 => Just(At::One6),
        1 => Just(At::Two6),
        1 => Just(At::MappedAny),
        2 => Just(At::MappedOne),
    ];
    let flag = || {
        prop_oneof![
            6 => Just(Flag::Off),
            6 => Just(Flag::On),
            1 => Just(Flag::Later),
            1 => Just(Flag::Cleared),
        ]
    };
    let device = prop_oneof![
        10 => Just(Device::None),
        1 => Just(Device::Lo),
        1 => Just(Device::Veth),
    ];
    (
        at,
        prop::bool::weighted(0.3),
        flag(),
        prop_oneof![2 => Just(Flag::Off), 1 => flag()],
        prop::bool::weighted(0.3),
        device,
    )
        .prop_map(
            |(at, v6only, reuseaddr, reuseport, other_user, device)| Options {
                at,
                v6only: v6only && at.v6(),
                reuseaddr,
                reuseport,
                other_user,
                device,
            },
        )
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}", self.at.address())?;
        if self.v6only {
            write!(f, ", v6only")?;
        }
        for (name, flag) in [
            ("SO_REUSEADDR", self.reuseaddr),
            ("SO_REUSEPORT", self.reuseport),
        ] {
            match flag {
                Flag::Off => {}
                Flag::On => write!(f, ", {name}")?,
                Flag::Later => write!(f, ", {name} set later")?,
                Flag::Cleared => write!(f, ", {name} cleared later")?,
            }
        }
        if self.other_user {
            write!(f, ", of another user")?;
        }
        if let Some(device) = self.device.name() {
            write!(f, ", bound to {device}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, holder) in self.holders.iter().enumerate() {
            let process = if holder.second_process { "B" } else { "A" };
            let (way, options) = (holder.way, holder.options);
            writeln!(f, "  {}. process {process}: {way:?} {options}", number + 1)?;
        }
        let call = if self.binder_udp {
            "bind() of UDP"
        } else {
            "bind() and listen() of TCP"
        };
        writeln!(f, "  then: {call} {}", self.binder)
    }
}
