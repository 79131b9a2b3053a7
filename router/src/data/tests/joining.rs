//! What is joined for the tap, beside what the kernel's own receive offload (GRO) joins: nothing that it would keep apart.
//!
//! Ours is the stricter rule for TCP: only what a sender's kernel handed over as one super-frame is joined again, never
//! segments that came singly. It is wider in one thing: the identification of an IPv4 datagram that may not be fragmented has
//! no meaning (RFC 6864 §4.1), so it does not keep datagrams apart.

use std::num::NonZeroU8;
use std::time::{Duration, Instant};

use hostnet::netns::Netns;
use hostnet::tap::{self, CutKind, MAX_READ_BYTES, TapQueue, VIRTIO_BYTES, Virtio};
use mesh::aead::Suite;
use wire::Slot;

use super::hosts::{A, B, mac, udp};
use super::kernel::run;
use super::packets::{NetworkHeader, Packet, Payload, Summed, TransportHeader};
use super::turns::{Bench, pair_over};

/// Two frames that follow one another.
type Frames = [(Virtio, Vec<u8>); 2];

/// A kernel that joins what it receives.
///
/// ```text
///   the test ─▶ tap "into" ── bridge ── veth ═══ veth with GRO ── bridge ── tap "out" ─▶ the test
/// ```
struct Kernel {
    name: String,
    into: TapQueue,
    out: TapQueue,
}

impl Kernel {
    fn new() -> Self {
        let name = format!("rdk-gro-{}", std::process::id());
        run(&format!("ip netns add {name}"));
        let open = || [tap::open("into", NonZeroU8::MIN).unwrap(), tap::open("out", NonZeroU8::MIN).unwrap()];
        let [into, out] = Netns::open(format!("/run/netns/{name}")).unwrap().run(open).unwrap();
        let [into, out] = [into, out].map(|mut tap| tap.queues.pop().unwrap());
        let enter = |command: &str| run(&format!("ip netns exec {name} {command}"));
        enter("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
        enter("sh -c 'for f in /proc/sys/net/bridge/bridge-nf-call-*; do [ ! -e $f ] || echo 0 > $f; done'");
        enter("ip link add near type veth peer name far");
        enter("ethtool -K far gro on rx-udp-gro-forwarding on");
        // What came is kept for others to join it, for as long.
        enter("sh -c 'echo 5000000 > /sys/class/net/far/gro_flush_timeout'");
        for (bridge, ports) in [("before", ["into", "near"]), ("behind", ["far", "out"])] {
            enter(&format!("ip link add {bridge} type bridge mcast_snooping 0"));
            ports.iter().for_each(|port| enter(&format!("ip link set {port} master {bridge} up")));
            enter(&format!("ip link set {bridge} up"));
        }
        let mut kernel = Self { name, into, out };
        kernel.await_links();
        kernel
    }

    /// A cable takes a moment to be connected. Until then the bridges drop what they are given.
    fn await_links(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut buffer = vec![0; MAX_READ_BYTES];
        for number in 0_u32.. {
            assert!(Instant::now() < deadline, "no way through");
            // The ethertype for experiments (IEEE 802): nothing joins it.
            let probe = [&mac(B)[..], &mac(A), &[0x88, 0xb5], &number.to_be_bytes(), &[0; 42]].concat();
            self.into.send(&[&Virtio::default().emit()[..], &probe].concat()).unwrap();
            while let Some(bytes) = self.out.receive(&mut buffer).unwrap() {
                if buffer[VIRTIO_BYTES..bytes] == probe[..] {
                    return;
                }
            }
            std::thread::yield_now();
        }
    }

    /// How many frames it makes of these.
    fn makes(&mut self, frames: &Frames) -> usize {
        for (virtio, frame) in frames {
            self.into.send(&[&virtio.emit()[..], frame].concat()).unwrap();
        }
        let mut buffer = vec![0; MAX_READ_BYTES];
        let (mut count, mut segments) = (0, 0);
        let deadline = Instant::now() + Duration::from_secs(5);
        while segments < frames.len() {
            assert!(Instant::now() < deadline, "{segments} of {} have come", frames.len());
            let Some(bytes) = self.out.receive(&mut buffer).unwrap() else {
                std::thread::yield_now();
                continue;
            };
            count += 1;
            segments += segments_of(&buffer[..bytes]);
        }
        count
    }

    /// Whether it ever makes one frame of them. It may be interrupted between the two, and then it does not.
    fn can_join(&mut self, frames: &Frames) -> bool {
        (0..100).any(|_| self.makes(frames) == 1)
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        run(&format!("ip netns delete {}", self.name));
    }
}

/// How many segments a frame behind its virtio header is to be cut into.
fn segments_of(bytes: &[u8]) -> usize {
    let Virtio { checksum, cut } = Virtio::parse(bytes).unwrap();
    cut.map_or(1, |cut| {
        // The length of the headers that the kernel says may be that of the first buffer.
        let transport = if cut.kind == CutKind::Udp { 8 } else { 20 };
        let headers = VIRTIO_BYTES + usize::from(checksum.unwrap().start) + transport;
        (bytes.len() - headers).div_ceil(usize::from(cut.segment_bytes))
    })
}

/// Whether the far plane makes one frame of these, which are there at the same time.
fn are_joined([near, far]: &mut [Bench; 2], frames: &Frames) -> bool {
    let offer = |bench: &mut Bench, virtio: &Virtio, frame: &[u8]| {
        bench.tap.send(&[&virtio.emit()[..], frame].concat()).unwrap();
    };
    frames.iter().for_each(|(virtio, frame)| offer(near, virtio, frame));
    near.turn();
    // Nothing joins it, and it is the last.
    let end = udp(Slot(A.0 + 1), B, b"end");
    offer(near, &Virtio::default(), &end);
    near.turn();
    far.tap.set_nonblocking(true).unwrap();
    let mut buffer = vec![0; MAX_READ_BYTES];
    let mut arrived = Vec::new();
    loop {
        far.turn();
        while let Ok(bytes) = far.tap.recv(&mut buffer) {
            if buffer[VIRTIO_BYTES..bytes] == end {
                return arrived == [frames.len()];
            }
            arrived.push(segments_of(&buffer[..bytes]));
        }
    }
}

fn ipv4(identification: u16, fragment: u16) -> NetworkHeader {
    NetworkHeader::Ipv4 { service: 2, identification, fragment, time_to_live: 9, options: Vec::new() }
}

fn ipv6() -> NetworkHeader {
    NetworkHeader::Ipv6 { class: 2, label: 5, hops: 9, extensions: Vec::new() }
}

/// With 50 bytes of payload each.
fn frames(network: impl Fn(u16) -> NetworkHeader, transport: impl Fn(u32) -> TransportHeader) -> Frames {
    [0_u8, 1].map(|index| {
        let (network, transport) = (network(7 + u16::from(index)), transport(1000 + 50 * u32::from(index)));
        let packet = Packet { from: A, to: B, network, transport, payload: Payload { first: index, bytes: 50 } };
        (packet.virtio(Summed::Partly), packet.frame(Summed::Partly))
    })
}

fn datagrams(_: u32) -> TransportHeader {
    TransportHeader::Udp { ports: [4000, 5000] }
}

fn stream(sequence: u32) -> TransportHeader {
    TransportHeader::Tcp { sequence, flags: 0x10, window: 500, urgent: 0, options: Vec::new() }
}

const DO_NOT_FRAGMENT: u16 = 0x4000;

#[test]
#[ignore = "makes a network namespace: run as root with --ignored"]
fn what_the_kernel_would_not_join_is_not_joined() {
    let mut kernel = Kernel::new();
    let (mut planes, _) = pair_over(Suite::Aes256Gcm, 1472, |address| address);
    for (flow, has_order) in [
        (frames(|number| ipv4(number, 0), datagrams), true),
        (frames(|number| ipv4(number, DO_NOT_FRAGMENT), datagrams), false),
        (frames(|_| ipv6(), datagrams), false),
    ] {
        assert!(are_joined(&mut planes, &flow) && kernel.can_join(&flow));
        let [one, two] = &flow;
        // One bit of the second's headers is another.
        for bit in 12 * 8..(one.1.len() - 50) * 8 {
            let mut other = two.clone();
            other.1[bit / 8] ^= 1 << (bit % 8);
            let pair = [one.clone(), other];
            assert!(!are_joined(&mut planes, &pair) || kernel.can_join(&pair), "bit {bit}");
        }
        assert_eq!(are_joined(&mut planes, &[two.clone(), one.clone()]), !has_order);
    }
}

#[test]
#[ignore = "makes a network namespace: run as root with --ignored"]
fn segments_that_came_singly_stay_single_though_the_kernel_would_join_them() {
    let mut kernel = Kernel::new();
    let (mut planes, _) = pair_over(Suite::Aes256Gcm, 1472, |address| address);
    for segments in [
        frames(|number| ipv4(number, 0), stream),
        frames(|number| ipv4(number, DO_NOT_FRAGMENT), stream),
        frames(|_| ipv6(), stream),
    ] {
        assert!(kernel.can_join(&segments));
        assert!(!are_joined(&mut planes, &segments));
    }
}
