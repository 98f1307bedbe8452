//! The kernel's own functions as hooks: which function tells what, its prototype, its kernels, and
//! the programs that carry it, by trampoline or by kprobe.
//!
//! `tests/offsets.rs` checks every prototype against the BTF of every kernel that has the function.
//! A function that is there may still be refused (inlined, `notrace`, a local policy), so each is
//! tried at the start, and the version decides nothing.

use super::btf::{Btf, LookupError};
use crate::report::BackendName;
use portwatch_common::Config;
use std::collections::{BTreeMap, BTreeSet};

/// Where in a function a program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// At its entry.
    Entry,
    /// When it returns.
    Exit,
}

/// One program for a function.
#[derive(Clone, Copy, Debug)]
pub struct Carrier {
    /// Name of the program.
    pub program: &'static str,
    /// Where it runs.
    pub point: Point,
}

const fn entry(program: &'static str) -> Carrier {
    Carrier {
        program,
        point: Point::Entry,
    }
}

const fn exit(program: &'static str) -> Carrier {
    Carrier {
        program,
        point: Point::Exit,
    }
}

/// A function of the kernel.
#[derive(Clone, Copy, Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Its prototype as the programs take it. `*sockaddr` is `*sockaddr_unsized` since 7.1.
    pub prototype: &'static str,
    /// The kernels that have it so.
    pub kernels: &'static str,
    /// What it does not see where a better one exists.
    pub lacks: Option<&'static str>,
    /// Its programs as trampolines (fentry, fexit), in the order in which they are attached: the exit
    /// first. Of a call between the two the entry would leave a note, and the end would count as
    /// missed though nobody listened yet.
    pub trampolines: &'static [Carrier],
    /// Its programs as kprobes (kprobe, kretprobe), in the same order.
    pub kprobes: &'static [Carrier],
}

impl Function {
    /// Its programs, by the way in which they are to be attached.
    #[must_use]
    pub fn carriers(&self, backend: BackendName) -> &'static [Carrier] {
        match backend {
            BackendName::Trampoline => self.trampolines,
            BackendName::Kprobe => self.kprobes,
            BackendName::Tracepoint => &[],
        }
    }

    /// Why the programs cannot take the function of this kernel; `None` if they can: they read its
    /// arguments and its result by their place.
    ///
    /// # Errors
    /// BTF tells nothing of it, which is no reason by itself: the kernel may have it.
    pub fn unfit(&self, btf: &Btf<'_>) -> Result<Option<String>, LookupError> {
        let found = btf.function(self.name)?;
        let found = found.to_string().replace("*sockaddr_unsized", "*sockaddr");
        let taken = self.types();
        let why = || format!("it is `{found}` here, and the program takes `{taken}`");
        Ok((found != taken).then(why))
    }

    /// The prototype without the names.
    fn types(&self) -> String {
        let mut types = String::new();
        for part in self.prototype.split_inclusive(", ") {
            match part.split_once(": ") {
                Some((name, rest)) => {
                    types.push_str(if name.starts_with('(') { "(" } else { "" });
                    types.push_str(rest);
                }
                None => types.push_str(part),
            }
        }
        types
    }
}

/// Every function of every way.
fn all() -> impl Iterator<Item = &'static Function> {
    DUTIES.iter().flat_map(|duty| duty.ways).copied().flatten()
}

/// What functions this kernel's BTF does not know.
#[must_use]
pub fn absent(btf: &Btf<'_>) -> BTreeSet<&'static str> {
    let unknown = |function: &&Function| {
        matches!(btf.function(function.name), Err(LookupError::NoFunction(_)))
    };
    all()
        .filter(unknown)
        .map(|function| function.name)
        .collect()
}

/// What functions of this kernel are not as the programs take them.
#[must_use]
pub fn unfit(btf: &Btf<'_>) -> BTreeMap<&'static str, String> {
    all()
        .filter_map(|function| match function.unfit(btf) {
            Ok(why) => Some((function.name, why?)),
            Err(LookupError::NoFunction(_)) => None,
            Err(error) => Some((function.name, error.to_string())),
        })
        .collect()
}

/// A part of what is to be told, and the functions that together tell it.
#[derive(Clone, Copy, Debug)]
pub struct Duty {
    /// Its bit in [`Config::served`].
    pub bit: u32,
    /// Bits of the duties without which it cannot be done.
    pub needs: u32,
    /// What it tells.
    pub what: &'static str,
    /// Sets of functions that tell it, the best first.
    pub ways: &'static [&'static [Function]],
}

/// Everything that functions tell. What none of the ways can do is left to the system calls' exits.
pub const DUTIES: &[Duty] = &[
    Duty {
        bit: Config::SERVED_BIND,
        needs: 0,
        what: "ports taken by bind(), binds refused for other reasons",
        ways: &[
            &[
                Function {
                    name: "inet_bind_sk",
                    prototype: "(sk: *sock, uaddr: *sockaddr, addr_len: i32) -> i32",
                    kernels: "6.6 and newer",
                    lacks: None,
                    trampolines: &[exit("fx_bind_sk"), entry("fe_bind_sk")],
                    kprobes: &[exit("kr_bind"), entry("kp_bind_sk")],
                },
                Function {
                    name: "inet6_bind_sk",
                    prototype: "(sk: *sock, uaddr: *sockaddr, addr_len: i32) -> i32",
                    kernels: "6.6 and newer",
                    lacks: None,
                    trampolines: &[exit("fx_bind6_sk"), entry("fe_bind6_sk")],
                    kprobes: &[exit("kr_bind"), entry("kp_bind_sk")],
                },
            ],
            &[
                Function {
                    name: "inet_bind",
                    prototype: "(sock: *socket, uaddr: *sockaddr, addr_len: i32) -> i32",
                    kernels: "5.8 and newer; from 6.6 on without MPTCP's subflows",
                    lacks: Some("what MPTCP's subflows bind"),
                    trampolines: &[exit("fx_bind"), entry("fe_bind")],
                    kprobes: &[exit("kr_bind"), entry("kp_bind")],
                },
                Function {
                    name: "inet6_bind",
                    prototype: "(sock: *socket, uaddr: *sockaddr, addr_len: i32) -> i32",
                    kernels: "5.8 and newer; from 6.6 on without MPTCP's subflows",
                    lacks: Some("what MPTCP's subflows bind"),
                    trampolines: &[exit("fx_bind6"), entry("fe_bind6")],
                    kprobes: &[exit("kr_bind"), entry("kp_bind")],
                },
            ],
        ],
    },
    Duty {
        bit: Config::SERVED_TCP_PORT,
        needs: 0,
        what: "bind() and listen() of TCP that find their port taken",
        ways: &[&[Function {
            name: "inet_csk_get_port",
            prototype: "(sk: *sock, snum: u16) -> i32",
            kernels: "5.8 and newer; fails with 1 up to 5.15, with -EADDRINUSE since",
            lacks: None,
            trampolines: &[exit("fx_csk_get_port")],
            kprobes: &[exit("kr_csk_get_port"), entry("kp_csk_get_port")],
        }]],
    },
    Duty {
        bit: Config::SERVED_UDP_PORT,
        // Without its note a bind() to port 0 cannot be told from an autobind.
        needs: Config::SERVED_BIND,
        what: "bind() of UDP that finds its port taken, and UDP's autobind",
        ways: &[&[
            Function {
                name: "inet_dgram_connect",
                prototype: "(sock: *socket, uaddr: *sockaddr, addr_len: i32, flags: i32) -> i32",
                kernels: "5.8 and newer",
                lacks: None,
                trampolines: &[exit("fx_dgram_connect"), entry("fe_dgram_connect")],
                kprobes: &[exit("kr_dgram_connect"), entry("kp_dgram_connect")],
            },
            Function {
                name: "udp_lib_get_port",
                prototype: "(sk: *sock, snum: u16, hash2_nulladdr: u32) -> i32",
                kernels: "5.8 and newer; fails with 1 up to 5.15, with -EADDRINUSE since",
                lacks: None,
                trampolines: &[exit("fx_udp_get_port")],
                kprobes: &[exit("kr_udp_get_port"), entry("kp_udp_get_port")],
            },
        ]],
    },
    Duty {
        bit: Config::SERVED_CONNECT,
        needs: 0,
        what: "connect() of TCP that finds no port",
        ways: &[&[
            Function {
                name: "inet_hash_connect",
                prototype: "(death_row: *inet_timewait_death_row, sk: *sock) -> i32",
                kernels: "5.8 and newer",
                lacks: None,
                trampolines: &[exit("fx_hash_connect"), entry("fe_hash_connect")],
                kprobes: &[exit("kr_hash_connect"), entry("kp_hash_connect")],
            },
            Function {
                name: "inet6_hash_connect",
                prototype: "(death_row: *inet_timewait_death_row, sk: *sock) -> i32",
                kernels: "5.8 and newer",
                lacks: None,
                trampolines: &[exit("fx_hash6_connect"), entry("fe_hash6_connect")],
                kprobes: &[exit("kr_hash_connect"), entry("kp_hash_connect")],
            },
        ]],
    },
    Duty {
        bit: Config::SERVED_RELEASE,
        needs: 0,
        what: "when TIME_WAIT or an orphan lets go of a port",
        ways: &[&[
            Function {
                name: "inet_put_port",
                prototype: "(sk: *sock) -> ()",
                kernels: "5.8 and newer",
                lacks: None,
                trampolines: &[entry("fe_put_port")],
                kprobes: &[entry("kp_put_port")],
            },
            Function {
                name: "inet_twsk_bind_unhash",
                prototype: "(tw: *inet_timewait_sock, hashinfo: *inet_hashinfo) -> ()",
                kernels: "5.8 and newer",
                lacks: None,
                trampolines: &[entry("fe_twsk_unhash")],
                kprobes: &[entry("kp_twsk_unhash")],
            },
            Function {
                name: "udp_lib_unhash",
                prototype: "(sk: *sock) -> ()",
                kernels: "5.8 and newer",
                lacks: None,
                trampolines: &[entry("fe_udp_unhash")],
                kprobes: &[entry("kp_udp_unhash")],
            },
        ]],
    },
];

/// Everything that tells who could not get a port.
pub const ALL_SERVED: u32 = Config::SERVED_BIND
    | Config::SERVED_TCP_PORT
    | Config::SERVED_UDP_PORT
    | Config::SERVED_CONNECT;

#[cfg(test)]
mod tests {
    use super::{DUTIES, Point};

    #[test]
    fn exits_are_attached_before_entries() {
        for function in DUTIES.iter().flat_map(|duty| duty.ways).copied().flatten() {
            for carriers in [function.trampolines, function.kprobes] {
                let points: Vec<_> = carriers.iter().map(|carrier| carrier.point).collect();
                let entry = points.iter().position(|point| *point == Point::Entry);
                let exit = points.iter().rposition(|point| *point == Point::Exit);
                assert!(
                    entry.zip(exit).is_none_or(|(entry, exit)| exit < entry),
                    "{}: {points:?}",
                    function.name
                );
            }
        }
    }
}
