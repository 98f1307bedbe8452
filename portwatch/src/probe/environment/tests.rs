use super::*;
use crate::enrich::testing;
use std::collections::HashMap;

const SUPPORTED: &str = "nodev\tsysfs\nnodev\tcgroup\nnodev\tcgroup2\nnodev\ttracefs\n\text4\n";

/// systemd with the unified hierarchy.
const V2: &str = "\
24 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
26 24 0:24 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate
30 24 0:12 / /sys/kernel/tracing rw,nosuid shared:12 - tracefs tracefs rw
";

/// systemd's hybrid layout, tracefs where it was before 4.1 and by a tool's own mount.
const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
38 31 0:35 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
42 23 0:7 / /sys/kernel/debug rw,relatime - debugfs debugfs rw
43 42 0:12 / /sys/kernel/debug/tracing rw,relatime - tracefs tracefs rw
";

const V1: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
38 31 0:35 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
";

/// A container: its own cgroup namespace's root, and the host's mounted in as a volume.
const CONTAINER: &str = "\
901 800 0:24 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw
902 800 0:24 /../../.. /host/cgroup ro,nosuid - cgroup2 cgroup rw
";

/// The inode of each mount point, instead of the machine's.
fn found(text: &str, inodes: &[(&str, u64)]) -> Cgroup2 {
    let inodes: HashMap<&Path, u64> = inodes
        .iter()
        .map(|(at, ino)| (Path::new(*at), *ino))
        .collect();
    let inode = |mount: &Mount| inodes.get(mount.point.as_path()).copied();
    cgroup2(&mountinfo::parse(text.as_bytes()), inode, SUPPORTED)
}

#[test]
fn the_whole_hierarchy_where_it_is_mounted() {
    let whole = |at: &str| Cgroup2::Whole(PathBuf::from(at));
    assert_eq!(found(V2, &[("/sys/fs/cgroup", 1)]), whole("/sys/fs/cgroup"));
    let unified = "/sys/fs/cgroup/unified";
    assert_eq!(found(HYBRID, &[(unified, 1)]), whole(unified));
    let both = [("/sys/fs/cgroup", 4711), ("/host/cgroup", 1)];
    assert_eq!(found(CONTAINER, &both), whole("/host/cgroup"));
}

#[test]
fn a_containers_part_is_said() {
    let part = Cgroup2::Partial(PathBuf::from("/sys/fs/cgroup"));
    assert_eq!(found(CONTAINER, &[("/sys/fs/cgroup", 4711)]), part);
}

#[test]
fn none_is_mounted() {
    assert_eq!(found(V1, &[]), Cgroup2::Unmounted { v1: true });
    assert_eq!(found("", &[]), Cgroup2::Unmounted { v1: false });
    // Another mount lies over it.
    assert_eq!(found(V2, &[]), Cgroup2::Unmounted { v1: false });
    let old = cgroup2(
        &mountinfo::parse(V1.as_bytes()),
        |_| None,
        "nodev\tcgroup\n",
    );
    assert_eq!(old, Cgroup2::Missing);
}

#[test]
fn tracefs_where_it_belongs_or_elsewhere() {
    let find = |text: &str, place, supported| {
        tracefs(&mountinfo::parse(text.as_bytes()), place, supported)
    };
    let at = |path: &str| Tracefs::Mounted(PathBuf::from(path));
    assert_eq!(find(V2, true, SUPPORTED), at("/sys/kernel/tracing"));
    assert_eq!(
        find(HYBRID, true, SUPPORTED),
        at("/sys/kernel/debug/tracing")
    );
    let both = [HYBRID, V2].concat();
    assert_eq!(find(&both, true, SUPPORTED), at("/sys/kernel/tracing"));
    let place = PathBuf::from("/sys/kernel/tracing");
    let elsewhere = V2.replace("/sys/kernel/tracing", "/mnt/tracing");
    for none in [V1, &elsewhere] {
        let mountable = Tracefs::Mountable(place.clone());
        assert_eq!(find(none, true, SUPPORTED), mountable, "{none}");
    }
    assert_eq!(find(V1, false, SUPPORTED), Tracefs::Missing);
    assert_eq!(find(V1, true, "nodev\tsysfs\n"), Tracefs::Missing);
}

#[test]
fn releases() {
    for (text, version) in [
        ("6.18.44-fc-v657", (6, 18)),
        ("5.4.0-216-generic", (5, 4)),
        ("6.1-rc3", (6, 1)),
        ("5.10", (5, 10)),
        ("7", (7, 0)),
        ("", (0, 0)),
        ("custom", (0, 0)),
        ("99999999999999.1", (0, 1)),
    ] {
        let release = KernelRelease::parse(text);
        assert_eq!(release.version(), version, "{text}");
        assert_eq!(release.to_string(), text);
    }
    assert!(KernelRelease::parse("5.4.1").before(5, 11));
    assert!(!KernelRelease::parse("5.11.0").before(5, 11));
    assert!(!KernelRelease::parse("6.1").before(5, 11));
}

#[test]
fn lockdown_states() {
    for (text, state) in [
        ("[none] integrity confidentiality\n", Some(Lockdown::None)),
        (
            "none [integrity] confidentiality\n",
            Some(Lockdown::Integrity),
        ),
        (
            "none integrity [confidentiality]\n",
            Some(Lockdown::Confidentiality),
        ),
        ("none integrity [later]\n", None),
        ("none", None),
        ("[none", None),
        ("", None),
    ] {
        assert_eq!(Lockdown::parse(text), state, "{text}");
    }
}

#[test]
fn btf_that_is_missing_is_not_one_that_is_denied() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vmlinux");
    assert_eq!(btf(&path), Btf::Missing);
    std::fs::write(&path, "x").unwrap();
    assert_eq!(btf(&path), Btf::Readable);
    assert!(matches!(btf(&path.join("below")), Btf::Unreadable(_)));
}

#[test]
fn this_machine() {
    let here = Environment::probe();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert_eq!(here.kernel.as_str(), release.trim());
    assert!(here.kernel.version() > (2, 6));
    assert!(here.netns.is_some());
    assert!(here.pid_namespace_initial.is_some());
}

/// In mount and cgroup namespaces of its own, so that the machine stays as it is: tracefs is not
/// mounted first, then is.
#[test]
fn tracefs_is_mounted_once() {
    let name = "probe::environment::tests::tracefs_is_mounted_once";
    if !testing::root() || !testing::unshared(&["--mount", "--propagation", "private"], name) {
        return;
    }
    let tracing = Path::new(TRACEFS);
    while nix::mount::umount2(tracing, nix::mount::MntFlags::MNT_DETACH).is_ok() {}
    let mut here = Environment::probe();
    if here.tracefs != Tracefs::Mountable(tracing.to_owned()) {
        println!("SKIPPED: {:?}", here.tracefs);
        return;
    }
    assert_eq!(here.ensure_tracefs().unwrap(), (tracing.to_owned(), true));
    assert!(tracing.join("events").is_dir());
    assert_eq!(here.ensure_tracefs().unwrap(), (tracing.to_owned(), false));
    assert_eq!(
        Environment::probe().tracefs,
        Tracefs::Mounted(tracing.to_owned())
    );
}
