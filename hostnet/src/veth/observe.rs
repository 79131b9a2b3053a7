//! What is left of an attachment, for those who check it.
//!
//! Owns the questions. Judges nothing, changes nothing.

#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel's enums grow with every release")]

use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{BridgePortState, InfoBridgePort, InfoPortData, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState};
use netlink_packet_route::route::RouteMessage;

use super::{AttachError, Port, Route};
use crate::link::{self, Link, Prefix};
use crate::netlink::{Netlink, NetlinkError};
use crate::netns::Netns;
use crate::route::{ends_of, gateway_of};

/// Both ends of a pair and the bridge, as far as they are there.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The container's end.
    pub container: Option<Link>,
    /// The routes that leave through it.
    pub routes: Vec<Route>,
    /// The host's end.
    pub host: Option<Link>,
    /// Whether the host's end lets frames pass.
    pub port: Port,
    /// The MACs that the bridge always looks for behind the host's end.
    pub macs: Vec<[u8; 6]>,
    /// The bridge.
    pub bridge: Option<Link>,
}

/// Looks at an attachment.
///
/// # Errors
/// [`AttachError`] when the kernel or the namespace cannot be asked.
pub fn observe(netns: &Netns, ifname: &str, host_interface: &str, bridge: &str) -> Result<Observed, AttachError> {
    let mut netlink = Netlink::open().map_err(NetlinkError::at("open a netlink socket"))?;
    let host = netlink.link(host_interface).map_err(NetlinkError::at("find the host's end"))?;
    let bridge = link::find(&mut netlink, bridge)?;
    let host = host.as_ref();
    let macs = host.map_or_else(|| Ok(Vec::new()), |host| macs_behind(&mut netlink, host.header.index))?;
    let (container, routes) = netns.run(|| look_inside(ifname))??;
    let open = host.is_some_and(forwards);
    Ok(Observed {
        container,
        routes,
        host: host.map(Link::of),
        port: if open { Port::Open } else { Port::Fenced },
        macs,
        bridge,
    })
}

fn look_inside(ifname: &str) -> Result<(Option<Link>, Vec<Route>), NetlinkError> {
    let mut netlink = Netlink::open().map_err(NetlinkError::at("open a netlink socket"))?;
    let Some(container) = link::find(&mut netlink, ifname)? else {
        return Ok((None, Vec::new()));
    };
    let answers = netlink
        .dump(RouteNetlinkMessage::GetRoute(RouteMessage::default()))
        .map_err(NetlinkError::at("list the container's routes"))?;
    let routes = answers.iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewRoute(message) => route_of(message, container.index),
        _ => None,
    });
    let routes = routes.collect();
    Ok((Some(container), routes))
}

/// What no learning has put there and no ageing takes away.
fn macs_behind(netlink: &mut Netlink, port: u32) -> Result<Vec<[u8; 6]>, NetlinkError> {
    let mut question = NeighbourMessage::default();
    question.header.family = AddressFamily::Bridge;
    let answers = netlink
        .dump(RouteNetlinkMessage::GetNeighbour(question))
        .map_err(NetlinkError::at("list the bridge's forwarding entries"))?;
    let macs = answers.iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewNeighbour(entry) if entry.header.ifindex == port => mac_of(entry),
        _ => None,
    });
    Ok(macs.collect())
}

fn mac_of(entry: &NeighbourMessage) -> Option<[u8; 6]> {
    entry.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(mac) if entry.header.state == NeighbourState::Noarp => {
            mac.as_slice().try_into().ok()
        }
        _ => None,
    })
}

fn route_of(message: &RouteMessage, interface: u32) -> Option<Route> {
    let (destination, through) = ends_of(message);
    if through != Some(interface) {
        return None;
    }
    let gateway = gateway_of(message);
    let destination = match destination {
        Some(address) => Prefix { address, length: message.header.destination_prefix_length },
        None if gateway.is_some_and(|gateway| gateway.is_ipv4()) => Prefix::ALL_V4,
        None => Prefix::ALL_V6,
    };
    Some(Route { destination, gateway })
}

/// Whether the message is of a bridge port that lets frames pass.
pub(super) fn forwards(message: &LinkMessage) -> bool {
    let infos = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let port = infos.into_iter().flatten().find_map(|info| match info {
        LinkInfo::PortData(InfoPortData::BridgePort(port)) => Some(port),
        _ => None,
    });
    port.into_iter().flatten().any(|info| matches!(info, InfoBridgePort::State(BridgePortState::Forwarding)))
}
