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
use crate::event::{Alarm, Event};
use crate::ledger::{Outcome, hash_of_record, order_of};
use crate::outbox::To;
use crate::revoke::{DOUBTED_MAX, Decision, INCOMPLETE_MAX, Voucher, hash_of_commit, prove};
use crate::store::Write;

impl Ipam {
    /// Everybody: carries out a revocation that is proven.
    pub(super) fn handle_commit(&mut self, commit: Commit, records: &[Record], voucher: Voucher, now: Instant) {
        let hash = hash_of_commit(&commit);
        if self.revocations.commits.contains_key(&hash) {
            return;
        }
        let Some(decision) = prove(&commit, self.config.rules) else { return };
        if !self.is_heard(&hash, &commit, &decision, voucher) {
            return;
        }
        let lacks_earlier = commit.ask.earlier.iter().any(|earlier| !self.revocations.commits.contains_key(earlier));
        if !self.is_believed(&decision) {
            // Who seems to be missing may have been revoked before: then it is believed when it is heard again.
            if !lacks_earlier {
                self.doubt(hash, &commit);
            }
            return;
        }
        // An heir that this router will never know would have what nobody can ask for.
        let lacks_members = decision.members.iter().any(|member| !self.members.is_admitted(member));
        if lacks_earlier || lacks_members {
            return self.wait_for_what_is_missing(hash, commit, voucher);
        }
        self.carry_out(hash, commit, &decision, records, voucher, now);
    }

    /// Whether what its asker decides can count. Who is revoked here decided nothing that is not known here: everybody else had
    /// to tell it before they promised to refuse him. What somebody decided whom this router merely refuses counts where others
    /// knew of it before they refused him too.
    fn is_heard(&self, hash: &Hash, commit: &Commit, decision: &Decision, voucher: Voucher) -> bool {
        let asker = &commit.ask.asker;
        let is_vouched = || voucher == Voucher::Asker || self.revocations.is_named(hash);
        let may_be_refused = decision.victims.contains(&self.config.identity) || is_vouched();
        !self.members.is_revoked(asker) && (!self.members.is_refused(asker) || may_be_refused)
    }

    /// Nobody is made to accept a revocation behind its back. Who has promised to refuse the victims, or began with a sponsor's
    /// promise, believes when all have that were known then: itself too, so this very question must have its own promise. Anybody
    /// else, a victim above all, believes it when everybody it knows has promised or is a victim, and more of them have than
    /// are: so no router can say alone that the living are dead.
    fn is_believed(&self, decision: &Decision) -> bool {
        let me = self.config.identity;
        let is_victim = |member: &Identity| decision.victims.contains(member);
        let has_promised = |member: &Identity| is_victim(member) || decision.members.contains(member);
        if let Some(known) = self.known_when_refused(decision.victims.iter()) {
            return known.iter().all(has_promised) || self.config.rules != crate::Rules::default();
        }
        let others: Vec<_> = self.members.current().filter(|member| *member != me).collect();
        let survivors = others.iter().filter(|member| !is_victim(member)).count();
        let victims = decision.victims.iter().filter(|victim| **victim != me).count();
        let believed = others.iter().all(has_promised) && survivors > victims;
        believed || self.config.rules != crate::Rules::default()
    }

    fn doubt(&mut self, hash: Hash, commit: &Commit) {
        if self.revocations.doubted.len() >= DOUBTED_MAX || !self.revocations.doubted.insert(hash) {
            return;
        }
        let victims = commit.ask.victims.iter().map(|victim| self.members.label(*victim)).collect();
        let asker = self.members.label(commit.ask.asker);
        self.alarm(Alarm::RevocationDoubted { asker, victims });
    }

    fn carry_out(
        &mut self,
        hash: Hash,
        commit: Commit,
        decision: &Decision,
        records: &[Record],
        voucher: Voucher,
        now: Instant,
    ) {
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
            return self.wait_for_what_is_missing(hash, commit, voucher);
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
        let links = inherited.iter().filter_map(|range| Some(self.ledger.head(range)?.hash));
        self.outbox.write(Write::commit(hash, order, &commit, &links.collect::<Vec<_>>()));
        self.revocations.commits.insert(hash, commit);
        self.end_questions_of(&decision.victims);
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

    fn wait_for_what_is_missing(&mut self, hash: Hash, commit: Commit, voucher: Voucher) {
        if self.revocations.incomplete.len() < INCOMPLETE_MAX {
            self.revocations.incomplete.insert(hash, (commit, voucher));
        }
    }

    /// Tries revocations again for which a record was missing.
    pub(super) fn retry_commits(&mut self, now: Instant) {
        for (hash, (commit, voucher)) in self.revocations.incomplete.clone() {
            // What is still missing puts it back.
            self.revocations.incomplete.remove(&hash);
            self.handle_commit(commit, &[], voucher, now);
        }
    }

    /// Tells somebody who is revoked that it is, after what was decided before: it may have been away then too. Once a round,
    /// whatever it says.
    pub(super) fn tell_revoked(&mut self, peer: Identity) {
        let is_it = |commit: &&Commit| commit.ask.victims.contains(&peer);
        let Some(commit) = self.revocations.commits.values().find(is_it).cloned() else { return };
        if !self.revocations.told.insert(peer) {
            return;
        }
        let earlier = commit.ask.earlier.iter().filter_map(|hash| self.revocations.commits.get(hash)).cloned();
        let mut all: Vec<Commit> = earlier.collect();
        all.sort_by_key(|commit| commit.ask.earlier.len());
        for commit in all.into_iter().chain(std::iter::once(commit)) {
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
