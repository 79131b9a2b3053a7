//! All peers of a router, and what is asked about all of them: whose turn it is next, how many are gone, who is where.
//!
//! Owns those answers: only the peers that were touched since are looked at again, so that neither a datagram nor a wake-up
//! costs more the more peers there are. Knows nothing of what is due.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Instant;

use wire::Identity;

use crate::peer::Peer;

/// The peers.
#[derive(Default)]
pub(crate) struct Peers {
    map: BTreeMap<Identity, Box<Place>>,
    /// Those of whom something may be different by now.
    touched: Vec<Identity>,
    due: BTreeSet<(Instant, Identity)>,
    gone: usize,
    /// On how many peers' lists a host is.
    hosts: BTreeMap<IpAddr, usize>,
    translated: BTreeSet<Identity>,
    relayed: BTreeSet<Identity>,
}

/// A peer, and what was last said about it.
struct Place {
    peer: Peer,
    is_touched: bool,
    deadline: Option<Instant>,
    is_gone: bool,
    hosts: Vec<IpAddr>,
    is_translated: bool,
    has_relays: bool,
}

impl Peers {
    pub(crate) fn contains(&self, identity: &Identity) -> bool {
        self.map.contains_key(identity)
    }

    pub(crate) fn insert(&mut self, peer: Peer) {
        let identity = peer.identity;
        self.touched.push(identity);
        let place = Place {
            peer,
            is_touched: true,
            deadline: None,
            is_gone: false,
            hosts: Vec::new(),
            is_translated: false,
            has_relays: false,
        };
        self.map.insert(identity, Box::new(place));
    }

    pub(crate) fn get(&self, identity: &Identity) -> Option<&Peer> {
        self.map.get(identity).map(|place| &place.peer)
    }

    pub(crate) fn get_mut(&mut self, identity: &Identity) -> Option<&mut Peer> {
        self.touch(identity).map(|place| &mut place.peer)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &Peer> {
        self.map.values().map(|place| &place.peer)
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.touched = self.map.keys().copied().collect();
        self.map.values_mut().map(|place| {
            place.is_touched = true;
            &mut place.peer
        })
    }

    /// When somebody's turn is.
    pub(crate) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        self.catch_up(now);
        self.due.first().map(|(at, _)| *at)
    }

    /// Those whose turn it is.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<Identity> {
        self.catch_up(now);
        let due: Vec<Identity> = self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, who)| *who).collect();
        for identity in &due {
            self.touch(identity);
        }
        due
    }

    /// How many members there is no session with.
    pub(crate) fn gone(&mut self, now: Instant) -> usize {
        self.catch_up(now);
        self.gone
    }

    /// Whether a peer is, or may be, on this host.
    pub(crate) fn has_host(&mut self, host: IpAddr, now: Instant) -> bool {
        self.catch_up(now);
        self.hosts.contains_key(&host)
    }

    /// Those who are somewhere they do not know of.
    pub(crate) fn translated(&mut self, now: Instant) -> Vec<Identity> {
        self.catch_up(now);
        self.translated.iter().copied().collect()
    }

    /// Those to whom relays are known.
    pub(crate) fn relayed(&mut self, now: Instant) -> Vec<Identity> {
        self.catch_up(now);
        self.relayed.iter().copied().collect()
    }

    fn touch(&mut self, identity: &Identity) -> Option<&mut Place> {
        let place = self.map.get_mut(identity)?;
        if !std::mem::replace(&mut place.is_touched, true) {
            self.touched.push(*identity);
        }
        Some(place)
    }

    /// Looks again at those who were touched.
    fn catch_up(&mut self, now: Instant) {
        while let Some(identity) = self.touched.pop() {
            let Some(place) = self.map.get_mut(&identity) else { continue };
            place.is_touched = false;
            let deadline = place.peer.deadline(now);
            if place.deadline != deadline {
                place.deadline.map(|old| self.due.remove(&(old, identity)));
                deadline.map(|new| self.due.insert((new, identity)));
                place.deadline = deadline;
            }
            let is_gone = !(place.peer.is_up() || place.peer.is_revoked());
            match (std::mem::replace(&mut place.is_gone, is_gone), is_gone) {
                (false, true) => self.gone += 1,
                (true, false) => self.gone -= 1,
                (false, false) | (true, true) => {}
            }
            if !place.peer.path.hosts().eq(place.hosts.iter().copied()) {
                let hosts: Vec<IpAddr> = place.peer.path.hosts().collect();
                hosts.iter().for_each(|host| *self.hosts.entry(*host).or_default() += 1);
                std::mem::replace(&mut place.hosts, hosts).into_iter().for_each(|host| forget(&mut self.hosts, host));
            }
            note(&mut self.translated, identity, &mut place.is_translated, place.peer.path.is_translated());
            note(&mut self.relayed, identity, &mut place.has_relays, place.peer.ways.relays() > 0);
        }
    }
}

/// One mention of a host less.
fn forget(hosts: &mut BTreeMap<IpAddr, usize>, host: IpAddr) {
    if let Some(mentions) = hosts.get_mut(&host) {
        *mentions -= 1;
        if *mentions == 0 {
            hosts.remove(&host);
        }
    }
}

/// Puts somebody on a list or takes them off.
fn note(list: &mut BTreeSet<Identity>, identity: Identity, was: &mut bool, is: bool) {
    if std::mem::replace(was, is) != is {
        if is {
            list.insert(identity)
        } else {
            list.remove(&identity)
        };
    }
}

#[cfg(test)]
mod tests;
