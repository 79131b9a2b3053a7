//! Revocations that are decided: whether this router believes one, and what follows.
//!
//! Takes from the victims only what everybody's promise allows (invariant I6).

use std::collections::BTreeSet;
use std::time::Instant;

use wire::message::{Ask, Commit, Message, Promise};
use wire::{Hash, Identity, Record};

use super::Ipam;
use super::ownership::Gain;
use super::revocations::along;
use crate::event::{Alarm, Event};
use crate::gathering::Gathering;
use crate::ledger::hash_of_record;
use crate::outbox::To;
use crate::revoke::{
    ALONG_BYTES, Asking, DOUBTED_MAX, Decision, INCOMPLETE_MAX, Incomplete, Revocations, Voucher, hash_of_commit, prove,
};
use crate::store::Write;

impl Ipam {
    /// Everybody: hears of a revocation, with some of the records that it names.
    pub(super) fn hear_commit(&mut self, from: Identity, commit: Commit, records: &[Record], now: Instant) {
        let voucher = self.voucher(from, &commit);
        self.handle_commit(commit, Gathering::default(), voucher, now);
        if self.gather(records) {
            self.retry_commits(now);
        }
        self.want_what_is_decided(from);
        self.answer_late(now);
    }

    /// Everybody: carries out a revocation that is proven.
    pub(super) fn handle_commit(&mut self, commit: Commit, gathering: Gathering, voucher: Voucher, now: Instant) {
        let hash = hash_of_commit(&commit);
        if self.revocations.commits.contains_key(&hash) || self.revocations.incomplete.contains_key(&hash) {
            return;
        }
        let Some(decision) = prove(&commit, self.config.rules) else { return };
        self.judge_commit(hash, Incomplete { commit, decision, voucher, gathering }, now);
    }

    fn judge_commit(&mut self, hash: Hash, heard: Incomplete, now: Instant) {
        let Incomplete { commit, decision, voucher, .. } = &heard;
        if !self.is_heard(&hash, commit, decision, *voucher) {
            return;
        }
        let lacks_earlier = commit.ask.earlier.iter().any(|earlier| !self.revocations.commits.contains_key(earlier));
        if !self.is_believed(decision) {
            // Who seems to be missing may have been revoked before: whether it is believed is seen then.
            match lacks_earlier {
                true if self.members.is_refused(&commit.ask.asker) => {}
                true => self.wait_for_what_is_missing(hash, heard),
                false => self.doubt(hash, commit),
            }
            return;
        }
        // An heir that this router will never know would have what nobody can ask for.
        let lacks_members = decision.members.iter().any(|member| !self.members.is_admitted(member));
        self.name_strangers(commit.ask.asker, &commit.ask.members);
        for Promise { body, .. } in &commit.promises {
            self.name_strangers(body.promiser, &body.members);
        }
        let lacks_records = || heard.gathering.lacking(decision.records.iter(), &self.ledger).next().is_some();
        // Whoever is put out itself has nothing to inherit, and need not know what others do: nobody tells it any more.
        let is_out = decision.victims.contains(&self.config.identity);
        if !is_out && (lacks_earlier || lacks_members || lacks_records()) {
            return self.wait_for_what_is_missing(hash, heard);
        }
        self.carry_out(hash, heard, now);
    }

    /// Whoever tells of a revocation instead of promising to refuse its asker knew of it before, and promises nothing to anybody
    /// who does not know of it.
    fn voucher(&self, from: Identity, commit: &Commit) -> Voucher {
        let asker = commit.ask.asker;
        let is_asked = |asking: &Asking| {
            let victims = &asking.ask.victims;
            victims.contains(&asker) && !victims.contains(&from) && !asking.promises.contains_key(&from)
        };
        let vouches = !self.members.is_refused(&from) && self.revocations.asking.values().any(is_asked);
        if vouches { Voucher::Member } else { Voucher::Nobody }
    }

    /// Whether what its asker decides can count. Who is revoked here decided nothing that is not known here: everybody else had
    /// to tell it before they promised to refuse him. What somebody decided whom this router merely refuses counts where others
    /// knew of it before they refused him too.
    fn is_heard(&self, hash: &Hash, commit: &Commit, decision: &Decision, voucher: Voucher) -> bool {
        let asker = &commit.ask.asker;
        let is_vouched = || voucher == Voucher::Member || self.is_named(hash);
        let may_be_refused = decision.victims.contains(&self.config.identity) || is_vouched();
        !self.members.is_revoked(asker) && (!self.members.is_refused(asker) || may_be_refused)
    }

    /// Whether a later revocation, or a question, names this one: of what waits, if it is believed, or its asker not refused.
    fn is_named(&self, hash: &Hash) -> bool {
        let names_it = |ask: &Ask| ask.earlier.contains(hash);
        let counts = |heard: &&Incomplete| {
            !self.members.is_refused(&heard.commit.ask.asker) || self.is_believed(&heard.decision)
        };
        let mut waiting = self.revocations.incomplete.values().filter(counts);
        let mut asks = self.revocations.commits.values().map(|commit| &commit.ask);
        asks.any(names_it)
            || waiting.any(|heard| names_it(&heard.commit.ask))
            || self.revocations.unanswered.values().any(names_it)
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

    fn carry_out(&mut self, hash: Hash, heard: Incomplete, now: Instant) {
        let decision = &heard.decision;
        let mut ledger = self.ledger.clone();
        let gone =
            ledger.retain(|hash, record| !is_about(record, &decision.victims) || decision.records.contains(hash));
        heard.gathering.apply_to(&mut ledger);
        let is_out = decision.victims.contains(&self.config.identity);
        if !is_out && !decision.records.iter().all(|hash| ledger.holds(hash)) {
            return self.wait_for_what_is_missing(hash, heard);
        }
        let Incomplete { commit, decision, gathering, .. } = heard;
        let decision = &decision;
        let settled = ledger.settle(&decision.victims);
        // What lost is kept all the same: whoever hears of the revocation later must hold it too, to choose alike.
        for record in settled.iter().filter(|record| decision.records.contains(&hash_of_record(record))) {
            ledger.note_in_annals(record);
        }
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
        // What lies between those that are named came into force with them, and nobody brings it again.
        let kept: BTreeSet<&Hash> = permitted.iter().chain(gathering.hashes()).collect();
        let kept: Vec<_> = kept.into_iter().filter_map(|hash| self.ledger.record(hash)).cloned().collect();
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
        }
        self.follow(&changed, Gain::Inherited, now);
        self.follow(inherited, Gain::Inherited, now);
        self.follow_up(now);
    }

    fn wait_for_what_is_missing(&mut self, hash: Hash, heard: Incomplete) {
        if self.revocations.incomplete.len() < INCOMPLETE_MAX {
            self.revocations.incomplete.insert(hash, heard);
        }
    }

    /// Tries revocations again for which something was missing.
    pub(super) fn retry_commits(&mut self, now: Instant) {
        let waiting: Vec<Hash> = self.revocations.incomplete.keys().copied().collect();
        for hash in waiting {
            // What is still missing puts it back.
            if let Some(heard) = self.revocations.incomplete.remove(&hash) {
                self.judge_commit(hash, heard, now);
            }
        }
    }

    /// Keeps what revocations wait for, decided or not, of records that nobody takes otherwise. Returns whether any was new.
    pub(super) fn gather(&mut self, records: &[Record]) -> bool {
        let Revocations { incomplete, asking, .. } = &mut self.revocations;
        let (verify, mut is_news) = (self.config.verify, false);
        for record in records.iter().filter(|record| !self.ledger.holds(&hash_of_record(record))) {
            for heard in incomplete.values_mut() {
                is_news |= heard.gathering.take(record, verify, |hash| heard.decision.records.contains(hash));
            }
            for asking in asking.values_mut() {
                let mut gathering = std::mem::take(&mut asking.gathering);
                is_news |= gathering.take(record, verify, |hash| asking.is_named(hash));
                asking.gathering = gathering;
            }
        }
        is_news
    }

    /// Goes on with what waited for records that have come.
    pub(super) fn go_on_with_revocations(&mut self, from: Option<Identity>, now: Instant) {
        let questions: Vec<Hash> = self.revocations.asking.keys().copied().collect();
        for question in questions {
            self.count_promises(question, now);
        }
        self.retry_commits(now);
        if let Some(from) = from {
            self.want_what_is_promised(from);
            self.want_what_is_decided(from);
        }
    }

    /// Asks for what revocations name and nobody has sent along.
    pub(super) fn want_what_is_decided(&mut self, peer: Identity) {
        let mut lacking = Vec::new();
        for heard in self.revocations.incomplete.values_mut() {
            lacking.extend(heard.gathering.want(heard.decision.records.iter(), &self.ledger));
        }
        if !lacking.is_empty() {
            self.send(To::Peer(peer), &Message::Want(lacking));
        }
    }

    /// Whoever was asked has not answered: somebody else may.
    pub(super) fn want_again(&mut self) {
        let Revocations { incomplete, asking, .. } = &mut self.revocations;
        let waiting = incomplete.values_mut().map(|heard| &mut heard.gathering);
        waiting.chain(asking.values_mut().map(|asking| &mut asking.gathering)).for_each(Gathering::forget_wanted);
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
        let records = commit.ask.known.iter().chain(beyond).filter_map(|hash| self.ledger.record(hash)).cloned();
        let records = along(records, ALONG_BYTES);
        Message::RevokeCommit { commit, records }
    }
}

fn is_about(record: &Record, victims: &BTreeSet<Identity>) -> bool {
    victims.contains(&record.body.author) || victims.contains(&record.body.owner)
}
