//! Super-frames and their segments, judged by the kernel: what ours give is what its own segmentation gives, byte for byte,
//! whatever the headers say and whatever the network does to the datagrams in between.
//!
//! Two differences are meant. A stream whose segments do not fit the path is cut smaller. And the identification of an
//! IPv4 datagram that may not be fragmented has no meaning (RFC 6864 §4.1): datagrams of a flow that were joined count up.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};

use hostnet::tap::{CutKind, Virtio};
use hostnet::udp::{SendBatch, UdpQueue};
use mesh::aead::Suite;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use wire::Slot;
use wire::chunk::frame_room;
use wire::frame::{Cutter, Protocol};

use super::hosts::{A, B, fold, sum};
use super::kernel::Kernel;
use super::packets::{Extension, NetworkHeader, Packet, Payload, Summed, TransportHeader, with_one_zero};
use super::turns::{Bench, pair_over};

const DO_NOT_FRAGMENT: u16 = 0x4000;

/// No options, no-operations, timestamps behind two of them, two blocks of selective acknowledgement, a length of three, and as
/// many as fit.
fn tcp_options() -> impl Strategy<Value = Vec<u8>> {
    let timestamps = vec![1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2];
    let selective = [&[1, 1, 5, 18][..], &[7; 16]].concat();
    let most = [&timestamps[..], &[1, 1, 5, 26], &[9; 24]].concat();
    let kinds = vec![vec![], vec![1, 1, 1, 0], timestamps, selective, vec![3, 3, 7, 0], most];
    proptest::sample::select(kinds)
}

/// No options, no-operations, a record of the route, and as many as fit.
fn ipv4_options() -> impl Strategy<Value = Vec<u8>> {
    let route = vec![7, 7, 4, 0, 0, 0, 0, 0];
    proptest::sample::select(vec![vec![], vec![1, 1, 1, 0], route, vec![1; 40]])
}

fn network_header() -> impl Strategy<Value = NetworkHeader> {
    let fragment = prop_oneof![Just(0), Just(DO_NOT_FRAGMENT)];
    let ipv4 = (any::<u8>(), any::<u16>(), fragment, 1..=255_u8, ipv4_options());
    let first = prop_oneof![Just(None), (0..3_u8).prop_map(|words| Some(Extension::hop_by_hop(words)))];
    let other = (any::<bool>(), 0..3_u8)
        .prop_map(|(routes, words)| if routes { Extension::routing(words) } else { Extension::padding(words) });
    let some = (first, proptest::collection::vec(other, 0..3))
        .prop_map(|(first, others)| first.into_iter().chain(others).collect());
    let extensions = prop_oneof![2 => Just(Vec::new()), 1 => some];
    let ipv6 = (any::<u8>(), 0..0x10_0000_u32, any::<u8>(), extensions);
    prop_oneof![
        ipv4.prop_map(|(service, identification, fragment, time_to_live, options)| {
            NetworkHeader::Ipv4 { service, identification, fragment, time_to_live, options }
        }),
        ipv6.prop_map(|(class, label, hops, extensions)| NetworkHeader::Ipv6 { class, label, hops, extensions }),
    ]
}

fn transport_header() -> impl Strategy<Value = TransportHeader> {
    prop_oneof![
        (any::<u32>(), any::<u8>(), any::<u16>(), any::<u16>(), tcp_options()).prop_map(
            |(sequence, flags, window, urgent, options)| TransportHeader::Tcp {
                sequence,
                flags,
                window,
                urgent,
                options
            }
        ),
        // Ports of their own: no flow continues another by accident.
        (1024..u16::MAX, 1024..u16::MAX).prop_map(|(from, to)| TransportHeader::Udp { ports: [from, to] }),
    ]
}

/// A super-frame and its segment size: a few segments, the last of them full, a single byte, or anything between.
fn super_frames(most_segment_bytes: usize) -> impl Strategy<Value = (Packet, usize)> {
    let last = prop_oneof![Just(0), Just(1), any::<usize>()];
    let sizes = (1..=most_segment_bytes, 2..=40_usize, last);
    (network_header(), transport_header(), sizes).prop_map(|(network, transport, (segment_bytes, count, last))| {
        let last = if last < 2 { last } else { last % segment_bytes };
        let bytes = (segment_bytes * count - segment_bytes + last).clamp(segment_bytes + 1, 60_000);
        (Packet { from: A, to: B, network, transport, payload: Payload { first: 0, bytes } }, segment_bytes)
    })
}

/// Compares frames and says where they begin to differ, and by how much.
fn same(ours: &[Vec<u8>], expected: &[Vec<u8>]) -> TestCaseResult {
    let differs = |(one, other): (&Vec<u8>, &Vec<u8>)| one != other;
    if let Some(index) = ours.iter().zip(expected).position(differs) {
        let (one, other) = (&ours[index], &expected[index]);
        let at = one.iter().zip(other).position(|(one, other)| one != other);
        let headers = |frame: &[u8]| format!("{} bytes: {:02x?}", frame.len(), &frame[..frame.len().min(140)]);
        prop_assert!(false, "frame {index} at {at:?}\n ours {}\n kernel {}", headers(one), headers(other));
    }
    prop_assert_eq!(ours.len(), expected.len());
    Ok(())
}

fn run<S: Strategy>(cases: u32, strategy: S, test: impl Fn(S::Value) -> TestCaseResult) {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    proptest::test_runner::TestRunner::new(config).run(&strategy, test).unwrap();
}

#[test]
#[ignore = "makes a network namespace: run as root with --ignored"]
fn every_segment_is_the_one_that_the_kernel_cuts() {
    let (kernel, _) = Kernel::new("cut");
    let kernel = RefCell::new(kernel);
    run(2000, super_frames(1460), |(packet, segment_bytes)| {
        let kernel = &mut *kernel.borrow_mut();
        let frame = packet.frame(Summed::Partly);
        let expected = kernel.segments(packet.super_virtio(segment_bytes), &frame);
        let protocol = if packet.is_tcp() { Protocol::Tcp } else { Protocol::Udp };
        let transport = u16::try_from(packet.transport_start()).unwrap();
        let cutter = Cutter::new(&frame, transport, protocol, segment_bytes).unwrap();
        prop_assert_eq!(cutter.count(), packet.payload.bytes.div_ceil(segment_bytes));
        let mut room = vec![0; frame.len()];
        let mut ours = Vec::new();
        for index in 0..cutter.count() {
            let bytes = cutter.emit(index, &mut room).unwrap();
            // The kernel, too, only completes the sum.
            ours.extend(kernel.segments(packet.virtio(Summed::Partly), &room[..bytes]));
        }
        let [ours, expected] = [ours, expected].map(|frames| frames.into_iter().map(with_one_zero).collect::<Vec<_>>());
        same(&ours, &expected)
    });
}

/// A frame as the sending container's kernel hands it over.
#[derive(Debug, Clone)]
struct Input {
    packet: Packet,
    offer: Offer,
}

/// What the virtio header says of it.
#[derive(Debug, Clone, Copy)]
enum Offer {
    Super(usize),
    Whole(Summed),
}

impl Input {
    fn virtio(&self) -> Virtio {
        match self.offer {
            Offer::Super(segment_bytes) => self.packet.super_virtio(segment_bytes),
            Offer::Whole(summed) => self.packet.virtio(summed),
        }
    }

    fn frame(&self) -> Vec<u8> {
        let summed = match self.offer {
            Offer::Super(_) => Summed::Partly,
            Offer::Whole(summed) => summed,
        };
        self.packet.frame(summed)
    }

    fn offered(&self) -> (Virtio, Vec<u8>) {
        (self.virtio(), self.frame())
    }

    /// What the kernel makes of it. A stream's segments are no larger than what the path carries whole.
    fn expected(&self, kernel: &mut Kernel, datagram_bytes: u16) -> Vec<Vec<u8>> {
        let mut virtio = self.virtio();
        let largest = frame_room(usize::from(datagram_bytes)) - self.packet.header_bytes();
        if let Some(cut) = virtio.cut.as_mut().filter(|cut| cut.kind != CutKind::Udp) {
            cut.segment_bytes = cut.segment_bytes.min(u16::try_from(largest).unwrap());
        }
        kernel.segments(virtio, &self.frame())
    }
}

/// One super-frame, one frame, or some datagrams of one flow that are there at the same time.
fn inputs() -> impl Strategy<Value = Vec<Input>> {
    let super_frame = super_frames(2000)
        .prop_map(|(packet, segment_bytes)| vec![Input { packet, offer: Offer::Super(segment_bytes) }]);
    let summed = prop_oneof![Just(Summed::Partly), Just(Summed::Whole)];
    let whole = (network_header(), transport_header(), 0..4000_usize, summed).prop_map(
        |(network, transport, bytes, summed)| {
            vec![Input {
                packet: Packet { from: A, to: B, network, transport, payload: Payload { first: 0, bytes } },
                offer: Offer::Whole(summed),
            }]
        },
    );
    prop_oneof![super_frame, whole, flows()]
}

/// Datagrams of one flow. Their identifications count up, stay, or are drawn; the last few may be shorter.
fn flows() -> impl Strategy<Value = Vec<Input>> {
    let identifications = prop_oneof![
        any::<u16>().prop_map(|first| (0..8).map(|index| first.wrapping_add(index)).collect()),
        any::<u16>().prop_map(|only| vec![only; 8]),
        proptest::collection::vec(any::<u16>(), 8),
    ];
    let sizes = (1..700_usize, proptest::collection::vec(1..700_usize, 0..3));
    (network_header(), any::<[u16; 2]>(), identifications, 1..=6_usize, sizes).prop_map(
        |(network, ports, identifications, count, (bytes, others))| {
            let ports = ports.map(|port| port | 0x8000);
            let sizes = std::iter::repeat_n(bytes, count).chain(others);
            let datagram = |(first, (bytes, identification)): (u8, (usize, &u16))| {
                let network = with_identification(&network, *identification);
                datagram_of(network, ports, Payload { first, bytes })
            };
            (0..).zip(sizes.zip(&identifications)).map(datagram).collect()
        },
    )
}

fn datagram_of(network: NetworkHeader, ports: [u16; 2], payload: Payload) -> Input {
    let packet = Packet { from: A, to: B, network, transport: TransportHeader::Udp { ports }, payload };
    Input { packet, offer: Offer::Whole(Summed::Partly) }
}

fn with_identification(network: &NetworkHeader, new: u16) -> NetworkHeader {
    let mut network = network.clone();
    if let NetworkHeader::Ipv4 { identification, .. } = &mut network {
        *identification = new;
    }
    network
}

/// What happens to a datagram on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives,
    Lost,
    Twice,
    /// So many others come first.
    Late(usize),
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        12 => Just(Fate::Arrives), 2 => Just(Fate::Lost), 1 => Just(Fate::Twice), 1 => (1..5_usize).prop_map(Fate::Late),
    ];
    prop_oneof![1 => Just(vec![Fate::Arrives]), 2 => proptest::collection::vec(fate, 1..200)]
}

/// Two planes with a network of the test's own between them; the second delivers to the kernel that judges.
struct Passage {
    near: Bench,
    far: Bench,
    /// Where the first plane's datagrams go, and where the second's come from.
    network: UdpSocket,
    network_queue: UdpQueue,
    far_address: SocketAddr,
    kernel: Kernel,
}

impl Passage {
    fn new(name: &str, datagram_bytes: u16) -> Self {
        let network = UdpSocket::bind("127.0.0.1:0").unwrap();
        network.set_nonblocking(true).unwrap();
        let proxy = network.local_addr().unwrap();
        let ([near, mut far], far_address) = pair_over(Suite::Aes256Gcm, datagram_bytes, |_| proxy);
        let (kernel, lent) = Kernel::new(name);
        far.deliver_to(lent);
        let network_queue = UdpQueue::from(network.try_clone().unwrap());
        Self { near, far, network, network_queue, far_address, kernel }
    }

    /// Sends frames that are there at the same time and returns what the far kernel makes of those that arrive.
    fn carry(&mut self, frames: &[(Virtio, Vec<u8>)], fates: &mut impl Iterator<Item = Fate>) -> Vec<Vec<u8>> {
        self.write(frames);
        let mut datagrams = Vec::new();
        for datagram in self.departed() {
            match fates.next() {
                Some(Fate::Lost) => {}
                Some(Fate::Twice) => datagrams.extend([(0, datagram.clone()), (0, datagram)]),
                Some(Fate::Late(others)) => datagrams.push((others, datagram)),
                Some(Fate::Arrives) | None => datagrams.push((0, datagram)),
            }
        }
        let mut datagrams: Vec<_> =
            datagrams.into_iter().enumerate().map(|(at, (late, datagram))| (at + late, datagram)).collect();
        datagrams.sort_by_key(|(at, _)| *at);
        let end = end_mark();
        self.write(&[end.offered()]);
        datagrams.extend(self.departed().into_iter().map(|datagram| (0, datagram)));
        self.arrive(&datagrams);
        let end = end.frame();
        let mut arrived = Vec::new();
        while arrived.last() != Some(&end) {
            self.far.turn();
            arrived.extend(self.kernel.arrived());
        }
        arrived.pop();
        arrived
    }

    fn write(&mut self, frames: &[(Virtio, Vec<u8>)]) {
        for (virtio, frame) in frames {
            self.near.tap.send(&[&virtio.emit()[..], frame].concat()).unwrap();
        }
        self.near.turn();
    }

    fn departed(&self) -> Vec<Vec<u8>> {
        let mut buffer = vec![0; 70_000];
        std::iter::from_fn(|| self.network.recv(&mut buffer).ok().map(|bytes| buffer[..bytes].to_vec())).collect()
    }

    /// In as few messages as they go into, so that they arrive as if the receiving kernel had coalesced them.
    fn arrive(&mut self, datagrams: &[(usize, Vec<u8>)]) {
        let mut batch = SendBatch::new();
        for (_, datagram) in datagrams {
            if batch.room(datagram.len()).is_none() {
                self.network_queue.send(&mut batch);
            }
            batch.room(datagram.len()).unwrap()[..datagram.len()].copy_from_slice(datagram);
            batch.push(self.far_address, datagram.len());
        }
        self.network_queue.send(&mut batch);
    }
}

/// A frame that nothing joins and that says that nothing else is on its way.
fn end_mark() -> Input {
    let network =
        NetworkHeader::Ipv4 { service: 0, identification: 0, fragment: 0, time_to_live: 1, options: Vec::new() };
    let transport = TransportHeader::Tcp { sequence: 0, flags: 4, window: 0, urgent: 0, options: Vec::new() };
    let packet = Packet { from: Slot(A.0 + 1), to: B, network, transport, payload: Payload { first: 0, bytes: 3 } };
    Input { packet, offer: Offer::Whole(Summed::Whole) }
}

/// The frames without what means nothing: which zero it is, and the identification of IPv4 datagrams that may not be
/// fragmented. Their header's checksum is replaced by what it comes to, so that a wrong one stays one.
fn without_meaningless(frames: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut frames: Vec<_> = frames.into_iter().map(with_one_zero).collect();
    for frame in &mut frames {
        let is_atomic_datagram = frame[12..14] == [8, 0] && frame[23] == 17 && frame[20] & 0x40 != 0;
        if is_atomic_datagram {
            let total = fold(sum(&frame[14..14 + usize::from(frame[14] & 0x0f) * 4]));
            frame[18..20].fill(0);
            frame[24..26].copy_from_slice(&total);
        }
    }
    frames
}

/// What is in `frames` and not in `others`, each as often as it is there.
fn missing_from<'a>(frames: &'a [Vec<u8>], others: &[Vec<u8>]) -> Vec<&'a Vec<u8>> {
    let mut counts = BTreeMap::new();
    for frame in others {
        *counts.entry(frame).or_insert(0_usize) += 1;
    }
    let is_missing = |frame: &&Vec<u8>| match counts.get_mut(*frame) {
        Some(count) if *count > 0 => {
            *count -= 1;
            false
        }
        _ => true,
    };
    frames.iter().filter(is_missing).collect()
}

fn everything_arrives_as_it_was_or_not_at_all(name: &str, datagram_bytes: u16, cases: u32) {
    let passage = RefCell::new(Passage::new(name, datagram_bytes));
    let strategy = (proptest::collection::vec(inputs(), 1..4), fates());
    run(cases, strategy, |(groups, fates)| {
        let passage = &mut *passage.borrow_mut();
        let is_perfect = fates.iter().all(|fate| *fate == Fate::Arrives);
        let mut fates = fates.into_iter().cycle();
        for inputs in groups {
            let expected =
                inputs.iter().flat_map(|input| input.expected(&mut passage.kernel, datagram_bytes)).collect();
            let expected = without_meaningless(expected);
            let arrived =
                without_meaningless(passage.carry(&inputs.iter().map(Input::offered).collect::<Vec<_>>(), &mut fates));
            if is_perfect {
                same(&arrived, &expected)?;
            }
            let changed = missing_from(&arrived, &expected);
            prop_assert!(changed.is_empty(), "changed on the way: {:02x?}", changed.first());
        }
        Ok(())
    });
    let passage = passage.borrow();
    assert_eq!(passage.near.losses(), []);
    let losses = passage.far.losses();
    assert!(losses.iter().all(|(reason, _)| ["replayed", "pieces-incomplete"].contains(reason)), "{losses:?}");
}

#[test]
#[ignore = "makes a network namespace: run as root with --ignored"]
fn whatever_the_network_does_frames_arrive_as_they_were_or_not_at_all() {
    for (name, datagram_bytes) in [("narrow", 1200), ("usual", 1472), ("jumbo", 8972)] {
        everything_arrives_as_it_was_or_not_at_all(name, datagram_bytes, 300);
    }
}

/// Three datagrams that would be joined, but that one bit in the headers of the second is another: whoever gets it must see it
/// so, and the others as they were.
#[test]
#[ignore = "makes a network namespace: run as root with --ignored"]
fn a_datagram_in_which_one_bit_differs_is_not_joined_with_its_neighbours() {
    let mut passage = Passage::new("bits", 1472);
    let ipv4 =
        |fragment, options| NetworkHeader::Ipv4 { service: 2, identification: 7, fragment, time_to_live: 9, options };
    let ipv6 = |extensions| NetworkHeader::Ipv6 { class: 2, label: 5, hops: 9, extensions };
    let extended = |extension| ipv6(vec![extension]);
    for network in [
        ipv4(0, vec![]),
        ipv4(DO_NOT_FRAGMENT, vec![1; 8]),
        ipv6(vec![]),
        extended(Extension::padding(0)),
        extended(Extension::hop_by_hop(0)),
        extended(Extension::routing(0)),
    ] {
        let datagrams = [0, 1, 2_u8].map(|index| {
            let network = with_identification(&network, 7 + u16::from(index));
            datagram_of(network, [4000, 5000], Payload { first: index, bytes: 50 }).offered()
        });
        let header_bytes = datagrams[0].1.len() - 50;
        for bit in 12 * 8..header_bytes * 8 {
            let mut datagrams = datagrams.clone();
            datagrams[1].1[bit / 8] ^= 1 << (bit % 8);
            let expected = |kernel: &mut Kernel| {
                datagrams.iter().flat_map(|(virtio, frame)| kernel.segments(*virtio, frame)).collect()
            };
            let expected: Vec<_> = without_meaningless(expected(&mut passage.kernel));
            let arrived = without_meaningless(passage.carry(&datagrams, &mut std::iter::empty()));
            let changed = missing_from(&arrived, &expected);
            assert!(changed.is_empty(), "bit {bit} of {network:?}: {:02x?}", changed.first());
            assert!(missing_from(&expected, &arrived).len() <= 1, "bit {bit} of {network:?}");
        }
    }
}
