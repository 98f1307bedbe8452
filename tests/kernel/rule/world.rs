//! Where cells are played: a namespace, two holding processes, the binder and a peer.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, bail};
use portwatch_tests::actor::{Actor, Kind, Look, Op, Opt, Reply, Slot};
use portwatch_tests::netns::NetNs;
use portwatch_tests::sockets::Row;
use portwatch_tests::stage::Stage;

use super::cell::{Flag, Options, TWO6};
use super::made::Scene;

pub(crate) const FIRST: usize = 0;
pub(crate) const SECOND: usize = 1;
pub(crate) const BINDER: usize = 2;
pub(crate) const PEER: usize = 3;

/// The user of sockets that are another user's.
pub(crate) const OTHER_USER: u32 = 65534;

/// Nobody answers there.
pub(crate) const VOID4: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// Ports that cells fight about, and ports of peers; a TIME_WAIT is over before one comes again.
const PORTS: (u16, u16) = (22_000, 65_000);
const PEERS: (u16, u16) = (2_000, 21_000);

pub(crate) struct World {
    stage: Stage,
    actors: [Actor; 4],
    port: u16,
    peer_port: u16,
    slot: Slot,
}

/// Why a step was not made.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The kernel said no.
    Refused(i32),
    /// The test itself is broken.
    Broken(anyhow::Error),
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Self::Broken(error)
    }
}

impl World {
    pub(crate) fn new(stage: Stage) -> Result<Self> {
        let netns = &stage.netns;
        netns.add_address(&format!("{TWO6}/128"))?;
        netns.black_hole(VOID4.into())?;
        // Kernels without veth have nothing but `lo` to bind to: such holders are not made.
        let _ = netns.run(
            "ip",
            &[
                "link", "add", "veth-a", "type", "veth", "peer", "name", "veth-b",
            ],
        );
        let actors = [
            Actor::start(netns, "holder-a")?,
            Actor::start(netns, "holder-b")?,
            Actor::start(netns, "binder")?,
            Actor::start(netns, "peer")?,
        ];
        Ok(Self {
            stage,
            actors,
            port: PORTS.0,
            peer_port: PEERS.0,
            slot: 0,
        })
    }

    pub(crate) fn netns(&self) -> &NetNs {
        &self.stage.netns
    }

    /// What lives without a descriptor is still there: on a loaded machine it may have ended before
    /// somebody wanted its port, and then it proves nothing.
    pub(crate) fn lasts(&self, scene: &Scene) -> Result<bool> {
        let mut passing = scene.made.iter().filter(|made| made.slot.is_none());
        if passing.clone().next().is_none() {
            return Ok(true);
        }
        let rows = self.stage.netns.sockets()?;
        Ok(passing.all(|made| {
            let here = |row: &&Row| row.local.port() == scene.port && row.state == made.state;
            rows.iter().any(|row| here(&row))
        }))
    }

    pub(crate) fn actor(&self, actor: usize) -> &Actor {
        &self.actors[actor]
    }

    pub(crate) fn next_port(&mut self) -> u16 {
        self.port = next(self.port, PORTS);
        self.port
    }

    pub(crate) fn next_peer_port(&mut self) -> u16 {
        self.peer_port = next(self.peer_port, PEERS);
        self.peer_port
    }

    pub(crate) fn next_slot(&mut self) -> Slot {
        self.slot += 1;
        self.slot
    }

    pub(crate) fn tell(&mut self, actor: usize, op: &Op) -> Result<(), Stop> {
        match self.actors[actor].ask(op)? {
            Reply::Refused(errno) => Err(Stop::Refused(errno)),
            Reply::Done | Reply::Seen(_) | Reply::Number(_) => Ok(()),
        }
    }

    pub(crate) fn look(&mut self, actor: usize, slot: Slot) -> Result<Look> {
        self.actors[actor].look(slot)
    }

    pub(crate) fn cookie(&mut self, actor: usize, slot: Slot) -> Result<u64> {
        self.actors[actor].number(&Op::Cookie(slot))
    }

    /// Leaves the kernel this port to pick, and no other.
    pub(crate) fn pin(&mut self, port: u16) -> Result<()> {
        self.actors[FIRST].tell(&Op::Range(port, port))
    }

    /// Everything is closed; who cannot be closed has a port that does not come again soon.
    pub(crate) fn clear(&mut self) -> Result<()> {
        for actor in [PEER, FIRST, SECOND, BINDER] {
            self.actors[actor].tell(&Op::AbortAll)?;
        }
        Ok(())
    }

    /// A socket with the options that stand before it gets a port.
    pub(crate) fn open(
        &mut self,
        actor: usize,
        slot: Slot,
        kind: Kind,
        options: &Options,
    ) -> Result<(), Stop> {
        let v6 = options.at.v6();
        let uid = if options.other_user { OTHER_USER } else { 0 };
        let open = Op::Open {
            slot,
            kind,
            v6,
            uid,
        };
        self.tell(actor, &open)?;
        if v6 {
            self.tell(actor, &Op::Set(slot, Opt::V6only, options.v6only.into()))?;
        }
        for (option, flag) in flags(options) {
            if matches!(flag, Flag::On | Flag::Cleared) {
                self.tell(actor, &Op::Set(slot, option, 1))?;
            }
        }
        if let Some(device) = options.device.name() {
            self.tell(actor, &Op::Device(slot, device.to_owned()))?;
        }
        Ok(())
    }

    /// The options that change when it has the port.
    pub(crate) fn change(
        &mut self,
        actor: usize,
        slot: Slot,
        options: &Options,
    ) -> Result<(), Stop> {
        for (option, flag) in flags(options) {
            match flag {
                Flag::Off | Flag::On => {}
                Flag::Later => self.tell(actor, &Op::Set(slot, option, 1))?,
                Flag::Cleared => self.tell(actor, &Op::Set(slot, option, 0))?,
            }
        }
        Ok(())
    }

    /// The binder's try.
    pub(crate) fn attempt(&mut self, options: &Options, udp: bool, port: u16) -> Result<Attempt> {
        let slot = self.next_slot();
        let outcome = self.try_for(slot, options, udp, port);
        self.tell(BINDER, &Op::Abort(slot)).or_else(unless_broken)?;
        outcome
    }

    fn try_for(&mut self, slot: Slot, options: &Options, udp: bool, port: u16) -> Result<Attempt> {
        let kind = if udp { Kind::Udp } else { Kind::Tcp };
        let mut call = Attempt::Unfit;
        let mut steps = || -> Result<(), Stop> {
            self.open(BINDER, slot, kind, options)?;
            call = Attempt::Bind;
            let to = SocketAddr::new(options.at.address(), port);
            self.tell(BINDER, &Op::Bind(slot, to))?;
            call = Attempt::Unfit;
            self.change(BINDER, slot, options)?;
            if !udp {
                call = Attempt::Listen;
                self.tell(BINDER, &Op::Listen(slot))?;
            }
            Ok(())
        };
        match steps() {
            Ok(()) => Ok(Attempt::Free),
            Err(Stop::Refused(libc::EADDRINUSE)) => Ok(call),
            Err(Stop::Refused(_)) => Ok(Attempt::Unfit),
            Err(Stop::Broken(error)) => Err(error),
        }
    }
}

/// What came of the binder's try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// It has the port.
    Free,
    /// bind() said EADDRINUSE.
    Bind,
    /// listen() did.
    Listen,
    /// Something else said no: nothing follows from it.
    Unfit,
}

impl Attempt {
    /// The call's name, if one failed for want of the port.
    pub(crate) fn call(self) -> Option<&'static str> {
        match self {
            Self::Bind => Some("bind"),
            Self::Listen => Some("listen"),
            Self::Free | Self::Unfit => None,
        }
    }
}

/// A refusal is an answer, too.
pub(crate) fn unless_broken(stop: Stop) -> Result<()> {
    match stop {
        Stop::Refused(_) => Ok(()),
        Stop::Broken(error) => bail!(error),
    }
}

/// An address as the contract shows it.
pub(crate) fn shown(address: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(address.to_canonical(), port)
}

fn flags(options: &Options) -> [(Opt, Flag); 2] {
    [
        (Opt::Reuseaddr, options.reuseaddr),
        (Opt::Reuseport, options.reuseport),
    ]
}

fn next(port: u16, (low, high): (u16, u16)) -> u16 {
    if port >= high { low } else { port + 1 }
}
