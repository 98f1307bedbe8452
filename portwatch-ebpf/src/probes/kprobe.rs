//! Functions seen through kprobes and kretprobes, where the kernel has no trampolines.
//!
//! A return probe has no arguments: they are noted at the entry. These programs may not ask a
//! socket's cookie; the cgroup hooks and sock_ops do that beside them.

use super::{
    function::{bind_ended, csk_got_port, hash_connected, udp_got_port},
    trampoline::sock_of,
};
use crate::{
    notes::{self, Note, function},
    sock, task,
};
use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};

/// Notes the arguments of a function whose first is its `struct sock`.
#[inline(always)]
fn begin(function: u64, sk: u64, argument: u64) {
    notes::begin(function, task::current(), sk, argument);
}

/// Takes the note of the function that ends. Without one its begin was not seen.
#[inline(always)]
fn end(function: u64) -> Option<Note> {
    let task = task::current();
    let note = notes::inside(function, task);
    if note.is_null() {
        return None;
    }
    // SAFETY: a value of our own map, of the call that this task is in.
    let note = unsafe { *note };
    notes::end(function, task);
    Some(note)
}

/// An argument of the function.
#[inline(always)]
pub(super) fn argument(ctx: &ProbeContext, n: usize) -> u64 {
    ctx.arg::<u64>(n).unwrap_or(0)
}

/// `inet_csk_get_port` begins.
#[kprobe]
pub(crate) fn kp_csk_get_port(ctx: ProbeContext) -> u32 {
    begin(function::CSK_GET_PORT, argument(&ctx, 0), argument(&ctx, 1));
    0
}

/// `inet_csk_get_port` ends.
#[kretprobe]
#[inline(always)]
pub(crate) fn kr_csk_get_port(ctx: RetProbeContext) -> u32 {
    if let Some(note) = end(function::CSK_GET_PORT) {
        csk_got_port::<8>(note.sk, note.argument as u16, ctx.ret::<i32>());
    }
    0
}

/// `udp_lib_get_port` begins.
#[kprobe]
pub(crate) fn kp_udp_get_port(ctx: ProbeContext) -> u32 {
    begin(function::UDP_GET_PORT, argument(&ctx, 0), argument(&ctx, 1));
    0
}

/// `udp_lib_get_port` ends.
#[kretprobe]
#[inline(always)]
pub(crate) fn kr_udp_get_port(ctx: RetProbeContext) -> u32 {
    if let Some(note) = end(function::UDP_GET_PORT) {
        udp_got_port::<9>(note.sk, note.argument as u16, ctx.ret::<i32>());
    }
    0
}

/// `inet_hash_connect` or `inet6_hash_connect` begins.
#[kprobe]
pub(crate) fn kp_hash_connect(ctx: ProbeContext) -> u32 {
    let sk = argument(&ctx, 1);
    begin(function::HASH_CONNECT, sk, u64::from(sock::port(sk)));
    0
}

/// `inet_hash_connect` or `inet6_hash_connect` ends.
#[kretprobe]
#[inline(always)]
pub(crate) fn kr_hash_connect(ctx: RetProbeContext) -> u32 {
    if let Some(note) = end(function::HASH_CONNECT) {
        hash_connected::<10>(note.sk, note.argument != 0, ctx.ret::<i32>());
    }
    0
}

/// `inet_bind_sk` or `inet6_bind_sk` begins.
#[kprobe]
pub(crate) fn kp_bind_sk(ctx: ProbeContext) -> u32 {
    begin(function::BIND, argument(&ctx, 0), argument(&ctx, 1));
    0
}

/// `inet_bind` or `inet6_bind` begins.
#[kprobe]
pub(crate) fn kp_bind(ctx: ProbeContext) -> u32 {
    begin(
        function::BIND,
        sock_of(argument(&ctx, 0)),
        argument(&ctx, 1),
    );
    0
}

/// Any of the four ends.
#[kretprobe]
pub(crate) fn kr_bind(ctx: RetProbeContext) -> u32 {
    if let Some(note) = end(function::BIND) {
        bind_ended(note.sk, note.argument, ctx.ret::<i32>());
    }
    0
}

/// `inet_dgram_connect` begins.
#[kprobe]
pub(crate) fn kp_dgram_connect(ctx: ProbeContext) -> u32 {
    begin(
        function::DGRAM_CONNECT,
        sock_of(argument(&ctx, 0)),
        argument(&ctx, 1),
    );
    0
}

/// `inet_dgram_connect` ends.
#[kretprobe]
pub(crate) fn kr_dgram_connect(_ctx: RetProbeContext) -> u32 {
    notes::end(function::DGRAM_CONNECT, task::current());
    0
}
