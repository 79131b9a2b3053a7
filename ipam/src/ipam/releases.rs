//! Releases: what becomes of a slot when its container goes.
//!
//! Decides between holding it for its workload and letting it rest, and says so in the directory.

use std::time::Instant;

use wire::message::{Came, ENTRY_VERSION, Entry, EntryBody, EntryState, Message};
use wire::{NetworkId, Slot};

use super::{Ipam, Stage};
use crate::config::Hold;
use crate::event::{Alarm, Event, Release};
use crate::lease::{Attachment, ClaimError, Lease, LeaseKey, LeaseState, RequestId, Stickiness};
use crate::outbox::To;
use crate::seal::sign;
use crate::store::Write;

impl Ipam {
    /// The container is gone. An attachment that has no lease, because it is unknown or because its workload has long been
    /// somewhere else, frees nothing. [`Event::Released`] answers.
    pub fn release(&mut self, request: RequestId, attachment: &Attachment, now: Instant) {
        self.withdraw_claim(attachment);
        let lease = self.leases.of_attachment(attachment).cloned();
        let outcome = self.judge_release(lease.is_some());
        if let Some(lease) = lease.filter(|_| outcome == Release::Done) {
            self.let_go(lease, now);
        }
        self.outbox.event(Event::Released { request, outcome });
        self.announce_table();
    }

    /// Gives up the address that waits for a workload. One that a container still has stays. [`Event::Released`] answers.
    pub fn release_workload(&mut self, request: RequestId, network: NetworkId, workload: &str, now: Instant) {
        let is_it = |lease: &&Lease| {
            lease.attachment.network == network
                && lease.workload == workload
                && matches!(lease.state, LeaseState::Held { .. })
        };
        let keys: Vec<_> = self.leases.iter().filter(is_it).map(Lease::key).collect();
        let outcome = self.judge_release(!keys.is_empty());
        for key in keys.iter().filter(|_| outcome == Release::Done) {
            self.end_lease(key, now);
        }
        self.outbox.event(Event::Released { request, outcome });
    }

    /// What failed to be written may be on the disk all the same: then even what is not known may have to be released.
    fn judge_release(&self, known: bool) -> Release {
        match known {
            _ if self.outbox.is_closed() => Release::ReadOnly,
            true => Release::Done,
            false => Release::Unknown,
        }
    }

    fn withdraw_claim(&mut self, attachment: &Attachment) {
        let Some(pending) = self.waiting.claims.remove(attachment) else { return };
        if let Stage::Moving { key, holder, .. } = &pending.stage {
            self.send(To::Peer(*holder), &Message::MoveAbort { key: *key });
        }
        self.fail(&pending, ClaimError::Withdrawn);
    }

    /// Holds the address for its workload, or frees it.
    fn let_go(&mut self, lease: Lease, now: Instant) {
        let waits = lease.stickiness == Stickiness::Sticky && lease.hold != Hold::For(std::time::Duration::ZERO);
        // The address of a workload whose name is another host's waits for nobody.
        if waits && !self.has_lost_name(&lease.key()) && self.is_mine(lease.attachment.network, lease.slot) {
            let state = LeaseState::held(lease.hold, now);
            self.keep_lease(Lease { state, since: now, ..lease });
        } else {
            self.end_lease(&lease.key(), now);
        }
    }

    /// Gives up the addresses whose workloads did not come back.
    pub(super) fn end_holds(&mut self, now: Instant) {
        if self.outbox.is_closed() {
            return;
        }
        let is_over = |lease: &&Lease| matches!(lease.state, LeaseState::Held { until: Some(until) } if until <= now);
        let keys: Vec<_> = self.leases.iter().filter(is_over).map(Lease::key).collect();
        for key in keys {
            self.end_lease(&key, now);
        }
    }

    /// Writes a lease down, and tells everybody if others have to find it.
    pub(super) fn keep_lease(&mut self, lease: Lease) {
        self.keep_lease_that_came(lease, None);
    }

    /// The same for one whose slot has just moved here.
    pub(super) fn keep_lease_that_came(&mut self, lease: Lease, came: Option<Came>) {
        self.outbox.write(Write::lease(&lease));
        let state = match lease.state {
            LeaseState::Active | LeaseState::Fenced => EntryState::Active,
            LeaseState::Held { .. } => EntryState::Held,
        };
        self.publish(&lease, state, came);
        self.leases.insert(lease);
    }

    /// Ends a lease. Its slot rests, if it is this host's.
    pub(super) fn end_lease(&mut self, key: &LeaseKey, now: Instant) {
        let Some(lease) = self.forget_lease(key) else { return };
        // Also where its slot is in quarantine: the name must not stay where the workload has stopped.
        self.publish(&lease, EntryState::Ended, None);
        if self.is_mine(key.network, lease.slot) {
            self.rest_slot(key.network, lease.slot, now);
        }
    }

    /// Takes a lease out without a word about its slot.
    pub(super) fn forget_lease(&mut self, key: &LeaseKey) -> Option<Lease> {
        let lease = self.leases.remove(key)?;
        self.waiting.restored.remove(key);
        self.waiting.orphans.remove(key);
        self.waiting.split.remove(key);
        self.outbox.write(Write::lease_gone(key));
        Some(lease)
    }

    /// Keeps a slot back for the time of its rest, durably.
    pub(super) fn rest_slot(&mut self, network: NetworkId, slot: Slot, now: Instant) {
        if self.config.rest.is_zero() {
            self.space_of(network).add(slot);
            return;
        }
        self.course.freed = self.course.freed.saturating_add(1);
        self.outbox.write(Write::resting(network, slot, self.course.freed));
        let until = now + self.config.rest;
        self.space_of(network).rest(slot, until);
    }

    /// Keeps a pool back that somebody had who may have used more of it than was heard here.
    pub(super) fn rest_pool(&mut self, network: NetworkId, now: Instant) {
        if !self.config.rest.is_zero() {
            let until = now + self.config.rest;
            self.space_of(network).rest_pool(until);
        }
    }

    /// Whether a slot was used a moment ago, or may have been by whoever had the pool.
    pub(super) fn is_resting(&self, network: NetworkId, slot: Slot) -> bool {
        let is_carved = || self.ledger.head(&self.ledger.block_of(network, slot)).is_some();
        let space = self.spaces.get(&network);
        space.is_some_and(|space| space.is_resting(slot) || space.is_pool_resting() && !is_carved())
    }

    /// Puts slots that have rested at the back of the queue.
    pub(super) fn wake_slots(&mut self, now: Instant) {
        let mut woken = Vec::new();
        for (network, space) in &mut self.spaces {
            woken.extend(space.wake(now).into_iter().map(|slot| (*network, slot)));
        }
        if woken.is_empty() {
            return;
        }
        for (network, slot) in woken {
            self.outbox.write(Write::rested(network, slot));
        }
        self.resume_claims(now);
    }

    /// Says in the directory what became of a sticky workload.
    fn publish(&mut self, lease: &Lease, state: EntryState, came: Option<Came>) {
        // A line that is not on the disk would convict this router of having forgotten it.
        if self.outbox.is_closed() {
            return;
        }
        let key = lease.key();
        let Some(holding) = self.ledger.owner(key.network, lease.slot) else { return };
        if lease.stickiness == Stickiness::Ephemeral || holding.owner != self.config.identity {
            return;
        }
        let ended = state == EntryState::Ended;
        if !ended && self.waiting.split.contains(&key) {
            return;
        }
        let me = self.config.identity;
        let body = EntryBody {
            network: key.network,
            slot: lease.slot,
            epoch: holding.epoch,
            version: match ended && self.has_lost_name(&key) {
                true => self.directory.next_version_of(&key, me),
                false => self.next_version(&key),
            },
            number: self.directory.next_number(me),
            author: me,
            state,
            container_id: lease.attachment.container_id.clone(),
            mac: lease.mac,
            hold_s: lease.hold.seconds(),
            came: came.or_else(|| self.directory.came(&key, me, (lease.slot, holding.epoch))),
            workload: key.workload,
            ifname: key.ifname,
        };
        let signature = sign(&self.config.signing_key, ENTRY_VERSION, &body);
        let entry = Entry { body, signature };
        self.waiting.pledges.fulfil(&lease.key(), me, entry.body.number);
        if self.merge_line(&entry, lease.since) {
            self.outbox.write(Write::entry(&entry));
            self.send(To::AllPeers, &Message::Entries(vec![entry]));
        } else {
            // It is newer than any other of its name, so there is no room for another name.
            self.alarm(Alarm::DirectoryFull);
        }
    }
}
