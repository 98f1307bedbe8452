//! What `--redact` keeps out of a capture: it is taken out before anything is written.
//!
//! An address or a user becomes a pseudonym, the same one wherever it stands in the run, so that
//! whatever depends on two being equal stays as it was. A replay is then no longer equal to the live
//! output.

use super::fact::{Answer, Fact, Question};
use super::header::{ADDRESS, CaptureHeader, KEYED};
use crate::decode::blind::Seen;
use crate::decode::event::{Comm, Holder, Owner, Socket};
use crate::enrich::facts::{NetnsFacts, NetnsReach, ProcessFacts, RangeFacts};
use crate::enrich::kernel_user::KernelUser;
use crate::sink::redact::{Pseudonyms, RedactKey, Texts, UserNames, Users};
use portwatch_common as wire;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use wire::RecordKind;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// What is taken out.
#[derive(Debug, Default)]
pub struct Redaction {
    cmdline: bool,
    users: Option<UserNames>,
    texts: Texts,
    keyed: bool,
}

impl Redaction {
    /// Takes these out.
    #[must_use]
    pub fn new(cmdline: bool, address: bool, uid: bool) -> Self {
        Self::of(cmdline, address, uid, None)
    }

    /// The same with pseudonyms that every run with this key gives.
    #[must_use]
    pub fn keyed(self, key: Option<RedactKey>) -> Self {
        let (address, uid) = (self.texts.addresses.is_some(), self.users.is_some());
        Self::of(self.cmdline, address, uid, key)
    }

    fn of(cmdline: bool, address: bool, uid: bool, key: Option<RedactKey>) -> Self {
        let users = uid.then(|| UserNames::new(key));
        let texts = Texts {
            addresses: address.then(|| Pseudonyms::new(key)),
            users: users.clone().map(Users::Named),
        };
        Self {
            cmdline,
            users,
            texts,
            keyed: key.is_some(),
        }
    }

    /// The header tells what is taken out, and nothing of it.
    pub(super) fn header(&self, header: &mut CaptureHeader) {
        header.redacted = self.words();
        self.texts.filters(&mut header.filtered);
        self.texts.filters(&mut header.begin.start.filters);
    }

    /// In words, for the header; empty = nothing.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let words = [
            (self.cmdline, "cmdline"),
            (self.texts.addresses.is_some(), ADDRESS),
            (self.users.is_some(), "uid"),
            (self.texts.addresses.is_some() && self.keyed, KEYED),
        ];
        let said = words.into_iter().filter(|(said, _)| *said);
        said.map(|(_, word)| word.to_owned()).collect()
    }

    /// Records hold neither: they need not be looked at.
    pub(super) fn spares_records(&self) -> bool {
        !self.texts.hides()
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
            Answer::Cgroup(Some(text)) | Answer::Device(Some(text)) => self.texts.text(text),
            Answer::Users(Some(users)) => {
                for (_, user) in users {
                    self.comm(&mut user.comm);
                }
            }
            Answer::Netns(NetnsFacts {
                reserved: _,
                reach: Some(NetnsReach::Path(path)),
            }) => self.texts.text(path),
            Answer::Range(Some(RangeFacts { groups, .. })) => {
                for group in groups {
                    self.holder(&mut group.holder);
                    for user in &mut group.users {
                        self.comm(&mut user.comm);
                    }
                }
            }
            Answer::KernelUser(Some(KernelUser {
                kind: _,
                name,
                address,
            })) => {
                self.texts.text(name);
                *address = address.map(|address| self.address(address));
            }
            Answer::Closers(closers) => {
                for (_, closer) in closers {
                    self.closer(closer);
                }
            }
            Answer::Port(Some(port)) => port.sockets.iter_mut().for_each(|seen| self.seen(seen)),
            Answer::Process(None)
            | Answer::Cgroup(None)
            | Answer::Range(None)
            | Answer::Port(None)
            | Answer::Users(None)
            | Answer::Netns(NetnsFacts {
                reserved: _,
                reach: None | Some(NetnsReach::Process(_)),
            })
            | Answer::TimeWaitLeft(_)
            | Answer::SeesProcesses(_)
            | Answer::KernelUser(None)
            | Answer::Device(None) => {}
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
        let ProcessFacts {
            tgid: _,
            start: _,
            comm,
            ppid: _,
            session: _,
            group: _,
            forked_only: _,
            uid,
            exe,
            cmdline,
            cmdline_truncated,
            cgroup,
            systemd_unit,
            socket_unit,
            container,
            container_runtime: _,
            container_name,
            pod_uid: _,
        } = process;
        *uid = uid.map(|uid| self.user(uid));
        if self.cmdline {
            (*cmdline, *cmdline_truncated) = (None, false);
        }
        self.comm(comm);
        exe.iter_mut()
            .chain(cmdline.iter_mut().flatten())
            .for_each(|bytes| self.texts.bytes(bytes));
        cgroup
            .iter_mut()
            .chain(systemd_unit.iter_mut().flatten())
            .chain(socket_unit)
            .chain(container.iter_mut().flatten())
            .chain(container_name)
            .for_each(|text| self.texts.text(text));
    }

    fn holder(&mut self, holder: &mut Holder) {
        self.socket(&mut holder.socket);
        if let Some(owner) = &mut holder.owner {
            self.closer(owner);
        }
    }

    fn closer(&mut self, owner: &mut Owner) {
        owner.uid = self.user(owner.uid);
        self.comm(&mut owner.comm);
    }

    fn comm(&self, comm: &mut Comm) {
        if let Some(hidden) = self.texts.comm(comm.bytes()) {
            *comm = Comm::from(hidden.as_bytes());
        }
    }

    /// The same as it stands in a record; what a longer name left behind its end goes too.
    fn name(&self, words: &mut [u64; 2]) {
        if !self.texts.hides() {
            return;
        }
        let old = words.as_bytes().split(|byte| *byte == 0);
        let old = old.into_iter().next().unwrap_or_default();
        let hidden = self.texts.comm(old).map(String::into_bytes);
        let name = hidden.unwrap_or_else(|| old.to_vec());
        let mut new = [0; 2];
        let bytes = new.as_mut_bytes().iter_mut();
        bytes.zip(name).for_each(|(byte, of_name)| *byte = of_name);
        *words = new;
    }

    fn seen(&mut self, seen: &mut Seen) {
        seen.uid = self.user(seen.uid);
        seen.local.0 = self.address(seen.local.0);
        seen.peer.0 = self.address(seen.peer.0);
    }

    fn task(&mut self, task: &mut wire::Task) {
        task.uid = self.user(task.uid);
        self.name(&mut task.comm);
    }

    fn owner(&mut self, owner: &mut wire::Owner) {
        if owner.source != wire::OwnerSource::NONE {
            owner.uid = self.user(owner.uid);
            self.name(&mut owner.comm);
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

    fn address(&self, address: IpAddr) -> IpAddr {
        self.texts.address(address)
    }

    fn user(&self, uid: u32) -> u32 {
        match &self.users {
            Some(users) => users.of(uid),
            None => uid,
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
