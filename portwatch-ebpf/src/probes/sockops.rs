//! sock_ops: TCP's connect() after the kernel picked the port, listen(), and what a listener gets.

use super::ALLOW;
use crate::{config::off, owners, sock, task, traffic};
use aya_ebpf::{
    EbpfContext,
    bindings::{
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_TCP_CONNECT_CB,
        BPF_SOCK_OPS_TCP_LISTEN_CB,
    },
    helpers::generated::bpf_get_socket_cookie,
    macros::sock_ops,
    programs::SockOpsContext,
};
use portwatch_common::{Call, HookId, Origin, Owner, OwnerSource, Sock};

/// Every TCP socket of the cgroup; only three of the callbacks are of interest. `reply` is left
/// alone, which means "no opinion" for all the others.
#[sock_ops]
#[inline(always)]
pub(crate) fn sock_ops(ctx: SockOpsContext) -> u32 {
    let op = ctx.op();
    if op == BPF_SOCK_OPS_TCP_CONNECT_CB {
        connecting(&ctx);
    } else if op == BPF_SOCK_OPS_TCP_LISTEN_CB {
        listening(&ctx);
    } else if op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB {
        established(&ctx);
    }
    ALLOW as u32
}

/// net/ipv4/tcp_output.c:tcp_connect: in process context, the port is chosen, no SYN is sent yet.
#[inline(always)]
fn connecting(ctx: &SockOpsContext) {
    // SAFETY: the context of a program type that may call the helper.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let sk: u64 = sock::read(ctx.as_ptr() as u64, off!(sock_ops_sk));
    let bound = sock::userlocks(sk) & Sock::BINDPORT_LOCK != 0;
    let origin = if bound {
        Origin::EXPLICIT_BIND
    } else {
        Origin::EPHEMERAL_CONNECT
    };
    traffic::connects(HookId::SOCK_OPS, sk, origin);
    if bound {
        return;
    }
    // A socket with an entry had its port from bind(0).
    if owners::took(HookId::SOCK_OPS, cookie, sk, Origin::EPHEMERAL_CONNECT) {
        traffic::assigned(
            HookId::SOCK_OPS,
            sk,
            Origin::EPHEMERAL_CONNECT,
            Call::CONNECT,
        );
    }
}

/// net/ipv4/tcp_input.c:tcp_rcv_state_process, in softirq: whose socket it will be is not known yet.
/// Its TIME_WAIT may begin before the descriptor is closed, and carries this cookie then.
#[inline(always)]
fn established(ctx: &SockOpsContext) {
    // SAFETY: as above.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let sk: u64 = sock::read(ctx.as_ptr() as u64, off!(sock_ops_sk));
    // A connect() that met another connect() comes here as well, with the socket of its caller.
    if sock::is_nobodys(sk) {
        owners::accepted(cookie);
    }
}

/// net/ipv4/af_inet.c:__inet_listen_sk, after success.
#[inline(always)]
fn listening(ctx: &SockOpsContext) {
    // SAFETY: as above.
    let cookie = unsafe { bpf_get_socket_cookie(ctx.as_ptr()) };
    let sk: u64 = sock::read(ctx.as_ptr() as u64, off!(sock_ops_sk));
    let locked = sock::userlocks(sk) & Sock::BINDPORT_LOCK != 0;
    let origin = if locked {
        Origin::EXPLICIT_BIND
    } else {
        Origin::EPHEMERAL_AUTOBIND
    };
    if owners::took(HookId::SOCK_OPS, cookie, sk, origin) && !locked {
        traffic::assigned(HookId::SOCK_OPS, sk, origin, Call::LISTEN);
    } else {
        traffic::listens(HookId::SOCK_OPS, sk, origin);
    }
    let mut owner: Owner = owners::NOBODY;
    // SAFETY: a local.
    unsafe { task::fill_owner(&raw mut owner, task::current()) };
    owner.taken_at = owners::now();
    owner.origin = origin;
    owner.source = OwnerSource::CALL;
    owner.port = sock::port(sk);
    owners::listens(sk, &mut owner);
}
