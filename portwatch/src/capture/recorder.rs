//! Taps the pipeline of a live run: everything that it takes goes into the capture, in that order,
//! and every answer of the machine right behind the record that asked for it.

use super::block::Codec;
use super::error::CaptureError;
use super::fact::{Answer, Fact, Question};
use super::header::CaptureHeader;
use super::note::Note;
use super::pack::{Packer, Written};
use super::random::random;
use super::redact::Redaction;
use super::writer::{Fate, Job, Numbered, WriteOptions, Writer};
use crate::decode::event::{Ktime, Socket, Tgid};
use crate::enrich::facts::ProcessFacts;
use crate::report::{ClockAnchor, LostCount};
use crate::sink::tally::EndReason;
use crate::source::RawRecord;
use parking_lot::{Mutex, ReentrantMutex, ReentrantMutexGuard};
use portwatch_common::RecordKind;
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Bytes of a payload from which on a block is full, unless the files are so small that it would be
/// more than a part of one. What is known of the processes stands in each block that names them, so
/// larger blocks are smaller captures.
const BLOCK_FULL: usize = 4 << 20;
const BLOCK_SMALL: usize = 64 << 10;

/// Blocks that wait for the disk at most; those that come then are left out, and counted.
const WAITING: usize = 8;

/// How long the beginning and the end of a run wait for a slow disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was read of a process that only the capture wants to know is used again for so long.
const FRESH: Duration = Duration::from_secs(30);

/// Processes of which that is remembered.
const REMEMBERED: usize = 4096;

/// Older sockets in one note.
const OLDER_AT_ONCE: usize = 512;

/// See [`Recorder::hold`].
pub struct Held<'a>(ReentrantMutexGuard<'a, RefCell<State>>);

/// The tap; clones share one capture.
#[derive(Clone)]
pub struct Recorder(Arc<Inner>);

struct Inner {
    state: ReentrantMutex<RefCell<State>>,
    fate: Arc<Fate>,
    /// The block has waited long enough, but an input was under way: it ends before the next.
    overdue: AtomicBool,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    packer: Packer,
    jobs: SyncSender<Job>,
    number: u64,
    anchor: Option<ClockAnchor>,
    redaction: Redaction,
    patient: bool,
    full: usize,
    /// A record while it is redacted.
    scratch: Vec<u8>,
    /// Inputs that are not in the capture.
    missing: u64,
    known: HashMap<(Tgid, Ktime), (Instant, Arc<Written>)>,
}

impl Recorder {
    /// Makes the file and starts the thread that writes it.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn create(
        options: WriteOptions,
        mut header: CaptureHeader,
        redaction: Redaction,
    ) -> Result<Self, CaptureError> {
        redaction.header(&mut header);
        let (jobs, work) = sync_channel(WAITING);
        let fate = Arc::new(Fate::default());
        let packer = Packer::new(&header.layouts);
        let packer = match options.codec {
            Codec::Zstd => packer,
            Codec::None => packer.without_sockets(),
        };
        let salt = u32::from_le_bytes(random()?);
        let path = options.path.display().to_string();
        let patient = options.patient;
        let full = options.rotate_size.map_or(BLOCK_FULL, |size| {
            let part = usize::try_from(size / 8).unwrap_or(BLOCK_FULL);
            part.clamp(BLOCK_SMALL, BLOCK_FULL)
        });
        let writer = Writer::create(options, header, salt, Arc::clone(&fate))?;
        let inner = Arc::new(Inner {
            state: ReentrantMutex::new(RefCell::new(State {
                packer,
                jobs,
                number: 0,
                anchor: None,
                redaction,
                patient,
                full,
                scratch: Vec::new(),
                missing: 0,
                known: HashMap::new(),
            })),
            fate,
            overdue: AtomicBool::new(false),
            thread: Mutex::new(None),
        });
        let weak = Arc::downgrade(&inner);
        let due = move |jobs: &Receiver<Job>| match weak.upgrade() {
            Some(inner) => inner.due(jobs),
            None => Vec::new(),
        };
        let thread = thread::Builder::new()
            .name("capture".to_owned())
            .spawn(move || writer.run(&work, due))
            .map_err(|error| CaptureError::Create {
                path,
                why: error.to_string(),
            })?;
        *inner.thread.lock() = Some(thread);
        Ok(Self(inner))
    }

    /// Inputs and their answers from here on are one: no block ends between an input and the last
    /// answer that it asked for. To hold it for many records at once is cheaper.
    pub fn hold(&self) -> Held<'_> {
        Held(self.0.state.lock())
    }

    /// A record, as the kernel gave it. True if the capture knows nothing of the process in it yet.
    pub fn record(&self, record: &RawRecord) -> bool {
        let held = self.hold();
        let mut state = held.0.borrow_mut();
        if !state.redaction.spares_records() {
            let State {
                redaction, scratch, ..
            } = &mut *state;
            scratch.clear();
            scratch.extend_from_slice(record.bytes());
            redaction.record(scratch);
            let scratch = std::mem::take(scratch);
            let follows = of_another(&scratch);
            let packed = self.with(&mut state, follows, |p| Ok(p.record(&scratch)));
            state.scratch = scratch;
            return packed.unwrap_or(false);
        }
        let bytes = record.bytes();
        let packed = self.with(&mut state, of_another(bytes), |p| Ok(p.record(bytes)));
        packed.unwrap_or(false)
    }

    /// The rings were drained.
    pub fn drained(&self) {
        self.input(|packer| {
            packer.drained();
            Ok(())
        });
    }

    /// Time has come to `now`.
    pub fn tick(&self, now: Ktime) {
        self.input(|packer| {
            packer.tick(now);
            Ok(())
        });
    }

    /// Something was dropped.
    pub fn lost(&self, at: Ktime, counts: &[LostCount]) {
        let counts = counts.to_vec();
        self.note(&Note::Lost { at, counts });
    }

    /// The wall clock was set.
    pub fn anchor(&self, anchor: ClockAnchor) {
        self.note(&Note::Anchor(anchor));
        self.hold().0.borrow_mut().anchor = Some(anchor);
    }

    /// A summary, also the last one.
    pub fn summary(&self, at: Ktime, reason: EndReason) {
        let reason = reason.word().to_owned();
        self.note(&Note::Summary { at, reason });
    }

    /// What the start-up scan met; waits for a slow disk.
    pub fn older(&self, sockets: &[Socket]) {
        for some in sockets.chunks(OLDER_AT_ONCE) {
            let mut some = some.to_vec();
            {
                let held = self.hold();
                let redaction = &mut held.0.borrow_mut().redaction;
                some.iter_mut().for_each(|socket| redaction.socket(socket));
            }
            self.note(&Note::Older(some));
            let block = {
                let held = self.hold();
                let mut state = held.0.borrow_mut();
                let full = state.packer.is_full(BLOCK_FULL / 2);
                full.then(|| state.take()).flatten()
            };
            self.hand_over(block, Instant::now() + PATIENCE);
        }
    }

    /// Hands work to the thread, waiting for a slow disk; false if that was in vain.
    fn hand_over(&self, mut job: Option<Job>, until: Instant) -> bool {
        while let Some(work) = job.take() {
            let sent = self.hold().0.borrow().jobs.try_send(work);
            if let Err(TrySendError::Full(work)) = sent {
                if Instant::now() > until {
                    return false;
                }
                job = Some(work);
                thread::sleep(Duration::from_millis(5));
            }
        }
        true
    }

    /// An answer of the machine to the last input.
    pub fn fact(&self, question: Question, answer: Answer) {
        if self.0.fate.failed() {
            return;
        }
        let held = self.hold();
        let mut state = held.0.borrow_mut();
        let mut fact = Fact { question, answer };
        state.redaction.fact(&mut fact);
        if let Err(error) = state.packer.fact(fact) {
            log::error!("an answer of the machine {error}");
        }
    }

    /// The process of a record that nobody shows: what is known of it for a later replay that does.
    /// `ask` asks the machine, and its answer is recorded.
    pub fn background(&self, tgid: Tgid, start: Ktime, ask: impl FnOnce() -> Option<ProcessFacts>) {
        let held = self.hold();
        {
            let State { known, packer, .. } = &mut *held.0.borrow_mut();
            let known = known.get(&(tgid, start));
            if let Some((_, fact)) = known.filter(|(since, _)| since.elapsed() < FRESH) {
                packer.fact_again(fact);
                return;
            }
        }
        let answer = ask();
        let mut state = held.0.borrow_mut();
        if state.known.len() >= REMEMBERED {
            state.known.clear();
        }
        let mut fact = Fact {
            question: Question::Process(tgid, start),
            answer: Answer::Process(answer),
        };
        state.redaction.fact(&mut fact);
        if let Ok(fact) = Written::new(fact) {
            let known = (Instant::now(), Arc::new(fact));
            state.known.insert((tgid, start), known);
        }
    }

    /// Waits until a block is on the disk.
    #[cfg(test)]
    pub(super) fn wait_for_block(&self) {
        self.0.fate.wait_for_block();
    }

    /// Writes what is left and closes the file. The sentence says why the capture is not whole.
    #[must_use]
    pub fn finish(self) -> Option<String> {
        let until = Instant::now() + PATIENCE;
        let left = self.hold().0.borrow_mut().take();
        if !(self.hand_over(left, until) && self.hand_over(Some(Job::End), until)) {
            return Some("the capture's disk stands still: its end is missing".to_owned());
        }
        if let Some(thread) = self.0.thread.lock().take() {
            while !thread.is_finished() && Instant::now() < until {
                thread::sleep(Duration::from_millis(1));
            }
            if !thread.is_finished() {
                return Some("the capture's disk stands still: its end is missing".to_owned());
            }
            let _ = thread.join();
        }
        let missing = self.hold().0.borrow().missing + self.0.fate.unwritten();
        match (self.0.fate.why(), missing) {
            (None, 0) => None,
            (None, missing) => Some(format!(
                "the disk was too slow: {missing} records are not in the capture"
            )),
            (Some(why), missing) => Some(format!("{why}; {missing} records behind are not in it")),
        }
    }

    fn note(&self, note: &Note) {
        self.input(|packer| packer.note(note));
    }

    fn input<T>(&self, pack: impl FnOnce(&mut Packer) -> Result<T, CaptureError>) -> Option<T> {
        self.with(&mut self.hold().0.borrow_mut(), false, pack)
    }

    /// `follows`: what is held with it stands before it in the block, unless that is far too large:
    /// where a run is killed, a failure is lost whose holders are in the next.
    fn with<T>(
        &self,
        state: &mut State,
        follows: bool,
        pack: impl FnOnce(&mut Packer) -> Result<T, CaptureError>,
    ) -> Option<T> {
        if self.0.fate.failed() {
            state.missing += 1;
            return None;
        }
        let overdue = self.0.overdue.load(Ordering::Relaxed) && !follows;
        let full = state.full + if follows { state.full / 2 } else { 0 };
        if overdue || state.packer.is_full(full) {
            self.0.overdue.store(false, Ordering::Relaxed);
            state.flush();
        }
        if state.packer.inputs() == 0 {
            // Full: the thread has work, and comes back to this block behind it.
            let _ = state.jobs.try_send(Job::Begun);
        }
        pack(&mut state.packer)
            .inspect_err(|error| log::error!("an event {error}"))
            .ok()
    }
}

impl State {
    fn take(&mut self) -> Option<Job> {
        let content = self.packer.take()?;
        let number = self.number;
        self.number += 1;
        let anchor = self.anchor.take();
        Some(Job::Block(Numbered {
            number,
            content,
            anchor,
        }))
    }

    /// Hands the block over; where the disk is too slow for that, it is left out.
    fn flush(&mut self) {
        let Some(job) = self.take() else { return };
        if self.patient {
            // The thread never waits for us while it has work.
            let _ = self.jobs.send(job);
            return;
        }
        if let Err(
            TrySendError::Full(Job::Block(block)) | TrySendError::Disconnected(Job::Block(block)),
        ) = self.jobs.try_send(job)
        {
            if self.missing == 0 {
                log::warn!("the disk is too slow for the capture: records are left out of it");
            }
            self.missing += u64::from(block.content.inputs);
        }
    }
}

impl Inner {
    /// What waits, and the block that has waited long enough; a wish to be asked again soon while
    /// that one is not to be cut.
    fn due(&self, jobs: &Receiver<Job>) -> Vec<Job> {
        let lock = self.state.try_lock();
        self.overdue.store(lock.is_none(), Ordering::Relaxed);
        match lock {
            Some(state) => {
                let waiting = jobs.try_iter();
                waiting.chain(state.borrow_mut().take()).collect()
            }
            None => vec![Job::Begun],
        }
    }
}

/// A holder, which belongs to the failure before it.
#[inline]
fn of_another(record: &[u8]) -> bool {
    record.starts_with(&RecordKind::HOLDER.to_ne_bytes())
}
