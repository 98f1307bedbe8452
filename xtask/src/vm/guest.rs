//! What runs inside: the guest's init, and the job.

use std::fmt::Write as _;

use clap::ValueEnum;

use super::{Suites, kernel::Kernel};
use crate::machine;

/// Stands before each line of the console that is meant for us.
pub(super) const MARK: &str = "portwatch-vm: ";

/// The kernel's command line. The timer's check fails under emulation, and the entropy of a machine
/// that does nothing comes too late.
pub(super) const COMMAND_LINE: &str = "console=ttyS0 loglevel=3 panic=-1 mitigations=off no_timer_check random.trust_cpu=on systemd.show_status=no";

/// The host's root, as the guest may see it.
pub(super) const SHARE: &str =
    "local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap";

/// What the kernel runs, in the first root, to load a module that somebody asks for (sock_diag, VXLAN).
pub(super) const MODPROBE: &str =
    "#!/bin/busybox sh\nexec /bin/busybox chroot /root /sbin/modprobe \"$@\"\n";

/// How many times longer than on a real machine things take at most.
const PATIENCE: u32 = 12;

/// What `cargo xtask test` runs of the kernel suite on each kernel with each backend. A start of the
/// tracer takes a quarter of a minute there, nearly all of it the emulated verifier, so few tests have
/// to prove much: every made holder found and named, whichever came first, and whatever differs between
/// the backends.
const CHOSEN: [&str; 6] = [
    "together::",
    "other_ways::",
    "let_go::",
    "missed::a_crowd_in_one_function",
    "backends::the_backend_that_was_asked_for",
    "backends::what_the_oldest_kernel_lacks",
];

/// With the first backend only: what needs modules that few other machines have, and what all backends
/// do alike.
const CHOSEN_ONCE: [&str; 3] = [
    "kernel_sockets::",
    "refused_hooks::the_functions_of_tcp",
    "refused_hooks::the_trampolines_of_two",
];

/// Of the kernel suite, what is run once more where the kernel preempts itself anywhere.
const MISSED: &str = "missed::whatever_is_not_told_is_counted";

/// How the guest preempts itself. By itself that is not everywhere; beside other tests it stays so,
/// since a hook that misses a call is a loss there that no test expects.
const PREEMPTION: &str = "/sys/kernel/debug/sched/preempt";

/// The founding case with real programs, of the suite `real`, and what needs a machine whose first
/// process is systemd.
const FOUNDING: [&str; 3] = ["python::flask_against", "nginx::five_tries", "systemd::"];

/// Which of portwatch's backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// BPF trampolines.
    Trampoline,
    /// Kprobes.
    Kprobe,
    /// Tracepoints.
    Tracepoint,
}

impl Backend {
    /// All of them.
    pub(crate) const ALL: &[Self] = &[Self::Trampoline, Self::Kprobe, Self::Tracepoint];

    fn name(self) -> &'static str {
        match self {
            Self::Trampoline => "trampoline",
            Self::Kprobe => "kprobe",
            Self::Tracepoint => "tracepoint",
        }
    }
}

/// How much of the suite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All of it.
    Whole,
    /// What fits into a run of CI.
    Chosen,
    /// Only the founding case with real programs, which have to be installed.
    Founding,
    /// Tests by name.
    Only(Vec<String>),
}

/// The guest's first program.
pub(super) fn init(kernel: &Kernel) -> String {
    let modules = quote(&kernel.modules().to_string_lossy());
    let release = &kernel.release;
    format!(
        r#"#!/bin/busybox sh
# Written by `cargo xtask vm`.
b=/bin/busybox
die() {{ echo "{MARK}$1"; $b poweroff -f; }}
$b mkdir -p /proc /sys /dev /host /rw /root
$b mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
for module in $($b cat /modules/order); do
    $b insmod "/modules/$module" || die "no module $module"
done
$b mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=512000 host /host ||
    die "the host's root cannot be mounted"
$b mount -t tmpfs -o size=2G rw /rw
$b mkdir /rw/upper /rw/work
$b mount -t overlay -o lowerdir=/host,upperdir=/rw/upper,workdir=/rw/work root /root ||
    die "no overlay"
r=/root
$b mount -t proc proc $r/proc
$b mount -t sysfs sys $r/sys
$b mount -t devtmpfs dev $r/dev
$b mkdir -p $r/dev/pts $r/dev/shm
$b mount -t devpts pts $r/dev/pts
$b mount -t tmpfs shm $r/dev/shm
$b mount -t tmpfs run $r/run
$b mount -t cgroup2 cgroup2 $r/sys/fs/cgroup
$b mount -t bpf bpf $r/sys/fs/bpf
$b mount -t tracefs tracefs $r/sys/kernel/tracing
$b mount -t debugfs debugfs $r/sys/kernel/debug
$b mount -t securityfs securityfs $r/sys/kernel/security
$b mkdir -p "$r/lib/modules/{release}"
$b mount --bind "/host"{modules} "$r/lib/modules/{release}"
$b ip link set lo up
$b hostname guest
$b cp /job $r/run/job
echo "{MARK}booted $($b uname -r)"
if [ -x "$r{SYSTEMD}" ]; then
    units=$r/run/systemd/system
    $b mkdir -p $units
    $b cp /{UNIT} $units/
    exec $b chroot $r {SYSTEMD} --unit={UNIT} --show-status=no --log-level=warning
fi
$b chroot $r /bin/sh /run/job
echo "{MARK}done"
$b sync
$b poweroff -f
"#
    )
}

/// The first process of a Debian system.
const SYSTEMD: &str = "/lib/systemd/systemd";

/// Runs the job where systemd is installed.
pub(super) const UNIT: &str = "portwatch-job.service";

/// The text of [`UNIT`]. It goes to the console as the job does without systemd.
pub(super) fn unit() -> String {
    format!(
        "[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nTimeoutSec=infinity\n\
         StandardInput=null\nStandardOutput=file:/dev/console\nStandardError=file:/dev/console\n\
         ExecStart=/bin/sh -c 'sh /run/job; echo {MARK}done; sync; systemctl poweroff -ff'\n"
    )
}

/// What is run in the host's root.
pub(super) fn job(suites: &Suites, backends: &[Backend], extent: &Extent) -> String {
    // As many descriptors as a host gives to root: some tests make crowds.
    let mut job = String::from(
        "export HOME=/root LC_ALL=C.UTF-8 TMPDIR=/tmp\nulimit -n 1048576 || ulimit -n 65536\n",
    );
    for (name, value) in [
        ("PATH", machine::path_with_sbin()),
        ("PORTWATCH_BIN", suites.portwatch.to_string_lossy().into()),
        ("PORTWATCH_TEST_PATIENCE", PATIENCE.to_string()),
        ("RUST_BACKTRACE", "0".to_owned()),
    ] {
        let _ = writeln!(job, "export {name}={}", quote(&value));
    }
    let tests = machine::workspace().join("tests");
    let _ = writeln!(job, "cd {}", quote(&tests.to_string_lossy()));
    let (kernel, real) = match extent {
        Extent::Whole => (Some(Vec::new()), Some(FOUNDING.to_vec())),
        Extent::Chosen => (Some(CHOSEN.to_vec()), None),
        Extent::Founding => (None, Some(FOUNDING.to_vec())),
        Extent::Only(tests) => {
            let names: Vec<&str> = tests.iter().map(String::as_str).collect();
            (Some(names.clone()), Some(names))
        }
    };
    for (number, backend) in backends.iter().enumerate() {
        let name = backend.name();
        let once: &[&str] = match extent {
            Extent::Chosen if number == 0 => &CHOSEN_ONCE,
            Extent::Chosen | Extent::Whole | Extent::Founding | Extent::Only(_) => &[],
        };
        let _ = writeln!(job, "export PORTWATCH_BACKEND={name}");
        // Of the others the kernel has counted what they miss since Linux 6.2 only.
        let preempted = *backend == Backend::Trampoline
            && match extent {
                Extent::Whole | Extent::Chosen => true,
                Extent::Founding => false,
                Extent::Only(tests) => tests.iter().any(|test| test == MISSED),
            };
        if preempted {
            let runner = quote(&suites.kernel.to_string_lossy());
            let _ = write!(
                job,
                "cat {PREEMPTION}; echo full >{PREEMPTION}\n\
                 {runner} --show-output --color never {MISSED}\n\
                 echo \"{MARK}kernel suite fully preempted, {name} status $?\"\n\
                 echo voluntary >{PREEMPTION}\n"
            );
        }
        for (suite, runner, filters) in [
            ("kernel", &suites.kernel, &kernel),
            ("real", &suites.real, &real),
        ] {
            let Some(filters) = filters else { continue };
            let filters: String = filters
                .iter()
                .chain(once)
                .map(|filter| format!(" {}", quote(filter)))
                .collect();
            let runner = quote(&runner.to_string_lossy());
            let _ = write!(
                job,
                "{runner} --test-threads=2 --show-output --color never{filters}\n\
                 echo \"{MARK}{suite} suite, {name} status $?\"\n"
            );
        }
    }
    job
}

/// A word of the shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::{Backend, CHOSEN, CHOSEN_ONCE, Extent, Suites, job, quote};

    #[test]
    fn a_path_is_one_word() {
        assert_eq!(quote("/a b/it's"), r"'/a b/it'\''s'");
    }

    #[test]
    fn the_chosen_tests_are_run_with_every_backend_or_once() {
        let suites = Suites {
            portwatch: "portwatch".into(),
            kernel: "kernel".into(),
            real: "real".into(),
        };
        let job = job(&suites, Backend::ALL, &Extent::Chosen);
        let count = |test: &&str| job.matches(&quote(test)).count();
        assert!(CHOSEN.iter().all(|test| count(test) == Backend::ALL.len()));
        assert!(CHOSEN_ONCE.iter().all(|test| count(test) == 1), "{job}");
    }
}
