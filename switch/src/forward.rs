//! What to do with one frame.
//!
//! Owns the rules: who may send what, and where it goes. Reads the table, changes nothing.
//!
//! ```text
//!   frame ─▶ a kind that may travel? ─▶ source the sender's? ─▶ destination
//!              tag, STP, LLDP, RA,        MAC, and address        MAC ─▶ slot ─▶ owner
//!              redirect, DHCP server      in IP, ARP, ND          ARP, ND: the address asked for ─▶ slot ─▶ owner
//!                                                                 announcements, other multicast: everybody
//! ```

use std::net::{Ipv4Addr, Ipv6Addr};

use wire::chunk::Travel;
use wire::frame::{Arp, ArpOperation, Content, Frame, Ipv4, Ipv6, Neighbour, Transport};
use wire::{Mac, NetworkId, PeerIndex, Slot};

use crate::drops::DropReason;
use crate::table::{NetworkTable, Owner, Table};

/// What to do with one frame. A value, not an action: the shell carries it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// To this host's bridge.
    Deliver,
    /// To one peer.
    Send(PeerIndex),
    /// To every peer in [`Table::replicas`].
    Replicate,
    /// Nowhere; count the reason.
    Drop(DropReason),
}

/// Where a frame came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// This host's bridge.
    Bridge,
    /// A peer, which has it from its own bridge or passed it on.
    Peer(PeerIndex, Travel),
}

/// What a frame asks for, once its source is believed.
enum Aim {
    /// One receiver, named by its MAC.
    One(Mac),
    /// The owner of an IPv4 address: an ARP request.
    Who(Ipv4Addr),
    /// The owner of an IPv6 address: a neighbour solicitation.
    Who6(Ipv6Addr),
    /// Everybody.
    All,
}

impl Table {
    /// Decides about a frame of `network` from this host's bridge.
    #[must_use]
    pub fn outbound(&self, network: NetworkId, frame: Frame<'_>) -> Verdict {
        self.decide(network, Origin::Bridge, frame).unwrap_or_else(Verdict::Drop)
    }

    /// Decides about a frame of `network` from a peer. A frame is believed only if its source belongs to that peer
    /// (invariant I8); a frame that was passed on is believed only of the router the destination came from.
    #[must_use]
    pub fn inbound(&self, from: PeerIndex, travel: Travel, network: NetworkId, frame: Frame<'_>) -> Verdict {
        self.decide(network, Origin::Peer(from, travel), frame).unwrap_or_else(Verdict::Drop)
    }

    fn decide(&self, network: NetworkId, origin: Origin, frame: Frame<'_>) -> Result<Verdict, DropReason> {
        let table = self.network(network).ok_or(DropReason::UnknownNetwork)?;
        let content = frame.content();
        may_travel(frame.destination(), content)?;
        table.check_source(origin, frame.source(), content)?;
        let destination = match aim(frame.destination(), content) {
            Aim::All => return all(origin),
            Aim::One(mac) => table.owner_of_mac(mac).filter(|(slot, _)| table.may_be_for(*slot, mac, content)),
            Aim::Who(address) => table.owner_of(address),
            Aim::Who6(address) => table.owner_of6(address),
        };
        let (slot, owner) = destination.ok_or(DropReason::Foreign)?;
        if slot == Slot::GATEWAY {
            return Err(DropReason::Gateway);
        }
        match origin {
            Origin::Bridge => outbound_to(owner),
            Origin::Peer(from, Travel::Direct) => inbound_to(from, owner),
            Origin::Peer(from, Travel::Forwarded) => self.forwarded_to(network, slot, from, owner),
        }
    }

    fn forwarded_to(
        &self,
        network: NetworkId,
        slot: Slot,
        from: PeerIndex,
        owner: Owner,
    ) -> Result<Verdict, DropReason> {
        if owner != Owner::Here {
            return Err(DropReason::Hops);
        }
        if self.has_arrived(network, slot, from) { Ok(Verdict::Deliver) } else { Err(DropReason::SourceAddress) }
    }
}

impl NetworkTable {
    fn check_source(&self, origin: Origin, mac: Mac, content: Content) -> Result<(), DropReason> {
        let (slot, owner) = self.owner_of_mac(mac).ok_or(DropReason::SourceMac)?;
        if slot == Slot::GATEWAY {
            return Err(DropReason::Gateway);
        }
        if !may_speak_for(origin, owner) {
            return Err(DropReason::SourceMac);
        }
        let honest = match content {
            Content::Ipv4(packet) => self.may_send_from(origin, packet.source),
            Content::Ipv6(packet) => self.may_send_from6(origin, mac, packet),
            Content::Arp(packet) => packet.sender_mac == mac && self.may_send_from(origin, packet.sender),
            Content::Tagged | Content::Other(_) | Content::Malformed => true,
        };
        if honest { Ok(()) } else { Err(DropReason::SourceAddress) }
    }

    fn may_send_from(&self, origin: Origin, source: Ipv4Addr) -> bool {
        // Who has no address yet says so: probes (RFC 5227) and DHCP.
        source.is_unspecified() || self.may_use(origin, self.owner_of(source))
    }

    fn may_send_from6(&self, origin: Origin, mac: Mac, packet: Ipv6) -> bool {
        let source = packet.source;
        // Link-local addresses have no slot: they belong to the MAC, which has been checked.
        let has = |address: Ipv6Addr| {
            if address.is_unicast_link_local() {
                address == mac.link_local()
            } else {
                self.may_use(origin, self.owner_of6(address))
            }
        };
        let source_is_fine = source.is_unspecified() || has(source);
        let target_is_fine = match packet.transport {
            Transport::Neighbour(Neighbour::Advertisement(target)) => has(target),
            Transport::Neighbour(Neighbour::Solicitation(_) | Neighbour::Router)
            | Transport::Udp { .. }
            | Transport::Icmp(_)
            | Transport::Icmp6(_)
            | Transport::Other
            | Transport::Malformed => true,
        };
        source_is_fine && target_is_fine
    }

    /// Whether a frame to this MAC is for this slot. A MAC that its slot gives it is; one that somebody insists on is another
    /// owner's word, and no way to get what is addressed to others' slots.
    fn may_be_for(&self, slot: Slot, mac: Mac, content: Content) -> bool {
        let addressed = match content {
            Content::Ipv4(packet) => self.owner_of(packet.destination),
            Content::Ipv6(packet) => self.owner_of6(packet.destination),
            Content::Arp(_) | Content::Tagged | Content::Other(_) | Content::Malformed => None,
        };
        addressed.is_none_or(|(addressed, _)| addressed == slot) || !self.is_exception(mac)
    }

    fn may_use(&self, origin: Origin, place: Option<(Slot, Owner)>) -> bool {
        place.is_some_and(|(slot, owner)| slot != Slot::GATEWAY && may_speak_for(origin, owner))
    }
}

/// Whether a frame from `origin` may carry an address of `owner`'s.
fn may_speak_for(origin: Origin, owner: Owner) -> bool {
    match origin {
        Origin::Bridge => owner == Owner::Here,
        Origin::Peer(from, Travel::Direct) => owner == Owner::Peer(from),
        // Passed on: the sender's router is another one. Who may pass on is asked where the destination is known.
        Origin::Peer(_, Travel::Forwarded) => matches!(owner, Owner::Peer(_)),
    }
}

fn may_travel(destination: Mac, content: Content) -> Result<(), DropReason> {
    // 01:80:c2:00:00:00 to :0f never pass a bridge (IEEE 802.1D §7.12.6).
    if matches!(destination.0, [0x01, 0x80, 0xc2, 0x00, 0x00, 0x00..=0x0f]) {
        return Err(DropReason::LinkLocalControl);
    }
    match content {
        Content::Arp(_) => Ok(()),
        Content::Ipv4(Ipv4 { transport, .. }) | Content::Ipv6(Ipv6 { transport, .. }) => {
            transport_may_travel(transport)
        }
        Content::Tagged => Err(DropReason::Tagged),
        Content::Other(_) => Err(DropReason::Protocol),
        Content::Malformed => Err(DropReason::Malformed),
    }
}

fn transport_may_travel(transport: Transport) -> Result<(), DropReason> {
    const DHCP_SERVER: u16 = 67;
    const DHCP_CLIENT: u16 = 68;
    const DHCP6_SERVER: u16 = 547;
    const DHCP6_CLIENT: u16 = 546;
    const ICMP_REDIRECT: u8 = 5;
    match transport {
        Transport::Udp { source_port: DHCP_SERVER, destination_port: DHCP_CLIENT }
        | Transport::Udp { source_port: DHCP6_SERVER, destination_port: DHCP6_CLIENT } => Err(DropReason::DhcpServer),
        Transport::Icmp(ICMP_REDIRECT) | Transport::Neighbour(Neighbour::Router) => Err(DropReason::RouterDiscovery),
        Transport::Malformed => Err(DropReason::Malformed),
        Transport::Udp { .. }
        | Transport::Icmp(_)
        | Transport::Icmp6(_)
        | Transport::Neighbour(Neighbour::Solicitation(_) | Neighbour::Advertisement(_))
        | Transport::Other => Ok(()),
    }
}

fn aim(destination: Mac, content: Content) -> Aim {
    if !destination.is_multicast() {
        return Aim::One(destination);
    }
    match content {
        Content::Arp(Arp { operation: ArpOperation::Request, sender, target, .. }) if sender != target => {
            Aim::Who(target)
        }
        Content::Ipv6(Ipv6 { transport: Transport::Neighbour(Neighbour::Solicitation(target)), .. }) => {
            Aim::Who6(target)
        }
        // A request for one's own address and an answer to everybody are announcements.
        Content::Arp(_)
        | Content::Ipv4(_)
        | Content::Ipv6(_)
        | Content::Tagged
        | Content::Other(_)
        | Content::Malformed => Aim::All,
    }
}

fn all(origin: Origin) -> Result<Verdict, DropReason> {
    match origin {
        Origin::Bridge => Ok(Verdict::Replicate),
        Origin::Peer(_, Travel::Direct) => Ok(Verdict::Deliver),
        // A router replicates its own frames only, so nobody passes these on.
        Origin::Peer(_, Travel::Forwarded) => Err(DropReason::Hops),
    }
}

fn outbound_to(owner: Owner) -> Result<Verdict, DropReason> {
    match owner {
        Owner::Peer(peer) => Ok(Verdict::Send(peer)),
        Owner::Here => Err(DropReason::Local),
        Owner::Nobody => Err(DropReason::NoOwner),
    }
}

fn inbound_to(from: PeerIndex, owner: Owner) -> Result<Verdict, DropReason> {
    match owner {
        Owner::Here => Ok(Verdict::Deliver),
        // The sender owns the destination itself: its bridge would have delivered it.
        Owner::Peer(peer) if peer == from => Err(DropReason::Local),
        // The address has left, and the sender does not know yet.
        Owner::Peer(peer) => Ok(Verdict::Send(peer)),
        Owner::Nobody => Err(DropReason::NoOwner),
    }
}

#[cfg(test)]
mod tests;
