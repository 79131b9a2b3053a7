use proptest::prelude::*;

use super::super::Joiner;
use super::*;

/// A super-frame as the kernel hands it over: right lengths, and the pseudo-header's sum where the checksum goes.
pub(in crate::frame) fn super_frame(family: Family, protocol: Protocol, payload: &[u8]) -> (Vec<u8>, u16) {
    let transport_header: &[u8] = match protocol {
        // Ports, sequence number near the wrap, acknowledgement, 12 bytes of options, CWR|PSH|ACK|FIN, window.
        Protocol::Tcp => &[
            0x12, 0x34, 0x00, 0x50, 0xff, 0xff, 0xfe, 0x00, 0, 0, 0, 9, 0x80, 0x99, 0x10, 0, 0, 0, 0, 0, 1, 1, 8, 10,
            0, 0, 0, 1, 0, 0, 0, 2,
        ],
        Protocol::Udp => &[0x12, 0x34, 0x00, 0x50, 0, 0, 0, 0],
    };
    let number = if protocol == Protocol::Tcp { 6 } else { 17 };
    let transport_bytes = u16::try_from(transport_header.len() + payload.len()).unwrap();
    let (mut bytes, pseudo) = match family {
        Family::Ipv4 => {
            let total = (transport_bytes + 20).to_be_bytes();
            let mut header =
                [0x45, 0, total[0], total[1], 0xff, 0xfe, 0x40, 0, 64, number, 0, 0, 10, 32, 0, 5, 10, 32, 0, 9];
            let checksum = !sum::fold(sum::add_bytes(0, &header));
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            (header.to_vec(), sum::add_bytes(0, &header[12..20]))
        }
        Family::Ipv6 => {
            let length = transport_bytes.to_be_bytes();
            let mut header = vec![0x60, 0, 0, 0, length[0], length[1], number, 64];
            header.extend((0..32).map(|byte| byte * 7));
            let pseudo = sum::add_bytes(0, &header[8..40]);
            (header, pseudo)
        }
    };
    let ethertype = if family == Family::Ipv4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
    bytes.splice(0..0, [&[2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 5][..], &ethertype.to_be_bytes()].concat());
    let transport = bytes.len();
    bytes.extend_from_slice(transport_header);
    bytes.extend_from_slice(payload);
    let checksum = sum::fold(pseudo + u32::from(number) + u32::from(transport_bytes));
    let layout = Layout { protocol, family, transport, payload: transport + transport_header.len() };
    put(&mut bytes, layout.checksum(), &checksum.to_be_bytes()).unwrap();
    if protocol == Protocol::Udp {
        put(&mut bytes, transport + 4, &transport_bytes.to_be_bytes()).unwrap();
    }
    (bytes, u16::try_from(transport).unwrap())
}

/// All segments of a cut.
pub(in crate::frame) fn cut(cutter: &Cutter<'_>) -> Vec<Vec<u8>> {
    (0..cutter.count())
        .map(|index| {
            let mut out = vec![0xaa; 70_000];
            let bytes = cutter.emit(index, &mut out).unwrap();
            assert_eq!(cutter.frame_bytes(index), Some(bytes));
            out.truncate(bytes);
            out
        })
        .collect()
}

/// What the kernel would find on receiving: the transport checksum over pseudo-header and segment, once completed.
fn completed_sum(segment: &[u8], layout: Layout) -> u16 {
    let mut segment = segment.to_vec();
    let partial = sum::add_bytes(0, &segment[layout.transport..]);
    let checksum = !sum::fold(partial);
    put(&mut segment, layout.checksum(), &checksum.to_be_bytes()).unwrap();
    let addresses = match layout.family {
        Family::Ipv4 => &segment[ETHERNET_BYTES + 12..ETHERNET_BYTES + 20],
        Family::Ipv6 => &segment[ETHERNET_BYTES + 8..ETHERNET_BYTES + 40],
    };
    let number = if layout.protocol == Protocol::Tcp { 6 } else { 17 };
    let length = u32::try_from(segment.len() - layout.transport).unwrap();
    sum::fold(sum::add_bytes(sum::add_bytes(0, addresses), &segment[layout.transport..]) + number + length)
}

fn families() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::Ipv4), Just(Family::Ipv6)]
}

fn protocols() -> impl Strategy<Value = Protocol> {
    prop_oneof![Just(Protocol::Tcp), Just(Protocol::Udp)]
}

proptest! {
    #[test]
    fn every_segment_is_a_right_frame_of_its_own(
        family in families(), protocol in protocols(), bytes in 1..6000_usize, segment_bytes in 1..1500_usize,
    ) {
        let payload: Vec<u8> = (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let (frame, transport) = super_frame(family, protocol, &payload);
        let cutter = Cutter::new(&frame, transport, protocol, segment_bytes).unwrap();
        let mut carried = Vec::new();
        for segment in cut(&cutter) {
            let layout = Layout::parse(&segment, usize::from(transport), protocol).unwrap();
            prop_assert_eq!(completed_sum(&segment, layout), 0xffff);
            if family == Family::Ipv4 {
                prop_assert_eq!(sum::fold(sum::add_bytes(0, &segment[14..34])), 0xffff);
                prop_assert_eq!(usize::from(u16_at(&segment, 16).unwrap()), segment.len() - 14);
            } else {
                prop_assert_eq!(usize::from(u16_at(&segment, 18).unwrap()), segment.len() - 54);
            }
            if protocol == Protocol::Tcp {
                let sequence = u32::from_be_bytes(super::super::array(&segment, layout.transport + 4).unwrap());
                prop_assert_eq!(sequence, 0xffff_fe00_u32.wrapping_add(u32::try_from(carried.len()).unwrap()));
            } else {
                prop_assert_eq!(usize::from(u16_at(&segment, layout.transport + 4).unwrap()), segment.len() - layout.transport);
            }
            carried.extend_from_slice(&segment[layout.payload..]);
        }
        prop_assert_eq!(carried, payload);
    }

    #[test]
    fn any_run_of_segments_joins_to_what_it_was_cut_from(
        family in families(), protocol in protocols(), bytes in 1..6000_usize, segment_bytes in 100..1500_usize,
        from in 0..60_usize, length in 1..60_usize,
    ) {
        let payload: Vec<u8> = (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let (frame, transport) = super_frame(family, protocol, &payload);
        let segments = cut(&Cutter::new(&frame, transport, protocol, segment_bytes).unwrap());
        let from = from % segments.len();
        let run = &segments[from..(from + length).min(segments.len())];
        let mut joined = run[0].clone();
        let mut joiner = Joiner::begin(&joined, transport, protocol).unwrap();
        let mut tails = Vec::new();
        for segment in &run[1..] {
            prop_assert!(joiner.takes(segment));
            tails.extend_from_slice(joiner.append(segment).unwrap());
        }
        prop_assert_eq!(joiner.segments(), run.len());
        joiner.finish(&mut joined).unwrap();
        joined.extend_from_slice(&tails);
        // Cutting what was joined gives the run again, and joining everything gives the super-frame again.
        let again = cut(&Cutter::new(&joined, transport, protocol, segment_bytes).unwrap());
        prop_assert_eq!(again, run);
        if run.len() == segments.len() {
            prop_assert_eq!(joined, frame);
        }
    }

    #[test]
    fn any_bytes_are_cut_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..200), transport in 0..200_u16, segment_bytes in 0..300_usize,
        protocol in protocols(), ipv4 in any::<bool>(),
    ) {
        let mut bytes = bytes;
        let ethertype = if ipv4 { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        let _ = put(&mut bytes, 12, &ethertype.to_be_bytes());
        if let Ok(cutter) = Cutter::new(&bytes, transport, protocol, segment_bytes) {
            let mut out = [0; 300];
            for index in 0..=cutter.count() {
                let _ = cutter.emit(index, &mut out);
            }
        }
    }
}

#[test]
fn flags_that_are_said_once_are_said_by_the_right_segment() {
    let (frame, transport) = super_frame(Family::Ipv4, Protocol::Tcp, &[7; 250]);
    let segments = cut(&Cutter::new(&frame, transport, Protocol::Tcp, 100).unwrap());
    let flags: Vec<u8> = segments.iter().map(|segment| segment[usize::from(transport) + 13]).collect();
    assert_eq!(flags, [0x90, 0x10, 0x19]);
}

#[test]
fn ipv4_identification_counts_up_and_wraps() {
    let (frame, transport) = super_frame(Family::Ipv4, Protocol::Tcp, &[7; 350]);
    let segments = cut(&Cutter::new(&frame, transport, Protocol::Tcp, 100).unwrap());
    let numbers: Vec<u16> = segments.iter().map(|segment| u16_at(segment, 18).unwrap()).collect();
    assert_eq!(numbers, [0xfffe, 0xffff, 0, 1]);
}

#[test]
fn an_index_beyond_the_end_gives_nothing() {
    let (frame, transport) = super_frame(Family::Ipv6, Protocol::Udp, &[7; 200]);
    let cutter = Cutter::new(&frame, transport, Protocol::Udp, 100).unwrap();
    assert_eq!((cutter.count(), cutter.frame_bytes(2), cutter.emit(3, &mut [0; 500])), (2, None, None));
    assert_eq!(cutter.emit(0, &mut [0; 100]), None);
    let refused = Cutter::new(&frame, transport, Protocol::Udp, 0).map(|_| ());
    assert_eq!(refused, Err(CutError::EmptySegments));
    let misplaced = Cutter::new(&frame, transport + 2, Protocol::Udp, 100).map(|_| ());
    assert_eq!(misplaced, Err(CutError::Headers));
}
