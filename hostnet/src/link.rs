//! The host's interfaces and their addresses.
//!
//! Owns what the kernel's answers mean. Changes nothing.

#![expect(clippy::wildcard_enum_match_arm, reason = "the kernel's enums grow with every release")]

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use futures_util::TryStreamExt;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};

use crate::netlink::{Netlink, NetlinkError, with_handle};

/// An address and how many of its leading bits name the network it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// An address; whether its host bits are zero depends on what it is for.
    pub address: IpAddr,
    /// Prefix length in bits, at most 32 or 128.
    pub length: u8,
}

/// One interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The kernel's number for it.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its Ethernet address, if it has one.
    pub mac: Option<[u8; 6]>,
    /// The largest IP packet it takes.
    pub mtu_bytes: u32,
    /// Whether it is switched on and has a carrier.
    pub state: LinkState,
    /// What it is.
    pub kind: LinkKind,
    /// The index of the bridge (or bond) that it is a port of.
    pub controller: Option<u32>,
    /// What somebody noted on it; ownership, on ours.
    pub alias: Option<String>,
    /// Its addresses that can be used at once.
    pub addresses: Vec<Prefix>,
}

/// Whether frames can pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Switched off.
    Down,
    /// Switched on, but without a carrier.
    NoCarrier,
    /// Switched on, with a carrier.
    Up,
}

/// What an interface is, as far as we tell interfaces apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkKind {
    /// The host's loopback.
    Loopback,
    /// A bridge.
    Bridge,
    /// A veth end.
    Veth,
    /// Some other virtual interface, by the kernel's name for its kind.
    Other(String),
    /// A network card, or what pretends to be one.
    Hardware,
}

/// All interfaces of the calling thread's network namespace with their addresses, by index.
///
/// # Errors
/// [`NetlinkError`].
pub fn list() -> Result<Vec<Link>, NetlinkError> {
    with_handle(async |handle| {
        let links: Vec<_> =
            handle.link().get().execute().try_collect().await.map_err(NetlinkError::of("list interfaces"))?;
        let addresses: Vec<_> =
            handle.address().get().execute().try_collect().await.map_err(NetlinkError::of("list addresses"))?;
        Ok(joined(&links, &addresses))
    })
}

/// One interface with its addresses, through a socket of its namespace.
pub(crate) fn find(netlink: &mut Netlink, name: &str) -> Result<Option<Link>, NetlinkError> {
    let Some(message) = netlink.link(name).map_err(NetlinkError::at("find the interface"))? else {
        return Ok(None);
    };
    let answers = netlink
        .dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()))
        .map_err(NetlinkError::at("list addresses"))?;
    let addresses: Vec<_> = answers
        .into_iter()
        .filter_map(|answer| match answer {
            RouteNetlinkMessage::NewAddress(address) => Some(address),
            _ => None,
        })
        .collect();
    Ok(joined(&[message], &addresses).pop())
}

impl Link {
    /// What a netlink message says of an interface; its addresses come in other messages.
    pub(crate) fn of(message: &LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            mac: None,
            mtu_bytes: 0,
            state: state_of(message.header.flags),
            kind: kind_of(message),
            controller: None,
            alias: None,
            addresses: Vec::new(),
        };
        for attribute in &message.attributes {
            link.handle_attribute(attribute);
        }
        link
    }

    fn handle_attribute(&mut self, attribute: &LinkAttribute) {
        match attribute {
            LinkAttribute::IfName(name) => self.name.clone_from(name),
            LinkAttribute::Address(mac) => self.mac = mac.as_slice().try_into().ok(),
            LinkAttribute::Mtu(mtu_bytes) => self.mtu_bytes = *mtu_bytes,
            LinkAttribute::Controller(index) => self.controller = Some(*index),
            LinkAttribute::IfAlias(alias) => self.alias = Some(alias.clone()),
            _ => {}
        }
    }
}

fn joined(links: &[LinkMessage], addresses: &[AddressMessage]) -> Vec<Link> {
    let mut by_index: BTreeMap<u32, Link> = links.iter().map(|link| (link.header.index, Link::of(link))).collect();
    for message in addresses {
        if let (Some(link), Some(prefix)) = (by_index.get_mut(&message.header.index), prefix_of(message)) {
            link.addresses.push(prefix);
        }
    }
    by_index.into_values().collect()
}

fn state_of(flags: LinkFlags) -> LinkState {
    if !flags.contains(LinkFlags::Up) {
        LinkState::Down
    } else if flags.contains(LinkFlags::LowerUp) {
        LinkState::Up
    } else {
        LinkState::NoCarrier
    }
}

fn kind_of(message: &LinkMessage) -> LinkKind {
    if message.header.flags.contains(LinkFlags::Loopback) {
        return LinkKind::Loopback;
    }
    let infos = message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    let kind = infos.into_iter().flatten().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    });
    match kind {
        None => LinkKind::Hardware,
        Some(InfoKind::Bridge) => LinkKind::Bridge,
        Some(InfoKind::Veth) => LinkKind::Veth,
        Some(other) => LinkKind::Other(other.to_string()),
    }
}

/// The address of a message, unless it still is, or stays, unusable.
pub(crate) fn prefix_of(message: &AddressMessage) -> Option<Prefix> {
    let unusable = AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated;
    let mut local = None;
    let mut other = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Flags(flags) if flags.intersects(unusable) => return None,
            // On point-to-point interfaces the other attribute is the far end's address.
            AddressAttribute::Local(address) => local = Some(*address),
            AddressAttribute::Address(address) => other = Some(*address),
            _ => {}
        }
    }
    local.or(other).map(|address| Prefix { address, length: message.header.prefix_len })
}

impl Prefix {
    /// The whole of IPv4.
    pub const ALL_V4: Self = Self { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), length: 0 };
    /// The whole of IPv6.
    pub const ALL_V6: Self = Self { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), length: 0 };

    /// Whether an address is inside; never one of the other family.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let differing = ours.to_bits() ^ theirs.to_bits();
                differing.leading_zeros() >= u32::from(self.length)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let differing = ours.to_bits() ^ theirs.to_bits();
                differing.leading_zeros() >= u32::from(self.length)
            }
            _ => false,
        }
    }

    /// Whether any address is in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let (wider, narrower) = if self.length <= other.length { (self, other) } else { (other, self) };
        wider.contains(narrower.address)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

impl FromStr for Prefix {
    type Err = ParsePrefixError;

    fn from_str(text: &str) -> Result<Self, ParsePrefixError> {
        let wrong = || ParsePrefixError { text: text.chars().take(80).collect() };
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        // `u8::from_str` would take "+12".
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length = length.parse().ok().filter(|&length: &u8| digits && length <= longest).ok_or_else(wrong)?;
        Ok(Self { address, length })
    }
}

/// Text that is not an address with a prefix length.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not an address with a prefix length")]
pub struct ParsePrefixError {
    /// The text, cut to 80 characters.
    pub text: String,
}

#[cfg(test)]
mod tests;
