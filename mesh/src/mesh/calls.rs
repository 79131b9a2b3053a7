//! Handshakes with members, both sides: from the gate to a session.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wire::Identity;

use super::Mesh;
use crate::aead::Suite;
use crate::config::PeerTimes;
use crate::event::{Carrier, Via};
use crate::gate::{Source, Verdict, cookie_reply_index, open_cookie};
use crate::handshake::{Answer, Callee, Caller, Greeting, Keys, PROTOCOL, Response, call};
use crate::member::Member;
use crate::plan::SessionHead;
use crate::session::{Birth, Life, Role, Session};
use crate::ways::Way;

impl Mesh {
    /// Calls a peer at the next of its addresses.
    pub(super) fn place_call(&mut self, identity: Identity, now: Instant) {
        let seed = self.rng.bytes();
        let stretch = self.rng.up_to(Duration::from_millis(250)).as_secs_f64();
        let index = self.new_index(identity);
        self.me.calls += 1;
        let times = self.calling_times(identity, now);
        let greeting = Greeting {
            stamp: (self.me.version.0, self.me.calls),
            protocols: (PROTOCOL, PROTOCOL),
            queues: self.config.queues,
            identity: self.me.identity,
            suites: self.config.suites.clone(),
            certificate: self.renewed().cloned(),
        };
        let Some(peer) = self.peers.get_mut(&identity) else { return };
        let choices = peer.path.choices(self.named.addresses()) + peer.ways.relays();
        let (cookie, way) = (peer.valid_cookie(now), peer.ways.call(peer.calling.tries()));
        let callee = Callee { identity, noise_public: &peer.noise_public, index, cookie: cookie.as_ref() };
        let via = match way {
            Way::Direct => peer.path.next(self.named.addresses()).map(Via::Datagram),
            Way::Relay(relay) => Some(Via::Relay(relay)),
        };
        let (Some(via), Some((call, message))) = (via, call(&self.me.local, &callee, &greeting, seed)) else {
            peer.calling.pause(self.config.peer.retry_most, now);
            self.indexes.remove(&index);
            return;
        };
        let forgotten = peer.calling.handle_called(call, choices, &times, stretch, now);
        self.forget_indexes(forgotten);
        self.post(identity, via, message);
    }

    /// Somebody calls. Nothing is computed before the gate lets it pass.
    pub(super) fn handle_initiation(&mut self, via: Via, bytes: &[u8], now: Instant) {
        if self.is_retired() || !self.passes_gate(via, bytes, now) {
            return;
        }
        self.out.counters.handshakes += 1;
        let seed = self.rng.bytes();
        let Some(caller) = Caller::open(&self.me.local, bytes, seed) else {
            self.out.counters.malformed += 1;
            return;
        };
        let known = self.knows(&caller, now).then_some(caller.greeting.identity);
        let Some(peer) = known.and_then(|identity| self.peers.get_mut(&identity)) else {
            self.out.counters.strangers += 1;
            return;
        };
        if peer.stamp.is_some_and(|stamp| caller.greeting.stamp <= stamp) {
            self.out.counters.replayed_calls += 1;
            return;
        }
        peer.stamp = Some(caller.greeting.stamp);
        if !peer.admits_call(now) {
            self.out.counters.strangers += 1;
            return;
        }
        // Both called at once: the lower identity's call is the one that counts.
        if self.me.identity < peer.identity && peer.calling.is_fresh(now) {
            return;
        }
        let identity = peer.identity;
        self.answer_call(identity, via, caller, now);
    }

    /// Whether the caller's key is the one that the member it claims to be has, or has had certified since we heard of it.
    fn knows(&mut self, caller: &Caller, now: Instant) -> bool {
        let Greeting { identity, certificate, .. } = &caller.greeting;
        let is_it = |member: &Member| member.certificate.title.noise_key == caller.noise_public;
        let Some(member) = self.roster.member(*identity) else { return false };
        let Some(certificate) = certificate.clone().filter(|_| !is_it(member)) else { return is_it(member) };
        if certificate.title.identity == *identity {
            // It has told everybody it could: the others learn of it by comparing.
            self.admit(vec![Member { certificate, ..member.clone() }], Some(*identity), now);
        }
        self.roster.member(*identity).is_some_and(is_it)
    }

    fn answer_call(&mut self, identity: Identity, via: Via, caller: Caller, now: Instant) {
        let greeting = &caller.greeting;
        let (oldest, newest) = greeting.protocols;
        let chosen = greeting.suites.iter().copied().find(|suite| self.config.suites.contains(suite));
        if !(oldest..=newest).contains(&PROTOCOL) {
            tracing::debug!(peer = %identity, oldest, newest, "a member calls in another version of the protocol");
            return;
        }
        let suite = chosen.unwrap_or(Suite::ChaCha20Poly1305);
        let answer = Answer { boot: self.me.version.0, protocol: PROTOCOL, suite, queues: self.config.queues };
        let (boot, remote_queues, remote_index) = (greeting.stamp.0, greeting.queues, caller.index);
        let local_index = self.new_index(identity);
        let Some((message, keys)) = caller.answer(&self.me.local, local_index, &answer) else {
            self.indexes.remove(&local_index);
            return;
        };
        self.post(identity, via, message);
        let Some(peer) = self.peers.get(&identity) else { return };
        let head = SessionHead { peer: peer.index, local_index, remote_index, suite, remote_queues };
        self.add_session(identity, head, Role::Called, boot, keys, now);
    }

    /// Somebody answers one of our calls.
    pub(super) fn handle_response(&mut self, via: Via, bytes: &[u8], now: Instant) {
        let Some(response) = Response::parse(bytes) else {
            self.out.counters.malformed += 1;
            return;
        };
        let Some(&identity) = self.indexes.get(&response.receiver) else {
            self.out.counters.unopened += 1;
            return;
        };
        if !self.gate.recognises(bytes) {
            self.out.counters.gated += 1;
            return;
        }
        let Some(peer) = self.peers.get_mut(&identity) else { return };
        let Some(call) = peer.calling.take(response.receiver) else { return };
        self.out.counters.handshakes += 1;
        let (answer, keys) = match call.finish(&response) {
            Ok(finished) => finished,
            Err(call) => {
                peer.calling.put_back(*call);
                self.out.counters.malformed += 1;
                return;
            }
        };
        if answer.protocol != PROTOCOL
            || !self.config.suites.contains(&answer.suite) && answer.suite != Suite::ChaCha20Poly1305
        {
            self.indexes.remove(&response.receiver);
            return;
        }
        let forgotten = peer.calling.stop();
        if let Via::Datagram(from) = via {
            peer.path.follow(from);
        }
        peer.path.restart();
        peer.liveness.ask_now(now);
        peer.channel.handle_session(now);
        let head = SessionHead {
            peer: peer.index,
            local_index: response.receiver,
            remote_index: response.sender,
            suite: answer.suite,
            remote_queues: answer.queues,
        };
        self.forget_indexes(forgotten);
        self.add_session(identity, head, Role::Caller, answer.boot, keys, now);
        self.raise(identity, via, answer.boot, now);
    }

    /// A peer under load wants to see that we can hear it.
    pub(super) fn handle_cookie(&mut self, bytes: &[u8], now: Instant) {
        let Some(index) = cookie_reply_index(bytes) else {
            self.out.counters.malformed += 1;
            return;
        };
        let Some(peer) = self.indexes.get(&index).and_then(|identity| self.peers.get_mut(identity)) else { return };
        let Some((mac1, had_cookie)) = peer.calling.shown(index) else { return };
        if peer.valid_cookie(now).is_some() && !had_cookie {
            return; // a second reply to the same question must not make us call twice
        }
        if let Some(cookie) = open_cookie(bytes, &self.me.local.cluster, &peer.noise_public, &mac1) {
            peer.cookie = Some((cookie, now));
            // A call that showed a cookie showed a stale one: the next call shows this one, in its own time, or two that
            // never agree would call without a pause.
            if !had_cookie {
                peer.path.restart();
                peer.calling.hurry(now);
            }
        }
    }

    fn add_session(&mut self, identity: Identity, head: SessionHead, role: Role, boot: u32, keys: Keys, now: Instant) {
        let draw = self.rng.up_to(Duration::from_secs(1)).as_secs_f64();
        let life = Life::new(&self.config.session, role, draw, now);
        let session = Session::new(head, &Birth { role, boot, life }, keys);
        if let Some(peer) = self.peers.get_mut(&identity) {
            let dropped = peer.sessions.add(session);
            self.forget_indexes(dropped);
            self.touch_plan();
        }
    }

    /// The rhythm of calls: the more members are gone, the longer each waits, so that all of them cost one call a second.
    fn calling_times(&mut self, identity: Identity, now: Instant) -> PeerTimes {
        let times = self.config.peer;
        if self.peers.get(&identity).is_none_or(|peer| peer.calling.is_new()) {
            return times;
        }
        let gone = u32::try_from(self.peers.gone(now)).unwrap_or(u32::MAX);
        PeerTimes { retry_most: times.retry_most.max(CALL_PAUSE * gone), ..times }
    }

    /// Whether a member is, or says it listens, at this address.
    pub(super) fn source(&mut self, from: SocketAddr, now: Instant) -> Source {
        if self.peers.has_host(from.ip(), now) { Source::Known } else { Source::Unknown }
    }

    fn passes_gate(&mut self, via: Via, bytes: &[u8], now: Instant) -> bool {
        if !self.gate.recognises(bytes) {
            self.out.counters.gated += 1;
            return false;
        }
        let from = match via {
            Via::Datagram(from) => from,
            Via::Relay(relay) => {
                let admitted = self.gate.admits_relayed(relay, now);
                self.out.counters.gated += u64::from(!admitted);
                return admitted;
            }
            Via::Stream(_) => return false,
        };
        let source = self.source(from, now);
        match self.gate.judge(from, source, bytes, &mut self.rng, now) {
            Verdict::Pass => true,
            Verdict::Drop => {
                self.out.counters.gated += 1;
                false
            }
            Verdict::Challenge(reply) => {
                self.out.counters.challenged += 1;
                self.transmit(Carrier::Datagram(from), reply);
                false
            }
        }
    }
}

/// Between two calls, to whomever.
const CALL_PAUSE: Duration = Duration::from_secs(1);
