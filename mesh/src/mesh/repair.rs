//! How rosters that differ become equal again: what was lost on its way, and what a partition kept apart.
//!
//! ```text
//!   A ── Buckets (the digest in B's message differs) ──▶ B
//!     ◀── Lines: the sums of what B knows where they differ ──
//!     ── Members: what A knows otherwise, or alone; Want: the same of B ──▶
//!     ◀── Members: of two lines of one member the higher counts, on both sides ──
//! ```

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use wire::Identity;

use super::Mesh;
use crate::gossip::{Gossip, LINES_A_MESSAGE};
use crate::member::Member;
use crate::sums::{Lines, Salt, Sum};

impl Mesh {
    /// What goes with a message to a peer, to be compared.
    pub(super) fn digest_for(&mut self, identity: Identity) -> Option<Sum> {
        let session = self.peers.get(&identity)?.sessions.current()?;
        Some(self.roster.digest(&session.salt))
    }

    /// A peer's message carries this digest, under its session's salt.
    pub(super) fn compare_rosters(&mut self, identity: Identity, theirs: Sum, salt: &Salt, now: Instant) {
        let is_soon =
            |last: Option<Instant>, pause| last.is_some_and(|last| now.saturating_duration_since(last) < pause);
        if theirs == self.roster.digest(salt) || is_soon(self.compared, COMPARE_PAUSE) {
            return;
        }
        let Some(peer) = self.peers.get_mut(&identity).filter(|peer| !is_soon(peer.compared, PEER_PAUSE)) else {
            return;
        };
        (peer.compared, self.compared) = (Some(now), Some(now));
        let salt = self.rng.bytes();
        let sums = self.roster.buckets(&salt);
        self.say(identity, &Gossip::Buckets { salt, sums }, now);
    }

    pub(super) fn handle_buckets(&mut self, from: Identity, salt: Salt, theirs: &[Sum], now: Instant) {
        let ours = self.roster.buckets(&salt);
        let differ = (0..).zip(ours.iter().zip(theirs)).filter(|(_, (ours, theirs))| ours != theirs);
        let (mut buckets, mut lines) = (0, Lines::new());
        for bucket in differ.map(|(number, _)| 1 << number) {
            let more = self.roster.lines(bucket, &salt);
            if !lines.is_empty() && lines.len() + more.len() > LINES_A_MESSAGE {
                let (buckets, lines) = (std::mem::take(&mut buckets), std::mem::take(&mut lines));
                self.say(from, &Gossip::Lines { salt, buckets, lines }, now);
            }
            buckets |= bucket;
            lines.extend(more);
        }
        if buckets != 0 {
            self.say(from, &Gossip::Lines { salt, buckets, lines }, now);
        }
    }

    pub(super) fn handle_lines(&mut self, from: Identity, ours: &Lines, theirs: &Lines, now: Instant) {
        let only = |left: &Lines, right: &Lines| left.difference(right).map(|(member, _)| *member).collect();
        let (lacked, wanted): (Vec<Identity>, Vec<Identity>) = (only(ours, theirs), only(theirs, ours));
        self.tell(from, &lacked, now);
        if !wanted.is_empty() {
            self.say(from, &Gossip::Want(wanted), now);
        }
    }

    /// Sends what is known of these, those who vouched for others first.
    pub(super) fn tell(&mut self, to: Identity, wanted: &[Identity], now: Instant) {
        let wanted: BTreeSet<&Identity> = wanted.iter().collect();
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
