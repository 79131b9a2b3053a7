//! Whole data planes on the loopback interface. A pair of Unix sockets stands where the kernel has the tap; sockets, keys,
//! threads and formats are the real ones.

mod hosts;
mod joining;
mod kernel;
mod namespaces;
mod packets;
mod relays;
mod segments;
mod turns;

use std::net::UdpSocket;
use std::time::Duration;

use hostnet::tap::{Cut, CutKind, PartialChecksum, Virtio};
use switch::{Arrival, Owner};
use wire::{PeerIndex, Slot};

use super::Report;
use hosts::{A, B, C, Host, NETWORK, arp_request, sequence_of, tcp, udp};

const TCP_CHECKSUM: PartialChecksum = PartialChecksum { start: 34, offset: 16 };
const UDP_CHECKSUM: PartialChecksum = PartialChecksum { start: 34, offset: 6 };

fn cut(kind: CutKind, segment_bytes: u16, header_bytes: u16) -> Option<Cut> {
    Some(Cut { kind, segment_bytes, header_bytes, reduces_window: false })
}

fn payload(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

#[test]
fn a_frame_arrives_as_it_left() {
    let [a, b] = hosts::pair(1, 1472);
    for bytes in [1, 64, 1372] {
        let frame = udp(A, B, &payload(bytes));
        let virtio = Virtio { checksum: Some(UDP_CHECKSUM), cut: None };
        a.write(virtio, &frame);
        assert_eq!(b.read(), Some((virtio, frame)));
    }
    assert_eq!(b.losses(), []);
}

#[test]
fn super_frames_arrive_as_such() {
    let [a, b] = hosts::pair(1, 1472);
    let frames = [
        (cut(CutKind::Tcp4, 1360, 54), TCP_CHECKSUM, tcp(A, B, 7, &payload(40_000))),
        (cut(CutKind::Udp, 1000, 42), UDP_CHECKSUM, udp(A, B, &payload(9_500))),
    ];
    for (cut, checksum, frame) in frames {
        let virtio = Virtio { checksum: Some(checksum), cut };
        a.write(virtio, &frame);
        assert_eq!(b.read(), Some((virtio, frame)));
    }
    assert_eq!(b.losses(), []);
}

#[test]
fn datagrams_of_one_flow_arrive_together_or_one_by_one_but_all_and_in_order() {
    let [a, b] = hosts::pair(1, 1472);
    let virtio = Virtio { checksum: Some(UDP_CHECKSUM), cut: None };
    let frames: Vec<_> =
        (0..200_u8).map(|number| udp(if number == 90 { Slot(A.0 + 1) } else { A }, B, &[number; 40])).collect();
    frames.iter().for_each(|frame| a.write(virtio, frame));
    let mut numbers = Vec::new();
    while numbers.len() < 200 {
        let (virtio, frame) = b.read().unwrap();
        assert!(virtio.cut.is_none_or(|cut| cut.segment_bytes == 40));
        numbers.extend(frame[42..].chunks(40).map(|payload| payload[0]));
    }
    assert_eq!(numbers, (0..200).collect::<Vec<_>>());
    assert_eq!(b.losses(), []);
}

#[test]
fn a_frame_that_does_not_fit_the_path_comes_through_in_pieces() {
    let [a, b] = hosts::pair(1, 1472);
    let frame = udp(A, B, &payload(8_900));
    a.write(Virtio::default(), &frame);
    assert_eq!(b.read(), Some((Virtio::default(), frame)));
    // A UDP super-frame whose segments do not fit either: each datagram of it comes whole.
    let frame = udp(A, B, &payload(15_000));
    a.write(Virtio { checksum: Some(UDP_CHECKSUM), cut: cut(CutKind::Udp, 5_000, 42) }, &frame);
    for _ in 0..3 {
        let (virtio, segment) = b.read().unwrap();
        assert_eq!((virtio.cut, segment.len()), (None, 42 + 5_000));
    }
}

#[test]
fn a_stream_with_segments_too_large_for_the_path_is_cut_smaller() {
    let [a, b] = hosts::pair(1, 1472);
    let frame = tcp(A, B, 7, &payload(30_000));
    a.write(Virtio { checksum: Some(TCP_CHECKSUM), cut: cut(CutKind::Tcp4, 8_860, 54) }, &frame);
    let (virtio, joined) = b.read().unwrap();
    assert_eq!(virtio.cut.map(|cut| cut.segment_bytes), Some(1414 + 14 - 54));
    assert_eq!(joined, frame);
}

#[test]
fn a_lost_segment_costs_that_segment_only() {
    let [a, b] = hosts::pair(1, 1472);
    let proxy = UdpSocket::bind("127.0.0.1:0").unwrap();
    a.reach(&b, proxy.local_addr().unwrap());
    let data = payload(20_000);
    a.write(Virtio { checksum: Some(TCP_CHECKSUM), cut: cut(CutKind::Tcp4, 1000, 54) }, &tcp(A, B, 5_000, &data));
    let mut buffer = [0; 2048];
    for number in 0..20 {
        let bytes = proxy.recv(&mut buffer).unwrap();
        if number != 7 {
            proxy.send_to(&buffer[..bytes], b.address).unwrap();
        }
    }
    let mut arrived = vec![false; data.len()];
    while arrived.iter().filter(|&&byte| byte).count() < 19_000 {
        let (_, frame) = b.read().unwrap();
        let at = usize::try_from(sequence_of(&frame) - 5_000).unwrap();
        assert_eq!(frame[54..], data[at..at + frame.len() - 54]);
        arrived[at..at + frame.len() - 54].fill(true);
    }
    assert!(!arrived[7_000..8_000].contains(&true));
    assert!(b.is_silent());
}

#[test]
fn what_the_switch_refuses_is_counted_and_gone() {
    let [a, b] = hosts::pair(1, 1472);
    a.write(Virtio::default(), &udp(B, B, b"a stranger's source"));
    a.write(Virtio::default(), &udp(A, C, b"nobody's destination"));
    a.write(Virtio::default(), &[0; 13]);
    a.until_lost(&[("malformed", 1), ("source-mac", 1), ("no-owner", 1)]);
    assert!(b.is_silent());
    assert_eq!(a.losses(), [("malformed", 1), ("source-mac", 1), ("no-owner", 1)]);
}

#[test]
fn a_peer_that_lies_about_a_source_is_not_believed() {
    let [a, b] = hosts::pair(1, 1472);
    // A's own table says that C's slot is here, B's does not.
    a.owns(C);
    a.write(Virtio::default(), &udp(C, B, b"spoofed"));
    b.until_lost(&[("source-mac", 1)]);
    assert!(b.is_silent());
    assert_eq!(b.losses(), [("source-mac", 1)]);
}

#[test]
fn a_peer_cannot_have_a_sum_written_over_an_address() {
    let [a, b] = hosts::pair(1, 1472);
    for start in [14, 26, 33] {
        let checksum = Some(PartialChecksum { start, offset: 0 });
        a.write(Virtio { checksum, cut: None }, &udp(A, B, &payload(100)));
    }
    let checksum = Some(PartialChecksum { start: 14, offset: 6 });
    a.write(Virtio { checksum, cut: None }, &arp_request(A, B));
    b.until_lost(&[("malformed", 4)]);
    assert!(b.is_silent());
    assert_eq!(b.losses(), [("malformed", 4)]);
}

#[test]
fn broadcast_goes_to_every_peer_and_a_request_to_one() {
    let [a, b, c] = hosts::three(1472);
    let mut everybody = udp(A, B, b"hello");
    everybody[..6].fill(0xff);
    a.write(Virtio::default(), &everybody);
    assert_eq!(b.read().map(|(_, frame)| frame), Some(everybody.clone()));
    assert_eq!(c.read().map(|(_, frame)| frame), Some(everybody));
    a.write(Virtio::default(), &arp_request(A, C));
    assert_eq!(c.read().map(|(_, frame)| frame), Some(arp_request(A, C)));
    assert!(b.is_silent());
}

#[test]
fn a_straggler_follows_an_address_that_has_moved_once() {
    let [a, b, c] = hosts::three(1472);
    // Slot D was B's and went to C: A has not heard of it.
    let d = Slot(B.0 + 1);
    b.place(d, Owner::Peer(PeerIndex(2)));
    c.place(d, Owner::Here);
    c.arrived(Arrival { network: NETWORK, slot: d, from: PeerIndex(1) });
    for bytes in [100, 1372] {
        let frame = udp(A, d, &payload(bytes));
        a.write(Virtio::default(), &frame);
        assert_eq!(c.read(), Some((Virtio::default(), frame)));
    }
    // Without the arrival C believes nobody but the source's owner.
    c.forget_arrivals();
    a.write(Virtio::default(), &udp(A, d, b"late"));
    c.until_lost(&[("source-address", 1)]);
    assert!(c.is_silent());
    assert_eq!(c.losses(), [("source-address", 1)]);
}

#[test]
fn what_a_container_says_at_its_new_place_waits_for_the_news_of_its_move() {
    let [a, b] = hosts::pair(1, 1472);
    let d = Slot(B.0 + 1);
    a.place(d, Owner::Here);
    let large = udp(d, B, &payload(1000));
    a.write(Virtio::default(), &large);
    a.write(Virtio::default(), &arp_request(d, B));
    b.until_lost(&[("source-mac", 2)]);
    assert!(b.is_silent());
    assert_eq!(b.losses(), [("source-mac", 2)]);
    // Some other change of the table is no reason to believe it.
    b.place(Slot(d.0 + 1), Owner::Peer(PeerIndex(0)));
    b.place(d, Owner::Peer(PeerIndex(0)));
    assert_eq!(b.read(), Some((Virtio::default(), arp_request(d, B))));
    b.place(Slot(d.0 + 2), Owner::Peer(PeerIndex(0)));
    assert!(b.is_silent());
}

#[test]
fn an_envelope_opens_once_and_only_if_it_is_true() {
    let [a, b] = hosts::pair(1, 1472);
    let proxy = UdpSocket::bind("127.0.0.1:0").unwrap();
    a.reach(&b, proxy.local_addr().unwrap());
    let frame = udp(A, B, b"once");
    a.write(Virtio::default(), &frame);
    let mut buffer = [0; 2048];
    let bytes = proxy.recv(&mut buffer).unwrap();
    let mut forged = buffer[..bytes].to_vec();
    forged[bytes - 1] ^= 1;
    let mut unknown = buffer[..bytes].to_vec();
    unknown[4] ^= 0x80;
    let mut wrong_queue = buffer[..bytes].to_vec();
    wrong_queue[1] = 9;
    let unreadable = [4, 0, 9, 0, 0, 0, 0, 0];
    for datagram in [&forged[..], &unknown, &wrong_queue, &unreadable, &buffer[..bytes], &buffer[..bytes]] {
        proxy.send_to(datagram, b.address).unwrap();
    }
    assert_eq!(b.read().map(|(_, frame)| frame), Some(frame));
    b.until_lost(&[("malformed-datagram", 1), ("unknown-session", 2), ("replayed", 1), ("forged", 1)]);
    assert!(b.is_silent());
    assert_eq!(b.losses(), [("malformed-datagram", 1), ("unknown-session", 2), ("replayed", 1), ("forged", 1)]);
    let roamed =
        b.report(
            |report| {
                if let Report::Roamed { peer, address, .. } = report { Some((*peer, *address)) } else { None }
            },
        );
    assert_eq!(roamed, Some((PeerIndex(0), proxy.local_addr().unwrap())));
}

#[test]
fn traffic_is_reported_once_it_has_been() {
    let [a, b] = hosts::pair(1, 1472);
    a.write(Virtio::default(), &udp(A, B, &payload(58)));
    let traffic = |host: &Host| {
        host.report(|report| {
            let Report::Traffic { peer, sent_bytes, received_bytes } = report else { return None };
            Some((peer.0, *sent_bytes, *received_bytes))
        })
    };
    assert_eq!((traffic(&a), traffic(&b)), (Some((1, 144, 0)), Some((0, 0, 144))));
}

#[test]
fn a_new_session_takes_over_and_the_old_one_still_opens() {
    let [a, b] = hosts::pair(1, 1472);
    let send = |text: &[u8]| {
        let frame = udp(A, B, text);
        a.write(Virtio::default(), &frame);
        assert_eq!(b.read().map(|(_, frame)| frame), Some(frame));
    };
    send(b"old");
    b.accept_session_of(&a, 2);
    send(b"old, while the other side knows the new one");
    a.send_under(&b, 2);
    send(b"new");
    a.send_under(&b, 1);
    send(b"old again: its counter went on");
    assert_eq!(b.losses(), []);
}

#[test]
fn datagrams_find_the_thread_they_belong_to() {
    let [a, b] = hosts::pair(2, 1472);
    for round in 0..10_u8 {
        for queue in 0..2 {
            let frame = udp(A, B, &[round, u8::try_from(queue).unwrap()]);
            a.write_to(queue, Virtio::default(), &frame);
            assert_eq!(b.read().map(|(_, frame)| frame), Some(frame));
        }
    }
    // As if the kernel had coalesced them: a datagram of queue 1 and a control message come to thread 0.
    let proxy = UdpSocket::bind("127.0.0.1:0").unwrap();
    a.reach(&b, proxy.local_addr().unwrap());
    let frame = udp(A, B, b"of the other queue");
    a.write_to(1, Virtio::default(), &frame);
    let mut buffer = [0; 2048];
    let bytes = proxy.recv(&mut buffer).unwrap();
    let control = [&[5, 0, 1, 0][..], &vec![9; bytes - 4]].concat();
    let leader = [&[4, 0, 1, 0][..], &vec![9; bytes - 4]].concat();
    hosts::send_coalesced(&proxy, b.address, &[&leader, &buffer[..bytes], &control]);
    assert_eq!(b.read().map(|(_, frame)| frame), Some(frame));
    let stray =
        b.report(
            |report| {
                if let Report::Stray { from, datagram } = report { Some((*from, datagram.clone())) } else { None }
            },
        );
    assert_eq!(stray, Some((proxy.local_addr().unwrap(), control)));
}

#[test]
fn before_anything_is_published_nothing_goes_anywhere_and_stopping_is_quick() {
    let host = Host::silent();
    host.write(Virtio::default(), &udp(A, B, b"early"));
    host.until_lost(&[("unknown-network", 1)]);
    assert!(host.is_silent());
    assert_eq!(host.losses(), [("unknown-network", 1)]);
    let begun = std::time::Instant::now();
    host.stop();
    assert!(begun.elapsed() < Duration::from_secs(1));
}
