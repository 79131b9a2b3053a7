//! All peers of a router, and whose turn it is next.
//!
//! Owns the order of deadlines: a wake-up looks at those that are due and at nobody else. Knows nothing of what is due.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use wire::Identity;

use crate::peer::Peer;

/// The peers.
#[derive(Default)]
pub(crate) struct Peers {
    map: BTreeMap<Identity, Peer>,
    due: BTreeSet<(Instant, Identity)>,
    at: BTreeMap<Identity, Instant>,
    /// Those whose deadline may be another by now.
    touched: BTreeSet<Identity>,
}

impl Peers {
    pub(crate) fn contains(&self, identity: &Identity) -> bool {
        self.map.contains_key(identity)
    }

    pub(crate) fn insert(&mut self, peer: Peer) {
        self.touched.insert(peer.identity);
        self.map.insert(peer.identity, peer);
    }

    pub(crate) fn get(&self, identity: &Identity) -> Option<&Peer> {
        self.map.get(identity)
    }

    pub(crate) fn get_mut(&mut self, identity: &Identity) -> Option<&mut Peer> {
        let peer = self.map.get_mut(identity)?;
        self.touched.insert(*identity);
        Some(peer)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Peer> {
        self.map.values()
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.touched.extend(self.map.keys());
        self.map.values_mut()
    }

    /// When somebody's turn is.
    pub(crate) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        self.sort(now);
        self.due.first().map(|(at, _)| *at)
    }

    /// Those whose turn it is.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Identity> {
        self.sort(now);
        let due: Vec<Identity> = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, who)| *who).collect();
        self.touched.extend(&due);
        due
    }

    fn sort(&mut self, now: Instant) {
        while let Some(identity) = self.touched.pop_first() {
            let deadline = self.map.get(&identity).and_then(|peer| peer.deadline(now));
            if let Some(old) = self.at.remove(&identity) {
                self.due.remove(&(old, identity));
            }
            if let Some(deadline) = deadline {
                self.due.insert((deadline, identity));
                self.at.insert(identity, deadline);
            }
        }
    }
}
