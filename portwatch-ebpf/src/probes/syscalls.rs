//! Exits of the system calls that take or want a port.
//!
//! Exit programs only: the saved registers still hold the arguments
//! (`bpf_task_pt_regs`, Linux 5.15), so no entry program and no hash in between is needed.

use crate::{
    config::{self, features},
    fail::{self, AddrFrom, Refusal},
    notes::{self, Note, function},
    owners,
    registers::Registers,
    sock, stats, task, traffic,
};
use aya_ebpf::{
    EbpfContext, helpers::generated::bpf_probe_read_user, macros::tracepoint,
    programs::TracePointContext,
};
use core::ffi::c_void;
use portwatch_common::{Call, Config, Counter, HookId, Origin, Sock};

const EPERM: i64 = -1;
pub(super) const EAGAIN: i64 = -11;
const EACCES: i64 = -13;
const EADDRINUSE: i64 = -98;
pub(super) const EADDRNOTAVAIL: i64 = -99;

/// First and second argument of the system call that is ending, and what it returns.
#[inline(always)]
pub(super) fn arguments(ctx: &TracePointContext) -> (u32, u64, i64) {
    // SAFETY: `sys_exit_*` events hold `long ret` at offset 16
    // (include/trace/events/syscalls.h); the registers are those of the current task.
    unsafe {
        let ret = *ctx.as_ptr().cast::<u8>().add(16).cast::<i64>();
        if !features::task_pt_regs() {
            let task = task::current();
            let note = notes::inside(function::SYSTEM_CALL, task);
            if note.is_null() {
                // Its begin was not seen: told as a descriptor that leads nowhere.
                return (u32::MAX, 0, ret);
            }
            let Note { sk, argument, .. } = *note;
            notes::end(function::SYSTEM_CALL, task);
            return (sk as u32, argument, ret);
        }
        let regs = Registers::current();
        (regs.first() as u32, regs.second(), ret)
    }
}

macro_rules! enters {
    ($($name:ident $hook:ident)*) => { $(
        /// Keeps the arguments for the exit, where that cannot read the registers.
        #[tracepoint]
        pub(crate) fn $name(ctx: TracePointContext) -> u32 {
            // SAFETY: `sys_enter_*` events hold the arguments, a word each, from offset 16 on.
            let (fd, addr) = unsafe {
                let arguments = ctx.as_ptr().cast::<u8>().add(16).cast::<u64>();
                (*arguments, *arguments.add(1))
            };
            notes::begin(HookId::$hook, function::SYSTEM_CALL, task::current(), fd, addr);
            0
        }
    )* };
}

enters! {
    sys_enter_bind SYS_EXIT_BIND
    sys_enter_listen SYS_EXIT_LISTEN
    sys_enter_connect SYS_EXIT_CONNECT
    sys_enter_sendto SYS_EXIT_SENDTO
    sys_enter_sendmsg SYS_EXIT_SENDMSG
    sys_enter_sendmmsg SYS_EXIT_SENDMMSG
}

/// The socket of a descriptor, if it is one that has ports; 0 otherwise.
#[inline(always)]
fn socket(task: u64, fd: u32) -> u64 {
    let sk = sock::from_fd(task, fd);
    if sk == 0 || !sock::is_port_socket(sk) {
        return 0;
    }
    sk
}

/// What a socket gets its port from.
#[inline(always)]
fn get_port(sk: u64) -> u32 {
    if is_udp(sk) {
        Config::SERVED_UDP_PORT
    } else {
        Config::SERVED_TCP_PORT
    }
}

#[inline(always)]
pub(super) fn is_udp(sk: u64) -> bool {
    matches!(
        sock::protocol(sk),
        sock::IPPROTO_UDP | sock::IPPROTO_UDPLITE
    )
}

/// The same of a call that failed. A descriptor that leads to no socket any more (another thread
/// closed it) hides a failure, which is counted in `lost`: what is refused on no socket fails otherwise.
#[inline(always)]
pub(super) fn failing_socket(hook: u32, lost: u32, task: u64, fd: u32) -> u64 {
    let sk = sock::from_fd(task, fd);
    if sk == 0 {
        stats::lose(hook, lost);
        return 0;
    }
    if sock::is_port_socket(sk) { sk } else { 0 }
}

/// `syscalls:sys_exit_bind`.
#[tracepoint]
#[inline(always)]
pub(crate) fn sys_exit_bind(ctx: TracePointContext) -> u32 {
    let (fd, addr, ret) = arguments(&ctx);
    if ret > 0 || (ret < 0 && !matches!(ret, EADDRINUSE | EADDRNOTAVAIL | EACCES | EPERM)) {
        return 0;
    }
    let task = task::current();
    let sk = if ret == EADDRINUSE {
        failing_socket(HookId::SYS_EXIT_BIND, Counter::SOCKET_UNREADABLE, task, fd)
    } else {
        socket(task, fd)
    };
    if sk == 0 {
        return 0;
    }
    diagnose!(&ctx, "bind: fd {} returned {}", fd, ret);
    // Functions of the kernel may serve a part of what this hook tells.
    let served = if ret == EADDRINUSE {
        get_port(sk)
    } else {
        Config::SERVED_BIND
    };
    if config::served(served) {
        return 0;
    }
    if ret == 0 {
        bound(HookId::SYS_EXIT_BIND, sk);
        return 0;
    }
    let refusal = Refusal {
        sk,
        task,
        addr,
        from: AddrFrom::Caller,
        port: 0,
        errno: ret.wrapping_neg() as u32,
        call: Call::BIND,
        hook: HookId::SYS_EXIT_BIND,
    };
    if ret == EADDRINUSE {
        fail::conflict::<0>(refusal);
    } else {
        fail::refused(refusal);
    }
    0
}

/// A bind() succeeded. IP_BIND_ADDRESS_NO_PORT with port 0 leaves the socket without one. A stack
/// frame of its own, as [`autobound`].
#[inline(never)]
pub(super) fn bound(hook: u32, user_sk: u64) {
    let sk = sock::port_socket(user_sk);
    if sock::port(sk) == 0 {
        return;
    }
    let origin = if sock::userlocks(sk) & Sock::BINDPORT_LOCK != 0 {
        Origin::EXPLICIT_BIND
    } else {
        Origin::EPHEMERAL_BIND
    };
    owners::forget(sock::cookie(sk));
    owners::took(hook, sock::cookie(sk), sk, origin);
    traffic::assigned(hook, sk, origin, Call::BIND);
}

/// `syscalls:sys_exit_listen`.
#[tracepoint]
#[inline(always)]
pub(crate) fn sys_exit_listen(ctx: TracePointContext) -> u32 {
    let (fd, _, ret) = arguments(&ctx);
    if ret != EADDRINUSE {
        return 0;
    }
    let task = task::current();
    let sk = failing_socket(
        HookId::SYS_EXIT_LISTEN,
        Counter::SOCKET_UNREADABLE,
        task,
        fd,
    );
    diagnose!(&ctx, "listen: fd {} returned {}", fd, ret);
    if sk != 0 {
        fail::conflict::<1>(Refusal {
            sk,
            task,
            addr: 0,
            from: AddrFrom::Caller,
            port: 0,
            errno: ret.wrapping_neg() as u32,
            call: Call::LISTEN,
            hook: HookId::SYS_EXIT_LISTEN,
        });
    }
    0
}

/// `syscalls:sys_exit_connect`.
#[tracepoint]
#[inline(always)]
pub(crate) fn sys_exit_connect(ctx: TracePointContext) -> u32 {
    let (fd, addr, ret) = arguments(&ctx);
    if !matches!(ret, 0 | EADDRNOTAVAIL | EAGAIN) {
        return 0;
    }
    let task = task::current();
    let sk = if ret == 0 {
        socket(task, fd)
    } else {
        failing_socket(
            HookId::SYS_EXIT_CONNECT,
            Counter::SOCKET_UNREADABLE,
            task,
            fd,
        )
    };
    if sk == 0 {
        return 0;
    }
    diagnose!(&ctx, "connect: fd {} returned {}", fd, ret);
    let udp = is_udp(sk);
    let served = if udp {
        Config::SERVED_UDP_PORT
    } else {
        Config::SERVED_CONNECT
    };
    if config::served(served) {
        return 0;
    }
    if ret == 0 {
        // TCP_FASTOPEN_CONNECT takes the port here and leaves the SYN to the first send, whoever makes
        // that (net/ipv4/tcp_fastopen.c:tcp_fastopen_defer_connect).
        if udp || sock::state(sk) == Sock::STATE_SYN_SENT {
            autobound(
                HookId::SYS_EXIT_CONNECT,
                sk,
                Origin::EPHEMERAL_CONNECT,
                Call::CONNECT,
            );
        }
        return 0;
    }
    // TCP: no free port for that destination, or the bound port has such a connection already.
    // UDP: EAGAIN is the failed autobind (net/ipv4/af_inet.c:inet_autobind) only without a port.
    let wants_port = if udp {
        ret == EAGAIN && sock::port(sk) == 0
    } else {
        ret == EADDRNOTAVAIL && searched_port(sock::port_socket(sk), addr)
    };
    if wants_port {
        fail::conflict::<2>(Refusal {
            sk,
            task,
            addr,
            from: AddrFrom::Caller,
            port: 0,
            errno: ret.wrapping_neg() as u32,
            call: Call::CONNECT,
            hook: HookId::SYS_EXIT_CONNECT,
        });
    }
    0
}

/// connect() got as far as looking for a port. To an IPv6 address that the host has no address for,
/// EADDRNOTAVAIL comes before (net/ipv6/ip6_output.c:ip6_dst_lookup_tail): then
/// net/ipv6/tcp_ipv6.c:tcp_v6_connect has not set `sk_gso_type` yet. IPv4 has no such case.
#[inline(always)]
pub(super) fn searched_port(sk: u64, addr: u64) -> bool {
    if sock::family(sk) != sock::AF_INET6 || sock::gso_type(sk) != 0 {
        return true;
    }
    let mut head = [0_u32; 3];
    // SAFETY: a local of that size; the address is the caller's, read with the helper for that.
    let read = unsafe {
        bpf_probe_read_user(
            head.as_mut_ptr().cast(),
            12,
            addr.wrapping_add(8) as *const c_void,
        )
    };
    // `::ffff:a.b.c.d` goes the way of IPv4.
    read == 0 && head[0] == 0 && head[1] == 0 && u32::from_be(head[2]) == 0xffff
}

/// A socket may have got its port just now, without a bind(). A stack frame of its own: together with
/// a failure's it would be too much (512 bytes with everything that is called).
#[inline(never)]
pub(crate) fn autobound(hook: u32, sk: u64, origin: u8, call: u8) {
    if sock::port(sk) == 0 || sock::userlocks(sk) & Sock::BINDPORT_LOCK != 0 {
        return;
    }
    let cookie = sock::cookie(sk);
    if cookie != 0 && owners::took(hook, cookie, sk, origin) {
        traffic::assigned(hook, sk, origin, call);
    }
}
