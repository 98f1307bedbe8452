//! What a socket call alone does not do: descriptors that change hands, names of other families,
//! another network namespace.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::process::{self, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::io::{Errno, dup, dup2};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType, accept, bind, connect, listen,
    recv, send, socket,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Outcome, usage};

/// Calls while another thread swaps the descriptor between the socket and /dev/null: how often the
/// call says that it failed for want of the port.
pub(super) fn swapped(
    socket: Arc<OwnedFd>,
    times: i32,
    fails: impl Fn(BorrowedFd<'_>) -> bool,
) -> Outcome {
    let null = File::open("/dev/null").map_err(|error| usage(&error))?;
    let mut swapped = dup(&socket)?;
    let number = swapped.as_raw_fd();
    let done = Arc::new(AtomicBool::new(false));
    let theirs = Arc::clone(&done);
    let swapping = thread::spawn(move || -> Result<OwnedFd, Errno> {
        while !theirs.load(Ordering::Relaxed) {
            dup2(&null, &mut swapped)?;
            dup2(&socket, &mut swapped)?;
        }
        Ok(swapped)
    });
    let mut refused = 0;
    for _ in 0..times {
        // SAFETY: `swapped` lives until the thread is joined, and is never closed meanwhile.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        refused += u32::from(fails(descriptor));
    }
    done.store(true, Ordering::Relaxed);
    let joined = swapping.join().map_err(|_| usage(&"the thread panicked"))?;
    drop(joined?);
    Ok(refused.to_string())
}

/// A listener in the file system's absence, a client, a byte from one to the other.
pub(super) fn unix() -> Outcome {
    let name = SocketAddrUnix::new_abstract_name(format!("pw-{}", process::id()).as_bytes())?;
    let open = || socket(AddressFamily::UNIX, SocketType::STREAM, None);
    let listener = open()?;
    bind(&listener, &name)?;
    listen(&listener, 1)?;
    let client = open()?;
    connect(&client, &name)?;
    send(&client, b"x", SendFlags::empty())?;
    let (length, _) = recv(&accept(&listener)?, &mut [0_u8; 1][..], RecvFlags::empty())?;
    Ok(length.to_string())
}

/// Starts a child that inherits the socket and never uses it; its process id is the value.
pub(super) fn lend(socket: &Arc<OwnedFd>) -> Outcome {
    let inherited = socket.try_clone().map_err(|error| usage(&error))?;
    let child = Command::new("sleep").arg("600").stdin(inherited).spawn();
    Ok(child.map_err(|error| usage(&error))?.id().to_string())
}

/// Tries a port that is taken so many times; the value is how often it was refused.
pub(super) fn refused_often(socket: &Arc<OwnedFd>, address: &SocketAddr, times: i32) -> Outcome {
    let refused = (0..times).filter(|_| bind(socket, address) == Err(Errno::ADDRINUSE));
    Ok(refused.count().to_string())
}

/// Binds a second socket to a name that is taken: `EADDRINUSE`, without any port.
pub(super) fn taken_name() -> Outcome {
    let name = SocketAddrUnix::new_abstract_name(format!("pw-{}", process::id()).as_bytes())?;
    let open = || socket(AddressFamily::UNIX, SocketType::STREAM, None);
    let (first, second) = (open()?, open()?);
    // By another thread: of this one the refused bind() is the first since whatever came before.
    thread::scope(|scope| scope.spawn(|| bind(&first, &name)).join())
        .map_err(|_| usage(&"the thread panicked"))??;
    bind(&second, &name)?;
    Ok(String::new())
}

/// Moves the thread that obeys into another network namespace; its sockets stay where they are.
pub(super) fn enter(path: &str) -> Outcome {
    let namespace = File::open(path).map_err(|error| usage(&error))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
    Ok(String::new())
}
