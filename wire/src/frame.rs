//! An Ethernet frame as the switch needs to see it: fixed offsets, no copy, no allocation.
//!
//! Owns where the fields are. Decides nothing about them. Every function is total: any bytes give a value.
//!
//! ```text
//!   0           6        12    14
//!   destination | source | ethertype | ARP, IPv4 or IPv6
//! ```

mod cut;
mod join;
mod sum;

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::id::Mac;

pub use cut::{CutError, Cutter, Protocol};
pub use join::Joiner;

/// Bytes of an Ethernet header without tags.
pub const ETHERNET_BYTES: usize = 14;

/// The ethertype of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// The ethertype of ARP.
pub const ETHERTYPE_ARP: u16 = 0x0806;
/// The ethertype of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;
/// The ethertypes of tags: IEEE 802.1Q, 802.1ad and the older stacking value.
const ETHERTYPES_OF_TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// Extension headers looked behind before an IPv6 packet counts as malformed. RFC 8200 §4.1 names seven kinds, each once but one.
const MAX_EXTENSION_HEADERS: usize = 8;

/// A view of a frame that has a whole Ethernet header.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    bytes: &'a [u8],
}

/// What a frame carries, as far as forwarding and policy look into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Address resolution for IPv4 over Ethernet (RFC 826).
    Arp(Arp),
    /// An IPv4 packet.
    Ipv4(Ipv4),
    /// An IPv6 packet.
    Ipv6(Ipv6),
    /// A frame with a VLAN tag.
    Tagged,
    /// Another protocol, or a length (IEEE 802.3) where an ethertype is expected.
    Other(u16),
    /// Cut short or contradicting itself.
    Malformed,
}

/// An ARP packet's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// Whether somebody asks or answers.
    pub operation: ArpOperation,
    /// The sender's hardware address.
    pub sender_mac: Mac,
    /// The sender's address; 0.0.0.0 in a probe (RFC 5227).
    pub sender: Ipv4Addr,
    /// The address asked for, or the one answered to.
    pub target: Ipv4Addr,
}

/// What an ARP packet does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArpOperation {
    /// Asks who has the target.
    Request,
    /// Says who has the sender's address.
    Reply,
}

/// An IPv4 header's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4 {
    /// Where it comes from.
    pub source: Ipv4Addr,
    /// Where it goes.
    pub destination: Ipv4Addr,
    /// What it carries.
    pub transport: Transport,
}

/// An IPv6 header's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6 {
    /// Where it comes from.
    pub source: Ipv6Addr,
    /// Where it goes.
    pub destination: Ipv6Addr,
    /// What it carries, behind any extension headers.
    pub transport: Transport,
}

/// What an IP packet carries, as far as policy asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// UDP, first fragment or whole.
    Udp {
        /// The sender's port.
        source_port: u16,
        /// The receiver's port.
        destination_port: u16,
    },
    /// ICMP: its type.
    Icmp(u8),
    /// Neighbour discovery (RFC 4861).
    Neighbour(Neighbour),
    /// Other ICMPv6: its type.
    Icmp6(u8),
    /// Anything else, also fragments after the first.
    Other,
    /// Too short for what it says it carries.
    Malformed,
}

/// A neighbour discovery message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Neighbour {
    /// Asks who has the address.
    Solicitation(Ipv6Addr),
    /// Says who has the address.
    Advertisement(Ipv6Addr),
    /// A router solicitation, a router advertisement or a redirect: never between containers.
    Router,
}

impl<'a> Frame<'a> {
    /// Views bytes as a frame. `None` when they do not hold an Ethernet header.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        (bytes.len() >= ETHERNET_BYTES).then_some(Self { bytes })
    }

    /// The receiver's hardware address.
    #[must_use]
    pub fn destination(self) -> Mac {
        Mac(array(self.bytes, 0).unwrap_or_default())
    }

    /// The sender's hardware address.
    #[must_use]
    pub fn source(self) -> Mac {
        Mac(array(self.bytes, 6).unwrap_or_default())
    }

    /// The whole frame.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The first byte behind a packet's addresses: no transport header begins before it. `None` if this is no IP packet.
    #[must_use]
    pub fn least_transport_start(self) -> Option<usize> {
        match u16_at(self.bytes, 12)? {
            ETHERTYPE_IPV4 => Some(ETHERNET_BYTES + 20),
            ETHERTYPE_IPV6 => Some(ETHERNET_BYTES + 40),
            _ => None,
        }
    }

    /// What the frame carries.
    #[must_use]
    pub fn content(self) -> Content {
        let payload = self.bytes.get(ETHERNET_BYTES..).unwrap_or_default();
        let ethertype = u16_at(self.bytes, 12).unwrap_or_default();
        let content = match ethertype {
            ETHERTYPE_IPV4 => ipv4(payload).map(Content::Ipv4),
            ETHERTYPE_IPV6 => ipv6(payload).map(Content::Ipv6),
            ETHERTYPE_ARP => arp(payload).map(Content::Arp),
            tag if ETHERTYPES_OF_TAGS.contains(&tag) => Some(Content::Tagged),
            other => Some(Content::Other(other)),
        };
        content.unwrap_or(Content::Malformed)
    }
}

fn arp(packet: &[u8]) -> Option<Arp> {
    // Hardware Ethernet, protocol IPv4, their lengths: nothing else is ARP on this network.
    if array(packet, 0)? != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    let operation = match u16_at(packet, 6)? {
        1 => ArpOperation::Request,
        2 => ArpOperation::Reply,
        _ => return None,
    };
    Some(Arp {
        operation,
        sender_mac: Mac(array(packet, 8)?),
        sender: Ipv4Addr::from(array::<4>(packet, 14)?),
        target: Ipv4Addr::from(array::<4>(packet, 24)?),
    })
}

fn ipv4(packet: &[u8]) -> Option<Ipv4> {
    let header: [u8; 20] = array(packet, 0)?;
    let header_bytes = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_bytes < 20 || packet.len() < header_bytes {
        return None;
    }
    let fragment_offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
    let transport = if fragment_offset == 0 {
        transport(header[9], packet.get(header_bytes..).unwrap_or_default())
    } else {
        Transport::Other
    };
    Some(Ipv4 {
        source: Ipv4Addr::from(array::<4>(packet, 12)?),
        destination: Ipv4Addr::from(array::<4>(packet, 16)?),
        transport,
    })
}

fn ipv6(packet: &[u8]) -> Option<Ipv6> {
    if packet.first()? >> 4 != 6 {
        return None;
    }
    let payload = packet.get(40..)?;
    Some(Ipv6 {
        source: Ipv6Addr::from(array::<16>(packet, 8)?),
        destination: Ipv6Addr::from(array::<16>(packet, 24)?),
        transport: behind_extensions(*packet.get(6)?, payload),
    })
}

/// Walks the extension headers, so that a router advertisement cannot hide behind them (RFC 7113).
fn behind_extensions(mut next: u8, mut rest: &[u8]) -> Transport {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION_OPTIONS: u8 = 60;
    for _ in 0..MAX_EXTENSION_HEADERS {
        let Some(&[following, length]) = rest.first_chunk::<2>() else {
            return transport(next, rest);
        };
        let bytes = match next {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => (usize::from(length) + 1) * 8,
            AUTHENTICATION => (usize::from(length) + 2) * 4,
            FRAGMENT if u16_at(rest, 2).unwrap_or_default() >> 3 != 0 => return Transport::Other,
            FRAGMENT => 8,
            _ => return transport(next, rest),
        };
        let Some(behind) = rest.get(bytes..) else {
            return Transport::Malformed;
        };
        (next, rest) = (following, behind);
    }
    Transport::Malformed
}

fn transport(protocol: u8, segment: &[u8]) -> Transport {
    const ICMP: u8 = 1;
    const UDP: u8 = 17;
    const ICMP6: u8 = 58;
    let seen = match protocol {
        UDP => array::<4>(segment, 0).map(|[a, b, c, d]| Transport::Udp {
            source_port: u16::from_be_bytes([a, b]),
            destination_port: u16::from_be_bytes([c, d]),
        }),
        ICMP => segment.first().map(|&kind| Transport::Icmp(kind)),
        ICMP6 => icmp6(segment),
        _ => Some(Transport::Other),
    };
    seen.unwrap_or(Transport::Malformed)
}

fn icmp6(message: &[u8]) -> Option<Transport> {
    let target = || array::<16>(message, 8).map(Ipv6Addr::from);
    Some(match *message.first()? {
        135 => Transport::Neighbour(Neighbour::Solicitation(target()?)),
        136 => Transport::Neighbour(Neighbour::Advertisement(target()?)),
        133 | 134 | 137 => Transport::Neighbour(Neighbour::Router),
        kind => Transport::Icmp6(kind),
    })
}

/// `N` bytes from `at`, if they are there.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A big-endian 16-bit number at `at`, if it is there.
fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests;
