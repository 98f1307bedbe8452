//! A process that does with sockets exactly what the lines on its stdin say.
//!
//! Every line gets one line back: `ok`, `ok VALUE`, or `err ERRNO`. Sockets have names that the
//! caller picks; they live until `close`, `exit` or the end of stdin. `in-thread NAME COMMAND...`
//! runs a command in a thread of that name, which then stays.

mod tricks;

use std::collections::HashMap;
use std::ffi::CString;
use std::io::{self, BufRead, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use portwatch_tests::ring;
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrAny, SocketFlags, SocketType, accept,
    bind, connect, getpeername, getsockname, ipproto, listen, recv, send, sendto, shutdown,
    socket_with, sockopt,
};

/// Why a command has no value.
enum Failure {
    /// The kernel said no.
    Kernel(Errno),
    /// The line makes no sense.
    Usage(String),
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Self {
        Self::Kernel(errno)
    }
}

type Outcome = Result<String, Failure>;

#[derive(Default)]
struct Puppet {
    sockets: Mutex<HashMap<String, Arc<OwnedFd>>>,
    calm: AtomicBool,
    connects: AtomicU64,
}

fn main() -> ExitCode {
    let puppet = Arc::new(Puppet::default());
    for line in io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let words: Vec<&str> = line.split_whitespace().collect();
        if words == ["exit"] {
            break;
        }
        let answer = match obey(&puppet, &words) {
            Ok(value) if value.is_empty() => "ok".to_owned(),
            Ok(value) => format!("ok {value}"),
            Err(Failure::Kernel(errno)) => format!("err {}", name(errno)),
            Err(Failure::Usage(text)) => format!("usage {text}"),
        };
        let mut stdout = io::stdout().lock();
        if writeln!(stdout, "{answer}")
            .and_then(|()| stdout.flush())
            .is_err()
        {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn obey(puppet: &Arc<Puppet>, words: &[&str]) -> Outcome {
    match words {
        ["open", socket, kind] => puppet.open(socket, kind),
        ["set", socket, option, value] => set(&puppet.socket(socket)?, option, *value == "1"),
        ["bind", socket, address] => {
            bind(puppet.socket(socket)?, &parse(address)?)?;
            local(&puppet.socket(socket)?)
        }
        ["bind-often", socket, address, times] => {
            tricks::refused_often(&puppet.socket(socket)?, &parse(address)?, number(times)?)
        }
        ["listen", socket, backlog] => {
            listen(puppet.socket(socket)?, number(backlog)?)?;
            local(&puppet.socket(socket)?)
        }
        ["connect", socket, address] => match connect(puppet.socket(socket)?, &parse(address)?) {
            Ok(()) | Err(Errno::INPROGRESS) => local(&puppet.socket(socket)?),
            Err(errno) => Err(errno.into()),
        },
        ["accept", listener, socket] => {
            let accepted = accept(puppet.socket(listener)?)?;
            let peer = getpeername(&accepted)?;
            puppet.keep(socket, accepted);
            text(peer)
        }
        ["sendto", socket, address] => {
            sendto(
                puppet.socket(socket)?,
                b"x",
                SendFlags::empty(),
                &parse(address)?,
            )?;
            local(&puppet.socket(socket)?)
        }
        // MSG_FASTOPEN (include/linux/socket.h): connects and sends in one call.
        ["fastopen", socket, address] => {
            sendto(
                puppet.socket(socket)?,
                b"x",
                SendFlags::from_bits_retain(0x2000_0000),
                &parse(address)?,
            )?;
            local(&puppet.socket(socket)?)
        }
        ["send", socket] => {
            send(puppet.socket(socket)?, b"x", SendFlags::empty())?;
            Ok(String::new())
        }
        // Blocks until the peer closed its side or sent something.
        ["recv", socket] => {
            let mut buffer = [0_u8; 64];
            let (length, _) = recv(puppet.socket(socket)?, &mut buffer[..], RecvFlags::empty())?;
            Ok(length.to_string())
        }
        ["shutdown", socket] => {
            shutdown(puppet.socket(socket)?, Shutdown::Write)?;
            Ok(String::new())
        }
        // Through io_uring: `listen` takes a backlog, the others an address.
        ["ring", call, socket, argument] => in_ring(&puppet.socket(socket)?, call, argument),
        ["close", socket] => {
            let socket = puppet.sockets().remove(*socket);
            drop(socket.ok_or_else(|| Failure::Usage("no such socket".to_owned()))?);
            Ok(String::new())
        }
        ["local", socket] => local(&puppet.socket(socket)?),
        ["cookie", socket] => Ok(sockopt::socket_cookie(puppet.socket(socket)?)?.to_string()),
        ["inode", socket] => Ok(fstat(puppet.socket(socket)?)?.st_ino.to_string()),
        ["comm-hex", hex] => comm(hex),
        ["in-thread", name, rest @ ..] => in_thread(puppet, name, rest),
        ["unix"] => tricks::unix(),
        ["taken-name"] => tricks::taken_name(),
        ["enter", namespace] => tricks::enter(namespace),
        ["swap-and-bind", socket, address, times] => {
            let address: SocketAddr = parse(address)?;
            tricks::swapped(puppet.socket(socket)?, number(times)?, |descriptor| {
                bind(descriptor, &address) == Err(Errno::ADDRINUSE)
            })
        }
        ["swap-and-send", socket, address, times] => {
            let address: SocketAddr = parse(address)?;
            tricks::swapped(puppet.socket(socket)?, number(times)?, |descriptor| {
                sendto(descriptor, b"x", SendFlags::empty(), &address) == Err(Errno::AGAIN)
            })
        }
        ["lend", socket] => tricks::lend(&puppet.socket(socket)?),
        ["serve", listener] => puppet.serve(listener),
        ["storm", address, threads] => puppet.storm(parse(address)?, number(threads)?),
        ["connect-times", address, times] => {
            let address = parse(address)?;
            (0..number(times)?).try_for_each(|_| connect_and_reset(address))?;
            Ok(String::new())
        }
        ["accept-times", listener, times] => {
            let listener = puppet.socket(listener)?;
            (0..number(times)?).try_for_each(|_| accept(&listener).map(drop))?;
            Ok(String::new())
        }
        ["connects"] => Ok(puppet.connects.load(Ordering::Relaxed).to_string()),
        ["calm"] => {
            puppet.calm.store(true, Ordering::Relaxed);
            Ok(puppet.connects.load(Ordering::Relaxed).to_string())
        }
        _ => Err(Failure::Usage(format!("what is `{}`?", words.join(" ")))),
    }
}

impl Puppet {
    fn sockets(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<OwnedFd>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn socket(&self, name: &str) -> Result<Arc<OwnedFd>, Failure> {
        let socket = self.sockets().get(name).cloned();
        socket.ok_or_else(|| Failure::Usage(format!("no socket `{name}`")))
    }

    fn keep(&self, name: &str, socket: OwnedFd) {
        self.sockets().insert(name.to_owned(), Arc::new(socket));
    }

    /// `tcp4`, `udp4`, `mptcp4`, ICMP's `raw4`, `ping4`, the same with 6; `!` behind it = does not block.
    fn open(&self, name: &str, kind: &str) -> Outcome {
        let (kind, flags) = match kind.strip_suffix('!') {
            Some(kind) => (kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK),
            None => (kind, SocketFlags::CLOEXEC),
        };
        let (family, socket_type, protocol) = match kind {
            "tcp4" => (AddressFamily::INET, SocketType::STREAM, None),
            "tcp6" => (AddressFamily::INET6, SocketType::STREAM, None),
            "udp4" => (AddressFamily::INET, SocketType::DGRAM, None),
            "udp6" => (AddressFamily::INET6, SocketType::DGRAM, None),
            "mptcp4" => (
                AddressFamily::INET,
                SocketType::STREAM,
                Some(ipproto::MPTCP),
            ),
            "mptcp6" => (
                AddressFamily::INET6,
                SocketType::STREAM,
                Some(ipproto::MPTCP),
            ),
            "raw4" => (AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)),
            "raw6" => (AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6)),
            "ping4" => (AddressFamily::INET, SocketType::DGRAM, Some(ipproto::ICMP)),
            "ping6" => (
                AddressFamily::INET6,
                SocketType::DGRAM,
                Some(ipproto::ICMPV6),
            ),
            _ => return Err(Failure::Usage(format!("kind `{kind}`"))),
        };
        self.keep(name, socket_with(family, socket_type, flags, protocol)?);
        Ok(String::new())
    }

    /// Accepts and closes in a thread until `calm`.
    fn serve(self: &Arc<Self>, listener: &str) -> Outcome {
        let listener = self.socket(listener)?;
        let puppet = Arc::clone(self);
        thread::spawn(move || {
            while !puppet.calm.load(Ordering::Relaxed) {
                // Refused only while the storm's threads have every descriptor.
                if accept(&listener).is_err() {
                    thread::yield_now();
                }
            }
        });
        Ok(String::new())
    }

    /// Connects and resets at full speed in threads until `calm`.
    fn storm(self: &Arc<Self>, address: SocketAddr, threads: i32) -> Outcome {
        for _ in 0..threads {
            let puppet = Arc::clone(self);
            thread::spawn(move || {
                while !puppet.calm.load(Ordering::Relaxed) {
                    if connect_and_reset(address).is_ok() {
                        puppet.connects.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        Ok(String::new())
    }
}

fn connect_and_reset(address: SocketAddr) -> Result<(), Errno> {
    let flags = SocketFlags::CLOEXEC;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    // No TIME_WAIT: the range would be used up in a second.
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    connect(&socket, &address)
}

fn in_thread(puppet: &Arc<Puppet>, name: &str, words: &[&str]) -> Outcome {
    let puppet = Arc::clone(puppet);
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let _ = sender.send(obey(&puppet, &words));
            loop {
                thread::park();
            }
        })
        .map_err(|error| usage(&error))?;
    receiver.recv().map_err(|error| usage(&error))?
}

fn usage(error: &impl ToString) -> Failure {
    Failure::Usage(error.to_string())
}

fn set(socket: &Arc<OwnedFd>, option: &str, on: bool) -> Outcome {
    match option {
        "reuseaddr" => sockopt::set_socket_reuseaddr(socket, on)?,
        "reuseport" => sockopt::set_socket_reuseport(socket, on)?,
        "v6only" => sockopt::set_ipv6_v6only(socket, on)?,
        "linger0" => sockopt::set_socket_linger(socket, on.then_some(Duration::ZERO))?,
        _ => return Err(Failure::Usage(format!("option `{option}`"))),
    }
    Ok(String::new())
}

fn in_ring(socket: &Arc<OwnedFd>, call: &str, argument: &str) -> Outcome {
    let done = match call {
        "bind" => ring::bind(socket, parse(argument)?),
        "listen" => ring::listen(socket, number(argument)?),
        "connect" => ring::connect(socket, parse(argument)?),
        _ => return Err(Failure::Usage(format!("call `{call}`"))),
    };
    match done {
        Ok(()) => local(socket),
        Err(error) => match Errno::from_io_error(&error) {
            Some(errno) => Err(errno.into()),
            None => Err(usage(&error)),
        },
    }
}

/// The name of the process (this thread is its leader), given as hexadecimal bytes.
fn comm(hex: &str) -> Outcome {
    let bytes: Result<Vec<u8>, _> = (0..hex.len())
        .step_by(2)
        .map(|start| u8::from_str_radix(hex.get(start..start + 2).unwrap_or(""), 16))
        .collect();
    let name = bytes
        .ok()
        .and_then(|bytes| CString::new(bytes).ok())
        .ok_or_else(|| Failure::Usage("a name in hexadecimal".to_owned()))?;
    rustix::thread::set_name(&name)?;
    Ok(String::new())
}

fn local(socket: &Arc<OwnedFd>) -> Outcome {
    text(Some(getsockname(socket)?))
}

fn text(address: impl Into<Option<SocketAddrAny>>) -> Outcome {
    let address = address
        .into()
        .and_then(|address| SocketAddr::try_from(address).ok())
        .ok_or_else(|| Failure::Usage("no IP address".to_owned()))?;
    let ip: IpAddr = address.ip().to_canonical();
    Ok(SocketAddr::new(ip, address.port()).to_string())
}

fn parse(address: &str) -> Result<SocketAddr, Failure> {
    address
        .parse()
        .map_err(|_| Failure::Usage(format!("address `{address}`")))
}

fn number(text: &str) -> Result<i32, Failure> {
    text.parse()
        .map_err(|_| Failure::Usage(format!("number `{text}`")))
}

/// The names that the tests expect; any other errno shows as its number.
fn name(errno: Errno) -> String {
    match errno {
        Errno::ADDRINUSE => "EADDRINUSE".to_owned(),
        Errno::ADDRNOTAVAIL => "EADDRNOTAVAIL".to_owned(),
        Errno::AGAIN => "EAGAIN".to_owned(),
        Errno::INVAL => "EINVAL".to_owned(),
        Errno::CONNREFUSED => "ECONNREFUSED".to_owned(),
        other => other.raw_os_error().to_string(),
    }
}
