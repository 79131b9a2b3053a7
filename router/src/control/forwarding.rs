//! From ledger and plan to what the data threads follow.
//!
//! Decides who an owner is to the switch, and which slots have just moved here. Knows nothing of single frames.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use switch::{Arrival, Exception, Owner, Table};
use wire::{Identity, NetworkId, PeerIndex, Slot};

use super::Control;
use crate::data::Forwarding;

/// Slots that moved here of late: whoever had them may still pass frames on.
#[derive(Default)]
pub(crate) struct Arrivals {
    /// Who had each carved-out slot when the table was last built.
    owners: BTreeMap<(NetworkId, Slot), Identity>,
    recent: BTreeMap<(NetworkId, Slot), (Identity, Instant)>,
}

impl Arrivals {
    /// When the oldest arrival is over.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.recent.values().map(|(_, until)| *until).min()
    }

    /// Forgets what is over; returns whether anything was.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let before = self.recent.len();
        self.recent.retain(|_, (_, until)| now < *until);
        self.recent.len() != before
    }

    /// Compares the carved-out slots with those of the last table. One that was in no carving was had by its block's owner.
    fn note(&mut self, table: &[ipam::Owned], here: Identity, now: Instant) {
        let singles = table.iter().filter(|owned| owned.range.length == 1);
        let owners: BTreeMap<_, _> =
            singles.map(|owned| ((owned.range.network, owned.range.start), owned.owner)).collect();
        let blocks = table.iter().filter(|owned| owned.range.length > 1);
        let blocks: BTreeMap<_, _> = blocks.map(|owned| ((owned.range.network, owned.range.start), owned)).collect();
        for (place, owner) in owners.iter().filter(|(_, owner)| **owner == here) {
            let covers = |owned: &ipam::Owned| owned.range.network == place.0 && owned.range.contains(place.1);
            let mut backwards = blocks.range(..=*place).rev().map(|(_, owned)| *owned);
            let block = backwards.find(|owned| covers(owned)).map(|owned| owned.owner);
            let before = self.owners.get(place).copied().or(block);
            if let Some(before) = before.filter(|before| before != owner) {
                self.recent.entry(*place).or_insert((before, now + STRAGGLERS));
            }
        }
        self.recent.retain(|place, _| owners.get(place) == Some(&here));
        self.owners = owners;
    }
}

impl Control {
    /// Publishes the newest of both, if either has changed.
    pub(super) fn publish(&mut self, now: Instant) {
        if !std::mem::take(&mut self.forwarding_changed) {
            return;
        }
        self.follow_paths();
        let plan = self.mesh.plan();
        let indices: BTreeMap<Identity, PeerIndex> =
            (0u32..).zip(&plan.peers).map(|(index, peer)| (peer.identity, PeerIndex(index))).collect();
        let owner_of = |identity: Identity| match indices.get(&identity) {
            _ if identity == self.about.identity => Owner::Here,
            Some(peer) => Owner::Peer(*peer),
            None => Owner::Nobody,
        };
        let owned = self.ipam.table();
        self.arrivals.note(&owned, self.about.identity, now);
        let ranges: Vec<_> = owned.iter().map(|owned| (owned.range, owner_of(owned.owner))).collect();
        let connected: BTreeSet<_> =
            plan.peers.iter().filter(|peer| peer.send.is_some()).map(|peer| peer.identity).collect();
        let replicas = connected.iter().filter_map(|identity| indices.get(identity).copied()).collect();
        let arrival = |(place, (from, _)): (&(NetworkId, Slot), &(Identity, Instant))| {
            Some(Arrival { network: place.0, slot: place.1, from: *indices.get(from)? })
        };
        let arrivals: Vec<_> = self.arrivals.recent.iter().filter_map(arrival).collect();
        let exceptions = self.ipam.exceptions().map(|(network, slot, mac)| Exception { network, mac, slot });
        let exceptions: Vec<_> = exceptions.collect();
        let table = Table::new(self.about.networks.clone(), &ranges, replicas, &arrivals).with_exceptions(&exceptions);
        self.parts.data.publish(Forwarding { plan, table: Arc::new(table) });
    }
}

/// The old owner forwards for half a minute at least; a router that was cut off for longer asks before it sends.
const STRAGGLERS: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
