//! Plays captures through the pipeline: the source that needs no kernel, no root and no clock.

use super::runs::{Open, Run, RunsError};
use crate::capture::fact::Told;
use crate::capture::note::Note;
use crate::capture::{CaptureHeader, Damage, Input, Piece, Step};
use crate::decode::event::{Ktime, NetnsId, Owner, Tgid, Transport};
use crate::enrich::facts::{
    Connection, Facts, NetnsFacts, PortFacts, ProcessFacts, RangeFacts, RangeQuestion, SocketUser,
};
use crate::enrich::kernel_user::KernelUser;
use crate::pipeline::Pipeline;
use crate::report::{ClockAnchor, LostCount, Start};
use crate::sink::SinkError;
use crate::sink::tally::EndReason;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Why a replay ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A capture cannot be read on.
    #[error(transparent)]
    Runs(#[from] RunsError),
    /// The output is closed or broken.
    #[error(transparent)]
    Sink(#[from] SinkError),
}

/// The answers of a capture, as the pipeline's facts.
#[derive(Clone, Debug, Default)]
pub struct Answers(Arc<Mutex<Told>>);

impl Answers {
    fn with<T>(&self, ask: impl FnOnce(&mut Told) -> T) -> T {
        ask(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Facts for Answers {
    fn sees_processes(&mut self) -> bool {
        self.with(Told::sees_processes)
    }

    fn process(&mut self, tgid: Tgid, start: Ktime) -> Option<ProcessFacts> {
        self.with(|told| told.process(tgid, start))
    }

    fn process_lately(&mut self, tgid: Tgid, start: Ktime) -> Option<ProcessFacts> {
        self.with(|told| told.process_lately(tgid, start))
    }

    fn socket_users(&mut self, inodes: &[u64], at: Ktime) -> Option<Vec<(u64, SocketUser)>> {
        self.with(|told| told.socket_users(inodes, at))
    }

    fn netns(&mut self, netns: NetnsId, hint: Option<Tgid>) -> NetnsFacts {
        self.with(|told| told.netns(netns, hint))
    }

    fn device(&mut self, netns: NetnsId, index: u32) -> Option<String> {
        self.with(|told| told.device(netns, index))
    }

    fn cgroup(&mut self, id: u64) -> Option<String> {
        self.with(|told| told.cgroup(id))
    }

    fn range(&mut self, question: &RangeQuestion) -> Option<RangeFacts> {
        self.with(|told| told.range(question))
    }

    fn kernel_user(
        &mut self,
        netns: NetnsId,
        hint: Tgid,
        transport: Transport,
        port: u16,
    ) -> Option<KernelUser> {
        self.with(|told| told.kernel_user(netns, hint, transport, port))
    }

    fn closers(&mut self, cookies: &[u64]) -> Vec<(u64, Owner)> {
        self.with(|told| told.closers(cookies))
    }

    fn time_wait_left(
        &mut self,
        netns: NetnsId,
        hint: Tgid,
        connections: &[Connection],
    ) -> Vec<Option<u32>> {
        self.with(|told| told.time_wait_left(netns, hint, connections))
    }

    fn port(
        &mut self,
        netns: NetnsId,
        hint: Tgid,
        protocol: Option<u16>,
        port: Option<u16>,
    ) -> Option<PortFacts> {
        self.with(|told| told.port(netns, hint, protocol, port))
    }
}

/// Makes the stages of a run, with facts from `Answers`, and the start line it is to have.
pub type Stages<'a> = dyn FnMut(&CaptureHeader, Answers) -> (Pipeline, Start) + 'a;

/// What the caller wants to know while it plays.
pub trait Audience {
    /// The next input is of this wall time, nanoseconds since 1970.
    fn comes(&mut self, wall_ns: i64, pipeline: &mut Pipeline) -> Result<(), SinkError>;

    /// A part of a capture is missing.
    fn damage(&mut self, damage: &Damage);
}

/// One run on its way through its pipeline.
struct Playing {
    run: Run,
    pipeline: Pipeline,
    answers: Answers,
    anchor: ClockAnchor,
    /// What comes next.
    next: Option<Piece>,
    last: Ktime,
    ended: bool,
}

/// How a replay went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Played {
    /// Incidents that passed the filters.
    pub incidents: u64,
    /// Records, ticks and the like.
    pub inputs: u64,
    /// Questions that were not asked when the captures were made.
    pub unanswered: u64,
}

/// Plays `runs`, merged by wall time.
///
/// # Errors
/// A capture cannot be read on, or the output is closed or broken.
pub fn play(
    runs: Vec<Run>,
    open: &Open<'_>,
    stages: &mut Stages<'_>,
    audience: &mut dyn Audience,
) -> Result<Played, ReplayError> {
    let mut played = Played::default();
    let mut waiting = VecDeque::from(runs);
    let mut playing: Vec<Playing> = Vec::new();
    loop {
        let next = earliest(&playing);
        // A run is opened when its time has come, so that the lines come in the order of time, and
        // only runs that overlap are open at once.
        let comes = |run: &mut Run| next.is_none_or(|(_, wall)| run.began() <= wall);
        if let Some(run) = waiting.pop_front_if(comes) {
            let header = run.header().clone();
            let mut one = Playing::begin(run, &header, stages)?;
            one.next = one.run.next(open)?;
            match one.next.is_some() {
                true => playing.push(one),
                false => one.finish(&mut played)?,
            }
            continue;
        }
        let Some((index, wall)) = next else {
            return Ok(played);
        };
        let Some(one) = playing.get_mut(index) else {
            return Ok(played);
        };
        audience.comes(wall, &mut one.pipeline)?;
        match one.next.take() {
            Some(Piece::Step(step)) => {
                played.inputs += 1;
                one.step(step)?;
            }
            Some(Piece::Damage(damage)) => {
                audience.damage(&damage);
                one.damage(&damage)?;
            }
            Some(Piece::Header(header)) if header.run != one.run.header().run => {
                one.finish(&mut played)?;
                one.again(&header, stages)?;
            }
            // Another part of the same run.
            Some(Piece::Header(_)) | None => {}
        }
        played.inputs += one.pass_over();
        one.next = one.run.next(open)?;
        if one.next.is_none() {
            one.finish(&mut played)?;
            playing.remove(index);
        }
    }
}

/// The run whose next input is the oldest, and its wall time.
fn earliest(playing: &[Playing]) -> Option<(usize, i64)> {
    let all = playing.iter().enumerate();
    all.map(|(index, one)| (index, one.wall()))
        .min_by_key(|(_, wall)| *wall)
}

impl Playing {
    fn begin(
        run: Run,
        header: &CaptureHeader,
        stages: &mut Stages<'_>,
    ) -> Result<Self, ReplayError> {
        let answers = Answers::default();
        let (pipeline, start) = stages(header, answers.clone());
        let begin = &header.begin;
        let mut one = Self {
            run,
            pipeline,
            answers,
            anchor: begin.anchor,
            next: None,
            last: begin.started,
            ended: false,
        };
        one.start(start)?;
        Ok(one)
    }

    /// Another run follows in the same stream.
    fn again(
        &mut self,
        header: &CaptureHeader,
        stages: &mut Stages<'_>,
    ) -> Result<(), ReplayError> {
        self.run.becomes(header);
        self.answers = Answers::default();
        let (pipeline, start) = stages(header, self.answers.clone());
        self.pipeline = pipeline;
        self.anchor = header.begin.anchor;
        self.last = header.begin.started;
        self.ended = false;
        Ok(self.start(start)?)
    }

    /// The start line, and the clock of a file that is not the run's first.
    fn start(&mut self, start: Start) -> Result<(), SinkError> {
        let stepped = start.clock != self.anchor;
        self.pipeline.start(start)?;
        if stepped {
            self.pipeline.anchor(self.anchor);
        }
        Ok(())
    }

    fn wall(&self) -> i64 {
        let at = match &self.next {
            Some(Piece::Step(step)) => step.time.max(self.last),
            Some(Piece::Header(_) | Piece::Damage(_)) | None => self.last,
        };
        let since = i128::from(at.0) - i128::from(self.anchor.boottime_ns);
        let wall = i128::from(self.anchor.realtime_ns) + since;
        i64::try_from(wall).unwrap_or(i64::MAX)
    }

    fn step(&mut self, step: Step) -> Result<(), SinkError> {
        self.last = self.last.max(step.time);
        self.answers.with(|told| told.next(step.answers));
        match step.input {
            Input::Record(record) => self.pipeline.record(&record)?,
            Input::Drained => self.pipeline.drained()?,
            Input::Tick(now) => self.pipeline.tick(now)?,
            Input::Note(Note::Older(sockets)) => self.pipeline.correlator.older(sockets),
            Input::Note(Note::Lost { at, counts }) => self.pipeline.lost(at, counts)?,
            Input::Note(Note::Anchor(anchor)) => {
                self.anchor = anchor;
                self.pipeline.anchor(anchor);
            }
            Input::Note(Note::Summary { at, reason }) => {
                let reason = EndReason::of_word(&reason);
                self.ended |= reason != EndReason::SoFar;
                self.last = self.last.max(at);
                self.pipeline.summary(at, reason)?;
            }
            Input::Unknown(_) => {}
        }
        self.pipeline.take_unwatch();
        Ok(())
    }

    /// Goes behind the records of which nothing comes; how many.
    fn pass_over(&mut self) -> u64 {
        let passed = self.run.pass_over(|traffic| self.pipeline.ignores(traffic));
        self.last = self.last.max(passed.last);
        passed.records
    }

    fn damage(&mut self, damage: &Damage) -> Result<(), SinkError> {
        let (count, at) = match damage {
            Damage::Hole {
                blocks,
                records,
                until,
                ..
            } => ((*records).max(*blocks).max(1), Ktime(*until)),
            Damage::Parts { first, next } => (u64::from(next.saturating_sub(*first)), self.last),
            Damage::Torn { .. } => {
                self.pipeline.cut();
                return Ok(());
            }
            Damage::Repeated { .. } | Damage::Unknown { .. } => return Ok(()),
        };
        let meaning = format!("{damage}; what happened there is not known");
        let count = LostCount::new("capture", count, meaning);
        self.pipeline.hole(at, count)
    }

    fn finish(&mut self, played: &mut Played) -> Result<(), SinkError> {
        if !self.ended {
            self.pipeline.cut();
            self.pipeline.summary(self.last, EndReason::EndOfInput)?;
            self.ended = true;
        }
        self.pipeline.sink.flush()?;
        played.incidents += self.pipeline.tally.incidents();
        played.unanswered += self.answers.with(|told| told.unanswered);
        Ok(())
    }
}
