//! What passes, option by option and as incidents.

use super::super::test_support::*;
use super::*;
use crate::report::{Assign, Refused, Release, Resolved};

fn only(change: impl FnOnce(&mut Selection)) -> Filter {
    let mut selection = Selection::default();
    change(&mut selection);
    Filter::new(selection)
}

fn ports(text: &str) -> Vec<Ports> {
    text.split(',')
        .map(|ports| ports.parse().unwrap())
        .collect()
}

fn words(text: &str) -> Vec<String> {
    vec![text.to_owned()]
}

#[test]
fn conflicts_by_every_option() {
    type Change = Box<dyn FnOnce(&mut Selection)>;
    let cases: Vec<(bool, &str, Change)> = vec![
        (true, "nothing", Box::new(|_| {})),
        (true, "the port", Box::new(|s| s.ports = ports("60001"))),
        (
            true,
            "a range",
            Box::new(|s| s.ports = ports("80,60000-60002")),
        ),
        (
            false,
            "another port",
            Box::new(|s| s.ports = ports("60002")),
        ),
        (
            true,
            "tcp",
            Box::new(|s| s.transport = Some(TransportName::Tcp)),
        ),
        (
            false,
            "udp",
            Box::new(|s| s.transport = Some(TransportName::Udp)),
        ),
        (true, "the requester", Box::new(|s| s.pids = vec![812])),
        (
            true,
            "the holder",
            Box::new(|s| s.pids = vec![1, 3_013_825]),
        ),
        (false, "its parent", Box::new(|s| s.pids = vec![811])),
        (true, "its name", Box::new(|s| s.comms = words("ceph-osd"))),
        (false, "a part of it", Box::new(|s| s.comms = words("ceph"))),
        (
            true,
            "its group",
            Box::new(|s| s.cgroups = words("/system.slice")),
        ),
        (
            true,
            "itself",
            Box::new(|s| s.cgroups = words("/system.slice/app.service")),
        ),
        (
            false,
            "half a name",
            Box::new(|s| s.cgroups = words("/system.slice/app")),
        ),
        (true, "the root", Box::new(|s| s.cgroups = words("/"))),
        (
            true,
            "the netns",
            Box::new(|s| s.netns = vec![4_026_531_840]),
        ),
        (false, "another", Box::new(|s| s.netns = vec![1])),
        (
            false,
            "two processes",
            Box::new(|s| (s.pids, s.comms) = (vec![812], words("ceph-osd"))),
        ),
        (
            true,
            "one process",
            Box::new(|s| (s.pids, s.comms) = (vec![812], words("python3"))),
        ),
        (
            false,
            "no conflicts",
            Box::new(|s| s.events = BTreeSet::from([EventName::Assign])),
        ),
    ];
    for (passes, name, change) in cases {
        assert_eq!(only(change).passes(&report(conflict())), passes, "{name}");
    }
}

#[test]
fn exhaustion_has_no_port_to_match() {
    let mut exhausted = conflict();
    exhausted.wanted.port = None;
    assert!(only(|_| {}).passes(&report(exhausted.clone())));
    assert!(!only(|s| s.ports = ports("1-65535")).passes(&report(exhausted)));
}

#[test]
fn an_end_passes_with_its_incident_only() {
    let mut filter = only(|s| s.ports = ports("60001"));
    let end = |incident: &str| {
        report(Resolved {
            incident: incident.into(),
            ..resolved()
        })
    };
    assert!(!filter.passes(&end("60001-tcp-4026531840-1")));
    assert!(filter.passes(&report(conflict())));
    assert!(!filter.passes(&end("60002-tcp-4026531840-1")));
    assert!(filter.passes(&end("60001-tcp-4026531840-1")));
    assert!(!filter.passes(&end("60001-tcp-4026531840-1")), "told twice");
}

#[test]
fn an_incident_passes_whole() {
    let mut filter = only(|s| s.comms = words("ceph-osd"));
    assert!(filter.passes(&report(conflict())));
    assert!(filter.passes(&report(Conflict {
        attempt: 2,
        ..unknown()
    })));
    let other = Conflict {
        incident: "other".into(),
        ..unknown()
    };
    assert!(!filter.passes(&report(other)));
}

#[test]
fn other_lines_only_when_asked_for() {
    for event in EventName::ALL {
        let mut filter = only(|s| s.events = BTreeSet::from([event]));
        assert_eq!(filter.passes(&report(assign())), event == EventName::Assign);
        assert_eq!(
            filter.passes(&report(release())),
            event == EventName::Release
        );
        assert_eq!(
            filter.passes(&report(refused())),
            event == EventName::Refused
        );
        assert_eq!(
            filter.passes(&report(conflict())),
            event == EventName::Conflict
        );
        for always in [report(start()), report(lost(1)), report(summary())] {
            assert!(filter.passes(&always));
        }
    }
}

#[test]
fn other_lines_by_port_place_and_process() {
    let all = || BTreeSet::from(EventName::ALL);
    let mut filter = only(|s| {
        (s.events, s.ports, s.comms) = (all(), ports("40000-41000"), words("curl"));
        (s.transport, s.netns) = (Some(TransportName::Tcp), vec![4_026_531_840]);
    });
    assert!(filter.passes(&report(assign())));
    assert!(filter.passes(&report(release())));
    assert!(!filter.passes(&report(Assign {
        netns: 7,
        ..assign()
    })));
    assert!(!filter.passes(&report(Assign {
        transport: TransportName::Udp,
        ..assign()
    })));
    assert!(!filter.passes(&report(Assign {
        local: endpoint("::", 80),
        ..assign()
    })));
    assert!(!filter.passes(&report(Release {
        process: flask(),
        ..release()
    })));
    assert!(!filter.passes(&report(refused())), "port 80 of python3");
    let mut filter = only(|s| (s.events, s.pids) = (all(), vec![812]));
    assert!(filter.passes(&report(refused())));
    assert!(!filter.passes(&report(Refused {
        requester: assign().process,
        ..refused()
    })));
}

#[test]
fn the_start_tells_the_filters_as_given() {
    assert_eq!(
        Selection::default().told(),
        BTreeMap::from([("events".into(), "conflict".into())])
    );
    let selection = Selection {
        ports: ports("60001,8000-9000"),
        transport: Some(TransportName::Udp),
        pids: vec![1, 2],
        ..Selection::default()
    };
    let told = selection.told();
    assert_eq!(told["port"], "60001,8000-9000");
    assert_eq!(
        (told["transport"].as_str(), told["pid"].as_str()),
        ("udp", "1,2")
    );
    assert!(!told.contains_key("comm"));
}
