//! The output's descriptor: standard output, or the file of `--output`.

use super::hangup::Hangup;
use super::outlet::{Direct, Outlet};
use super::queue::Queue;
use super::writer::LineWriter;
use super::{Compose, Printer, SinkError};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where the data goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// A file that is appended to.
    File(PathBuf),
}

/// How to open the output's file once more.
#[derive(Clone, Debug)]
pub struct Reopen(PathBuf);

impl Reopen {
    /// The file, made with mode 0600 if it is not there: command lines can hold secrets.
    ///
    /// # Errors
    /// [`SinkError::Open`].
    pub fn open(&self) -> Result<impl Write + Send + use<>, SinkError> {
        open(&self.0).map(Descriptor)
    }
}

impl Output {
    /// A sink that writes here through the queue, and what tells that its reader is gone.
    /// `rewrite`: a repeated attempt may replace its last line, if this is a terminal.
    ///
    /// # Errors
    /// [`SinkError::Open`], [`SinkError::Thread`].
    pub fn sink(
        &self,
        compose: Box<dyn Compose>,
        rewrite: bool,
    ) -> Result<(Printer, Hangup), SinkError> {
        let (file, reopen) = match self {
            Self::Stdout => (duplicate(&io::stdout())?, None),
            Self::File(path) => (open(path)?, Some(Reopen(path.clone()))),
        };
        let hangup = Hangup::of(&file);
        let writer = self.writer(file, rewrite)?;
        let outlet: Box<dyn Outlet> = Box::new(Queue::new(writer, &self.name())?);
        Ok((Printer::new(compose, outlet, reopen), hangup))
    }

    /// Writes here without a queue, waiting for a slow reader: for a replay.
    ///
    /// # Errors
    /// [`SinkError::Open`].
    pub fn direct(&self, rewrite: bool) -> Result<Direct, SinkError> {
        /// What a reader of a pipe may wait for until the next flush.
        const LAZY: usize = 64 << 10;
        let file = match self {
            Self::Stdout => duplicate(&io::stdout())?,
            Self::File(path) => open(path)?,
        };
        let lazy = if self.is_terminal() { 0 } else { LAZY };
        Ok(Direct::new(self.writer(file, rewrite)?, &self.name(), lazy))
    }

    fn writer(&self, file: File, rewrite: bool) -> Result<LineWriter, SinkError> {
        let talk = duplicate(&io::stderr())?;
        Ok(LineWriter::new(
            Box::new(Descriptor(file)),
            Box::new(Descriptor(talk)),
            rewrite && self.is_terminal(),
        ))
    }

    /// A person may be looking at it.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        match self {
            Self::Stdout => io::stdout().is_terminal(),
            Self::File(_) => false,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Stdout => String::from("standard output"),
            Self::File(path) => format!("`{}`", path.display()),
        }
    }
}

fn open(path: &Path) -> Result<File, SinkError> {
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path);
    opened.map_err(|source| SinkError::Open {
        path: path.display().to_string(),
        source,
    })
}

/// A descriptor of its own, past the standard library's locks and buffers.
fn duplicate(stream: &impl AsFd) -> Result<File, SinkError> {
    let own = stream.as_fd().try_clone_to_owned().map(File::from);
    own.map_err(|source| SinkError::Write {
        output: String::from("standard output"),
        source,
    })
}

/// A file that may have been set non-blocking by whoever shares it: waits instead of failing.
struct Descriptor(File);

impl Write for Descriptor {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut wait = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
                    match poll(&mut wait, PollTimeout::NONE) {
                        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                        Err(errno) => return Err(errno.into()),
                    }
                }
                result => return result,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_is_appended_to_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.json");
        for text in ["a\n", "b\n"] {
            Reopen(path.clone())
                .open()
                .unwrap()
                .write_all(text.as_bytes())
                .unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a\nb\n");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_path_that_does_not_open_is_named() {
        let error = Reopen("/proc/no/such".into()).open().err().unwrap();
        assert!(error.to_string().contains("`/proc/no/such`"), "{error}");
    }

    #[test]
    fn a_non_blocking_pipe_is_waited_for() {
        let (mut reader, writer) = io::pipe().unwrap();
        let flags = nix::fcntl::OFlag::O_NONBLOCK;
        nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_SETFL(flags)).unwrap();
        let file = File::from(std::os::fd::OwnedFd::from(writer));
        let sent = vec![b'x'; 1 << 20];
        let expected = sent.len();
        let thread = std::thread::spawn(move || Descriptor(file).write_all(&sent));
        let read = io::copy(&mut reader, &mut io::sink()).unwrap();
        thread.join().unwrap().unwrap();
        assert_eq!(usize::try_from(read).unwrap(), expected);
    }
}
