//! Addresses that are kept for a workload's next start: because it is to have one, or because it is to move here.
//!
//! Decides nothing that a claim does not: a reservation is a claim that ends in a hold. Knows nothing of containers.
//!
//! ```text
//!   asked router                     invited router                        holder
//!     ── MoveInvite (to everybody) ──▶  a claim for the workload ───────────▶  a move, as for a start
//!     ◀─ MoveInvited(Here) ───────────  held here for its next start
//!     ◀─ MoveInvited(Waits) ──────────  it still runs: the claim is repeated when the holder says that it has stopped
//! ```

use std::time::{Duration, Instant};

use wire::Identity;
use wire::message::{EntryState, Handover, Invited, Message, TEXT_BYTES_MAX};

use super::{Expected, Health, Ipam, Naming, Pending, Purpose, Sent, Stage};
use crate::event::Event;
use crate::lease::{Attachment, Claim, ClaimError, Lease, LeaseKey, LeaseState, Place, RequestId, Reservation};
use crate::outbox::To;

/// As long as an address is held at least by default: whoever moves a workload stops it within that time, or asks again.
const EXPECT: Duration = Duration::from_secs(600);
/// Claims that wait at once because others invited this host: operators type fewer.
const INVITED_MAX: usize = 256;
/// Moves remembered at once: each is one that an operator typed.
const EXPECTED_MAX: usize = 4096;

/// Who asks whom to take a workload's address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Invitation {
    pub(super) by: Identity,
    pub(super) attempt: u64,
    pub(super) to: Identity,
    pub(super) handover: Handover,
}

impl Pending {
    pub(super) fn new(claim: Claim, purpose: Purpose, deadline: Instant) -> Self {
        let (stage, naming) = (Stage::Fresh, Naming::Unasked);
        Self { claim, requests: Vec::new(), deadline, stage, naming, purpose, detours: 0 }
    }

    /// Whether it is because somebody invited this host.
    fn is_invited(&self) -> bool {
        matches!(self.purpose, Purpose::Invited { .. })
    }
}

impl Ipam {
    /// Keeps an address for a workload, before its first start or for its next one here. [`Event::Claimed`] answers.
    pub fn reserve(&mut self, request: RequestId, reservation: Reservation, now: Instant) {
        let Reservation { key, address, hold } = reservation;
        let has_it = |lease: &&Lease| {
            let fits = address.is_none_or(|address| address == self.address(key.network, lease.slot));
            lease.state == LeaseState::Active && fits
        };
        let works = self.course.health == Health::Working;
        if let Some(lease) = self.leases.of_key(&key).filter(|lease| works && has_it(lease)).cloned() {
            // It runs and has it: only how long it is kept afterwards can change.
            let lease = Lease { hold, ..lease };
            self.keep_lease(lease.clone());
            return self.answer(&[request], &Ok(lease));
        }
        let mut pending = self.keeping(key, Purpose::Keep, Handover::WhenStopped, now);
        pending.claim = Claim { address, hold: Some(hold), ..pending.claim };
        pending.requests.push(request);
        self.begin_keeping(pending, now);
        self.announce_table();
    }

    /// Asks a router to take a workload's address for its next start there. [`Event::Invited`] answers.
    pub fn invite(&mut self, request: RequestId, to: Identity, key: LeaseKey, handover: Handover, now: Instant) {
        let attempt = self.next_attempt();
        let invitation = Message::MoveInvite { name: key.clone().into(), to, attempt, handover };
        let sent = Sent { request, invitation: invitation.clone(), until: now + self.config.answer };
        self.waiting.invitations.insert((to, attempt), sent);
        let me = self.config.identity;
        if to != me && !self.members.is_connected(&to) {
            return self.end_invitation(to, attempt, refused("it is not connected"));
        }
        self.send(To::AllPeers, &invitation);
        self.handle_invitation(Invitation { by: me, attempt, to, handover }, key, now);
        self.announce_table();
    }

    /// A workload that was to start elsewhere next is not to any more. Returns whether it was.
    pub fn cancel_move(&mut self, key: LeaseKey) -> bool {
        let known = self.waiting.expected.remove(&key).is_some();
        self.send(To::AllPeers, &Message::MoveCancel { name: key.into() });
        known
    }

    /// Where a workload is to start next, if somebody said so.
    #[must_use]
    pub fn moving_to(&self, key: &LeaseKey, now: Instant) -> Option<Identity> {
        self.waiting.expected.get(key).filter(|expected| expected.until > now).map(|expected| expected.to)
    }

    /// Everybody remembers where the workload goes; whoever is invited takes its address, or waits until it can be had.
    pub(super) fn handle_invitation(&mut self, invitation: Invitation, key: LeaseKey, now: Instant) {
        let Invitation { by, attempt, to, handover } = invitation;
        if !self.members.is_admitted(&by) || self.members.is_refused(&by) {
            return;
        }
        // The newest word counts.
        self.waiting.expected.remove(&key);
        let seen = self.directory.last_seen(&key, &self.ledger).map(|(_, holding)| holding.owner);
        if seen.is_some_and(|owner| owner != to) {
            self.waiting.expected.retain(|_, expected| expected.until > now);
            if self.waiting.expected.len() < EXPECTED_MAX {
                self.waiting.expected.insert(key.clone(), Expected { to, until: now + EXPECT });
            }
        }
        if to != self.config.identity {
            return;
        }
        let purpose = Purpose::Invited { by, attempt };
        if self.waiting.claims.values().any(|pending| pending.purpose == purpose) {
            // The same word, by another way.
            return;
        }
        let pending = self.keeping(key.clone(), purpose, handover, now);
        if self.leases.of_key(&key).is_some_and(|lease| lease.state != LeaseState::Fenced) {
            self.tell_inviter(&pending, Invited::Here);
        } else if seen.is_none() {
            self.tell_inviter(&pending, Invited::Unknown);
        } else {
            self.end_earlier_invitations(&key);
            if self.waiting.claims.values().filter(|pending| pending.is_invited()).count() < INVITED_MAX {
                self.begin_keeping(pending, now);
            } else {
                self.tell_inviter(&pending, refused("it is asked for too many addresses at once"));
            }
        }
    }

    /// The newest invitation for a workload counts; who sent one before is told.
    fn end_earlier_invitations(&mut self, key: &LeaseKey) {
        let is_earlier = |pending: &Pending| pending.is_invited() && pending.claim.key() == *key;
        let earlier = self.waiting.claims.extract_if(.., |_, pending| is_earlier(pending));
        for (_, pending) in earlier.collect::<Vec<_>>() {
            self.tell_inviter(&pending, refused("it has been asked for this address once more since"));
        }
    }

    fn keeping(&mut self, key: LeaseKey, purpose: Purpose, handover: Handover, now: Instant) -> Pending {
        let LeaseKey { network, workload, ifname } = key;
        // Not a container's: several may wait at once, each for its own.
        let container_id = format!("reservation {}", self.next_attempt());
        let attachment = Attachment { network, container_id, ifname, owner: String::new() };
        let place = Place::default();
        let claim =
            Claim { attachment, workload: Some(workload), address: None, hold: None, mac: None, handover, place };
        let patience = match purpose {
            // Whoever invites waits as long as this, and is to hear why it came to nothing.
            Purpose::Invited { .. } => self.config.answer * 3 / 4,
            Purpose::Start | Purpose::Keep => self.config.answer,
        };
        Pending::new(claim, purpose, now + patience)
    }

    fn begin_keeping(&mut self, pending: Pending, now: Instant) {
        match self.check(&pending.claim) {
            Ok(()) => self.advance(pending, now),
            Err(error) => self.fail(&pending, error),
        }
    }

    /// Whether a container may wait until the workload has stopped elsewhere: it was said to start here next.
    pub(super) fn is_expected(&self, pending: &Pending) -> bool {
        let expected = self.waiting.expected.get(&pending.claim.key());
        pending.purpose == Purpose::Start && expected.is_some_and(|expected| expected.to == self.config.identity)
    }

    /// A line has come about a workload that is to start somewhere next.
    pub(super) fn meet_expected(&mut self, key: &LeaseKey, now: Instant) {
        let Some(expected) = self.waiting.expected.get(key).copied() else { return };
        let line = self.directory.current(key, &self.ledger).map(|line| (line.author, line.state));
        if expected.until <= now || line.is_some_and(|(author, _)| author == expected.to) {
            self.waiting.expected.remove(key);
            return;
        }
        if line.is_none_or(|(_, state)| state != EntryState::Held) || expected.to != self.config.identity {
            return;
        }
        let waits = |pending: &Pending| pending.claim.key() == *key;
        let found = self.waiting.claims.iter().find(|(_, pending)| waits(pending));
        match found.map(|(attachment, pending)| (attachment.clone(), matches!(pending.stage, Stage::Stopping { .. }))) {
            Some((attachment, true)) => {
                if let Some(pending) = self.waiting.claims.remove(&attachment) {
                    self.advance(Pending { stage: Stage::Fresh, ..pending }, now);
                }
            }
            Some((_, false)) => {}
            None => {
                let pending = self.keeping(key.clone(), Purpose::Keep, Handover::WhenStopped, now);
                self.begin_keeping(pending, now);
            }
        }
    }

    /// The same for all of them: a holder may have been out of reach when its line came.
    pub(super) fn meet_all_expected(&mut self, now: Instant) {
        let keys: Vec<_> = self.waiting.expected.keys().cloned().collect();
        for key in keys {
            self.meet_expected(&key, now);
        }
    }

    /// Says what became of an invitation.
    pub(super) fn tell_inviter(&mut self, pending: &Pending, outcome: Invited) {
        let Purpose::Invited { by, attempt } = pending.purpose else { return };
        if by == self.config.identity {
            return self.end_invitation(by, attempt, outcome);
        }
        let name = pending.claim.key().into();
        self.send(To::Peer(by), &Message::MoveInvited { name, attempt, outcome });
    }

    /// Says why an invitation came to nothing, or not yet to anything.
    pub(super) fn excuse(&mut self, pending: &Pending, error: &ClaimError) {
        if !pending.is_invited() {
            return;
        }
        if let ClaimError::HeldElsewhere { container_id, holder, .. } = error {
            let waits = Invited::Waits { holder: holder.identity, container_id: container_id.clone() };
            return self.tell_inviter(pending, waits);
        }
        let key = pending.claim.key();
        // Somebody may have said since that it is to go elsewhere.
        if self.waiting.expected.get(&key).is_none_or(|expected| expected.to == self.config.identity) {
            self.cancel_move(key);
        }
        self.tell_inviter(pending, refused(&error.to_string()));
    }

    /// The invited router has answered.
    pub(super) fn end_invitation(&mut self, from: Identity, attempt: u64, outcome: Invited) {
        if let Some(Sent { request, .. }) = self.waiting.invitations.remove(&(from, attempt)) {
            self.outbox.event(Event::Invited { request, outcome });
        }
    }

    pub(super) fn time_out_invitations(&mut self, now: Instant) {
        let over: Vec<_> = self.waiting.invitations.extract_if(.., |_, sent| sent.until <= now).collect();
        for (_, Sent { request, .. }) in over {
            self.outbox.event(Event::Invited { request, outcome: refused("it does not answer") });
        }
    }
}

pub(super) fn refused(reason: &str) -> Invited {
    let end = reason.char_indices().map(|(at, character)| at + character.len_utf8());
    let end = end.take_while(|end| *end <= TEXT_BYTES_MAX).last().unwrap_or(0);
    Invited::Refused { reason: reason.get(..end).unwrap_or_default().to_owned() }
}
