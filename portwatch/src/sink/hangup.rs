//! Tells that the reader of the output is gone while there is nothing to write: `portwatch | head`
//! ends when `head` does, not at the next conflict.

use std::fs::File;
use std::future::pending;
use std::io;
use std::os::fd::OwnedFd;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A watch over the output; no timer, no thread.
#[derive(Debug)]
pub struct Hangup(Option<OwnedFd>);

impl Hangup {
    /// Watches `file`'s other end.
    pub(super) fn of(file: &File) -> Self {
        Self(file.try_clone().ok().map(OwnedFd::from))
    }

    /// Resolves when the reader is gone; never for a regular file or for what cannot be watched.
    /// To be polled inside a tokio runtime with its I/O driver.
    pub async fn wait(self) {
        if self.error().await.is_err() {
            pending::<()>().await;
        }
    }

    async fn error(self) -> io::Result<()> {
        let fd = self.0.ok_or(io::ErrorKind::Unsupported)?;
        // epoll refuses a regular file (EPERM); for a pipe EPOLLERR comes when its reader closes.
        // SAFETY: an OwnedFd stays open and the same until it is dropped, and it is dropped with `fd`.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::ERROR) }?;
        loop {
            let mut guard = fd.ready(Interest::ERROR).await?;
            if guard.ready().is_error() || guard.ready().is_write_closed() {
                return Ok(());
            }
            guard.clear_ready();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn a_closed_pipe_is_noticed() {
        let (reader, writer) = io::pipe().unwrap();
        let hangup = Hangup(Some(OwnedFd::from(writer)));
        drop(reader);
        runtime().block_on(hangup.wait());
    }

    #[test]
    fn an_open_pipe_and_a_file_are_not() {
        let (_reader, writer) = io::pipe().unwrap();
        for fd in [
            OwnedFd::from(writer),
            OwnedFd::from(tempfile::tempfile().unwrap()),
        ] {
            let hangup = Hangup(Some(fd));
            let waited =
                async { tokio::time::timeout(Duration::from_millis(20), hangup.wait()).await };
            assert!(runtime().block_on(waited).is_err());
        }
    }
}
