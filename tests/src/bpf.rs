//! The few `bpf()` calls that a test makes itself: to look at what the tracer has in the kernel,
//! and to be another tool beside it.
//!
//! By the numbers of include/uapi/linux/bpf.h; no library, so that nothing is attached by accident.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result, bail};
use portwatch_common::{Counters as Row, HookId};

const MAP_LOOKUP_ELEM: libc::c_long = 1;
const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const MAP_GET_FD_BY_ID: libc::c_long = 14;
const LINK_GET_FD_BY_ID: libc::c_long = 30;

const PROG_TYPE_CGROUP_SOCK: u32 = 9;
const MAP_TYPE_PERCPU_ARRAY: &str = "6";

/// Attach type of the closing of a socket.
pub const SOCK_RELEASE: u32 = 34;

/// Something in the kernel that BPF numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// A program.
    Program(u32),
    /// A map.
    Map(u32),
    /// A link: a program's attachment.
    Link(u32),
}

impl Object {
    /// Whether the kernel still has it. Numbers are not given again soon.
    pub fn exists(self) -> Result<bool> {
        match self.open() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(|| format!("{self:?}")),
        }
    }

    fn open(self) -> io::Result<OwnedFd> {
        let (command, id) = match self {
            Self::Program(id) => (PROG_GET_FD_BY_ID, id),
            Self::Map(id) => (MAP_GET_FD_BY_ID, id),
            Self::Link(id) => (LINK_GET_FD_BY_ID, id),
        };
        descriptor(call(command, &mut [id, 0, 0, 0])?)
    }
}

/// What a process has in the kernel, and the counters of portwatch among it.
#[derive(Debug, Default)]
pub struct Objects {
    /// Everything.
    pub all: BTreeSet<Object>,
    counters: Vec<u32>,
}

impl Objects {
    /// By the process's open descriptors.
    pub fn of(pid: u32) -> Result<Self> {
        let mut objects = Self::default();
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
            // A descriptor may have been closed meanwhile.
            let Ok(text) = fs::read_to_string(entry?.path()) else {
                continue;
            };
            let value = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name))?;
                Some(line.trim_start_matches(':').trim().to_owned())
            };
            let number = |name: &str| value(name)?.parse().ok();
            objects.all.extend(number("prog_id").map(Object::Program));
            objects.all.extend(number("link_id").map(Object::Link));
            if let Some(id) = number("map_id") {
                objects.all.insert(Object::Map(id));
                let per_cpu = value("map_type").as_deref() == Some(MAP_TYPE_PERCPU_ARRAY);
                if per_cpu && number("value_size") == u32::try_from(size_of::<Row>()).ok() {
                    objects.counters.push(id);
                }
            }
        }
        Ok(objects)
    }

    /// A hold on the counters, which outlive the tracer by it.
    pub fn counters(&self) -> Result<Counters> {
        let [id] = self.counters.as_slice() else {
            bail!("not one map of counters: {:?}", self.counters);
        };
        let cpus = fs::read_to_string("/sys/devices/system/cpu/possible")?;
        let last = cpus.trim().rsplit(['-', ',']).next().unwrap_or_default();
        Ok(Counters {
            map: Object::Map(*id).open()?,
            cpus: last.parse::<usize>()? + 1,
        })
    }
}

/// The kernel side's counters.
#[derive(Debug)]
pub struct Counters {
    map: OwnedFd,
    cpus: usize,
}

impl Counters {
    /// One of them, all hooks and CPUs together.
    pub fn get(&self, counter: u32) -> Result<u64> {
        (0..HookId::COUNT).map(|hook| self.at(hook, counter)).sum()
    }

    /// One of them at one hook, all CPUs together.
    pub fn at(&self, hook: u32, counter: u32) -> Result<u64> {
        let mut rows = vec![Row::default(); self.cpus];
        let [key_low, key_high] = halves((&raw const hook).addr());
        let [value_low, value_high] = halves(rows.as_mut_ptr().addr());
        let map = u32::try_from(self.map.as_raw_fd())?;
        let mut attributes = [map, 0, key_low, key_high, value_low, value_high, 0, 0];
        call(MAP_LOOKUP_ELEM, &mut attributes)?;
        let counter = usize::try_from(counter)?;
        Ok(rows.iter().map(|row| row.values[counter]).sum())
    }
}

/// A program that lets every socket close.
pub fn load_allowing_sock_release() -> Result<OwnedFd> {
    // r0 = 1; exit
    let code: [u64; 2] = [0x0000_0001_0000_00b7, 0x0000_0000_0000_0095];
    let license = c"GPL";
    let [code_low, code_high] = halves(code.as_ptr().addr());
    let [license_low, license_high] = halves(license.as_ptr().addr());
    let mut attributes = [0_u32; 18];
    attributes[..6].copy_from_slice(&[
        PROG_TYPE_CGROUP_SOCK,
        2,
        code_low,
        code_high,
        license_low,
        license_high,
    ]);
    // `expected_attach_type`, behind the log, the version, the flags, the name and the interface.
    attributes[17] = SOCK_RELEASE;
    let program = call(PROG_LOAD, &mut attributes).context("the program was refused")?;
    Ok(descriptor(program)?)
}

/// BPF_PROG_ATTACH without a flag: nobody else may attach to the same hook of this cgroup.
pub fn attach_exclusively(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    attach_type: u32,
) -> Result<()> {
    let number = |fd: BorrowedFd<'_>| u32::try_from(fd.as_raw_fd());
    let mut attributes = [number(cgroup)?, number(program.as_fd())?, attach_type, 0];
    call(PROG_ATTACH, &mut attributes).context("the cgroup refused the program")?;
    Ok(())
}

/// Low and high word of an address, as `bpf_attr` has them.
fn halves(address: usize) -> [u32; 2] {
    let bytes = (address as u64).to_le_bytes();
    let [a, b, c, d, e, f, g, h] = bytes;
    [
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
    ]
}

fn descriptor(number: libc::c_long) -> io::Result<OwnedFd> {
    let number = i32::try_from(number).map_err(io::Error::other)?;
    // SAFETY: the kernel just gave it to us, and to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// `bpf()`; the attributes' pointers must be valid for what the command does with them.
fn call(command: libc::c_long, attributes: &mut [u32]) -> io::Result<libc::c_long> {
    // SAFETY: the attributes are as long as told; the callers in this module give pointers to
    // buffers that live longer than the call.
    let answer = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes.as_mut_ptr(),
            size_of_val(attributes),
        )
    };
    if answer < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(answer)
}
