//! Names: one workload is started by one host, also when several do it at the same moment.
//!
//! Decides who asks whom, and what becomes of a name that two hosts have after all.
//!
//! ```text
//!   claimant                     registrar of the name
//!     ── NameAsk(attempt) ─────────▶   somebody has it: that line, Known; somebody asked before: Claimed
//!     ◀──────────────── NameAnswer ──   else Granted
//!   takes a slot, publishes its line ──▶ (everybody): the pledge is over
//! ```
//!
//! A workload that is known somewhere needs none of this: its holder decides, as for every move. Of claimant and registrar the
//! one that knows better tells the other, and the claimant asks again: a name that was given up a moment ago is pledged too. A
//! registrar that is silent is not waited for: starting containers must not depend on one host. If two hosts have a name after
//! a partition, each has it with an address of its own; the order of the directory says whose it is, and the other is silent
//! about it: it gives its address up with its container, or has the name again once the first one has given that up.

use std::time::{Duration, Instant};

use wire::message::{Message, Name, NameVerdict};
use wire::{Identity, Slot};

use super::{DETOURS_MAX, Ipam, Naming, Pending, Stage};
use crate::event::Alarm;
use crate::lease::{Claim, ClaimError, LeaseKey, LeaseState, Stickiness};
use crate::ledger::Holding;
use crate::names::{Question, rank};
use crate::outbox::To;

/// Longer than any round trip between two hosts, and short beside the 4 s that a claim may take.
const REGISTRAR: Duration = Duration::from_secs(1);

impl Naming {
    /// Until when an answer is waited for.
    pub(super) fn until(self) -> Option<Instant> {
        match self {
            Self::Asked { until, .. } => Some(until),
            Self::Unasked | Self::Settled { .. } => None,
        }
    }
}

impl Pending {
    /// Whether its name has yet to be asked for. An address without a workload is decided by the address's owner alone.
    pub(super) fn needs_name(&self) -> bool {
        let is_named = self.claim.workload.is_some() || self.claim.address.is_none() && self.claim.mac.is_some();
        is_named && !matches!(self.naming, Naming::Settled { .. })
    }
}

impl Ipam {
    /// The version of this router's next line for a workload.
    pub(super) fn next_version(&self, key: &LeaseKey) -> u64 {
        self.directory.next_version(key, self.config.identity, |author| self.members.is_revoked(author))
    }

    /// Claimant: asks the registrar, which may be this router.
    pub(super) fn ask_name(&mut self, mut pending: Pending, now: Instant) {
        let key = pending.claim.key();
        let (registrar, attempt) = (self.registrar(&key), self.next_attempt());
        let number = self.directory.next_number(self.config.identity);
        if registrar == self.config.identity {
            let verdict = self.judge_name(&key, Question { claimant: registrar, attempt, number }, now);
            return self.follow_verdict(pending, registrar, attempt, verdict, now);
        }
        // Whatever it waited for before has come; now it waits for the registrar alone.
        pending.stage = if pending.stage == Stage::AnySlot { Stage::AnySlot } else { Stage::Fresh };
        let until = pending.deadline.min(now + REGISTRAR);
        pending.naming = Naming::Asked { registrar, attempt, until };
        self.send(To::Peer(registrar), &Message::NameAsk { name: key.into(), attempt, number });
        self.waiting.claims.insert(pending.claim.attachment.clone(), pending);
    }

    fn registrar(&self, key: &LeaseKey) -> Identity {
        let me = self.config.identity;
        let peers = self.members.connected().filter(|peer| !self.members.is_refused(peer));
        peers.chain([me]).min_by_key(|router| rank(key, *router)).unwrap_or(me)
    }

    pub(super) fn next_attempt(&mut self) -> u64 {
        self.waiting.attempts = self.waiting.attempts.wrapping_add(1);
        self.waiting.attempts
    }

    /// Registrar: who may start it.
    fn judge_name(&mut self, key: &LeaseKey, question: Question, now: Instant) -> NameVerdict {
        match self.directory.current(key, &self.ledger) {
            Some(line) if line.author != question.claimant => NameVerdict::Known { by: line.author },
            Some(_) | None => self.waiting.pledges.give(key, question, now),
        }
    }

    /// Registrar: somebody asks.
    pub(super) fn handle_name_ask(&mut self, name: Name, question: Question, now: Instant) {
        let key = LeaseKey::from(name.clone());
        let Question { claimant, attempt, .. } = question;
        if !self.members.is_admitted(&claimant) || self.members.is_refused(&claimant) {
            return;
        }
        let verdict = self.judge_name(&key, question, now);
        if let NameVerdict::Known { by } = verdict {
            self.send_line(claimant, &key, by);
        }
        self.send(To::Peer(claimant), &Message::NameAnswer { name, attempt, verdict });
    }

    /// Tells a router what somebody said last of a workload, and whose the slot is that this was about.
    pub(super) fn send_line(&mut self, to: Identity, key: &LeaseKey, author: Identity) {
        let Some(entry) = self.directory.entry_of(key, author).cloned() else {
            // What it said of it is over, and so is whatever the other still has of that.
            if let Some(census) = self.directory.census_of(author).cloned() {
                self.send(To::Peer(to), &Message::Census(census));
            }
            return;
        };
        let range = wire::Range { network: key.network, start: entry.body.slot, length: 1 };
        self.send_history(to, &range);
        self.send(To::Peer(to), &Message::Entries(vec![entry]));
    }

    /// Claimant: the registrar has answered.
    pub(super) fn handle_name_answer(
        &mut self,
        from: Identity,
        name: &Name,
        attempt: u64,
        verdict: NameVerdict,
        now: Instant,
    ) {
        let answers = |pending: &Pending| {
            let asked = matches!(pending.naming, Naming::Asked { registrar, attempt: asked, .. } if registrar == from && asked == attempt);
            asked && Name::from(pending.claim.key()) == *name
        };
        let found = self.waiting.claims.iter().find(|(_, pending)| answers(pending));
        let Some(attachment) = found.map(|(attachment, _)| attachment.clone()) else { return };
        if let Some(pending) = self.waiting.claims.remove(&attachment) {
            self.follow_verdict(pending, from, attempt, verdict, now);
        }
    }

    fn follow_verdict(
        &mut self,
        pending: Pending,
        registrar: Identity,
        attempt: u64,
        verdict: NameVerdict,
        now: Instant,
    ) {
        let settled = Naming::Settled { registrar, attempt };
        match verdict {
            NameVerdict::Granted => self.advance(Pending { naming: settled, ..pending }, now),
            NameVerdict::Claimed { by } => {
                let error = self.contended_by(&pending.claim, by);
                self.fail(&pending, error);
            }
            NameVerdict::Known { by } if pending.detours >= DETOURS_MAX => {
                let error = self.contended_by(&pending.claim, by);
                self.fail(&pending, error);
            }
            NameVerdict::Known { by } => {
                let key = pending.claim.key();
                let stage = if self.has_lost_name(&key) {
                    Stage::Fresh
                } else {
                    // Whoever had it has given it up, and the registrar has yet to hear that.
                    self.send_line(registrar, &key, by);
                    pending.stage.clone()
                };
                let detours = pending.detours + 1;
                self.advance(Pending { naming: Naming::Unasked, stage, detours, ..pending }, now);
            }
        }
    }

    /// Starts without the answer of registrars that are silent.
    pub(super) fn time_out_names(&mut self, now: Instant) {
        self.waiting.pledges.forget_old(now);
        for mut pending in self.take_asking(|_, until| until <= now) {
            if let Naming::Asked { registrar, attempt, .. } = pending.naming {
                pending.naming = Naming::Settled { registrar, attempt };
            }
            self.advance(pending, now);
        }
    }

    /// Asks somebody else than a registrar that is gone.
    pub(super) fn ask_others(&mut self, gone: Identity, now: Instant) {
        for pending in self.take_asking(|registrar, _| registrar == gone) {
            self.advance(Pending { naming: Naming::Unasked, ..pending }, now);
        }
    }

    fn take_asking(&mut self, which: impl Fn(Identity, Instant) -> bool) -> Vec<Pending> {
        let is_it = |pending: &Pending| matches!(pending.naming, Naming::Asked { registrar, until, .. } if which(registrar, until));
        let found: Vec<_> = self.waiting.claims.extract_if(.., |_, pending| is_it(pending)).collect();
        found.into_iter().map(|(_, pending)| pending).collect()
    }

    /// Answers a claim that came to nothing, and gives its name back.
    pub(super) fn fail(&mut self, pending: &Pending, error: ClaimError) {
        if let Naming::Asked { registrar, attempt, .. } | Naming::Settled { registrar, attempt } = pending.naming {
            let key = pending.claim.key();
            if registrar == self.config.identity {
                self.waiting.pledges.take_back(&key, registrar, attempt);
            } else {
                self.send(To::Peer(registrar), &Message::NameDrop { name: key.into(), attempt });
            }
        }
        self.excuse(pending, &error);
        self.answer(&pending.requests, &Err(error));
    }

    /// Several hosts want the same at once, and another one gets it.
    pub(super) fn contended(&self, claim: &Claim) -> ClaimError {
        let wanted = claim.address.and_then(|address| self.network(claim.attachment.network)?.slot_of(address));
        let last_seen = || Some(self.directory.last_seen(&claim.key(), &self.ledger)?.0);
        let slot = wanted.or_else(last_seen);
        let winner = slot.and_then(|slot| self.owner(claim.attachment.network, slot));
        winner.map_or(ClaimError::Withdrawn, |winner| self.contended_by(claim, winner))
    }

    fn contended_by(&self, claim: &Claim, winner: Identity) -> ClaimError {
        ClaimError::Contended { workload: claim.key().workload, winner: self.members.label(winner) }
    }

    /// Whether another host has the name, by the order of the directory.
    pub(super) fn has_lost_name(&self, key: &LeaseKey) -> bool {
        self.directory.current(key, &self.ledger).is_some_and(|line| line.author != self.config.identity)
    }

    /// A workload that was started here and elsewhere while nobody could know.
    pub(super) fn settle_name(&mut self, key: &LeaseKey, now: Instant) {
        let Some(lease) = self.leases.of_key(key).filter(|lease| lease.stickiness == Stickiness::Sticky) else {
            return;
        };
        let (state, slot) = (lease.state, lease.slot);
        let line = self.directory.current(key, &self.ledger);
        let Some(winner) = line.map(|line| line.author).filter(|author| *author != self.config.identity) else {
            return self.take_name_back(key);
        };
        match state {
            LeaseState::Held { until: Some(_) } => self.end_lease(key, now),
            // An operator asked for it, and gives it up.
            LeaseState::Held { until: None } if self.waiting.split.insert(key.clone()) => {
                let address = self.address(key.network, slot);
                let winner = self.members.label(winner);
                self.alarm(Alarm::NameLost { workload: key.workload.clone(), address, winner });
            }
            LeaseState::Active if self.is_mine(key.network, slot) && self.waiting.split.insert(key.clone()) => {
                let address = self.address(key.network, slot);
                let winner = self.members.label(winner);
                self.alarm(Alarm::SplitName { workload: key.workload.clone(), address, winner });
            }
            LeaseState::Active | LeaseState::Held { .. } | LeaseState::Fenced => {}
        }
    }

    /// Where another host has, or may have, a name that this host has lost.
    pub(super) fn place_of_winner(&self, key: &LeaseKey) -> Option<(Slot, Holding)> {
        let me = self.config.identity;
        let current = self.directory.current(key, &self.ledger).filter(|line| line.author != me);
        // Its block may have a new epoch, and its word for that one be on its way.
        let last_said = || self.directory.last_said_by_others(key, me, |author| self.members.is_revoked(author));
        let line = current.or_else(|| last_said().filter(|_| self.waiting.split.contains(key)))?;
        let holding = self.ledger.owner(line.network, line.slot)?;
        (holding.owner == line.author).then_some((line.slot, holding))
    }

    /// Ends the silence about a name that was another host's, if it is nobody else's any more. Returns whether it has.
    pub(super) fn end_silence(&mut self, key: &LeaseKey) -> bool {
        self.place_of_winner(key).is_none() && self.waiting.split.remove(key)
    }

    /// The other host has given the name up: what runs here, or is kept here, has it alone, and all are told so.
    fn take_name_back(&mut self, key: &LeaseKey) {
        if self.outbox.is_closed() || !self.end_silence(key) {
            return;
        }
        if let Some(lease) = self.leases.of_key(key).cloned() {
            self.keep_lease(lease);
        }
    }

    /// The same for all names here: a line may come before the record that makes it count.
    pub(super) fn settle_names(&mut self, now: Instant) {
        let keys: Vec<_> = self.leases.iter().map(crate::Lease::key).collect();
        for key in keys {
            self.settle_name(&key, now);
        }
    }
}
