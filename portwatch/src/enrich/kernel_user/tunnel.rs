//! Network interfaces that have a UDP port, as rtnetlink(7) tells them.
//!
//! WireGuard's is not among them: its own family tells the port only together with the private key,
//! which nobody should have in memory who can do without.

use super::KernelUser;
use crate::enrich::netlink::{Link, attribute, text};
use nix::sys::socket::SockProtocol;

const NEW_LINK: u16 = 16; // RTM_NEWLINK
const GET_LINK: u16 = 18; // RTM_GETLINK

const IFNAME: u16 = 3; // IFLA_IFNAME
const LINKINFO: u16 = 18; // IFLA_LINKINFO
const INFO_KIND: u16 = 1; // IFLA_INFO_KIND
const INFO_DATA: u16 = 2; // IFLA_INFO_DATA

/// `struct ifinfomsg`.
const LINK: usize = 16;

/// `IFF_UP` of `ifinfomsg.ifi_flags`: one that is down has no socket.
const UP: u32 = 1;
/// Where the flags stand.
const FLAGS: usize = 8;

/// The interface that has this UDP port; none if there are several, which may share the socket.
pub(super) fn tunnel(port: u16) -> Option<KernelUser> {
    let mut found = Vec::new();
    Link::open(SockProtocol::NetlinkRoute)?.dump(GET_LINK, &[0; LINK], |kind, body| {
        if kind == NEW_LINK {
            found.extend(of_message(body, port));
        }
    })?;
    let first = found.pop();
    first.filter(|_| found.is_empty())
}

/// The link of a message, if it is up and has the port.
fn of_message(body: &[u8], port: u16) -> Option<KernelUser> {
    let flags = body.get(FLAGS..)?.first_chunk()?;
    if u32::from_ne_bytes(*flags) & UP == 0 {
        return None;
    }
    interface(body.get(LINK..)?, port)
}

/// The link of these attributes, if it has the port.
fn interface(attributes: &[u8], port: u16) -> Option<KernelUser> {
    let info = attribute(attributes, LINKINFO)?;
    let kind = text(attribute(info, INFO_KIND)?);
    let number = match kind.as_str() {
        "vxlan" => 15,  // IFLA_VXLAN_PORT
        "geneve" => 5,  // IFLA_GENEVE_PORT
        "bareudp" => 1, // IFLA_BAREUDP_PORT
        _ => return None,
    };
    let value = attribute(attribute(info, INFO_DATA)?, number)?;
    let &[high, low] = value.get(..2)? else {
        return None;
    };
    (u16::from_be_bytes([high, low]) == port).then(|| KernelUser {
        name: attribute(attributes, IFNAME).map(text).unwrap_or_default(),
        kind,
        address: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enrich::netlink::attribute_of;

    fn link(name: &str, kind: &str, data: &[u8]) -> Vec<u8> {
        let of = |kind, value: &[u8]| attribute_of(kind, value).unwrap();
        let zero = |text: &str| [text.as_bytes(), b"\0"].concat();
        let info = [of(INFO_KIND, &zero(kind)), of(INFO_DATA, data)].concat();
        [of(IFNAME, &zero(name)), of(LINKINFO | 0x8000, &info)].concat()
    }

    #[test]
    fn the_interface_with_the_port() {
        let data = [
            attribute_of(1, &[42, 0, 0, 0]).unwrap(),
            attribute_of(15, &4789_u16.to_be_bytes()).unwrap(),
        ]
        .concat();
        let right = KernelUser {
            kind: "vxlan".to_owned(),
            name: "vx0".to_owned(),
            address: None,
        };
        let vxlan = link("vx0", "vxlan", &data);
        assert_eq!(interface(&vxlan, 4789), Some(right));
        assert_eq!(interface(&vxlan, 8080), None);
        let mut message = [&[0; LINK][..], &vxlan].concat();
        assert_eq!(of_message(&message, 4789), None);
        message[FLAGS..FLAGS + 4].copy_from_slice(&(0x1000 | UP).to_ne_bytes());
        assert_eq!(of_message(&message, 4789), interface(&vxlan, 4789));
        let loopback = attribute_of(IFNAME, b"lo\0").unwrap();
        assert_eq!(interface(&loopback, 4789), None);
        assert_eq!(interface(&link("d0", "dummy", &data), 4789), None);
        assert_eq!(interface(&link("vx0", "vxlan", &[]), 4789), None);
    }
}
