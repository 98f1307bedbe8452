//! Functions seen through BPF trampolines: fentry and fexit (Linux 5.5 on x86-64, 6.4 on arm64: 6.0 has
//! trampolines there, but none at functions).
//!
//! A function's return value stands behind its last argument
//! (kernel/bpf/trampoline.c:arch_prepare_bpf_trampoline); `bpf_get_func_ret` needs Linux 5.17.
//! These programs may ask a socket's cookie (Linux 5.12), so they need no cgroup hook beside them.

use super::function::{bind_ended, csk_got_port, hash_connected, udp_got_port};
use crate::{
    config::{features, off},
    notes::{self, function},
    sock, task,
};
use aya_ebpf::{
    EbpfContext,
    helpers::generated::bpf_get_socket_cookie,
    macros::{fentry, fexit},
    programs::{FEntryContext, FExitContext},
};
use core::ffi::c_void;
use portwatch_common::HookId;

/// Asks the socket's cookie, which gives it one for good.
#[inline(always)]
fn ask_cookie(ctx: &impl EbpfContext, argument: usize) -> u64 {
    // SAFETY: the context is an array of the function's arguments; this one is a `struct sock *`,
    // whose type the verifier knows.
    unsafe {
        let sk = *ctx.as_ptr().cast::<*mut c_void>().add(argument);
        if features::tracing_cookie() && !sk.is_null() {
            bpf_get_socket_cookie(sk);
        }
        sk as u64
    }
}

/// `int inet_csk_get_port(struct sock *sk, unsigned short snum)`.
#[fexit(function = "inet_csk_get_port")]
#[inline(always)]
pub(crate) fn fx_csk_get_port(ctx: FExitContext) -> i32 {
    let sk = ask_cookie(&ctx, 0);
    csk_got_port::<4>(sk, ctx.arg(1), ctx.arg(2));
    0
}

/// `int udp_lib_get_port(struct sock *sk, unsigned short snum, unsigned int hash2_nulladdr)`.
#[fexit(function = "udp_lib_get_port")]
#[inline(always)]
pub(crate) fn fx_udp_get_port(ctx: FExitContext) -> i32 {
    let sk = ask_cookie(&ctx, 0);
    udp_got_port::<5>(sk, ctx.arg(1), ctx.arg(3));
    0
}

/// `int inet_hash_connect(struct inet_timewait_death_row *death_row, struct sock *sk)`.
#[fentry(function = "inet_hash_connect")]
pub(crate) fn fe_hash_connect(ctx: FEntryContext) -> i32 {
    connecting(ctx.arg(1));
    0
}

/// See [`fe_hash_connect`].
#[fexit(function = "inet_hash_connect")]
#[inline(always)]
pub(crate) fn fx_hash_connect(ctx: FExitContext) -> i32 {
    let sk = ask_cookie(&ctx, 1);
    hash_connected::<6>(sk, connected(sk), ctx.arg(2));
    0
}

/// `int inet6_hash_connect(struct inet_timewait_death_row *death_row, struct sock *sk)`.
#[fentry(function = "inet6_hash_connect")]
pub(crate) fn fe_hash6_connect(ctx: FEntryContext) -> i32 {
    connecting(ctx.arg(1));
    0
}

/// See [`fe_hash6_connect`].
#[fexit(function = "inet6_hash_connect")]
#[inline(always)]
pub(crate) fn fx_hash6_connect(ctx: FExitContext) -> i32 {
    let sk = ask_cookie(&ctx, 1);
    hash_connected::<7>(sk, connected(sk), ctx.arg(2));
    0
}

#[inline(always)]
fn connecting(sk: u64) {
    let port = u64::from(sock::port(sk));
    notes::begin(
        HookId::HASH_CONNECT,
        function::HASH_CONNECT,
        task::current(),
        sk,
        port,
    );
}

/// Whether the socket had a port before; without a note it is taken to have had one, so that
/// nothing is claimed.
#[inline(always)]
fn connected(sk: u64) -> bool {
    let task = task::current();
    let note = notes::of(function::HASH_CONNECT, task, sk);
    // SAFETY: a value of our own map.
    let had = note.is_null() || unsafe { (*note).argument } != 0;
    notes::end(function::HASH_CONNECT, task);
    had
}

macro_rules! bind {
    ($(#[$meta:meta])* $entry:ident, $exit:ident, $name:literal, $sock:expr) => {
        $(#[$meta])*
        #[fentry(function = $name)]
        pub(crate) fn $entry(ctx: FEntryContext) -> i32 {
            let (sk, addr) = ($sock(ctx.arg(0)), ctx.arg(1));
            notes::begin(HookId::INET_BIND, function::BIND, task::current(), sk, addr);
            0
        }

        $(#[$meta])*
        #[fexit(function = $name)]
        pub(crate) fn $exit(ctx: FExitContext) -> i32 {
            bind_ended($sock(ctx.arg(0)), ctx.arg(1), ctx.arg(3));
            0
        }
    };
}

bind!(
    /// `int inet_bind_sk(struct sock *sk, struct sockaddr *uaddr, int addr_len)`, since Linux 6.6.
    fe_bind_sk, fx_bind_sk, "inet_bind_sk", core::convert::identity::<u64>
);
bind!(
    /// `int inet6_bind_sk(struct sock *sk, struct sockaddr *uaddr, int addr_len)`, since Linux 6.6.
    fe_bind6_sk, fx_bind6_sk, "inet6_bind_sk", core::convert::identity::<u64>
);
bind!(
    /// `int inet_bind(struct socket *sock, struct sockaddr *uaddr, int addr_len)`.
    fe_bind, fx_bind, "inet_bind", sock_of
);
bind!(
    /// `int inet6_bind(struct socket *sock, struct sockaddr *uaddr, int addr_len)`.
    fe_bind6, fx_bind6, "inet6_bind", sock_of
);

/// `struct sock` of a `struct socket`.
#[inline(always)]
pub(super) fn sock_of(socket: u64) -> u64 {
    sock::read(socket, off!(socket_sk))
}

/// `int inet_dgram_connect(struct socket *sock, struct sockaddr *uaddr, int addr_len, int flags)`.
#[fentry(function = "inet_dgram_connect")]
pub(crate) fn fe_dgram_connect(ctx: FEntryContext) -> i32 {
    let (sk, addr) = (sock_of(ctx.arg(0)), ctx.arg(1));
    notes::begin(
        HookId::UDP_GET_PORT,
        function::DGRAM_CONNECT,
        task::current(),
        sk,
        addr,
    );
    0
}

/// See [`fe_dgram_connect`].
#[fexit(function = "inet_dgram_connect")]
pub(crate) fn fx_dgram_connect(_ctx: FExitContext) -> i32 {
    notes::end(function::DGRAM_CONNECT, task::current());
    0
}
