//! Frames that a container could send if nobody looked, byte by byte.
//!
//! Knows who the attacker and its victims are. Knows nothing of Raddle.

use std::net::{Ipv4Addr, Ipv6Addr};

use anyhow::Result;
use etherparse::PacketBuilder;

pub(crate) type Mac = [u8; 6];

/// The attacker and those it would like to be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cast {
    pub(crate) own: Party,
    pub(crate) victim: Party,
    pub(crate) gateway: Party,
}

/// One station of the segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Party {
    pub(crate) mac: Mac,
    pub(crate) ipv4: Ipv4Addr,
    pub(crate) ipv6: Ipv6Addr,
}

/// A frame and the reason for which it has to be dropped.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) reason: &'static str,
    pub(crate) frame: Vec<u8>,
}

impl Attack {
    /// What a listener looks for: it is at the end of the frame, in its payload or behind it.
    pub(crate) fn marker(&self) -> Vec<u8> {
        marker(self.name)
    }
}

fn marker(name: &str) -> Vec<u8> {
    format!("<<{name}>>").into_bytes()
}

/// A frame to everybody that is allowed, with a marker as all others have.
pub(crate) fn honest(cast: &Cast) -> (Vec<u8>, Vec<u8>) {
    let name = "honest";
    (marker(name), [arp(2, cast.own.mac, cast.own.mac, cast.own.ipv4), marker(name)].concat())
}

/// All of them.
pub(crate) fn attacks(cast: &Cast) -> Result<Vec<Attack>> {
    let mut attacks = addresses(cast)?;
    attacks.extend(neighbours(cast)?);
    attacks.extend(routers(cast)?);
    attacks.extend(links(cast)?);
    Ok(attacks)
}

/// What is allowed once, and would drown others if there were no end to it.
pub(crate) fn floods(cast: &Cast) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let Cast { own, victim, gateway } = *cast;
    let udp = |to_mac: Mac, to: Ipv4Addr, port: u16| {
        let packet = PacketBuilder::ethernet2(own.mac, to_mac).ipv4(own.ipv4.octets(), to.octets(), 64).udp(5353, port);
        written("flood", |frame, payload| Ok(packet.write(frame, payload)?))
    };
    let mut request = arp(1, own.mac, own.mac, own.ipv4);
    request.splice(38..42, victim.ipv4.octets());
    // RFC 4861 §4.3, to the group of the address that is asked for.
    let [.., a, b, c] = victim.ipv6.octets();
    let solicitation = [[0; 4].as_slice(), &victim.ipv6.octets(), &[1, 1], &own.mac].concat();
    let mut neighbour = icmpv6("flood", own, own.ipv6, 135, &solicitation)?;
    neighbour.splice(0..6, [0x33, 0x33, 0xff, a, b, c]);
    Ok(vec![
        ("arp requests", request),
        ("neighbour solicitations", neighbour),
        ("multicast names", udp([1, 0, 0x5e, 0, 0, 0xfb], Ipv4Addr::new(224, 0, 0, 251), 5353)?),
        ("questions of names to the gateway", udp(gateway.mac, gateway.ipv4, 53)?),
    ])
}

/// Somebody else's MAC or address.
fn addresses(cast: &Cast) -> Result<Vec<Attack>> {
    let Cast { own, victim, gateway } = *cast;
    let mut attacks = Vec::new();
    for (name, reason, mac, ipv4) in [
        ("mac of a neighbour", "source-mac", victim.mac, own.ipv4),
        ("mac of the gateway", "source-mac", gateway.mac, own.ipv4),
        ("group mac", BRIDGE, [3, 0, 0, 0, 0, 9], own.ipv4),
        ("address of a neighbour", "source-address", own.mac, victim.ipv4),
        ("address of the gateway", "source-address", own.mac, gateway.ipv4),
        ("address of nobody", "source-address", own.mac, Ipv4Addr::UNSPECIFIED),
        ("loopback", "source-address", own.mac, Ipv4Addr::LOCALHOST),
    ] {
        let packet = PacketBuilder::ethernet2(mac, BROADCAST).ipv4(ipv4.octets(), [255; 4], 64).udp(1000, 2000);
        attacks.push(Attack { name, reason, frame: written(name, |to, payload| Ok(packet.write(to, payload)?))? });
    }
    for (name, ipv6) in [("ipv6 of a neighbour", victim.ipv6), ("ipv6 of the gateway", gateway.ipv6)] {
        let packet = PacketBuilder::ethernet2(own.mac, ALL_NODES_MAC)
            .ipv6(ipv6.octets(), ALL_NODES.octets(), 255)
            .udp(1000, 2000);
        let frame = written(name, |to, payload| Ok(packet.write(to, payload)?))?;
        attacks.push(Attack { name, reason: "source-address", frame });
    }
    Ok(attacks)
}

/// What would enter a neighbour's cache.
fn neighbours(cast: &Cast) -> Result<Vec<Attack>> {
    let Cast { own, victim, gateway } = *cast;
    let mut attacks = Vec::new();
    for (name, operation, mac, ipv4) in [
        ("arp reply for a neighbour", 2, own.mac, victim.ipv4),
        ("arp reply for the gateway", 2, own.mac, gateway.ipv4),
        ("arp request as a neighbour", 1, own.mac, victim.ipv4),
        ("arp with another mac inside", 2, victim.mac, own.ipv4),
    ] {
        let frame = [arp(operation, own.mac, mac, ipv4), marker(name)].concat();
        attacks.push(Attack { name, reason: "source-address", frame });
    }
    // To one victim alone, where nobody else would notice.
    for (name, to, ipv4) in [
        ("arp reply for the gateway to one alone", victim.mac, gateway.ipv4),
        ("arp reply for a neighbour to the gateway", gateway.mac, victim.ipv4),
    ] {
        let mut frame = [arp(2, own.mac, own.mac, ipv4), marker(name)].concat();
        frame.splice(0..6, to);
        attacks.push(Attack { name, reason: "source-address", frame });
    }
    let advertisement = |about: Ipv6Addr| {
        let link_layer = [[2, 1].as_slice(), &own.mac].concat();
        [[0x20, 0, 0, 0].as_slice(), &about.octets(), &link_layer].concat()
    };
    for (name, about) in [("na for a neighbour", victim.ipv6), ("na for the gateway", gateway.ipv6)] {
        let frame = icmpv6(name, own, own.ipv6, 136, &advertisement(about))?;
        attacks.push(Attack { name, reason: "source-address", frame });
    }
    let name = "ns from a neighbour";
    let question = [[0; 4].as_slice(), &gateway.ipv6.octets(), &[1, 1], &own.mac].concat();
    let frame = icmpv6(name, own, victim.ipv6, 135, &question)?;
    attacks.push(Attack { name, reason: "source-address", frame });
    let name = "dad for a neighbours address";
    let question = [[0; 4].as_slice(), &victim.ipv6.octets()].concat();
    let frame = icmpv6(name, own, Ipv6Addr::UNSPECIFIED, 135, &question)?;
    attacks.push(Attack { name, reason: "source-address", frame });
    Ok(attacks)
}

/// What would tell a neighbour where to send.
fn routers(cast: &Cast) -> Result<Vec<Attack>> {
    let Cast { own, victim, gateway } = *cast;
    let mut attacks = Vec::new();
    let local = link_local(own.mac);
    // RFC 4861 §4.2: a router for half an hour, with a prefix to make addresses of.
    let prefix = [[3, 4, 64, 0xc0].as_slice(), &[0, 1, 0, 0], &[0, 1, 0, 0], &[0; 4], &victim.ipv6.octets()].concat();
    let router = [[64, 0, 7, 8].as_slice(), &[0; 8], &prefix].concat();
    let name = "router advertisement";
    let frame = icmpv6(name, own, local, 134, &router)?;
    attacks.push(Attack { name, reason: "router-discovery", frame });
    let name = "router advertisement behind options";
    // Destination options with padding, hop-by-hop options, a routing header with nothing left, a first fragment.
    for (name, next, header) in [
        (name, 60, [58, 0, 1, 4, 0, 0, 0, 0]),
        ("router advertisement behind hop-by-hop options", 0, [58, 0, 1, 4, 0, 0, 0, 0]),
        ("router advertisement behind a routing header", 43, [58, 0, 4, 0, 0, 0, 0, 0]),
        ("router advertisement in a first fragment", 44, [58, 0, 0, 1, 0, 0, 0, 7]),
    ] {
        let frame = behind(next, header, icmpv6(name, own, local, 134, &router)?);
        attacks.push(Attack { name, reason: "router-discovery", frame });
    }
    let name = "router advertisement behind options in a first fragment";
    let options = behind(60, [58, 0, 1, 4, 0, 0, 0, 0], icmpv6(name, own, local, 134, &router)?);
    attacks.push(Attack { name, reason: "malformed", frame: behind(44, [60, 0, 0, 1, 0, 0, 0, 8], options) });
    let name = "ipv6 redirect";
    let redirect = [[0; 4].as_slice(), &local.octets(), &victim.ipv6.octets()].concat();
    attacks.push(Attack { name, reason: "router-discovery", frame: icmpv6(name, own, local, 137, &redirect)? });
    let name = "ipv4 redirect";
    let redirect = PacketBuilder::ethernet2(own.mac, BROADCAST).ipv4(own.ipv4.octets(), [255; 4], 64).icmpv4_raw(
        5,
        1,
        gateway.ipv4.octets(),
    );
    let frame = written(name, |to, payload| Ok(redirect.write(to, payload)?))?;
    attacks.push(Attack { name, reason: "router-discovery", frame });
    let name = "dhcp offer";
    let offer = PacketBuilder::ethernet2(own.mac, BROADCAST).ipv4(own.ipv4.octets(), [255; 4], 64).udp(67, 68);
    let frame = written(name, |to, payload| Ok(offer.write(to, payload)?))?;
    attacks.push(Attack { name, reason: "dhcp-server", frame });
    let name = "dhcpv6 reply";
    let reply =
        PacketBuilder::ethernet2(own.mac, ALL_NODES_MAC).ipv6(local.octets(), ALL_NODES.octets(), 255).udp(547, 546);
    let frame = written(name, |to, payload| Ok(reply.write(to, payload)?))?;
    attacks.push(Attack { name, reason: "dhcp-server", frame });
    Ok(attacks)
}

/// What is not for containers at all.
fn links(cast: &Cast) -> Result<Vec<Attack>> {
    let own = cast.own;
    let inner = |name: &str| [arp(2, own.mac, own.mac, own.ipv4), marker(name)].concat();
    let mut attacks = Vec::new();
    for (name, tag) in [("vlan tag", [0x81, 0, 0, 7].as_slice()), ("provider tag", &[0x88, 0xa8, 0, 7])] {
        let mut frame = inner(name);
        frame.splice(12..12, tag.iter().copied());
        attacks.push(Attack { name, reason: "vlan-tag", frame });
    }
    for (name, tag) in [("priority tag", [0x81, 0, 0xe0, 0]), ("older provider tag", [0x91, 0, 0, 7])] {
        let mut frame = inner(name);
        frame.splice(12..12, tag);
        attacks.push(Attack { name, reason: "vlan-tag", frame });
    }
    let name = "two tags";
    let mut frame = inner(name);
    frame.splice(12..12, [0x88, 0xa8, 0, 7, 0x81, 0, 0, 8]);
    attacks.push(Attack { name, reason: "vlan-tag", frame });
    for (name, group, protocol) in [
        ("spanning tree", 0, [0, 38, 0x42, 0x42, 3]),
        ("lldp", 0x0e, [0x88, 0xcc, 2, 7, 4]),
        ("eapol", 3, [0x88, 0x8e, 1, 0, 0]),
    ] {
        let header = [[1, 0x80, 0xc2, 0, 0, group].as_slice(), &own.mac, &protocol, &[0; 35]].concat();
        attacks.push(Attack { name, reason: "link-control", frame: [header, marker(name)].concat() });
    }
    for (name, protocol) in
        [("pppoe", [0x88, 0x63]), ("cisco spanning tree", [0, 50]), ("local experiment", [0x88, 0xb5])]
    {
        let header = [BROADCAST.as_slice(), &own.mac, &protocol, &[0; 46]].concat();
        attacks.push(Attack { name, reason: "protocol", frame: [header, marker(name)].concat() });
    }
    let name = "arp for another kind of link";
    let mut frame = inner(name);
    frame.splice(14..16, [0, 6]);
    attacks.push(Attack { name, reason: "malformed", frame });
    Ok(attacks)
}

fn written(name: &str, write: impl FnOnce(&mut Vec<u8>, &[u8]) -> Result<()>) -> Result<Vec<u8>> {
    let mut frame = Vec::new();
    write(&mut frame, &marker(name))?;
    Ok(frame)
}

fn arp(operation: u8, source: Mac, mac: Mac, ipv4: Ipv4Addr) -> Vec<u8> {
    let header = [BROADCAST.as_slice(), &source, &[8, 6, 0, 1, 8, 0, 6, 4, 0, operation]].concat();
    [header.as_slice(), &mac, &ipv4.octets(), &[0; 6], &ipv4.octets()].concat()
}

fn icmpv6(name: &str, own: Party, from: Ipv6Addr, kind: u8, body: &[u8]) -> Result<Vec<u8>> {
    let [a, b, c, d] = *body.first_chunk().unwrap_or(&[0; 4]);
    let packet = PacketBuilder::ethernet2(own.mac, ALL_NODES_MAC)
        .ipv6(from.octets(), ALL_NODES.octets(), 255)
        .icmpv6_raw(kind, 0, [a, b, c, d]);
    let mut frame = Vec::new();
    packet.write(&mut frame, body.get(4..).unwrap_or_default())?;
    frame.extend(marker(name));
    Ok(frame)
}

/// The same packet with a header between, where a careless rule would not look; its length grows by as much.
fn behind(next: u8, header: [u8; 8], mut frame: Vec<u8>) -> Vec<u8> {
    frame.splice(54..54, header);
    if let Some(byte) = frame.get_mut(20) {
        *byte = next;
    }
    if let Some(length) = frame.get_mut(19) {
        *length = length.saturating_add(8);
    }
    frame
}

fn link_local([a, b, c, d, e, f]: Mac) -> Ipv6Addr {
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// The bridge itself drops what no station can have sent, before anybody can count it.
pub(crate) const BRIDGE: &str = "bridge";
const BROADCAST: Mac = [0xff; 6];
const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
