//! When records that nothing rests on are forgotten.
//!
//! Decides that from what the others were found to hold: a record goes when everybody who may ever ask for it knows of what
//! came after it. Whoever is away holds that up until it is back or revoked. Knows nothing of chains.

use std::collections::BTreeMap;

use wire::{Hash, Identity};

use super::{Health, Ipam};
use crate::store::Write;

/// What is known of what the others hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Forgetting {
    /// Changes of the ledger since the start.
    changes: u64,
    /// After how many of them each peer was last found to hold the same.
    equal: BTreeMap<Identity, u64>,
    /// What goes when everybody was found so since.
    next: Option<(u64, Vec<Hash>)>,
}

impl Forgetting {
    pub(super) fn note_change(&mut self) {
        self.changes += 1;
    }

    /// A peer holds what this router holds.
    pub(super) fn note_equal(&mut self, peer: Identity) {
        self.equal.insert(peer, self.changes);
    }

    fn is_known_to(&self, peer: &Identity, change: u64) -> bool {
        self.equal.get(peer).is_some_and(|equal| *equal >= change)
    }
}

impl Ipam {
    /// Forgets what was superfluous when everybody was last found to hold the same, and looks for more.
    pub(super) fn forget_what_all_are_past(&mut self) {
        if self.course.health == Health::ReadOnly || self.course.health == Health::RolledBack {
            return;
        }
        if let Some((change, hashes)) = self.forgetting.next.take() {
            let me = self.config.identity;
            let is_known = |member| member == me || self.forgetting.is_known_to(&member, change);
            if !self.members.current().all(is_known) {
                self.forgetting.next = Some((change, hashes));
                return;
            }
            self.forget(&hashes);
        }
        let superfluous = self.ledger.superfluous(|hash| self.members.is_named(hash));
        if !superfluous.is_empty() {
            self.forgetting.next = Some((self.forgetting.changes, superfluous));
        }
    }

    pub(super) fn forget(&mut self, hashes: &[Hash]) {
        for record in self.ledger.forget(hashes, |hash| self.members.is_named(hash)) {
            self.outbox.write(Write::record_gone(&record));
        }
    }
}
