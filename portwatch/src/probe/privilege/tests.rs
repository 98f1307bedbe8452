use super::*;
use crate::enrich::testing;
use std::error::Error;

fn set(capabilities: &[Capability]) -> CapsHashSet {
    capabilities.iter().copied().collect()
}

fn names(missing: &[MissingCapability]) -> Vec<String> {
    missing
        .iter()
        .map(|missing| missing.capability.to_string())
        .collect()
}

#[test]
fn each_capability_is_asked_for() {
    let all: Vec<Capability> = NEEDS.iter().map(|(capability, _)| *capability).collect();
    assert_eq!(missing(&set(&all), &caps::all()), []);
    for absent in &all {
        let held: Vec<Capability> = all.iter().copied().filter(|held| held != absent).collect();
        assert_eq!(
            names(&missing(&set(&held), &caps::all())),
            [absent.to_string()]
        );
    }
}

#[test]
fn sys_admin_includes_bpf_and_perfmon_only() {
    let held = set(&[Capability::CAP_SYS_ADMIN]);
    let expected = ["CAP_NET_ADMIN", "CAP_DAC_READ_SEARCH", "CAP_SYS_PTRACE"];
    assert_eq!(names(&missing(&held, &caps::all())), expected);
}

#[test]
fn an_old_kernel_wants_sys_admin_instead() {
    let mut old = caps::all();
    old.remove(&Capability::CAP_BPF);
    old.remove(&Capability::CAP_PERFMON);
    let missing = missing(&set(&[]), &old);
    let expected = [
        "CAP_SYS_ADMIN",
        "CAP_SYS_ADMIN",
        "CAP_NET_ADMIN",
        "CAP_DAC_READ_SEARCH",
        "CAP_SYS_PTRACE",
    ];
    assert_eq!(names(&missing), expected);
}

#[test]
fn the_error_tells_all_and_the_way_out() {
    let text = PrivilegeError::Missing(missing(&set(&[]), &caps::all())).to_string();
    assert_eq!(
        text,
        "missing CAP_BPF (to load the probes into the kernel), \
         CAP_PERFMON (to attach them and to read the kernel's sockets), \
         CAP_NET_ADMIN (to attach the cgroup hooks that see who takes a port), \
         CAP_DAC_READ_SEARCH (to read tracefs and other users' files in /proc), \
         CAP_SYS_PTRACE (to see whose descriptor a socket is and what its program is); \
         run it as root: `sudo portwatch`"
    );
}

/// Capabilities belong to a thread, so a thread can be without them.
#[test]
fn a_thread_without_them_may_not_trace() -> Result<(), Box<dyn Error>> {
    let error = std::thread::spawn(|| {
        caps::clear(None, CapSet::Effective)?;
        Ok::<_, caps::errors::CapsError>(check())
    })
    .join()
    .unwrap()?;
    let Err(PrivilegeError::Missing(list)) = error else {
        return Err(format!("{error:?}").into());
    };
    assert_eq!(list.len(), NEEDS.len());
    Ok(())
}

#[test]
fn root_of_a_user_namespace_is_not_root() {
    let name = "probe::privilege::tests::root_of_a_user_namespace_is_not_root";
    if testing::unshared(&["--user", "--map-root-user"], name) {
        let answer = check();
        assert!(
            matches!(answer, Err(PrivilegeError::UserNamespace)),
            "{answer:?}"
        );
    }
}

#[test]
fn limits_are_raised_and_given_back() {
    let before = Limits::current();
    let warning = raise_limits();
    let after = Limits::current();
    if let Some((soft, hard)) = after.files {
        assert_eq!(soft, hard);
    }
    // Whether it can be raised is the machine's affair; what is said about it is not.
    if let Some(text) = warning {
        assert!(text.contains("RLIMIT_MEMLOCK"), "{text}");
        assert_ne!(after.memory, Some((RLIM_INFINITY, RLIM_INFINITY)));
    }
    before.restore();
    assert_eq!(Limits::current(), before);
}

#[test]
fn locked_memory_that_stays_limited_is_a_warning_where_it_counts() {
    assert_eq!(locked_memory_warning(false, 65536), None);
    assert_eq!(locked_memory_warning(true, RLIM_INFINITY), None);
    let text = locked_memory_warning(true, 65536).unwrap();
    assert!(
        text.contains("stays at 64 KiB") && text.contains("`ulimit -l unlimited`"),
        "{text}"
    );
}
