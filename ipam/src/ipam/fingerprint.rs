//! What makes two states of a router the same state, for the exploration.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use wire::{Identity, Slot};

use super::{Health, Ipam};
use crate::lease::LeaseState;
use crate::revoke::{Voucher, hash_of_ask};

impl Ipam {
    /// A number for everything that decides how this router goes on. The clock stands still in an exploration.
    pub(crate) fn fingerprint(&self) -> (u64, u64) {
        let mut first = DefaultHasher::new();
        for row in self.outbox.durable().filter(|(table, key, _)| !crate::Write::is_counter(*table, key)) {
            row.hash(&mut first);
        }
        let mut second = DefaultHasher::new();
        let waiting = &self.waiting;
        (&self.leases, &self.spaces, &waiting.claims, &waiting.restored, self.course.health).hash(&mut second);
        for (network, quest) in &waiting.quests {
            (network, quest.need, &quest.asked, quest.waiting, quest.hint, &quest.silent, quest.resting)
                .hash(&mut second);
        }
        waiting.offers.keys().for_each(|offer| offer.hash(&mut second));
        (&waiting.unanswered, &waiting.pledges, waiting.attempts, &waiting.expected, &waiting.orphans)
            .hash(&mut second);
        for (question, asking) in &self.revocations.asking {
            let unproven: Vec<_> = asking.unproven.keys().collect();
            (question, asking.promises.keys().collect::<Vec<_>>(), unproven).hash(&mut second);
            asking.gathering.hashes().for_each(|hash| hash.hash(&mut second));
        }
        self.revocations.unanswered.values().for_each(|ask| hash_of_ask(ask).hash(&mut second));
        for (hash, heard) in &self.revocations.incomplete {
            (hash, heard.voucher == Voucher::Member).hash(&mut second);
            heard.gathering.hashes().for_each(|hash| hash.hash(&mut second));
        }
        self.parking.hashes().for_each(|hash| hash.hash(&mut second));
        let holdings: Vec<_> =
            self.ledger.heads().map(|head| (head.range, head.owner, head.epoch, head.hash)).collect();
        holdings.hash(&mut second);
        (first.finish(), second.finish())
    }

    /// The slots whose containers' frames go out and come in here.
    pub(crate) fn slots_in_use(&self) -> BTreeSet<Slot> {
        let live = self
            .leases
            .iter()
            .filter(|lease| lease.state == LeaseState::Active && self.course.health != Health::Revoked);
        live.map(|lease| lease.slot).collect()
    }

    /// Everybody this router knows to be revoked.
    pub(crate) fn revoked(&self) -> BTreeSet<Identity> {
        self.members().filter(|(_, _, revoked)| *revoked).map(|(identity, _, _)| identity).collect()
    }
}

impl Ipam {
    /// What a restart would read.
    pub(crate) fn stored_rows(&self) -> Vec<crate::Write> {
        self.rows(|_| true)
    }

    pub(crate) fn merge_homes_at_once(&mut self, now: std::time::Instant) {
        self.merge_homes(std::time::Duration::ZERO, now);
    }

    pub(crate) fn forget_at_once(&mut self) {
        self.forget(&self.ledger.superfluous(|hash| self.members.is_named(hash)));
    }

    /// What this router compares with others, as a number, and whether it holds what it might forget.
    pub(crate) fn compared(&self) -> (u64, bool) {
        let mut hasher = DefaultHasher::new();
        let is_named = |hash: &wire::Hash| self.members.is_named(hash);
        self.ledger.compared(is_named).collect::<BTreeSet<_>>().hash(&mut hasher);
        self.revocations.commits.keys().for_each(|hash| hash.hash(&mut hasher));
        (hasher.finish(), !self.ledger.superfluous(is_named).is_empty())
    }

    pub(crate) fn connected_peers(&self) -> Vec<Identity> {
        self.members.connected().collect()
    }
}
