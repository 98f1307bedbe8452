//! The kernel takes a port from a socket: ends of TIME_WAIT and of orphans, of sockets of the kernel,
//! of subflows. No process does that, and no cgroup hook runs then; often it is in softirq, so that the
//! current task is anybody's.

use super::kprobe::argument;
use crate::{sock, traffic};
use aya_ebpf::{
    macros::{fentry, kprobe},
    programs::{FEntryContext, ProbeContext},
};
use portwatch_common::HookId;

/// TCP: a connection that ends, a listener that closes, a connect() that fails.
#[inline(always)]
fn put_port(sk: u64) {
    if traffic::wants_end_of(sk) && sock::is_port_socket(sk) && sock::port(sk) != 0 {
        let left = sock::after_put(sk);
        traffic::let_go(HookId::PUT_PORT, sk, sock::IPPROTO_TCP, left);
    }
}

/// TCP: a TIME_WAIT socket that runs out, or makes room for a new connection.
#[inline(always)]
fn time_wait_ends(tw: u64) {
    if traffic::wants_end_of(tw)
        && let Some(left) = sock::after_time_wait(tw)
    {
        traffic::let_go(HookId::TWSK_UNHASH, tw, sock::IPPROTO_TCP, left);
    }
}

/// UDP: also called for sockets that never had a port.
#[inline(always)]
fn udp_unhash(sk: u64) {
    if traffic::wants_end_of(sk) && sock::is_port_socket(sk) && sock::port(sk) != 0 {
        traffic::let_go(HookId::UDP_UNHASH, sk, sock::protocol(sk), 0);
    }
}

/// `void inet_put_port(struct sock *sk)`.
#[fentry(function = "inet_put_port")]
pub(crate) fn fe_put_port(ctx: FEntryContext) -> i32 {
    put_port(ctx.arg(0));
    0
}

/// `void inet_twsk_bind_unhash(struct inet_timewait_sock *tw, struct inet_hashinfo *hashinfo)`.
#[fentry(function = "inet_twsk_bind_unhash")]
pub(crate) fn fe_twsk_unhash(ctx: FEntryContext) -> i32 {
    time_wait_ends(ctx.arg(0));
    0
}

/// `void udp_lib_unhash(struct sock *sk)`.
#[fentry(function = "udp_lib_unhash")]
pub(crate) fn fe_udp_unhash(ctx: FEntryContext) -> i32 {
    udp_unhash(ctx.arg(0));
    0
}

/// See [`fe_put_port`].
#[kprobe]
pub(crate) fn kp_put_port(ctx: ProbeContext) -> u32 {
    put_port(argument(&ctx, 0));
    0
}

/// See [`fe_twsk_unhash`].
#[kprobe]
pub(crate) fn kp_twsk_unhash(ctx: ProbeContext) -> u32 {
    time_wait_ends(argument(&ctx, 0));
    0
}

/// See [`fe_udp_unhash`].
#[kprobe]
pub(crate) fn kp_udp_unhash(ctx: ProbeContext) -> u32 {
    udp_unhash(argument(&ctx, 0));
    0
}
