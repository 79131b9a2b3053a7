use etherparse::{ArpHardwareId, ArpPacket, EtherType, Icmpv4Type, IpNumber, Ipv6RawExtHeader, PacketBuilder};
use proptest::prelude::*;
use wire::{Network, Pool, Pool6, Range};

use super::*;
use crate::table::{Arrival, Exception};

const NET: NetworkId = NetworkId(0);
const P: PeerIndex = PeerIndex(0);
const Q: PeerIndex = PeerIndex(1);

// Slots: 64..128 here, 128..192 P's, 192..256 Q's, the rest nobody's.
const HERE: u32 = 66;
const AT_P: u32 = 130;
const AT_Q: u32 = 200;
const NOWHERE: u32 = 300;
const GATEWAY: u32 = 1;

fn network() -> Network {
    Network {
        id: NET,
        name: "raddle".to_owned(),
        pool: Pool { base: Ipv4Addr::new(10, 32, 0, 0), prefix: 16 },
        pool6: Some(Pool6 { base: "fd00:32::".parse().unwrap(), prefix: 64 }),
    }
}

fn table() -> Table {
    let range = |start, owner| (Range { network: NET, start: Slot(start), length: 64 }, owner);
    let ranges = [range(64, Owner::Here), range(128, Owner::Peer(P)), range(192, Owner::Peer(Q))];
    let arrivals = [Arrival { network: NET, slot: Slot(HERE), from: P }];
    Table::new(vec![network()], &ranges, vec![P, Q], &arrivals)
}

fn mac(slot: u32) -> [u8; 6] {
    network().mac(Slot(slot)).0
}

fn ip(slot: u32) -> [u8; 4] {
    network().address(Slot(slot)).octets()
}

fn ip6(slot: u32) -> [u8; 16] {
    network().address6(Slot(slot)).unwrap().octets()
}

fn built(builder: etherparse::PacketBuilderStep<etherparse::UdpHeader>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    builder.write(&mut bytes, payload).unwrap();
    bytes
}

/// UDP from one slot's MAC and another's address to a third's.
fn udp(source: [u8; 6], from: [u8; 4], destination: [u8; 6], to: [u8; 4]) -> Vec<u8> {
    built(PacketBuilder::ethernet2(source, destination).ipv4(from, to, 64).udp(4000, 53), b"x")
}

fn plain(from: u32, to: u32) -> Vec<u8> {
    udp(mac(from), ip(from), mac(to), ip(to))
}

fn arp(operation: u16, source: [u8; 6], sender: [u8; 4], destination: [u8; 6], target: [u8; 4]) -> Vec<u8> {
    let operation = etherparse::ArpOperation(operation);
    let packet =
        ArpPacket::new(ArpHardwareId::ETHERNET, EtherType::IPV4, operation, &source, &sender, &[0; 6], &target)
            .unwrap();
    let mut bytes = Vec::new();
    PacketBuilder::ethernet2(source, destination).arp(packet).write(&mut bytes).unwrap();
    bytes
}

fn request(from: u32, for_slot: u32) -> Vec<u8> {
    arp(1, mac(from), ip(from), [0xff; 6], ip(for_slot))
}

fn icmp6(from: u32, source: [u8; 16], kind: u8, target: [u8; 16]) -> Vec<u8> {
    let group = [0x33, 0x33, 0xff, 0, 0, 1];
    let message = [&[kind, 0, 0, 0, 0, 0, 0, 0][..], &target].concat();
    let builder = PacketBuilder::ethernet2(mac(from), group).ipv6(source, [0xff; 16], 255);
    let mut bytes = Vec::new();
    builder.write(&mut bytes, IpNumber::IPV6_ICMP, &message).unwrap();
    bytes
}

fn out(bytes: &[u8]) -> Verdict {
    table().outbound(NET, Frame::parse(bytes).unwrap())
}

fn from_p(bytes: &[u8]) -> Verdict {
    table().inbound(P, Travel::Direct, NET, Frame::parse(bytes).unwrap())
}

fn passed_on_by(peer: PeerIndex, bytes: &[u8]) -> Verdict {
    table().inbound(peer, Travel::Forwarded, NET, Frame::parse(bytes).unwrap())
}

const fn dropped(reason: DropReason) -> Verdict {
    Verdict::Drop(reason)
}

#[test]
fn a_link_local_address_belongs_to_the_mac_also_behind_a_peer() {
    let own = |slot| Mac(mac(slot)).link_local().octets();
    let advertisement = |from, source, target| from_p(&icmp6(from, source, 136, target));
    assert_ne!(advertisement(AT_P, own(AT_P), own(AT_P)), dropped(DropReason::SourceAddress));
    for (source, target) in [(own(AT_P), own(HERE)), (own(HERE), own(AT_P)), (own(AT_P), own(AT_Q))] {
        assert_eq!(advertisement(AT_P, source, target), dropped(DropReason::SourceAddress));
    }
    assert_eq!(from_p(&icmp6(AT_P, own(HERE), 135, ip6(HERE))), dropped(DropReason::SourceAddress));
}

#[test]
fn who_has_a_link_local_address_is_asked_where_its_mac_is() {
    let own = |slot| Mac(mac(slot)).link_local().octets();
    let solicitation = |from, target| icmp6(from, own(from), 135, target);
    assert_eq!(out(&solicitation(HERE, own(AT_P))), Verdict::Send(P));
    assert_eq!(from_p(&solicitation(AT_P, own(HERE))), Verdict::Deliver);
    assert_eq!(out(&solicitation(HERE, own(NOWHERE))), dropped(DropReason::NoOwner));
    assert_eq!(out(&solicitation(HERE, own(GATEWAY))), dropped(DropReason::Gateway));
    let random = "fe80::1234:5678:9abc:def0".parse::<Ipv6Addr>().unwrap().octets();
    assert_eq!(out(&solicitation(HERE, random)), dropped(DropReason::Foreign));
}

#[test]
fn a_frame_goes_to_the_owner_of_its_destination() {
    let cases = [
        (AT_P, Verdict::Send(P)),
        (AT_Q, Verdict::Send(Q)),
        (HERE + 1, dropped(DropReason::Local)),
        (NOWHERE, dropped(DropReason::NoOwner)),
        (GATEWAY, dropped(DropReason::Gateway)),
    ];
    for (to, expected) in cases {
        assert_eq!(out(&plain(HERE, to)), expected, "to slot {to}");
    }
    let foreign = udp(mac(HERE), ip(HERE), [2, 1, 1, 1, 1, 1], ip(AT_P));
    assert_eq!(out(&foreign), dropped(DropReason::Foreign));
}

#[test]
fn a_frame_from_a_peer_is_delivered_or_passed_on_to_who_has_the_address() {
    let cases = [
        (HERE, Verdict::Deliver),
        (AT_Q, Verdict::Send(Q)),
        (AT_P + 1, dropped(DropReason::Local)),
        (NOWHERE, dropped(DropReason::NoOwner)),
        (GATEWAY, dropped(DropReason::Gateway)),
    ];
    for (to, expected) in cases {
        assert_eq!(from_p(&plain(AT_P, to)), expected, "to slot {to}");
    }
}

#[test]
fn a_source_is_believed_only_of_its_owner() {
    for slot in [HERE, AT_P, AT_Q, NOWHERE, GATEWAY] {
        let reason = if slot == GATEWAY { DropReason::Gateway } else { DropReason::SourceMac };
        let to_p = out(&plain(slot, AT_P));
        assert_eq!(to_p, if slot == HERE { Verdict::Send(P) } else { dropped(reason) }, "from slot {slot}");
        let to_us = from_p(&plain(slot, HERE));
        assert_eq!(to_us, if slot == AT_P { Verdict::Deliver } else { dropped(reason) }, "from slot {slot} of P");
    }
}

/// The table, with MACs that somebody insists on.
fn excepted(exceptions: &[([u8; 6], u32)]) -> Table {
    let exception = |&(mac, slot): &([u8; 6], u32)| Exception { network: NET, mac: Mac(mac), slot: Slot(slot) };
    table().with_exceptions(&exceptions.iter().map(exception).collect::<Vec<_>>())
}

#[test]
fn a_mac_that_is_not_its_slots_own_is_known_with_its_slot() {
    const MAC: [u8; 6] = [0x0a, 0, 0x5e, 0, 0x53, 1];
    let from_it = udp(MAC, ip(AT_P), mac(HERE), ip(HERE));
    let to_it = udp(mac(HERE), ip(HERE), MAC, ip(AT_P));
    let at = |table: &Table| {
        let parse = |frame| Frame::parse(frame).unwrap();
        (table.inbound(P, Travel::Direct, NET, parse(&from_it)), table.outbound(NET, parse(&to_it)))
    };
    assert_eq!(at(&table()), (dropped(DropReason::SourceMac), dropped(DropReason::Foreign)));
    assert_eq!(at(&excepted(&[(MAC, AT_P)])), (Verdict::Deliver, Verdict::Send(P)));
    // It is the slot's owner's, whoever that is, and of two slots the lower one's.
    assert_eq!(at(&excepted(&[(MAC, AT_Q)])), (dropped(DropReason::SourceMac), dropped(DropReason::Foreign)));
    assert_eq!(at(&excepted(&[(MAC, AT_Q), (MAC, AT_P)])), (Verdict::Deliver, Verdict::Send(P)));
    // Whoever claims the MAC of another's container gets nothing that is addressed to that one.
    let to_q = udp(mac(HERE), ip(HERE), MAC, ip(AT_Q));
    let claimed = excepted(&[(MAC, AT_Q), (MAC, AT_P)]);
    assert_eq!(claimed.outbound(NET, Frame::parse(&to_q).unwrap()), dropped(DropReason::Foreign));
}

#[test]
fn nobody_takes_a_slots_own_mac_or_a_groups() {
    let table = excepted(&[(mac(AT_Q), AT_P), ([1, 0, 0x5e, 0, 0, 0xfb], AT_P)]);
    let to_q = plain(HERE, AT_Q);
    assert_eq!(table.outbound(NET, Frame::parse(&to_q).unwrap()), Verdict::Send(Q));
    let to_all = udp(mac(HERE), ip(HERE), [1, 0, 0x5e, 0, 0, 0xfb], [224, 0, 0, 251]);
    assert_eq!(table.outbound(NET, Frame::parse(&to_all).unwrap()), Verdict::Replicate);
}

#[test]
fn an_address_that_is_not_the_senders_is_refused_under_the_right_mac() {
    for other in [AT_P, AT_Q, NOWHERE, GATEWAY] {
        let ipv4 = udp(mac(HERE), ip(other), mac(AT_P), ip(AT_P));
        assert_eq!(out(&ipv4), dropped(DropReason::SourceAddress), "IPv4 of slot {other}");
        let builder = PacketBuilder::ethernet2(mac(HERE), mac(AT_P)).ipv6(ip6(other), ip6(AT_P), 64).udp(1, 2);
        assert_eq!(out(&built(builder, b"x")), dropped(DropReason::SourceAddress), "IPv6 of slot {other}");
        let announcement = arp(1, mac(HERE), ip(other), [0xff; 6], ip(AT_P));
        assert_eq!(out(&announcement), dropped(DropReason::SourceAddress), "ARP for slot {other}");
        let advertisement = icmp6(HERE, ip6(HERE), 136, ip6(other));
        assert_eq!(out(&advertisement), dropped(DropReason::SourceAddress), "ND for slot {other}");
    }
    let outside = udp(mac(HERE), [8, 8, 8, 8], mac(AT_P), ip(AT_P));
    assert_eq!(out(&outside), dropped(DropReason::SourceAddress));
    let mut liar = request(HERE, AT_P);
    liar[27] ^= 1;
    assert_eq!(out(&liar), dropped(DropReason::SourceAddress), "ARP with another hardware address inside");
}

#[test]
fn requests_go_to_the_owner_of_the_address_asked_for() {
    let cases = [
        (AT_P, Verdict::Send(P)),
        (HERE + 1, dropped(DropReason::Local)),
        (NOWHERE, dropped(DropReason::NoOwner)),
        (GATEWAY, dropped(DropReason::Gateway)),
    ];
    for (target, expected) in cases {
        assert_eq!(out(&request(HERE, target)), expected, "ARP for slot {target}");
        assert_eq!(out(&icmp6(HERE, ip6(HERE), 135, ip6(target))), expected, "ND for slot {target}");
    }
    assert_eq!(out(&arp(1, mac(HERE), ip(HERE), [0xff; 6], [8, 8, 8, 8])), dropped(DropReason::Foreign));
    assert_eq!(from_p(&request(AT_P, HERE)), Verdict::Deliver);
    assert_eq!(from_p(&request(AT_P, AT_Q)), Verdict::Send(Q));
}

#[test]
fn who_has_no_address_yet_may_ask() {
    assert_eq!(out(&arp(1, mac(HERE), [0; 4], [0xff; 6], ip(AT_P))), Verdict::Send(P));
    assert_eq!(out(&icmp6(HERE, [0; 16], 135, ip6(AT_P))), Verdict::Send(P));
    let discover = PacketBuilder::ethernet2(mac(HERE), [0xff; 6]).ipv4([0; 4], [255; 4], 64).udp(68, 67);
    assert_eq!(out(&built(discover, b"x")), Verdict::Replicate);
}

#[test]
fn announcements_and_other_multicast_go_to_everybody_once() {
    let gratuitous = arp(1, mac(HERE), ip(HERE), [0xff; 6], ip(HERE));
    let answer_to_all = arp(2, mac(HERE), ip(HERE), [0xff; 6], ip(HERE));
    let advertisement = icmp6(HERE, ip6(HERE), 136, ip6(HERE));
    let multicast = udp(mac(HERE), ip(HERE), [1, 0, 0x5e, 0, 0, 0xfb], [224, 0, 0, 251]);
    for frame in [gratuitous, answer_to_all, advertisement, multicast] {
        assert_eq!(out(&frame), Verdict::Replicate);
    }
    let theirs = udp(mac(AT_P), ip(AT_P), [0xff; 6], [255; 4]);
    assert_eq!(from_p(&theirs), Verdict::Deliver);
    assert_eq!(passed_on_by(P, &udp(mac(AT_Q), ip(AT_Q), [0xff; 6], [255; 4])), dropped(DropReason::Hops));
}

#[test]
fn what_was_passed_on_is_taken_from_the_former_holder_only_and_never_passed_on_again() {
    assert_eq!(passed_on_by(P, &plain(AT_Q, HERE)), Verdict::Deliver);
    assert_eq!(passed_on_by(Q, &plain(AT_P, HERE)), dropped(DropReason::SourceAddress));
    assert_eq!(passed_on_by(P, &plain(AT_Q, HERE + 1)), dropped(DropReason::SourceAddress));
    assert_eq!(passed_on_by(P, &plain(AT_P, AT_Q)), dropped(DropReason::Hops));
    assert_eq!(passed_on_by(P, &plain(HERE + 1, HERE)), dropped(DropReason::SourceMac));
}

#[test]
fn what_no_container_may_say_is_dropped_both_ways() {
    let with = |slot: u32| {
        let udp_from = |source, port| {
            built(PacketBuilder::ethernet2(mac(slot), [0xff; 6]).ipv4(ip(slot), [255; 4], 64).udp(source, port), b"x")
        };
        let mut redirect = Vec::new();
        let kind = Icmpv4Type::Unknown { type_u8: 5, code_u8: 1, bytes5to8: [0; 4] };
        let builder = PacketBuilder::ethernet2(mac(slot), [0xff; 6]).ipv4(ip(slot), [255; 4], 64).icmpv4(kind);
        builder.write(&mut redirect, b"x").unwrap();
        let mut tagged = udp_from(1, 2);
        tagged[12..14].copy_from_slice(&[0x81, 0]);
        let mut lldp = udp_from(1, 2);
        lldp[..6].copy_from_slice(&[1, 0x80, 0xc2, 0, 0, 0x0e]);
        let mut other = udp_from(1, 2);
        other[12..14].copy_from_slice(&[0x88, 0xb5]);
        [
            (udp_from(67, 68), DropReason::DhcpServer),
            (udp_from(547, 546), DropReason::DhcpServer),
            (redirect, DropReason::RouterDiscovery),
            (icmp6(slot, ip6(slot), 134, [0; 16]), DropReason::RouterDiscovery),
            (icmp6(slot, ip6(slot), 137, [0; 16]), DropReason::RouterDiscovery),
            (tagged, DropReason::Tagged),
            (lldp, DropReason::LinkLocalControl),
            (other, DropReason::Protocol),
            (udp_from(1, 2)[..20].to_vec(), DropReason::Malformed),
        ]
    };
    for (frame, reason) in with(HERE) {
        assert_eq!(out(&frame), dropped(reason));
    }
    for (frame, reason) in with(AT_P) {
        assert_eq!(from_p(&frame), dropped(reason));
    }
}

#[test]
fn a_router_advertisement_does_not_hide_behind_an_extension_header() {
    let header = Ipv6RawExtHeader::new_raw(IpNumber::IPV6_ICMP, &[0; 6]).unwrap();
    let message = [&[134, 0, 0, 0, 0, 0, 0, 0][..], &[0; 8]].concat();
    let mut payload = Vec::new();
    header.write(&mut payload).unwrap();
    payload.extend_from_slice(&message);
    let mut bytes = Vec::new();
    let builder = PacketBuilder::ethernet2(mac(HERE), [0x33, 0x33, 0, 0, 0, 1]).ipv6(ip6(HERE), [0xff; 16], 255);
    builder.write(&mut bytes, IpNumber::IPV6_DESTINATION_OPTIONS, &payload).unwrap();
    assert_eq!(out(&bytes), dropped(DropReason::RouterDiscovery));
}

#[test]
fn a_network_that_is_not_here_has_no_frames() {
    let frame = plain(HERE, AT_P);
    let verdict = table().outbound(NetworkId(5), Frame::parse(&frame).unwrap());
    assert_eq!(verdict, dropped(DropReason::UnknownNetwork));
}

#[test]
fn an_empty_table_forwards_nothing() {
    let frame = plain(HERE, AT_P);
    let verdict = Table::default().outbound(NET, Frame::parse(&frame).unwrap());
    assert_eq!(verdict, dropped(DropReason::UnknownNetwork));
}

proptest! {
    #[test]
    fn any_bytes_get_a_verdict_and_strangers_no_way_in(bytes in proptest::collection::vec(any::<u8>(), 14..120)) {
        prop_assert!(matches!(out(&bytes), Verdict::Drop(_)));
        prop_assert!(matches!(from_p(&bytes), Verdict::Drop(_)));
        prop_assert!(matches!(passed_on_by(Q, &bytes), Verdict::Drop(_)));
    }
}
