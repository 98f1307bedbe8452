use super::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OUTER: &str = "ffffffffffffffff0123456789abcdef0123456789abcdef0123456789abcdef";

/// Paths as the engines make them; `ID` and `OUTER` stand for identifiers.
#[test]
fn containers_by_path() {
    for (path, expected) in [
        ("/docker/ID", Some(ID)),
        ("/system.slice/docker-ID.scope", Some(ID)),
        ("/system.slice/docker-ID.scope/init", Some(ID)),
        (
            "/kubepods/besteffort/pod0f1e2d3c-0000-4444-8888-9a8b7c6d5e4f/ID",
            Some(ID),
        ),
        (
            "/kubepods.slice/kubepods-pod0f1e.slice/cri-containerd-ID.scope",
            Some(ID),
        ),
        (
            "/kubepods.slice/kubepods-pod0f1e.slice/crio-ID.scope",
            Some(ID),
        ),
        (
            "/kubepods.slice/kubepods-pod0f1e.slice/docker-ID.scope",
            Some(ID),
        ),
        (
            "/system.slice/containerd.service/kubepods-pod0f1e.slice:cri-containerd:ID",
            Some(ID),
        ),
        ("/machine.slice/libpod-ID.scope/container", Some(ID)),
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
            Some(ID),
        ),
        (
            "/machine.slice/machine-libpod_pod_OUTER.slice/libpod-ID.scope",
            Some(ID),
        ),
        ("/system.slice/web.service/libpod-payload-ID", Some(ID)),
        ("/libpod_parent/libpod-ID", Some(ID)),
        ("/default/ID", Some(ID)),
        ("/docker/OUTER/kubelet/kubepods/pod0f1e/ID", Some(ID)),
        ("/../ID", Some(ID)),
        ("/machine.slice/libpod-conmon-ID.scope", None),
        (
            "/kubepods.slice/kubepods-pod0f1e.slice/crio-conmon-ID.scope",
            None,
        ),
        ("/machine.slice/machine-libpod_pod_OUTER.slice", None),
        ("/system.slice/docker.service", None),
        ("/process_api/f3aaa16891fa927387936829bc46942e", None),
        ("/docker/ID0", None),
        ("/docker/IDg", None),
        ("/", None),
        ("", None),
    ] {
        let path = path.replace("ID", ID).replace("OUTER", OUTER);
        assert_eq!(
            container(&path).map(|c| c.id).as_deref(),
            expected,
            "{path}"
        );
    }
}

#[test]
fn upper_case_is_no_identifier() {
    assert_eq!(container(&format!("/docker/{}", ID.to_uppercase())), None);
}

#[test]
fn units_by_path() {
    let docker = format!("docker-{ID}.scope");
    for (path, expected) in [
        ("/system.slice/app.service", Some("app.service")),
        (
            "/system.slice/system-getty.slice/getty@tty1.service",
            Some("getty@tty1.service"),
        ),
        (
            "/system.slice/app.service/payload/worker.service",
            Some("app.service"),
        ),
        (
            "/system.slice/my\\x2dapp.service",
            Some("my\\x2dapp.service"),
        ),
        ("/system.slice/web.socket", Some("web.socket")),
        ("/system.slice/_cpu.service", Some("cpu.service")),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/foo.service",
            Some("foo.service"),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-x.scope/y",
            Some("app-gnome-x.scope"),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service/init.scope",
            Some("init.scope"),
        ),
        (
            "/user.slice/user-1000.slice/user@1000.service",
            Some("user@1000.service"),
        ),
        (
            "/user.slice/user-1000.slice/session-3.scope",
            Some("session-3.scope"),
        ),
        ("/init.scope", Some("init.scope")),
        ("/system.slice/docker-ID.scope", Some(docker.as_str())),
        (
            "/system.slice/docker-ID.scope/system.slice/nginx.service",
            Some(docker.as_str()),
        ),
        ("/system.slice", None),
        ("/docker/ID", None),
        ("/.service", None),
        ("/", None),
        ("", None),
    ] {
        let path = path.replace("ID", ID);
        assert_eq!(systemd_unit(&path).as_deref(), expected, "{path}");
    }
}

#[test]
fn the_path_that_counts() {
    for (text, expected) in [
        (
            "0::/system.slice/app.service\n",
            Some("/system.slice/app.service"),
        ),
        ("0::/\n", Some("/")),
        ("0::/a:b\n", Some("/a:b")),
        // Hybrid: systemd keeps the same path in both.
        (
            "12:pids:/x\n1:name=systemd:/s/app.service\n0::/s/app.service\n",
            Some("/s/app.service"),
        ),
        // v1 only, the v2 hierarchy unused.
        (
            "8:pids:/x\n1:name=systemd:/s/app.service\n0::/\n",
            Some("/s/app.service"),
        ),
        ("8:pids:/x\n7:cpu:/y\n", Some("/x")),
        // v1 with an engine that makes no v2 groups.
        (
            "1:name=systemd:/docker/ID\n0::/system.slice/containerd.service\n",
            Some("/docker/ID"),
        ),
        ("", None),
        ("garbage\n1:only-two\n", None),
    ] {
        let text = text.replace("ID", ID);
        let expected = expected.map(|path| path.replace("ID", ID));
        assert_eq!(cgroup_path(&text), expected, "{text}");
    }
}

#[test]
fn engines_by_path() {
    for (path, expected) in [
        ("/docker/ID", Some("docker")),
        ("/system.slice/docker-ID.scope", Some("docker")),
        (
            "/kubepods.slice/kubepods-pod0f1e.slice/cri-containerd-ID.scope",
            Some("containerd"),
        ),
        (
            "/system.slice/containerd.service/kubepods-pod0f1e.slice:cri-containerd:ID",
            Some("containerd"),
        ),
        ("/kubepods/pod0f1e/crio-ID.scope", Some("cri-o")),
        ("/machine.slice/libpod-ID.scope/container", Some("podman")),
        ("/libpod_parent/libpod-ID", Some("podman")),
        ("/libpod_parent/ID", Some("podman")),
        ("/kubepods/burstable/pod0f1e/ID", None),
        ("/default/ID", None),
    ] {
        let path = path.replace("ID", ID);
        assert_eq!(container(&path).unwrap().runtime, expected, "{path}");
    }
}

#[test]
fn pods_by_path() {
    const POD: &str = "0f1e2d3c-0000-4444-8888-9a8b7c6d5e4f";
    const STATIC: &str = "0123456789abcdef0123456789abcdef";
    let systemd = POD.replace('-', "_");
    for (path, expected) in [
        (format!("/kubepods/burstable/pod{POD}/ID"), Some(POD)),
        (format!("/kubepods/pod{STATIC}/ID"), Some(STATIC)),
        (
            format!("/kubepods.slice/kubepods-pod{systemd}.slice/crio-ID.scope"),
            Some(POD),
        ),
        (
            format!(
                "/system.slice/containerd.service/kubepods-pod{systemd}.slice:cri-containerd:ID"
            ),
            Some(POD),
        ),
        (
            format!(
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{systemd}.slice/cri-containerd-ID.scope"
            ),
            Some(POD),
        ),
        (
            "/machine.slice/machine-libpod_pod_ID.slice/libpod-ID.scope".to_owned(),
            None,
        ),
        ("/kubepods/podnot-a-uid/ID".to_owned(), None),
        ("/docker/ID".to_owned(), None),
    ] {
        let path = path.replace("ID", ID);
        assert_eq!(pod_uid(&path).as_deref(), expected, "{path}");
    }
}

#[test]
fn socket_units_by_environment() {
    for (environ, expected) in [
        (
            "A=b\0LISTEN_PID=7\0LISTEN_FDS=1\0LISTEN_FDNAMES=web.socket\0",
            Some("web.socket"),
        ),
        (
            "LISTEN_PID=7\0LISTEN_FDNAMES=web.socket:web.socket",
            Some("web.socket"),
        ),
        ("LISTEN_PID=7\0LISTEN_FDNAMES=web.socket:other.socket", None),
        ("LISTEN_PID=7\0LISTEN_FDNAMES=http:https", None),
        ("LISTEN_PID=8\0LISTEN_FDNAMES=web.socket", None),
        ("LISTEN_FDNAMES=web.socket", None),
        ("", None),
    ] {
        let told = socket_unit(environ.as_bytes(), 7);
        assert_eq!(told.as_deref(), expected, "{environ:?}");
    }
}
