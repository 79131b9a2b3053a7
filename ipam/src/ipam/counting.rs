//! Revocation, where the asker counts: which promises hold, and when everybody's do.
//!
//! Counts no promise that names what nobody has shown: a decision that rests on it could not be carried out.

use std::time::Instant;

use wire::message::{Commit, Message, Promise};
use wire::{Hash, Identity};

use super::Ipam;
use crate::event::Event;
use crate::outbox::To;
use crate::revoke::{COMMIT_BYTES_MAX, Request, RevokeError, Voucher, is_promise_on, missing, records_at_most};

impl Ipam {
    /// Asker: takes a promise, and counts it once all that it names is here.
    pub(super) fn handle_promise(&mut self, from: Identity, promise: Promise, records: &[wire::Record], now: Instant) {
        let question = promise.body.ask;
        let Some(asking) = self.revocations.asking.get_mut(&question) else { return };
        // Whoever is to go promises nothing: it would name what everybody else refuses.
        let is_victim = asking.ask.victims.contains(&from);
        if is_victim || promise.body.promiser != from || !is_promise_on(&promise, &question) {
            return;
        }
        let named = promise.body.members.clone();
        asking.unproven.insert(from, promise);
        self.name_strangers(from, &named);
        self.gather(records);
        self.count_promises(question, now);
        self.want_what_is_promised(from);
    }

    /// Asker: counts the promises that have come to name nothing but what is here, and decides when nobody is missing.
    pub(super) fn count_promises(&mut self, question: Hash, now: Instant) {
        let Some(mut asking) = self.revocations.asking.remove(&question) else { return };
        let mut trial = None;
        let mut is_shown = |promise: &Promise| {
            let known = promise.body.members.iter().all(|member| self.members.is_admitted(member));
            let shown = || asking.gathering.lacking(promise.body.beyond.iter(), &self.ledger).next().is_none();
            let fits = || promise.body.beyond.iter().all(|hash| self.ledger.holds(hash));
            known
                && (fits()
                    || shown() && {
                        let trial = trial.get_or_insert_with(|| {
                            let mut ledger = self.ledger.clone();
                            asking.gathering.apply_to(&mut ledger);
                            ledger
                        });
                        promise.body.beyond.iter().all(|hash| trial.holds(hash))
                    })
        };
        let (shown, unproven): (Vec<_>, Vec<_>) =
            std::mem::take(&mut asking.unproven).into_iter().partition(|(_, promise)| is_shown(promise));
        asking.unproven = unproven.into_iter().collect();
        let counted = !shown.is_empty();
        asking.promises.extend(shown);
        self.revocations.asking.insert(question, asking);
        if counted {
            self.ask_late(&question);
            self.try_commit(question, now);
        }
    }

    /// Asks for what a promiser named and did not send along.
    pub(super) fn want_what_is_promised(&mut self, promiser: Identity) {
        let mut lacking = Vec::new();
        for asking in self.revocations.asking.values_mut() {
            if let Some(promise) = asking.unproven.get(&promiser) {
                lacking.extend(asking.gathering.want(promise.body.beyond.iter(), &self.ledger));
            }
        }
        if !lacking.is_empty() {
            self.send(To::Peer(promiser), &Message::Want(lacking));
        }
    }

    /// A promiser may know members that the asker did not.
    fn ask_late(&mut self, question: &Hash) {
        let Some(asking) = self.revocations.asking.get(question) else { return };
        let electorate = crate::revoke::electorate(&asking.ask, asking.promises.values());
        let is_late = |peer: &Identity| {
            electorate.contains(peer) && !asking.ask.members.contains(peer) && !asking.promises.contains_key(peer)
        };
        let late: Vec<_> = self.members.connected().filter(is_late).collect();
        self.repeat_asks(&late);
    }

    /// Asker: decides, when everybody has promised.
    pub(super) fn try_commit(&mut self, question: Hash, now: Instant) {
        let Some(asking) = self.revocations.asking.get(&question) else { return };
        if !missing(&asking.ask, asking.promises.values(), self.config.rules).is_empty() {
            return;
        }
        let commit = Commit { ask: asking.ask.clone(), promises: asking.promises.values().cloned().collect() };
        if is_too_long(&commit) {
            return;
        }
        let Some(asking) = self.revocations.asking.remove(&question) else { return };
        self.handle_commit(commit.clone(), asking.gathering, Voucher::Nobody, now);
        let message = self.commit_message(commit);
        self.send(To::AllPeers, &message);
    }

    /// Asker: says who has not promised. The question stays open.
    pub(super) fn time_out_asks(&mut self, now: Instant) {
        let late: Vec<_> = self.revocations.requests.extract_if(.., |request| request.until <= now).collect();
        for Request { id, victims, .. } in late {
            let error = self.why_not_revoked(&victims);
            self.outbox.event(Event::RevokeDone { request: id, result: Err(error) });
        }
    }

    fn why_not_revoked(&self, victims: &[Identity]) -> RevokeError {
        let label = |identity: &Identity| self.members.label(*identity);
        let named = victims.iter().map(label).collect();
        let covers = |asked: &[Identity]| victims.iter().all(|victim| asked.contains(victim));
        if let Some(asking) = self.revocations.asking.values().find(|asking| covers(&asking.ask.victims)) {
            let missing = missing(&asking.ask, asking.promises.values(), self.config.rules);
            // Two operators' questions became one: what is missing is missing for both.
            let victims = asking.ask.victims.iter().map(label).collect();
            if missing.is_empty() {
                let beyond: usize = asking.promises.values().map(|promise| promise.body.beyond.len()).sum();
                let (records, routers) = (asking.ask.known.len() + beyond, asking.ask.members.len());
                return RevokeError::TooMuch { victims, records, routers, most: records_at_most(&asking.ask) };
            }
            let alive =
                asking.ask.victims.iter().filter(|victim| self.members.is_connected(victim)).map(label).collect();
            let unproven = asking.unproven.keys().filter(|promiser| missing.contains(promiser)).map(label).collect();
            return RevokeError::Blocked { victims, missing: missing.iter().map(label).collect(), unproven, alive };
        }
        let is_asking = |asker: &Identity| {
            *asker != self.config.identity && victims.iter().all(|victim| self.members.is_refused_for(victim, asker))
        };
        let askers = victims.first().and_then(|victim| self.members.refusal(victim)).map(|refusal| &refusal.askers);
        match askers.into_iter().flatten().find(|asker| is_asking(asker)) {
            Some(asker) => RevokeError::AskedElsewhere { victims: named, asker: label(asker) },
            None => {
                RevokeError::Blocked { victims: named, missing: Vec::new(), unproven: Vec::new(), alive: Vec::new() }
            }
        }
    }
}

fn is_too_long(commit: &Commit) -> bool {
    wire::encode(wire::message::REVOCATION_VERSION, commit).len() > COMMIT_BYTES_MAX
}
