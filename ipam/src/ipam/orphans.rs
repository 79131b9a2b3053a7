//! What a revocation leaves behind: addresses that wait for their workloads with the heir, and ports that are cut off.
//!
//! Decides neither who is revoked nor who inherits.

use std::collections::BTreeMap;
use std::time::Instant;

use wire::message::{EntryBody, EntryState, Why};
use wire::{Identity, NetworkId, Slot};

use super::ownership::Gain;
use super::transfers::moved_lease;
use super::{Health, Ipam};
use crate::directory::key_of;
use crate::event::Event;
use crate::lease::{Lease, LeaseState};
use crate::ledger::Holding;

impl Ipam {
    /// Keeps the victims' addresses that this host inherits for the workloads that had them.
    pub(super) fn hold_for_orphans(&mut self, victim: Identity, now: Instant) {
        let mut orphans: BTreeMap<(NetworkId, Slot), Vec<EntryBody>> = BTreeMap::new();
        for line in self.directory.lines_of(victim).filter(|line| self.is_orphaned(line)) {
            orphans.entry((line.network, line.slot)).or_default().push(line.clone());
        }
        // Of two workloads at one address one had left it, and nobody here has heard which.
        let alone = orphans.into_values().filter_map(|lines| <[EntryBody; 1]>::try_from(lines).ok());
        for line in alone.flatten() {
            let elsewhere = self.directory.current(&key_of(&line), &self.ledger).is_some();
            if elsewhere || self.leases.of_key(&key_of(&line)).is_some() {
                continue;
            }
            if let Some(cut_off) = self.leases.of_slot(line.network, line.slot).map(Lease::key) {
                self.forget_lease(&cut_off);
            }
            self.waiting.orphans.insert(key_of(&line), victim);
            self.keep_for(line.network, line.slot, &moved_lease(&line, Why::Revoked), victim, now);
        }
    }

    /// A victim had said more than this host had heard when it inherited: an address that is kept for the wrong workload rests.
    pub(super) fn correct_orphans(&mut self, line: &EntryBody, now: Instant) {
        let key = key_of(line);
        let has_left = line.state == EntryState::Ended;
        let at_slot = self.leases.of_slot(line.network, line.slot);
        let is_another = |lease: &&Lease| lease.key() != key && lease.epoch == line.epoch.next();
        let followed = at_slot.filter(|lease| !has_left && is_another(lease));
        let left = self.leases.of_key(&key).filter(|lease| has_left || lease.slot != line.slot);
        let wrong: Vec<_> = left.into_iter().chain(followed).map(|lease| (lease.key(), lease.slot)).collect();
        for (key, slot) in wrong {
            if self.waiting.orphans.get(&key) == Some(&line.author) {
                self.end_lease(&key, now);
                self.space_of(key.network).note_used_elsewhere(slot);
            }
        }
    }

    /// Whether this host has an address from the author of that line, who had it then, and nobody has had it here since.
    fn is_orphaned(&self, line: &EntryBody) -> bool {
        let (network, slot) = (line.network, line.slot);
        let came =
            |holding: Holding| holding.epoch == line.epoch.next() && self.ledger.came_from(&holding, &line.author);
        self.is_mine(network, slot)
            && self.ledger.owner(network, slot).is_some_and(came)
            && self.network(network).is_some_and(|known| known.is_assignable(slot))
            && self.leases.of_slot(network, slot).is_none_or(|lease| self.stays_cut_off(lease, Gain::Inherited))
            && self.spaces.get(&network).is_none_or(|space| space.is_untouched(slot))
    }

    pub(super) fn become_revoked(&mut self, now: Instant) {
        self.course.health = self.course.health.max(Health::Revoked);
        let active: Vec<_> = self.leases.iter().filter(|lease| lease.state == LeaseState::Active).cloned().collect();
        for lease in active {
            self.fence(lease, now);
        }
        self.outbox.event(Event::RevokedHere);
    }
}
