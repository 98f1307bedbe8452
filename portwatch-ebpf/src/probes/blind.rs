//! Failed binds where the kernel's memory may not be read (`lockdown=confidentiality`).
//!
//! There the kernel refuses to load whatever calls `bpf_probe_read_kernel`
//! (kernel/bpf/helpers.c:bpf_base_func_proto), and opens no file of tracefs. What stays are BTF
//! tracepoints, cgroup hooks, and loads through pointers whose type the verifier knows. So no helper that
//! reads kernel memory may be called here: the failing socket and the holders stay unknown, and user
//! space asks for them afterwards.
//!
//! Nor may the caller's own memory be asked for: the loader rewrites `bpf_probe_read_user` where its
//! twin for the kernel is refused (aya-obj: `Object::sanitize_functions`). What a bind() wants is
//! taken from the cgroup hooks before the call instead, which get it as their context. They also run
//! for binds that are no such call (io_uring, 32-bit programs, the kernel's own sockets): only what
//! began in a bind() with the same descriptor and the same name in memory is told at its exit.
//!
//! [`blind_exit`] runs at the end of *every* system call; all but one end after one comparison.

use super::ALLOW;
use crate::{
    config::{self, off},
    maps::{FAILURES, WANTED},
    owners,
    registers::{self, Registers},
    stats, walk,
};
use aya_ebpf::{
    bindings::BPF_RB_FORCE_WAKEUP,
    helpers::generated::{bpf_get_current_task_btf, bpf_get_netns_cookie},
    macros::{btf_tracepoint, cgroup_sock_addr},
    programs::{BtfTracePointContext, SockAddrContext},
};
use portwatch_common::{BlindRecord, Counter, HookId, RecordKind, SockAddr, Task};

/// Number of bind() on this machine.
#[inline(always)]
fn sys_bind() -> u64 {
    if registers::is_x86() { 49 } else { 200 }
}

const EADDRINUSE: i64 = -98;

const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;
const IPPROTO_UDPLITE: u32 = 136;
const IPPROTO_MPTCP: u32 = 262;

/// What the bind() that a task is in wants.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    addr: [u32; 4],
    port: u16,
    family: u16,
    protocol: u16,
    pad: u16,
    /// The descriptor's number, as the call was made with it.
    fd: u64,
    /// Where the name stands in the caller's memory.
    name: u64,
    /// Cookie of the socket's namespace, which need not be its process's.
    netns_cookie: u64,
}

/// A bind() to an IPv4 address begins.
#[cgroup_sock_addr(bind4)]
pub(crate) fn blind_bind4(ctx: SockAddrContext) -> i32 {
    let from = ctx.sock_addr;
    // SAFETY: the context; volatile keeps each load as wide as its field, as the verifier demands.
    let addr = unsafe { (&raw const (*from).user_ip4).read_volatile() };
    begins(&ctx, AF_INET, [addr, 0, 0, 0]);
    ALLOW
}

/// A bind() to an IPv6 address begins.
#[cgroup_sock_addr(bind6)]
pub(crate) fn blind_bind6(ctx: SockAddrContext) -> i32 {
    let from = ctx.sock_addr;
    // SAFETY: as in [`blind_bind4`].
    let addr = unsafe {
        [
            (&raw const (*from).user_ip6[0]).read_volatile(),
            (&raw const (*from).user_ip6[1]).read_volatile(),
            (&raw const (*from).user_ip6[2]).read_volatile(),
            (&raw const (*from).user_ip6[3]).read_volatile(),
        ]
    };
    begins(&ctx, AF_INET6, addr);
    ALLOW
}

/// Keeps what is wanted until the call ends.
#[inline(always)]
fn begins(ctx: &SockAddrContext, family: u16, addr: [u32; 4]) {
    let call = Registers::current();
    if call.number() != sys_bind() {
        return;
    }
    let from = ctx.sock_addr;
    // SAFETY: as in [`blind_bind4`].
    let (port, protocol) = unsafe {
        (
            (&raw const (*from).user_port).read_volatile(),
            (&raw const (*from).protocol).read_volatile(),
        )
    };
    let protocol = match protocol {
        IPPROTO_TCP | IPPROTO_MPTCP => IPPROTO_TCP,
        IPPROTO_UDP | IPPROTO_UDPLITE => protocol,
        _ => return,
    };
    let wanted = Wanted {
        addr,
        port: u16::from_be(port as u16),
        family,
        protocol: protocol as u16,
        pad: 0,
        fd: call.first(),
        name: call.second(),
        // SAFETY: a helper that takes the context.
        netns_cookie: unsafe { bpf_get_netns_cookie(from.cast()) },
    };
    // An LRU map gives its oldest note up for this one, unless it cannot.
    if WANTED.insert(current() as u64, wanted, 0).is_err() {
        stats::lose(HookId::BLIND_EXIT, Counter::NOTES_FULL);
    }
}

/// `raw_syscalls:sys_exit` as a BTF tracepoint: registers and return value.
#[btf_tracepoint(function = "sys_exit")]
pub(crate) fn blind_exit(ctx: BtfTracePointContext) -> i32 {
    let regs = Registers::of(ctx.arg(0));
    let ret: i64 = ctx.arg(1);
    if regs.number() != sys_bind() {
        return 0;
    }
    let task = current();
    let Some(wanted) = WANTED.get_ptr(task as u64) else {
        // A name of another family: AF_UNIX, AF_NETLINK, AF_VSOCK.
        return 0;
    };
    // SAFETY: a value of our own map, of the call that this task is in.
    let wanted = unsafe { *wanted };
    let _ = WANTED.remove(task as u64);
    // A note whose own exit was missed is none of this call.
    let same = (wanted.fd, wanted.name) == (regs.first(), regs.second());
    if same && ret == EADDRINUSE {
        refused(task, wanted);
    }
    0
}

/// Tells a bind() that was refused a port.
#[inline(always)]
fn refused(task: *const u8, wanted: Wanted) {
    let Some(counters) = stats::row(HookId::BLIND_EXIT) else {
        return;
    };
    counters.count(Counter::FAILURES_TRIGGERED);
    let net = follow(follow(task, off!(task_nsproxy)), off!(nsproxy_net));
    // The number of another namespace is out of reach here: 0, which nobody asks for by number.
    let cookie: u64 = load(net, off!(net_cookie));
    let inum: u32 = if cookie == wanted.netns_cookie {
        load(net, off!(net_inum))
    } else {
        0
    };
    if !config::wants_netns(inum) {
        counters.count(Counter::FAILURES_FILTERED);
        return;
    }
    let mut who = Task {
        tgid: 0,
        tid: 0,
        ppid: 0,
        uid: 0,
        start_time: 0,
        cgroup: 0,
        comm: [0; 2],
    };
    fill(&mut who, task);
    let Some(mut record) = FAILURES.reserve::<BlindRecord>(0) else {
        counters.count(Counter::FAILURES_DROPPED);
        return;
    };
    let to = record.as_mut_ptr();
    // SAFETY: the reserved record; every byte is written.
    unsafe {
        (*to).header = walk::header::<BlindRecord>(RecordKind::BLIND, owners::now(), 0);
        (*to).task = who;
        address(&raw mut (*to).addr, &wanted);
        (*to).netns_cookie = wanted.netns_cookie;
        (*to).netns = inum;
        (*to).errno = EADDRINUSE.wrapping_neg() as u32;
        (*to).fd = wanted.fd as u32;
        (*to).protocol = wanted.protocol;
        (*to).pad = 0;
    }
    record.submit(u64::from(BPF_RB_FORCE_WAKEUP));
    counters.count(Counter::FAILURES_EMITTED);
}

/// Writes what was wanted; every word is in network order already.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
unsafe fn address(to: *mut SockAddr, wanted: &Wanted) {
    // SAFETY: the caller's promise.
    unsafe {
        let words = (&raw mut (*to).addr).cast::<u32>();
        words.write_unaligned(wanted.addr[0]);
        words.add(1).write_unaligned(wanted.addr[1]);
        words.add(2).write_unaligned(wanted.addr[2]);
        words.add(3).write_unaligned(wanted.addr[3]);
        (*to).scope = 0;
        (*to).family = wanted.family;
        (*to).port = wanted.port;
    }
}

/// The process, as `crate::task` fills it, but by direct loads.
#[inline(always)]
fn fill(to: &mut Task, task: *const u8) {
    let leader = leader(task);
    let comm = off!(task_comm);
    let group = follow(follow(task, off!(task_cgroups)), off!(css_set_dfl_cgrp));
    to.tgid = load(task, off!(task_tgid));
    to.tid = load(task, off!(task_pid));
    to.ppid = load(follow(leader, off!(task_real_parent)), off!(task_tgid));
    to.uid = load(follow(task, off!(task_cred)), off!(cred_euid));
    to.start_time = start(leader);
    to.cgroup = load(follow(group, off!(cgroup_kn)), off!(kernfs_node_id));
    to.comm[0] = load(leader, comm);
    to.comm[1] = load(leader, comm.wrapping_add(8));
}

/// The current task, typed.
#[inline(always)]
fn current() -> *const u8 {
    // SAFETY: a helper without arguments.
    unsafe { bpf_get_current_task_btf() as *const u8 }
}

#[inline(always)]
fn leader(task: *const u8) -> *const u8 {
    follow(task, off!(task_group_leader))
}

#[inline(always)]
fn start(leader: *const u8) -> u64 {
    load(leader, off!(task_start_boottime))
}

/// The pointer that a member holds. A direct load at an offset from frozen .rodata: the verifier
/// keeps the type.
#[inline(always)]
fn follow(base: *const u8, offset: u32) -> *const u8 {
    if base.is_null() {
        return core::ptr::null();
    }
    // SAFETY: a typed pointer that is not null and the offset of a member; a fault reads as 0.
    unsafe { *base.add(offset as usize).cast::<*const u8>() }
}

/// The value of a member, loaded as [`follow`] does; 0 without a struct.
#[inline(always)]
fn load<T: Copy + Default>(base: *const u8, offset: u32) -> T {
    if base.is_null() {
        return T::default();
    }
    // SAFETY: as in `follow`.
    unsafe { *base.add(offset as usize).cast::<T>() }
}
