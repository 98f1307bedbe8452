//! What `--redact` keeps out of a capture: it is taken out before anything is written.
//!
//! An address or a user becomes a pseudonym, the same one wherever it stands in the run, so that
//! whatever depends on two being equal stays as it was. A replay is then no longer equal to the live
//! output.

use super::fact::{Answer, Fact, Question};
use crate::decode::blind::Seen;
use crate::decode::event::{Holder, Socket};
use crate::enrich::facts::{ProcessFacts, RangeFacts};
use crate::sink::redact::{Numbers, Pseudonyms, RedactKey};
use portwatch_common as wire;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use wire::RecordKind;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Users begin here: no real one is as high on a usual machine. There are `USERS` of them.
const FIRST_USER: u32 = 4_000_000_000;
const USERS: u64 = 290_000_000;

/// What is taken out.
#[derive(Debug, Default)]
pub struct Redaction {
    cmdline: bool,
    users: Option<Numbers<u32>>,
    addresses: Option<Pseudonyms>,
}

impl Redaction {
    /// Takes these out.
    #[must_use]
    pub fn new(cmdline: bool, address: bool, uid: bool) -> Self {
        Self {
            cmdline,
            users: uid.then(|| Numbers::new(None)),
            addresses: address.then(|| Pseudonyms::new(None)),
        }
    }

    /// The same with pseudonyms that every run with this key gives.
    #[must_use]
    pub fn keyed(mut self, key: Option<RedactKey>) -> Self {
        self.users = self.users.map(|_| Numbers::new(key));
        self.addresses = self.addresses.map(|_| Pseudonyms::new(key));
        self
    }

    /// In words, for the header; empty = nothing.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let words = [
            (self.cmdline, "cmdline"),
            (self.addresses.is_some(), "address"),
            (self.users.is_some(), "uid"),
        ];
        let said = words.into_iter().filter(|(said, _)| *said);
        said.map(|(_, word)| word.to_owned()).collect()
    }

    /// Records hold neither: they need not be looked at.
    pub(super) fn spares_records(&self) -> bool {
        self.users.is_none() && self.addresses.is_none()
    }

    /// A record of this build's layout; one that cannot be read is emptied but for its header.
    pub(super) fn record(&mut self, bytes: &mut [u8]) {
        let kind = match bytes {
            [a, b, ..] => u16::from_ne_bytes([*a, *b]),
            _ => 0,
        };
        let done = match kind {
            RecordKind::FAILURE | RecordKind::REFUSED => {
                change::<wire::FailureRecord>(bytes, |record| {
                    self.task(&mut record.task);
                    self.sock(&mut record.sock);
                    self.named(&mut record.addr);
                })
            }
            RecordKind::HOLDER => change::<wire::HolderRecord>(bytes, |record| {
                self.sock(&mut record.sock);
                self.owner(&mut record.owner);
            }),
            RecordKind::ASSIGN => change::<wire::AssignRecord>(bytes, |record| {
                self.task(&mut record.task);
                self.sock(&mut record.sock);
            }),
            RecordKind::RELEASE => change::<wire::ReleaseRecord>(bytes, |record| {
                self.task(&mut record.task);
                self.sock(&mut record.sock);
                self.owner(&mut record.owner);
            }),
            RecordKind::EXIT => {
                change::<wire::ExitRecord>(bytes, |record| self.task(&mut record.task))
            }
            RecordKind::BLIND => change::<wire::BlindRecord>(bytes, |record| {
                self.task(&mut record.task);
                self.named(&mut record.addr);
            }),
            RecordKind::LOSS => Some(()),
            _ => None,
        };
        if done.is_none() {
            let head = size_of::<wire::RecordHeader>().min(bytes.len());
            bytes[head..].fill(0);
        }
    }

    /// An answer, and the question as the redacted record will ask it.
    pub(super) fn fact(&mut self, fact: &mut Fact) {
        if let Question::Range(question) = &mut fact.question
            && let Some(to) = &mut question.destination
        {
            *to = SocketAddr::new(self.address(to.ip()), to.port());
        }
        if let Question::TimeWaitLeft(_, _, connections) = &mut fact.question {
            for connection in connections {
                for end in [&mut connection.local, &mut connection.peer] {
                    end.set_ip(self.address(end.ip()));
                }
            }
        }
        match &mut fact.answer {
            Answer::Process(Some(process)) => self.process(process),
            Answer::Cgroup(Some(path)) => self.text(path),
            Answer::Range(Some(RangeFacts { groups, .. })) => {
                groups
                    .iter_mut()
                    .for_each(|group| self.holder(&mut group.holder));
            }
            Answer::Port(Some(port)) => port.sockets.iter_mut().for_each(|seen| self.seen(seen)),
            Answer::Process(None)
            | Answer::Cgroup(None)
            | Answer::Range(None)
            | Answer::Port(None)
            | Answer::Users(_)
            | Answer::Netns(_)
            | Answer::TimeWaitLeft(_)
            | Answer::SeesProcesses(_)
            | Answer::KernelUser(_)
            | Answer::Device(_) => {}
        }
    }

    /// A socket that the start-up scan met.
    pub(super) fn socket(&mut self, socket: &mut Socket) {
        socket.uid = socket.uid.map(|uid| self.user(uid));
        let Socket {
            rcv_saddr,
            v6_rcv_saddr,
            daddr,
            v6_daddr,
            ..
        } = socket;
        *rcv_saddr = self.v4(*rcv_saddr);
        *daddr = self.v4(*daddr);
        *v6_rcv_saddr = self.v6(*v6_rcv_saddr);
        *v6_daddr = self.v6(*v6_daddr);
    }

    fn process(&mut self, process: &mut ProcessFacts) {
        process.uid = process.uid.map(|uid| self.user(uid));
        if self.cmdline {
            process.cmdline = None;
            process.cmdline_truncated = false;
        }
        for argument in process.cmdline.iter_mut().flatten() {
            if let Ok(mut text) = String::from_utf8(argument.clone()) {
                self.text(&mut text);
                *argument = text.into_bytes();
            }
        }
        let unit = process.systemd_unit.iter_mut().flatten();
        for text in process.cgroup.iter_mut().chain(unit) {
            self.text(text);
        }
    }

    fn holder(&mut self, holder: &mut Holder) {
        self.socket(&mut holder.socket);
        if let Some(owner) = &mut holder.owner {
            owner.uid = self.user(owner.uid);
        }
    }

    fn seen(&mut self, seen: &mut Seen) {
        seen.uid = self.user(seen.uid);
        seen.local.0 = self.address(seen.local.0);
        seen.peer.0 = self.address(seen.peer.0);
    }

    fn task(&mut self, task: &mut wire::Task) {
        task.uid = self.user(task.uid);
    }

    fn owner(&mut self, owner: &mut wire::Owner) {
        if owner.source != wire::OwnerSource::NONE {
            owner.uid = self.user(owner.uid);
        }
    }

    fn sock(&mut self, sock: &mut wire::Sock) {
        if sock.flags & wire::Sock::FLAG_FULL != 0 {
            sock.uid = self.user(sock.uid);
        }
        for bytes in [&mut sock.rcv_saddr, &mut sock.daddr] {
            *bytes = self.v4(Ipv4Addr::from(*bytes)).octets();
        }
        for bytes in [&mut sock.v6_rcv_saddr, &mut sock.v6_daddr] {
            *bytes = self.v6(Ipv6Addr::from(*bytes)).octets();
        }
    }

    fn named(&mut self, addr: &mut wire::SockAddr) {
        const AF_INET6: u16 = 10;
        if addr.family == AF_INET6 {
            addr.addr = self.v6(Ipv6Addr::from(addr.addr)).octets();
        } else if let Some(four) = addr.addr.first_chunk_mut::<4>() {
            *four = self.v4(Ipv4Addr::from(*four)).octets();
        }
    }

    /// Also of a v4-mapped address, so that it stays one.
    fn v6(&mut self, address: Ipv6Addr) -> Ipv6Addr {
        match address.to_ipv4_mapped() {
            Some(mapped) => self.v4(mapped).to_ipv6_mapped(),
            None => match self.address(address.into()) {
                IpAddr::V6(address) => address,
                IpAddr::V4(address) => address.to_ipv6_mapped(),
            },
        }
    }

    fn v4(&mut self, address: Ipv4Addr) -> Ipv4Addr {
        match self.address(address.into()) {
            IpAddr::V4(address) => address,
            IpAddr::V6(_) => address,
        }
    }

    fn address(&mut self, address: IpAddr) -> IpAddr {
        match &mut self.addresses {
            Some(names) => names.of(address),
            None => address,
        }
    }

    fn text(&mut self, text: &mut String) {
        if let Some(names) = &mut self.addresses {
            names.replace(text);
        }
    }

    /// root stays root: that it is asks for nothing.
    fn user(&mut self, uid: u32) -> u32 {
        let Some(users) = &mut self.users else {
            return uid;
        };
        match uid {
            0 => 0,
            _ => {
                // Those that come after too many share the last one.
                let number = match users.of(uid, &uid.to_le_bytes(), USERS) {
                    0 => USERS,
                    number => number - 1,
                };
                FIRST_USER.saturating_add(u32::try_from(number).unwrap_or(0))
            }
        }
    }
}

/// Changes a record in place; `None` if the bytes are too few.
fn change<T: FromBytes + IntoBytes + Immutable>(
    bytes: &mut [u8],
    change: impl FnOnce(&mut T),
) -> Option<()> {
    let (mut record, _) = T::read_from_prefix(bytes).ok()?;
    change(&mut record);
    record.write_to_prefix(bytes).ok()
}
