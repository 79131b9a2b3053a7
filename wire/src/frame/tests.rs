use proptest::prelude::*;

use super::*;

const HERE: [u8; 6] = [2, 0, 0, 0, 0, 5];
const THERE: [u8; 6] = [2, 0, 0, 0, 0, 9];

fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&THERE[..], &HERE[..], &ethertype.to_be_bytes(), payload].concat()
}

fn content(bytes: &[u8]) -> Content {
    Frame::parse(bytes).unwrap().content()
}

fn ipv4_packet(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, 10, 32, 0, 5, 10, 32, 0, 9];
    packet[6..8].copy_from_slice(&fragment.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

fn ipv6_packet(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 255];
    packet.extend_from_slice(&"fd00::5".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend_from_slice(&"fd00::9".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend_from_slice(payload);
    packet
}

fn transport_of(bytes: &[u8]) -> Transport {
    match content(bytes) {
        Content::Ipv4(packet) => packet.transport,
        Content::Ipv6(packet) => packet.transport,
        Content::Arp(_) | Content::Tagged | Content::Other(_) | Content::Malformed => panic!("no IP packet"),
    }
}

#[test]
fn addresses_are_where_ethernet_has_them() {
    let bytes = ethernet(0x88cc, &[]);
    let frame = Frame::parse(&bytes).unwrap();
    assert_eq!((frame.destination(), frame.source()), (Mac(THERE), Mac(HERE)));
    assert_eq!(frame.content(), Content::Other(0x88cc));
    assert!(Frame::parse(&bytes[..13]).is_none());
}

#[test]
fn tags_of_every_kind_are_seen() {
    for tag in [0x8100, 0x88a8, 0x9100] {
        assert_eq!(content(&ethernet(tag, &[0; 60])), Content::Tagged);
    }
}

#[test]
fn an_arp_request_names_sender_and_target() {
    let packet = [&[0, 1, 8, 0, 6, 4, 0, 1][..], &HERE, &[10, 32, 0, 5], &[0; 6], &[10, 32, 0, 9]].concat();
    let expected = Arp {
        operation: ArpOperation::Request,
        sender_mac: Mac(HERE),
        sender: Ipv4Addr::new(10, 32, 0, 5),
        target: Ipv4Addr::new(10, 32, 0, 9),
    };
    assert_eq!(content(&ethernet(ETHERTYPE_ARP, &packet)), Content::Arp(expected));
    assert_eq!(content(&ethernet(ETHERTYPE_ARP, &packet[..27])), Content::Malformed);
    let mut strange = packet;
    strange[7] = 3;
    assert_eq!(content(&ethernet(ETHERTYPE_ARP, &strange)), Content::Malformed);
}

#[test]
fn ports_and_types_are_read_in_first_fragments_only() {
    let udp = [0, 67, 0, 68, 0, 8, 0, 0];
    let expected = Transport::Udp { source_port: 67, destination_port: 68 };
    assert_eq!(transport_of(&ethernet(ETHERTYPE_IPV4, &ipv4_packet(17, 0x2000, &udp))), expected);
    assert_eq!(transport_of(&ethernet(ETHERTYPE_IPV4, &ipv4_packet(17, 0x2001, &udp))), Transport::Other);
    assert_eq!(transport_of(&ethernet(ETHERTYPE_IPV4, &ipv4_packet(1, 0, &[5, 0]))), Transport::Icmp(5));
    assert_eq!(transport_of(&ethernet(ETHERTYPE_IPV4, &ipv4_packet(17, 0, &[0]))), Transport::Malformed);
}

#[test]
fn ipv4_options_move_the_transport_header() {
    let mut packet = ipv4_packet(17, 0, &[1, 1, 1, 1, 0, 67, 0, 68]);
    packet[0] = 0x46;
    let expected = Transport::Udp { source_port: 67, destination_port: 68 };
    assert_eq!(transport_of(&ethernet(ETHERTYPE_IPV4, &packet)), expected);
    packet[0] = 0x44;
    assert_eq!(content(&ethernet(ETHERTYPE_IPV4, &packet)), Content::Malformed);
}

#[test]
fn neighbour_discovery_is_found_behind_extension_headers() {
    let target: Ipv6Addr = "fd00::9".parse().unwrap();
    let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat();
    let plain = ipv6_packet(58, &solicitation);
    // Hop-by-hop, then destination options, then the first fragment of the message.
    let extensions = [&[60, 0, 0, 0, 0, 0, 0, 0][..], &[44, 0, 0, 0, 0, 0, 0, 0], &[58, 0, 0, 1, 0, 0, 0, 0]].concat();
    let hidden = ipv6_packet(0, &[&extensions, &solicitation[..]].concat());
    for packet in [plain, hidden] {
        let expected = Transport::Neighbour(Neighbour::Solicitation(target));
        assert_eq!(transport_of(&ethernet(ETHERTYPE_IPV6, &packet)), expected);
    }
}

#[test]
fn router_messages_are_one_kind() {
    for kind in [133, 134, 137] {
        let packet = ipv6_packet(58, &[kind, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(transport_of(&ethernet(ETHERTYPE_IPV6, &packet)), Transport::Neighbour(Neighbour::Router));
    }
    assert_eq!(transport_of(&ethernet(ETHERTYPE_IPV6, &ipv6_packet(58, &[128, 0]))), Transport::Icmp6(128));
}

#[test]
fn a_chain_of_extension_headers_without_end_is_malformed() {
    let chain = [60, 0, 0, 0, 0, 0, 0, 0].repeat(20);
    assert_eq!(transport_of(&ethernet(ETHERTYPE_IPV6, &ipv6_packet(60, &chain))), Transport::Malformed);
    assert_eq!(transport_of(&ethernet(ETHERTYPE_IPV6, &ipv6_packet(60, &[60, 200, 0, 0]))), Transport::Malformed);
}

proptest! {
    #[test]
    fn any_bytes_have_a_content(bytes in proptest::collection::vec(any::<u8>(), 0..200), ethertype in 0..4_usize) {
        let ethertype = [ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_ARP, 0x1234][ethertype];
        let _ = Frame::parse(&bytes).map(Frame::content);
        let _ = content(&ethernet(ethertype, &bytes));
    }
}
