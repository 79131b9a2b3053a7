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
