//! What in the kernel may have a UDP port: the tunnels of the calling thread's network namespace, as
//! rtnetlink(7) tells them.
//!
//! Asked only for a port that a socket of the kernel has. A tunnel whose interface was moved to
//! another namespace keeps its socket in the first one and is not found there.

use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt::ReceiveTimeout,
};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};
use std::os::fd::AsRawFd;

const DUMP: u16 = 0x301; // NLM_F_REQUEST | NLM_F_DUMP
const ERROR: u16 = 2; // NLMSG_ERROR
const DONE: u16 = 3; // NLMSG_DONE
const NEW_LINK: u16 = 16; // RTM_NEWLINK
const GET_LINK: u16 = 18; // RTM_GETLINK

const IFNAME: u16 = 3; // IFLA_IFNAME
const LINKINFO: u16 = 18; // IFLA_LINKINFO
const INFO_KIND: u16 = 1; // IFLA_INFO_KIND
const INFO_DATA: u16 = 2; // IFLA_INFO_DATA

/// `struct nlmsghdr` and `struct ifinfomsg`.
const HEAD: usize = 16;
const LINK: usize = 16;

/// Longest answer read in one go; the kernel fills at most 32 KiB.
const ANSWER: usize = 1 << 16;

/// A network interface that has a UDP port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tunnel {
    /// Its kind in rtnetlink's word: `vxlan`, `geneve`, `bareudp`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// The interface that has this UDP port; `None` if none of those that tell their port has it.
#[must_use]
pub fn tunnel(port: u16) -> Option<Tunnel> {
    let link = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )
    .ok()?;
    setsockopt(&link, ReceiveTimeout, &TimeVal::new(1, 0)).ok()?;
    let mut question = vec![0; HEAD + LINK];
    question.splice(0..4, u32::try_from(HEAD + LINK).ok()?.to_ne_bytes());
    question.splice(4..6, GET_LINK.to_ne_bytes());
    question.splice(6..8, DUMP.to_ne_bytes());
    send(link.as_raw_fd(), &question, MsgFlags::empty()).ok()?;
    let mut bytes = vec![0; ANSWER];
    let mut found = None;
    loop {
        let length = recv(link.as_raw_fd(), &mut bytes, MsgFlags::empty()).ok()?;
        if parse(bytes.get(..length)?, port, &mut found)? {
            return found;
        }
    }
}

/// Reads one packet: true at the end of the dump, `None` if the kernel refused.
fn parse(mut bytes: &[u8], port: u16, found: &mut Option<Tunnel>) -> Option<bool> {
    while !bytes.is_empty() {
        let length = usize::try_from(word(bytes, 0)?).ok()?;
        let body = bytes.get(HEAD..length)?;
        match half(bytes, 4)? {
            DONE => return Some(true),
            ERROR => return None,
            NEW_LINK if found.is_none() => {
                *found = body.get(LINK..).and_then(|body| link(body, port));
            }
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(false)
}

/// The link of these attributes, if it has the port.
fn link(attributes: &[u8], port: u16) -> Option<Tunnel> {
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
    (u16::from_be_bytes([high, low]) == port).then(|| Tunnel {
        name: attribute(attributes, IFNAME).map(text).unwrap_or_default(),
        kind,
    })
}

/// The value of an attribute (`struct nlattr`), if it is there.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(half(bytes, 0)?);
        let value = bytes.get(4..length)?;
        // The two highest bits are flags.
        if half(bytes, 2)? & 0x3fff == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0);
    String::from_utf8_lossy(value.get(..end.unwrap_or(value.len())).unwrap_or_default())
        .into_owned()
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..at.checked_add(2)?)?;
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attr(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEAD + LINK];
        bytes.extend(body);
        let length = u32::try_from(bytes.len()).unwrap();
        bytes.splice(0..4, length.to_ne_bytes());
        bytes.splice(4..6, kind.to_ne_bytes());
        bytes
    }

    fn vxlan(name: &str, port: u16) -> Vec<u8> {
        let data = [attr(1, &[42, 0, 0, 0]), attr(15, &port.to_be_bytes())].concat();
        let info = [attr(INFO_KIND, b"vxlan\0"), attr(INFO_DATA, &data)].concat();
        let name = [name.as_bytes(), b"\0"].concat();
        message(
            NEW_LINK,
            &[attr(IFNAME, &name), attr(LINKINFO | 0x8000, &info)].concat(),
        )
    }

    #[test]
    fn the_interface_with_the_port() {
        let packet = [
            message(NEW_LINK, &attr(IFNAME, b"lo\0")),
            vxlan("vx0", 4789),
            vxlan("vx1", 60001),
            message(DONE, &[]),
        ]
        .concat();
        let mut found = None;
        assert_eq!(parse(&packet, 60001, &mut found), Some(true));
        let right = Tunnel {
            kind: "vxlan".to_owned(),
            name: "vx1".to_owned(),
        };
        assert_eq!(found, Some(right));
        let mut found = None;
        assert_eq!(parse(&packet, 8080, &mut found), Some(true));
        assert_eq!(found, None);
    }

    #[test]
    fn refusals_and_nonsense_are_no_answer() {
        assert_eq!(parse(&message(ERROR, &[]), 1, &mut None), None);
        assert_eq!(parse(&[7; 5], 1, &mut None), None);
        let mut endless = vxlan("vx0", 1);
        endless.splice(HEAD + LINK..HEAD + LINK + 2, [0, 0]);
        let mut found = None;
        assert_eq!(parse(&endless, 1, &mut found), Some(false));
        assert_eq!(found, None);
    }
}
