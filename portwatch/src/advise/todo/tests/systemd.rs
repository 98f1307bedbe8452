//! Services and socket units of systemd.

use super::*;

#[test]
fn only_a_system_service_outside_containers_is_to_be_stopped() {
    let listener = || called(State::Listen, Origin::ExplicitBind);
    let command = |change: fn(&mut EventFacts)| {
        let mut facts = facts(Some(71234));
        facts.processes.push(process(812, 1_900 * S, "python3"));
        change(&mut facts);
        let failure = failure(Transport::Tcp, "0.0.0.0", vec![listener()]);
        advice_on(&failure, &facts, &ground())[0].command.clone()
    };
    assert_eq!(
        command(|_| {}).as_deref(),
        Some("systemctl stop ceph-osd.service")
    );
    assert_eq!(
        command(|facts| facts.processes[0].container = Some(Some("c1".to_owned()))),
        None
    );
    assert_eq!(command(|facts| facts.processes[0].container = None), None);
    assert_eq!(
        command(|facts| facts.processes[0].cgroup = Some("/user.slice/x".to_owned())),
        None
    );
    assert_eq!(
        command(|facts| facts.processes[0].systemd_unit = Some(None)),
        None
    );
    // It is the service that wants the port.
    assert_eq!(
        command(|facts| {
            facts.processes[1].systemd_unit = Some(Some("ceph-osd.service".to_owned()));
        }),
        None
    );
    assert_eq!(
        command(|facts| facts.processes[1].systemd_unit = None),
        None
    );
}

#[test]
fn systemds_own_sockets_belong_to_a_unit() {
    let mut held = called(State::Listen, Origin::ExplicitBind);
    let mut facts = facts(Some(71234));
    facts.processes = vec![process(1, 50 * S, "systemd")];
    if let Some((_, user)) = facts
        .socket_users
        .as_mut()
        .and_then(|users| users.first_mut())
    {
        user.tgid = Tgid(1);
    }
    held.owner = None;
    let failure = failure(Transport::Tcp, "0.0.0.0", vec![held]);
    let list = advice_on(&failure, &facts, &ground());
    assert_eq!(ids(&list), ["socket-unit"]);
    assert_eq!(
        list[0].command.as_deref(),
        Some("systemctl list-sockets --all")
    );
}

/// In a container systemd is the first process there only, and a user's has no say over the system.
#[test]
fn a_manager_that_is_not_the_systems_is_not_to_be_stopped() {
    let mut held = called(State::Listen, Origin::ExplicitBind);
    held.owner = None;
    let mut facts = facts(Some(71234));
    let mut systemd = process(640, 50 * S, "systemd");
    let failure = failure(Transport::Tcp, "0.0.0.0", vec![held]);
    if let Some((_, user)) = facts
        .socket_users
        .as_mut()
        .and_then(|users| users.first_mut())
    {
        user.tgid = Tgid(640);
    }
    systemd.exe = Some(b"/usr/lib/systemd/systemd".to_vec());
    let mut said = |cgroup: &str| {
        systemd.cgroup = Some(cgroup.to_owned());
        facts.processes = vec![systemd.clone()];
        let list = advice_on(&failure, &facts, &ground());
        (list[0].id.clone(), list[0].command.clone())
    };
    let (id, command) = said("/machine.slice/web.scope/init.scope");
    assert_eq!(id, "socket-unit");
    assert_eq!(
        command.as_deref(),
        Some("nsenter --target 640 --all systemctl list-sockets --all")
    );
    let of_user = said("/user.slice/user-1000.slice/user@1000.service/init.scope");
    assert_eq!(of_user, (String::from("socket-unit"), None));
    let other = said("/system.slice/build.service");
    assert_eq!(other.0, "stop-holder");
}

/// Many a container or small system has another init, which has no socket units.
#[test]
fn another_init_is_not_taken_for_systemd() {
    let mut held = called(State::Listen, Origin::ExplicitBind);
    held.owner = None;
    let mut facts = facts(Some(71234));
    if let Some((_, user)) = facts
        .socket_users
        .as_mut()
        .and_then(|users| users.first_mut())
    {
        (user.tgid, user.comm) = (Tgid(1), Comm::from(&b"init"[..]));
    }
    let failure = failure(Transport::Tcp, "0.0.0.0", vec![held]);
    let mut said = |exe: Option<&str>| {
        let mut init = process(1, 50 * S, "init");
        init.exe = exe.map(|exe| exe.as_bytes().to_vec());
        facts.processes = vec![init];
        let list = advice_on(&failure, &facts, &ground());
        (list[0].id.clone(), list[0].command.clone())
    };
    let other = (String::from("stop-holder"), None);
    assert_eq!(said(Some("/usr/bin/busybox")), other);
    assert_eq!(said(None), other);
    let systemd = said(Some("/usr/lib/systemd/systemd (deleted)"));
    assert_eq!(systemd.0, "socket-unit");
}

#[test]
fn a_socket_unit_is_stopped_with_its_service() {
    let held = called(State::Listen, Origin::ExplicitBind);
    let failure = failure(Transport::Tcp, "0.0.0.0", vec![held]);
    let mut facts = facts(Some(71234));
    facts.processes[0].socket_unit = Some("ceph.socket".to_owned());
    let list = advice_on(&failure, &facts, &ground());
    assert_eq!(ids(&list), ["socket-unit"]);
    assert_eq!(
        list[0].command.as_deref(),
        Some("systemctl stop ceph.socket ceph-osd.service")
    );
    // Of a container's manager, which has the socket as well.
    let mut systemd = process(640, 50 * S, "systemd");
    systemd.exe = Some(b"/usr/lib/systemd/systemd".to_vec());
    systemd.cgroup = Some("/machine.slice/web.scope/init.scope".to_owned());
    let mut inside = facts.clone();
    inside.processes[0].cgroup = Some("/machine.slice/web.scope/system.slice/x".to_owned());
    inside.processes.push(systemd);
    if let Some(users) = inside.socket_users.as_mut() {
        users.push((71234, user(640, 50 * S, "systemd")));
    }
    let list = advice_on(&failure, &inside, &ground());
    assert_eq!(
        list[0].command.as_deref(),
        Some("nsenter --target 640 --all systemctl stop ceph.socket ceph-osd.service")
    );
    inside.processes[0].cgroup = Some("/system.slice/x".to_owned());
    assert_eq!(advice_on(&failure, &inside, &ground())[0].command, None);
    // Not a service of the system's manager.
    facts.processes[0].cgroup = Some("/user.slice/x".to_owned());
    assert_eq!(advice_on(&failure, &facts, &ground())[0].command, None);
}
