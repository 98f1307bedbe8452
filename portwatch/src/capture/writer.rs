//! The thread that compresses and writes, so that a slow disk never stalls the tracer.
//!
//! A disk that is full, or any other failure, ends the capture and nothing else: what is written
//! stays whole, the user is told at once, and everything behind is counted.

use super::block::{BLOCK_MAX, CLOSED, CONTINUED, Codec, Content, Framer};
use super::error::CaptureError;
use super::files::{self, Out};
use super::header::CaptureHeader;
use crate::report::ClockAnchor;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A block waits at most so long for more to come: a killed portwatch loses no more than this.
pub(super) const FLUSH_AFTER: Duration = Duration::from_secs(1);

/// How a capture is written.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// The file.
    pub path: PathBuf,
    /// How blocks are packed.
    pub codec: Codec,
    /// A new file after so many bytes.
    pub rotate_size: Option<u64>,
    /// A new file after so long.
    pub rotate_age: Option<Duration>,
    /// Finished files that are kept.
    pub keep: Option<usize>,
    /// A slow disk is waited for, instead of leaving records out: for what is no live run.
    pub patient: bool,
}

impl WriteOptions {
    pub(super) fn rotates(&self) -> bool {
        self.rotate_size.is_some() || self.rotate_age.is_some()
    }
}

/// Work for the thread.
#[derive(Debug)]
pub(super) enum Job {
    /// Write it.
    Block(Numbered),
    /// A block has begun: ask for it when it has waited long enough.
    Begun,
    /// The run is over.
    End,
}

/// A block's content with its number in the run.
#[derive(Debug)]
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) content: Content,
    /// The clocks, if they changed in it.
    pub(super) anchor: Option<ClockAnchor>,
}

/// What the thread tells the recorder.
#[derive(Debug, Default)]
pub(super) struct Fate {
    failed: AtomicBool,
    why: Mutex<Option<String>>,
    /// Inputs of blocks that were handed over and are not in the file.
    unwritten: AtomicU64,
    /// Blocks on the disk, and who waits for one.
    #[cfg(test)]
    written: (Mutex<u64>, std::sync::Condvar),
}

impl Fate {
    pub(super) fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Inputs that came here and are not in the file.
    pub(super) fn unwritten(&self) -> u64 {
        self.unwritten.load(Ordering::Relaxed)
    }

    /// Why nothing is written any more.
    pub(super) fn why(&self) -> Option<String> {
        self.why
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits until a block is on the disk.
    #[cfg(test)]
    pub(super) fn wait_for_block(&self) {
        let (count, changed) = &self.written;
        let count = count.lock().unwrap();
        drop(changed.wait_while(count, |count| *count == 0).unwrap());
    }

    #[cfg(test)]
    fn wrote(&self) {
        *self.written.0.lock().unwrap() += 1;
        self.written.1.notify_all();
    }

    fn fail(&self, why: String) {
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
        self.failed.store(true, Ordering::Relaxed);
    }
}

/// Writes blocks to files.
pub(super) struct Writer {
    options: WriteOptions,
    header: CaptureHeader,
    salt: u32,
    framer: Framer,
    out: Out,
    opened: Instant,
    next: u64,
    fate: Arc<Fate>,
}

impl Writer {
    /// Makes the first file, with its header.
    pub(super) fn create(
        options: WriteOptions,
        header: CaptureHeader,
        salt: u32,
        fate: Arc<Fate>,
    ) -> Result<Self, CaptureError> {
        let path = options.path.display().to_string();
        let refuse = |error: io::Error| CaptureError::Create {
            path: path.clone(),
            why: error.to_string(),
        };
        let framer = Framer::new(options.codec, salt).map_err(refuse)?;
        let mut out = files::create(&options.path, options.rotates())?;
        let begun = out.append(&[&header.to_bytes(salt)?]);
        let writer = Self {
            options,
            header,
            salt,
            framer,
            out,
            opened: Instant::now(),
            next: 0,
            fate,
        };
        writer.judge(begun);
        Ok(writer)
    }

    /// Works until the end. `due` gives the block that has waited long enough, and is asked only
    /// while every job is done.
    pub(super) fn run(mut self, jobs: &Receiver<Job>, due: impl Fn(&Receiver<Job>) -> Vec<Job>) {
        let mut deadline: Option<Instant> = None;
        loop {
            let job = match deadline {
                None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => jobs.recv_timeout(at.saturating_duration_since(Instant::now())),
            };
            match job {
                Ok(Job::Block(block)) => self.block(&block),
                Ok(Job::Begun) => deadline = Some(Instant::now() + FLUSH_AFTER),
                Ok(Job::End) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {
                    deadline = None;
                    for job in due(jobs) {
                        match job {
                            Job::Block(block) => self.block(&block),
                            Job::Begun => deadline = Some(Instant::now() + FLUSH_AFTER / 8),
                            Job::End => return self.close(),
                        }
                    }
                }
            }
        }
        self.close();
    }

    fn block(&mut self, block: &Numbered) {
        if !self.fate.failed() {
            let written = self.try_block(block);
            self.judge(written);
        }
        if self.fate.failed() {
            let inputs = u64::from(block.content.inputs);
            self.fate.unwritten.fetch_add(inputs, Ordering::Relaxed);
        }
    }

    fn try_block(&mut self, block: &Numbered) -> io::Result<()> {
        if block.content.payload.len() > BLOCK_MAX {
            // No reader would take it. It shows as a hole.
            log::error!("a block of the capture is too large and left out of it");
            return Ok(());
        }
        if self.full() {
            self.rotate(block.number)?;
        }
        if let Some(anchor) = block.anchor {
            self.header.begin.anchor = anchor;
        }
        self.append(block.number, 0, &block.content)?;
        self.next = block.number + 1;
        #[cfg(test)]
        self.fate.wrote();
        Ok(())
    }

    fn append(&mut self, number: u64, flags: u8, content: &Content) -> io::Result<()> {
        let (head, stored) = self.framer.frame(number, flags, content)?;
        self.out.append(&[&head, stored])
    }

    fn full(&self) -> bool {
        let large = self
            .options
            .rotate_size
            .is_some_and(|size| self.out.len >= size);
        let old = self
            .options
            .rotate_age
            .is_some_and(|age| self.opened.elapsed() >= age);
        self.out.regular && (large || old)
    }

    fn rotate(&mut self, first_block: u64) -> io::Result<()> {
        self.append(self.next, CONTINUED, &Content::default())?;
        self.out = files::next(&self.options.path)?;
        self.opened = Instant::now();
        self.header.part += 1;
        self.header.first_block = first_block;
        let header = self.header.to_bytes(self.salt).map_err(io::Error::other)?;
        self.out.append(&[&header])?;
        if let Some(keep) = self.options.keep
            && let Err(error) = files::prune(&self.options.path, keep)
        {
            log::warn!("an old file of the capture cannot be removed: {error}");
        }
        Ok(())
    }

    fn close(mut self) {
        if !self.fate.failed() {
            let closed = self.append(self.next, CLOSED, &Content::default());
            self.judge(closed);
        }
    }

    fn judge(&self, written: io::Result<()>) {
        if let Err(error) = written {
            let why = told(&self.options.path, &error);
            log::error!("{why}; tracing goes on, what is written so far can be replayed");
            self.fate.fail(why);
        }
    }
}

fn told(path: &Path, error: &io::Error) -> String {
    format!("the capture `{}` ends here: {error}", path.display())
}
