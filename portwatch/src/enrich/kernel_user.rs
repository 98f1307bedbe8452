//! What in the kernel may have a port that no process has, in the network namespace of the calling
//! thread.
//!
//! Asked only for a port that a socket of the kernel has. A tunnel whose interface was moved to
//! another namespace keeps its socket in the first one and is not found there.

mod endpoint;
mod tunnel;

use super::netlink::{self, Link, half};
use crate::decode::event::Transport;
use nix::sys::socket::SockProtocol;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What has a port in the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelUser {
    /// An interface's kind in rtnetlink's word (`vxlan`, `geneve`, `bareudp`), or `mptcp-endpoint`.
    pub kind: String,
    /// The interface's name, or the endpoint's id.
    pub name: String,
    /// The address that it has the port of; `None` = it does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

/// The user of this port; `None` if none of those that tell their port has it.
#[must_use]
pub fn kernel_user(transport: Transport, port: u16) -> Option<KernelUser> {
    match transport {
        Transport::Udp => tunnel::tunnel(port),
        Transport::Tcp => endpoint::endpoint(port),
    }
}

/// What every socket has that nobody opened for more (net/core/sock.c:sock_init_data).
const DEFAULT: &str = "sock_def_readable";

/// The module whose function gets what arrives at a socket, `module wireguard`; `function NAME` of
/// what is built in. `None` if the function is everybody's.
#[must_use]
pub fn by_function(function: &str) -> Option<String> {
    let module = function
        .split_once(" [")
        .and_then(|(_, module)| module.strip_suffix(']'));
    match module {
        Some(module) => Some(format!("{MODULE} {module}")),
        None => (function != DEFAULT).then(|| format!("{FUNCTION} {function}")),
    }
}

/// The function is one of the interface's kind (`vxlan_rcv`, `geneve_udp_encap_recv`), or not known.
#[must_use]
pub fn agrees(user: &KernelUser, function: Option<&str>) -> bool {
    user.address.is_some() || function.is_none_or(|function| function.contains(&user.kind))
}

/// How [`by_function`] begins with a module's name.
pub const MODULE: &str = "module";

/// How [`by_function`] begins where nothing is known but the function.
pub const FUNCTION: &str = "function";

const CONTROL: u16 = 16; // GENL_ID_CTRL
const GET_FAMILY: u8 = 3; // CTRL_CMD_GETFAMILY
const FAMILY_ID: u16 = 1; // CTRL_ATTR_FAMILY_ID
const FAMILY_NAME: u16 = 2; // CTRL_ATTR_FAMILY_NAME

/// `struct genlmsghdr`.
const GENERIC: usize = 4;

/// A family of generic netlink (Documentation/userspace-api/netlink/intro.rst).
struct Family {
    link: Link,
    id: u16,
}

impl Family {
    /// `None` if the kernel does not have it, or its module is not there.
    fn find(name: &str) -> Option<Self> {
        let link = Link::open(SockProtocol::NetlinkGeneric)?;
        let name = [name.as_bytes(), b"\0"].concat();
        let name = netlink::attribute_of(FAMILY_NAME, &name)?;
        let answer = link.get(CONTROL, &command(GET_FAMILY, &name))?;
        let id = netlink::attribute(answer.get(GENERIC..)?, FAMILY_ID)?;
        Some(Self {
            id: half(id, 0)?,
            link,
        })
    }

    /// The attributes of every answer to a command.
    fn dump(&self, number: u8, body: &[u8], mut each: impl FnMut(&[u8])) -> Option<()> {
        let body = command(number, body);
        self.link.dump(self.id, &body, |_, answer| {
            answer.get(GENERIC..).into_iter().for_each(&mut each);
        })
    }
}

/// The body of a message of generic netlink.
fn command(number: u8, attributes: &[u8]) -> Vec<u8> {
    let mut body = vec![number, 1, 0, 0];
    body.extend(attributes);
    body
}

#[cfg(test)]
mod tests {
    use super::by_function;

    #[test]
    fn a_function_tells_its_module() {
        let told = |function| by_function(function).unwrap_or_default();
        assert_eq!(told("wg_receive [wireguard]"), "module wireguard");
        assert_eq!(told("vxlan_rcv"), "function vxlan_rcv");
        assert_eq!(told("sock_def_readable"), "");
    }
}
