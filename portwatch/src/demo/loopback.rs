//! The loopback device of a new network namespace: up, with the two addresses of the story.
//!
//! By ioctl (netdevice(7)), so that no other program is needed.

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::io;
use std::mem::zeroed;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};

/// Brings `lo` up in the current network namespace.
pub(super) fn up() -> io::Result<()> {
    let mut request = request("lo")?;
    let up = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING)
        .map_err(|_| io::Error::other("interface flags do not fit"))?;
    request.ifr_ifru.ifru_flags = up;
    ioctl(libc::SIOCSIFFLAGS, &mut request)
}

/// Adds an address to `lo` under a label of its own.
pub(super) fn address(label: &str, address: Ipv4Addr) -> io::Result<()> {
    let mut request = request(label)?;
    // SAFETY: all zeros are a valid `sockaddr_in`.
    let mut end: libc::sockaddr_in = unsafe { zeroed() };
    end.sin_family = libc::sa_family_t::try_from(libc::AF_INET)
        .map_err(|_| io::Error::other("address family does not fit"))?;
    end.sin_addr.s_addr = u32::from_ne_bytes(address.octets());
    // SAFETY: a `sockaddr_in` fills a `sockaddr` exactly; both are plain data.
    request.ifr_ifru.ifru_addr =
        unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(end) };
    ioctl(libc::SIOCSIFADDR, &mut request)
}

/// A request about a device.
fn request(name: &str) -> io::Result<libc::ifreq> {
    // SAFETY: all zeros are a valid `ifreq`.
    let mut request: libc::ifreq = unsafe { zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::other("device name too long"));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

fn ioctl(code: libc::c_ulong, request: &mut libc::ifreq) -> io::Result<()> {
    let any: OwnedFd = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    // SAFETY: the codes used here take a `struct ifreq`, which `request` is.
    let done = unsafe { libc::ioctl(any.as_raw_fd(), code, std::ptr::from_mut(request)) };
    Errno::result(done).map(drop).map_err(io::Error::from)
}
