//! Two hosts that do not reach each other, and the one between them, whose thread passes their envelopes on.

use std::net::UdpSocket;

use wire::envelope::{Course, Header, Kind, RELAY_BYTES};

use super::*;

/// A and C, who send to each other by way of B.
fn line() -> [Host; 3] {
    let [a, b, c] = hosts::three(1472);
    a.reach_by(&c, &b);
    c.reach_by(&a, &b);
    [a, b, c]
}

#[test]
fn frames_of_every_shape_arrive_by_a_relay_as_they_left() {
    let [a, b, c] = line();
    let shapes = [
        (Virtio { checksum: Some(UDP_CHECKSUM), cut: None }, udp(A, C, &payload(64))),
        (Virtio { checksum: Some(TCP_CHECKSUM), cut: cut(CutKind::Tcp4, 1300, 54) }, tcp(A, C, 7, &payload(40_000))),
        (Virtio { checksum: Some(UDP_CHECKSUM), cut: cut(CutKind::Udp, 1000, 42) }, udp(A, C, &payload(9_500))),
        (Virtio::default(), udp(A, C, &payload(8_900))),
    ];
    for (virtio, frame) in shapes {
        a.write(virtio, &frame);
        assert_eq!(c.read(), Some((virtio, frame)));
    }
    // And back, many at once.
    let virtio = Virtio { checksum: Some(UDP_CHECKSUM), cut: None };
    let frames: Vec<_> = (0..100_u8).map(|number| udp(C, A, &[number; 40])).collect();
    frames.iter().for_each(|frame| c.write(virtio, frame));
    let mut numbers = Vec::new();
    while numbers.len() < 100 {
        let (_, frame) = a.read().unwrap();
        numbers.extend(frame[42..].chunks(40).map(|payload| payload[0]));
    }
    assert_eq!(numbers, (0..100).collect::<Vec<_>>());
    assert!(b.is_silent(), "the relay's own containers hear nothing");
    assert_eq!((a.losses(), b.losses(), c.losses()), (vec![], vec![], vec![]));
    let told =
        |host: &Host| host.report(|report| matches!(report, Report::Roamed { peer: PeerIndex(0), .. }).then_some(()));
    assert!(told(&b).is_none(), "what it passes on says nothing of where a peer is");
}

/// What A sends to B for C, taken on its way; and where B sends what it passes on.
fn caught(a: &Host, b: &Host, c: &Host) -> (Vec<u8>, UdpSocket, UdpSocket) {
    let (to_b, to_c) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    for socket in [&to_b, &to_c] {
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    }
    a.reach(b, to_b.local_addr().unwrap());
    b.reach(c, to_c.local_addr().unwrap());
    a.write(Virtio::default(), &udp(A, C, b"by a relay"));
    let mut buffer = [0; 2048];
    let bytes = to_b.recv(&mut buffer).unwrap();
    (buffer[..bytes].to_vec(), to_b, to_c)
}

#[test]
fn the_relay_takes_off_its_words_and_nothing_else() {
    let [a, b, c] = line();
    let (sent, to_b, to_c) = caught(&a, &b, &c);
    let outer = Header::parse(&sent).unwrap();
    assert_eq!((outer.kind, outer.course), (Kind::Relayed, Course::Direct));
    let inner = &sent[RELAY_BYTES..];
    assert_eq!(Header::parse(inner).map(|header| (header.kind, header.course)), Ok((Kind::Data, Course::Relayed)));
    // Whom it is for can be read by the relay alone.
    assert!(!sent[16..RELAY_BYTES].windows(4).any(|bytes| bytes == [2; 4]));
    to_b.send_to(&sent, b.address).unwrap();
    let mut buffer = [0; 2048];
    let bytes = to_c.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..bytes], inner);
}

#[test]
fn only_members_envelopes_for_members_are_passed_on_and_once() {
    let [a, b, c] = line();
    let (sent, to_b, to_c) = caught(&a, &b, &c);
    let change = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = sent.clone();
        change(&mut changed);
        changed
    };
    let hostile = [
        // Somebody else's words, or none of a session we have.
        change(&|bytes| bytes[20] ^= 1),
        change(&|bytes| bytes[4] ^= 0x80),
        change(&|bytes| bytes[1] = 9),
        // What lies behind is no data, is to be passed on again, or does not say that it is passed on.
        change(&|bytes| bytes[RELAY_BYTES] = 5),
        change(&|bytes| bytes[RELAY_BYTES] = 6),
        change(&|bytes| bytes[RELAY_BYTES + 3] = 0),
        // Too short for an envelope behind the words, or for the words.
        sent[..RELAY_BYTES + 31].to_vec(),
        sent[..RELAY_BYTES - 1].to_vec(),
    ];
    for datagram in &hostile {
        to_b.send_to(datagram, b.address).unwrap();
    }
    to_b.send_to(&sent, b.address).unwrap();
    to_b.send_to(&sent, b.address).unwrap();
    let mut buffer = [0; 2048];
    let bytes = to_c.recv(&mut buffer).unwrap();
    assert_eq!(&buffer[..bytes], &sent[RELAY_BYTES..]);
    b.until_lost(&[("unknown-session", 2), ("not-relayed", 5), ("replayed", 1), ("forged", 1)]);
    to_c.set_read_timeout(Some(Duration::from_millis(60))).unwrap();
    assert!(to_c.recv(&mut buffer).is_err(), "the words are good for one envelope");
    assert_eq!(b.losses(), [("unknown-session", 2), ("not-relayed", 5), ("replayed", 1), ("forged", 1)]);
}

#[test]
fn what_came_from_a_peer_is_not_passed_back_to_it() {
    let [a, b, c] = line();
    // B believes that C is reached by A: passing on would go in circles.
    b.reach_by(&c, &a);
    a.write(Virtio::default(), &udp(A, C, b"in circles"));
    b.until_lost(&[("not-relayed", 1)]);
    assert!(c.is_silent());
    assert_eq!(b.losses(), [("not-relayed", 1)]);
}
