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
    /// The members known when it was first given.
    pub(crate) members: Vec<Identity>,
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
                true
            }
        }
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

    /// Refuses what comes from or goes to a victim from now on. Returns the refusal if anything about it is new.
    pub(crate) fn refuse(&mut self, victim: Identity, asker: Identity, members: &[Identity]) -> Option<&Refusal> {
        let fresh = || Refusal { members: members.to_vec(), askers: BTreeSet::new() };
        let refusal = self.refused.entry(victim).or_insert_with(fresh);
        refusal.askers.insert(asker).then_some(&*refusal)
    }

    /// Takes a refusal over from the store.
    pub(crate) fn restore_refusal(&mut self, victim: Identity, refusal: Refusal) {
        self.refused.insert(victim, refusal);
    }

    /// Ends what was refused for these askers alone, but for the revoked. Returns what is left of each refusal that changed.
    pub(crate) fn forget_askers(&mut self, askers: &BTreeSet<Identity>) -> Vec<(Identity, Option<Refusal>)> {
        let mut changed = Vec::new();
        for (victim, refusal) in &mut self.refused {
            let before = refusal.askers.len();
            refusal.askers.retain(|asker| !askers.contains(asker));
            if refusal.askers.len() < before && !self.revoked.contains(victim) {
                changed.push((*victim, (!refusal.askers.is_empty()).then(|| refusal.clone())));
            }
        }
        self.refused.retain(|victim, refusal| !refusal.askers.is_empty() || self.revoked.contains(victim));
        changed
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

    pub(crate) fn is_admitted(&self, identity: &Identity) -> bool {
        self.names.contains_key(identity)
    }

    pub(crate) fn is_revoked(&self, identity: &Identity) -> bool {
        self.revoked.contains(identity)
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
