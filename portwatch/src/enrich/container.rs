//! What a cgroup path says: the systemd unit and the container of its processes.
//!
//! Pure text: asks no container engine, so a container is the engine's id and not its name.

/// Engines put `/docker/ID`, `docker-ID.scope`, `cri-containerd-ID.scope`, `libpod-ID.scope`, ...
/// and ID is this many hexadecimal digits everywhere.
const ID_LEN: usize = 64;

/// The path of a process that counts, from the text of its /proc/PID/cgroup: of several hierarchies
/// the one that shows a container, else v2 unless it is an unused `/`, else `name=systemd`, else
/// the first. (Engines of a v1 host leave the v2 path at that of their own service.)
#[must_use]
pub fn cgroup_path(text: &str) -> Option<String> {
    let mut lines: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| {
            // hierarchy-ID:controllers:path, and the path may contain colons: proc(5), cgroups(7).
            let mut fields = line.splitn(3, ':');
            fields.next()?;
            Some((fields.next()?, fields.next()?))
        })
        .collect();
    lines.sort_by_key(|(controllers, _)| match *controllers {
        "" => 0,
        "name=systemd" => 1,
        _ => 2,
    });
    let in_container = lines.iter().find(|(_, path)| container(path).is_some());
    let used = || {
        lines
            .iter()
            .find(|(name, path)| !name.is_empty() || *path != "/")
    };
    in_container
        .or_else(used)
        .or(lines.first())
        .map(|(_, path)| (*path).to_owned())
}

/// The systemd unit of a path, of the user's own manager where there is one; `None` = in none.
#[must_use]
pub fn systemd_unit(path: &str) -> Option<String> {
    let mut parts = path.split('/').map(unescape);
    let outer = parts.by_ref().find(|part| is_unit(part))?;
    // user@1000.service is a manager, and the units below it are those its user knows.
    let inner = if outer.starts_with("user@") {
        parts.find(|part| is_unit(part))
    } else {
        None
    };
    Some(inner.unwrap_or(outer).to_owned())
}

/// A container as a path names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// The engine's id.
    pub id: String,
    /// The engine, in the word that its users know it by; `None` = the path does not tell.
    pub runtime: Option<&'static str>,
}

/// The container of a path, the innermost one; `None` = in none. Its monitor (conmon) is outside.
#[must_use]
pub fn container(path: &str) -> Option<Container> {
    let parts: Vec<&str> = path.split('/').collect();
    parts.iter().enumerate().rev().find_map(|(at, part)| {
        // containerd without the systemd driver writes `...slice:cri-containerd:ID`.
        let mut fields = part.rsplit(':');
        let last = fields.next().unwrap_or(part);
        let last = last.strip_suffix(".scope").unwrap_or(last);
        let (prefix, id) = match last.rsplit_once('-') {
            Some((prefix, id)) => (prefix, id),
            None => ("", last),
        };
        if !is_id(id) || prefix.ends_with("conmon") {
            return None;
        }
        let parent = at.checked_sub(1).and_then(|at| parts.get(at));
        let engine = match (prefix, fields.next(), parent) {
            ("", Some(field), _) => field,
            ("", None, Some(parent)) => parent,
            (prefix, _, _) => prefix,
        };
        Some(Container {
            id: id.to_owned(),
            runtime: runtime(engine),
        })
    })
}

/// The engine that puts this name before its ids, or above them.
fn runtime(engine: &str) -> Option<&'static str> {
    Some(match engine {
        "docker" => "docker",
        "cri-containerd" | "nerdctl" => "containerd",
        "crio" => "cri-o",
        "libpod" | "libpod-payload" | "libpod_parent" => "podman",
        _ => return None,
    })
}

/// The Kubernetes pod of a path: `kubepods/burstable/podUID`, or
/// `kubepods-burstable-podUID.slice` with `_` for each `-` of the uid.
#[must_use]
pub fn pod_uid(path: &str) -> Option<String> {
    if !path.contains("kubepods") {
        return None;
    }
    path.split(['/', ':']).rev().find_map(|part| {
        let part = part.strip_suffix(".slice").unwrap_or(part);
        let uid = part.rsplit_once("pod")?.1.replace('_', "-");
        // A static pod has 32 digits of a hash, any other a UUID.
        let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
        let dashes = uid.bytes().filter(|byte| *byte == b'-').count();
        let whole = uid.len() == digits + dashes && digits == 32 && (dashes == 0 || dashes == 4);
        whole.then_some(uid)
    })
}

/// The unit whose sockets systemd gave to the process with this environment: sd_listen_fds(3). Names
/// that its FileDescriptorName= set say nothing of a unit. `own` is the process's number in its own
/// pid namespace.
#[must_use]
pub fn socket_unit(environ: &[u8], own: u32) -> Option<String> {
    let value = |name: &[u8]| {
        let mut entries = environ.split(|byte| *byte == 0);
        let text = entries.find_map(|entry| entry.strip_prefix(name)?.strip_prefix(b"="))?;
        std::str::from_utf8(text).ok()
    };
    // A child of the process that was given them inherits the variables as well.
    if value(b"LISTEN_PID")?.parse() != Ok(own) {
        return None;
    }
    let mut names = value(b"LISTEN_FDNAMES")?.split(':');
    let first = names.next().filter(|name| name.ends_with(".socket"))?;
    names.all(|name| name == first).then(|| first.to_owned())
}

fn is_id(text: &str) -> bool {
    text.len() == ID_LEN
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A slice is a unit too, but never the one that a process was started as.
fn is_unit(part: &str) -> bool {
    let kinds = [".service", ".scope", ".socket", ".mount", ".swap"];
    kinds
        .iter()
        .any(|kind| part.len() > kind.len() && part.ends_with(kind))
}

/// systemd puts `_` in front of names that could be taken for a file of the cgroup file system.
fn unescape(part: &str) -> &str {
    part.strip_prefix('_').unwrap_or(part)
}

#[cfg(test)]
mod tests;
