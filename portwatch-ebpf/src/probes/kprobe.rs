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
    sock, stats, task,
};
use aya_ebpf::{
    macros::{kprobe, kretprobe},
    programs::{ProbeContext, RetProbeContext},
};
use portwatch_common::{Counter, HookId};

/// Notes the arguments of a function whose first is its `struct sock`. An older note is of a call
/// whose return probe did not run: the kernel runs as many at once as it has instances for
/// (kernel/kprobes.c:register_kretprobe).
#[inline(always)]
fn begin(hook: u32, function: u64, sk: u64, argument: u64) {
    let task = task::current();
    unended(hook, function, task);
    notes::begin_probed(hook, function, task, sk, argument);
}

/// A task ends: what its last calls left is taken away, since another task may be where it was. A
/// return probe of which there is a note yet did not run.
#[inline(always)]
pub(super) fn ended(task: u64) {
    left(HookId::CSK_GET_PORT, function::CSK_GET_PORT, task);
    left(HookId::UDP_GET_PORT, function::UDP_GET_PORT, task);
    left(HookId::HASH_CONNECT, function::HASH_CONNECT, task);
    left(HookId::INET_BIND, function::BIND, task);
    left(HookId::INET_BIND, function::DGRAM_CONNECT, task);
}

#[inline(always)]
fn left(hook: u32, function: u64, task: u64) {
    if unended(hook, function, task) {
        notes::end(function, task);
    }
}

/// Whether there is a note of an earlier call; one whose return probe did not run is counted.
#[inline(always)]
fn unended(hook: u32, function: u64, task: u64) -> bool {
    let note = notes::inside(function, task);
    if note.is_null() {
        return false;
    }
    // SAFETY: a value of our own map.
    if unsafe { (*note).probed } != 0 {
        stats::lose(hook, Counter::RETURNS_MISSED);
    }
    true
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
    let (sk, port) = (argument(&ctx, 0), argument(&ctx, 1));
    begin(HookId::CSK_GET_PORT, function::CSK_GET_PORT, sk, port);
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
    let (sk, port) = (argument(&ctx, 0), argument(&ctx, 1));
    begin(HookId::UDP_GET_PORT, function::UDP_GET_PORT, sk, port);
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
    let port = u64::from(sock::port(sk));
    begin(HookId::HASH_CONNECT, function::HASH_CONNECT, sk, port);
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
    let (sk, addr) = (argument(&ctx, 0), argument(&ctx, 1));
    begin(HookId::INET_BIND, function::BIND, sk, addr);
    0
}

/// `inet_bind` or `inet6_bind` begins.
#[kprobe]
pub(crate) fn kp_bind(ctx: ProbeContext) -> u32 {
    let (sk, addr) = (sock_of(argument(&ctx, 0)), argument(&ctx, 1));
    begin(HookId::INET_BIND, function::BIND, sk, addr);
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
    // Its end tells nothing: what it missed is no loss.
    let (sk, addr) = (sock_of(argument(&ctx, 0)), argument(&ctx, 1));
    notes::begin(
        HookId::UDP_GET_PORT,
        function::DGRAM_CONNECT,
        task::current(),
        sk,
        addr,
    );
    0
}

/// `inet_dgram_connect` ends.
#[kretprobe]
pub(crate) fn kr_dgram_connect(_ctx: RetProbeContext) -> u32 {
    notes::end(function::DGRAM_CONNECT, task::current());
    0
}
