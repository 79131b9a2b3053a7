//! The port of a container's cable, blocked and opened again.
//!
//! Owns its switch and the bridge's entry that leads to it. Knows nothing of why.

#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel's enums grow with every release")]

use std::io;

use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::LinkUnspec;

use super::DetachError;
use crate::link::Link;
use crate::netlink::{Intent, Netlink, NetlinkError};

/// Blocks the port of a container both ways. The interface stays, and so does everything inside the container; what this
/// host's others send to its MAC goes to wherever that MAC is by then.
///
/// # Errors
/// [`DetachError`]; the port may be blocked in part.
pub fn fence(host_interface: &str) -> Result<(), DetachError> {
    let mut netlink = Netlink::open().map_err(NetlinkError::at("open a netlink socket"))?;
    let port = find(&mut netlink, host_interface)?;
    let down = LinkUnspec::new_with_index(port).down().build();
    netlink
        .request(RouteNetlinkMessage::SetLink(down), Intent::Existing)
        .map_err(NetlinkError::at("switch the host's end off"))?;
    // The kernel keeps static entries of a port that is down, and drops what they lead to it.
    for mac in leading_to(&mut netlink, port).map_err(NetlinkError::at("list the bridge's forwarding entries"))? {
        let entry = forwarding_entry(port, mac);
        match netlink.request(RouteNetlinkMessage::DelNeighbour(entry), Intent::Existing) {
            Ok(()) => {}
            Err(source) if source.raw_os_error() == Some(libc::ENOENT) => {}
            Err(source) => return Err(NetlinkError { step: "remove the bridge's forwarding entry", source }.into()),
        }
    }
    Ok(())
}

/// Opens the port of the container that has this MAC again.
///
/// # Errors
/// [`DetachError`]; the port may still be blocked.
pub fn open(host_interface: &str, mac: [u8; 6]) -> Result<(), DetachError> {
    let mut netlink = Netlink::open().map_err(NetlinkError::at("open a netlink socket"))?;
    let port = find(&mut netlink, host_interface)?;
    netlink
        .request(RouteNetlinkMessage::NewNeighbour(forwarding_entry(port, mac)), Intent::Replace)
        .map_err(NetlinkError::at("add the bridge's forwarding entry"))?;
    let up = LinkUnspec::new_with_index(port).up().build();
    netlink
        .request(RouteNetlinkMessage::SetLink(up), Intent::Existing)
        .map_err(NetlinkError::at("switch the host's end on"))?;
    Ok(())
}

fn find(netlink: &mut Netlink, host_interface: &str) -> Result<u32, NetlinkError> {
    let found = netlink.link(host_interface).map_err(NetlinkError::at("find the host's end"))?;
    let gone = || NetlinkError { step: "find the host's end", source: io::Error::from_raw_os_error(libc::ENODEV) };
    found.as_ref().map(|message| Link::of(message).index).ok_or_else(gone)
}

/// "This MAC is behind this port", for as long as the port exists.
pub(super) fn forwarding_entry(port: u32, mac: [u8; 6]) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = port;
    // NOARP is "static" here; PERMANENT would say that the MAC is the host's own.
    message.header.state = NeighbourState::Noarp;
    message.header.flags = NeighbourFlags::Controller;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.to_vec()));
    message
}

/// The MACs that the bridge has behind a port.
fn leading_to(netlink: &mut Netlink, port: u32) -> io::Result<Vec<[u8; 6]>> {
    let mut question = NeighbourMessage::default();
    question.header.family = AddressFamily::Bridge;
    question.header.ifindex = port;
    let answers = netlink.dump(RouteNetlinkMessage::GetNeighbour(question))?;
    let entries = answers.iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewNeighbour(entry) => Some(entry),
        _ => None,
    });
    let ours = entries.filter(|entry| entry.header.ifindex == port && entry.header.state == NeighbourState::Noarp);
    let mac = |entry: &NeighbourMessage| {
        entry.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok(),
            _ => None,
        })
    };
    Ok(ours.filter_map(mac).collect())
}
