//! Control envelopes, both ways: opening, confirming, pinging, handing on.

use std::net::SocketAddr;
use std::time::Instant;

use wire::Identity;
use wire::envelope::{Frames, Header};

use super::Mesh;
use crate::aead::OpenError;
use crate::event::{Carrier, DownReason, Event, StreamId, Via};
use crate::gossip::{Control, Topic};
use crate::peer::{Peer, Phase};
use crate::session::{Confirmation, Opened};
use crate::ways::Way;

impl Mesh {
    /// Opens a control envelope and does what it says. Returns whose it is, if that is proven: on a stream that is nobody's,
    /// only by what is never said but on a stream. A datagram that was held back could be written there by anybody.
    pub(super) fn handle_envelope(&mut self, via: Via, bytes: &[u8], now: Instant) -> Option<Identity> {
        let header = Header::parse(bytes).ok();
        let owner = header.and_then(|header| Some((header, *self.indexes.get(&header.receiver)?)));
        let Some((header, identity)) = owner else {
            self.out.counters.unopened += 1;
            return None;
        };
        let peer = self.peers.get_mut(&identity)?;
        match peer.sessions.open(header.receiver, header.counter, &mut bytes.to_vec()) {
            Ok(opened) => {
                let is_nobodys = matches!(via, Via::Stream(stream) if self.unproven.contains(&stream));
                let is_proven = !is_nobodys || matches!(Control::parse(&opened.plaintext), Some(Control::Bind));
                if peer.is_revoked() {
                    self.hear_revoked(identity, via, &opened);
                } else {
                    self.note_authentic(identity, via, &opened, now);
                    if is_proven {
                        self.handle_control(identity, via, &opened, now);
                    }
                }
                is_proven.then_some(identity)
            }
            Err(OpenError::Replayed { .. }) => {
                self.out.counters.replayed += 1;
                None
            }
            Err(OpenError::Forged | OpenError::Malformed) => {
                self.out.counters.unopened += 1;
                None
            }
        }
    }

    /// A revoked member has the keys, so it can be told; where it is, is all it says that counts.
    fn hear_revoked(&mut self, identity: Identity, via: Via, opened: &Opened) {
        let Some(peer) = self.peers.get_mut(&identity) else { return };
        if let (Via::Datagram(from), true) = (via, opened.newest) {
            peer.path.follow(from);
        }
        if opened.confirmation == Confirmation::First {
            self.out.events.push_back(Event::RevokedCalled { peer: identity });
        }
    }

    /// A data thread heard the peer.
    pub(super) fn handle_data_heard(&mut self, identity: Identity, local_index: u32, from: SocketAddr, now: Instant) {
        let Some(peer) = self.peers.get_mut(&identity) else { return };
        let Some(opened) = peer.sessions.confirm(local_index) else { return };
        self.note_authentic(identity, Via::Datagram(from), &opened, now);
    }

    /// Draws the consequences of an authentic envelope: where the peer is, that it lives, that it has the keys.
    fn note_authentic(&mut self, identity: Identity, via: Via, opened: &Opened, now: Instant) {
        let Some(peer) = self.peers.get_mut(&identity) else { return };
        let was_silent = peer.liveness.is_unanswered();
        peer.liveness.handle_heard(now);
        let moved = match via {
            Via::Datagram(from) => {
                peer.datagram = now;
                opened.newest && peer.path.follow(from)
            }
            Via::Stream(_) | Via::Relay(_) => false,
        };
        if peer.is_up() {
            match via {
                Via::Datagram(_) => peer.ways.handle_heard(Way::Direct, now),
                Via::Relay(relay) => peer.ways.handle_heard(Way::Relay(relay), now),
                Via::Stream(_) => {}
            }
        }
        if moved || opened.confirmation == Confirmation::First {
            self.touch_plan();
        }
        if was_silent {
            self.tell_seekers(identity);
        }
        self.raise(identity, via, opened.boot, now);
    }

    /// A session of this life of the peer is in use: makes the peer up, if it is not yet.
    pub(super) fn raise(&mut self, identity: Identity, via: Via, boot: u32, now: Instant) {
        let Some(peer) = self.peers.get_mut(&identity) else { return };
        let alone = match peer.phase {
            Phase::Up { boot: known, .. } if known >= boot => return,
            Phase::Revoked { .. } => return,
            Phase::Up { .. } => false,
            Phase::New { .. } | Phase::Down { .. } => true,
        };
        let way = match via {
            Via::Relay(relay) => Way::Relay(relay),
            Via::Datagram(_) | Via::Stream(_) if peer.address().is_some() => Way::Direct,
            Via::Datagram(_) | Via::Stream(_) => return,
        };
        let calls = peer.calling.stop();
        let old = peer.sessions.drop_before(boot);
        self.forget_indexes(calls.into_iter().chain(old));
        if !alone {
            self.lower(identity, DownReason::Restarted, now);
        }
        let wait = if self.me.identity < identity { std::time::Duration::ZERO } else { super::streams::COURTESY };
        let Some(peer) = self.peers.get_mut(&identity) else { return };
        peer.phase = Phase::Up { since: now, boot };
        peer.liveness.handle_heard(now);
        peer.liveness.ask_now(now);
        peer.ways.prove(way, now);
        match way {
            Way::Direct => peer.channel.start(wait, now),
            Way::Relay(_) => drop(peer.channel.suspend()),
        }
        peer.compared = None;
        let (index, route) = (peer.index, peer.route());
        self.touch_plan();
        self.swim.handle_up(identity, boot, now);
        self.act(now);
        self.out.events.push_back(Event::PeerUp { peer: identity, index, route });
        self.tell_seekers(identity);
        self.introduce(identity, now);
    }

    /// The peer is not there any more, or not the same.
    pub(super) fn lower(&mut self, identity: Identity, reason: DownReason, now: Instant) {
        let Some(peer) = self.peers.get_mut(&identity) else { return };
        peer.phase = match reason {
            DownReason::Silent | DownReason::Restarted | DownReason::RevokedHere => Phase::Down { since: now },
            DownReason::Revoked => Phase::Revoked { since: now, answered: None },
        };
        peer.path.restart();
        peer.ways.lose(now);
        if reason == DownReason::Silent {
            peer.calling.hurry(now);
            if peer.liveness.is_agreed() {
                peer.ways.rest(now);
            }
        }
        let streams = peer.channel.stop();
        for stream in streams {
            self.close_stream(stream);
        }
        self.touch_plan();
        self.out.events.push_back(Event::PeerDown { peer: identity, reason });
        self.lose_relay(identity, now);
    }

    fn handle_control(&mut self, identity: Identity, via: Via, opened: &Opened, now: Instant) {
        match Control::parse(&opened.plaintext) {
            Some(Control::Ping { number, roster }) => {
                if let Some(ours) = self.digest_for(identity) {
                    self.send_datagram(identity, &Control::Pong { number, roster: ours }.emit());
                }
                self.compare_rosters(identity, roster, &opened.salt, now);
            }
            Some(Control::Pong { number, roster }) => {
                if let Some(peer) = self.peers.get_mut(&identity) {
                    peer.liveness.handle_answer(number, now);
                }
                self.compare_rosters(identity, roster, &opened.salt, now);
            }
            Some(Control::Swim { roster, payload }) => {
                self.handle_swim(identity, payload, now);
                self.compare_rosters(identity, roster, &opened.salt, now);
            }
            Some(Control::Message { topic: Topic::MEMBERS, payload }) => self.handle_gossip(identity, payload, now),
            Some(Control::Message { topic, payload }) => {
                let payload = payload.to_vec();
                self.out.events.push_back(Event::Message { from: identity, topic, payload });
            }
            Some(Control::Sounding { number, bytes }) => {
                // What came by another way says nothing about this one.
                if let Via::Datagram(_) = via {
                    self.send_via(identity, via, &Control::Sounded { number, bytes }.emit());
                }
            }
            Some(Control::Sounded { number, bytes }) => self.handle_sounded(identity, number, bytes, now),
            // Its carrier is what it is about, and the owner of the stream has seen to that.
            Some(Control::Bind) => {}
            Some(Control::Check { number }) => self.answer_check(identity, via, number),
            Some(Control::Checked { number }) => self.handle_checked(identity, via, number, now),
            Some(Control::Relay(passed)) => self.handle_relay(identity, via, passed, now),
            Some(Control::Seek { whom }) => self.handle_seek(identity, whom),
            Some(Control::Reach { whom, reach }) => self.handle_reach(identity, whom, &reach, now),
            Some(Control::Far { whom }) => self.handle_far(identity, whom, now),
            None => {
                tracing::debug!(peer = %identity, ?via, "control message of a kind this router does not know");
                self.out.counters.malformed += 1;
            }
        }
    }

    /// A sounding came through, or its companion.
    fn handle_sounded(&mut self, identity: Identity, number: u32, bytes: u16, now: Instant) {
        let Some(peer) = self.peers.get_mut(&identity) else { return };
        let before = peer.path.datagram_bytes();
        peer.path.mtu.handle_answer(number, bytes, now);
        if peer.path.datagram_bytes() != before {
            self.touch_plan();
            self.tell_size(identity, now);
        }
    }

    /// Sends a control message as a datagram, if there is a session.
    pub(super) fn send_datagram(&mut self, identity: Identity, message: &[u8]) {
        let Some(peer) = self.peers.get(&identity) else { return };
        let via = match peer.ways.used() {
            Some(Way::Relay(relay)) => Some(Via::Relay(relay)),
            Some(Way::Direct) | None => peer.address().map(Via::Datagram),
        };
        if let Some(via) = via {
            self.send_via(identity, via, message);
        }
    }

    /// Sends a control message on a stream, if there is a session.
    pub(super) fn send_on_stream(&mut self, identity: Identity, stream: StreamId, message: &[u8]) {
        let Some(peer) = self.peers.get_mut(&identity) else { return };
        let envelope = peer.sessions.sending().and_then(|session| session.seal(message));
        if let Some(bytes) = envelope.and_then(|envelope| Frames::emit(&envelope).ok()) {
            self.transmit(Carrier::Stream(stream), bytes);
        }
    }

    /// Sends what waits for a stream and can go.
    pub(super) fn flush_channel(&mut self, identity: Identity, now: Instant) {
        while let Some(peer) = self.peers.get_mut(&identity) {
            if let Some((stream, message)) = peer.channel.poll_stream() {
                self.send_on_stream(identity, stream, &message);
            } else if let Some(Way::Relay(relay)) = peer.ways.used() {
                // While another one is looked for, what waits goes on waiting.
                if !self.peers.get(&relay).is_some_and(Peer::is_relay) {
                    return;
                }
                let Some(peer) = self.peers.get_mut(&identity) else { return };
                let Some(message) = peer.channel.poll_relay() else { return };
                self.send_reliably(identity, relay, &message, now);
            } else if let Some(message) = peer.channel.poll_datagram(now) {
                self.send_datagram(identity, &message);
            } else {
                return;
            }
        }
    }
}
