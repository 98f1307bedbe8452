//! bind, listen and connect through io_uring: no system call of that name is made.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};

use io_uring::{IoUring, opcode, squeue, types::Fd};
use nix::sys::socket::{SockaddrLike, SockaddrStorage};

/// Binds; Linux 6.11 and newer, `EINVAL` before.
pub fn bind(socket: impl AsFd, address: SocketAddr) -> io::Result<()> {
    let address = SockaddrStorage::from(address);
    let entry = opcode::Bind::new(of(&socket), address.as_ptr(), address.len()).build();
    // SAFETY: the address lives until the call is done.
    unsafe { run(&entry) }
}

/// Listens; Linux 6.11 and newer, `EINVAL` before.
pub fn listen(socket: impl AsFd, backlog: i32) -> io::Result<()> {
    let entry = opcode::Listen::new(of(&socket), backlog).build();
    // SAFETY: it names no memory.
    unsafe { run(&entry) }
}

/// Connects, and waits for it.
pub fn connect(socket: impl AsFd, address: SocketAddr) -> io::Result<()> {
    let address = SockaddrStorage::from(address);
    let entry = opcode::Connect::new(of(&socket), address.as_ptr(), address.len()).build();
    // SAFETY: the address lives until the call is done.
    unsafe { run(&entry) }
}

fn of(socket: &impl AsFd) -> Fd {
    Fd(socket.as_fd().as_raw_fd())
}

/// Submits one entry and waits for its result.
///
/// # Safety
/// What the entry names lives until this returns.
unsafe fn run(entry: &squeue::Entry) -> io::Result<()> {
    let mut ring = IoUring::new(2)?;
    // SAFETY: the caller's promise.
    unsafe { ring.submission().push(entry) }.map_err(|_| io::Error::other("a full ring"))?;
    ring.submit_and_wait(1)?;
    let done = ring.completion().next();
    let result = done
        .ok_or_else(|| io::Error::other("no completion"))?
        .result();
    if result < 0 {
        return Err(io::Error::from_raw_os_error(-result));
    }
    Ok(())
}
