//! Revocations that are decided: whether this router believes one, and what follows.
//!
//! Takes from the victims only what everybody's promise allows (invariant I6).

use std::collections::BTreeSet;
use std::time::Instant;

use wire::message::{Commit, Message};
use wire::{Hash, Identity, Record};

use super::Ipam;
use super::ownership::Gain;
use super::revocations::is_authentic;
use crate::event::Event;
use crate::ledger::{Outcome, hash_of_record, order_of};
use crate::outbox::To;
use crate::revoke::{Decision, INCOMPLETE_MAX, hash_of_commit, prove};
use crate::store::Write;

impl Ipam {
    /// Everybody: carries out a revocation that is proven.
    pub(super) fn handle_commit(&mut self, commit: Commit, records: &[Record], now: Instant) {
        let hash = hash_of_commit(&commit);
        if self.revocations.commits.contains_key(&hash) {
            return;
        }
        let Some(decision) = prove(&commit, self.config.rules) else { return };
        if !self.concerns_us(&decision) {
            return;
        }
        // What somebody decided whom this router refuses counts only where others knew of it before they refused it too.
        let refused = self.members.is_refused(&commit.ask.asker) && !decision.victims.contains(&self.config.identity);
        if refused && !self.revocations.vouched.contains(&hash) {
            return;
        }
        self.revocations.vouched.extend(commit.ask.earlier.iter().copied());
        if commit.ask.earlier.iter().any(|earlier| !self.revocations.commits.contains_key(earlier)) {
            return self.wait_for_what_is_missing(hash, commit);
        }
        self.carry_out(hash, commit, &decision, records, now);
    }

    /// Nobody is made to accept a revocation behind its back, for a forged question may leave members out: this router is a
    /// victim, or has promised, or everybody it knows has.
    fn concerns_us(&self, decision: &Decision) -> bool {
        let me = self.config.identity;
        let agreed = decision.victims.iter().all(|victim| self.members.is_refused(victim));
        let has_say = |member: &Identity| *member != me && !decision.victims.contains(member);
        let all_did = self.members.current().filter(has_say).all(|member| decision.members.contains(&member));
        let weakened = self.config.rules != crate::Rules::default();
        decision.victims.contains(&me) || agreed || all_did || weakened
    }

    fn carry_out(&mut self, hash: Hash, commit: Commit, decision: &Decision, records: &[Record], now: Instant) {
        let named: Vec<_> = records
            .iter()
            .filter(|record| decision.records.contains(&hash_of_record(record)) && is_authentic(record))
            .collect();
        let mut ledger = self.ledger.clone();
        let gone =
            ledger.retain(|hash, record| !is_about(record, &decision.victims) || decision.records.contains(hash));
        let mut todo = named;
        todo.sort_by_cached_key(|record| order_of(record));
        for record in todo {
            if ledger.apply(record) == Outcome::Past {
                ledger.note_in_annals(record);
            }
        }
        if !decision.records.iter().all(|hash| ledger.holds(hash)) {
            return self.wait_for_what_is_missing(hash, commit);
        }
        self.revocations.incomplete.remove(&hash);
        let settled = ledger.settle(&decision.victims);
        let gone: Vec<_> = gone.into_iter().chain(settled).collect();
        let inherited = ledger.inherit(&decision.victims, &decision.members);
        self.ledger = ledger;
        self.forgetting.note_change();
        let permitted = decision.records.iter().filter(|hash| self.ledger.holds(hash)).copied().collect();
        self.members.revoke(&decision.victims, &permitted);
        for record in &gone {
            self.outbox.write(Write::record_gone(record));
            self.outbox.write(Write::evidence_gone(record));
        }
        let kept: Vec<_> = permitted.iter().filter_map(|hash| self.ledger.record(hash)).cloned().collect();
        for record in &kept {
            let hash = hash_of_record(record);
            if self.ledger.is_evidence(&hash) {
                self.outbox.write(Write::evidence(record));
            } else if self.ledger.is_in_annals(&hash) {
                self.outbox.write(Write::annals(record));
            } else {
                self.outbox.write(Write::record(record));
                self.outbox.write(Write::evidence_gone(record));
            }
        }
        let order = u64::try_from(self.revocations.commits.len()).unwrap_or(u64::MAX);
        self.outbox.write(Write::commit(hash, order, &commit));
        self.revocations.commits.insert(hash, commit);
        self.after_commit(decision, &gone, &kept, &inherited, now);
    }

    fn after_commit(
        &mut self,
        decision: &Decision,
        gone: &[Record],
        kept: &[Record],
        inherited: &[wire::Range],
        now: Instant,
    ) {
        let changed: Vec<_> = gone.iter().chain(kept).map(|record| record.body.range).collect();
        let identities: Vec<_> = decision.victims.iter().copied().collect();
        self.outbox.event(Event::Revoked { identities: identities.clone() });
        if decision.victims.contains(&self.config.identity) {
            self.become_revoked(now);
        }
        for victim in identities {
            self.hold_for_orphans(victim, now);
            self.fail_claims_at(victim, now);
        }
        self.follow(&changed, Gain::Inherited, now);
        self.follow(inherited, Gain::Inherited, now);
        self.follow_up(now);
    }

    fn wait_for_what_is_missing(&mut self, hash: Hash, commit: Commit) {
        if self.revocations.incomplete.len() < INCOMPLETE_MAX {
            self.revocations.incomplete.insert(hash, commit);
        }
    }

    /// Tries revocations again for which a record was missing.
    pub(super) fn retry_commits(&mut self, now: Instant) {
        for (_, commit) in std::mem::take(&mut self.revocations.incomplete) {
            self.handle_commit(commit, &[], now);
        }
    }

    /// Tells somebody who is revoked that it is.
    pub(super) fn tell_revoked(&mut self, peer: Identity) {
        let commit = self.revocations.commits.values().find(|commit| commit.ask.victims.contains(&peer)).cloned();
        if let Some(commit) = commit {
            let message = self.commit_message(commit);
            self.send(To::Peer(peer), &message);
        }
    }

    pub(super) fn commit_message(&self, commit: Commit) -> Message {
        let beyond = commit.promises.iter().flat_map(|promise| promise.body.beyond.iter());
        let records =
            commit.ask.known.iter().chain(beyond).filter_map(|hash| self.ledger.record(hash)).cloned().collect();
        Message::RevokeCommit { commit, records }
    }
}

fn is_about(record: &Record, victims: &BTreeSet<Identity>) -> bool {
    victims.contains(&record.body.author) || victims.contains(&record.body.owner)
}
