//! What is left of an attachment, for those who check it.
//!
//! Owns the questions. Judges nothing, changes nothing.

#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel's enums grow with every release")]

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{BridgePortState, InfoBridgePort, InfoPortData, LinkAttribute, LinkInfo, LinkMessage};
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
    let bridge = netlink.link(bridge).map_err(NetlinkError::at("find the bridge"))?;
    let (container, routes) = netns.run(|| look_inside(ifname))??;
    let open = host.as_ref().is_some_and(forwards);
    Ok(Observed {
        container,
        routes,
        host: host.as_ref().map(Link::of),
        port: if open { Port::Open } else { Port::Fenced },
        bridge: bridge.as_ref().map(Link::of),
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
