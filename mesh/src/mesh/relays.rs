//! Relays, from both sides: passing on what two others cannot say to each other, and being passed on.
//!
//! What is passed on is sealed for the far end; its relay adds nothing but from whom it is. It takes only from those it has
//! a session with, and gives only to those it has one with: to the far end, or to one relay more, which gives to the far end.

use std::time::{Duration, Instant};

use wire::Identity;
use wire::envelope::{Course, Kind, RELAY_BYTES};

use super::Mesh;
use crate::event::{Carrier, Event, Via};
use crate::gossip::{Control, Leg, Passed, Reach};
use crate::path_mtu::BASE_BYTES;
use crate::peer::Peer;
use crate::plan::{Hop, PeerPlan};
use crate::ways::Way;

impl Mesh {
    /// Sends a message that is fit for the underlay.
    pub(super) fn post(&mut self, to: Identity, via: Via, message: Vec<u8>) {
        match via {
            Via::Datagram(address) => self.transmit(Carrier::Datagram(address), message),
            Via::Relay(relay) => {
                let relayed = Control::Relay(Passed { leg: Leg::There, far: to, message: &message }).emit();
                self.send_to_relay(relay, &relayed);
            }
            Via::Stream(_) => {}
        }
    }

    /// Seals a control message for a peer and sends it this way, if there is a session.
    pub(super) fn send_via(&mut self, identity: Identity, via: Via, message: &[u8]) {
        let Some(peer) = self.peers.get_mut(&identity) else { return };
        if let Via::Stream(stream) = via {
            return self.send_on_stream(identity, stream, message);
        }
        if let Some(envelope) = peer.sessions.sending().and_then(|session| session.seal(message)) {
            self.post(identity, via, envelope);
        }
    }

    /// Has a message carried to a peer by the streams of its relay.
    pub(super) fn send_reliably(&mut self, to: Identity, relay: Identity, message: &[u8], now: Instant) {
        let Some(peer) = self.peers.get_mut(&to) else { return };
        let Some(envelope) = peer.sessions.sending().and_then(|session| session.seal(message)) else { return };
        let relayed = Control::Relay(Passed { leg: Leg::There, far: to, message: &envelope }).emit();
        if let Some(neighbour) = self.peers.get_mut(&relay).filter(|neighbour| neighbour.is_relay()) {
            neighbour.channel.push(relayed, now);
            self.flush_channel(relay, now);
        }
    }

    fn send_to_relay(&mut self, relay: Identity, message: &[u8]) {
        let Some(neighbour) = self.peers.get(&relay).filter(|neighbour| neighbour.is_relay()) else { return };
        if let Some(address) = neighbour.address() {
            self.send_via(relay, Via::Datagram(address), message);
        }
    }

    /// Something is to be passed on, or was passed on to us.
    pub(super) fn handle_relay(&mut self, from: Identity, via: Via, passed: Passed<'_>, now: Instant) {
        let Passed { leg, message, .. } = passed;
        let kind = Kind::of_message(message).ok();
        // Whoever has a message passed on to it does not pass on what is in it.
        if matches!(via, Via::Relay(_)) || !matches!(kind, Some(Kind::Initiation | Kind::Response | Kind::Control)) {
            self.out.counters.unrelayed += 1;
            return;
        }
        match (leg, kind) {
            (Leg::There | Leg::On, _) => self.pass_on(from, via, passed, now),
            (Leg::Here, Some(Kind::Initiation)) => self.handle_initiation(Via::Relay(from), message, now),
            (Leg::Here, Some(Kind::Response)) => self.handle_response(Via::Relay(from), message, now),
            (Leg::Here, _) => {
                self.handle_envelope(Via::Relay(from), message, now);
            }
        }
    }

    fn pass_on(&mut self, from: Identity, via: Via, passed: Passed<'_>, now: Instant) {
        let Passed { leg, far: to, .. } = passed;
        let (next, passed) = match self.passing(from, to) {
            Some(next) if next == to => (to, Passed { leg: Leg::Here, far: from, ..passed }),
            Some(next) if leg == Leg::There => (next, Passed { leg: Leg::On, ..passed }),
            Some(_) | None => return self.out.counters.unrelayed += 1,
        };
        let relayed = Control::Relay(passed).emit();
        let Some(peer) = self.peers.get_mut(&next).filter(|peer| !peer.channel.is_half_full()) else {
            return self.out.counters.unrelayed += 1;
        };
        self.out.counters.relayed += 1;
        if let Via::Stream(_) = via {
            peer.channel.push(relayed, now);
            self.flush_channel(next, now);
        } else {
            self.send_datagram(next, &relayed);
        }
        self.note_use(from, to, now);
    }

    /// The neighbour to whom goes what somebody has for a peer: that itself, or the relay by which we reach it.
    fn passing(&self, from: Identity, to: Identity) -> Option<Identity> {
        let peer = self.peers.get(&to).filter(|peer| peer.is_up() && to != from)?;
        let next = match peer.ways.used() {
            Some(Way::Relay(relay)) => relay,
            Some(Way::Direct) | None => to,
        };
        self.peers.get(&next).filter(|next| next.is_relay() && next.identity != from).map(|_| next)
    }

    /// How we would pass on to a peer what somebody has for it: not by more than one relay, and not while it does not answer us
    /// either.
    fn course(&self, from: Identity, to: Identity) -> Option<Course> {
        let peer = self.peers.get(&to).filter(|peer| peer.is_up() && to != from)?;
        if peer.liveness.is_unanswered() {
            return None;
        }
        if peer.ways.is_direct() {
            return Some(Course::Direct);
        }
        peer.ways.only_relay().filter(|relay| *relay != from).map(|_| Course::Relayed)
    }

    /// A peer wants to know whether it is heard: the answer takes the way of the question.
    pub(super) fn answer_check(&mut self, identity: Identity, via: Via, number: u32) {
        self.send_via(identity, via, &Control::Checked { number }.emit());
    }

    pub(super) fn handle_checked(&mut self, identity: Identity, via: Via, number: u32, now: Instant) {
        let way = match via {
            Via::Datagram(_) => Way::Direct,
            Via::Relay(relay) => Way::Relay(relay),
            Via::Stream(_) => return,
        };
        if self.peers.get_mut(&identity).is_some_and(|peer| peer.ways.handle_answer(way, number, now)) {
            self.choose_way(identity, now);
            self.tell_again(identity, now);
            self.flush_channel(identity, now);
        }
    }

    /// A neighbour looks for a way to a member.
    pub(super) fn handle_seek(&mut self, from: Identity, whom: Identity) {
        self.tell_way(from, whom);
        let far = self.peers.get(&whom).filter(|peer| peer.is_up()).and_then(|peer| peer.ways.far_relay());
        if whom != from && far.is_some_and(|relay| relay != from) {
            self.send_datagram(from, &Control::Far { whom }.emit());
        }
    }

    /// Tells a neighbour the way to a member, as soon as there is one.
    fn tell_way(&mut self, to: Identity, whom: Identity) {
        if let Some(course) = self.course(to, whom) {
            self.tell_reach(to, whom, course);
        } else if let Some(peer) = self.peers.get_mut(&whom).filter(|peer| whom != to && !peer.ways.is_resting()) {
            peer.ways.seekers.note(to);
        }
    }

    /// A neighbour needs two relays itself: an operator is to know why there is no way.
    pub(super) fn handle_far(&mut self, from: Identity, whom: Identity, now: Instant) {
        let is_relay = self.peers.get(&from).is_some_and(Peer::is_relay);
        if let Some(peer) = self.peers.get_mut(&whom).filter(|peer| is_relay && !peer.is_up() && whom != from) {
            peer.ways.handle_far(from, now);
        }
    }

    /// Tells those who looked for a way to the peer that there is one.
    pub(super) fn tell_seekers(&mut self, whom: Identity) {
        let Some(peer) = self.peers.get_mut(&whom).filter(|peer| peer.is_up()) else { return };
        for seeker in peer.ways.seekers.take() {
            self.tell_way(seeker, whom);
        }
    }

    /// What gets to a peer is larger or smaller than it was: so is what others get by us to it, and to those we reach by it.
    pub(super) fn tell_size(&mut self, changed: Identity, now: Instant) {
        self.tell_again(changed, now);
        for far in self.peers.relayed(now) {
            if self.peers.get(&far).is_some_and(|peer| peer.ways.used() == Some(Way::Relay(changed))) {
                self.tell_again(far, now);
            }
        }
    }

    /// A neighbour sends to a peer by us: what it was told of the way is to be true.
    fn note_use(&mut self, neighbour: Identity, whom: Identity, now: Instant) {
        let Some(peer) = self.peers.get_mut(&whom) else { return };
        if peer.ways.seekers.handle_use(neighbour) {
            self.tell_again(whom, now);
        }
    }

    /// Tells those who use it and were told of another size what gets to the peer: they would go on sending what is lost, and ask
    /// again late. So this word must not be lost.
    fn tell_again(&mut self, whom: Identity, now: Instant) {
        let Some(peer) = self.peers.get(&whom) else { return };
        for neighbour in peer.ways.seekers.told_otherwise(self.datagram_bytes(peer)) {
            if !self.peers.get(&neighbour).is_some_and(Peer::is_relay) {
                continue;
            }
            let reach = self.course(neighbour, whom).and_then(|course| self.reach(neighbour, whom, course));
            if let (Some(reach), Some(peer)) = (reach, self.peers.get_mut(&neighbour)) {
                peer.channel.push(reach, now);
                self.flush_channel(neighbour, now);
            }
        }
    }

    fn tell_reach(&mut self, to: Identity, whom: Identity, course: Course) {
        if let Some(reach) = self.reach(to, whom, course) {
            self.send_datagram(to, &reach);
        }
    }

    /// How we reach a peer, in words for a neighbour that is told so now.
    fn reach(&mut self, to: Identity, whom: Identity, course: Course) -> Option<Vec<u8>> {
        let peer = self.peers.get(&whom)?;
        let round_trip = peer.ways.round_trip().or(peer.liveness.round_trip()).unwrap_or_default();
        let address = peer.address().filter(|_| course == Course::Direct);
        let datagram_bytes = self.datagram_bytes(peer);
        let reach = Reach { round_trip, datagram_bytes, course, address };
        self.peers.get_mut(&whom)?.ways.seekers.note_told(to, datagram_bytes);
        Some(Control::Reach { whom, reach }.emit())
    }

    /// A neighbour says that it reaches a member.
    pub(super) fn handle_reach(&mut self, from: Identity, whom: Identity, reach: &Reach, now: Instant) {
        let is_relay = self.peers.get(&from).is_some_and(Peer::is_relay);
        let Some(peer) = self.peers.get_mut(&whom).filter(|peer| is_relay && !peer.is_revoked() && whom != from) else {
            return;
        };
        let hinted = reach.address.is_some_and(|address| peer.path.hint(address));
        let before = peer.ways.relay_bytes(from);
        let is_new = peer.ways.handle_reach(from, reach, now);
        let is_other = peer.ways.relay_bytes(from) != before;
        // Many may say so at once.
        if (hinted || is_new) && !peer.is_up() && !peer.calling.is_fresh(now) {
            peer.calling.hurry(now);
        }
        if is_other {
            self.touch_plan();
            self.tell_again(whom, now);
        }
        self.tell_seekers(whom);
    }

    /// A peer is lost: so is what went by way of it.
    pub(super) fn lose_relay(&mut self, relay: Identity, now: Instant) {
        for other in self.peers.relayed(now) {
            let peer = self.peers.get_mut(&other).filter(|peer| peer.ways.knows(relay));
            if peer.is_some_and(|peer| peer.ways.lose_relay(relay, now)) {
                self.touch_plan();
            }
        }
    }

    /// Tries the ways to a peer, looks for more, and takes the best.
    pub(super) fn mind_ways(&mut self, identity: Identity, now: Instant) {
        let Some(peer) = self.peers.get_mut(&identity).filter(|peer| !peer.is_revoked()) else { return };
        if peer.is_up() && peer.liveness.is_unanswered() {
            peer.ways.doubt(now);
        }
        if peer.ways.poll_seek(now) && !self.seeking.contains(&identity) {
            self.seeking.push_back(identity);
            self.seek_next(now);
        }
        while let Some((vias, number)) = self.poll_check(identity, now) {
            for via in vias {
                self.send_via(identity, via, &Control::Check { number }.emit());
            }
        }
        self.choose_way(identity, now);
    }

    fn poll_check(&mut self, identity: Identity, now: Instant) -> Option<(Vec<Via>, u32)> {
        let peer = self.peers.get_mut(&identity).filter(|peer| peer.is_up())?;
        let (way, number) = peer.ways.poll_check(now)?;
        let vias = match way {
            Way::Relay(relay) => vec![Via::Relay(relay)],
            Way::Direct if peer.ways.is_failing() => {
                // It may be at another of its addresses by now.
                peer.path.candidates(self.named.addresses()).into_iter().map(Via::Datagram).collect()
            }
            Way::Direct => peer.address().map(Via::Datagram).into_iter().collect(),
        };
        Some((vias, number))
    }

    /// Asks for ways to those whose turn it is. However many are missing, it is one after the other: among fifty routers that
    /// start together, each would ask all for all.
    pub(super) fn seek_next(&mut self, now: Instant) {
        while self.seek_at.is_none_or(|at| at <= now) {
            let Some(whom) = self.seeking.pop_front() else { return };
            if self.peers.get(&whom).is_some_and(|peer| !peer.is_revoked() && peer.ways.wants_relay()) {
                self.seek(whom);
                self.seek_at = Some(now + SEEK_PAUSE);
            }
        }
    }

    /// When [`Self::seek_next`] has something to do.
    pub(super) fn seek_deadline(&self) -> Option<Instant> {
        self.seek_at.filter(|_| !self.seeking.is_empty())
    }

    fn seek(&mut self, whom: Identity) {
        let asked = self.peers.get(&whom).map_or(0, |peer| peer.ways.asked());
        let neighbours: Vec<Identity> = self
            .peers
            .values()
            .filter(|peer| peer.is_relay() && peer.identity != whom)
            .map(|peer| peer.identity)
            .collect();
        // Another part of them each time, where there are many.
        let start =
            usize::try_from(self.rng.number()).unwrap_or_default().checked_rem(neighbours.len()).unwrap_or_default();
        let some = neighbours.iter().cycle().skip(start).take(neighbours.len().min(asked));
        for neighbour in some {
            self.send_datagram(*neighbour, &Control::Seek { whom }.emit());
        }
    }

    fn choose_way(&mut self, identity: Identity, now: Instant) {
        let Some(peer) = self.peers.get_mut(&identity).filter(|peer| peer.is_up()) else { return };
        let Some(way) = peer.ways.choose(now) else { return };
        let streams = match way {
            Way::Relay(_) => peer.channel.suspend(),
            Way::Direct => {
                peer.channel.start(Duration::ZERO, now);
                Vec::new()
            }
        };
        let route = peer.route();
        streams.into_iter().for_each(|stream| self.close_stream(stream));
        self.out.events.push_back(Event::RouteChanged { peer: identity, route });
        self.touch_plan();
        self.tell_seekers(identity);
        self.tell_again(identity, now);
        if let Way::Relay(_) = way {
            // What went by way of it can no longer: the first relay is a neighbour.
            self.lose_relay(identity, now);
        }
        self.flush_channel(identity, now);
    }

    /// The peer as the data threads see it.
    pub(super) fn peer_plan(&self, peer: &Peer) -> PeerPlan {
        peer.plan(self.hop(peer), self.datagram_bytes(peer))
    }

    fn hop(&self, peer: &Peer) -> Hop {
        let relay = match peer.ways.used() {
            Some(Way::Relay(relay)) => self.peers.get(&relay).filter(|relay| relay.is_relay()),
            Some(Way::Direct) | None => None,
        };
        match (relay, peer.address()) {
            (Some(relay), _) => Hop::Relay(relay.index),
            (None, Some(address)) => Hop::Direct(address),
            (None, None) => Hop::Nowhere,
        }
    }

    /// The largest datagram that gets to the peer.
    pub(super) fn datagram_bytes(&self, peer: &Peer) -> u16 {
        match peer.ways.used() {
            Some(Way::Relay(relay)) => {
                let to_relay = self.peers.get(&relay).map_or(BASE_BYTES, |relay| relay.path.datagram_bytes());
                to_relay.saturating_sub(RELAY).min(peer.ways.relay_bytes(relay))
            }
            Some(Way::Direct) | None => peer.path.datagram_bytes(),
        }
    }

    /// The same, where nobody searches any more. A relay that says the least is still searching.
    pub(super) fn settled_bytes(&self, peer: &Peer) -> Option<u16> {
        match peer.ways.used() {
            Some(Way::Relay(relay)) => {
                let to_relay = self.peers.get(&relay)?.path.mtu.settled()?;
                let on = Some(peer.ways.relay_bytes(relay)).filter(|bytes| *bytes > BASE_BYTES)?;
                Some(to_relay.saturating_sub(RELAY).min(on))
            }
            Some(Way::Direct) | None => peer.path.mtu.settled(),
        }
    }
}

/// Between two rounds of asking, for whomever: some 250 questions a second at most.
const SEEK_PAUSE: Duration = Duration::from_millis(250);
/// What a relay adds to a data envelope.
#[expect(clippy::cast_possible_truncation, reason = "forty")]
const RELAY: u16 = RELAY_BYTES as u16;
/// What surely fits a datagram with the envelope and the words for a relay around it.
pub(super) const DATAGRAM_BYTES: usize = crate::channel::DATAGRAM_BYTES - 80;
