//! The host's routes, as far as a pool may not cross them.
//!
//! Owns which routes count. Changes nothing.

#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel's enums grow with every release")]

use std::net::IpAddr;

use futures_util::TryStreamExt;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};

use crate::link::{Link, Prefix};
use crate::netlink::{NetlinkError, with_handle};

/// A route of the host that a pool would take over, or that would take a pool's addresses away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// Where it leads to.
    pub route: Prefix,
    /// Through which interface.
    pub interface: String,
}

/// The first route of the main table that shares an address with `prefix`. Default routes do not count, nor do routes
/// through the interface `except`: a bridge that is there from an earlier start.
///
/// # Errors
/// [`NetlinkError`].
pub fn overlapping_route(prefix: Prefix, except: Option<&str>) -> Result<Option<Overlap>, NetlinkError> {
    with_handle(async |handle| {
        let mut question = RouteMessage::default();
        question.header.address_family = family_of(prefix.address);
        let routes: Vec<_> =
            handle.route().get(question).execute().try_collect().await.map_err(NetlinkError::of("list routes"))?;
        let links: Vec<_> =
            handle.link().get().execute().try_collect().await.map_err(NetlinkError::of("list interfaces"))?;
        let links: Vec<_> = links.iter().map(Link::of).collect();
        let name_of = |index| links.iter().find(|link| link.index == index).map(|link| link.name.as_str());
        Ok(routes.iter().filter_map(counted).find_map(|(route, index)| {
            let interface = index.and_then(name_of).unwrap_or("?");
            let counts = route.overlaps(&prefix) && Some(interface) != except;
            counts.then(|| Overlap { route, interface: interface.to_owned() })
        }))
    })
}

/// The destination and interface of a route that leads some addresses somewhere.
fn counted(message: &RouteMessage) -> Option<(Prefix, Option<u32>)> {
    let header = &message.header;
    if header.table != RouteHeader::RT_TABLE_MAIN || header.kind != RouteType::Unicast {
        return None;
    }
    let (destination, interface) = ends_of(message);
    let prefix = Prefix { address: destination?, length: header.destination_prefix_length };
    (prefix.length > 0).then_some((prefix, interface))
}

/// Destination (none: the default route) and outgoing interface.
pub(crate) fn ends_of(message: &RouteMessage) -> (Option<IpAddr>, Option<u32>) {
    let mut destination = None;
    let mut interface = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip_of(address),
            RouteAttribute::Oif(index) => interface = Some(*index),
            _ => {}
        }
    }
    (destination, interface)
}

/// The next hop, if the route has one.
pub(crate) fn gateway_of(message: &RouteMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Gateway(address) => ip_of(address),
        _ => None,
    })
}

fn ip_of(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some(IpAddr::V4(*address)),
        RouteAddress::Inet6(address) => Some(IpAddr::V6(*address)),
        _ => None,
    }
}

pub(crate) fn family_of(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}
