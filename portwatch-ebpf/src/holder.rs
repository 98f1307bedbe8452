//! One socket that has a port, as a record tells it: the socket, its bucket, who took it.

use crate::{
    config::features,
    maps::{OWNERS, PAST},
    owners::{self, NOBODY},
    sock,
    walk::header,
};
use aya_ebpf::helpers::generated::bpf_snprintf;
use portwatch_common::{HolderRecord, Owner, OwnerSource, RecordKind, Sock};

/// What a holder record tells of its bucket; zeros for UDP.
#[derive(Clone, Copy)]
pub(crate) struct Bucket {
    pub(crate) l3mdev: u32,
    pub(crate) fastreuse: i8,
    pub(crate) fastreuseport: i8,
}

/// Writes a holder record with its owner.
///
/// # Safety
/// `to` is valid for writes; every byte is written.
#[inline(always)]
pub(crate) unsafe fn fill(
    to: *mut HolderRecord,
    sk: u64,
    protocol: u16,
    bucket: Bucket,
    time: u64,
    id: u64,
) {
    // SAFETY: the caller's promise.
    unsafe {
        fill_without_owner(to, sk, protocol, bucket, time, id);
        let cookie = (*to).sock.cookie;
        owner(to, sk, cookie, protocol);
        (*to).accepted_at = owners::accepted_at(cookie);
        // One of the kernel's is not always marked (net/core/sock.c:sk_net_refcnt_upgrade).
        let flags = (*to).sock.flags;
        let no_file =
            flags & (Sock::FLAG_HAS_SOCKET | Sock::FLAG_HAS_FILE) == Sock::FLAG_HAS_SOCKET;
        if (flags & Sock::FLAG_KERNEL != 0 || no_file) && features::snprintf() {
            kernel_function(&raw mut (*to).kernel_function, sk, protocol);
        }
    }
}

/// `%ps`: the name of a function, with its module's in brackets. A string of the frozen .rodata, as
/// `bpf_snprintf` wants it.
#[unsafe(no_mangle)]
static SYMBOL: [u8; 4] = *b"%ps\0";

/// Writes the function that the kernel calls for what arrives at a socket: set by whoever opened it.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
unsafe fn kernel_function(to: *mut [u64; 6], sk: u64, protocol: u16) {
    let function = sock::receiver(sk, protocol);
    if function == 0 {
        return;
    }
    // SAFETY: the caller's promise, a string that ends, and a local of the size that is told.
    unsafe {
        bpf_snprintf(
            to.cast(),
            size_of::<[u64; 6]>() as u32,
            (&raw const SYMBOL).cast(),
            (&raw const function).cast_mut().cast(),
            size_of::<u64>() as u32,
        );
        // A kernel without names tells the address, which is nobody's business.
        if to.cast::<u8>().read_volatile() == b'0' {
            no_function(to);
        }
    }
}

/// # Safety
/// `to` is valid for writes.
#[inline(always)]
unsafe fn no_function(to: *mut [u64; 6]) {
    let words: *mut u64 = to.cast();
    // SAFETY: the caller's promise; one by one, since a loop becomes a call to `memset`.
    unsafe {
        words.write_volatile(0);
        words.add(1).write_volatile(0);
        words.add(2).write_volatile(0);
        words.add(3).write_volatile(0);
        words.add(4).write_volatile(0);
        words.add(5).write_volatile(0);
    }
}

/// Writes a holder record whose owner user space looks up: the lookups here, in a program that has
/// many ways to this place, would cost the verifier seconds.
///
/// # Safety
/// `to` is valid for writes; every byte is written.
#[inline(always)]
pub(crate) unsafe fn fill_without_owner(
    to: *mut HolderRecord,
    sk: u64,
    protocol: u16,
    bucket: Bucket,
    time: u64,
    id: u64,
) {
    // SAFETY: the caller's promise.
    unsafe {
        (*to).header = header::<HolderRecord>(RecordKind::HOLDER, time, id);
        sock::fill(&raw mut (*to).sock, sk, protocol);
        (*to).l3mdev = bucket.l3mdev;
        // A kernel that notes connect() in the socket gives a bucket its -1 back when its bound
        // sockets are gone, whatever else is left (6.18, inet_hashtables.c:
        // inet_bind_bucket_destroy): there the bucket proves nothing of an accepted connection.
        let connected = (*to).sock.flags & Sock::FLAG_CONNECT_BIND != 0;
        (*to).fastreuse = if sock::has_connect_bind() && !connected {
            0
        } else {
            bucket.fastreuse
        };
        (*to).fastreuseport = bucket.fastreuseport;
        (*to).bound_bucket = u8::from(
            protocol == sock::IPPROTO_TCP && (bucket.fastreuse >= 0 || bucket.fastreuseport >= 0),
        );
        (*to).pad = [0; 5];
        (*to).accepted_at = 0;
        no_function(&raw mut (*to).kernel_function);
        copy_owner(&raw mut (*to).owner, &NOBODY);
        (*to).owner_source = u32::from(OwnerSource::NONE);
    }
}

/// Writes who took a socket, and where that comes from. Each map's value is copied where it was found:
/// kept until the end, they would be as many states for the verifier to go on with.
///
/// # Safety
/// `to` is valid for writes.
#[inline(always)]
unsafe fn owner(to: *mut HolderRecord, sk: u64, cookie: u64, protocol: u16) {
    // SAFETY: map values that stay mapped; the caller's promise for `to`.
    unsafe {
        let source = &raw mut (*to).owner_source;
        let owner = &raw mut (*to).owner;
        if cookie != 0 {
            if let Some(found) = OWNERS.get_ptr(cookie) {
                copy_owner(owner, found);
                source.write_volatile(u32::from((*found).source));
                return;
            }
            if let Some(found) = PAST.get_ptr(cookie) {
                copy_owner(owner, found);
                source.write_volatile(u32::from((*found).source));
                return;
            }
        }
        // A connection that nobody remembers: one that a listener accepted has no entry until it is
        // closed, and none at all if it was in TIME_WAIT by then.
        let may_be_accepted = !matches!(
            sock::state(sk),
            Sock::STATE_LISTEN | Sock::STATE_CLOSE | Sock::STATE_SYN_SENT
        );
        if may_be_accepted && protocol == sock::IPPROTO_TCP {
            let found = owners::last_listener(cookie, sk);
            if !found.is_null() {
                copy_owner(owner, found);
                source.write_volatile(u32::from(OwnerSource::LAST_LISTENER));
                return;
            }
        }
        copy_owner(owner, &NOBODY);
        source.write_volatile(u32::from(OwnerSource::NONE));
    }
}

/// Copies word by word: a whole copy becomes a call to a byte-wise `memmove`.
///
/// # Safety
/// `from` is valid for reads, `to` for writes.
#[inline(always)]
pub(crate) unsafe fn copy_owner(to: *mut Owner, from: *const Owner) {
    // SAFETY: the caller's promise.
    unsafe {
        (*to).comm[0] = (*from).comm[0];
        (*to).comm[1] = (*from).comm[1];
        (*to).start_time = (*from).start_time;
        (*to).taken_at = (*from).taken_at;
        (*to).seen_at = (*from).seen_at;
        (*to).released_at = (*from).released_at;
        (*to).cgroup = (*from).cgroup;
        (*to).tgid = (*from).tgid;
        (*to).uid = (*from).uid;
        (*to).origin = (*from).origin;
        (*to).source = (*from).source;
        (*to).port = (*from).port;
        (*to).unproven = (*from).unproven;
    }
}
