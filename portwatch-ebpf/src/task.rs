//! The current task, as far as it matters: its thread-group leader.
//!
//! Taken from the task and not from the `bpf_get_current_*` helpers: those are refused in sock_ops
//! on 6.1 and name the thread, which is not what a user calls the process.

use crate::{
    config::{self, features, off},
    registers::{self, Registers},
    sock::{self, read},
};
use aya_ebpf::helpers::generated::{
    bpf_get_current_task, bpf_get_current_task_btf, bpf_probe_read_kernel,
};
use core::ffi::c_void;
use portwatch_common::{Owner, Task};

/// `task_struct` of the current task.
#[inline(always)]
pub(crate) fn current() -> u64 {
    // SAFETY: helpers without arguments.
    unsafe {
        if features::task_btf() {
            bpf_get_current_task_btf() as u64
        } else {
            bpf_get_current_task()
        }
    }
}

/// Thread-group id in the initial pid namespace.
#[inline(always)]
pub(crate) fn tgid(task: u64) -> u32 {
    read(task, off!(task_tgid))
}

/// Network namespace.
#[inline(always)]
pub(crate) fn net(task: u64) -> u64 {
    let proxy: u64 = read(task, off!(task_nsproxy));
    read(proxy, off!(nsproxy_net))
}

/// `PF_KTHREAD` (include/linux/sched.h).
const KERNEL_THREAD: u32 = 0x0020_0000;

/// `PF_EXITING` (include/linux/sched.h).
const EXITING: u32 = 0x4;

/// The task is on its way out (kernel/exit.c:do_exit).
#[inline(always)]
pub(crate) fn is_exiting(task: u64) -> bool {
    read::<u32>(task, off!(task_flags)) & EXITING != 0
}

/// A process that closes a descriptor of its own. The last reference to a file is dropped by
/// whoever had it last: a kernel thread (fs/file_table.c:delayed_fput, net/unix/garbage.c),
/// portwatch, whose descriptor iterator holds each file while it looks at it, or any program that
/// looks into /proc/PID/fd and fdinfo (fs/proc/fd.c). The latter shows in the system call.
#[inline(always)]
pub(crate) fn may_have_had_files(task: u64) -> bool {
    /// `PF_IO_WORKER` (include/linux/sched.h).
    const IO_WORKER: u32 = 0x10;
    let flags: u32 = read(task, off!(task_flags));
    if flags & KERNEL_THREAD != 0 || tgid(task) == config::own_tgid() {
        return false;
    }
    flags & (EXITING | IO_WORKER) != 0 || in_closing_call()
}

/// Numbers of x86-64's system calls, as a set of bits.
static CLOSING_CALLS: [u64; 8] = set(&[
    1, 20, 3, // write, writev, close
    7, 23, 270, 271, // poll, select, pselect6, ppoll
    33, 292, 436, // dup2, dup3, close_range
    42, 43, 48, 288, // connect, accept, shutdown, accept4
    44, 45, 46, 47, 299, 307, // sendto, recvfrom, sendmsg, recvmsg, recvmmsg, sendmmsg
    59, 60, 231, 322, // execve, exit, exit_group, execveat
    426, // io_uring_enter
]);

/// The same of arm64 (include/uapi/asm-generic/unistd.h).
static CLOSING_CALLS_GENERIC: [u64; 8] = set(&[
    64, 66, 57, // write, writev, close
    72, 73, // pselect6, ppoll
    24, 436, // dup3, close_range
    203, 202, 210, 242, // connect, accept, shutdown, accept4
    206, 207, 211, 212, 243, 269, // sendto, recvfrom, sendmsg, recvmsg, recvmmsg, sendmmsg
    221, 281, 93, 94,  // execve, execveat, exit, exit_group
    426, // io_uring_enter
]);

const fn set(numbers: &[u64]) -> [u64; 8] {
    let mut words = [0; 8];
    let mut at = 0;
    while at < numbers.len() {
        words[(numbers[at] >> 6) as usize] |= 1 << (numbers[at] & 63);
        at += 1;
    }
    words
}

/// The current system call closes descriptors, or waits at a socket that another thread closes
/// meanwhile. `read` is not among them: it is how /proc and iterators are looked at.
#[inline(always)]
fn in_closing_call() -> bool {
    // Without the registers nobody is named for a close, rather than the wrong one.
    if !features::task_pt_regs() {
        return false;
    }
    let number = Registers::current().number();
    // One look into a set instead of a comparison for each: the verifier follows every branch.
    let word = (number >> 6) as usize;
    if word >= CLOSING_CALLS.len() {
        return false;
    }
    let calls = if registers::is_x86() {
        CLOSING_CALLS[word]
    } else {
        CLOSING_CALLS_GENERIC[word]
    };
    calls >> (number & 63) & 1 != 0
}

/// This is the last thread of its group (kernel/exit.c:do_exit decrements `signal->live` before
/// the tracepoint).
#[inline(always)]
pub(crate) fn group_is_dead(task: u64) -> bool {
    let signal: u64 = read(task, off!(task_signal));
    let live: u32 = read(signal, off!(signal_live));
    live == 0
}

/// The process made the file of an open socket: fork() gives every process credentials of its own,
/// which its threads share (kernel/cred.c:copy_creds), and a file keeps those it was made with. False
/// proves nothing: setuid() and exec() change a process's.
#[inline(always)]
pub(crate) fn made_file_of(task: u64, sk: u64) -> bool {
    let cred: u64 = read(task, off!(task_cred));
    cred != 0 && cred == sock::opener_cred(sk)
}

/// This is the process of an entry.
///
/// # Safety
/// `owner` is valid for reads.
#[inline(always)]
pub(crate) unsafe fn is(task: u64, owner: *const Owner) -> bool {
    // SAFETY: the caller's promise.
    unsafe { tgid(task) == (*owner).tgid && started(task) == (*owner).start_time }
}

/// Whom a process may have a socket from.
#[derive(Clone, Copy)]
pub(crate) enum Ancestor<'a> {
    /// The process of this entry.
    Is(&'a Owner),
    /// Whoever made the socket's file.
    Made(u64),
}

/// A parent is the one that is looked for, or a parent's parent. Whose parent has ended is a child of
/// somebody else by now, which proves nothing.
#[inline(always)]
pub(crate) fn descends_from(task: u64, ancestor: Ancestor<'_>) -> bool {
    const GENERATIONS: u32 = 4;
    let mut leader: u64 = read(task, off!(task_group_leader));
    for _ in 0..GENERATIONS {
        let parent: u64 = read(leader, off!(task_real_parent));
        let found = match ancestor {
            // SAFETY: an entry of a map, which stays mapped.
            Ancestor::Is(owner) => unsafe { is(parent, owner) },
            Ancestor::Made(sk) => made_file_of(parent, sk),
        };
        if found {
            return true;
        }
        leader = read(parent, off!(task_group_leader));
    }
    false
}

/// A thread of the kernel.
#[inline(always)]
pub(crate) fn is_kernel_thread(task: u64) -> bool {
    read::<u32>(task, off!(task_flags)) & KERNEL_THREAD != 0
}

/// When the leader was started, CLOCK_BOOTTIME nanoseconds.
#[inline(always)]
pub(crate) fn started(task: u64) -> u64 {
    let leader: u64 = read(task, off!(task_group_leader));
    read(leader, off!(task_start_boottime))
}

/// Effective uid in the initial user namespace.
#[inline(always)]
fn euid(task: u64) -> u32 {
    let cred: u64 = read(task, off!(task_cred));
    read(cred, off!(cred_euid))
}

/// cgroup v2 id.
#[inline(always)]
fn cgroup(task: u64) -> u64 {
    let set: u64 = read(task, off!(task_cgroups));
    let group: u64 = read(set, off!(css_set_dfl_cgrp));
    let node: u64 = read(group, off!(cgroup_kn));
    read(node, off!(kernfs_node_id))
}

/// Writes every field of `to`.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn fill(to: *mut Task, task: u64) {
    let leader: u64 = read(task, off!(task_group_leader));
    let parent: u64 = read(leader, off!(task_real_parent));
    // SAFETY: the caller's promise.
    unsafe {
        (*to).tgid = tgid(task);
        (*to).tid = read(task, off!(task_pid));
        (*to).ppid = tgid(parent);
        (*to).uid = euid(task);
        (*to).start_time = read(leader, off!(task_start_boottime));
        (*to).cgroup = cgroup(task);
        comm(&raw mut (*to).comm, leader);
    }
}

/// Writes the process of `to` and leaves the rest of it alone.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
pub(crate) unsafe fn fill_owner(to: *mut Owner, task: u64) {
    let leader: u64 = read(task, off!(task_group_leader));
    // SAFETY: the caller's promise.
    unsafe {
        comm(&raw mut (*to).comm, leader);
        (*to).start_time = read(leader, off!(task_start_boottime));
        (*to).cgroup = cgroup(task);
        (*to).tgid = tgid(task);
        (*to).uid = euid(task);
    }
}

/// Writes every field of `to` from what is remembered; all zeros if that is nobody.
///
/// # Safety
/// `from` is valid for reads, `to` for writes.
#[inline(always)]
pub(crate) unsafe fn fill_from_owner(to: *mut Task, from: *const Owner) {
    // SAFETY: the caller's promise.
    unsafe {
        (*to).tgid = (*from).tgid;
        (*to).tid = (*from).tgid;
        (*to).ppid = 0;
        (*to).uid = (*from).uid;
        (*to).start_time = (*from).start_time;
        (*to).cgroup = (*from).cgroup;
        (*to).comm[0] = (*from).comm[0];
        (*to).comm[1] = (*from).comm[1];
    }
}

/// Name of a leader.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
unsafe fn comm(to: *mut [u64; 2], leader: u64) {
    let from = leader.wrapping_add(u64::from(off!(task_comm))) as *const c_void;
    // SAFETY: the caller's promise; the helper zeroes the destination on a fault.
    unsafe { bpf_probe_read_kernel(to.cast(), 16, from) };
}
