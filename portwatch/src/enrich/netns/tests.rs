use super::*;
use crate::enrich::testing::{self, Waiting};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::process::Command;

fn namespaces() -> Namespaces {
    Namespaces::new(Path::new("/proc"), true)
}

/// A process in a network namespace of its own; `None` where that is not allowed.
fn stranger() -> Option<(Waiting, NetnsId)> {
    stranger_after("true")
}

/// The same after a script inside. Whatever is to be written in a namespace, the child writes: it
/// is there or it does not run, while an error in what is tested here would hit the host.
fn stranger_after(script: &str) -> Option<(Waiting, NetnsId)> {
    if !testing::root() {
        return None;
    }
    let script = format!("{{ {script}; }} && exec cat");
    let mut command = Command::new("unshare");
    let Some(child) = Waiting::spawn(command.args(["--net", "sh", "-c", &script])) else {
        println!("SKIPPED: no network namespace can be made here");
        return None;
    };
    let netns = inode(&PathBuf::from(format!("/proc/{}/ns/net", child.id()))).unwrap();
    assert_ne!(Some(netns), inode(Path::new("/proc/self/ns/net")));
    Some((child, netns))
}

/// Mounted over an empty file, as `ip netns add` does, until dropped.
struct Mounted(tempfile::NamedTempFile);

impl Mounted {
    fn new(child: &Waiting) -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = format!("/proc/{}/ns/net", child.id());
        let none = None::<&str>;
        mount(
            Some(source.as_str()),
            file.path(),
            none,
            MsFlags::MS_BIND,
            none,
        )
        .unwrap();
        Self(file)
    }

    fn path(&self) -> String {
        self.0.path().to_str().unwrap().to_owned()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = umount2(self.0.path(), MntFlags::MNT_DETACH);
    }
}

#[test]
fn our_own_namespace_needs_no_way() {
    let mut namespaces = namespaces();
    let own = namespaces.own().unwrap();
    let read = |name| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).unwrap();
    let facts = namespaces.facts(own, None);
    assert_eq!(facts.reach, None);
    assert!(
        facts
            .reserved
            .unwrap()
            .starts_with(read("ip_local_reserved_ports").trim_end())
    );
    let range = namespaces.range(own, None).unwrap();
    let text = format!("{}\t{}\n", range.low, range.high);
    assert_eq!((range.netns, text), (own.0, read("ip_local_port_range")));
    assert_eq!(namespaces.device(own, 1).as_deref(), Some("lo"));
    assert_eq!(namespaces.all().first(), Some(&own));
}

/// The values of another namespace are read there: a list of its own, longer than any one read of
/// the standard library, and nothing of it in ours.
#[test]
fn a_namespace_that_is_nowhere_is_told() {
    let mut spaces = namespaces();
    assert_eq!(spaces.absent(&[5]), [5]);
    let own = spaces.own().unwrap().0;
    assert_eq!(spaces.absent(&[own]), [0_u32; 0]);
    // Where no process can be looked at, it may be there.
    assert!(
        Namespaces::new(Path::new("/proc"), false)
            .absent(&[5])
            .is_empty()
    );
    let Some((_child, netns)) = stranger() else {
        return;
    };
    assert_eq!(spaces.absent(&[netns.0, 6]), [6]);
}

#[test]
fn values_are_those_of_the_namespace() {
    let list: Vec<String> = (1..=9999)
        .step_by(2)
        .map(|port: u32| port.to_string())
        .collect();
    let list = list.join(",");
    let script = format!(
        "cd /proc/sys/net/ipv4; echo 20000 20100 >ip_local_port_range; \
         echo {list} >ip_local_reserved_ports"
    );
    let Some((child, netns)) = stranger_after(&script) else {
        return;
    };
    let mut namespaces = namespaces();

    let facts = namespaces.facts(netns, None);
    assert_eq!(facts.reserved.as_deref(), Some(list.as_str()));
    assert_eq!(facts.reach, Some(NetnsReach::Process(Tgid(child.id()))));
    let range = namespaces.range(netns, None).unwrap();
    assert_eq!(
        (range.netns, range.low, range.high),
        (netns.0, 20000, 20100)
    );
    assert_eq!(range.reserved, list);
    assert_eq!(namespaces.device(netns, 1).as_deref(), Some("lo"));
    assert_eq!(namespaces.device(netns, 77), None);
    assert!(namespaces.all().contains(&netns));

    let own = namespaces.own().unwrap();
    assert_eq!(
        namespaces.own(),
        inode(Path::new("/proc/thread-self/ns/net"))
    );
    assert_ne!(namespaces.range(own, None).unwrap().high, 20100);
}

#[test]
fn a_mount_is_a_better_way_than_a_process_and_outlives_it() {
    let Some((child, netns)) = stranger() else {
        return;
    };
    let mounted = Mounted::new(&child);
    let mut namespaces = namespaces();
    let reach = Some(NetnsReach::Path(mounted.path()));
    assert_eq!(namespaces.facts(netns, Some(Tgid(child.id()))).reach, reach);
    drop(child);
    let facts = namespaces.facts(netns, None);
    assert_eq!((facts.reach, facts.reserved.as_deref()), (reach, Some("")));
    drop(mounted);
    assert_eq!(namespaces.facts(netns, None).reach, None);
}

#[test]
fn a_way_that_is_gone_is_not_used() {
    let Some((child, netns)) = stranger() else {
        return;
    };
    let mut namespaces = namespaces();
    let tgid = Tgid(child.id());
    assert!(namespaces.facts(netns, Some(tgid)).reach.is_some());
    drop(child);
    let nothing = NetnsFacts {
        reserved: None,
        reach: None,
    };
    assert_eq!(namespaces.facts(netns, Some(tgid)), nothing);
    assert_eq!(namespaces.device(netns, 1), None);
    assert_eq!(namespaces.range(netns, None), None);
}

#[test]
fn a_hint_that_is_elsewhere_is_not_believed() {
    let mut namespaces = namespaces();
    let facts = namespaces.facts(NetnsId(1), Some(Tgid(std::process::id())));
    assert_eq!(facts.reach, None);
    assert_eq!(namespaces.enter(NetnsId(1), || ()), None);
}

#[test]
fn without_the_kernels_numbers_no_process_is_a_way() {
    let Some((child, netns)) = stranger() else {
        return;
    };
    let mut namespaces = Namespaces::new(Path::new("/proc"), false);
    let facts = namespaces.facts(netns, Some(Tgid(child.id())));
    assert_eq!(facts.reach, None);
    assert!(!namespaces.all().contains(&netns));
    let mounted = Mounted::new(&child);
    assert!(namespaces.all().contains(&netns));
    let reach = namespaces.facts(netns, None).reach;
    assert_eq!(reach, Some(NetnsReach::Path(mounted.path())));
}
