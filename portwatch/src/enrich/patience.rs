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

/// Reads files within a time budget.
#[derive(Debug, Default)]
pub(super) struct Patience {
    reader: Option<Reader>,
    stuck: Vec<(Tgid, JoinHandle<()>)>,
}

#[derive(Debug)]
struct Reader {
    jobs: SyncSender<(File, usize)>,
    texts: Receiver<io::Result<Vec<u8>>>,
    thread: JoinHandle<()>,
}

impl Patience {
    /// At most `limit` bytes of an open file of the process `of`; `None` if it could not be read
    /// in 50 ms, or an earlier read of that process is still stuck.
    pub(super) fn read(&mut self, of: Tgid, file: File, limit: usize) -> Option<Vec<u8>> {
        self.stuck.retain(|(_, thread)| !thread.is_finished());
        if self.stuck.len() >= STUCK_MAX || self.stuck.iter().any(|(tgid, _)| *tgid == of) {
            return None;
        }
        let reader = match self.reader.take() {
            Some(reader) => reader,
            None => Reader::start().ok()?,
        };
        reader.jobs.send((file, limit)).ok()?;
        if let Ok(text) = reader.texts.recv_timeout(BUDGET) {
            self.reader = Some(reader);
            text.ok()
        } else {
            log::debug!("a read of /proc/{} takes long, going on without it", of.0);
            self.stuck.push((of, reader.thread));
            None
        }
    }
}

impl Reader {
    /// The thread ends when its `Reader` is dropped, as soon as it is not stuck.
    fn start() -> io::Result<Self> {
        let (jobs, todo) = sync_channel::<(File, usize)>(1);
        let (done, texts) = sync_channel(1);
        let thread = Builder::new()
            .name("portwatch-proc".to_owned())
            .spawn(move || {
                while let Ok((file, limit)) = todo.recv() {
                    if done.send(read(file, limit)).is_err() {
                        return;
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
    let mut text = Vec::new();
    file.take(limit).read_to_end(&mut text)?;
    Ok(text)
}
