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
    let in_container = lines.iter().find(|(_, path)| container_id(path).is_some());
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

/// The container of a path, the innermost one; `None` = in none. Its monitor (conmon) is outside.
#[must_use]
pub fn container_id(path: &str) -> Option<String> {
    path.rsplit('/').find_map(|part| {
        // containerd without the systemd driver writes `...slice:cri-containerd:ID`.
        let part = part.rsplit(':').next().unwrap_or(part);
        let part = part.strip_suffix(".scope").unwrap_or(part);
        let (engine, id) = match part.rsplit_once('-') {
            Some((engine, id)) => (engine, id),
            None => ("", part),
        };
        (is_id(id) && !engine.ends_with("conmon")).then(|| id.to_owned())
    })
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
