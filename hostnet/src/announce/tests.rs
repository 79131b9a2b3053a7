use etherparse::{Icmpv6Type, NetSlice, SlicedPacket, TransportSlice};

use super::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 5];

#[test]
fn the_arp_announcement_names_the_address_as_sender_and_target() {
    let frame = gratuitous_arp(MAC, Ipv4Addr::new(10, 32, 0, 5));
    let packet = SlicedPacket::from_ethernet(&frame).unwrap();
    let Some(NetSlice::Arp(arp)) = packet.net else { panic!("not ARP: {packet:?}") };
    assert_eq!(arp.operation().0, 1);
    assert_eq!(arp.sender_hw_addr(), MAC);
    assert_eq!(arp.sender_protocol_addr(), [10, 32, 0, 5]);
    assert_eq!(arp.target_hw_addr(), [0; 6]);
    assert_eq!(arp.target_protocol_addr(), [10, 32, 0, 5]);
    assert_eq!(frame.len(), 60);
}

#[test]
fn the_advertisement_goes_to_all_nodes_overrides_and_has_a_right_checksum() {
    let address: Ipv6Addr = "fd00:1::5".parse().unwrap();
    let frame = unsolicited_advertisement(MAC, address);
    let packet = SlicedPacket::from_ethernet(&frame).unwrap();
    let Some(NetSlice::Ipv6(ip)) = packet.net else { panic!("not IPv6: {packet:?}") };
    assert_eq!(ip.header().source_addr(), address);
    assert_eq!(ip.header().destination_addr(), ALL_NODES);
    assert_eq!(ip.header().hop_limit(), 255);
    let Some(TransportSlice::Icmpv6(icmp)) = packet.transport else { panic!("not ICMPv6") };
    assert!(icmp.is_checksum_valid(address.octets(), ALL_NODES.octets()));
    let Icmpv6Type::NeighborAdvertisement(flags) = icmp.icmp_type() else { panic!("{:?}", icmp.icmp_type()) };
    assert!(flags.r#override && !flags.solicited && !flags.router);
    assert_eq!(&icmp.payload()[..16], address.octets());
    assert_eq!(icmp.payload()[16..], [2, 1, 2, 0, 0, 0, 0, 5]);
}
