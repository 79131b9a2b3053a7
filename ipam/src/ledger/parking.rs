//! Records that cannot be taken yet: what they extend, who wrote them, or whom they give to, is not known.
//!
//! Owns them until it is, within a bound. Decides nothing about them.

use std::collections::BTreeMap;

use wire::{Hash, Record};

use super::hash_of_record;

/// Records that wait, by what they extend.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parking {
    by_previous: BTreeMap<Hash, BTreeMap<Hash, Record>>,
    parked: usize,
}

/// A block and some slots for each of some hundred joiners whose certificates are still on the way.
const PARKED_MAX: usize = 4096;

/// Whether parking changed anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parked {
    /// It waits from now on.
    New,
    /// It waited already, or there is no room.
    NotNew,
}

impl Parking {
    pub(crate) fn park(&mut self, record: Record) -> Parked {
        let hash = hash_of_record(&record);
        if self.parked >= PARKED_MAX {
            return Parked::NotNew;
        }
        match self.by_previous.entry(record.body.previous).or_default().insert(hash, record) {
            Some(_) => Parked::NotNew,
            None => {
                self.parked += 1;
                Parked::New
            }
        }
    }

    /// Takes out what extends the record of this hash.
    pub(crate) fn take(&mut self, previous: &Hash) -> Vec<Record> {
        let records = self.by_previous.remove(previous).unwrap_or_default();
        self.parked = self.parked.saturating_sub(records.len());
        records.into_values().collect()
    }

    /// The names of all that wait.
    #[cfg(test)]
    pub(crate) fn hashes(&self) -> impl Iterator<Item = Hash> {
        self.by_previous.values().flat_map(|records| records.keys().copied())
    }

    /// Takes out everything.
    pub(crate) fn take_all(&mut self) -> Vec<Record> {
        self.parked = 0;
        std::mem::take(&mut self.by_previous).into_values().flat_map(BTreeMap::into_values).collect()
    }
}
