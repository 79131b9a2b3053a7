//! Ownership: what the ledger's changes mean for this host.
//!
//! Decides which records are taken, and follows what is gained and lost with slots and leases.

use std::time::{Duration, Instant};

use wire::message::Message;
use wire::{Identity, NetworkId, RECORD_VERSION, Range, Record, RecordBody, Slot};

use super::{Health, Ipam};
use crate::event::{Alarm, Event};
use crate::lease::{Lease, LeaseState};
use crate::ledger::{Outcome, hash_of_record};
use crate::members::Verdict;
use crate::moving::Pace;
use crate::outbox::To;
use crate::seal::{is_signed_by, sign};
use crate::space::Space;
use crate::store::Write;

/// How a slot became this host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gain {
    /// Its owner gave it, unused.
    Given,
    /// Its owner gave it, perhaps with the lease on it.
    Moved,
    /// Its owner was revoked, and may have used it a moment ago.
    Inherited,
}

impl Ipam {
    /// Takes records that extend what is held, and whatever waited for them.
    pub(super) fn learn(&mut self, records: Vec<Record>, from: Option<Identity>, now: Instant) {
        let has_gathered = self.gather(&records);
        let mut gaps: Vec<Range> = Vec::new();
        let mut changed: Vec<Range> = Vec::new();
        let mut todo: Vec<Record> = records.into_iter().rev().collect();
        while let Some(record) = todo.pop() {
            let range = record.body.range;
            match self.take(&record, now) {
                Taken::InForce => {
                    changed.push(range);
                    todo.extend(self.parking.take(&hash_of_record(&record)));
                    // A block may wait for its slots to come home.
                    let block = self.ledger.block_of(range.network, range.start);
                    if let Some(head) = self.ledger.head(&block).filter(|_| range.length == 1) {
                        todo.extend(self.parking.take(&head.hash));
                    }
                }
                Taken::Parked if !gaps.contains(&range) => gaps.push(range),
                Taken::Parked | Taken::Nothing => {}
            }
        }
        if let Some(from) = from {
            for range in gaps {
                self.send(To::Peer(from), &Message::WantRange(range));
            }
        }
        if !changed.is_empty() {
            self.follow(&changed, Gain::Moved, now);
            // Frames follow a move at once: whoever gave the slot made that durable before it was heard of here.
            if from.is_some() && std::mem::take(&mut self.course.table_changed) {
                self.outbox.event_at_once(Event::TableChanged);
            }
        }
        if has_gathered || !changed.is_empty() {
            self.go_on_with_revocations(from, now);
        }
    }

    fn take(&mut self, record: &Record, now: Instant) -> Taken {
        let hash = hash_of_record(record);
        if self.ledger.holds(&hash) {
            return Taken::Nothing;
        }
        let verdict = self.members.verdict(record, &hash, self.config.rules);
        if verdict == Verdict::Refused
            || !is_signed_by(self.config.verify, record.body.author, RECORD_VERSION, &record.body, &record.signature)
        {
            return Taken::Nothing;
        }
        if verdict == Verdict::Stranger {
            self.parking.park(record.clone());
            return Taken::Nothing;
        }
        if self.ledger.is_quarantined(&record.body.range) {
            return Taken::Nothing;
        }
        let outcome = self.ledger.apply(record);
        // What this router forgot of its own lies before what it holds.
        let is_news =
            matches!(outcome, Outcome::Applied | Outcome::GivenTwice(_) | Outcome::Equivocation(_) | Outcome::Gap);
        if is_news && record.body.author == self.config.identity {
            // Written here, and not remembered here.
            self.become_rolled_back();
        }
        match outcome {
            Outcome::Applied => {
                self.note_applied(record, now);
                Taken::InForce
            }
            Outcome::Gap => match self.parking.park(record.clone()) {
                crate::ledger::Parked::New => Taken::Parked,
                crate::ledger::Parked::NotNew => Taken::Nothing,
            },
            Outcome::GivenTwice(range) => {
                self.outbox.write(Write::record(record));
                self.alarm(Alarm::Equivocation { range, author: record.body.author });
                // Whoever finds it out compares at once, and so does whom it tells.
                self.tell_of_lies();
                Taken::InForce
            }
            Outcome::Equivocation(range) => {
                // Beyond what is kept as evidence, a lie leaves no trace but the alarm.
                if self.ledger.is_evidence(&hash) {
                    self.outbox.write(Write::evidence(record));
                    self.tell_of_lies();
                }
                self.alarm(Alarm::Equivocation { range, author: record.body.author });
                Taken::Nothing
            }
            Outcome::Known | Outcome::Past | Outcome::Refused => Taken::Nothing,
        }
    }

    fn note_applied(&mut self, record: &Record, now: Instant) {
        self.forgetting.note_change();
        self.outbox.write(Write::record(record));
        let range = record.body.range;
        // What others moved may be long past when it is heard of here.
        let hosts = [record.body.author, record.body.owner];
        let party = hosts.contains(&self.config.identity);
        if range.length == 1 && party && self.moves.note(range.network, range.start, hosts, now) == Pace::Froze {
            let RecordBody { author, epoch, .. } = record.body;
            self.alarm(Alarm::Flapping {
                address: self.address(range.network, range.start),
                workload: self.last_said_of(range.network, range.start, author, epoch).map(|lease| lease.workload),
                hosts: self
                    .moves
                    .hosts(range.network, range.start)
                    .into_iter()
                    .map(|host| self.members.label(host))
                    .collect(),
            });
        }
    }

    /// Writes the next record of a range that is this host's, durably, and tells everybody.
    pub(super) fn give(&mut self, range: Range, owner: Identity, now: Instant) -> Option<Record> {
        let before = self.ledger.head(&range).or_else(|| self.ledger.owner(range.network, range.start))?;
        let author = self.config.identity;
        if before.owner != author || !before.range.covers(&range) || self.ledger.is_quarantined(&range) {
            return None;
        }
        self.author(
            RecordBody { range, owner, epoch: before.epoch.next(), author, previous: before.hash, home: None },
            now,
        )
    }

    /// Signs a record, puts it in force, durably, and tells everybody.
    fn author(&mut self, body: RecordBody, now: Instant) -> Option<Record> {
        let signature = sign(&self.config.signing_key, RECORD_VERSION, &body);
        let record = Record { body, signature };
        if self.ledger.apply(&record) != Outcome::Applied {
            return None;
        }
        self.note_applied(&record, now);
        self.send(To::AllPeers, &Message::Records(vec![record.clone()]));
        self.follow(&[record.body.range], Gain::Given, now);
        Some(record)
    }

    /// Takes slots that came home back into their blocks, once they have not moved for that long: so that a year of moves
    /// leaves no more ranges than there are slots away.
    pub(super) fn merge_homes(&mut self, calm: Duration, now: Instant) {
        if self.course.health != Health::Working {
            return;
        }
        let me = self.config.identity;
        let mine = self.ledger.heads().filter(|head| head.owner == me && self.ledger.is_block(&head.range));
        let blocks: Vec<_> = mine.collect();
        for block in blocks {
            let may_end = |slot: &Range| {
                let offered =
                    self.waiting.offers.keys().any(|(key, _)| (key.network, key.slot) == (slot.network, slot.start));
                !offered
                    && !self.ledger.is_quarantined(slot)
                    && !self.moves.is_recent(slot.network, slot.start, calm, now)
            };
            let Some((epoch, home)) = self.ledger.homecoming(&block, may_end) else { continue };
            let (range, previous) = (block.range, block.hash);
            if !self.ledger.is_quarantined(&range) {
                self.author(RecordBody { range, owner: me, epoch, author: me, previous, home: Some(home) }, now);
            }
        }
    }

    /// Follows a change of owners with this host's slots and leases.
    pub(super) fn follow(&mut self, ranges: &[Range], gain: Gain, now: Instant) {
        self.course.table_changed = true;
        for range in ranges {
            // Out of a pool nothing is given directly: its blocks are carved out first.
            if self.ledger.is_block(range) || range.length == 1 {
                for slot in range.start.0..range.end().0 {
                    self.follow_slot(range.network, Slot(slot), gain, now);
                }
            } else if gain == Gain::Inherited {
                self.rest_pool(range.network, now);
            }
        }
        self.resume_claims(now);
        self.serve_quests(now);
    }

    fn follow_slot(&mut self, network: NetworkId, slot: Slot, gain: Gain, now: Instant) {
        if !self.network(network).is_some_and(|known| known.is_assignable(slot)) {
            return;
        }
        let mine = self.is_mine(network, slot);
        let mut lease = self.leases.of_slot(network, slot).cloned();
        if let Some(cut_off) = lease.take_if(|lease| mine && self.stays_cut_off(lease, gain)) {
            // The slot went to somebody else and has come for somebody else: its container stays without.
            self.forget_lease(&cut_off.key());
        }
        match (mine, lease) {
            (true, Some(lease)) => self.regain(lease, now),
            (true, None) => {
                let space = self.space_of(network);
                let tracked = space.is_free(slot) || space.is_resting(slot);
                match gain {
                    Gain::Given => space.add(slot),
                    Gain::Moved => {
                        space.add(slot);
                        self.settle_in(network, slot, now);
                    }
                    Gain::Inherited if !tracked => {
                        self.rest_slot(network, slot, now);
                        self.space_of(network).note_used_elsewhere(slot);
                    }
                    Gain::Inherited => {}
                }
            }
            (false, lease) => {
                self.space_of(network).forget(slot);
                if let Some(lease) = lease {
                    self.lose(lease, now);
                }
            }
        }
    }

    /// Whether a slot that is this host's again is not that of the fenced container that had it here.
    pub(super) fn stays_cut_off(&self, lease: &Lease, gain: Gain) -> bool {
        let is_there_still = || {
            let holding = self.ledger.owner(lease.attachment.network, lease.slot);
            holding.is_some_and(|holding| self.directory.was_at(&lease.key(), lease.slot, holding.epoch))
        };
        lease.state == LeaseState::Fenced
            && match gain {
                Gain::Given => false,
                Gain::Moved => true,
                // Others may have had it since, and their last host is not asked any more: its word counts.
                Gain::Inherited => !is_there_still(),
            }
    }

    /// A lease whose slot is this host's.
    fn regain(&mut self, lease: Lease, now: Instant) {
        let Some(holding) = self.ledger.owner(lease.attachment.network, lease.slot) else { return };
        let fenced = lease.state == LeaseState::Fenced;
        if !fenced && lease.epoch == holding.epoch || self.course.health == Health::Revoked {
            return;
        }
        let state = if fenced { LeaseState::Active } else { lease.state };
        let since = if fenced { now } else { lease.since };
        let lease = Lease { epoch: holding.epoch, state, since, ..lease };
        self.keep_lease(lease.clone());
        if fenced {
            self.outbox.event(Event::Unfenced { lease });
        }
    }

    /// A lease whose slot is somebody else's.
    fn lose(&mut self, lease: Lease, now: Instant) {
        let network = lease.attachment.network;
        if self.ledger.is_quarantined(&Range { network, start: lease.slot, length: 1 }) {
            return;
        }
        match lease.state {
            LeaseState::Active => self.fence(lease, now),
            LeaseState::Held { .. } => {
                self.forget_lease(&lease.key());
            }
            LeaseState::Fenced => {}
        }
    }

    pub(super) fn fence(&mut self, lease: Lease, now: Instant) {
        let lease = Lease { state: LeaseState::Fenced, since: now, ..lease };
        self.outbox.write(Write::lease(&lease));
        self.leases.insert(lease.clone());
        self.outbox.event(Event::Fenced { lease });
    }

    /// Whether a slot is this host's to give: its own, and nobody has given it away twice.
    pub(super) fn is_mine(&self, network: NetworkId, slot: Slot) -> bool {
        let range = Range { network, start: slot, length: 1 };
        let owner = self.ledger.owner(network, slot).map(|holding| holding.owner);
        owner == Some(self.config.identity) && !self.ledger.is_quarantined(&range)
    }

    pub(super) fn space_of(&mut self, network: NetworkId) -> &mut Space {
        self.spaces.entry(network).or_default()
    }
}

/// What became of a record from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    InForce,
    Parked,
    Nothing,
}
