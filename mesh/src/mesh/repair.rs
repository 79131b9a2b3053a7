//! How rosters that differ become equal again: what was lost on its way, and what a partition kept apart.
//!
//! ```text
//!   A ── Buckets (the digest in B's message differs) ──▶ B
//!     ◀── Lines: what B knows where they differ ──
//!     ── Members that B lacks; Want: those A lacks ──▶
//!     ◀── Members ──
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wire::Identity;

use super::Mesh;
use crate::gossip::Gossip;
use crate::member::{Line, Member};

impl Mesh {
    /// A peer's message carries another digest than ours.
    pub(super) fn compare_rosters(&mut self, identity: Identity, theirs: [u8; 8], now: Instant) {
        let is_soon =
            |last: Option<Instant>, pause| last.is_some_and(|last| now.saturating_duration_since(last) < pause);
        if theirs == self.roster.digest() || is_soon(self.compared, COMPARE_PAUSE) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&identity).filter(|peer| !is_soon(peer.compared, PEER_PAUSE)) else {
            return;
        };
        (peer.compared, self.compared) = (Some(now), Some(now));
        let buckets = self.roster.buckets().to_vec();
        self.say(identity, &Gossip::Buckets(buckets), now);
    }

    pub(super) fn handle_buckets(&mut self, from: Identity, theirs: &[u64], now: Instant) {
        let differ = self.roster.buckets().iter().zip(theirs).enumerate().filter(|(_, (ours, theirs))| ours != theirs);
        let buckets = differ.fold(0, |mask, (number, _)| mask | 1u64 << number);
        if buckets != 0 {
            let lines = self.roster.lines(buckets);
            self.say(from, &Gossip::Lines { buckets, lines }, now);
        }
    }

    pub(super) fn handle_lines(&mut self, from: Identity, buckets: u64, theirs: Vec<Line>, now: Instant) {
        let theirs: BTreeMap<Identity, (u32, (u32, u32))> =
            theirs.into_iter().map(|(identity, generation, version)| (identity, (generation, version))).collect();
        let ours = self.roster.lines(buckets);
        let newer = |&(identity, generation, version): &Line| {
            theirs.get(&identity).is_none_or(|known| generation > known.0 || version > known.1)
        };
        let lacked: Vec<Identity> = ours.iter().filter(|line| newer(line)).map(|line| line.0).collect();
        self.tell(from, &lacked, now);
        let older = |identity: &Identity, (generation, version): (u32, (u32, u32))| {
            let known = self.roster.member(*identity).map(Member::line);
            known.is_none_or(|(_, known, addresses)| generation > known || version > addresses)
        };
        let wanted: Vec<Identity> =
            theirs.iter().filter(|(identity, line)| older(identity, **line)).map(|(identity, _)| *identity).collect();
        if !wanted.is_empty() {
            self.say(from, &Gossip::Want(wanted), now);
        }
    }

    /// Sends what is known of these, those who vouched for others first.
    pub(super) fn tell(&mut self, to: Identity, wanted: &[Identity], now: Instant) {
        let wanted: std::collections::BTreeSet<&Identity> = wanted.iter().collect();
        let members: Vec<Member> =
            self.roster.members().filter(|member| wanted.contains(&member.identity())).cloned().collect();
        if !members.is_empty() {
            let seen = self.seen(to, wanted.iter().copied());
            self.gossip(to, &members, seen, now);
        }
    }

    /// A peer is up: tells it where we listen, and where those are seen who do not know it themselves.
    pub(super) fn introduce(&mut self, to: Identity, now: Instant) {
        let ours: Vec<Member> = self.roster.member(self.me.identity).cloned().into_iter().collect();
        let translated = self.peers.translated(now);
        let seen = self.seen(to, &translated);
        self.gossip(to, &ours, seen, now);
    }

    /// Where those of them are seen who are connected.
    fn seen<'a>(&self, to: Identity, whom: impl IntoIterator<Item = &'a Identity>) -> Vec<(Identity, SocketAddr)> {
        let peers = whom.into_iter().filter_map(|identity| self.peers.get(identity));
        let peers = peers.filter(|peer| peer.is_relay() && peer.identity != to);
        peers.filter_map(|peer| Some((peer.identity, peer.address()?))).take(super::membership::SEEN_MOST).collect()
    }
}

/// Comparing costs a kilobyte, so it is done with one peer at a time.
const COMPARE_PAUSE: Duration = Duration::from_millis(500);
/// Two routers that cannot agree (a name taken twice) repeat themselves this often and no more.
const PEER_PAUSE: Duration = Duration::from_secs(10);
