//! Every read of a kernel struct's field, and only those. Offsets come from the kernel's BTF.
//! `tables` leads from a port to its sockets, `range` holds what a namespace says about ports, `fill`
//! writes a socket into a record.
//!
//! Addresses are plain `u64`: each read is a `bpf_probe_read_kernel`, which fails with zeros on a
//! bad address instead of faulting.

macro_rules! field {
    ($(#[$meta:meta])* $name:ident: $type:ty = $offset:ident) => {
        $(#[$meta])*
        #[inline(always)]
        pub(crate) fn $name(base: u64) -> $type {
            read(base, off!($offset))
        }
    };
}

mod fill;
mod range;
mod tables;

pub(crate) use fill::{fill, fill_address};
pub(crate) use range::{range, reserved_flags};
pub(crate) use tables::{
    after_put, after_time_wait, bucket_fastreuse, bucket_fastreuseport, bucket_l3mdev, bucket_list,
    bucket_net, bucket_of, bucket_port, bucket2_owners, next, owner_of, tcp_buckets, tcp_chain,
    tcp_chain_at, udp_chain, udp_slot, udp_slots, udp_socket_of, udp_table,
};

use crate::config::off;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use core::{ffi::c_void, mem::MaybeUninit};
use portwatch_common::{PortKey, Sock, offsets::ABSENT};

pub(crate) const AF_INET: u16 = 2;
pub(crate) const AF_INET6: u16 = 10;
pub(crate) const IPPROTO_TCP: u16 = 6;
pub(crate) const IPPROTO_UDP: u16 = 17;
pub(crate) const IPPROTO_UDPLITE: u16 = 136;
pub(crate) const IPPROTO_MPTCP: u16 = 262;

/// A `T` at `base + offset`; zeros if the address is bad.
#[inline(always)]
pub(crate) fn read<T: Copy>(base: u64, offset: u32) -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: the destination is a local of that size; every `T` used here is an integer.
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            base.wrapping_add(u64::from(offset)) as *const c_void,
        );
        value.assume_init()
    }
}

/// `N` bytes at `base + offset` into `to`; zeros if the address is bad.
///
/// # Safety
/// `to` is valid for writes of `N` bytes.
#[inline(always)]
pub(crate) unsafe fn copy<const N: usize>(to: *mut [u8; N], base: u64, offset: u32) {
    // SAFETY: the caller's promise; the helper zeroes the destination on a fault.
    unsafe {
        bpf_probe_read_kernel(
            to.cast(),
            N as u32,
            base.wrapping_add(u64::from(offset)) as *const c_void,
        );
    }
}

/// A bitfield by its packed position (`portwatch_common::offsets::pack_bits`).
#[inline(always)]
fn bits(base: u64, packed: u32) -> u8 {
    let word: u16 = read(base, packed & 0xffff);
    let shift = (packed >> 16) & 0xf;
    let mask = (1u16 << ((packed >> 24) & 0xf)).wrapping_sub(1);
    ((word >> shift) & mask) as u8
}

field!(net: u64 = skc_net);
field!(family: u16 = skc_family);
field!(state: u8 = skc_state);
field!(port: u16 = skc_num);
field!(bound_dev: u32 = skc_bound_dev_if);
field!(peer_port_be: u16 = skc_dport);
field!(gso_type: u16 = sk_gso_type);
field!(cookie: u64 = skc_cookie);
field!(protocol: u16 = sk_protocol);
field!(net_inum: u32 = net_inum);
field!(net_cookie: u64 = net_cookie);

/// SO_REUSEADDR of a socket, TIME_WAIT included.
#[inline(always)]
pub(crate) fn reuse(sk: u64) -> u8 {
    bits(sk, off!(skc_reuse))
}

/// The other end's address in two words that compare across families: an IPv4 one, v4-mapped or
/// not, alone in the second.
#[inline(always)]
pub(crate) fn peer_words(sk: u64) -> [u64; 2] {
    if family(sk) == AF_INET6 {
        let words: [u64; 2] = read(sk, off!(skc_v6_daddr));
        if words[0] == 0 && words[1] as u32 == u32::from_be(0xffff) {
            return [0, words[1] >> 32];
        }
        return words;
    }
    let v4: u32 = read(sk, off!(skc_daddr));
    [0, u64::from(v4)]
}

/// `sk_userlocks` of a full socket.
#[inline(always)]
pub(crate) fn userlocks(sk: u64) -> u8 {
    bits(sk, off!(sk_userlocks))
}

/// The kernel records in `sk_userlocks` and in TIME_WAIT that connect() took the port (6.18,
/// net/ipv4/inet_hashtables.c:__inet_hash_connect).
#[inline(always)]
pub(crate) fn has_connect_bind() -> bool {
    off!(tw_connect_bind) != ABSENT
}

/// AF_INET or AF_INET6 over TCP, UDP, UDP-Lite or MPTCP.
#[inline(always)]
pub(crate) fn is_port_socket(sk: u64) -> bool {
    let family = family(sk);
    (family == AF_INET || family == AF_INET6)
        && matches!(
            protocol(sk),
            IPPROTO_TCP | IPPROTO_UDP | IPPROTO_UDPLITE | IPPROTO_MPTCP
        )
}

/// The socket that really takes the port: the first subflow of an MPTCP socket, else itself.
#[inline(always)]
pub(crate) fn port_socket(sk: u64) -> u64 {
    let first = off!(mptcp_first);
    if first == ABSENT || protocol(sk) != IPPROTO_MPTCP {
        return sk;
    }
    let subflow: u64 = read(sk, first);
    if subflow == 0 { sk } else { subflow }
}

/// `struct sock` of a descriptor of the current task; 0 if it is no socket.
#[inline(always)]
pub(crate) fn from_fd(task: u64, fd: u32) -> u64 {
    let files: u64 = read(task, off!(task_files));
    let table: u64 = read(files, off!(files_fdt));
    let max: u32 = read(table, off!(fdt_max_fds));
    if fd >= max {
        return 0;
    }
    let array: u64 = read(table, off!(fdt_fd));
    let file: u64 = read(array.wrapping_add(u64::from(fd) * 8), 0);
    let socket: u64 = read(file, off!(file_private_data));
    // A socket's file points back at its socket (net/socket.c:sock_alloc_file).
    let back: u64 = read(socket, off!(socket_file));
    if file == 0 || back != file {
        return 0;
    }
    read(socket, off!(socket_sk))
}

/// A file has the socket, open in some process or in flight between two; false for TIME_WAIT,
/// orphans, sockets of the kernel and connections that nobody accepted yet.
#[inline(always)]
pub(crate) fn has_file(sk: u64) -> bool {
    let state = state(sk);
    if state == Sock::STATE_TIME_WAIT || state == Sock::STATE_NEW_SYN_RECV {
        return false;
    }
    let socket: u64 = read(sk, off!(sk_socket));
    let file: u64 = read(socket, off!(socket_file));
    socket != 0 && file != 0
}

/// `struct cred` with which the file of an open socket was made (fs/file_table.c:alloc_file); 0 where
/// there is no file. A reference keeps it from being another's while the file is open.
#[inline(always)]
pub(crate) fn opener_cred(sk: u64) -> u64 {
    let socket: u64 = read(sk, off!(sk_socket));
    let file: u64 = read(socket, off!(socket_file));
    if socket == 0 || file == 0 {
        return 0;
    }
    read(file, off!(file_f_cred))
}

/// No process has or had it: a connection that a listener got and nobody has accepted.
#[inline(always)]
pub(crate) fn is_nobodys(sk: u64) -> bool {
    read::<u64>(sk, off!(sk_socket)) == 0
}

/// The function that gets what arrives at a socket of the kernel; 0 if it cannot be told. Tunnels
/// take it out of UDP itself, others wait for it as a process would.
#[inline(always)]
pub(crate) fn receiver(sk: u64, protocol: u16) -> u64 {
    let tunnel = off!(udp_encap_rcv);
    if protocol == IPPROTO_UDP && tunnel != ABSENT {
        let function = read(sk, tunnel);
        if function != 0 {
            return function;
        }
    }
    let any = off!(sk_data_ready);
    if any == ABSENT { 0 } else { read(sk, any) }
}

/// Sixteen zero bytes.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn zero16(to: *mut [u8; 16]) {
    // SAFETY: the caller's promise; unaligned since the field may stand anywhere.
    unsafe {
        to.cast::<u64>().write_unaligned(0);
        to.cast::<u64>().add(1).write_unaligned(0);
    }
}

/// Stands for `::` of a listener that takes no IPv4; nothing of TCP has a multicast address.
pub(crate) const ONLY_V6: [u8; 16] = [0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// The key under which a listener of this socket's address and port is remembered.
#[inline(always)]
pub(crate) fn listener_key(sk: u64) -> PortKey {
    let mut key = PortKey {
        addr: [0; 16],
        netns: net_inum(net(sk)),
        protocol: IPPROTO_TCP,
        port: port(sk),
    };
    if family(sk) == AF_INET6 {
        // SAFETY: a local of that size.
        unsafe { copy(&raw mut key.addr, sk, off!(skc_v6_rcv_saddr)) };
        if key.addr == [0; 16] && bits(sk, off!(skc_ipv6only)) != 0 {
            key.addr = ONLY_V6;
        }
    } else {
        let v4: [u8; 4] = read(sk, off!(skc_rcv_saddr));
        key.addr = mapped(v4);
    }
    key
}

/// `::ffff:a.b.c.d`.
#[inline(always)]
pub(crate) fn mapped(v4: [u8; 4]) -> [u8; 16] {
    [
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4[0], v4[1], v4[2], v4[3],
    ]
}
