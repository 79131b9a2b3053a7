//! Hosts for the tests: a data plane each, whose tap is a Unix socket in the test's hands.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::num::NonZeroU8;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hostnet::tap::{Offloads, TapQueue, VIRTIO_BYTES, Virtio};
use hostnet::udp::bind_group;
use mesh::aead::Suite;
use mesh::plan::{DataSession, Hop, PeerPlan, Plan, SessionHead};
use switch::{Arrival, BroadcastRate, Owner, Table};
use tokio::sync::mpsc;
use wire::{Identity, Network, NetworkId, PeerIndex, Pool, Range, Slot};
use zeroize::Zeroizing;

use super::super::{DataConfig, DataPlane, Forwarding, Report, start};

pub(super) const NETWORK: NetworkId = NetworkId::DEFAULT;
/// The first slot of host 0; it has 64.
pub(super) const A: Slot = Slot(64);
/// The first slot of host 1.
pub(super) const B: Slot = Slot(128);
/// The first slot of host 2.
pub(super) const C: Slot = Slot(192);

/// Longer than any answer takes on a busy machine; only a failing test waits it out.
const PATIENCE: Duration = Duration::from_secs(5);
/// Long enough for a frame that should not come.
const SILENCE: Duration = Duration::from_millis(60);

/// A host. What it knows is changed and published by the test.
pub(super) struct Host {
    index: u8,
    pub(super) address: SocketAddr,
    taps: Vec<UnixDatagram>,
    threads: usize,
    plane: DataPlane,
    reports: RefCell<mpsc::Receiver<Report>>,
    knows: RefCell<Knowledge>,
}

#[derive(Default)]
struct Knowledge {
    peers: Vec<PeerPlan>,
    /// Every session by (peer, generation): a session is made once.
    sessions: BTreeMap<(u8, u8), Arc<DataSession>>,
    ranges: Vec<(Range, Owner)>,
    arrivals: Vec<Arrival>,
    replicas: Vec<PeerIndex>,
}

/// Hosts 0 and 1, with so many queues each and a path for datagrams of so many bytes.
pub(super) fn pair(queues: u8, datagram_bytes: u16) -> [Host; 2] {
    let hosts = [Host::new(0, queues), Host::new(1, queues)];
    introduce(&hosts, datagram_bytes, queues);
    hosts
}

/// Hosts 0, 1 and 2, with one queue each.
pub(super) fn three(datagram_bytes: u16) -> [Host; 3] {
    let hosts = [Host::new(0, 1), Host::new(1, 1), Host::new(2, 1)];
    introduce(&hosts, datagram_bytes, 1);
    hosts
}

/// Gives every host a session with every other and each its block.
pub(super) fn introduce(hosts: &[Host], datagram_bytes: u16, queues: u8) {
    for host in hosts {
        {
            let mut knows = host.knows.borrow_mut();
            for other in hosts {
                let index = other.index;
                let session = (index != host.index).then(|| knows.session(host.index, index, 1, queues));
                knows.peers.push(PeerPlan {
                    identity: Identity([index; 32]),
                    hop: Hop::Direct(other.address),
                    datagram_bytes,
                    send: session.clone(),
                    receive: session.into_iter().collect(),
                });
                let owner = if index == host.index { Owner::Here } else { Owner::Peer(PeerIndex(index.into())) };
                let start = Slot(64 * (u32::from(index) + 1));
                knows.ranges.push((Range { network: NETWORK, start, length: 64 }, owner));
                if index != host.index {
                    knows.replicas.push(PeerIndex(index.into()));
                }
            }
        }
        host.publish();
    }
}

impl Knowledge {
    /// The session of a generation with a peer: both ends derive the same keys from who they are.
    fn session(&mut self, me: u8, peer: u8, generation: u8, remote_queues: u8) -> Arc<DataSession> {
        let secret = |from: u8, to: u8| Zeroizing::new([from * 16 + to + generation * 64; 32]);
        let index = |whose: u8, other: u8| u32::from_be_bytes([0, generation, whose, other]);
        let head = SessionHead {
            peer: PeerIndex(peer.into()),
            local_index: index(me, peer),
            remote_index: index(peer, me),
            suite: Suite::Aes256Gcm,
            remote_queues,
        };
        let new = || Arc::new(DataSession::new(head, secret(me, peer), secret(peer, me)));
        Arc::clone(self.sessions.entry((peer, generation)).or_insert_with(new))
    }
}

impl Host {
    fn new(index: u8, queues: u8) -> Self {
        let queues = NonZeroU8::new(queues).unwrap();
        let group = bind_group("127.0.0.1:0".parse().unwrap(), queues).unwrap();
        let (taps, theirs): (Vec<_>, Vec<_>) = (0..queues.get()).map(|_| UnixDatagram::pair().unwrap()).unzip();
        let own = |socket: UnixDatagram| TapQueue::own("test", OwnedFd::from(socket), Offloads::TcpAndUdp).unwrap();
        let config = DataConfig {
            network: NETWORK,
            taps: theirs.into_iter().map(own).collect(),
            sockets: group.data,
            broadcasts: BroadcastRate::default(),
        };
        Self { taps, ..Self::over(index, group.local, config) }
    }

    /// A host with taps of its own, reached at an address.
    pub(super) fn over(index: u8, address: SocketAddr, config: DataConfig) -> Self {
        let threads = config.taps.len();
        let (plane, reports) = start(config).unwrap();
        let (reports, knows) = (RefCell::new(reports), RefCell::default());
        Self { index, address, taps: Vec::new(), threads, plane, reports, knows }
    }

    /// A host to which nothing was ever published.
    pub(super) fn silent() -> Self {
        Self::new(0, 1)
    }

    /// Publishes what the host knows, and waits until every thread goes by it: one that is still in the turn before would
    /// decide by what was published before.
    fn publish(&self) {
        let knows = self.knows.borrow();
        let network = Network {
            id: NETWORK,
            name: "test".to_owned(),
            pool: Pool { base: [10, 32, 0, 0].into(), prefix: 16 },
            pool6: None,
        };
        let table = Arc::new(Table::new(vec![network], &knows.ranges, knows.replicas.clone(), &knows.arrivals));
        let plan = Plan { peers: knows.peers.clone() };
        let held = Arc::downgrade(&table);
        self.plane.publish(Forwarding { plan: Arc::new(plan), table });
        // Each thread keeps it, and so does the place where they find it.
        let all = self.threads + 1;
        assert!(within_patience(|| Weak::strong_count(&held) == all), "a thread does not follow");
    }

    fn change(&self, change: impl FnOnce(&mut Knowledge)) {
        change(&mut self.knows.borrow_mut());
        self.publish();
    }

    /// Sends to a peer by another address than its own.
    pub(super) fn reach(&self, peer: &Self, address: SocketAddr) {
        self.change(|knows| knows.peers[usize::from(peer.index)].hop = Hop::Direct(address));
    }

    /// Sends to a peer by way of another one.
    pub(super) fn reach_by(&self, peer: &Self, relay: &Self) {
        self.change(|knows| {
            let plan = &mut knows.peers[usize::from(peer.index)];
            plan.hop = Hop::Relay(PeerIndex(relay.index.into()));
            plan.datagram_bytes = 1472 - 40;
        });
    }

    /// Believes that a host's block is its own.
    pub(super) fn owns(&self, start: Slot) {
        self.change(|knows| knows.ranges.push((Range { network: NETWORK, start, length: 64 }, Owner::Here)));
    }

    pub(super) fn place(&self, slot: Slot, owner: Owner) {
        self.change(|knows| knows.ranges.push((Range { network: NETWORK, start: slot, length: 1 }, owner)));
    }

    pub(super) fn arrived(&self, arrival: Arrival) {
        self.change(|knows| knows.arrivals.push(arrival));
    }

    pub(super) fn forget_arrivals(&self) {
        self.change(|knows| knows.arrivals.clear());
    }

    /// Opens under a session of another generation too.
    pub(super) fn accept_session_of(&self, peer: &Self, generation: u8) {
        self.change(|knows| {
            let session = knows.session(self.index, peer.index, generation, 1);
            knows.peers[usize::from(peer.index)].receive.insert(0, session);
        });
    }

    /// Seals under a session of another generation. The others are kept for what is on its way.
    pub(super) fn send_under(&self, peer: &Self, generation: u8) {
        self.change(|knows| {
            let session = knows.session(self.index, peer.index, generation, 1);
            let plan = &mut knows.peers[usize::from(peer.index)];
            if !plan.receive.iter().any(|known| Arc::ptr_eq(known, &session)) {
                plan.receive.insert(0, Arc::clone(&session));
            }
            plan.send = Some(session);
        });
    }

    /// Writes a frame as if the bridge had it for the overlay.
    pub(super) fn write(&self, virtio: Virtio, frame: &[u8]) {
        self.write_to(0, virtio, frame);
    }

    pub(super) fn write_to(&self, queue: usize, virtio: Virtio, frame: &[u8]) {
        self.taps[queue].send(&[&virtio.emit(), frame].concat()).unwrap();
    }

    /// The next frame for the bridge. `None` fails whichever test asks.
    pub(super) fn read(&self) -> Option<(Virtio, Vec<u8>)> {
        self.read_within(PATIENCE)
    }

    /// Whether no frame comes.
    pub(super) fn is_silent(&self) -> bool {
        self.read_within(SILENCE).is_none()
    }

    fn read_within(&self, patience: Duration) -> Option<(Virtio, Vec<u8>)> {
        let mut buffer = vec![0; 70_000];
        let begun = Instant::now();
        while begun.elapsed() < patience {
            for tap in &self.taps {
                tap.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
                if let Ok(bytes) = tap.recv(&mut buffer) {
                    let frame = buffer[VIRTIO_BYTES..bytes].to_vec();
                    return Some((Virtio::parse(&buffer).unwrap(), frame));
                }
            }
        }
        None
    }

    /// What was lost, without what was not.
    pub(super) fn losses(&self) -> Vec<(&'static str, u64)> {
        self.plane.drops().into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// Waits until this is what was lost.
    pub(super) fn until_lost(&self, wanted: &[(&'static str, u64)]) {
        within_patience(|| self.losses() == wanted);
        assert_eq!(self.losses(), wanted);
    }

    /// Waits for a report.
    pub(super) fn report<T>(&self, wanted: impl Fn(&Report) -> Option<T>) -> Option<T> {
        let begun = Instant::now();
        let mut reports = self.reports.borrow_mut();
        while begun.elapsed() < PATIENCE {
            if let Some(found) = reports.try_recv().ok().as_ref().and_then(&wanted) {
                return Some(found);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    pub(super) fn stop(self) {
        drop(self.plane);
    }
}

/// Whether it comes to be true.
fn within_patience(is_true: impl Fn() -> bool) -> bool {
    let begun = Instant::now();
    while !is_true() {
        if begun.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Sends datagrams of one size as one message, so that they arrive as if the receiving kernel had coalesced them.
pub(super) fn send_coalesced(socket: &UdpSocket, to: SocketAddr, datagrams: &[&[u8]]) {
    let queue = hostnet::udp::UdpQueue::from(socket.try_clone().unwrap());
    let mut batch = hostnet::udp::SendBatch::new();
    for datagram in datagrams {
        batch.room(datagram.len()).unwrap()[..datagram.len()].copy_from_slice(datagram);
        batch.push(to, datagram.len());
    }
    let mut queue = queue;
    assert_eq!(queue.send(&mut batch).datagrams, u64::try_from(datagrams.len()).unwrap());
}

pub(super) fn mac(slot: Slot) -> [u8; 6] {
    let [a, b, c, d] = slot.0.to_be_bytes();
    [2, 0, a, b, c, d]
}

pub(super) fn address(slot: Slot) -> [u8; 4] {
    [10, 32, slot.0.to_be_bytes()[2], slot.0.to_be_bytes()[3]]
}

pub(super) fn sum(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum()
}

pub(super) fn fold(sum: u32) -> [u8; 2] {
    let once = (sum & 0xffff) + (sum >> 16);
    u16::try_from((once & 0xffff) + (once >> 16)).unwrap().to_be_bytes()
}

/// An IPv4 packet in a frame, with the pseudo-header's sum at `checksum_at` of the transport header.
fn ipv4(from: Slot, to: Slot, protocol: u8, mut transport: Vec<u8>, checksum_at: usize) -> Vec<u8> {
    let total = u16::try_from(20 + transport.len()).unwrap().to_be_bytes();
    let mut header = vec![0x45, 0, total[0], total[1], 0, 1, 0x40, 0, 64, protocol, 0, 0];
    header.extend_from_slice(&address(from));
    header.extend_from_slice(&address(to));
    let [high, low] = fold(sum(&header));
    header[10..12].copy_from_slice(&[!high, !low]);
    let pseudo = sum(&header[12..20]) + u32::from(protocol) + u32::try_from(transport.len()).unwrap();
    transport[checksum_at..checksum_at + 2].copy_from_slice(&fold(pseudo));
    [&mac(to)[..], &mac(from), &[8, 0], &header, &transport].concat()
}

pub(super) fn udp(from: Slot, to: Slot, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap().to_be_bytes();
    let transport = [&[0x10, 0, 0x20, 0, length[0], length[1], 0, 0][..], payload].concat();
    ipv4(from, to, 17, transport, 6)
}

pub(super) fn tcp(from: Slot, to: Slot, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let header = [&[0x10, 0, 0, 80][..], &sequence.to_be_bytes(), &[0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0]].concat();
    ipv4(from, to, 6, [&header, payload].concat(), 16)
}

pub(super) fn sequence_of(tcp: &[u8]) -> u32 {
    u32::from_be_bytes(tcp[38..42].try_into().unwrap())
}

pub(super) fn arp_request(from: Slot, to: Slot) -> Vec<u8> {
    let fixed = [8, 6, 0, 1, 8, 0, 6, 4, 0, 1];
    [&[0xff; 6][..], &mac(from), &fixed, &mac(from), &address(from), &[0; 6], &address(to)].concat()
}
