use super::super::cut::tests::{cut, super_frame};
use super::super::cut::{Cutter, Family};
use super::*;

fn segments(payload_bytes: usize) -> (Vec<Vec<u8>>, u16) {
    let (frame, transport) = super_frame(Family::Ipv4, Protocol::Tcp, &vec![7; payload_bytes]);
    (cut(&Cutter::new(&frame, transport, Protocol::Tcp, 100).unwrap()), transport)
}

#[test]
fn nothing_follows_a_short_segment() {
    let (segments, transport) = segments(250);
    let mut joiner = Joiner::begin(&segments[1], transport, Protocol::Tcp).unwrap();
    assert!(joiner.append(&segments[2]).is_some());
    assert!(!joiner.takes(&segments[1]));
    assert!(joiner.append(&segments[1]).is_none());
    assert_eq!(joiner.segments(), 2);
}

#[test]
fn a_longer_segment_and_an_empty_one_do_not_join() {
    let (segments, transport) = segments(250);
    let joiner = Joiner::begin(&segments[2], transport, Protocol::Tcp).unwrap();
    assert!(!joiner.takes(&segments[0]));
    assert!(!joiner.takes(&segments[0][..usize::from(transport) + 32]));
    assert!(!joiner.takes(&[]));
}

#[test]
fn a_frame_without_payload_begins_nothing() {
    let (segments, transport) = segments(250);
    let bare = &segments[0][..usize::from(transport) + 32];
    assert!(Joiner::begin(bare, transport, Protocol::Tcp).is_none());
    assert!(Joiner::begin(&segments[0], transport, Protocol::Udp).is_none());
}

#[test]
fn a_joined_frame_stays_an_ip_packet() {
    let (segments, transport) = segments(100);
    let mut first = segments[0].clone();
    first.resize(60_000, 7);
    let joiner = Joiner::begin(&first, transport, Protocol::Tcp).unwrap();
    assert!(!joiner.takes(&first));
}

#[test]
fn the_reduced_window_is_told_by_the_first_segment() {
    let (segments, transport) = segments(250);
    let first = Joiner::begin(&segments[0], transport, Protocol::Tcp).unwrap();
    let second = Joiner::begin(&segments[1], transport, Protocol::Tcp).unwrap();
    assert!(first.reduces_window(&segments[0]) && !second.reduces_window(&segments[1]));
}

fn datagram(payload: &[u8]) -> Vec<u8> {
    super_frame(Family::Ipv4, Protocol::Udp, payload).0
}

/// Gives an IPv4 datagram another identification, and the sum that goes with it.
fn identify(datagram: &mut [u8], identification: u16) {
    put(datagram, 18, &identification.to_be_bytes()).unwrap();
    put(datagram, 24, &[0, 0]).unwrap();
    let checksum = !sum::fold(sum::add_bytes(0, &datagram[14..34]));
    put(datagram, 24, &checksum.to_be_bytes()).unwrap();
}

#[test]
fn datagrams_that_may_be_fragmented_join_only_with_the_next_identification() {
    let [mut first, mut second] = [datagram(&[1; 40]), datagram(&[2; 40])];
    for (frame, identification) in [(&mut first, 0xffff), (&mut second, 0)] {
        frame[20] = 0;
        identify(frame, identification);
    }
    let mut joiner = Joiner::begin_flow(&first, 34, 40).unwrap();
    assert!(joiner.continues_flow(&first, &second));
    joiner.append(&second).unwrap();
    assert!(!joiner.continues_flow(&first, &second));
    identify(&mut second, 1);
    assert!(joiner.continues_flow(&first, &second));
}

#[test]
fn a_sum_that_is_wrong_is_not_mended() {
    let first = datagram(&[1; 40]);
    let joiner = Joiner::begin_flow(&first, 34, 40).unwrap();
    for at in [24, 40] {
        let mut wrong = datagram(&[2; 40]);
        wrong[at] ^= 0x01;
        assert!(!joiner.continues_flow(&first, &wrong));
    }
    let mut wrong = first;
    wrong[24] ^= 0x01;
    assert!(Joiner::begin_flow(&wrong, 34, 40).is_none());
    assert!(Joiner::begin_flow(&datagram(&[1; 40]), 34, 42).is_none(), "the sum goes where no UDP header has it");
}

#[test]
fn datagrams_of_one_flow_join_whatever_their_identification() {
    for family in [Family::Ipv4, Family::Ipv6] {
        let (mut first, transport) = super_frame(family, Protocol::Udp, &[1; 40]);
        let (mut second, _) = super_frame(family, Protocol::Udp, &[2; 30]);
        if family == Family::Ipv4 {
            identify(&mut second, 0x1234);
        }
        let mut joiner = Joiner::begin_flow(&first, transport, usize::from(transport) + 6).unwrap();
        assert!(joiner.continues_flow(&first, &second) && joiner.takes(&second));
        let tail = joiner.append(&second).unwrap().to_vec();
        joiner.finish(&mut first).unwrap();
        first.extend_from_slice(&tail);
        let (expected, _) = super_frame(family, Protocol::Udp, &[&[1; 40][..], &[2; 30]].concat());
        assert_eq!(first, expected);
    }
}

#[test]
fn a_frame_of_another_flow_does_not_join() {
    let first = datagram(&[1; 40]);
    let joiner = Joiner::begin_flow(&first, 34, 40).unwrap();
    // MACs, ethertype, header length, type of service, fragment bits, time to live, protocol, addresses, ports, length.
    for at in [0, 6, 12, 14, 15, 20, 21, 22, 23, 26, 33, 34, 37, 38, 39] {
        let mut other = datagram(&[2; 40]);
        other[at] ^= 0x01;
        assert!(!joiner.continues_flow(&first, &other), "byte {at}");
    }
    let mut padded = datagram(&[2; 30]);
    padded.push(0);
    assert!(!joiner.continues_flow(&first, &padded));
    assert!(!joiner.continues_flow(&first, &first[..30]));
}

#[test]
fn fragments_and_padded_frames_begin_no_flow() {
    let mut fragment = datagram(&[1; 40]);
    fragment[20] |= 0x20;
    let mut padded = datagram(&[1; 10]);
    padded.push(0);
    for frame in [fragment, padded, super_frame(Family::Ipv4, Protocol::Tcp, &[1; 40]).0] {
        assert!(Joiner::begin_flow(&frame, 34, 40).is_none());
    }
}
