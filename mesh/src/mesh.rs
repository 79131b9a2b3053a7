//! Who is there, how to reach them, under which keys: the one state machine of the mesh.
//!
//! Owns all peers, the roster and what is waiting to go out. Knows no socket and no clock: its owner brings datagrams and
//! stream bytes, calls [`Mesh::handle_timeout`] when [`Mesh::poll_timeout`] says so, and then empties the two polls.

mod applicants;
mod calls;
mod control;
mod liveness;
mod membership;
mod relays;
mod renewal;
mod repair;
mod service;
mod strangers;
mod streams;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use wire::envelope::Kind;
use wire::{Addresses, ClusterId, Genesis, Identity, PeerIndex};

use crate::admission::Roster;
use crate::config::Config;
use crate::event::{Carrier, Delivery, Event, StreamId, Transmit, Via};
use crate::gate::{Budget, Gate};
use crate::gossip::{Control, Topic};
use crate::handshake::Local;
use crate::identity::{Credentials, Secret, cluster_id};
use crate::join_secret::JoinSecret;
use crate::member::{ADDRESSES_MOST, Member, SignedAddresses};
use crate::named::{Callers, Named};
use crate::path::plain;
use crate::peer::Peer;
use crate::peers::Peers;
use crate::plan::Plan;
use crate::refusal::RefuseReason;
use crate::rng::Rng;
use crate::streams::Stream;
use crate::swim::Swim;
use crate::view::{Counters, PeerView};
use crate::ways::Way;

pub use renewal::RenewError;

/// The mesh of one router.
pub struct Mesh {
    config: Config,
    me: Me,
    rng: Rng,
    gate: Gate,
    roster: Roster,
    peers: Peers,
    swim: Swim,
    /// By [`PeerIndex`].
    order: Vec<Identity>,
    /// Session and call numbers → whose they are.
    indexes: BTreeMap<u32, Identity>,
    streams: BTreeMap<StreamId, Stream>,
    /// Those on which nothing has been proven yet.
    unproven: BTreeSet<StreamId>,
    named: Named,
    callers: Callers,
    secrets: Vec<JoinSecret>,
    /// When the patience with a stranger's stream ends; nothing ends before.
    stranger_until: Option<Instant>,
    /// When rosters were last compared with anybody.
    compared: Option<Instant>,
    /// Peers that neighbours are to be asked for, and when the next one's turn is.
    seeking: VecDeque<Identity>,
    seek_at: Option<Instant>,
    /// What is left of the calls that gossip may bring forward.
    prompts: Budget,
    out: Out,
}

/// Who we are.
struct Me {
    identity: Identity,
    signing_key: Secret,
    local: Local,
    genesis: Genesis,
    /// The boot counter, and how often our addresses changed since.
    version: (u32, u32),
    /// Rises with every call.
    calls: u64,
}

/// What waits to be polled.
#[derive(Default)]
struct Out {
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    plan: Arc<Plan>,
    stale: Staleness,
    counters: Counters,
    /// Namesakes an alarm has been raised about: their gossip comes again and again.
    namesakes: BTreeSet<Identity>,
    /// Whether one has been raised about this router's own certificate.
    is_impersonated: bool,
}

/// Whether the published plan is the true one.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Staleness {
    #[default]
    Fresh,
    Stale,
}

impl Mesh {
    /// The mesh of a member. `members` is what [`Event::MemberAdmitted`] told earlier, in any order; `boot_counter` has been
    /// raised by one and written down since the last start; `seed` is random and used once.
    #[must_use]
    pub fn new(
        config: Config,
        credentials: Credentials,
        members: Vec<Member>,
        boot_counter: u32,
        seed: [u8; 32],
        now: Instant,
    ) -> Self {
        let Credentials { certificate, signing_key, noise_key, genesis } = credentials;
        let (cluster, mut rng) = (cluster_id(&genesis), Rng::new(&seed));
        let (identity, noise_public, primitives) =
            (certificate.title.identity, certificate.title.noise_key, config.primitives);
        let local = Local { cluster, identity, noise_public, noise_key, primitives };
        let gate = Gate::new(&cluster, &local.noise_public, config.gate, &mut rng, now);
        let mut roster = Roster::new(Identity(genesis.authority), primitives.verify);
        let addresses = SignedAddresses::sign(config.addresses.clone(), (boot_counter, 0), &signing_key);
        let ours = Member { certificate, addresses, revoked: false };
        let errors = roster.recall(members.into_iter().chain([ours]).collect());
        errors.iter().for_each(|error| tracing::warn!(%error, "a member is not what was written down about it"));
        let me = Me { identity, signing_key, local, genesis, version: (boot_counter, 0), calls: 0 };
        let swim = Swim::new(identity, boot_counter, rng.bytes(), now);
        let mut mesh = Self {
            config,
            me,
            rng,
            gate,
            roster,
            peers: Peers::default(),
            swim,
            order: Vec::new(),
            indexes: BTreeMap::new(),
            streams: BTreeMap::new(),
            named: Named::default(),
            unproven: BTreeSet::new(),
            callers: Callers::default(),
            secrets: Vec::new(),
            stranger_until: None,
            compared: None,
            seeking: VecDeque::new(),
            seek_at: None,
            prompts: Budget::full(membership::PROMPTS, now),
            out: Out::default(),
        };
        mesh.meet_all(now);
        mesh
    }

    /// Takes a datagram from the control socket.
    pub fn handle_datagram(&mut self, from: SocketAddr, bytes: &[u8], now: Instant) {
        let from = plain(from);
        match Kind::of_message(bytes) {
            Ok(Kind::Initiation) => self.handle_initiation(Via::Datagram(from), bytes, now),
            Ok(Kind::Response) => self.handle_response(Via::Datagram(from), bytes, now),
            Ok(Kind::Cookie) => self.handle_cookie(bytes, now),
            Ok(Kind::Control) => {
                self.handle_envelope(Via::Datagram(from), bytes, now);
            }
            Ok(_) | Err(_) => self.out.counters.malformed += 1,
        }
    }

    /// A data thread opened an envelope, the newest so far, that came from this address under this session (its local
    /// index). The peer's endpoint follows, and the session counts as confirmed.
    pub fn handle_roamed(&mut self, peer: PeerIndex, local_index: u32, from: SocketAddr, now: Instant) {
        if let Some(identity) = self.identity_of(peer) {
            self.handle_data_heard(identity, local_index, plain(from), now);
        }
    }

    /// The data threads exchanged this much with a peer since they last said so: what is sealed under keys wears them, what
    /// was opened is a sign of life, what is not answered a reason to ask, and a path that is used is worth sounding.
    pub fn handle_traffic(&mut self, peer: PeerIndex, sent_bytes: u64, received_bytes: u64, now: Instant) {
        let Some(identity) = self.identity_of(peer) else { return };
        let Some(peer) = self.peers.get_mut(&identity).filter(|peer| peer.is_up()) else { return };
        peer.sessions.use_up(now);
        let carrier = match peer.ways.used() {
            Some(Way::Relay(relay)) => relay,
            Some(Way::Direct) | None => identity,
        };
        if received_bytes > 0 {
            peer.liveness.handle_heard(now);
        } else if sent_bytes > 0 {
            peer.liveness.handle_sent(now);
        }
        if sent_bytes > 0 {
            peer.ways.handle_traffic(now);
        }
        if let Some(carrier) = self.peers.get_mut(&carrier) {
            carrier.path.mtu.handle_sent(sent_bytes);
        }
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.is_retired() {
            self.tend(now);
            for identity in self.peers.due(now) {
                self.service(identity, now);
            }
            self.seek_next(now);
        }
        self.doubt_named(now);
        self.expire_streams(now);
    }

    /// Tries an address whose router is not known: a member may be there. If none answers, whoever is there is asked for
    /// its cluster, once for each call ([`Event::Stranger`]).
    pub fn connect(&mut self, address: SocketAddr, now: Instant) {
        if self.named.add(plain(address), now) {
            for peer in self.peers.values_mut().filter(|peer| !peer.is_up()) {
                peer.calling.hurry(now);
            }
        }
    }

    /// Stops trying it.
    pub fn forget(&mut self, address: SocketAddr) {
        self.named.remove(plain(address));
    }

    /// Sends a payload to a peer.
    ///
    /// # Errors
    /// [`SendError`]; nothing was sent or queued.
    pub fn send(
        &mut self,
        to: Identity,
        topic: Topic,
        payload: &[u8],
        delivery: Delivery,
        now: Instant,
    ) -> Result<(), SendError> {
        if payload.len() > PAYLOAD_BYTES {
            return Err(SendError::TooLong { bytes: payload.len() });
        }
        let message = Control::Message { topic, payload }.emit();
        let Some(peer) = self.peers.get_mut(&to).filter(|peer| peer.is_reachable()) else {
            self.out.counters.undeliverable += 1;
            return Err(SendError::NotConnected { peer: to });
        };
        let most = if peer.ways.is_relayed() { relays::DATAGRAM_BYTES } else { crate::channel::DATAGRAM_BYTES };
        let fits = message.len() <= most;
        if delivery != Delivery::Lossy || !fits {
            peer.channel.push(message.clone(), now);
            self.flush_channel(to, now);
        }
        if delivery != Delivery::Reliable && fits {
            self.send_datagram(to, &message);
        }
        Ok(())
    }

    /// Says where this router listens from now on, and tells all members: of the best [`crate::ADDRESSES_MOST`], and only if they
    /// are not what was said before. Returns whether it was news.
    pub fn set_addresses(&mut self, mut addresses: Addresses, now: Instant) -> bool {
        addresses.truncate(ADDRESSES_MOST);
        let Some(ours) = self.roster.member(self.me.identity).filter(|ours| ours.addresses.addresses != addresses)
        else {
            return false;
        };
        let ours = ours.clone();
        self.me.version.1 = self.me.version.1.saturating_add(1);
        let addresses = SignedAddresses::sign(addresses, self.me.version, &self.me.signing_key);
        self.admit(vec![Member { addresses, ..ours }], None, now);
        true
    }

    /// Where this router says that it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        self.roster.member(self.me.identity).map_or(&[], |ours| &ours.addresses.addresses)
    }

    /// Replaces what an applicant may prove to know. Spent ones stay in the list, so that they are told from unknown ones.
    pub fn set_join_secrets(&mut self, secrets: Vec<JoinSecret>) {
        self.secrets = secrets;
    }

    /// Says when, if nothing else happens, [`Self::handle_timeout`] wants to run next.
    #[must_use]
    pub fn poll_timeout(&mut self, now: Instant) -> Option<Instant> {
        let members = if self.is_retired() {
            [None; 3]
        } else {
            [self.peers.deadline(now), self.swim.deadline(), self.seek_deadline()]
        };
        members.into_iter().chain([self.stranger_until, self.named.deadline()]).flatten().min()
    }

    /// The next bytes for the underlay.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.out.transmits.pop_front()
    }

    /// The next thing that happened, or is wanted.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.out.events.pop_front()
    }

    /// The newest plan.
    pub fn plan(&mut self) -> Arc<Plan> {
        if self.out.stale == Staleness::Stale {
            let known = self.order.iter().filter_map(|identity| self.peers.get(identity));
            let peers = known.map(|peer| self.peer_plan(peer)).collect();
            self.out.plan = Arc::new(Plan { peers });
            self.out.stale = Staleness::Fresh;
        }
        Arc::clone(&self.out.plan)
    }

    /// The largest datagram that every path carries which is in use and whose size is known.
    #[must_use]
    pub fn smallest_path(&self) -> Option<u16> {
        self.peers.values().filter(|peer| peer.is_up()).filter_map(|peer| self.settled_bytes(peer)).min()
    }

    /// All peers, as an operator sees them.
    #[must_use]
    pub fn peers(&self, now: Instant) -> Vec<PeerView> {
        self.order.iter().filter_map(|identity| self.peer_view(self.peers.get(identity)?, now)).collect()
    }

    /// All members, this router included, issuers before those they vouched for.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.roster.members().cloned().collect()
    }

    /// A member by its name.
    #[must_use]
    pub fn named(&self, name: &wire::PeerName) -> Option<Identity> {
        self.roster.of_name(name)
    }

    /// This router.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.me.identity
    }

    /// Its cluster.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.me.local.cluster
    }

    /// Who has a place in the plan.
    #[must_use]
    pub fn identity_of(&self, index: PeerIndex) -> Option<Identity> {
        self.order.get(usize::try_from(index.0).ok()?).copied()
    }

    /// What was dropped, and what was spent on strangers.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.out.counters
    }

    fn peer_view(&self, peer: &Peer, now: Instant) -> Option<PeerView> {
        let member = self.roster.member(peer.identity)?;
        let (state, since) = peer.state(now);
        let route = peer.route();
        let headers = if peer.address().is_some_and(|address| address.is_ipv6()) { 48 } else { 28 };
        Some(PeerView {
            name: member.name().clone(),
            identity: peer.identity,
            index: peer.index,
            address: peer.address().or_else(|| member.addresses.addresses.first().copied()),
            state,
            route,
            round_trip: peer.ways.round_trip().or(peer.liveness.round_trip()).filter(|_| peer.is_up()),
            suite: peer.sessions.carrying().filter(|_| peer.is_up()).map(|session| session.data.suite),
            mtu_bytes: self.datagram_bytes(peer).saturating_add(headers),
            since,
            dropped_messages: peer.channel.dropped(),
            far_by: peer.ways.far_by(now).filter(|_| !peer.is_up() && !peer.is_revoked()),
        })
    }

    fn touch_plan(&mut self) {
        if self.out.stale == Staleness::Fresh {
            self.out.stale = Staleness::Stale;
            self.out.events.push_back(Event::PlanChanged);
        }
    }

    fn transmit(&mut self, carrier: Carrier, bytes: Vec<u8>) {
        self.out.transmits.push_back(Transmit { carrier, bytes });
    }

    /// A number for a session or call that nobody else has here.
    fn new_index(&mut self, identity: Identity) -> u32 {
        loop {
            let index = self.rng.number();
            if let Entry::Vacant(free) = self.indexes.entry(index) {
                free.insert(identity);
                return index;
            }
        }
    }

    fn forget_indexes(&mut self, indexes: impl IntoIterator<Item = u32>) {
        for index in indexes {
            self.indexes.remove(&index);
        }
    }

    fn refuse_in_log(&mut self, from: SocketAddr, reason: RefuseReason) {
        self.out.events.push_back(Event::JoinRefused { from, reason });
    }
}

/// Why a payload was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// There is no session with the peer.
    #[error("peer {peer} is not connected")]
    NotConnected {
        /// The peer.
        peer: Identity,
    },
    /// Longer than [`PAYLOAD_BYTES`].
    #[error("a payload of {bytes} bytes, where {PAYLOAD_BYTES} are the most")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

/// The longest payload of one message: a stream message less what sealing, topic and a relay add, rounded down.
pub const PAYLOAD_BYTES: usize = wire::envelope::STREAM_MESSAGE_BYTES - 256;

#[cfg(test)]
mod tests;
