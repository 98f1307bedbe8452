//! Reads of /proc that may never return, with a limit to our patience.
//!
//! Not a thread pool: one reader, replaced when it gets stuck. A stuck read cannot be taken back
//! (only the stuck process's end or ours ends it), so there are at most [`STUCK_MAX`] of them, and
//! a process that one of them waits for is not asked again.

use crate::decode::event::Tgid;
use std::fs::File;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How long a read may take.
const BUDGET: Duration = Duration::from_millis(50);

/// How many readers may be stuck before nothing that may block is read any more.
const STUCK_MAX: usize = 8;

/// Texts that wait for us at most.
const FILES: usize = 4;

/// Room for most texts of /proc: a vector without any grows by reads of a few bytes.
pub(super) const ROOM: usize = 4096;

/// Reads files within a time budget.
#[derive(Debug, Default)]
pub(super) struct Patience {
    reader: Option<Reader>,
    stuck: Vec<(Tgid, JoinHandle<()>)>,
}

/// A file, and how much of it is read at most; `None` = nothing is.
pub(super) type Job = Option<(File, usize)>;

#[derive(Debug)]
struct Reader {
    jobs: SyncSender<Vec<Job>>,
    texts: Receiver<io::Result<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Patience {
    /// Open files of the process `of`; `None` for what could not be read in 50 ms and for all that
    /// comes behind it, and if an earlier read of that process is still stuck.
    pub(super) fn read<const N: usize>(
        &mut self,
        of: Tgid,
        files: [Job; N],
    ) -> [Option<Vec<u8>>; N] {
        let mut texts = [const { None }; N];
        self.stuck.retain(|(_, thread)| !thread.is_finished());
        if self.stuck.len() >= STUCK_MAX || self.stuck.iter().any(|(tgid, _)| *tgid == of) {
            return texts;
        }
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => match Reader::start() {
                Ok(reader) => reader,
                Err(_) => return texts,
            },
        };
        // One errand for all of them: to wake the reader takes longer than most reads.
        if reader.jobs.send(files.into()).is_err() {
            return texts;
        }
        for text in &mut texts {
            match reader.texts.recv_timeout(BUDGET) {
                Ok(read) => *text = read.ok(),
                Err(_) => {
                    log::debug!("a read of /proc/{} takes long, going on without it", of.0);
                    self.stuck.push((of, reader.thread));
                    return texts;
                }
            }
        }
        self.reader = Some(reader);
        texts
    }
}

impl Reader {
    /// The thread ends when its `Reader` is dropped, as soon as it is not stuck.
    fn start() -> io::Result<Self> {
        let (jobs, todo) = sync_channel::<Vec<Job>>(1);
        let (done, texts) = sync_channel(FILES);
        let thread = Builder::new()
            .name("portwatch-proc".to_owned())
            .spawn(move || {
                while let Ok(files) = todo.recv() {
                    for file in files {
                        let text = match file {
                            Some((file, limit)) => read(file, limit),
                            None => Err(io::ErrorKind::NotFound.into()),
                        };
                        if done.send(text).is_err() {
                            return;
                        }
                    }
                }
            })?;
        Ok(Self {
            jobs,
            texts,
            thread,
        })
    }
}

fn read(file: File, limit: usize) -> io::Result<Vec<u8>> {
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    let mut text = Vec::with_capacity(ROOM);
    file.take(limit).read_to_end(&mut text)?;
    Ok(text)
}
