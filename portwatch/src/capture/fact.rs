//! Questions to the machine and its answers, as a capture keeps them.

use super::input::Stored;
use crate::decode::event::{Ktime, NetnsId, Owner, Tgid, Transport};
use crate::enrich::facts::{
    Connection, Facts, NetnsFacts, PortFacts, ProcessFacts, RangeFacts, RangeQuestion, SocketUser,
};
use crate::enrich::kernel_user::KernelUser;
use serde::{Deserialize, Serialize};

/// A question of the [`Facts`] trait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// [`Facts::sees_processes`].
    SeesProcesses,
    /// [`Facts::process`].
    Process(Tgid, Ktime),
    /// [`Facts::socket_users`].
    Users(Vec<u64>, Ktime),
    /// [`Facts::netns`].
    Netns(NetnsId, Option<Tgid>),
    /// [`Facts::device`].
    Device(NetnsId, u32),
    /// [`Facts::cgroup`].
    Cgroup(u64),
    /// [`Facts::range`].
    Range(RangeQuestion),
    /// [`Facts::kernel_user`] of UDP.
    Tunnel(NetnsId, Tgid, u16),
    /// [`Facts::kernel_user`] of TCP.
    Endpoint(NetnsId, Tgid, u16),
    /// [`Facts::closers`].
    Closers(Vec<u64>),
    /// [`Facts::time_wait_left`].
    TimeWaitLeft(NetnsId, Tgid, Vec<Connection>),
    /// [`Facts::port`].
    Port(NetnsId, Tgid, Option<u16>, Option<u16>),
}

impl Question {
    /// What in the kernel has a port.
    #[must_use]
    pub fn kernel_user(netns: NetnsId, hint: Tgid, transport: Transport, port: u16) -> Self {
        match transport {
            Transport::Udp => Self::Tunnel(netns, hint, port),
            Transport::Tcp => Self::Endpoint(netns, hint, port),
        }
    }
}

/// The answer to each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::large_enum_variant,
    reason = "one at a time, on its way into a block or out of one"
)]
pub enum Answer {
    /// Whether processes can be looked up at all.
    SeesProcesses(bool),
    /// A process, or that it is gone.
    Process(Option<ProcessFacts>),
    /// Who has which socket.
    Users(Option<Vec<(u64, SocketUser)>>),
    /// A namespace.
    Netns(NetnsFacts),
    /// A device's name.
    Device(Option<String>),
    /// A cgroup's path.
    Cgroup(Option<String>),
    /// Who holds a range.
    Range(Option<RangeFacts>),
    /// What in the kernel has a port.
    #[serde(rename = "Tunnel")]
    KernelUser(Option<KernelUser>),
    /// Who closed which socket.
    Closers(Vec<(u64, Owner)>),
    /// Milliseconds of each connection.
    TimeWaitLeft(Vec<Option<u32>>),
    /// A port's sockets.
    Port(Option<PortFacts>),
}

/// One of each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What was asked.
    pub question: Question,
    /// What was answered.
    pub answer: Answer,
}

/// Answers of a capture instead of the machine's. A question that was not asked then has no answer
/// now, and that is counted.
#[derive(Debug, Default)]
pub struct Told {
    /// As they are stored: most are never asked for.
    unread: Stored,
    /// With whether it was given already: a question that is asked twice gets the next answer.
    facts: Vec<(Fact, bool)>,
    /// Questions without an answer.
    pub unanswered: u64,
}

impl Told {
    /// The answers that stand behind the record that comes next.
    pub fn next(&mut self, answers: Stored) {
        self.facts.clear();
        self.unread = answers;
    }

    fn answer<T>(&mut self, question: &Question, pick: impl Fn(&Answer) -> Option<T>) -> Option<T> {
        for bytes in std::mem::take(&mut self.unread).all() {
            let fact = rmp_serde::from_slice(bytes).ok();
            self.facts.extend(fact.map(|fact| (fact, false)));
        }
        let same = |(fact, _): &(Fact, bool)| fact.question == *question;
        let fresh = self.facts.iter().position(|one| same(one) && !one.1);
        let at = fresh.or_else(|| self.facts.iter().rposition(same));
        let found = at.and_then(|at| self.facts.get_mut(at));
        let answer = found.and_then(|(fact, given)| {
            *given = true;
            pick(&fact.answer)
        });
        self.unanswered += u64::from(answer.is_none());
        answer
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "each question takes its own kind of answer and no other, whichever come"
)]
impl Facts for Told {
    fn sees_processes(&mut self) -> bool {
        self.answer(&Question::SeesProcesses, |answer| match answer {
            Answer::SeesProcesses(sees) => Some(*sees),
            _ => None,
        })
        // Captures from before this was asked are of builds that took it for granted.
        .unwrap_or(true)
    }

    fn process(&mut self, tgid: Tgid, start: Ktime) -> Option<ProcessFacts> {
        self.answer(&Question::Process(tgid, start), |answer| match answer {
            Answer::Process(facts) => Some(facts.clone()),
            _ => None,
        })
        .flatten()
    }

    /// Whatever its age was: the answer to this is recorded as one to [`Self::process`].
    fn process_lately(&mut self, tgid: Tgid, start: Ktime) -> Option<ProcessFacts> {
        self.process(tgid, start)
    }

    fn socket_users(&mut self, inodes: &[u64], at: Ktime) -> Option<Vec<(u64, SocketUser)>> {
        let question = Question::Users(inodes.to_vec(), at);
        self.answer(&question, |answer| match answer {
            Answer::Users(users) => Some(users.clone()),
            _ => None,
        })
        .flatten()
    }

    fn netns(&mut self, netns: NetnsId, hint: Option<Tgid>) -> NetnsFacts {
        self.answer(&Question::Netns(netns, hint), |answer| match answer {
            Answer::Netns(facts) => Some(facts.clone()),
            _ => None,
        })
        .unwrap_or(NetnsFacts {
            reserved: None,
            reach: None,
        })
    }

    fn device(&mut self, netns: NetnsId, index: u32) -> Option<String> {
        self.answer(&Question::Device(netns, index), |answer| match answer {
            Answer::Device(name) => Some(name.clone()),
            _ => None,
        })
        .flatten()
    }

    fn cgroup(&mut self, id: u64) -> Option<String> {
        self.answer(&Question::Cgroup(id), |answer| match answer {
            Answer::Cgroup(path) => Some(path.clone()),
            _ => None,
        })
        .flatten()
    }

    fn range(&mut self, question: &RangeQuestion) -> Option<RangeFacts> {
        self.answer(&Question::Range(*question), |answer| match answer {
            Answer::Range(facts) => Some(facts.clone()),
            _ => None,
        })
        .flatten()
    }

    fn kernel_user(
        &mut self,
        netns: NetnsId,
        hint: Tgid,
        transport: Transport,
        port: u16,
    ) -> Option<KernelUser> {
        let question = Question::kernel_user(netns, hint, transport, port);
        self.answer(&question, |answer| match answer {
            Answer::KernelUser(user) => Some(user.clone()),
            _ => None,
        })
        .flatten()
    }

    fn closers(&mut self, cookies: &[u64]) -> Vec<(u64, Owner)> {
        let question = Question::Closers(cookies.to_vec());
        self.answer(&question, |answer| match answer {
            Answer::Closers(closers) => Some(closers.clone()),
            _ => None,
        })
        .unwrap_or_default()
    }

    fn time_wait_left(
        &mut self,
        netns: NetnsId,
        hint: Tgid,
        connections: &[Connection],
    ) -> Vec<Option<u32>> {
        let question = Question::TimeWaitLeft(netns, hint, connections.to_vec());
        self.answer(&question, |answer| match answer {
            Answer::TimeWaitLeft(left) => Some(left.clone()),
            _ => None,
        })
        .unwrap_or_default()
    }

    fn port(
        &mut self,
        netns: NetnsId,
        hint: Tgid,
        protocol: Option<u16>,
        port: Option<u16>,
    ) -> Option<PortFacts> {
        let question = Question::Port(netns, hint, protocol, port);
        self.answer(&question, |answer| match answer {
            Answer::Port(facts) => Some(facts.clone()),
            _ => None,
        })
        .flatten()
    }
}
