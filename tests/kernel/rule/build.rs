//! Makes a cell's holders on a port of their own, and knows what it made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use portwatch_tests::actor::{Kind, Look, Op, Opt, Slot};

use super::cell::{By, Cell, End, Holder, Way};
use super::made::{Made, Scene};
use super::world::{FIRST, PEER, SECOND, Stop, VOID4, World, shown, unless_broken};

/// The holder under construction.
struct Site<'a> {
    world: &'a mut World,
    holder: &'a Holder,
    number: usize,
    actor: usize,
    port: u16,
    opened: Vec<(usize, Slot)>,
    made: Vec<Made>,
    names_port: bool,
}

/// Makes every holder that the kernel lets be made.
pub(crate) fn build(world: &mut World, cell: &Cell) -> Result<Scene> {
    let port = world.next_port();
    let mut scene = Scene {
        port,
        made: Vec::new(),
        refused: Vec::new(),
    };
    for (number, holder) in cell.holders.iter().enumerate() {
        let actor = if holder.second_process { SECOND } else { FIRST };
        let mut site = Site {
            world,
            holder,
            number,
            actor,
            port,
            opened: Vec::new(),
            made: Vec::new(),
            names_port: false,
        };
        match site.make() {
            Ok(()) => scene.made.append(&mut site.made),
            Err(Stop::Refused(errno)) => {
                if errno == libc::EADDRINUSE && site.names_port {
                    scene.refused.push((actor, holder.way.udp()));
                }
                for (actor, slot) in site.opened.into_iter().rev() {
                    world.tell(actor, &Op::Abort(slot)).or_else(unless_broken)?;
                }
            }
            Err(Stop::Broken(error)) => return Err(error),
        }
    }
    Ok(scene)
}

impl Site<'_> {
    fn make(&mut self) -> Result<(), Stop> {
        match self.holder.way {
            Way::Bound => self.bound(self.port, "explicit-bind"),
            Way::BoundZero => self.bound(0, "ephemeral-bind"),
            Way::Listen => self.listener(self.port, "explicit-bind").map(drop),
            Way::ListenZero => self.listener(0, "ephemeral-bind").map(drop),
            Way::ListenAuto => self.listener_without_bind(),
            Way::Connected(by, end) => self.connected(by, end),
            Way::SynSent(by) => self.syn_sent(by),
            Way::Accepted { listens_on, end } => self.accepted(listens_on, end),
            Way::Queued => self.queued(),
            Way::UdpBound => self.udp(self.port, false, "explicit-bind"),
            Way::UdpZero => self.udp(0, false, "ephemeral-bind"),
            Way::UdpBoundConnected => self.udp(self.port, true, "explicit-bind"),
            Way::UdpConnected => self.udp_unbound(true, "ephemeral-connect"),
            Way::UdpAutobound => self.udp_unbound(false, "ephemeral-autobind"),
        }
    }

    fn open(&mut self, kind: Kind) -> Result<Slot, Stop> {
        let slot = self.world.next_slot();
        self.opened.push((self.actor, slot));
        self.world
            .open(self.actor, slot, kind, &self.holder.options)?;
        Ok(slot)
    }

    /// bind() to a port or, with 0, to the one that the kernel is left to pick.
    fn bind(&mut self, slot: Slot, port: u16) -> Result<(), Stop> {
        if port == 0 {
            self.world.pin(self.port)?;
        }
        let to = SocketAddr::new(self.holder.options.at.address(), port);
        self.names_port = port != 0;
        self.tell(&Op::Bind(slot, to))
    }

    fn tell(&mut self, op: &Op) -> Result<(), Stop> {
        self.world.tell(self.actor, op)
    }

    fn change(&mut self, slot: Slot) -> Result<(), Stop> {
        self.world.change(self.actor, slot, &self.holder.options)
    }

    /// Notes a socket of this holder's process. It is no use if it got another port.
    fn note(&mut self, slot: Slot, state: &'static str, origin: &'static str) -> Result<(), Stop> {
        let look = self.world.look(self.actor, slot)?;
        let local = look.local.filter(|local| local.port() == self.port);
        let local = local.ok_or(Stop::Refused(0))?;
        let Look { inode, peer, .. } = look;
        self.made.push(Made {
            actor: self.actor,
            holder: self.number,
            slot: Some(slot),
            udp: self.holder.way.udp(),
            v6: self.holder.options.at.v6(),
            device: self.holder.options.device.name(),
            inode: Some(inode),
            local,
            peer,
            state,
            origin,
            queued: None,
        });
        Ok(())
    }

    fn bound(&mut self, port: u16, origin: &'static str) -> Result<(), Stop> {
        let slot = self.open(Kind::Tcp)?;
        self.bind(slot, port)?;
        self.change(slot)?;
        self.note(slot, "bound", origin)
    }

    fn listener(&mut self, port: u16, origin: &'static str) -> Result<Slot, Stop> {
        let slot = self.open(Kind::Tcp)?;
        self.bind(slot, port)?;
        self.names_port = true;
        self.tell(&Op::Listen(slot))?;
        self.change(slot)?;
        self.note(slot, "listen", origin)?;
        Ok(slot)
    }

    fn listener_without_bind(&mut self) -> Result<(), Stop> {
        let slot = self.open(Kind::Tcp)?;
        self.world.pin(self.port)?;
        self.names_port = false;
        self.tell(&Op::Listen(slot))?;
        self.change(slot)?;
        self.note(slot, "listen", "ephemeral-autobind")
    }

    /// Gives the socket its port or lets connect() do it; the origin that this is.
    fn source(&mut self, slot: Slot, by: By) -> Result<&'static str, Stop> {
        let origin = match by {
            By::Connect => "ephemeral-connect",
            By::Zero => {
                self.bind(slot, 0)?;
                "ephemeral-bind"
            }
            By::Explicit => {
                self.bind(slot, self.port)?;
                "explicit-bind"
            }
            By::NoPort => {
                self.tell(&Op::Set(slot, Opt::BindAddressNoPort, 1))?;
                self.bind(slot, 0)?;
                "ephemeral-connect"
            }
        };
        if matches!(by, By::Connect | By::NoPort) {
            self.world.pin(self.port)?;
        }
        self.names_port = false;
        Ok(origin)
    }

    fn connected(&mut self, by: By, end: End) -> Result<(), Stop> {
        let (door, there) = (self.world.next_slot(), self.world.next_slot());
        let peer = SocketAddr::new(self.holder.options.at.peer(), self.world.next_peer_port());
        self.peer_socket(door, peer)?;
        self.world.tell(PEER, &Op::Listen(door))?;
        let slot = self.open(Kind::Tcp)?;
        let origin = self.source(slot, by)?;
        self.tell(&Op::Connect(slot, peer, false))?;
        self.opened.push((PEER, there));
        self.world.tell(PEER, &Op::Accept(door, there))?;
        self.world.tell(PEER, &Op::Close(door))?;
        self.change(slot)?;
        self.note(slot, "established", origin)?;
        self.end(slot, there, end)
    }

    fn peer_socket(&mut self, slot: Slot, at: SocketAddr) -> Result<(), Stop> {
        self.opened.push((PEER, slot));
        let open = Op::Open {
            slot,
            kind: Kind::Tcp,
            v6: at.is_ipv6(),
            uid: 0,
        };
        self.world.tell(PEER, &open)?;
        self.world.tell(PEER, &Op::Set(slot, Opt::Reuseaddr, 1))?;
        self.world.tell(PEER, &Op::Bind(slot, at))
    }

    fn syn_sent(&mut self, by: By) -> Result<(), Stop> {
        let slot = self.open(Kind::Tcp)?;
        let origin = self.source(slot, by)?;
        let void = match self.holder.options.at.peer() {
            IpAddr::V6(peer) if peer.to_ipv4_mapped().is_some() => VOID4.to_ipv6_mapped().into(),
            // IPv6 gives up at once.
            IpAddr::V6(_) => return Err(Stop::Refused(0)),
            IpAddr::V4(_) => IpAddr::V4(VOID4),
        };
        let void = SocketAddr::new(void, 9);
        self.tell(&Op::Connect(slot, void, true))?;
        self.change(slot)?;
        self.note(slot, "syn_sent", origin)?;
        if let Some(made) = self.made.last_mut() {
            made.peer = Some(shown(void.ip(), 9));
        }
        Ok(())
    }

    /// Where a client reaches the listener.
    fn door(&self) -> IpAddr {
        match self.holder.options.at.address() {
            IpAddr::V4(at) if at.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(at) if at.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            IpAddr::V6(at) if at.to_ipv4_mapped().is_some_and(|at| at.is_unspecified()) => {
                Ipv4Addr::LOCALHOST.to_ipv6_mapped().into()
            }
            IpAddr::V4(_) | IpAddr::V6(_) => self.holder.options.at.address(),
        }
    }

    /// A listener, and a client of the peer that is connected to it; both ends' addresses.
    fn client(&mut self) -> Result<(Slot, Slot, SocketAddr, SocketAddr), Stop> {
        let listener = self.listener(self.port, "explicit-bind")?;
        self.names_port = false;
        let there = self.world.next_slot();
        let from = SocketAddr::new(self.holder.options.at.peer(), self.world.next_peer_port());
        self.peer_socket(there, from)?;
        let to = SocketAddr::new(self.door(), self.port);
        self.world.tell(PEER, &Op::Connect(there, to, false))?;
        Ok((listener, there, to, from))
    }

    fn accepted(&mut self, listens_on: bool, end: End) -> Result<(), Stop> {
        let (listener, there, _, _) = self.client()?;
        let slot = self.world.next_slot();
        self.opened.push((self.actor, slot));
        self.tell(&Op::Accept(listener, slot))?;
        if !listens_on {
            self.made.clear();
            self.tell(&Op::Close(listener))?;
        }
        self.note(slot, "established", "accepted")?;
        self.end(slot, there, end)
    }

    fn queued(&mut self) -> Result<(), Stop> {
        let (listener, there, to, from) = self.client()?;
        // It may wait at another listener of the port.
        self.tell(&Op::Waits(listener))?;
        let Some(mut made) = self.made.last().cloned() else {
            return Ok(());
        };
        made.slot = None;
        made.inode = None;
        made.state = "established";
        made.origin = "accepted";
        made.local = shown(to.ip(), to.port());
        made.peer = Some(shown(from.ip(), from.port()));
        made.queued = Some(there);
        self.made.push(made);
        Ok(())
    }

    /// Brings the last socket noted into its final state.
    fn end(&mut self, slot: Slot, there: Slot, end: End) -> Result<(), Stop> {
        let state = match end {
            End::Established => "established",
            End::CloseWait => {
                self.world.tell(PEER, &Op::Close(there))?;
                "close_wait"
            }
            End::FinWait => {
                self.tell(&Op::Shutdown(slot))?;
                "fin_wait2"
            }
            End::Orphan => {
                self.tell(&Op::Set(slot, Opt::Linger2, 100))?;
                self.tell(&Op::Close(slot))?;
                "fin_wait2"
            }
            End::SmallOrphan => {
                self.tell(&Op::Close(slot))?;
                "fin_wait2"
            }
            End::TimeWait => {
                self.tell(&Op::Close(slot))?;
                self.world.tell(PEER, &Op::Close(there))?;
                "time_wait"
            }
        };
        if let Some(made) = self.made.last_mut() {
            made.state = state;
            if matches!(end, End::Orphan | End::SmallOrphan | End::TimeWait) {
                made.slot = None;
                made.inode = None;
            }
        }
        Ok(())
    }

    fn udp(&mut self, port: u16, connect: bool, origin: &'static str) -> Result<(), Stop> {
        let slot = self.open(Kind::Udp)?;
        self.bind(slot, port)?;
        let mut state = "unconnected";
        if connect {
            let to = SocketAddr::new(self.holder.options.at.peer(), 9);
            self.tell(&Op::Connect(slot, to, false))?;
            state = "established";
        }
        self.change(slot)?;
        self.note(slot, state, origin)
    }

    fn udp_unbound(&mut self, connect: bool, origin: &'static str) -> Result<(), Stop> {
        let slot = self.open(Kind::Udp)?;
        self.world.pin(self.port)?;
        let to = SocketAddr::new(self.holder.options.at.peer(), 9);
        let state = if connect {
            self.tell(&Op::Connect(slot, to, false))?;
            "established"
        } else {
            self.tell(&Op::Send(slot, to))?;
            "unconnected"
        };
        self.change(slot)?;
        self.note(slot, state, origin)
    }
}
