//! Frames of every kind that a container can send, built field by field.

use std::net::Ipv6Addr;

use hostnet::tap::{Cut, CutKind, PartialChecksum, Virtio};
use wire::{Mac, Slot};

use super::hosts::{address, fold, mac, sum};

/// A TCP or UDP frame.
#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub(super) from: Slot,
    pub(super) to: Slot,
    pub(super) network: NetworkHeader,
    pub(super) transport: TransportHeader,
    pub(super) payload: Payload,
}

/// Bytes that count up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Payload {
    pub(super) first: u8,
    pub(super) bytes: usize,
}

/// What varies in an IP header. Options and extension headers have their padding.
#[derive(Debug, Clone)]
pub(super) enum NetworkHeader {
    Ipv4 { service: u8, identification: u16, fragment: u16, time_to_live: u8, options: Vec<u8> },
    Ipv6 { class: u8, label: u32, hops: u8, extensions: Vec<Extension> },
}

/// An IPv6 extension header: its number, and what follows the length.
#[derive(Debug, Clone)]
pub(super) struct Extension {
    pub(super) number: u8,
    pub(super) options: Vec<u8>,
}

/// What varies in a transport header. TCP's options have their padding.
#[derive(Debug, Clone)]
pub(super) enum TransportHeader {
    Tcp { sequence: u32, flags: u8, window: u16, urgent: u16, options: Vec<u8> },
    Udp { ports: [u16; 2] },
}

/// How far the sender's kernel went with the checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Summed {
    /// Pseudo-header only.
    Partly,
    Whole,
}

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION_OPTIONS: u8 = 60;

impl Packet {
    pub(super) fn is_tcp(&self) -> bool {
        matches!(self.transport, TransportHeader::Tcp { .. })
    }

    /// Bytes in front of the payload.
    pub(super) fn header_bytes(&self) -> usize {
        Self { payload: Payload { first: 0, bytes: 0 }, ..self.clone() }.frame(Summed::Partly).len()
    }

    /// Where the transport header begins.
    pub(super) fn transport_start(&self) -> usize {
        self.header_bytes() - self.transport_header().len()
    }

    /// The virtio header under which the kernel would hand it over, to be cut into payloads of so many bytes.
    pub(super) fn super_virtio(&self, segment_bytes: usize) -> Virtio {
        let kind = match (&self.transport, &self.network) {
            (TransportHeader::Udp { .. }, _) => CutKind::Udp,
            (TransportHeader::Tcp { .. }, NetworkHeader::Ipv4 { .. }) => CutKind::Tcp4,
            (TransportHeader::Tcp { .. }, NetworkHeader::Ipv6 { .. }) => CutKind::Tcp6,
        };
        let reduces_window = matches!(self.transport, TransportHeader::Tcp { flags, .. } if flags & 0x80 != 0);
        let cut = Cut {
            kind,
            segment_bytes: u16::try_from(segment_bytes).unwrap(),
            header_bytes: u16::try_from(self.header_bytes()).unwrap(),
            reduces_window,
        };
        Virtio { cut: Some(cut), ..self.virtio(Summed::Partly) }
    }

    /// The virtio header of a frame that is not to be cut.
    pub(super) fn virtio(&self, summed: Summed) -> Virtio {
        let start = u16::try_from(self.transport_start()).unwrap();
        let offset = if self.is_tcp() { 16 } else { 6 };
        Virtio { checksum: (summed == Summed::Partly).then_some(PartialChecksum { start, offset }), cut: None }
    }

    /// All of it.
    pub(super) fn frame(&self, summed: Summed) -> Vec<u8> {
        let mut transport = [self.transport_header(), self.payload.emit()].concat();
        let number = if self.is_tcp() { 6 } else { 17 };
        let (ethertype, network, pseudo) = self.network_header(number, transport.len());
        let pseudo = pseudo + u32::from(number) + u32::try_from(transport.len()).unwrap();
        let at = if self.is_tcp() { 16 } else { 6 };
        let checksum = match summed {
            Summed::Partly => fold(pseudo),
            Summed::Whole => fold(pseudo + sum(&transport)).map(|byte| !byte),
        };
        transport[at..at + 2].copy_from_slice(&checksum);
        [&mac(self.to)[..], &mac(self.from), &ethertype, &network, &transport].concat()
    }

    /// Ethertype, header, and the sum over the addresses.
    fn network_header(&self, number: u8, transport_bytes: usize) -> ([u8; 2], Vec<u8>, u32) {
        match &self.network {
            NetworkHeader::Ipv4 { service, identification, fragment, time_to_live, options } => {
                let bytes = 20 + options.len();
                let total = u16::try_from(bytes + transport_bytes).unwrap().to_be_bytes();
                let mut header = vec![0x40 | u8::try_from(bytes / 4).unwrap(), *service, total[0], total[1]];
                header.extend_from_slice(&identification.to_be_bytes());
                header.extend_from_slice(&fragment.to_be_bytes());
                header.extend_from_slice(&[*time_to_live, number, 0, 0]);
                header.extend_from_slice(&address(self.from));
                header.extend_from_slice(&address(self.to));
                header.extend_from_slice(options);
                let checksum = fold(sum(&header)).map(|byte| !byte);
                header[10..12].copy_from_slice(&checksum);
                let pseudo = sum(&header[12..20]);
                ([0x08, 0x00], header, pseudo)
            }
            NetworkHeader::Ipv6 { class, label, hops, extensions } => {
                let numbers: Vec<u8> = extensions.iter().map(|extension| extension.number).chain([number]).collect();
                let chain: Vec<u8> =
                    extensions.iter().zip(&numbers[1..]).flat_map(|(one, next)| one.bytes(*next)).collect();
                let length = u16::try_from(chain.len() + transport_bytes).unwrap().to_be_bytes();
                let first = 6 << 28 | u32::from(*class) << 20 | label & 0xf_ffff;
                let mut header = first.to_be_bytes().to_vec();
                header.extend_from_slice(&[length[0], length[1], numbers[0], *hops]);
                header.extend_from_slice(&address6(self.from).octets());
                header.extend_from_slice(&address6(self.to).octets());
                let pseudo = sum(&header[8..40]);
                header.extend_from_slice(&chain);
                ([0x86, 0xdd], header, pseudo)
            }
        }
    }

    fn transport_header(&self) -> Vec<u8> {
        match &self.transport {
            TransportHeader::Tcp { sequence, flags, window, urgent, options } => {
                let words = u8::try_from((20 + options.len()) / 4).unwrap();
                let mut header = [&[0x10, 0x00, 0x00, 0x50][..], &sequence.to_be_bytes(), &[0, 0, 0, 9]].concat();
                header.extend_from_slice(&[words << 4, *flags]);
                header.extend_from_slice(&window.to_be_bytes());
                header.extend_from_slice(&[0, 0]);
                header.extend_from_slice(&urgent.to_be_bytes());
                header.extend_from_slice(options);
                header
            }
            TransportHeader::Udp { ports } => {
                let length = u16::try_from(8 + self.payload.bytes).unwrap().to_be_bytes();
                [&ports[0].to_be_bytes()[..], &ports[1].to_be_bytes(), &length, &[0, 0]].concat()
            }
        }
    }
}

impl Payload {
    fn emit(self) -> Vec<u8> {
        // A prime, so that no segment repeats the one before it.
        (0..self.bytes).map(|at| u8::try_from((at + usize::from(self.first)) % 251).unwrap()).collect()
    }
}

/// The frame with the one TCP checksum for the two that mean the same: the kernel writes 0 when it cuts and 0xffff when it
/// only sums.
pub(super) fn with_one_zero(mut frame: Vec<u8>) -> Vec<u8> {
    let (mut number, mut at) = (frame[23], 14 + usize::from(frame[14] & 0x0f) * 4);
    if frame[12..14] == [0x86, 0xdd] {
        (number, at) = (frame[20], 54);
        while [HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS].contains(&number) {
            (number, at) = (frame[at], at + 8 + 8 * usize::from(frame[at + 1]));
        }
    }
    if number == 6 && frame[at + 16..at + 18] == [0xff, 0xff] {
        frame[at + 16..at + 18].fill(0);
    }
    frame
}

impl Extension {
    /// Destination options with so much padding in them that they have `words` eight-byte words more than one.
    pub(super) fn padding(words: u8) -> Self {
        let bytes = 4 + 8 * words;
        let options = [&[1, bytes][..], &vec![0; usize::from(bytes)]].concat();
        Self { number: DESTINATION_OPTIONS, options }
    }

    /// The same for every node on the way: the first of all extensions (RFC 8200 §4.1).
    pub(super) fn hop_by_hop(words: u8) -> Self {
        Self { number: HOP_BY_HOP, ..Self::padding(words) }
    }

    /// A way of the experimental type 253 (RFC 4727 §3) that has been gone to its end.
    pub(super) fn routing(words: u8) -> Self {
        Self { number: ROUTING, options: [&[253, 0][..], &vec![0; 4 + 8 * usize::from(words)]].concat() }
    }

    fn bytes(&self, next: u8) -> Vec<u8> {
        let words = u8::try_from((self.options.len() + 2) / 8 - 1).unwrap();
        [&[next, words][..], &self.options].concat()
    }
}

/// Link-local: the containers' own, whatever the network's pools are.
fn address6(slot: Slot) -> Ipv6Addr {
    Mac(mac(slot)).link_local()
}
