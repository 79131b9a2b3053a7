//! Records that a revocation names and that are still on the way.
//!
//! Owns them until the revocation can be carried out: nobody else takes them, for they are by or to somebody who is refused.
//! Decides which are asked for next. Knows nothing of who has them.

use std::collections::{BTreeMap, BTreeSet};

use wire::{Hash, RECORD_VERSION, Record, Verify};

use crate::ledger::{Ledger, Outcome, hash_of_record, order_of};
use crate::seal::is_signed_by;

/// What has come so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gathering {
    records: BTreeMap<Hash, Record>,
    /// What they rest on directly, and has not come: by somebody else, perhaps, and of no use to others before these.
    below: BTreeSet<Hash>,
    /// Asked for, and not here yet.
    wanted: BTreeSet<Hash>,
}

/// Records asked for at once: some 350 KiB.
const WANTED_A_TURN: usize = 2000;

impl Gathering {
    /// Takes a record if it is named, or lies below one that is, and if it is its author's. Returns whether that is new.
    pub(crate) fn take(&mut self, record: &Record, verify: Verify, is_named: impl Fn(&Hash) -> bool) -> bool {
        let hash = hash_of_record(record);
        let is_meant = is_named(&hash) || self.below.contains(&hash);
        if !is_meant || self.records.contains_key(&hash) || !is_authentic(record, verify) {
            return false;
        }
        self.wanted.remove(&hash);
        self.below.remove(&hash);
        let home = record.body.home.iter().flat_map(|home| &home.slots);
        let below = home.chain(std::iter::once(&record.body.previous)).filter(|hash| !self.records.contains_key(hash));
        self.below.extend(below);
        self.records.insert(hash, record.clone());
        true
    }

    /// What to ask for, unless an answer is still expected.
    pub(crate) fn want<'a>(&mut self, named: impl Iterator<Item = &'a Hash>, ledger: &Ledger) -> Vec<Hash> {
        if !self.wanted.is_empty() {
            return Vec::new();
        }
        let below = self.below.iter().filter(|hash| !ledger.holds(hash) && !ledger.is_held_link(hash)).copied();
        let wanted: Vec<Hash> = self.lacking(named, ledger).copied().chain(below).take(WANTED_A_TURN).collect();
        self.wanted.extend(&wanted);
        wanted
    }

    /// Expects no answer any more.
    pub(crate) fn forget_wanted(&mut self) {
        self.wanted.clear();
    }

    /// Of what is named, that which is neither held nor here.
    pub(crate) fn lacking<'a>(
        &self,
        named: impl Iterator<Item = &'a Hash>,
        ledger: &Ledger,
    ) -> impl Iterator<Item = &'a Hash> {
        named.filter(|hash| !ledger.holds(hash) && !self.records.contains_key(hash))
    }

    /// The names of all that has come.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = &Hash> {
        self.records.keys()
    }

    /// Puts everything in force that can be, named or not. What was forgotten there goes to the annals.
    pub(crate) fn apply_to(&self, ledger: &mut Ledger) {
        let mut records: Vec<&Record> = self.records.values().collect();
        records.sort_by_cached_key(|record| order_of(record));
        for record in records {
            if ledger.apply_named(record) == Outcome::Past {
                ledger.note_in_annals(record);
            }
        }
    }
}

fn is_authentic(record: &Record, verify: Verify) -> bool {
    is_signed_by(verify, record.body.author, RECORD_VERSION, &record.body, &record.signature)
}

#[cfg(test)]
mod tests;
