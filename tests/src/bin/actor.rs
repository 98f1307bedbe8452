//! Makes the socket calls that [`portwatch_tests::actor`] sends, one JSON line each.

use std::collections::HashMap;
use std::ffi::{CString, OsString};
use std::io::{self, BufRead, IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt as nix_opt};
use nix::unistd::{ForkResult, fork};
use portwatch_tests::actor::{Kind, Look, Op, Opt, Reply, Slot};
use rustix::fs::{Uid, fchown, fstat};
use rustix::io::{Errno, FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, SocketAddrAny,
    SocketFlags, SocketType, accept_with, bind, connect, connect_unspec, getpeername, getsockname,
    ipproto, listen, sendmsg, sendto, shutdown, socket_with, socketpair, sockopt,
};
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::set_thread_res_uid;

type Sockets = Arc<Mutex<HashMap<Slot, OwnedFd>>>;

const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";
const ROOT: Uid = Uid::ROOT;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().and_then(|name| CString::new(name).ok());
    if let Some(name) = name {
        let _ = rustix::thread::set_name(&name);
    }
    let sockets = Sockets::default();
    // After `exec`: descriptors that were left open, as SLOT=FD.
    for word in arguments {
        let Some((slot, fd)) = word.split_once('=') else {
            return ExitCode::FAILURE;
        };
        let (Ok(slot), Ok(fd)) = (slot.parse(), fd.parse::<RawFd>()) else {
            return ExitCode::FAILURE;
        };
        // SAFETY: the program that replaced itself with this one left it open for this.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        lock(&sockets).insert(slot, socket);
    }
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let reply = match serde_json::from_str::<Op>(&line) {
            Ok(op) => obey(&sockets, &op).unwrap_or_else(|e| Reply::Refused(e.raw_os_error())),
            Err(error) => {
                eprintln!("`{line}`: {error}");
                return ExitCode::FAILURE;
            }
        };
        if say(&reply).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn say(reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_string(reply)?;
    line.push('\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(line.as_bytes())?;
    stdout.flush()
}

fn lock(sockets: &Sockets) -> std::sync::MutexGuard<'_, HashMap<Slot, OwnedFd>> {
    sockets.lock().unwrap_or_else(PoisonError::into_inner)
}

fn obey(all: &Sockets, op: &Op) -> Result<Reply, Errno> {
    if let Op::Thread(ops, own_files) = op {
        return in_thread(all, ops, *own_files);
    }
    let mut sockets = lock(all);
    let find = |slot: &Slot| sockets.get(slot).map(AsFd::as_fd).ok_or(Errno::BADF);
    match op {
        Op::Open {
            slot,
            kind,
            v6,
            uid,
        } => {
            let socket = open(*kind, *v6, *uid)?;
            sockets.insert(*slot, socket);
        }
        Op::Set(slot, option, value) => set(find(slot)?, *option, *value)?,
        Op::Device(slot, name) => {
            setsockopt(&find(slot)?, nix_opt::BindToDevice, &OsString::from(name))
                .map_err(|error| Errno::from_raw_os_error(error as i32))?;
        }
        Op::Bind(slot, to) => bind(find(slot)?, to)?,
        Op::Listen(slot) => listen(find(slot)?, 16)?,
        Op::Backlog(slot, backlog) => listen(find(slot)?, *backlog)?,
        Op::Crowd(to, from, count) => crowd(*to, *from, *count)?,
        Op::AcceptMany(slot, count) => {
            for _ in 0..*count {
                waits(find(slot)?)?;
                std::mem::forget(accept_with(find(slot)?, SocketFlags::CLOEXEC)?);
            }
        }
        Op::Connect(slot, to, under_way) => {
            ioctl_fionbio(find(slot)?, *under_way)?;
            match connect(find(slot)?, to) {
                Err(Errno::INPROGRESS) if *under_way => {}
                other => other?,
            }
        }
        Op::Disconnect(slot) => connect_unspec(find(slot)?)?,
        Op::Waits(listener) => waits(find(listener)?)?,
        Op::Range(low, high) => {
            std::fs::write(RANGE, format!("{low} {high}")).map_err(|_| Errno::ACCESS)?;
        }
        Op::Accept(listener, slot) => {
            waits(find(listener)?)?;
            let accepted = accept_with(find(listener)?, SocketFlags::CLOEXEC)?;
            sockets.insert(*slot, accepted);
        }
        Op::Send(slot, to) => drop(sendto(find(slot)?, b"x", SendFlags::empty(), to)?),
        Op::Shutdown(slot) => shutdown(find(slot)?, Shutdown::Write)?,
        Op::Close(slot) => drop(sockets.remove(slot).ok_or(Errno::BADF)?),
        Op::Abort(slot) => abort(sockets.remove(slot).ok_or(Errno::BADF)?),
        Op::AbortAll => sockets.drain().for_each(|(_, socket)| abort(socket)),
        Op::Look(slot) => return look(find(slot)?).map(Reply::Seen),
        Op::Cookie(slot) => return sockopt::socket_cookie(find(slot)?).map(Reply::Number),
        Op::Destroy {
            v6,
            device,
            local,
            peer,
        } => destroy(*v6, device.as_deref(), *local, *peer)?,
        // SAFETY: the child waits for its end in async-signal-safe calls only.
        Op::Fork => match unsafe { fork() }.map_err(|e| Errno::from_raw_os_error(e as i32))? {
            ForkResult::Parent { child } => {
                return Ok(Reply::Number(u64::from(child.as_raw().unsigned_abs())));
            }
            ForkResult::Child => wait_for_the_end(),
        },
        Op::Dup2(from, over) => {
            let (from, over) = (find(from)?.as_raw_fd(), find(over)?.as_raw_fd());
            // SAFETY: both are open and stay owned by their slots.
            if unsafe { libc::dup2(from, over) } < 0 {
                return Err(last());
            }
        }
        Op::Fly(slot) => fly(find(slot)?)?,
        Op::LetFly => drop(PAIR.lock().map_err(|_| Errno::INVAL)?.take()),
        Op::Chown(slot, uid) => fchown(find(slot)?, Some(Uid::from_raw(*uid)), None)?,
        Op::Thread(..) => return Err(Errno::INVAL),
        Op::Exec(slots) => return Err(exec(&sockets, slots)),
    }
    Ok(Reply::Done)
}

fn open(kind: Kind, v6: bool, uid: u32) -> Result<OwnedFd, Errno> {
    let family = if v6 {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let (socket_type, protocol) = match kind {
        Kind::Tcp => (SocketType::STREAM, None),
        Kind::Udp => (SocketType::DGRAM, None),
        Kind::Mptcp => (SocketType::STREAM, Some(ipproto::MPTCP)),
    };
    if uid != 0 {
        set_thread_res_uid(ROOT, Uid::from_raw(uid), ROOT)?;
    }
    let socket = socket_with(family, socket_type, SocketFlags::CLOEXEC, protocol);
    if uid != 0 {
        set_thread_res_uid(ROOT, ROOT, ROOT)?;
    }
    socket
}

fn set(socket: impl AsFd, option: Opt, value: i32) -> Result<(), Errno> {
    let (level, name) = match option {
        Opt::Reuseaddr => (libc::SOL_SOCKET, libc::SO_REUSEADDR),
        Opt::Reuseport => (libc::SOL_SOCKET, libc::SO_REUSEPORT),
        Opt::V6only => (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
        Opt::BindAddressNoPort => (libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT),
        Opt::Freebind => (libc::IPPROTO_IP, libc::IP_FREEBIND),
        Opt::Linger2 => (libc::IPPROTO_TCP, libc::TCP_LINGER2),
        Opt::FastopenConnect => (libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT),
    };
    let length = libc::socklen_t::try_from(size_of::<i32>()).map_err(|_| Errno::INVAL)?;
    // SAFETY: an open socket, and an int with its size.
    let status = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            length,
        )
    };
    if status < 0 { Err(last()) } else { Ok(()) }
}

fn last() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// Closes without a FIN: no TIME_WAIT and no orphan is left.
fn abort(socket: OwnedFd) {
    let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
    drop(socket);
}

/// Until a connection is there to be accepted.
fn waits(listener: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut wanted = [PollFd::new(listener, PollFlags::POLLIN)];
    match poll(&mut wanted, PollTimeout::from(500_u16)) {
        Ok(1..) => Ok(()),
        Ok(_) => Err(Errno::AGAIN),
        Err(error) => Err(Errno::from_raw_os_error(error as i32)),
    }
}

fn look(socket: impl AsFd + Copy) -> Result<Look, Errno> {
    Ok(Look {
        inode: fstat(socket)?.st_ino,
        local: ip(Some(getsockname(socket)?)),
        peer: ip(getpeername(socket).ok().flatten()),
        listens: sockopt::socket_acceptconn(socket)?,
    })
}

fn ip(address: Option<SocketAddrAny>) -> Option<SocketAddr> {
    let address = SocketAddr::try_from(address?).ok()?;
    Some(SocketAddr::new(address.ip().to_canonical(), address.port()))
}

/// SOCK_DESTROY (linux/inet_diag.h: struct inet_diag_req_v2 behind a netlink header).
fn destroy(
    v6: bool,
    device: Option<&str>,
    local: SocketAddr,
    peer: SocketAddr,
) -> Result<(), Errno> {
    const SOCK_DESTROY: u16 = 21;
    const REQUEST_AND_ACK: u16 = 5;
    let mut message = Vec::with_capacity(72);
    message.extend(72_u32.to_ne_bytes());
    message.extend(SOCK_DESTROY.to_ne_bytes());
    message.extend(REQUEST_AND_ACK.to_ne_bytes());
    message.extend([0; 8]);
    let family = if v6 { libc::AF_INET6 } else { libc::AF_INET };
    message.push(u8::try_from(family).map_err(|_| Errno::INVAL)?);
    message.extend([6, 0, 0]);
    message.extend(u32::MAX.to_ne_bytes());
    message.extend(local.port().to_be_bytes());
    message.extend(peer.port().to_be_bytes());
    for end in [local, peer] {
        match (end.ip(), v6) {
            (IpAddr::V4(address), false) => {
                message.extend(address.octets());
                message.extend([0; 12]);
            }
            (IpAddr::V4(address), true) => message.extend(address.to_ipv6_mapped().octets()),
            (IpAddr::V6(address), _) => message.extend(address.octets()),
        }
    }
    let device = device.map_or(Ok(0), if_nametoindex);
    let device = device.map_err(|error| Errno::from_raw_os_error(error as i32))?;
    message.extend(device.to_ne_bytes());
    // Any cookie.
    message.extend([0xff; 8]);
    let kind = nix::sys::socket::SockType::Raw;
    let netlink = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Netlink,
        kind,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
        nix::sys::socket::SockProtocol::NetlinkSockDiag,
    )
    .map_err(|error| Errno::from_raw_os_error(error as i32))?;
    rustix::net::send(&netlink, &message, SendFlags::empty())?;
    let mut answer = [0_u8; 256];
    let (length, _) =
        rustix::net::recv(&netlink, &mut answer[..], rustix::net::RecvFlags::empty())?;
    let error = answer.get(16..20).filter(|_| length >= 20);
    let error = error.and_then(|bytes| bytes.try_into().ok());
    match error.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(errno) => Err(Errno::from_raw_os_error(-errno)),
        None => Err(Errno::INVAL),
    }
}

/// Their sockets stay open until the process ends.
fn crowd(to: SocketAddr, from: IpAddr, count: u32) -> Result<(), Errno> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    for _ in 0..count {
        let socket = open(Kind::Tcp, to.is_ipv6(), 0)?;
        set(&socket, Opt::BindAddressNoPort, 1)?;
        bind(&socket, &SocketAddr::new(from, 0))?;
        connect(&socket, &to)?;
        std::mem::forget(socket);
    }
    Ok(())
}

/// A child dies with its parent, so that no test leaves one.
fn wait_for_the_end() -> ! {
    // SAFETY: async-signal-safe calls, all that a child of a program with threads may make.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        loop {
            libc::pause();
        }
    }
}

/// Both ends of a pair through which descriptors are sent and nobody reads.
static PAIR: Mutex<Option<(OwnedFd, OwnedFd)>> = Mutex::new(None);

/// The descriptor is in a message that nobody reads.
fn fly(socket: impl AsFd) -> Result<(), Errno> {
    let flags = SocketFlags::CLOEXEC;
    let mut pair = PAIR.lock().map_err(|_| Errno::INVAL)?;
    let (one, _other) = match &mut *pair {
        Some(pair) => pair,
        none => none.insert(socketpair(
            AddressFamily::UNIX,
            SocketType::STREAM,
            flags,
            None,
        )?),
    };
    let descriptors = [socket.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(one, &[IoSlice::new(b"x")], &mut control, SendFlags::empty())?;
    Ok(())
}

fn in_thread(all: &Sockets, ops: &[Op], own_files: bool) -> Result<Reply, Errno> {
    let (all, ops) = (Arc::clone(all), ops.to_vec());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        // SAFETY: the other threads keep their own table; this thread only uses what is in both.
        if own_files && unsafe { libc::unshare(libc::CLONE_FILES) } < 0 {
            let _ = sender.send(Err(last()));
            return;
        }
        let mut answer = Ok(Reply::Done);
        for op in &ops {
            answer = obey(&all, op);
            if answer.is_err() {
                break;
            }
        }
        let _ = sender.send(answer);
        // What it opened in a table of its own is open as long as it lives.
        loop {
            thread::park();
        }
    });
    receiver.recv().map_err(|_| Errno::INVAL)?
}

/// Returns only if it failed. The answer to the call is the new program's first word.
fn exec(sockets: &HashMap<Slot, OwnedFd>, slots: &[Slot]) -> Errno {
    let mut words = Vec::new();
    for slot in slots {
        let Some(socket) = sockets.get(slot) else {
            return Errno::BADF;
        };
        if let Err(error) = fcntl_setfd(socket, FdFlags::empty()) {
            return error;
        }
        words.push(format!("{slot}={}", socket.as_raw_fd()));
    }
    if say(&Reply::Done).is_err() {
        return Errno::IO;
    }
    let Ok(program) = std::env::current_exe() else {
        return Errno::NOENT;
    };
    let error = Command::new(program).arg("after-exec").args(words).exec();
    Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
}
