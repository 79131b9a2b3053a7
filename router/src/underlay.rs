//! The host's own network: at which addresses other routers reach this one, and what fits there.
//!
//! Decides which interfaces count. Knows nothing of peers.

use std::net::{IpAddr, SocketAddr};

use hostnet::NetlinkError;
use hostnet::link::{self, Link, LinkKind, LinkState};

use crate::config::{Config, Listen};

/// What the host offers the mesh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Underlay {
    /// Where other routers can reach this one, best first.
    pub(crate) addresses: Vec<SocketAddr>,
    /// The smallest MTU of the interfaces with these addresses, other engines' bridges and tunnels left out where there is
    /// anything else. None where there is no such interface.
    pub(crate) found_bytes: Option<u32>,
}

impl Underlay {
    /// The largest packet that this end takes.
    pub(crate) fn mtu_bytes(&self) -> u16 {
        u16::try_from(self.found_bytes.unwrap_or(ETHERNET_MTU)).unwrap_or(u16::MAX)
    }

    /// The largest UDP payload that fits: less an IP header of the family that is tried first, and 8 bytes of UDP.
    pub(crate) fn datagram_bytes(&self) -> u16 {
        let header = if self.addresses.first().is_none_or(SocketAddr::is_ipv4) { 28 } else { 48 };
        self.mtu_bytes().saturating_sub(header)
    }
}

/// Looks at the host's interfaces.
pub(crate) fn survey(config: &Config) -> Result<Underlay, NetlinkError> {
    Ok(choose(config, &link::list()?))
}

fn choose(config: &Config, links: &[Link]) -> Underlay {
    let port = config.listen.port();
    let ours = |link: &Link| link.name == config.bridge || link.name == config.tap;
    let mut found: Vec<(&Link, IpAddr)> = Vec::new();
    for link in links.iter().filter(|link| link.state == LinkState::Up && !ours(link)) {
        let addresses = link.addresses.iter().map(|prefix| prefix.address);
        found.extend(addresses.filter(|address| is_heard(config.listen, *address)).map(|address| (link, address)));
    }
    // IPv4 first: its header is the smaller one, so more of every datagram is the container's. Bridges last: the address of
    // another engine's bridge is often the same on every host.
    found.sort_by_key(|(link, address)| (link.kind == LinkKind::Bridge, address.is_ipv6()));
    let best = found.iter().map(|(link, _)| distance(link)).min();
    let underlays = found.iter().filter(|(link, _)| Some(distance(link)) == best);
    let found_bytes = underlays.map(|(link, _)| link.mtu_bytes).min();
    let addresses = if config.advertise.is_empty() {
        found.iter().map(|(_, address)| SocketAddr::new(*address, port)).take(ADDRESSES).collect()
    } else {
        config.advertise.iter().map(|address| address.or_port(port)).collect()
    };
    Underlay { addresses, found_bytes }
}

/// Whether a socket that listens so hears what is sent to the address from another host.
fn is_heard(listen: Listen, address: IpAddr) -> bool {
    match listen {
        Listen::Anywhere { .. } => !is_local(address),
        Listen::At(at) if at.ip().is_unspecified() => !is_local(address) && at.is_ipv4() == address.is_ipv4(),
        Listen::At(at) => at.ip() == address,
    }
}

/// Whether an address means something else on every host.
fn is_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local() || address.is_unspecified(),
        IpAddr::V6(address) => address.is_loopback() || address.is_unicast_link_local() || address.is_unspecified(),
    }
}

/// How unlikely an interface is to be what others reach this host by: cards, then bridges, then tunnels, whose own packets
/// travel through one of the others. What a path through a tunnel carries is found out as for any path.
fn distance(link: &Link) -> u8 {
    match &link.kind {
        LinkKind::Other(kind) if TUNNELS.contains(&kind.as_str()) => 2,
        LinkKind::Bridge => 1,
        LinkKind::Loopback | LinkKind::Veth | LinkKind::Other(_) | LinkKind::Hardware => 0,
    }
}

/// The kernel's names for kinds of tunnels; a VPN's program has a "tun".
const TUNNELS: [&str; 12] =
    ["tun", "wireguard", "vxlan", "geneve", "ipip", "ip6tnl", "sit", "gre", "gretap", "vti", "vti6", "xfrm"];

/// What Ethernet carries when nothing better is known.
const ETHERNET_MTU: u32 = 1500;
/// A host with more addresses than this is reached at its first ones.
const ADDRESSES: usize = 8;

#[cfg(test)]
mod tests;
