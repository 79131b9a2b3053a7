//! N meshes, one clock, one seeded network: loses, delays and reorders datagrams; streams are reliable and ordered.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use wire::{NetworkId, PeerName, Pool, Title};

use super::super::*;
use crate::aead::{Opener, Sealer};
use crate::event::{DownReason, Origin, Target};
use crate::identity::issue_certificate;
use crate::plan::Hop;
use crate::route::Route;

/// The network's behaviour.
pub(super) struct Weather {
    pub(super) loss: f64,
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
    /// No stream can be opened.
    pub(super) no_streams: bool,
    /// The largest datagram that passes. Larger ones are lost without a word.
    pub(super) carries: usize,
}

impl Default for Weather {
    fn default() -> Self {
        Self {
            loss: 0.0,
            delay: Duration::from_millis(1),
            jitter: Duration::ZERO,
            no_streams: false,
            carries: usize::MAX,
        }
    }
}

pub(super) struct Node {
    pub(super) mesh: Option<Mesh>,
    pub(super) address: SocketAddr,
    pub(super) boot: u32,
    pub(super) config: Config,
    /// What a store would hold.
    pub(super) members: BTreeMap<Identity, Member>,
    pub(super) events: Vec<(Instant, Event)>,
    cluster: u8,
    number: u8,
    sealers: BTreeMap<u32, Sealer>,
    openers: BTreeMap<u32, Opener>,
}

enum Parcel {
    Datagram { from: SocketAddr, to: SocketAddr, bytes: Vec<u8> },
    Opened { node: usize, stream: StreamId, origin: Origin },
    Bytes { node: usize, stream: StreamId, bytes: Vec<u8> },
    Closed { node: usize, stream: StreamId },
    DialFailed { node: usize, target: Target },
}

pub(super) struct Sim {
    pub(super) nodes: Vec<Node>,
    pub(super) now: Instant,
    pub(super) weather: Weather,
    /// Pairs of nodes that cannot reach one another.
    pub(super) cuts: BTreeSet<(usize, usize)>,
    /// From whom to whom nothing comes, though it does the other way.
    pub(super) one_way_cuts: BTreeSet<(usize, usize)>,
    /// What one link carries at most, where it is less than the others do.
    pub(super) narrow: BTreeMap<(usize, usize), usize>,
    /// Datagrams that were sent, if anybody wants them.
    pub(super) tap: Option<Vec<(SocketAddr, SocketAddr, Vec<u8>)>>,
    parcels: BTreeMap<(Instant, u64), Parcel>,
    links: BTreeMap<(usize, StreamId), (usize, StreamId)>,
    rng: Rng,
    sent: u64,
    next_stream: u64,
}

pub(super) fn secret(cluster: u8, number: u8, salt: u8) -> Secret {
    Secret::new([cluster, number, salt, 7].repeat(8).try_into().unwrap())
}

pub(super) fn genesis(cluster: u8) -> Genesis {
    let pool = Pool { base: [10, 32, 0, 0].into(), prefix: 12 };
    let network = wire::Network { id: NetworkId::DEFAULT, name: "raddle".to_owned(), pool, pool6: None };
    let (first, authority) = (secret(cluster, 0, 1).identity(), secret(cluster, 99, 3).identity().0);
    Genesis { networks: vec![network], block_slots: 64, first, authority, nonce: [cluster; 16] }
}

pub(super) fn credentials(cluster: u8, number: u8) -> Credentials {
    let (signing_key, noise_key) = (secret(cluster, number, 1), secret(cluster, number, 2));
    let issuer = if number == 0 { secret(cluster, 99, 3) } else { secret(cluster, 0, 1) };
    let name: PeerName = format!("host{number}").parse().unwrap();
    let title = Title {
        identity: signing_key.identity(),
        noise_key: noise_key.noise_public(),
        name,
        generation: 1,
        issuer: issuer.identity(),
    };
    Credentials {
        certificate: issue_certificate(title, &signing_key, &issuer),
        signing_key,
        noise_key,
        genesis: genesis(cluster),
    }
}

pub(super) fn address_of(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number + 1], 6783))
}

/// A member as a sponsor would have written it down.
pub(super) fn member(cluster: u8, number: u8) -> Member {
    let credentials = credentials(cluster, number);
    let addresses = SignedAddresses::sign(vec![address_of(number)], (0, 0), &credentials.signing_key);
    Member { certificate: credentials.certificate, addresses, revoked: false }
}

impl Sim {
    /// Routers that have never met anybody, with the numbers of the members each knows.
    pub(super) fn new(seed: u8, knows: &[&[u8]]) -> Self {
        #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin; the simulation only adds to it")]
        let now = Instant::now();
        let mut sim = Self {
            nodes: Vec::new(),
            now,
            weather: Weather::default(),
            cuts: BTreeSet::new(),
            one_way_cuts: BTreeSet::new(),
            narrow: BTreeMap::new(),
            tap: None,
            parcels: BTreeMap::new(),
            links: BTreeMap::new(),
            rng: Rng::new(&[seed; 32]),
            sent: 0,
            next_stream: 0,
        };
        for (number, knows) in (0u8..).zip(knows) {
            sim.add(1, number, knows, Config::default());
        }
        sim
    }

    pub(super) fn add(&mut self, cluster: u8, number: u8, knows: &[u8], config: Config) -> usize {
        let members =
            knows.iter().map(|number| member(cluster, *number)).map(|member| (member.identity(), member)).collect();
        let address = address_of(number);
        let config = Config { addresses: vec![address], ..config };
        let (sealers, openers, events) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        self.nodes.push(Node {
            mesh: None,
            address,
            boot: 0,
            config,
            members,
            events,
            cluster,
            number,
            sealers,
            openers,
        });
        self.start(self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    pub(super) fn start(&mut self, at: usize) {
        let seed = self.rng.bytes();
        let now = self.now;
        let node = &mut self.nodes[at];
        node.boot += 1;
        let members = node.members.values().cloned().collect();
        let credentials = credentials(node.cluster, node.number);
        node.mesh = Some(Mesh::new(node.config.clone(), credentials, members, node.boot, seed, now));
        (node.sealers, node.openers) = (BTreeMap::new(), BTreeMap::new());
    }

    /// SIGKILL: no goodbye, its streams are reset.
    pub(super) fn kill(&mut self, at: usize) {
        self.nodes[at].mesh = None;
        let ends: Vec<_> = self.links.iter().filter(|((node, _), _)| *node == at).map(|(_, end)| *end).collect();
        self.links.retain(|(node, _), (other, _)| *node != at && *other != at);
        for (node, stream) in ends {
            self.post(Parcel::Closed { node, stream }, self.weather.delay);
        }
    }

    pub(super) fn mesh(&mut self, at: usize) -> &mut Mesh {
        self.nodes[at].mesh.as_mut().unwrap()
    }

    pub(super) fn identity(&self, at: usize) -> Identity {
        secret(self.nodes[at].cluster, self.nodes[at].number, 1).identity()
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        self.run_until(end, |_| false);
    }

    /// Lets time pass until something holds. Returns how long it took, if it came to be.
    pub(super) fn run_while(&mut self, most: Duration, mut goes_on: impl FnMut(&mut Self) -> bool) -> Option<Duration> {
        let (start, end) = (self.now, self.now + most);
        self.run_until(end, |sim| !goes_on(sim)).then(|| self.now - start)
    }

    fn run_until(&mut self, end: Instant, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let mut at_once = 0;
        self.drain();
        loop {
            if done(self) {
                return true;
            }
            let parcel = self.parcels.first_key_value().map(|((at, _), _)| *at);
            let now = self.now;
            let timers = self.nodes.iter_mut().filter_map(|node| node.mesh.as_mut()?.poll_timeout(now));
            let Some(next) = timers.chain(parcel).min().filter(|next| *next <= end) else {
                self.now = end;
                return done(self);
            };
            at_once = if next > now { 0 } else { at_once + 1 };
            assert!(at_once < 20_000, "time stands still");
            self.now = next.max(now);
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.now;
        while let Some(entry) = self.parcels.first_entry().filter(|entry| entry.key().0 <= now) {
            let parcel = entry.remove();
            self.deliver(parcel);
            self.drain();
        }
        for node in &mut self.nodes {
            if let Some(mesh) = node.mesh.as_mut()
                && mesh.poll_timeout(now).is_some_and(|due| due <= now)
            {
                mesh.handle_timeout(now);
            }
        }
        self.drain();
    }

    fn deliver(&mut self, parcel: Parcel) {
        let now = self.now;
        match parcel {
            Parcel::Datagram { from, to, bytes } => {
                let node = self.nodes.iter_mut().find(|node| node.address == to);
                if let Some(mesh) = node.and_then(|node| node.mesh.as_mut()) {
                    mesh.handle_datagram(from, &bytes, now);
                }
            }
            Parcel::Opened { node, stream, origin } => {
                if let Some(mesh) = self.nodes[node].mesh.as_mut() {
                    mesh.handle_stream_opened(stream, origin, now);
                }
            }
            Parcel::Bytes { node, stream, bytes } => {
                if let Some(mesh) = self.nodes[node].mesh.as_mut() {
                    mesh.handle_stream_bytes(stream, &bytes, now);
                }
            }
            Parcel::Closed { node, stream } => {
                if let Some(mesh) = self.nodes[node].mesh.as_mut() {
                    mesh.handle_stream_closed(stream, now);
                }
            }
            Parcel::DialFailed { node, target } => {
                if let Some(mesh) = self.nodes[node].mesh.as_mut() {
                    mesh.handle_dial_failed(target, now);
                }
            }
        }
    }

    /// Carries out everything the meshes want.
    pub(super) fn drain(&mut self) {
        for at in 0..self.nodes.len() {
            while let Some(transmit) = self.nodes[at].mesh.as_mut().and_then(Mesh::poll_transmit) {
                self.carry(at, transmit);
            }
            while let Some(event) = self.nodes[at].mesh.as_mut().and_then(Mesh::poll_event) {
                self.react(at, event);
            }
        }
    }

    fn carry(&mut self, at: usize, Transmit { carrier, bytes }: Transmit) {
        match carrier {
            Carrier::Datagram(to) => {
                let from = self.nodes[at].address;
                if let Some(tap) = &mut self.tap {
                    tap.push((from, to, bytes.clone()));
                }
                let lost = f64::from(self.rng.number()) / f64::from(u32::MAX) < self.weather.loss;
                if !lost && bytes.len() <= self.carries(at, to) && !self.is_cut(at, to) {
                    let delay = self.weather.delay + self.rng.up_to(self.weather.jitter);
                    self.post(Parcel::Datagram { from, to, bytes }, delay);
                }
            }
            Carrier::Stream(stream) => {
                let Some(&(node, stream)) = self.links.get(&(at, stream)) else { return };
                // TCP needs both directions.
                let broken = [(at, node), (node, at)].iter().any(|pair| self.one_way_cuts.contains(pair));
                if !broken && !self.cuts.contains(&(at.min(node), at.max(node))) {
                    self.post(Parcel::Bytes { node, stream, bytes }, self.weather.delay);
                }
            }
        }
    }

    fn react(&mut self, at: usize, event: Event) {
        match &event {
            Event::MemberAdmitted { member, .. } => {
                self.nodes[at].members.insert(member.identity(), (**member).clone());
            }
            Event::OpenStream { target, address } => self.dial(at, *target, *address),
            Event::CloseStream { stream } => {
                if let Some((node, stream)) = self.links.remove(&(at, *stream)) {
                    self.links.remove(&(node, stream));
                    self.post(Parcel::Closed { node, stream }, self.weather.delay);
                }
            }
            Event::PeerUp { .. }
            | Event::RouteChanged { .. }
            | Event::PeerDown { .. }
            | Event::RevokedCalled { .. }
            | Event::Message { .. }
            | Event::PlanChanged
            | Event::JoinRequested(_)
            | Event::JoinRefused { .. }
            | Event::Stranger { .. }
            | Event::Alarm(_) => {}
        }
        self.nodes[at].events.push((self.now, event));
    }

    fn dial(&mut self, at: usize, whom: Target, address: SocketAddr) {
        let target = self.nodes.iter().position(|node| node.address == address && node.mesh.is_some());
        let delay = self.weather.delay;
        let Some(target) = target.filter(|_| !self.weather.no_streams && !self.is_cut(at, address)) else {
            return self.post(Parcel::DialFailed { node: at, target: whom }, delay * 2);
        };
        if self.one_way_cuts.contains(&(target, at)) {
            return self.post(Parcel::DialFailed { node: at, target: whom }, delay * 2);
        }
        let (here, there) = (StreamId(self.next_stream), StreamId(self.next_stream + 1));
        self.next_stream += 2;
        self.links.insert((at, here), (target, there));
        self.links.insert((target, there), (at, here));
        let from = SocketAddr::new(self.nodes[at].address.ip(), 40_000);
        self.post(Parcel::Opened { node: target, stream: there, origin: Origin::Accepted(from) }, delay);
        self.post(Parcel::Opened { node: at, stream: here, origin: Origin::Dialed(whom) }, delay * 2);
    }

    fn carries(&self, at: usize, to: SocketAddr) -> usize {
        let other = self.nodes.iter().position(|node| node.address == to).unwrap_or(at);
        self.narrow
            .get(&(at.min(other), at.max(other)))
            .map_or(self.weather.carries, |most| self.weather.carries.min(*most))
    }

    fn is_cut(&self, at: usize, to: SocketAddr) -> bool {
        let other = self.nodes.iter().position(|node| node.address == to);
        other.is_some_and(|other| {
            self.cuts.contains(&(at.min(other), at.max(other))) || self.one_way_cuts.contains(&(at, other))
        })
    }

    fn post(&mut self, parcel: Parcel, delay: Duration) {
        self.sent += 1;
        self.parcels.insert((self.now + delay, self.sent), parcel);
    }

    /// Whether one node has a session in use with another.
    pub(super) fn is_up(&mut self, at: usize, with: usize) -> bool {
        let (identity, now) = (self.identity(with), self.now);
        let Some(mesh) = self.nodes[at].mesh.as_ref() else { return false };
        mesh.peers(now).iter().any(|peer| peer.identity == identity && peer.state == crate::view::PeerState::Connected)
    }

    pub(super) fn all_up(&mut self) -> bool {
        let count = self.nodes.len();
        (0..count).all(|at| (0..count).all(|with| at == with || self.is_up(at, with)))
    }

    /// Sends a frame as the data threads would, at this instant and without loss. Returns whether it was opened.
    pub(super) fn data_passes(&mut self, at: usize, to: usize) -> bool {
        let Some((mut datagram, endpoint)) = self.seal_data(at, to) else { return false };
        endpoint == Some(self.nodes[to].address) && self.open_data(at, to, &mut datagram)
    }

    pub(super) fn seal_data(&mut self, at: usize, to: usize) -> Option<(Vec<u8>, Option<SocketAddr>)> {
        let identity = self.identity(to);
        let node = &mut self.nodes[at];
        let plan = node.mesh.as_mut()?.plan();
        let peer = plan.peers.iter().find(|peer| peer.identity == identity)?;
        let session = peer.send.as_ref()?;
        let sealer = node.sealers.entry(session.local_index).or_insert_with(|| session.sealer(0));
        let mut datagram = vec![1; 64];
        sealer.seal(&mut datagram).ok()?;
        let hop = match peer.hop {
            Hop::Relay(relay) => plan.peer(relay)?.hop,
            hop @ (Hop::Nowhere | Hop::Direct(_)) => hop,
        };
        let endpoint = if let Hop::Direct(address) = hop { Some(address) } else { None };
        let (index, now) = (session.peer, self.now);
        node.mesh.as_mut()?.handle_traffic(index, 64, 0, now);
        Some((datagram, endpoint))
    }

    pub(super) fn open_data(&mut self, from: usize, to: usize, datagram: &mut [u8]) -> bool {
        let (identity, address, now) = (self.identity(from), self.nodes[from].address, self.now);
        let node = &mut self.nodes[to];
        let Some(mesh) = node.mesh.as_mut() else { return false };
        let plan = mesh.plan();
        let Some(peer) = plan.peers.iter().find(|peer| peer.identity == identity) else { return false };
        let Ok(header) = wire::envelope::Header::parse(datagram) else { return false };
        let Some(session) = peer.receive.iter().find(|session| session.local_index == header.receiver) else {
            return false;
        };
        let opener = node.openers.entry(session.local_index).or_insert_with(|| session.opener(0));
        let opened = opener.open(datagram).is_ok();
        if opened && peer.hop != Hop::Direct(address) {
            mesh.handle_roamed(session.peer, session.local_index, address, now);
        }
        if opened {
            mesh.handle_traffic(session.peer, 0, 64, now);
        }
        opened
    }

    /// How one node reaches another.
    pub(super) fn route(&self, at: usize, with: usize) -> Route {
        let (identity, now) = (self.identity(with), self.now);
        let peers = self.nodes[at].mesh.as_ref().map(|mesh| mesh.peers(now)).unwrap_or_default();
        peers.iter().find(|peer| peer.identity == identity).map_or(Route::None, |peer| peer.route)
    }

    /// When the way from one node to another changed.
    pub(super) fn switches(&self, at: usize, with: usize) -> Vec<Instant> {
        let whom = self.identity(with);
        let is_it = |event: &Event| matches!(event, Event::RouteChanged { peer, .. } if *peer == whom);
        self.nodes[at].events.iter().filter(|(_, event)| is_it(event)).map(|(at, _)| *at).collect()
    }

    pub(super) fn downs(&self, at: usize) -> Vec<DownReason> {
        let down = |event: &Event| if let Event::PeerDown { reason, .. } = event { Some(*reason) } else { None };
        self.nodes[at].events.iter().filter_map(|(_, event)| down(event)).collect()
    }

    pub(super) fn messages(&self, at: usize) -> Vec<Vec<u8>> {
        let payload =
            |event: &Event| if let Event::Message { payload, .. } = event { Some(payload.clone()) } else { None };
        self.nodes[at].events.iter().filter_map(|(_, event)| payload(event)).collect()
    }
}
