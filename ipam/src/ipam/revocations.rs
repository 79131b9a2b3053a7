//! Revocation: asking, promising, and which of several questions goes on.
//!
//! Makes a promise durable before it is sent (invariant I6). Promises are counted, and what is decided carried out, elsewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde::Serialize;
use wire::message::{ASSEMBLED_BYTES_MAX, Ask, Commit, Message, Promise, PromiseBody, REVOCATION_VERSION};
use wire::{Hash, Identity, Record, encode};

use super::{Health, Ipam};
use crate::config::Counted;
use crate::event::{Alarm, Event};
use crate::gathering::Gathering;
use crate::lease::RequestId;
use crate::outbox::To;
use crate::revoke::{
    ALONG_BYTES, Answer, Asking, COMMIT_BYTES_MAX, Question, Request, RevokeError, Voucher, bytes_of_names,
    hash_of_ask, hash_of_commit, records_at_most,
};
use crate::seal::sign;
use crate::store::Write;

impl Ipam {
    /// Takes everything from identities that are gone for good. [`Event::RevokeDone`] answers; a blocked revocation names who has
    /// not promised, and completes when each of them has.
    pub fn revoke(&mut self, request: RequestId, victims: &[Identity], now: Instant) {
        match self.check_revocation(victims) {
            Err(error) => self.outbox.event(Event::RevokeDone { request, result: Err(error) }),
            Ok(fresh) if fresh.is_empty() => {
                self.outbox.event(Event::RevokeDone { request, result: Ok(victims.to_vec()) });
            }
            Ok(fresh) if bytes_of_names(&self.question_about(fresh.clone())) > COMMIT_BYTES_MAX => {
                let error = self.too_much(&fresh);
                self.outbox.event(Event::RevokeDone { request, result: Err(error) });
            }
            Ok(fresh) => {
                let until = now + self.patience_about(&fresh);
                self.revocations.requests.push(Request { id: request, victims: fresh.clone(), until });
                self.begin_question(fresh, now);
            }
        }
        self.announce_table();
    }

    fn too_much(&self, victims: &[Identity]) -> RevokeError {
        let ask = self.question_about(victims.to_vec());
        RevokeError::TooMuch {
            victims: victims.iter().map(|victim| self.members.label(*victim)).collect(),
            records: ask.known.len(),
            routers: ask.members.len(),
            most: records_at_most(&ask),
        }
    }

    /// How long the operator waits: where everybody can answer, until they have noticed that a victim is gone.
    fn patience_about(&self, victims: &[Identity]) -> Duration {
        let can_answer = |elector: &Identity| {
            *elector == self.config.identity || self.members.is_connected(elector) || victims.contains(elector)
        };
        if self.electors(victims).iter().all(can_answer) { self.config.answer.max(NOTICED) } else { self.config.answer }
    }

    fn check_revocation(&self, victims: &[Identity]) -> Result<Vec<Identity>, RevokeError> {
        match self.course.health {
            Health::Working => {}
            Health::ReadOnly => return Err(RevokeError::ReadOnly),
            Health::RolledBack => return Err(RevokeError::RolledBackHere),
            Health::Revoked => return Err(RevokeError::RevokedHere),
        }
        if victims.contains(&self.config.identity) {
            return Err(RevokeError::Itself);
        }
        if let Some(unknown) = victims.iter().find(|victim| !self.members.is_admitted(victim)) {
            return Err(RevokeError::Unknown { who: unknown.to_string() });
        }
        let fresh: BTreeSet<_> = victims.iter().copied().filter(|victim| !self.members.is_revoked(victim)).collect();
        Ok(fresh.into_iter().collect())
    }

    /// Asks everybody who has a say.
    fn begin_question(&mut self, victims: Vec<Identity>, now: Instant) {
        let ask = self.question_about(victims);
        let question = hash_of_ask(&ask);
        // A wider question takes the place of one that could not be answered.
        self.revocations
            .asking
            .retain(|_, asking| !asking.ask.victims.iter().all(|victim| ask.victims.contains(victim)));
        let promise = self.promise(&ask, Vec::new());
        self.revocations.asking.insert(question, Asking::new(ask, promise));
        let connected: Vec<_> = self.members.connected().collect();
        self.repeat_asks(&connected);
        self.try_commit(question, now);
    }

    fn question_about(&self, victims: Vec<Identity>) -> Ask {
        // Who joined with a sponsor's promise is none of those whose promise is needed, but for one that asks itself.
        let members = self.electors(&victims).into_iter().chain([self.config.identity]);
        Ask {
            members: sorted(members),
            earlier: self.revocations.commits.keys().copied().collect(),
            known: self.names_of(&victims),
            asker: self.config.identity,
            victims,
        }
    }

    /// What a question names, or a promise: the records by or to these.
    fn names_of(&self, identities: &[Identity]) -> Vec<Hash> {
        sorted(self.held_of(identities).map(|(hash, _)| hash))
    }

    /// Everybody whose promise is needed, and the victims.
    fn electors(&self, victims: &[Identity]) -> Vec<Identity> {
        let counts = |member: &Identity| match self.config.rules.counted {
            Counted::EverAdmitted => true,
            Counted::Connected => {
                self.members.is_connected(member) || *member == self.config.identity || victims.contains(member)
            }
        };
        // Members that came after the first promise came with it.
        match self.known_when_refused(victims.iter()) {
            Some(known) => sorted(known.into_iter().filter(counts)),
            None => sorted(self.members.current().filter(counts)),
        }
    }

    /// Whoever was a member when all of these were first refused, and is not revoked; none if one of them is not refused.
    pub(super) fn known_when_refused<'a>(
        &self,
        victims: impl Iterator<Item = &'a Identity>,
    ) -> Option<BTreeSet<Identity>> {
        let numbers = victims.map(|victim| Some(self.members.refusal(victim)?.known));
        let last = numbers.collect::<Option<Vec<u64>>>()?.into_iter().max()?;
        let known: BTreeSet<Identity> = self.members.first(last).collect();
        (!known.is_empty()).then_some(known)
    }

    /// Promises, durably, and returns the promise: what the caller sends waits for the store.
    fn promise(&mut self, ask: &Ask, beyond: Vec<Hash>) -> Promise {
        let members = self.electors(&ask.victims);
        let mut is_news = false;
        for victim in &ask.victims {
            if let Some(known) = self.members.refuse(*victim, ask.asker) {
                self.outbox.write(Write::refused(*victim, ask.asker, known));
                is_news = true;
            }
        }
        if is_news {
            self.outbox.event(Event::Refused { identities: ask.victims.clone() });
        }
        let told: BTreeSet<_> = ask.members.iter().collect();
        let members = members.into_iter().filter(|member| !told.contains(member)).collect();
        let body = PromiseBody { ask: hash_of_ask(ask), promiser: self.config.identity, beyond, members };
        Promise { signature: sign(&self.config.signing_key, REVOCATION_VERSION, &body), body }
    }

    /// The revocations that others ask for and that are not decided.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        let mut promised: BTreeMap<Identity, Vec<Identity>> = BTreeMap::new();
        for (victim, refusal) in self.members.refusals().filter(|(victim, _)| !self.members.is_revoked(victim)) {
            for asker in refusal.askers.iter().filter(|asker| **asker != self.config.identity) {
                promised.entry(*asker).or_default().push(*victim);
            }
        }
        let promised = promised.iter().map(|(asker, victims)| self.question(*asker, victims, Answer::Promised));
        let waiting = self.revocations.unanswered.values();
        let answer = |ask: &Ask| {
            let knows = ask.earlier.iter().all(|earlier| self.revocations.has_heard_of(earlier));
            if knows { Answer::Waits } else { Answer::Behind }
        };
        promised.chain(waiting.map(|ask| self.question(ask.asker, &ask.victims, answer(ask)))).collect()
    }

    fn question(&self, asker: Identity, victims: &[Identity], answer: Answer) -> Question {
        let victims = victims.iter().map(|victim| self.members.label(*victim)).collect();
        Question { asker: self.members.label(asker), victims, answer }
    }

    /// Asks everybody that has not promised yet: it may not have known a victim, or seen it alive.
    pub(super) fn ask_again(&mut self) {
        if !self.revocations.asking.is_empty() {
            let connected: Vec<_> = self.members.connected().collect();
            self.repeat_asks(&connected);
        }
    }

    /// Member: answers those questions that it can answer by now.
    pub(super) fn answer_late(&mut self, now: Instant) {
        for (asker, ask) in self.revocations.unanswered.clone() {
            self.answer_ask(asker, ask, Vec::new(), now);
        }
    }

    /// Asks those of these peers that have not promised yet.
    pub(super) fn repeat_asks(&mut self, peers: &[Identity]) {
        let open = self.revocations.asking.values().map(|asking| {
            let is_due = |peer: &&Identity| !asking.promises.contains_key(*peer) && !asking.ask.victims.contains(*peer);
            (asking.ask.clone(), peers.iter().filter(is_due).copied().collect::<Vec<_>>())
        });
        let open: Vec<_> = open.filter(|(_, peers)| !peers.is_empty()).collect();
        for (ask, peers) in open {
            let records = along(self.records_of(&ask.victims), ALONG_BYTES);
            let commits = ask.earlier.iter().filter_map(|hash| self.revocations.commits.get(hash)).cloned();
            let commits = along(commits, ALONG_BYTES);
            let message = Message::RevokeAsk { ask, records, commits };
            peers.into_iter().for_each(|peer| self.send(To::Peer(peer), &message));
        }
    }

    /// Member: promises, unless it is to be revoked itself.
    pub(super) fn handle_ask(
        &mut self,
        from: Identity,
        ask: Ask,
        records: Vec<Record>,
        commits: Vec<Commit>,
        now: Instant,
    ) {
        let me = self.config.identity;
        if ask.asker != from || self.course.health != Health::Working {
            return;
        }
        if ask.victims.contains(&me) {
            let name = self.members.label(from).name;
            return self.alarm(Alarm::RevocationAsked { asker: from, name });
        }
        // Whom this router has promised to refuse revokes nobody, and nobody is refused whom it has never heard of.
        if ask.victims.is_empty() || !ask.victims.is_sorted() || self.members.is_refused(&from) {
            return;
        }
        self.name_strangers(from, ask.members.iter().chain(&ask.victims));
        if !ask.victims.iter().all(|victim| self.members.is_admitted(victim)) {
            return;
        }
        for commit in commits {
            let is_named = ask.earlier.contains(&hash_of_commit(&commit));
            let voucher = if is_named { Voucher::Member } else { Voucher::Nobody };
            self.handle_commit(commit, Gathering::default(), voucher, now);
        }
        self.answer_ask(from, ask, records, now);
        self.answer_late(now);
    }

    /// Says whom a question, a promise or a decision names that this router has never heard of. Whoever named them admitted them
    /// while it believed their sponsor, so that they count here as well, though their sponsor is refused by now.
    pub(super) fn name_strangers<'a>(&mut self, by: Identity, named: impl IntoIterator<Item = &'a Identity>) {
        let is_stranger = |who: &&Identity| !self.members.is_admitted(who) && !self.members.is_refused(who);
        let identities = sorted(named.into_iter().filter(is_stranger).copied());
        if !identities.is_empty() && !self.members.is_refused(&by) {
            self.outbox.event(Event::MembersNamed { by, identities });
        }
    }

    fn answer_ask(&mut self, from: Identity, ask: Ask, records: Vec<Record>, now: Instant) {
        if self.members.is_refused(&from) || self.course.health != Health::Working {
            return;
        }
        if self.tell_unheard_commits(from, &ask) {
            self.revocations.unanswered.remove(&from);
            return;
        }
        if !ask.earlier.iter().all(|earlier| self.revocations.has_heard_of(earlier)) {
            // There were too many to send them along: comparing finds them, and then this is answered.
            if self.revocations.unanswered.insert(from, ask.clone()).is_none_or(|before| before != ask) {
                self.send_digest(from);
            }
            return;
        }
        if self.awaits_second_word(&ask) {
            let before = self.revocations.unanswered.insert(from, ask.clone());
            if before.is_none_or(|before| before.victims != ask.victims) {
                let question = self.question(from, &ask.victims, Answer::Waits);
                self.outbox.event(Event::RevocationAsked { question });
            }
            return;
        }
        self.revocations.unanswered.remove(&from);
        if ask.victims.iter().any(|victim| self.members.is_revoked(victim)) {
            return;
        }
        if self.give_way(from, &ask, now) == GiveWay::Never {
            // Whoever asks less, or later, is to know of the question that goes on.
            return self.repeat_asks(&[from]);
        }
        self.learn(records, Some(from), now);
        if ask.victims.iter().any(|victim| !self.members.is_refused(victim)) {
            let question = self.question(from, &ask.victims, Answer::Promised);
            self.outbox.event(Event::RevocationAsked { question });
        }
        let known: BTreeSet<&Hash> = ask.known.iter().collect();
        let beyond = self.names_of(&ask.victims).into_iter().filter(|hash| !known.contains(hash)).collect();
        // What is refused is refused for good: asked again, this router names the same.
        let promise = self.promise(&ask, beyond);
        let records = promise.body.beyond.iter().filter_map(|hash| self.ledger.record(hash)).cloned();
        let records = along(records, ALONG_BYTES);
        self.send(To::Peer(from), &Message::RevokePromise { promise, records });
    }

    /// Whether the asker's word alone is not enough: this router sees a victim alive, and nobody else asks for that one, no
    /// operator here either. A promise is never taken back, and one member must not have the living refused.
    fn awaits_second_word(&self, ask: &Ask) -> bool {
        let here = self.revocations.asking.values().map(|asking| &asking.ask);
        let elsewhere = self.revocations.unanswered.values().filter(|other| other.asker != ask.asker);
        let asked: BTreeSet<_> = here.chain(elsewhere).flat_map(|other| other.victims.iter()).collect();
        ask.victims.iter().any(|victim| {
            self.members.is_connected(victim) && !self.members.is_refused(victim) && !asked.contains(victim)
        })
    }

    /// What routers asked for that are revoked is decided by nobody any more, and what was promised for it no longer binds: no
    /// member hears a decision of theirs that was not told before they were refused.
    pub(super) fn end_questions_of(&mut self, askers: &BTreeSet<Identity>) {
        let members = &self.members;
        self.revocations.unanswered.retain(|asker, ask| {
            !members.is_revoked(asker) && ask.victims.iter().all(|victim| !members.is_revoked(victim))
        });
        for (victim, asker) in self.members.forget_askers(askers) {
            self.outbox.write(Write::refused_gone(victim, asker));
        }
    }

    /// Answers whoever waited for identities that are revoked by now, and asks anew where a question is out of date.
    pub(super) fn follow_up(&mut self, now: Instant) {
        let members = &self.members;
        let is_done = |request: &mut Request| request.victims.iter().all(|victim| members.is_revoked(victim));
        let done: Vec<_> = self.revocations.requests.extract_if(.., is_done).collect();
        for Request { id, victims, .. } in done {
            self.outbox.event(Event::RevokeDone { request: id, result: Ok(victims) });
        }
        let held: Vec<Hash> = self.revocations.commits.keys().copied().collect();
        let outdated: Vec<_> = self.revocations.asking.extract_if(.., |_, asking| asking.ask.earlier != held).collect();
        for (_, asking) in outdated {
            let left: Vec<_> =
                asking.ask.victims.into_iter().filter(|victim| !self.members.is_revoked(victim)).collect();
            if !left.is_empty() {
                self.begin_question(left, now);
            }
        }
        self.retry_commits(now);
    }

    /// Member: a question that does not know of every revocation is not answered but told. Returns whether it was.
    fn tell_unheard_commits(&mut self, asker: Identity, ask: &Ask) -> bool {
        let unheard = self.revocations.commits.iter().filter(|(hash, _)| !ask.earlier.contains(hash));
        // As many as a peer takes at once; the asker asks again.
        let unheard = along(unheard.map(|(_, commit)| commit.clone()), ASSEMBLED_BYTES_MAX);
        for commit in &unheard {
            let message = self.commit_message(commit.clone());
            self.send(To::Peer(asker), &message);
        }
        !unheard.is_empty()
    }

    /// Asker: two questions at a time become one, the widest; of two alike, the lower identity's. Nobody commits a question
    /// that it has given up, so revocations happen one after the other.
    fn give_way(&mut self, other: Identity, ask: &Ask, now: Instant) -> GiveWay {
        let theirs: BTreeSet<_> = ask.victims.iter().copied().collect();
        let mut union = theirs.clone();
        for asking in self.revocations.asking.values() {
            let ours: BTreeSet<_> = asking.ask.victims.iter().copied().collect();
            let first = ours == theirs && self.config.identity < other;
            if first || ours != theirs && ours.is_superset(&theirs) {
                return GiveWay::Never;
            }
            union.extend(ours);
        }
        if union != theirs {
            self.begin_question(union.into_iter().collect(), now);
            return GiveWay::Never;
        }
        self.revocations.asking.clear();
        GiveWay::Gladly
    }
}

/// A session that has not answered for ten seconds is down, and then whoever saw the victim alive promises.
const NOTICED: Duration = Duration::from_secs(12);

/// Whether a question of this router's makes room for another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GiveWay {
    Gladly,
    Never,
}

/// As many of these, in their order, as make at most so many bytes.
pub(super) fn along<T: Serialize>(items: impl IntoIterator<Item = T>, most: usize) -> Vec<T> {
    let mut bytes = 0;
    let is_within = |item: &T| {
        bytes += encode(REVOCATION_VERSION, item).len();
        bytes <= most
    };
    items.into_iter().take_while(is_within).collect()
}

fn sorted<T: Ord>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.collect::<BTreeSet<_>>().into_iter().collect()
}
