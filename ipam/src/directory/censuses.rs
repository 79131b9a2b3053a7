//! How lines that are over are forgotten.
//!
//! Decides which lines an author's census ends, and which of one's own may be left out of the next. Knows nothing of when one is
//! taken.
//!
//! ```text
//!   numbers of A's lines    1   2   3   4   5   6   7 …
//!   living                      ·           ·           census of A: up to 6, living 2 and 5
//!                           ✗       ✗   ✗       ✗       taken by nobody who has it, whoever brings them
//! ```
//!
//! An author numbers its lines as it writes them, so what it says of those up to a number is true for good: none will be added,
//! and one that is over stays so. Neither clocks nor the others' consent are needed. Whoever was away has old lines until it
//! hears of the census, and gives them to nobody who has.

use std::collections::BTreeSet;

use wire::message::{CENSUS_VERSION, Census, CensusBody, Entry, EntryBody, EntryState};
use wire::{Hash, Identity, Verify};

use super::{Directory, is_in_force};
use crate::lease::LeaseKey;
use crate::ledger::Ledger;
use crate::seal::{hash_of, is_signed_by};

/// The name of a census.
fn hash_of_census(census: &Census) -> Hash {
    hash_of(CENSUS_VERSION, &census.body)
}

/// Whether the author signed the census.
pub(crate) fn is_census_authentic(verify: Verify, census: &Census) -> bool {
    is_signed_by(verify, census.body.author, CENSUS_VERSION, &census.body, &census.signature)
}

/// An author's lines, by number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Those that still say something, ascending.
    pub(crate) living: Vec<u64>,
    /// Those that ended.
    pub(crate) ended: usize,
    /// Those that others' lines have overtaken.
    pub(crate) overtaken: BTreeSet<u64>,
}

impl Directory {
    /// Whether the line's author has declared it over.
    pub(crate) fn is_over(&self, body: &EntryBody) -> bool {
        self.censuses.get(&body.author).is_some_and(|census| !is_living(&census.body, body.number))
    }

    /// Takes a census if it is newer than its author's last. Returns the lines that are over by it; none if it is not taken.
    pub(crate) fn take_census(&mut self, census: Census) -> Option<Vec<Entry>> {
        let author = census.body.author;
        let rank = |census: &Census| (census.body.upto, hash_of_census(census));
        if self.censuses.get(&author).is_some_and(|known| rank(known) >= rank(&census)) {
            return None;
        }
        let lines = self.authored.get(&author).into_iter().flatten();
        let over: Vec<LeaseKey> =
            lines.filter(|(number, _)| !is_living(&census.body, *number)).map(|(_, key)| key.clone()).collect();
        if let Some(before) = self.censuses.get(&author) {
            self.counted.remove(&hash_of_census(before));
        }
        self.changes += 1;
        self.counted.insert(hash_of_census(&census), author);
        self.censuses.insert(author, census);
        Some(over.iter().filter_map(|key| self.take_out(key, author)).collect())
    }

    /// The census of this hash.
    pub(crate) fn census(&self, hash: &Hash) -> Option<&Census> {
        self.censuses.get(self.counted.get(hash)?)
    }

    /// An author's newest census.
    pub(crate) fn census_of(&self, author: Identity) -> Option<&Census> {
        self.censuses.get(&author)
    }

    /// Up to which number an author has counted its lines.
    pub(crate) fn counted_upto(&self, author: Identity) -> u64 {
        self.census_of(author).map_or(0, |census| census.body.upto)
    }

    /// How many lines an author has.
    pub(crate) fn lines(&self, author: Identity) -> usize {
        self.authored.get(&author).map_or(0, BTreeSet::len)
    }

    /// Which of an author's lines still say something.
    pub(crate) fn count(&self, author: Identity, ledger: &Ledger) -> Count {
        let mut count = Count::default();
        for (number, key) in self.authored.get(&author).into_iter().flatten() {
            let Some(entry) = self.entry_of(key, author) else { continue };
            match self.standing(key, &entry.body, ledger) {
                Standing::Living => count.living.push(*number),
                Standing::Ended => count.ended += 1,
                Standing::Overtaken => {
                    count.overtaken.insert(*number);
                }
            }
        }
        count
    }

    fn standing(&self, key: &LeaseKey, body: &EntryBody, ledger: &Ledger) -> Standing {
        let others = || {
            let lines = self.by_key.get(key).into_iter().flatten();
            lines.filter(|(author, _)| **author != body.author).map(|(_, entry)| &entry.body)
        };
        if body.state == EntryState::Ended {
            // It may be all that says that a line before it is no hint where to ask.
            let hides = |other: &EntryBody| other.state != EntryState::Ended && !is_in_force(other, ledger);
            return if others().any(hides) { Standing::Living } else { Standing::Ended };
        }
        let holding = ledger.owner(body.network, body.slot);
        let Some(holding) = holding.filter(|holding| (holding.owner, holding.epoch) != (body.author, body.epoch))
        else {
            return Standing::Living;
        };
        // What comes after it says where the workload is, or the slot is back without it.
        let is_later = |other: &EntryBody| other.version > body.version || is_in_force(other, ledger);
        if holding.owner == body.author || others().any(is_later) { Standing::Overtaken } else { Standing::Living }
    }
}

/// What a line is still good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Somebody may need it.
    Living,
    /// Nothing: its workload's lease is over.
    Ended,
    /// Nothing: another line says more.
    Overtaken,
}

fn is_living(census: &CensusBody, number: u64) -> bool {
    number > census.upto || census.living.binary_search(&number).is_ok()
}

#[cfg(test)]
mod tests;
