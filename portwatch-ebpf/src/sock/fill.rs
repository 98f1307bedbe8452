//! A socket as records tell it.

use super::{
    AF_INET6, bits, cookie, copy, family, has_connect_bind, peer_port_be, port, read, reuse, state,
    userlocks, zero16,
};
use crate::config::off;
use core::arch::asm;
use portwatch_common::{Sock, offsets::ABSENT};

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
