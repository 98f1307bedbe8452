//! Commands that work as printed, in a shell of root's. One that would have to guess is `None`.

use super::ports::PortList;
use crate::correlate::verdict::Ground;
use crate::enrich::facts::{NetnsFacts, NetnsReach};
use crate::enrich::kernel_user::{FUNCTION, MODULE};
use crate::report::{Conflict, Holder, HolderProcess};

/// Processes that one command ends at most.
const KILLED_MAX: usize = 8;

/// Reserves the wanted port beside what is reserved already, in the conflict's namespace. Not
/// printed when the reserved list is not known, has the port, or the namespace cannot be reached.
pub(super) fn reserve(
    conflict: &Conflict,
    netns: Option<&NetnsFacts>,
    ground: &Ground,
) -> Option<String> {
    let port = conflict.wanted.port?;
    let netns = netns?;
    let mut reserved: PortList = netns.reserved.as_deref()?.parse().ok()?;
    if reserved.contains(port) {
        return None;
    }
    reserved.insert(port);
    let prefix = enter(conflict, netns, ground)?;
    Some(format!(
        "{prefix}sysctl -w net.ipv4.ip_local_reserved_ports={reserved}"
    ))
}

/// Widens the range in the conflict's namespace, upwards first. Not printed when there is nothing to
/// gain or the namespace cannot be reached. One end even, one odd: the kernel warns otherwise
/// (net/ipv4/sysctl_net_ipv4.c:ipv4_local_port_range).
pub(super) fn widen(
    conflict: &Conflict,
    netns: Option<&NetnsFacts>,
    ground: &Ground,
) -> Option<String> {
    let (low, high) = (conflict.range.low, conflict.range.high);
    // It is not known.
    if high == 0 {
        return None;
    }
    let wider = if high < HIGHEST {
        (low & !1, HIGHEST)
    } else {
        (WIDE_LOW, HIGHEST)
    };
    if wider.0 > low || (low, high) == wider {
        return None;
    }
    let prefix = enter(conflict, netns?, ground)?;
    Some(format!(
        "{prefix}sysctl -w 'net.ipv4.ip_local_port_range={} {}'",
        wider.0, wider.1
    ))
}

/// The ends of a range as wide as is sensible: below are the ports of most services.
const WIDE_LOW: u16 = 16384;
const HIGHEST: u16 = 65535;

/// How [`Holder::kernel_user`] begins where an endpoint of MPTCP has the port.
pub(super) const ENDPOINT: &str = "mptcp-endpoint";

/// Takes down what has the port in the kernel, which closes its socket.
pub(super) fn take_down(
    conflict: &Conflict,
    holder: &Holder,
    netns: Option<&NetnsFacts>,
    ground: &Ground,
) -> Option<String> {
    let (kind, name) = holder.kernel_user.as_ref()?.split_once(' ')?;
    if kind == MODULE || kind == FUNCTION {
        return None;
    }
    let prefix = enter(conflict, netns?, ground)?;
    if kind == ENDPOINT {
        return Some(format!(
            "{prefix}ip mptcp endpoint delete id {}",
            quote(name)?
        ));
    }
    Some(format!("{prefix}ip link set {} down", quote(name)?))
}

/// What makes a command act in the conflict's namespace; empty in the caller's own.
fn enter(conflict: &Conflict, netns: &NetnsFacts, ground: &Ground) -> Option<String> {
    if ground
        .own_netns
        .is_some_and(|own| own.0 == conflict.wanted.netns)
    {
        return Some(String::new());
    }
    match netns.reach.as_ref()? {
        NetnsReach::Path(path) => Some(format!("nsenter {} ", quote(&format!("--net={path}"))?)),
        NetnsReach::Process(tgid) => Some(format!("nsenter --target {} --net ", tgid.0)),
    }
}

/// Stops the system service that has the socket. Only a service of the system manager outside any
/// container, to which every process with the socket belongs and the requester does not.
pub(super) fn stop_service(conflict: &Conflict, holder: &Holder) -> Option<String> {
    let mut having = holder.processes.iter().filter(|process| process.has_socket);
    let unit = service(having.next()?)?;
    let requester = conflict.requester.systemd_unit.as_ref()?.as_deref();
    if requester == Some(unit) || having.any(|process| service(process) != Some(unit)) {
        return None;
    }
    Some(format!("systemctl stop {}", quote(unit)?))
}

/// Stops a socket unit, and the services that have its socket: of the system's manager, or of that of
/// a container which has the socket too.
pub(super) fn stop_socket(holder: &Holder, unit: &str) -> Option<String> {
    let having = || holder.processes.iter().filter(|process| process.has_socket);
    let container = having().find(|process| process.pid != 1 && is_manager(process));
    let (enter, below) = match container {
        Some(manager) => (enter_all(manager)?, manager.cgroup.as_deref()?),
        None => (String::new(), INIT_SCOPE),
    };
    let below = below.strip_suffix(INIT_SCOPE)?;
    let mut command = format!("{enter}systemctl stop {}", quote(unit)?);
    let mut told = Vec::new();
    for process in having().filter(|process| process.pid != 1 && !is_manager(process)) {
        let service = service_below(process, below)?;
        if !told.contains(&service) {
            told.push(service);
            command = format!("{command} {}", quote(service)?);
        }
    }
    Some(command)
}

/// Lists the socket units of a manager: the system's, or that of a container, whose namespaces are
/// entered. A user's manager is asked by its user.
pub(super) fn list_sockets(manager: &HolderProcess) -> Option<String> {
    let enter = if manager.pid == 1 {
        String::new()
    } else {
        enter_all(manager)?
    };
    Some(format!("{enter}systemctl list-sockets --all"))
}

/// Acts where a container's manager is.
fn enter_all(manager: &HolderProcess) -> Option<String> {
    let of_user = manager.cgroup.as_deref()?.contains("/user@");
    (manager.alive == Some(true) && !of_user)
        .then(|| format!("nsenter --target {} --all ", manager.pid))
}

/// Where a manager itself runs, below its root (systemd, src/basic/special.h: SPECIAL_INIT_SCOPE).
const INIT_SCOPE: &str = "/init.scope";

/// The system's systemd, that of a container or that of a user.
pub(super) fn is_manager(process: &HolderProcess) -> bool {
    let in_scope = || {
        let cgroup = process.cgroup.as_deref();
        cgroup.is_some_and(|cgroup| cgroup.ends_with(INIT_SCOPE))
    };
    is_systemd(process) && (process.pid == 1 || in_scope())
}

/// The first process of the system may be another init, which knows nothing of socket units.
fn is_systemd(init: &HolderProcess) -> bool {
    match &init.exe {
        Some(exe) => {
            let path = exe.strip_suffix(" (deleted)").unwrap_or(exe);
            path.rsplit('/').next() == Some("systemd")
        }
        None => init.comm == "systemd",
    }
}

/// Ends every process that has the socket; none if one of them is init.
pub(super) fn kill(holder: &Holder) -> Option<String> {
    let having = holder.processes.iter().filter(|process| process.has_socket);
    let pids: Vec<u32> = having.map(|process| process.pid).collect();
    if pids.is_empty() || pids.len() > KILLED_MAX || pids.contains(&1) {
        return None;
    }
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    Some(format!("kill {}", pids.join(" ")))
}

fn service(process: &HolderProcess) -> Option<&str> {
    service_below(process, "")
}

/// The service of the manager whose cgroup is `root`.
fn service_below<'a>(process: &'a HolderProcess, root: &str) -> Option<&'a str> {
    let unit = process.systemd_unit.as_ref()?.as_deref()?;
    let cgroup = process.cgroup.as_ref()?.strip_prefix(root)?;
    let free = process.container.as_ref()?.is_none();
    let managed = cgroup.starts_with("/system.slice/") && unit.ends_with(".service");
    (process.alive == Some(true) && managed && free).then_some(unit)
}
/// One word of a shell; `None` if it has a control character.
fn quote(word: &str) -> Option<String> {
    if word.chars().any(char::is_control) {
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "@%+=:,./_-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return Some(word.to_owned());
    }
    Some(format!("'{}'", word.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn words_reach_the_shell_as_they_are() {
        assert_eq!(quote("nginx.service").as_deref(), Some("nginx.service"));
        assert_eq!(
            quote(r"a\x2db.service").as_deref(),
            Some(r"'a\x2db.service'")
        );
        assert_eq!(quote("it's; rm").as_deref(), Some(r"'it'\''s; rm'"));
        assert_eq!(quote("").as_deref(), Some("''"));
        assert_eq!(quote("a\nb"), None);
    }
}
