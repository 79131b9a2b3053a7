//! The container's end of a pair, set up from inside its namespace.
//!
//! Owns the order of the steps. Runs on a thread that has entered the namespace.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteScope};
use rtnetlink::{AddressMessageBuilder, LinkUnspec, RouteMessageBuilder};

use super::{Attach, AttachError, Route};
use crate::link::Prefix;
use crate::netlink::{Intent, Netlink, NetlinkError};
use crate::route::family_of;
use crate::sysctl::{self, Family, Written};

/// Addresses, up, routes; then, when `forwards` says that the port is open, the first announcement.
/// Returns the routes that were added.
pub(super) fn set_up(
    wanted: &Attach<'_>,
    forwards: impl FnOnce() -> Result<(), AttachError>,
) -> Result<Vec<Route>, AttachError> {
    let mut netlink = Netlink::open().map_err(NetlinkError::at("open a netlink socket"))?;
    let found = netlink.link(wanted.ifname).map_err(NetlinkError::at("find the container's end"))?;
    let index = found.ok_or_else(|| AttachError::Vanished { interface: wanted.ifname.to_owned() })?.header.index;
    prepare_ipv6(wanted)?;
    for address in wanted.addresses {
        netlink
            .request(RouteNetlinkMessage::NewAddress(address_message(index, *address)), Intent::Create)
            .map_err(|source| AttachError::Address { address: *address, source })?;
    }
    switch_on(&mut netlink, LOOPBACK)?;
    switch_on(&mut netlink, index)?;
    let routes = add_routes(&mut netlink, index, wanted.routes)?;
    forwards()?;
    announce(&mut netlink, index, wanted);
    Ok(routes)
}

/// Adds the routes to destinations that the container has no route to. Where it has one, from a network that it was
/// attached to before, that one stays.
fn add_routes(netlink: &mut Netlink, index: u32, wanted: &[Route]) -> Result<Vec<Route>, AttachError> {
    let mut added = Vec::new();
    for route in wanted {
        match netlink.request(RouteNetlinkMessage::NewRoute(route_message(index, route)), Intent::Create) {
            Ok(()) => added.push(*route),
            Err(source) if source.raw_os_error() == Some(libc::EEXIST) => {}
            Err(source) => return Err(AttachError::Route { destination: route.destination, source }),
        }
    }
    Ok(added)
}

/// Written before the interface is switched on: not even its link-local address is ever tentative.
fn prepare_ipv6(wanted: &Attach<'_>) -> Result<(), AttachError> {
    let write = |key, value| {
        sysctl::write(Family::V6, wanted.ifname, key, value)
            .map_err(|source| AttachError::Sysctl { interface: wanted.ifname.to_owned(), source })
    };
    // Its addresses come from the ledger: nobody else on the segment can have them, or may hand out others.
    let there = write("accept_dad", "0")?;
    write("accept_ra", "0")?;
    let Some(address) = wanted.addresses.iter().find(|prefix| prefix.address.is_ipv6()) else {
        return Ok(());
    };
    if there == Written::Absent {
        return Err(AttachError::NoIpv6 { address: address.address });
    }
    write("disable_ipv6", "0")?;
    Ok(())
}

fn switch_on(netlink: &mut Netlink, index: u32) -> Result<(), NetlinkError> {
    let message = LinkUnspec::new_with_index(index).up().build();
    netlink
        .request(RouteNetlinkMessage::SetLink(message), Intent::Existing)
        .map_err(NetlinkError::at("switch an interface of the container on"))
}

/// The kernel's index of `lo` in every namespace.
const LOOPBACK: u32 = 1;

fn address_message(index: u32, prefix: Prefix) -> AddressMessage {
    match prefix.address {
        IpAddr::V4(address) => {
            AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(address, prefix.length).build()
        }
        IpAddr::V6(address) => {
            let mut message =
                AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(address, prefix.length).build();
            message.header.scope = AddressScope::Universe;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
            message
        }
    }
}

fn route_message(index: u32, route: &Route) -> RouteMessage {
    let mut message = RouteMessageBuilder::<IpAddr>::new().output_interface(index).build();
    message.header.address_family = family_of(route.destination.address);
    message.header.destination_prefix_length = route.destination.length;
    if route.destination.length > 0 {
        message.attributes.push(RouteAttribute::Destination(route.destination.address.into()));
    }
    match route.gateway {
        Some(gateway) => message.attributes.push(RouteAttribute::Gateway(gateway.into())),
        None => message.header.scope = RouteScope::Link,
    }
    message
}

/// Has the kernel announce every address: what it sends when an interface's MAC changes, it also sends when the MAC is set
/// to what it is. A packet socket would do too, but closing one waits for every CPU, longer than all the rest of an attach.
///
/// Nothing depends on it but the neighbours' patience, so a failure is only noted.
fn announce(netlink: &mut Netlink, index: u32, wanted: &Attach<'_>) {
    let settings = [(Family::V4, "arp_notify"), (Family::V6, "ndisc_notify")];
    let written =
        settings.into_iter().try_for_each(|(family, key)| sysctl::write(family, wanted.ifname, key, "1").map(|_| ()));
    let message = LinkUnspec::new_with_index(index).address(wanted.mac.to_vec()).build();
    let announced = written.and_then(|()| netlink.request(RouteNetlinkMessage::SetLink(message), Intent::Existing));
    if let Err(source) = announced {
        tracing::warn!(ifname = wanted.ifname, %source, "the addresses could not be announced");
    }
}
