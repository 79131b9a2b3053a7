//! Which host holds which workload, as its holder says.
//!
//! Decides which of several lines for one workload counts. Knows the ledger only by the question it asks of it.
//!
//! A line is its author's word for as long as the author owns the slot at the line's epoch: a slot that has moved on takes
//! the word of its old owner with it, whatever version it had. What is left of such a line is a hint where to ask.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use wire::message::{Came, Census, ENTRY_VERSION, Entry, EntryBody, EntryState, LINES_MAX};
use wire::{Epoch, Hash, Identity, Slot, Verify};

use crate::lease::LeaseKey;
use crate::ledger::{Holding, Ledger};
use crate::seal::{hash_of, is_signed_by};

mod censuses;

pub(crate) use censuses::{Count, is_census_authentic};

/// Every line heard of, one for each workload and author, but for those that are over.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directory {
    by_key: BTreeMap<LeaseKey, BTreeMap<Identity, Entry>>,
    hashes: BTreeMap<Hash, (LeaseKey, Identity)>,
    /// When a line came, of those that came since the router's start.
    heard: BTreeMap<Hash, Instant>,
    /// Each author's lines, from the oldest to the newest.
    authored: BTreeMap<Identity, BTreeSet<(u64, LeaseKey)>>,
    censuses: BTreeMap<Identity, Census>,
    /// The authors of the censuses of these hashes.
    counted: BTreeMap<Hash, Identity>,
    /// The lines that name a MAC.
    with_mac: BTreeSet<(LeaseKey, Identity)>,
    macs_changed: bool,
    changes: u64,
}

/// The highest version there is: more starts than any workload has. The same for everybody, whatever was heard before.
const VERSION_MAX: u64 = 1 << 48;
/// What is higher than this was not counted up to. Nobody outbids it, or the versions would be used up: who says such a thing
/// has the name until it is revoked.
const CONTESTED_MAX: u64 = 1 << 47;

/// The name of a line.
pub(crate) fn hash_of_entry(entry: &Entry) -> Hash {
    hash_of(ENTRY_VERSION, &entry.body)
}

/// Whether the author signed the line.
pub(crate) fn is_authentic(verify: Verify, entry: &Entry) -> bool {
    is_signed_by(verify, entry.body.author, ENTRY_VERSION, &entry.body, &entry.signature)
}

/// The workload a line is about.
#[must_use]
pub fn key_of(body: &EntryBody) -> LeaseKey {
    LeaseKey { network: body.network, workload: body.workload.clone(), ifname: body.ifname.clone() }
}

/// Whether a line's version can have come about: versions rise by one.
pub(crate) fn is_plausible(body: &EntryBody) -> bool {
    body.version <= VERSION_MAX
}

impl Directory {
    /// Takes a line if it is newer than what its author said before. Returns whether it was.
    #[must_use]
    pub(crate) fn merge(&mut self, entry: &Entry) -> bool {
        let author = entry.body.author;
        let key = key_of(&entry.body);
        let rank = |entry: &Entry| (entry.body.number, hash_of_entry(entry));
        let is_old = self.entry_of(&key, author).is_some_and(|old| rank(old) >= rank(entry));
        if is_old || self.is_over(&entry.body) {
            return false;
        }
        if self.take_out(&key, author).is_none() && self.lines(author) >= LINES_MAX {
            return false;
        }
        if entry.body.mac.is_some() && entry.body.state != EntryState::Ended {
            self.with_mac.insert((key.clone(), author));
        }
        self.macs_changed |= entry.body.mac.is_some();
        self.authored.entry(author).or_default().insert((entry.body.number, key.clone()));
        self.changes += 1;
        self.hashes.insert(hash_of_entry(entry), (key.clone(), author));
        self.by_key.entry(key).or_default().insert(author, entry.clone());
        true
    }

    /// Takes a line out.
    fn take_out(&mut self, key: &LeaseKey, author: Identity) -> Option<Entry> {
        let lines = self.by_key.get_mut(key)?;
        let old = lines.remove(&author)?;
        if lines.is_empty() {
            self.by_key.remove(key);
        }
        self.changes += 1;
        let hash = hash_of_entry(&old);
        self.hashes.remove(&hash);
        self.heard.remove(&hash);
        if let Some(lines) = self.authored.get_mut(&author) {
            lines.remove(&(old.body.number, key.clone()));
        }
        self.macs_changed |= self.with_mac.remove(&(key.clone(), author));
        Some(old)
    }

    /// The number of an author's next line.
    pub(crate) fn next_number(&self, author: Identity) -> u64 {
        let newest = self.authored.get(&author).and_then(BTreeSet::last).map_or(0, |(number, _)| *number);
        newest.max(self.counted_upto(author)).saturating_add(1)
    }

    pub(crate) fn note_heard(&mut self, entry: &Entry, now: Instant) {
        self.heard.insert(hash_of_entry(entry), now);
    }

    /// When a line came, unless that was before the router's start.
    pub(crate) fn heard_at(&self, body: &EntryBody) -> Option<Instant> {
        self.heard.get(&hash_of(ENTRY_VERSION, body)).copied()
    }

    /// The line that counts for a workload, if one does.
    pub(crate) fn current(&self, key: &LeaseKey, ledger: &Ledger) -> Option<&EntryBody> {
        let lines = self.by_key.get(key)?.values().map(|entry| &entry.body);
        lines
            .filter(|body| body.state != EntryState::Ended && is_in_force(body, ledger))
            .max_by_key(|body| body.version)
    }

    /// The slot a workload was last seen at, and who owns it.
    pub(crate) fn last_seen(&self, key: &LeaseKey, ledger: &Ledger) -> Option<(Slot, Holding)> {
        let newest = || {
            let lines = self.by_key.get(key)?.values().map(|entry| &entry.body);
            lines.max_by_key(|body| body.version).filter(|body| body.state != EntryState::Ended)
        };
        let body = self.current(key, ledger).or_else(newest)?;
        Some((body.slot, ledger.owner(body.network, body.slot)?))
    }

    /// What was said last of a workload by anybody but this author, unless it is that the workload has ended there. Those whose
    /// word does not count any more are left out.
    pub(crate) fn last_said_by_others(
        &self,
        key: &LeaseKey,
        author: Identity,
        is_out: impl Fn(&Identity) -> bool,
    ) -> Option<&EntryBody> {
        let others = self.by_key.get(key)?.iter().filter(|(other, _)| **other != author && !is_out(other));
        let newest =
            others.map(|(_, entry)| &entry.body).max_by_key(|body| (body.version, body.state != EntryState::Ended));
        newest.filter(|body| body.state != EntryState::Ended)
    }

    /// The version of an author's next line for a workload: higher than that of any heard of, but for those whose word does not
    /// count any more.
    pub(crate) fn next_version(&self, key: &LeaseKey, author: Identity, is_out: impl Fn(&Identity) -> bool) -> u64 {
        let lines = self.by_key.get(key).into_iter().flatten().filter(|(author, _)| !is_out(author));
        match lines.map(|(_, entry)| entry.body.version).max().unwrap_or(0) {
            newest @ ..CONTESTED_MAX => newest + 1,
            _ => self.next_version_of(key, author),
        }
    }

    /// The version of the next line of an author who has lost the name: no claim on it, merely news.
    pub(crate) fn next_version_of(&self, key: &LeaseKey, author: Identity) -> u64 {
        self.version_of(key, author).saturating_add(1)
    }

    /// The version of an author's newest line for a workload.
    pub(crate) fn version_of(&self, key: &LeaseKey, author: Identity) -> u64 {
        self.entry_of(key, author).map_or(0, |entry| entry.body.version)
    }

    /// The signed line that counts for a workload, if one does.
    #[cfg(test)]
    pub(crate) fn current_entry(&self, key: &LeaseKey, ledger: &Ledger) -> Option<&Entry> {
        self.entry_of(key, self.current(key, ledger)?.author)
    }

    /// What an author said last of a workload.
    pub(crate) fn entry_of(&self, key: &LeaseKey, author: Identity) -> Option<&Entry> {
        self.by_key.get(key)?.get(&author)
    }

    /// How an author got a slot for a workload, as it said before.
    pub(crate) fn came(&self, key: &LeaseKey, author: Identity, place: (Slot, Epoch)) -> Option<Came> {
        let body = &self.entry_of(key, author)?.body;
        body.came.filter(|_| (body.slot, body.epoch) == place)
    }

    /// Whether the line tells of a move that its author has not told of before.
    pub(crate) fn tells_of_move(&self, body: &EntryBody) -> bool {
        body.came.is_some() && self.came(&key_of(body), body.author, (body.slot, body.epoch)).is_none()
    }

    /// The lines of one author that are not over, whether they count or not.
    pub(crate) fn lines_of(&self, author: Identity) -> impl Iterator<Item = &EntryBody> {
        let keys = self.authored.get(&author).into_iter().flatten().map(|(_, key)| key);
        let lines = keys.filter_map(move |key| Some(&self.entry_of(key, author)?.body));
        lines.filter(|body| body.state != EntryState::Ended)
    }

    /// Whether somebody had the workload at that slot right before that epoch, and has not said that it left.
    pub(crate) fn was_at(&self, key: &LeaseKey, slot: Slot, before: Epoch) -> bool {
        let mut lines = self.by_key.get(key).into_iter().flat_map(BTreeMap::values).map(|entry| &entry.body);
        lines.any(|body| (body.slot, body.epoch.next()) == (slot, before) && body.state != EntryState::Ended)
    }

    /// Every line that counts.
    pub(crate) fn in_force<'a>(&'a self, ledger: &'a Ledger) -> impl Iterator<Item = &'a EntryBody> {
        self.by_key.keys().filter_map(|key| self.current(key, ledger))
    }

    /// The lines whose MACs count: those in force, and what was last said of a slot whose new owner has yet to speak.
    pub(crate) fn with_macs<'a>(&'a self, ledger: &'a Ledger) -> impl Iterator<Item = &'a EntryBody> {
        self.with_mac.iter().filter_map(|(key, author)| {
            let lines = self.by_key.get(key)?;
            let body = &lines.get(author)?.body;
            let holding = ledger.owner(body.network, body.slot)?;
            let is_over = |new: &Entry| new.body.slot == body.slot && new.body.epoch == holding.epoch;
            let goes_on = body.epoch.next() == holding.epoch && !lines.get(&holding.owner).is_some_and(is_over);
            (goes_on || is_in_force(body, ledger)).then_some(body)
        })
    }

    /// Whether MACs have come, gone or changed since this was last asked.
    pub(crate) fn take_macs_changed(&mut self) -> bool {
        std::mem::take(&mut self.macs_changed)
    }

    /// The line of this hash.
    pub(crate) fn entry(&self, hash: &Hash) -> Option<&Entry> {
        let (key, author) = self.hashes.get(hash)?;
        self.entry_of(key, *author)
    }

    /// A number that rises with every change.
    pub(crate) fn changes(&self) -> u64 {
        self.changes
    }

    /// The names of all lines and censuses.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = Hash> {
        self.hashes.keys().chain(self.counted.keys()).copied()
    }
}

fn is_in_force(body: &EntryBody, ledger: &Ledger) -> bool {
    ledger
        .owner(body.network, body.slot)
        .is_some_and(|holding| holding.owner == body.author && holding.epoch == body.epoch)
}

#[cfg(test)]
mod tests;
