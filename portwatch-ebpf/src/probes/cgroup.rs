//! cgroup hooks: they may ask a socket's cookie, which tracepoints may not, and they see the close.

use super::{ALLOW, syscalls::autobound};
use crate::{config::off, last_close, sock, traffic};
use aya_ebpf::{
    EbpfContext,
    helpers::generated::bpf_get_socket_cookie,
    macros::{cgroup_sock, cgroup_sock_addr},
    programs::{SockAddrContext, SockContext},
};
use portwatch_common::{Call, HookId, Origin};

/// Asks the socket's cookie, which gives it one for good.
#[inline(always)]
fn ask_cookie(ctx: &impl EbpfContext) -> u64 {
    // SAFETY: the context of a program type that may call the helper.
    unsafe { bpf_get_socket_cookie(ctx.as_ptr()) }
}

/// A bind() to a port, also of io_uring: `sys_exit_bind` reads the cookie.
#[cgroup_sock(post_bind4)]
pub(crate) fn post_bind4(ctx: SockContext) -> i32 {
    ask_cookie(&ctx);
    ALLOW
}

/// See [`post_bind4`].
#[cgroup_sock(post_bind6)]
pub(crate) fn post_bind6(ctx: SockContext) -> i32 {
    ask_cookie(&ctx);
    ALLOW
}

/// Before a connect(): `sys_exit_connect` reads the cookie of a UDP socket.
#[cgroup_sock_addr(connect4)]
pub(crate) fn connect4(ctx: SockAddrContext) -> i32 {
    ask_cookie(&ctx);
    ALLOW
}

/// See [`connect4`].
#[cgroup_sock_addr(connect6)]
pub(crate) fn connect6(ctx: SockAddrContext) -> i32 {
    ask_cookie(&ctx);
    ALLOW
}

/// An unconnected UDP send, after its autobind (net/ipv4/udp.c:udp_sendmsg).
#[cgroup_sock_addr(sendmsg4)]
pub(crate) fn sendmsg4(ctx: SockAddrContext) -> i32 {
    sent(HookId::SENDMSG4, &ctx);
    ALLOW
}

/// See [`sendmsg4`].
#[cgroup_sock_addr(sendmsg6)]
pub(crate) fn sendmsg6(ctx: SockAddrContext) -> i32 {
    sent(HookId::SENDMSG6, &ctx);
    ALLOW
}

#[inline(always)]
fn sent(hook: u32, ctx: &SockAddrContext) {
    ask_cookie(ctx);
    let sk: u64 = sock::read(ctx.as_ptr() as u64, off!(sock_addr_sk));
    autobound(hook, sk, Origin::EPHEMERAL_AUTOBIND, Call::AUTOBIND);
}

/// The close of a socket's last descriptor (net/ipv4/af_inet.c:inet_release): gives accepted
/// sockets and sockets older than the probes their cookie and their last holder.
#[cgroup_sock(sock_release)]
pub(crate) fn sock_release(ctx: SockContext) -> i32 {
    let cookie = ask_cookie(&ctx);
    // The context is the `struct sock` itself (kernel/bpf/cgroup.c:__cgroup_bpf_run_filter_sk).
    let sk = ctx.as_ptr() as u64;
    if sock::is_port_socket(sk) {
        traffic::released(sk, cookie);
        last_close::released(cookie, sk);
    }
    ALLOW
}
