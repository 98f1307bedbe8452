//! The machine's answers on their way into a capture.

use super::fact::{Answer, Question};
use super::recorder::Recorder;
use crate::decode::event::{Ktime, NetnsId, Owner, Tgid, Transport};
use crate::enrich::facts::{
    Connection, Facts, NetnsFacts, PortFacts, ProcessFacts, RangeFacts, RangeQuestion, SocketUser,
};
use crate::enrich::kernel_user::KernelUser;

/// The machine's facts, each written down as it is answered.
pub struct RecordingFacts {
    facts: Box<dyn Facts + Send>,
    recorder: Recorder,
}

impl RecordingFacts {
    /// Asks `facts` and tells `recorder`.
    #[must_use]
    pub fn new(facts: Box<dyn Facts + Send>, recorder: Recorder) -> Self {
        Self { facts, recorder }
    }

    /// One question in the capture, of whatever age the answer may be.
    fn of_process(
        &self,
        tgid: Tgid,
        start: Ktime,
        answer: Option<ProcessFacts>,
    ) -> Option<ProcessFacts> {
        let told = Answer::Process(answer.clone());
        self.recorder.fact(Question::Process(tgid, start), told);
        answer
    }
}

impl Facts for RecordingFacts {
    fn sees_processes(&mut self) -> bool {
        let answer = self.facts.sees_processes();
        self.recorder
            .fact(Question::SeesProcesses, Answer::SeesProcesses(answer));
        answer
    }

    fn process(&mut self, tgid: Tgid, start: Ktime) -> Option<ProcessFacts> {
        let answer = self.facts.process(tgid, start);
        self.of_process(tgid, start, answer)
    }

    fn process_lately(&mut self, tgid: Tgid, start: Ktime) -> Option<ProcessFacts> {
        let answer = self.facts.process_lately(tgid, start);
        self.of_process(tgid, start, answer)
    }

    fn socket_users(&mut self, inodes: &[u64], at: Ktime) -> Option<Vec<(u64, SocketUser)>> {
        let answer = self.facts.socket_users(inodes, at);
        let told = Answer::Users(answer.clone());
        self.recorder
            .fact(Question::Users(inodes.to_vec(), at), told);
        answer
    }

    fn netns(&mut self, netns: NetnsId, hint: Option<Tgid>) -> NetnsFacts {
        let answer = self.facts.netns(netns, hint);
        let told = Answer::Netns(answer.clone());
        self.recorder.fact(Question::Netns(netns, hint), told);
        answer
    }

    fn device(&mut self, netns: NetnsId, index: u32) -> Option<String> {
        let answer = self.facts.device(netns, index);
        let told = Answer::Device(answer.clone());
        self.recorder.fact(Question::Device(netns, index), told);
        answer
    }

    fn cgroup(&mut self, id: u64) -> Option<String> {
        let answer = self.facts.cgroup(id);
        let told = Answer::Cgroup(answer.clone());
        self.recorder.fact(Question::Cgroup(id), told);
        answer
    }

    fn range(&mut self, question: &RangeQuestion) -> Option<RangeFacts> {
        let answer = self.facts.range(question);
        let told = Answer::Range(answer.clone());
        self.recorder.fact(Question::Range(*question), told);
        answer
    }

    fn kernel_user(
        &mut self,
        netns: NetnsId,
        hint: Tgid,
        transport: Transport,
        port: u16,
    ) -> Option<KernelUser> {
        let answer = self.facts.kernel_user(netns, hint, transport, port);
        let told = Answer::KernelUser(answer.clone());
        self.recorder
            .fact(Question::kernel_user(netns, hint, transport, port), told);
        answer
    }

    fn closers(&mut self, cookies: &[u64]) -> Vec<(u64, Owner)> {
        let answer = self.facts.closers(cookies);
        let told = Answer::Closers(answer.clone());
        self.recorder
            .fact(Question::Closers(cookies.to_vec()), told);
        answer
    }

    fn time_wait_left(
        &mut self,
        netns: NetnsId,
        hint: Tgid,
        connections: &[Connection],
    ) -> Vec<Option<u32>> {
        let answer = self.facts.time_wait_left(netns, hint, connections);
        let question = Question::TimeWaitLeft(netns, hint, connections.to_vec());
        self.recorder
            .fact(question, Answer::TimeWaitLeft(answer.clone()));
        answer
    }

    fn port(
        &mut self,
        netns: NetnsId,
        hint: Tgid,
        protocol: Option<u16>,
        port: Option<u16>,
    ) -> Option<PortFacts> {
        let answer = self.facts.port(netns, hint, protocol, port);
        let told = Answer::Port(answer.clone());
        self.recorder
            .fact(Question::Port(netns, hint, protocol, port), told);
        answer
    }
}
