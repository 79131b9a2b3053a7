//! Who may speak: every identity ever admitted, who of them is connected, and who is refused.
//!
//! Decides whether a record may be looked at. Knows nothing of what it extends.

use std::collections::{BTreeMap, BTreeSet};

use wire::{Hash, Identity, PeerName, Record};

use crate::config::{PromiseRule, Rules};
use crate::lease::PeerLabel;

/// The identities of the cluster.
#[derive(Debug, Clone, Default)]
pub(crate) struct Members {
    names: BTreeMap<Identity, Option<PeerName>>,
    /// In which order they were admitted here.
    numbers: BTreeMap<Identity, u64>,
    admitted: u64,
    /// Who is or was called so: more than one after a partition, or when a lost router's name was given again.
    called: BTreeMap<PeerName, BTreeSet<Identity>>,
    connected: BTreeSet<Identity>,
    /// Whose records this router has promised to refuse.
    refused: BTreeMap<Identity, Refusal>,
    revoked: BTreeSet<Identity>,
    /// The records by or to the revoked that their revocations name.
    permitted: BTreeSet<Hash>,
}

/// A promise to refuse somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// How many had been admitted when it was first given: a number, where a list for each victim could fill a memory.
    pub(crate) known: u64,
    /// Who asked for it.
    pub(crate) askers: BTreeSet<Identity>,
}

/// Whether a record may be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Admitted,
    /// Its author, or whoever it gives to, may be admitted yet.
    Stranger,
    /// It comes from or goes to somebody whose records are refused.
    Refused,
}

impl Members {
    /// Notes an identity; returns whether anything about it is new.
    #[must_use]
    pub(crate) fn admit(&mut self, identity: Identity, name: Option<PeerName>) -> bool {
        if let Some(name) = &name {
            self.called.entry(name.clone()).or_default().insert(identity);
        }
        match self.names.get_mut(&identity) {
            Some(known) if name.is_none() || *known == name => false,
            Some(known) => {
                *known = name;
                true
            }
            None => {
                self.names.insert(identity, name);
                self.numbers.insert(identity, self.admitted);
                self.admitted += 1;
                true
            }
        }
    }

    /// Takes a member over from the store.
    pub(crate) fn restore(&mut self, identity: Identity, number: u64, name: Option<PeerName>) {
        let _ = self.admit(identity, name);
        self.numbers.insert(identity, number);
        self.admitted = self.admitted.max(number.saturating_add(1));
    }

    /// Takes over who was admitted and who is connected; returns what is new of it.
    pub(crate) fn introduce(&mut self, others: &Self) -> Vec<(Identity, Option<PeerName>)> {
        self.connected.clone_from(&others.connected);
        let known = others.names.iter().map(|(identity, name)| (*identity, name.clone()));
        known.filter(|(identity, name)| self.admit(*identity, name.clone())).collect()
    }

    pub(crate) fn connect(&mut self, identity: Identity) {
        self.connected.insert(identity);
    }

    pub(crate) fn disconnect(&mut self, identity: &Identity) {
        self.connected.remove(identity);
    }

    /// Refuses what comes from or goes to a victim from now on. Returns how many members were known when that began, if this
    /// asker is a new one.
    pub(crate) fn refuse(&mut self, victim: Identity, asker: Identity) -> Option<u64> {
        let fresh = || Refusal { known: self.admitted, askers: BTreeSet::new() };
        let refusal = self.refused.entry(victim).or_insert_with(fresh);
        refusal.askers.insert(asker).then_some(refusal.known)
    }

    /// Takes a refusal over from the store.
    pub(crate) fn restore_refusal(&mut self, victim: Identity, asker: Identity, known: u64) {
        let refusal = self.refused.entry(victim).or_insert_with(|| Refusal { known, askers: BTreeSet::new() });
        refusal.known = refusal.known.min(known);
        refusal.askers.insert(asker);
    }

    /// Ends what was refused for these askers alone, but for the revoked. Returns whom it is not refused for any more, by whom.
    pub(crate) fn forget_askers(&mut self, askers: &BTreeSet<Identity>) -> Vec<(Identity, Identity)> {
        let mut ended = Vec::new();
        let open = self.refused.iter_mut().filter(|(victim, _)| !self.revoked.contains(victim));
        for (victim, refusal) in open {
            ended.extend(refusal.askers.extract_if(.., |asker| askers.contains(asker)).map(|asker| (*victim, asker)));
        }
        self.refused.retain(|victim, refusal| !refusal.askers.is_empty() || self.revoked.contains(victim));
        ended
    }

    /// A revocation is committed: only these records by or to its victims ever count.
    pub(crate) fn revoke(&mut self, victims: &BTreeSet<Identity>, permitted: &BTreeSet<Hash>) {
        self.revoked.extend(victims);
        self.permitted.extend(permitted);
    }

    /// Whether a record may be looked at.
    pub(crate) fn verdict(&self, record: &Record, hash: &Hash, rules: Rules) -> Verdict {
        let parties = [record.body.author, record.body.owner];
        let promised = rules.promise == PromiseRule::RefusesLateRecords;
        let is_refused =
            |party: &Identity| self.revoked.contains(party) || promised && self.refused.contains_key(party);
        if parties.iter().any(is_refused) && !self.permitted.contains(hash) {
            return Verdict::Refused;
        }
        // A gift to somebody who is nobody would be out of reach: nobody could ask for it, and nobody be revoked over it.
        if parties.iter().all(|party| self.names.contains_key(party)) { Verdict::Admitted } else { Verdict::Stranger }
    }

    /// Whether a revocation names the record of this hash.
    pub(crate) fn is_named(&self, hash: &Hash) -> bool {
        self.permitted.contains(hash)
    }

    /// How many records revocations name.
    pub(crate) fn named(&self) -> usize {
        self.permitted.len()
    }

    pub(crate) fn is_admitted(&self, identity: &Identity) -> bool {
        self.names.contains_key(identity)
    }

    pub(crate) fn is_revoked(&self, identity: &Identity) -> bool {
        self.revoked.contains(identity)
    }

    /// Everybody to whom nothing is given any more, admitted here or not. The revoked may come twice.
    pub(crate) fn refused(&self) -> impl Iterator<Item = Identity> {
        self.refused.keys().chain(&self.revoked).copied()
    }

    /// Whether nothing is given to it, or taken from it, any more.
    pub(crate) fn is_refused(&self, identity: &Identity) -> bool {
        self.revoked.contains(identity) || self.refused.contains_key(identity)
    }

    /// What was promised about a victim.
    pub(crate) fn refusal(&self, victim: &Identity) -> Option<&Refusal> {
        self.refused.get(victim)
    }

    /// Everything promised.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (&Identity, &Refusal)> {
        self.refused.iter()
    }

    /// Whether a victim was refused for this asker.
    pub(crate) fn is_refused_for(&self, victim: &Identity, asker: &Identity) -> bool {
        self.refused.get(victim).is_some_and(|refusal| refusal.askers.contains(asker))
    }

    /// In which order a member was admitted here.
    pub(crate) fn number(&self, identity: &Identity) -> Option<u64> {
        self.numbers.get(identity).copied()
    }

    /// Everybody not revoked who was among the first so many that were admitted.
    pub(crate) fn first(&self, known: u64) -> impl Iterator<Item = Identity> {
        let among = self.numbers.iter().filter(move |(_, number)| **number < known).map(|(identity, _)| *identity);
        among.filter(|identity| !self.revoked.contains(identity))
    }

    pub(crate) fn is_connected(&self, identity: &Identity) -> bool {
        self.connected.contains(identity)
    }

    pub(crate) fn connected(&self) -> impl Iterator<Item = Identity> {
        self.connected.iter().copied()
    }

    /// Everybody ever admitted and not revoked.
    pub(crate) fn current(&self) -> impl Iterator<Item = Identity> {
        self.names.keys().copied().filter(|identity| !self.revoked.contains(identity))
    }

    /// Everybody ever admitted.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Identity, Option<&PeerName>)> {
        self.names.iter().map(|(identity, name)| (*identity, name.as_ref()))
    }

    /// How people call it.
    pub(crate) fn label(&self, identity: Identity) -> PeerLabel {
        let name = self.names.get(&identity).cloned().flatten();
        let namesakes = name.as_ref().and_then(|name| self.called.get(name));
        let is_other = |other: &Identity| *other != identity && !self.revoked.contains(other);
        let unique = self.revoked.contains(&identity) || !namesakes.is_some_and(|all| all.iter().any(is_other));
        PeerLabel { identity, name, unique }
    }
}

#[cfg(test)]
mod tests;
