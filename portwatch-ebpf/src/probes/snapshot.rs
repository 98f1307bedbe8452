//! Sockets older than the probes: one pass over every descriptor of every process, in all network
//! namespaces. It asks each socket's cookie, which gives it one, and seeds OWNERS and LISTENERS.
//!
//! The iterator holds a reference to the file it shows, so the close of that socket, which removes
//! the entry, runs after the entry is written: no stale entry can be left behind.

use crate::{
    config::{self, off},
    maps::SNAPSHOT,
    owners::{self, NOBODY},
    sock, task, walk,
};
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_seq_write, bpf_sock_from_file};
use core::ffi::c_void;
use portwatch_common::{HookId, OwnerSource, RecordKind, SnapshotRecord, Sock};

/// `struct bpf_iter__task_file` (kernel/bpf/task_iter.c).
#[repr(C)]
struct Context {
    meta: *const Meta,
    task: *mut c_void,
    fd: u32,
    pad: u32,
    file: *mut c_void,
}

/// Head of `struct bpf_iter_meta` (include/linux/bpf.h).
#[repr(C)]
struct Meta {
    seq: *mut c_void,
}

/// One descriptor. aya-ebpf has no macro for iterators; the section's name is what aya reads.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub(crate) extern "C" fn snapshot(ctx: *mut c_void) -> i32 {
    let ctx = ctx as *const Context;
    // SAFETY: the verifier knows the context's type; both pointers are checked before use.
    let (task, file, fd, meta) = unsafe { ((*ctx).task, (*ctx).file, (*ctx).fd, (*ctx).meta) };
    if task.is_null() || file.is_null() {
        return 0;
    }
    config::set_own_tgid(task::tgid(task::current()));
    // SAFETY: a `struct file` that is not null.
    let socket = unsafe { bpf_sock_from_file(file.cast()) };
    if socket.is_null() {
        return 0;
    }
    // A direct load at an offset from frozen .rodata: the verifier keeps the type, which
    // `bpf_get_socket_cookie` demands.
    // SAFETY: `socket` is not null and the offset is that of its member `sk`.
    let typed: *mut c_void = unsafe {
        *socket
            .cast::<u8>()
            .add(off!(socket_sk) as usize)
            .cast::<*mut c_void>()
    };
    if typed.is_null() {
        return 0;
    }
    let user_sk = typed as u64;
    if !sock::is_port_socket(user_sk) {
        return 0;
    }
    // SAFETY: a typed `struct sock` that is not null.
    let cookie = unsafe { bpf_get_socket_cookie(typed) };
    let sk = sock::port_socket(user_sk);
    if sock::port(sk) == 0 {
        return 0;
    }
    let Some(record) = SNAPSHOT.get_ptr_mut(0) else {
        return 0;
    };
    let net = sock::net(sk);
    let now = owners::now();
    // SAFETY: this CPU's slot; an iterator's program is not preempted by itself.
    unsafe {
        (*record).header = walk::header::<SnapshotRecord>(RecordKind::SNAPSHOT, now, 0);
        task::fill(&raw mut (*record).task, task as u64);
        (*record).task.tid = 0;
        sock::fill(&raw mut (*record).sock, sk, sock::protocol(sk));
        (*record).netns_cookie = sock::net_cookie(net);
        (*record).netns = sock::net_inum(net);
        (*record).fd = fd;
    }
    // Later passes only ask who has which socket. A subflow of MPTCP has a cookie of its own, which
    // nobody may ask here.
    if !config::snapshot_done() && sk == user_sk {
        seed(cookie, sk, task as u64, now);
    }
    // SAFETY: `meta` and its `seq` are given by the iterator.
    unsafe {
        bpf_seq_write(
            (*meta).seq.cast(),
            record.cast(),
            size_of::<SnapshotRecord>() as u32,
        );
    }
    0
}

/// Remembers who has an older socket. A hook's entry is never overwritten.
#[inline(always)]
fn seed(cookie: u64, sk: u64, task: u64, now: u64) {
    let mut owner = NOBODY;
    // SAFETY: a local.
    unsafe { task::fill_owner(&raw mut owner, task) };
    owner.seen_at = now;
    owner.origin = owners::proven_origin(sk);
    owner.source = OwnerSource::SNAPSHOT;
    owner.port = sock::port(sk);
    let made_it = task::made_file_of(task, sk);
    let new = owners::found(HookId::TASK_FILE, cookie, &owner, made_it);
    if sock::state(sk) == Sock::STATE_LISTEN && sock::protocol(sk) == sock::IPPROTO_TCP {
        owners::listens_before(sk, &owner, new);
    }
}
