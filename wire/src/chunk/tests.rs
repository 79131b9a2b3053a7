use proptest::prelude::*;

use super::*;

fn kinds() -> impl Strategy<Value = Kind> {
    let protocol = prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)];
    prop_oneof![
        Just(Kind::Frame),
        (protocol, any::<u16>(), any::<u16>()).prop_map(|(protocol, number, index)| Kind::Segment(Segment {
            protocol,
            number,
            index
        })),
        (any::<u16>(), any::<u16>(), any::<u16>()).prop_map(|(number, offset, frame_bytes)| Kind::Piece(Piece {
            number,
            offset,
            frame_bytes
        })),
    ]
}

fn headers() -> impl Strategy<Value = ChunkHeader> {
    let travel = prop_oneof![Just(Travel::Direct), Just(Travel::Forwarded)];
    let checksum =
        proptest::option::of((any::<u16>(), any::<u8>()).prop_map(|(start, offset)| Checksum { start, offset }));
    (kinds(), travel, 0..=NetworkId::MAX.0, checksum).prop_map(|(kind, travel, network, checksum)| ChunkHeader {
        kind,
        travel,
        network: NetworkId(network),
        checksum,
    })
}

fn emit(header: &ChunkHeader, frame: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; header.header_bytes() + frame.len()];
    header.emit(frame.len(), &mut bytes).unwrap();
    bytes[header.header_bytes()..].copy_from_slice(frame);
    bytes
}

proptest! {
    #[test]
    fn what_is_emitted_is_read(chunks in proptest::collection::vec((headers(), proptest::collection::vec(any::<u8>(), 0..50)), 0..5)) {
        let mut plaintext = chunks.iter().flat_map(|(header, frame)| emit(header, frame)).collect::<Vec<u8>>();
        let read: Vec<_> = Chunks::new(&mut plaintext).map(|chunk| chunk.map(|chunk| (chunk.header, chunk.frame().to_vec()))).collect();
        let expected: Vec<_> = chunks.into_iter().map(Ok).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut bytes = bytes;
        prop_assert!(Chunks::new(&mut bytes).count() <= 300 / CHUNK_HEADER_BYTES + 1);
    }
}

#[test]
fn the_layout_is_what_the_page_says() {
    let checksum = Some(Checksum { start: 34, offset: 16 });
    let segment = Segment { protocol: Protocol::Tcp, number: 0x0102, index: 0x0304 };
    let header =
        ChunkHeader { kind: Kind::Segment(segment), travel: Travel::Forwarded, network: NetworkId(0x0506), checksum };
    assert_eq!(emit(&header, b"abc"), [0x32, 16, 0, 3, 5, 6, 0, 34, 1, 2, 3, 4, b'a', b'b', b'c']);
    let piece = Piece { number: 7, offset: 0x0809, frame_bytes: 0x0a0b };
    let header =
        ChunkHeader { kind: Kind::Piece(piece), travel: Travel::Direct, network: NetworkId(0), checksum: None };
    assert_eq!(emit(&header, b"abc"), [4, 0, 0, 7, 0, 0, 0, 0, 0, 7, 0, 0, 8, 9, 10, 11, b'a', b'b', b'c']);
}

#[test]
fn an_unknown_kind_and_unknown_flags_are_passed_over() {
    let header = ChunkHeader { kind: Kind::Frame, travel: Travel::Direct, network: NetworkId(0), checksum: None };
    let mut newer = emit(&header, b"newer");
    newer[0] = 9;
    let mut flagged = emit(&header, b"frame");
    flagged[0] |= 0xc0;
    let mut plaintext = [newer, flagged].concat();
    let read: Vec<_> = Chunks::new(&mut plaintext).map(|chunk| chunk.unwrap().frame().to_vec()).collect();
    assert_eq!(read, [b"frame"]);
}

#[test]
fn a_chunk_that_is_cut_short_ends_the_plaintext() {
    let header = ChunkHeader { kind: Kind::Frame, travel: Travel::Direct, network: NetworkId(0), checksum: None };
    let mut plaintext = [emit(&header, b"whole"), emit(&header, b"cut")].concat();
    plaintext.pop();
    let mut chunks = Chunks::new(&mut plaintext);
    assert_eq!(chunks.next().unwrap().unwrap().frame(), b"whole");
    assert_eq!(chunks.next(), Some(Err(ChunkError::Truncated { bytes: 14 })));
    assert_eq!(chunks.next(), None);
}

#[test]
fn a_frame_longer_than_its_length_field_is_not_emitted() {
    let header = ChunkHeader { kind: Kind::Frame, travel: Travel::Direct, network: NetworkId(0), checksum: None };
    assert_eq!(header.emit(65_536, &mut [0; 12]), None);
    assert_eq!(header.emit(10, &mut [0; 11]), None);
}

#[test]
fn the_inner_mtu_fills_a_datagram_to_the_last_byte() {
    for (datagram_bytes, expected) in [(1472, 1414), (1452, 1394), (8972, 8914), (8952, 8894)] {
        let mtu = inner_mtu(datagram_bytes);
        assert_eq!(mtu, expected);
        let sealed = OVERHEAD_BYTES + CHUNK_HEADER_BYTES + ETHERNET_BYTES + usize::from(mtu);
        assert_eq!(sealed, usize::from(datagram_bytes));
    }
}

#[test]
fn the_inner_mtu_is_never_below_what_ipv6_needs() {
    assert_eq!((inner_mtu(0), inner_mtu(1232), inner_mtu(u16::MAX)), (1280, 1280, 65_477));
}
