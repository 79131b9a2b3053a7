//! What one turn of a worker does with the frames that wait for it, and what it costs the allocator: nothing.
//!
//! Workers without threads: every turn runs on the test's own thread, whose allocations are counted, and exactly the
//! frames that the test has written are there.

use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU8;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;

use hostnet::ready::Waker;
use hostnet::tap::{CutKind, MAX_READ_BYTES, Offloads, TapQueue, Virtio};
use hostnet::udp::{ReceiveBatch, UdpQueue, bind_group};
use mesh::aead::Suite;
use mesh::plan::{DataSession, Hop, PeerPlan, Plan, SessionHead};
use switch::{BroadcastRate, Owner, Table};
use tokio::sync::mpsc;
use wire::{Identity, Network, PeerIndex, Pool, Range, Slot};
use zeroize::Zeroizing;

use super::super::counters::{Counters, sums};
use super::super::publication::Publication;
use super::super::worker::{Place, Worker};
use super::super::{Forwarding, Report};
use super::hosts::{A, B, NETWORK, tcp, udp};
use super::packets::{Extension, NetworkHeader, Packet, Payload, Summed, TransportHeader};
use super::{TCP_CHECKSUM, UDP_CHECKSUM, cut, payload};

/// A worker, the far end of its tap, and the buffers its thread would have.
pub(super) struct Bench {
    worker: Worker,
    counters: Arc<Counters>,
    pub(super) tap: UnixDatagram,
    frame: Vec<u8>,
    batch: ReceiveBatch,
    arrived: Vec<u8>,
    _reports: mpsc::Receiver<Report>,
}

impl Bench {
    fn new(socket: UdpQueue, forwarding: Forwarding) -> Self {
        let (tap, theirs) = UnixDatagram::pair().unwrap();
        let theirs = TapQueue::own("test", OwnedFd::from(theirs), Offloads::TcpAndUdp).unwrap();
        let publication = Arc::new(Publication::default());
        publication.publish(forwarding);
        let (inbox, strays) = sync_channel(1);
        let (reports, receiver) = mpsc::channel(64);
        let waker = Waker::new().unwrap();
        let place = Place {
            thread: 0,
            network: NETWORK,
            publication,
            stopping: Arc::default(),
            waker: waker.clone(),
            strays,
            neighbours: [(inbox, waker)].into(),
            reports,
        };
        let counters = Arc::new(Counters::default());
        Self {
            worker: Worker::new(place, theirs, socket, BroadcastRate::default(), Arc::clone(&counters)),
            counters,
            tap,
            frame: vec![0; MAX_READ_BYTES],
            batch: ReceiveBatch::new(),
            arrived: vec![0; MAX_READ_BYTES],
            _reports: receiver,
        }
    }

    /// Gives another device what comes from the peer.
    pub(super) fn deliver_to(&mut self, tap: TapQueue) {
        self.worker.tap = tap;
    }

    pub(super) fn turn(&mut self) {
        self.worker.turn(&mut self.frame, &mut self.batch).unwrap();
    }

    pub(super) fn losses(&self) -> Vec<(&'static str, u64)> {
        sums(std::iter::once(&*self.counters)).into_iter().filter(|(_, count)| *count > 0).collect()
    }
}

fn forwarding(me: u8, addresses: [SocketAddr; 2], datagram_bytes: u16, suite: Suite) -> Forwarding {
    let peers = [0, 1].map(|peer| {
        let session = (peer != me).then(|| session(me, peer, suite));
        PeerPlan {
            identity: Identity([peer; 32]),
            hop: Hop::Direct(addresses[usize::from(peer)]),
            datagram_bytes,
            send: session.clone(),
            receive: session.into_iter().collect(),
        }
    });
    Forwarding { plan: Arc::new(Plan { peers: peers.into() }), table: table(me, 2) }
}

/// Each of so many hosts owns one block.
fn table(me: u8, hosts: u8) -> Arc<Table> {
    let range = |host: u8| {
        let owner = if host == me { Owner::Here } else { Owner::Peer(PeerIndex(host.into())) };
        (Range { network: NETWORK, start: Slot(64 * (u32::from(host) + 1)), length: 64 }, owner)
    };
    let pool = Pool { base: [10, 32, 0, 0].into(), prefix: 16 };
    let network = Network { id: NETWORK, name: "test".to_owned(), pool, pool6: None };
    let ranges: Vec<_> = (0..hosts).map(range).collect();
    Arc::new(Table::new(vec![network], &ranges, Vec::new(), &[]))
}

fn session(me: u8, peer: u8, suite: Suite) -> Arc<DataSession> {
    let head = SessionHead {
        peer: PeerIndex(peer.into()),
        local_index: u32::from(me) * 16 + u32::from(peer),
        remote_index: u32::from(peer) * 16 + u32::from(me),
        suite,
        remote_queues: 1,
    };
    let secret = |from: u8, to: u8| Zeroizing::new([from * 16 + to; 32]);
    Arc::new(DataSession::new(head, secret(me, peer), secret(peer, me)))
}

/// Workers 0, 1 and 2; 0 and 2 send to each other by way of 1.
fn line(suite: Suite) -> [Bench; 3] {
    let group = |_| bind_group("127.0.0.1:0".parse().unwrap(), NonZeroU8::MIN).unwrap();
    let mut groups = [0, 1, 2].map(group);
    let addresses = [&groups[0], &groups[1], &groups[2]].map(|group| group.local);
    [0, 1, 2].map(|me: u8| {
        let peers = [0, 1, 2].map(|peer: u8| {
            let session = (peer != me).then(|| session(me, peer, suite));
            let is_far = me.abs_diff(peer) == 2;
            PeerPlan {
                identity: Identity([peer; 32]),
                hop: if is_far { Hop::Relay(PeerIndex(1)) } else { Hop::Direct(addresses[usize::from(peer)]) },
                datagram_bytes: if is_far { 1432 } else { 1472 },
                send: session.clone(),
                receive: session.into_iter().collect(),
            }
        });
        let forwarding = Forwarding { plan: Arc::new(Plan { peers: peers.into() }), table: table(me, 3) };
        Bench::new(groups[usize::from(me)].data.remove(0), forwarding)
    })
}

#[test]
fn passing_on_allocates_nothing() {
    for suite in [Suite::Aes256Gcm, Suite::ChaCha20Poly1305] {
        let [mut a, mut b, mut c] = line(suite);
        let frame = with(large_virtio(), &tcp(A, super::hosts::C, 7, &payload(40_000)));
        let mut rounds = |count: usize| {
            let mut bytes = 0;
            for _ in 0..count {
                a.tap.send(&frame).unwrap();
                a.turn();
                b.turn();
                c.turn();
                c.tap.set_nonblocking(true).unwrap();
                while let Ok(arrived) = c.tap.recv(&mut c.arrived) {
                    bytes += arrived;
                }
            }
            bytes
        };
        let warm = rounds(3);
        let mut carried = 0;
        let cost = allocation_counter::measure(|| carried = rounds(100));
        assert_eq!((cost.count_total, carried), (0, 100 * frame.len()), "{suite:?}");
        assert_eq!(warm, 3 * frame.len());
        assert_eq!((a.losses(), b.losses(), c.losses()), (vec![], vec![], vec![]));
    }
}

/// Carries the frames from one to the other and says how many bytes came out: as many as a joined frame has.
fn carry(from: &mut Bench, to: &mut Bench, frames: &[Vec<u8>]) -> usize {
    for frame in frames {
        from.tap.send(frame).unwrap();
    }
    from.turn();
    to.turn();
    let mut bytes = 0;
    to.tap.set_nonblocking(true).unwrap();
    while let Ok(arrived) = to.tap.recv(&mut to.arrived) {
        bytes += arrived;
    }
    bytes
}

#[test]
fn the_count_counts() {
    let cost = allocation_counter::measure(|| drop(std::hint::black_box(vec![1_u8; 100])));
    assert_eq!(cost.count_total, 1);
}

/// Workers 0 and 1.
fn pair(suite: Suite) -> [Bench; 2] {
    pair_over(suite, 1472, |address| address).0
}

/// Workers 0 and 1, the path between them, by which address the first reaches the second, and the second's own.
pub(super) fn pair_over(
    suite: Suite,
    datagram_bytes: u16,
    reached_by: impl Fn(SocketAddr) -> SocketAddr,
) -> ([Bench; 2], SocketAddr) {
    let group = |_| bind_group("127.0.0.1:0".parse().unwrap(), NonZeroU8::MIN).unwrap();
    let [mut one, mut other] = [0, 1].map(group);
    let near = forwarding(0, [one.local, reached_by(other.local)], datagram_bytes, suite);
    let far = forwarding(1, [one.local, other.local], datagram_bytes, suite);
    ([Bench::new(one.data.remove(0), near), Bench::new(other.data.remove(0), far)], other.local)
}

fn with(virtio: Virtio, frame: &[u8]) -> Vec<u8> {
    [&virtio.emit()[..], frame].concat()
}

fn large_virtio() -> Virtio {
    Virtio { checksum: Some(TCP_CHECKSUM), cut: cut(CutKind::Tcp4, 1360, 54) }
}

#[test]
fn a_frame_allocates_nothing_in_either_direction() {
    for suite in [Suite::Aes256Gcm, Suite::ChaCha20Poly1305] {
        let [mut a, mut b] = pair(suite);
        let small = Virtio { checksum: Some(UDP_CHECKSUM), cut: None };
        let ways = |from: Slot, to: Slot| {
            [
                vec![with(small, &udp(from, to, &payload(64))); 8],
                vec![with(large_virtio(), &tcp(from, to, 7, &payload(40_000)))],
                vec![with(Virtio::default(), &udp(from, to, &payload(4000)))],
            ]
        };
        let (there, back) = (ways(A, B), ways(B, A));
        let mut rounds = |count: usize| {
            (0..count).fold(0, |bytes, _| {
                let there = there.iter().map(|frames| carry(&mut a, &mut b, frames)).sum::<usize>();
                bytes + there + back.iter().map(|frames| carry(&mut b, &mut a, frames)).sum::<usize>()
            })
        };
        let warm = rounds(3);
        let mut carried = 0;
        let cost = allocation_counter::measure(|| carried = rounds(100));
        assert_eq!((cost.count_total, carried), (0, warm / 3 * 100), "{suite:?}");
        assert!(warm > 3 * 2 * 44_000);
        assert_eq!((a.losses(), b.losses()), (vec![], vec![]));
    }
}

#[test]
fn small_frames_that_wait_share_datagrams_and_alone_they_do_not_wait() {
    let mut group = bind_group("127.0.0.1:0".parse().unwrap(), NonZeroU8::MIN).unwrap();
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    far.set_nonblocking(true).unwrap();
    let addresses = [group.local, far.local_addr().unwrap()];
    let mut near = Bench::new(group.data.remove(0), forwarding(0, addresses, 1472, Suite::Aes256Gcm));
    // 64 bytes of payload: 118 with all headers, so twelve fill a path of 1472 but for a rest that none fits in.
    for (frames, datagrams) in [(1, vec![150]), (2, vec![268]), (8, vec![976])] {
        for _ in 0..frames {
            near.tap.send(&with(Virtio::default(), &udp(A, B, &payload(64)))).unwrap();
        }
        near.turn();
        let mut buffer = [0; 2048];
        let sent = std::iter::from_fn(|| far.recv(&mut buffer).ok()).collect::<Vec<_>>();
        assert_eq!(sent, datagrams);
    }
    // Two of 700 bytes fit, a third does not.
    for _ in 0..3 {
        near.tap.send(&with(Virtio::default(), &udp(A, B, &payload(646)))).unwrap();
    }
    near.turn();
    let mut buffer = [0; 2048];
    assert_eq!([far.recv(&mut buffer).unwrap(), far.recv(&mut buffer).unwrap()], [1432, 732]);
}

#[test]
fn a_frame_that_asks_for_far_more_than_it_is_goes_nowhere() {
    let mut group = bind_group("127.0.0.1:0".parse().unwrap(), NonZeroU8::MIN).unwrap();
    let far = UdpSocket::bind("127.0.0.1:0").unwrap();
    far.set_nonblocking(true).unwrap();
    let addresses = [group.local, far.local_addr().unwrap()];
    let mut near = Bench::new(group.data.remove(0), forwarding(0, addresses, 1472, Suite::Aes256Gcm));
    let mut sent = |packet: &Packet, segment_bytes| {
        near.tap.send(&with(packet.super_virtio(segment_bytes), &packet.frame(Summed::Partly))).unwrap();
        near.turn();
        let mut buffer = [0; 2048];
        // What the socket has no room for is lost, and does not matter.
        let came = std::iter::from_fn(|| far.recv(&mut buffer).ok()).count() > 0;
        (came, near.losses().iter().map(|(reason, count)| (*reason, *count)).collect::<Vec<_>>())
    };
    let ipv4 =
        NetworkHeader::Ipv4 { service: 0, identification: 1, fragment: 0, time_to_live: 64, options: Vec::new() };
    let laden = NetworkHeader::Ipv6 { class: 0, label: 0, hops: 64, extensions: vec![Extension::padding(30); 5] };
    let tcp = TransportHeader::Tcp { sequence: 1, flags: 0x10, window: 1000, urgent: 0, options: Vec::new() };
    let udp = TransportHeader::Udp { ports: [4000, 5000] };
    let packet = |network: &NetworkHeader, transport: &TransportHeader| Packet {
        from: A,
        to: B,
        network: network.clone(),
        transport: transport.clone(),
        payload: Payload { first: 0, bytes: 60_000 },
    };
    // An application may ask for segments of 88 bytes, with twelve bytes of them for the time.
    for transport in [&tcp, &udp] {
        assert_eq!(sent(&packet(&ipv4, transport), 76), (true, vec![]));
    }
    let refused = [(&ipv4, &tcp, 1), (&ipv4, &udp, 1), (&ipv4, &tcp, 29), (&laden, &tcp, 60_000), (&laden, &udp, 50)];
    for (count, (network, transport, segment_bytes)) in (1..).zip(refused) {
        assert_eq!(sent(&packet(network, transport), segment_bytes), (false, vec![("offload", count)]));
    }
}

#[test]
fn any_mix_of_frames_arrives_byte_for_byte_and_in_order() {
    let [mut a, mut b] = pair(Suite::Aes256Gcm);
    let mut seed = 7_u32;
    let mut draw = |below: u32| {
        // Numerical Recipes' generator: any sequence will do, as long as it is the same one each time.
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from((seed >> 8) % below).unwrap()
    };
    for _ in 0..400 {
        let frames: Vec<_> = (0..=draw(8))
            .map(|_| match draw(8) {
                0 => with(large_virtio(), &tcp(A, B, 9, &payload(3000 + draw(60_000)))),
                1 => with(Virtio::default(), &udp(A, B, &payload(1400 + draw(3000)))),
                _ => with(Virtio::default(), &udp(Slot(A.0 + 1), B, &payload(1 + draw(1300)))),
            })
            .collect();
        for frame in &frames {
            a.tap.send(frame).unwrap();
        }
        a.turn();
        let mut arrived = Vec::new();
        while arrived.len() < frames.len() {
            b.turn();
            b.tap.set_nonblocking(true).unwrap();
            while let Ok(bytes) = b.tap.recv(&mut b.arrived) {
                arrived.push(b.arrived[..bytes].to_vec());
            }
        }
        assert!(arrived == frames);
    }
    assert_eq!((a.losses(), b.losses()), (vec![], vec![]));
}
