//! What is due for one peer: expiry, verdicts, calls, questions, dialling.

use std::time::Instant;

use wire::Identity;

use super::Mesh;
use crate::event::{DownReason, Event, Target, Via};
use crate::gossip::Control;
use crate::liveness::Verdict;
use crate::path_mtu::Sounding;
use crate::peer::Peer;

impl Mesh {
    /// Does what is due for one peer.
    pub(super) fn service(&mut self, identity: Identity, now: Instant) {
        self.expire_sessions(identity, now);
        if self.peers.get(&identity).and_then(Peer::audience_end).is_some_and(|end| now >= end) {
            self.end_audience(identity);
        }
        let Some(peer) = self.peers.get_mut(&identity) else { return };
        if peer.keep_open().is_some_and(|due| now >= due) {
            peer.datagram = now;
            peer.liveness.doubt(now);
        }
        if peer.is_up() && (peer.liveness.verdict(now) == Verdict::Silent || peer.sessions.current().is_none()) {
            self.lower(identity, DownReason::Silent, now);
        }
        let Some(peer) = self.peers.get_mut(&identity) else { return };
        if !peer.wants_call(now) {
            let forgotten = peer.calling.deadline().is_some().then(|| peer.calling.stop());
            self.forget_indexes(forgotten.into_iter().flatten());
        } else if peer.calling.is_due(now) {
            self.place_call(identity, now);
        }
        self.ask(identity, now);
        self.mind_ways(identity, now);
        self.sound(identity, now);
        self.dial(identity, now);
        self.flush_channel(identity, now);
    }

    fn expire_sessions(&mut self, identity: Identity, now: Instant) {
        let Some(peer) = self.peers.get_mut(&identity) else { return };
        let expired = peer.sessions.expire(now);
        if !expired.is_empty() {
            self.forget_indexes(expired);
            self.touch_plan();
        }
    }

    fn ask(&mut self, identity: Identity, now: Instant) {
        let Some(peer) = self.peers.get_mut(&identity).filter(|peer| peer.is_up()) else { return };
        let question = peer.liveness.poll_question(now);
        if let Some((number, roster)) = question.zip(self.digest_for(identity)) {
            self.send_datagram(identity, &Control::Ping { number, roster }.emit());
        }
    }

    /// Says what this host's end of the underlay takes from now on, and has every path tried with it. Returns whether it was news.
    pub fn set_underlay_mtu(&mut self, mtu_bytes: u16, now: Instant) -> bool {
        let is_news = std::mem::replace(&mut self.config.underlay_mtu_bytes, mtu_bytes) != mtu_bytes;
        if is_news && !self.is_retired() {
            self.order.clone().into_iter().for_each(|identity| self.sound(identity, now));
        }
        is_news
    }

    /// Sends the sounding that is due, and its companion.
    fn sound(&mut self, identity: Identity, now: Instant) {
        let Some(peer) = self.peers.get_mut(&identity) else { return };
        let known = |peer: &Peer| (peer.path.datagram_bytes(), peer.path.mtu.settled());
        let before = known(peer);
        let endpoint = peer.sounded();
        peer.path.mtu.follow(endpoint, self.config.underlay_mtu_bytes, now);
        let sounding = peer.path.mtu.poll_sounding(peer.liveness.round_trip(), now);
        let after = known(peer);
        if after != before {
            self.touch_plan();
            self.tell_size(identity, now);
        }
        if let (Some(Sounding { number, bytes }), Some(address)) = (sounding, endpoint) {
            self.send_via(identity, Via::Datagram(address), &Control::Sounding { number, bytes }.emit());
            self.send_via(identity, Via::Datagram(address), &Control::Sounding { number, bytes: 0 }.emit());
        }
    }

    fn dial(&mut self, identity: Identity, now: Instant) {
        let Some(peer) = self.peers.get_mut(&identity).filter(|peer| peer.is_up()) else { return };
        let Some(attempt) = peer.channel.poll_dial(now) else { return };
        if let Some(address) = peer.path.dial(attempt, &[]) {
            self.out.events.push_back(Event::OpenStream { target: Target::Peer(identity), address });
        }
    }
}
