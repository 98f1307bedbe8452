//! Every read of a kernel struct's field, and only those. Offsets come from the kernel's BTF.
//! `tables` leads from a port to its sockets, `range` holds what a namespace says about ports.
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

mod range;
mod tables;

pub(crate) use range::{range, reserved_flags};
pub(crate) use tables::{
    bucket_fastreuse, bucket_fastreuseport, bucket_l3mdev, bucket_list, bucket_net, bucket_of,
    bucket_port, bucket2_owners, next, owner_of, tcp_buckets, tcp_chain, tcp_chain_at, udp_chain,
    udp_slot, udp_slots, udp_socket_of, udp_table,
};

use crate::config::off;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use core::{arch::asm, ffi::c_void, mem::MaybeUninit};
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

/// `flag` if `value` is not 0, without a branch: the verifier of Linux 6.1 follows each combination of
/// branches to the end of the program, and ten flags are a thousand of them. In assembly, since the
/// compiler makes a branch of anything else.
#[inline(always)]
fn flag_if(value: u64, flag: u32) -> u32 {
    let mut one = value;
    // SAFETY: registers only: `value | -value` has its top bit set unless it is 0.
    unsafe {
        asm!(
            "{one} = -{one}",
            "{one} |= {value}",
            "{one} >>= 63",
            one = inout(reg) one,
            value = in(reg) value,
            options(pure, nomem, nostack),
        );
    }
    (one as u32).wrapping_mul(flag)
}

/// Writes every field of `to`.
///
/// `protocol` is that of the table the socket was found in: a TIME_WAIT socket has none of its own.
///
/// What depends on the socket's kind is put together in memory, by volatile accesses: the verifier
/// follows the values of registers, and nine flags in one would be 512 states to go on with.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn fill(to: *mut Sock, sk: u64, protocol: u16) {
    let state = state(sk);
    let family = family(sk);
    // SAFETY: the caller's promise.
    unsafe {
        (*to).sk = sk;
        (*to).cookie = cookie(sk);
        if family == AF_INET6 {
            copy(&raw mut (*to).v6_rcv_saddr, sk, off!(skc_v6_rcv_saddr));
            copy(&raw mut (*to).v6_daddr, sk, off!(skc_v6_daddr));
        } else {
            zero16(&raw mut (*to).v6_rcv_saddr);
            zero16(&raw mut (*to).v6_daddr);
        }
        copy(&raw mut (*to).rcv_saddr, sk, off!(skc_rcv_saddr));
        copy(&raw mut (*to).daddr, sk, off!(skc_daddr));
        (*to).bound_dev = read(sk, off!(skc_bound_dev_if));
        (*to).family = family;
        (*to).protocol = protocol;
        (*to).port = port(sk);
        (*to).peer_port = u16::from_be(peer_port_be(sk));
        (*to).reuse = reuse(sk);
        (*to).reuseport = bits(sk, off!(skc_reuseport));
        (&raw mut (*to).state).write_volatile(state);
        (&raw mut (*to).inode).write_volatile(0);
        (&raw mut (*to).uid).write_volatile(0);
        (&raw mut (*to).userlocks).write_volatile(0);
        (&raw mut (*to).flags).write_volatile(0);
        flag(to, bits(sk, off!(skc_ipv6only)).into(), Sock::FLAG_V6ONLY);
        // TIME_WAIT is a `struct inet_timewait_sock`, NEW_SYN_RECV a `struct request_sock`: nothing
        // behind `struct sock_common` may be read of them as a `struct sock`.
        if state == Sock::STATE_TIME_WAIT {
            fill_time_wait(to, sk);
        } else {
            let counted = u64::from(bits(sk, off!(skc_net_refcnt)));
            flag(to, counted ^ 1, Sock::FLAG_KERNEL);
            if state != Sock::STATE_NEW_SYN_RECV {
                fill_full(to, sk);
            }
        }
    }
}

/// Sets a flag if `value` is not 0.
///
/// # Safety
/// `to` is valid for reads and writes.
#[inline(always)]
unsafe fn flag(to: *mut Sock, value: u64, flag: u32) {
    // SAFETY: the caller's promise.
    unsafe {
        let flags = &raw mut (*to).flags;
        flags.write_volatile(flags.read_volatile() | flag_if(value, flag));
    }
}

/// What a `struct inet_timewait_sock` has.
///
/// # Safety
/// As in [`flag`].
#[inline(always)]
unsafe fn fill_time_wait(to: *mut Sock, sk: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        // FIN_WAIT2 of an orphan that is kept small (net/ipv4/tcp_minisocks.c:tcp_time_wait).
        if read::<u8>(sk, off!(tw_substate)) == Sock::STATE_FIN_WAIT2 {
            (&raw mut (*to).state).write_volatile(Sock::STATE_FIN_WAIT2);
        }
        if has_connect_bind() {
            let connected = bits(sk, off!(tw_connect_bind));
            flag(to, connected.into(), Sock::FLAG_CONNECT_BIND);
        }
    }
}

/// What only a full `struct sock` has.
///
/// # Safety
/// As in [`flag`].
#[inline(always)]
unsafe fn fill_full(to: *mut Sock, sk: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        flag(to, 1, Sock::FLAG_FULL);
        (&raw mut (*to).uid).write_volatile(read(sk, off!(sk_uid)));
        let locks = userlocks(sk);
        (&raw mut (*to).userlocks).write_volatile(locks);
        if has_connect_bind() {
            let connected = u64::from(locks & Sock::CONNECT_BIND);
            flag(to, connected, Sock::FLAG_CONNECT_BIND);
        }
        flag(
            to,
            read(sk, off!(sk_reuseport_cb)),
            Sock::FLAG_REUSEPORT_GROUP,
        );
        fill_inet_flags(to, sk);
        // Without a socket both reads fail, and a failed read is 0.
        let socket: u64 = read(sk, off!(sk_socket));
        flag(to, socket, Sock::FLAG_HAS_SOCKET);
        flag(to, read(socket, off!(socket_file)), Sock::FLAG_HAS_FILE);
        let alloc = socket.wrapping_sub(u64::from(off!(socket_alloc_socket)));
        let inode = alloc.wrapping_add(u64::from(off!(socket_alloc_inode)));
        (&raw mut (*to).inode).write_volatile(read(inode, off!(inode_ino)));
    }
}

/// Options of `struct inet_sock`: one word since 6.6, bitfields before.
///
/// # Safety
/// As in [`flag`].
#[inline(always)]
unsafe fn fill_inet_flags(to: *mut Sock, sk: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        if off!(inet_flags) != ABSENT {
            let word: u64 = read(sk, off!(inet_flags));
            let is = |bit: u32| word >> (bit & 63) & 1;
            flag(to, is(off!(inet_flag_no_port)), Sock::FLAG_BIND_NO_PORT);
            flag(to, is(off!(inet_flag_freebind)), Sock::FLAG_FREEBIND);
            flag(to, is(off!(inet_flag_transparent)), Sock::FLAG_TRANSPARENT);
        } else if off!(inet_no_port) != ABSENT {
            let is = |field: u32| u64::from(bits(sk, field));
            flag(to, is(off!(inet_no_port)), Sock::FLAG_BIND_NO_PORT);
            flag(to, is(off!(inet_freebind)), Sock::FLAG_FREEBIND);
            flag(to, is(off!(inet_transparent)), Sock::FLAG_TRANSPARENT);
        }
    }
}

/// Writes the address of one end of a socket as a `sockaddr` has it: an IPv4 address in the first
/// four bytes, zeros behind it.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn fill_address<const OWN: bool>(to: *mut [u8; 16], sk: u64) {
    // SAFETY: the caller's promise.
    unsafe {
        if family(sk) == AF_INET6 {
            let offset = if OWN {
                off!(skc_v6_rcv_saddr)
            } else {
                off!(skc_v6_daddr)
            };
            copy(to, sk, offset);
        } else {
            zero16(to);
            let offset = if OWN {
                off!(skc_rcv_saddr)
            } else {
                off!(skc_daddr)
            };
            copy::<4>(to.cast(), sk, offset);
        }
    }
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
