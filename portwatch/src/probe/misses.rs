//! Runs of our programs that the kernel left out: while one runs, the same CPU does not enter it
//! again for a task that preempts it (kernel/bpf/trampoline.c:__bpf_prog_enter_recur), and no kprobe
//! or tracepoint program at all inside another or inside a system call on a BPF map
//! (kernel/trace/bpf_trace.c:trace_call_bpf, kernel/bpf/syscall.c:bpf_disable_instrumentation, counted
//! since Linux 6.2). What such a run would have told is lost, and no program of ours can count it.

use super::attach::Attached;
use crate::report::LostCount;
use aya::Ebpf;
use aya::programs::ProgramFd;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};

/// The kernel's counter, in `/proc/self/fdinfo/FD` of a program (Linux 5.12).
const FIELD: &str = "recursion_misses:";

/// The programs and what was told of each.
#[derive(Debug, Default)]
pub struct Misses(Vec<Program>);

#[derive(Debug)]
struct Program {
    /// The hook, as the start line names it.
    hook: String,
    /// Keeps the number ours, whatever becomes of the object.
    fd: ProgramFd,
    told: u64,
}

impl Misses {
    /// Watches every program that is attached. One whose descriptor cannot be doubled is left out.
    #[must_use]
    pub fn of(ebpf: &Ebpf, attached: &Attached) -> Self {
        let mut programs = Vec::new();
        for (program, hook) in attached.programs() {
            let fd = ebpf
                .program(program)
                .and_then(|program| program.fd().ok()?.try_clone().ok());
            if let Some(fd) = fd {
                programs.push(Program {
                    hook: hook.to_owned(),
                    fd,
                    told: 0,
                });
            }
        }
        Self(programs)
    }

    /// What was missed since the last call; `None` if nothing was.
    pub fn since(&mut self) -> Option<LostCount> {
        let mut hooks: BTreeMap<String, u64> = BTreeMap::new();
        for program in &mut self.0 {
            let Some(now) = misses(program.fd.as_fd().as_raw_fd()) else {
                continue;
            };
            let new = now.saturating_sub(program.told);
            program.told = now;
            if new > 0 {
                let count = hooks.entry(program.hook.clone()).or_default();
                *count = count.saturating_add(new);
            }
        }
        let count = hooks
            .values()
            .fold(0, |sum: u64, count| sum.saturating_add(*count));
        (count > 0).then(|| LostCount {
            hooks,
            ..LostCount::new(
                "missed",
                count,
                "calls that a hook did not look at, because it was at work on that processor \
                 already: what they came to is not told",
            )
        })
    }
}

/// The counter of one of our own programs; `None` where the kernel does not show it.
fn misses(program: RawFd) -> Option<u64> {
    let mut text = String::new();
    File::open(format!("/proc/self/fdinfo/{program}"))
        .ok()?
        .read_to_string(&mut text)
        .ok()?;
    counter(&text)
}

fn counter(fdinfo: &str) -> Option<u64> {
    fdinfo
        .lines()
        .find_map(|line| line.strip_prefix(FIELD))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::counter;

    #[test]
    fn the_counter_is_found_in_what_the_kernel_prints() {
        let text = "pos:\t0\nflags:\t02000002\nprog_type:\t26\nprog_jited:\t1\nprog_tag:\t2f\n\
                    memlock:\t4096\nprog_id:\t77\nrun_time_ns:\t0\nrun_cnt:\t0\n\
                    recursion_misses:\t31\nverified_insns:\t2310\n";
        assert_eq!(counter(text), Some(31));
        // Linux 5.8 to 5.11.
        assert_eq!(counter("pos:\t0\nprog_type:\t26\n"), None);
    }
}
