//! What the kernel's own functions tell, whatever carries their arguments here: a trampoline
//! (`trampoline`) or a kprobe (`kprobe`). Every way into them is seen: system calls of 64 and 32
//! bits, io_uring, sockets of the kernel, subflows of MPTCP.

use super::syscalls::{autobound, bound};
use crate::{
    fail::{self, AddrFrom, Refusal},
    notes::{self, function},
    sock, task,
};
use portwatch_common::{Call, HookId, Origin, Sock};

const EPERM: i32 = -1;
const EAGAIN: u32 = 11;
const EACCES: i32 = -13;
const EADDRINUSE: u32 = 98;
const EADDRNOTAVAIL: i32 = -99;

/// `inet_csk_get_port` ends: a bind(), a listen(), or a listen() that had no port. Non-zero is a
/// conflict: 1 up to 5.15, -EADDRINUSE since; the callers make -EADDRINUSE of both.
#[inline(always)]
pub(crate) fn csk_got_port<const SLOT: u32>(sk: u64, port: u16, ret: i32) {
    if ret == 0 || !sock::is_port_socket(sk) {
        return;
    }
    let task = task::current();
    // net/ipv4/inet_connection_sock.c:inet_csk_listen_start stores the state before it asks.
    if sock::state(sk) == Sock::STATE_LISTEN {
        fail::conflict::<SLOT>(Refusal {
            sk,
            task,
            addr: 0,
            from: AddrFrom::Nothing,
            port,
            errno: EADDRINUSE,
            call: Call::LISTEN,
            hook: HookId::CSK_GET_PORT,
        });
        return;
    }
    bind_refused::<SLOT>(HookId::CSK_GET_PORT, sk, task, port);
}

/// `udp_lib_get_port` ends: a bind(), or the autobind of a connect() or a send
/// (net/ipv4/af_inet.c:inet_autobind, which makes -EAGAIN of any failure).
#[inline(always)]
pub(crate) fn udp_got_port<const SLOT: u32>(sk: u64, port: u16, ret: i32) {
    if !sock::is_port_socket(sk) {
        return;
    }
    let task = task::current();
    let in_bind = port != 0 || !notes::of(function::BIND, task, sk).is_null();
    if in_bind {
        // A success is told at the end of the bind().
        if ret != 0 {
            bind_refused::<SLOT>(HookId::UDP_GET_PORT, sk, task, port);
        }
        return;
    }
    let connect = notes::of(function::DGRAM_CONNECT, task, sk);
    let (origin, call, addr) = if connect.is_null() {
        (Origin::EPHEMERAL_AUTOBIND, Call::AUTOBIND, 0)
    } else {
        // SAFETY: a value of our own map, of the call that this task is in.
        let to = unsafe { (*connect).argument };
        (Origin::EPHEMERAL_CONNECT, Call::CONNECT, to)
    };
    if ret == 0 {
        autobound(HookId::UDP_GET_PORT, sk, origin, call);
        return;
    }
    fail::conflict::<SLOT>(Refusal {
        sk,
        task,
        addr,
        from: AddrFrom::Kernel,
        port: 0,
        errno: EAGAIN,
        call,
        hook: HookId::UDP_GET_PORT,
    });
}

/// A bind() got no port: the socket still has the wanted address, which its caller clears next
/// (net/ipv4/af_inet.c:__inet_bind).
#[inline(always)]
fn bind_refused<const SLOT: u32>(hook: u32, sk: u64, task: u64, port: u16) {
    let note = notes::of(function::BIND, task, sk);
    let (addr, from) = if note.is_null() {
        (0, AddrFrom::OwnEnd)
    } else {
        // SAFETY: a value of our own map, of the call that this task is in.
        let wanted = unsafe { (*note).argument };
        // A bind() asks once: whatever this task does next with the socket is no part of it, even if
        // the end of the bind() is missed.
        notes::end(function::BIND, task);
        (wanted, AddrFrom::Kernel)
    };
    fail::conflict::<SLOT>(Refusal {
        sk,
        task,
        addr,
        from,
        port,
        errno: EADDRINUSE,
        call: Call::BIND,
        hook,
    });
}

/// `inet_hash_connect` or `inet6_hash_connect` ends: the one place where connect() gets a port. -99
/// without a port is an exhausted range, with one it is a connection of these four that exists.
#[inline(always)]
pub(crate) fn hash_connected<const SLOT: u32>(sk: u64, had_port: bool, ret: i32) {
    if !sock::is_port_socket(sk) {
        return;
    }
    if ret == EADDRNOTAVAIL {
        fail::conflict::<SLOT>(Refusal {
            sk,
            task: task::current(),
            addr: 0,
            from: AddrFrom::PeerEnd,
            port: sock::port(sk),
            errno: EADDRNOTAVAIL.wrapping_neg() as u32,
            call: Call::CONNECT,
            hook: HookId::HASH_CONNECT,
        });
        return;
    }
    // Without a cookie sock_ops remembers it, a little later.
    if ret == 0 && !had_port {
        autobound(
            HookId::HASH_CONNECT,
            sk,
            Origin::EPHEMERAL_CONNECT,
            Call::CONNECT,
        );
    }
}

/// `inet_bind_sk` or one of its kin ends: a port taken, or a bind() refused for another reason.
#[inline(always)]
pub(crate) fn bind_ended(sk: u64, addr: u64, ret: i32) {
    let task = task::current();
    notes::end(function::BIND, task);
    if !sock::is_port_socket(sk) {
        return;
    }
    if ret == 0 {
        bound(HookId::INET_BIND, sk);
    } else if matches!(ret, EADDRNOTAVAIL | EACCES | EPERM) {
        fail::refused(Refusal {
            sk,
            task,
            addr,
            from: AddrFrom::Kernel,
            port: 0,
            errno: ret.wrapping_neg() as u32,
            call: Call::BIND,
            hook: HookId::INET_BIND,
        });
    }
}
