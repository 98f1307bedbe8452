//! Exits of the calls that send: a UDP socket may have wanted a port for it, a TCP socket may have
//! connected in the same call.

use super::syscalls::{EADDRNOTAVAIL, EAGAIN, arguments, failing_socket, is_udp, searched_port};
use crate::{
    config::{self, features},
    fail::{self, AddrFrom, Refusal},
    registers::Registers,
    sock, task,
};
use aya_ebpf::{
    helpers::generated::bpf_probe_read_user, macros::tracepoint, programs::TracePointContext,
};
use core::ffi::c_void;
use portwatch_common::{Call, Config, Counter, HookId};

/// Where a send call has the address that it sends to.
#[derive(Clone, Copy)]
enum Destination {
    /// sendto(): the fifth argument.
    Argument,
    /// sendmsg(), sendmmsg(): first member of the `struct msghdr` that the second argument points at.
    Message,
}

/// A send that found no port: a UDP socket's autobind, or a TCP socket's connect() in the same call
/// (MSG_FASTOPEN, net/ipv4/tcp.c:tcp_sendmsg_fastopen).
///
/// UDP's EAGAIN is a full buffer unless the socket is without a port.
#[inline(always)]
fn send(hook: u32, to: Destination, ctx: &TracePointContext) {
    let (fd, message, ret) = arguments(ctx);
    if !matches!(ret, EAGAIN | EADDRNOTAVAIL) {
        return;
    }
    let task = task::current();
    let sk = failing_socket(hook, Counter::SENDS_UNREADABLE, task, fd);
    if sk == 0 || sock::port(sock::port_socket(sk)) != 0 {
        return;
    }
    let udp = is_udp(sk);
    let served = if udp {
        Config::SERVED_UDP_PORT
    } else {
        Config::SERVED_CONNECT
    };
    if config::served(served) {
        return;
    }
    let (addr, call) = if udp {
        (0, Call::AUTOBIND)
    } else {
        (destination(to, message), Call::CONNECT)
    };
    let wants_port = if udp {
        ret == EAGAIN
    } else {
        ret == EADDRNOTAVAIL && searched_port(sock::port_socket(sk), addr)
    };
    if wants_port {
        fail::conflict::<3>(Refusal {
            sk,
            task,
            addr,
            from: AddrFrom::Caller,
            port: 0,
            errno: ret.wrapping_neg() as u32,
            call,
            hook,
        });
    }
}

/// The caller's `sockaddr`; 0 if it is not readable.
#[inline(always)]
fn destination(to: Destination, message: u64) -> u64 {
    match to {
        Destination::Argument => {
            // What was kept at the entry has two arguments.
            if !features::task_pt_regs() {
                return 0;
            }
            Registers::current().fifth()
        }
        Destination::Message => {
            let mut name = 0_u64;
            // SAFETY: a local of that size; the address is the caller's, read with the helper for
            // that.
            unsafe { bpf_probe_read_user((&raw mut name).cast(), 8, message as *const c_void) };
            name
        }
    }
}

/// `syscalls:sys_exit_sendto`.
#[tracepoint]
#[inline(always)]
pub(crate) fn sys_exit_sendto(ctx: TracePointContext) -> u32 {
    send(HookId::SYS_EXIT_SENDTO, Destination::Argument, &ctx);
    0
}

/// `syscalls:sys_exit_sendmsg`.
#[tracepoint]
#[inline(always)]
pub(crate) fn sys_exit_sendmsg(ctx: TracePointContext) -> u32 {
    send(HookId::SYS_EXIT_SENDMSG, Destination::Message, &ctx);
    0
}

/// `syscalls:sys_exit_sendmmsg`.
#[tracepoint]
#[inline(always)]
pub(crate) fn sys_exit_sendmmsg(ctx: TracePointContext) -> u32 {
    send(HookId::SYS_EXIT_SENDMMSG, Destination::Message, &ctx);
    0
}
