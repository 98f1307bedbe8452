//! What a call began with, kept until it ends: a return probe has no arguments, and a function
//! deeper in the call wants to know what the caller asked for.

use crate::{maps::NOTES, stats};
use portwatch_common::Counter;

/// A task and the function it is in.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Key {
    task: u64,
    function: u64,
}

/// The arguments that matter.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Note {
    /// The `struct sock`.
    pub(crate) sk: u64,
    /// An address or a number, by the function.
    pub(crate) argument: u64,
    /// Not 0 where a return probe ends it that tells something. It may not run, and nobody but us
    /// counts that.
    pub(crate) probed: u64,
}

/// Functions that leave notes.
pub(crate) mod function {
    /// `inet_bind_sk`, `inet_bind` and their IPv6 twins; the argument is the `struct sockaddr` in the
    /// kernel's memory.
    pub(crate) const BIND: u64 = 1;
    /// `inet_dgram_connect`; the argument is the `struct sockaddr` in the kernel's memory.
    pub(crate) const DGRAM_CONNECT: u64 = 2;
    /// `inet_csk_get_port`; the argument is the wanted port.
    pub(crate) const CSK_GET_PORT: u64 = 3;
    /// `udp_lib_get_port`; the argument is the wanted port.
    pub(crate) const UDP_GET_PORT: u64 = 4;
    /// `inet_hash_connect` and `inet6_hash_connect`; the argument is the port before the call.
    pub(crate) const HASH_CONNECT: u64 = 5;
    /// A system call, where its end cannot read the saved registers; the first argument stands where
    /// the socket would.
    pub(crate) const SYSTEM_CALL: u64 = 6;
}

/// A call of the hook begins. An LRU map gives its oldest note up for this one; where it cannot, that
/// is counted.
#[inline(always)]
pub(crate) fn begin(hook: u32, function: u64, task: u64, sk: u64, argument: u64) {
    put(
        hook,
        function,
        task,
        Note {
            sk,
            argument,
            probed: 0,
        },
    );
}

/// The same of one that a return probe ends, which tells something.
#[inline(always)]
pub(crate) fn begin_probed(hook: u32, function: u64, task: u64, sk: u64, argument: u64) {
    put(
        hook,
        function,
        task,
        Note {
            sk,
            argument,
            probed: 1,
        },
    );
}

#[inline(always)]
fn put(hook: u32, function: u64, task: u64, note: Note) {
    if NOTES.insert(Key { task, function }, note, 0).is_err() {
        stats::lose(hook, Counter::NOTES_FULL);
    }
}

/// The call that the task is in, if it is in that function; or an older one whose end was missed.
#[inline(always)]
pub(crate) fn inside(function: u64, task: u64) -> *const Note {
    NOTES.get_ptr(Key { task, function }).unwrap_or_default()
}

/// The call that the task is in with this socket. A note of another socket is of a call whose end was
/// missed: nothing of it may be said of this one.
#[inline(always)]
pub(crate) fn of(function: u64, task: u64, sk: u64) -> *const Note {
    let note = inside(function, task);
    // SAFETY: a value of our own map.
    if note.is_null() || unsafe { (*note).sk } != sk {
        return core::ptr::null();
    }
    note
}

/// The call ends.
#[inline(always)]
pub(crate) fn end(function: u64, task: u64) {
    let _ = NOTES.remove(Key { task, function });
}
