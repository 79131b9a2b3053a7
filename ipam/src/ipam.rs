//! One router's part of the ledger.
//!
//! Owns the ledger, the leases and whatever waits, and drains them in one order: what is decided is written, and what rests
//! on it is seen only then. Knows nothing of how bytes travel or where the store is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use wire::message::{EntryBody, LogHead, Message};
use wire::{Identity, Network, NetworkId, PeerName, Range, Slot};

use crate::config::Config;
use crate::dice::Dice;
use crate::digest::Digest;
use crate::directory::Directory;
use crate::event::{Event, Release};
use crate::history::{History, Moved};
use crate::lease::{Attachment, ClaimError, Lease, LeaseState, Leases, PeerLabel, RequestId};
use crate::ledger::{Ledger, Parking};
use crate::members::Members;
use crate::moving::Moves;
use crate::names::Question;
use crate::outbox::{Outbox, To};
use crate::parts::{Parts, split};
use crate::revoke::Revocations;
use crate::space::Space;
use crate::store::Write;

mod census;
mod claims;
mod commits;
mod counting;
mod forgetting;
mod gifts;
mod gossip;
mod macs;
mod naming;
mod orphans;
mod ownership;
mod releases;
mod remembering;
mod reserving;
mod restore;
mod returning;
mod revocations;
mod rollback;
mod room;
mod transfers;
mod waiting;

use forgetting::Forgetting;
use gifts::Denial;
use reserving::Invitation;
use waiting::{Expected, Naming, Pending, Purpose, Quest, Sent, Stage, Waiting};

pub use restore::{RestoreError, SnapshotError, adopt_snapshot, found};

/// The ledger, the leases and the moves of one router.
#[derive(Debug, Clone)]
pub struct Ipam {
    config: Arc<Config>,
    ledger: Ledger,
    parking: Parking,
    members: Members,
    directory: Directory,
    revocations: Revocations,
    leases: Leases,
    spaces: BTreeMap<NetworkId, Space>,
    moves: Moves,
    history: History,
    waiting: Waiting,
    outbox: Outbox,
    parts: Parts,
    /// How far the others' logs had come, by their own word.
    heads: BTreeMap<Identity, LogHead>,
    forgetting: Forgetting,
    /// Numbers of this router's lines that others' had overtaken a round ago.
    overtaken: BTreeSet<u64>,
    course: Course,
}

/// How this router fares.
#[derive(Debug, Clone)]
struct Course {
    health: Health,
    started: Instant,
    gossip_at: Instant,
    /// Turns of the comparison since the last round.
    turns: u32,
    /// Whether a lie was told of since then.
    lies_told: bool,
    dice: Dice,
    /// What was compared last.
    digest: Digest,
    /// Numbers messages that travel in parts.
    parted: u64,
    /// Numbers freed slots, so that their order survives a restart.
    freed: u64,
    /// What the clock on the wall said at some moment, for people.
    wall: Option<(Instant, Duration)>,
    table_changed: bool,
    /// What was said last of how far the log has come: everybody who connects is told the same.
    said: Option<LogHead>,
}

/// Whether addresses are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// They are.
    Working,
    /// The store cannot be written: leases run on, none is given (invariant I10).
    ReadOnly,
    /// The store is older than what other routers have of this one: it was restored from a copy, and what it promised since
    /// is forgotten here. None is given (invariant I3).
    RolledBack,
    /// Members revoked this router.
    Revoked,
}

/// Why [`Ipam::handle_timeout`] wants to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wakeup {
    /// A claim, a revocation or a search has waited long enough.
    Answer,
    /// A held address is given up.
    Hold,
    /// A freed slot has rested.
    Rest,
    /// The ledger is compared with others'.
    Gossip,
    /// A spare block is looked for again.
    Spare,
}

/// A range and its owner. Ranges nest; the longest prefix wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owned {
    /// The slots.
    pub range: Range,
    /// Whose they are.
    pub owner: Identity,
    /// Since which epoch.
    pub epoch: wire::Epoch,
}

/// How many slots this router has, and what they do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Owned, whatever they do; the pool that is not yet carved into blocks included.
    pub owned: u64,
    /// Given to containers.
    pub allocated: u64,
    /// Waiting for their workload.
    pub held: u64,
    /// Resting after use.
    pub resting: u64,
    /// Ready to be given out without asking anybody.
    pub free: u64,
}

/// A handful: an answer that sends a claim on is rare, two in a row mean that a slot moved meanwhile.
const DETOURS_MAX: u8 = 4;
/// After a restart a client repeats the claim whose answer it lost, and not much later than its own patience of 10 s.
const RETRY_WINDOW: Duration = Duration::from_secs(30);

impl Ipam {
    /// Notes an identity that the mesh admitted, now or ever, and its name. May be repeated.
    pub fn admit(&mut self, identity: Identity, name: Option<PeerName>, now: Instant) {
        if self.members.is_revoked(&identity) && !self.members.is_admitted(&identity) {
            // It was put out before it was heard of here.
            self.outbox.event(Event::Revoked { identities: vec![identity] });
        }
        if self.members.admit(identity, name) && self.course.health != Health::ReadOnly {
            let (name, number) = (self.members.label(identity).name, self.members.number(&identity).unwrap_or(0));
            self.outbox.write(Write::member(identity, number, name.as_ref()));
        }
        let parked = self.parking.take_all();
        self.learn(parked, None, now);
        self.go_on_with_revocations(None, now);
    }

    /// A peer is connected: differences are looked for at once.
    pub fn handle_peer_up(&mut self, identity: Identity, now: Instant) {
        if self.members.is_revoked(&identity) {
            self.revocations.told.remove(&identity);
            self.tell_revoked(identity);
            return;
        }
        self.members.connect(identity);
        self.send_summary(identity);
        self.send_log_head(identity);
        self.send_room(identity);
        self.ask_once_more(identity, now);
        self.resume_claims(now);
    }

    /// A peer is not connected any more. Nothing changes owner over it (invariant I5), and who waits for it waits on.
    pub fn handle_peer_down(&mut self, identity: Identity, now: Instant) {
        self.members.disconnect(&identity);
        self.parts.forget(&identity);
        self.waiting.rooms.forget_peer(&identity);
        self.ask_others(identity, now);
        self.quest_lost(identity, now);
        self.answer_late(now);
    }

    /// Takes a message that a connected peer sent.
    pub fn handle_message(&mut self, from: Identity, bytes: &[u8], now: Instant) {
        let Ok(message) = Message::parse(bytes) else { return };
        if self.members.is_revoked(&from) {
            self.tell_revoked(from);
            return;
        }
        self.react(from, message, now);
        self.announce_table();
    }

    /// The batch from [`Ipam::poll_store`] is durable.
    pub fn handle_stored(&mut self, _now: Instant) {
        self.outbox.handle_stored();
        self.send_snapshots();
    }

    /// The batch from [`Ipam::poll_store`] could not be written: what is not durable never happened, and nothing is given any
    /// more. Leases that run go on.
    pub fn handle_store_failed(&mut self, now: Instant) {
        let unheard = self.outbox.abandon();
        self.rewind(now);
        for event in unheard {
            match event {
                Event::Claimed { request, .. } => {
                    self.outbox.event(Event::Claimed { request, result: Err(ClaimError::ReadOnly) });
                }
                Event::Released { request, .. } => {
                    self.outbox.event(Event::Released { request, outcome: Release::ReadOnly });
                }
                Event::RevokeDone { request, .. } => {
                    self.outbox.event(Event::RevokeDone { request, result: Err(crate::RevokeError::ReadOnly) });
                }
                Event::Invited { request, .. } => {
                    let outcome = reserving::refused(&ClaimError::ReadOnly.to_string());
                    self.outbox.event(Event::Invited { request, outcome });
                }
                Event::JoinGranted { .. }
                | Event::Refused { .. }
                | Event::MembersNamed { .. }
                | Event::RevocationAsked { .. }
                | Event::Revoked { .. }
                | Event::RevokedHere
                | Event::TableChanged
                | Event::Fenced { .. }
                | Event::Unfenced { .. }
                | Event::Alarm(_) => {}
            }
        }
        self.outbox.event(Event::TableChanged);
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.wake_slots(now);
        self.end_holds(now);
        self.time_out_names(now);
        self.time_out_invitations(now);
        self.time_out_claims(now);
        self.time_out_quests(now);
        self.time_out_asks(now);
        self.waiting.offers.retain(|_, (_, until)| *until > now);
        self.moves.forget_calm(now);
        if self.course.gossip_at <= now {
            self.gossip(now);
        }
        self.look_for_spare(now);
        self.announce_table();
    }

    /// Returns when, and why, [`Ipam::handle_timeout`] wants to run next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<(Instant, Wakeup)> {
        let claims = self.waiting.claims.values().map(|pending| pending.deadline);
        let quests = self.waiting.quests.values().filter_map(|quest| Some(quest.waiting?.1));
        let asks = self.revocations.requests.iter().map(|request| request.until);
        let claims = claims.chain(self.waiting.claims.values().filter_map(|pending| pending.naming.until()));
        let claims = claims.chain(self.waiting.invitations.values().map(|sent| sent.until));
        let answers = claims.chain(quests).chain(asks).map(|at| (at, Wakeup::Answer));
        let holds = self.leases.iter().filter_map(|lease| match lease.state {
            // What cannot be written is not given up.
            LeaseState::Held { .. } if self.outbox.is_closed() => None,
            LeaseState::Held { until } => Some((until?, Wakeup::Hold)),
            LeaseState::Active | LeaseState::Fenced => None,
        });
        let rests = self.spaces.values().filter_map(|space| Some((space.poll_timeout()?, Wakeup::Rest)));
        let spares = self.waiting.spare_after.values().map(|at| (*at, Wakeup::Spare));
        let gossip = std::iter::once((self.course.gossip_at, Wakeup::Gossip));
        answers.chain(holds).chain(rests).chain(spares).chain(gossip).min()
    }

    /// Hands out the next batch for the store. Then comes [`Ipam::handle_stored`] or [`Ipam::handle_store_failed`].
    pub fn poll_store(&mut self) -> Option<Vec<Write>> {
        self.outbox.poll_batch()
    }

    /// Hands out the next message.
    pub fn poll_transmit(&mut self) -> Option<(To, Vec<u8>)> {
        self.outbox.poll_transmit()
    }

    /// Hands out the next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.outbox.poll_event()?;
        if let Event::Claimed { request, .. } = &event {
            self.waiting.unanswered.remove(request);
        }
        Some(event)
    }

    /// Every range with its owner: what forwarding follows.
    #[must_use]
    pub fn table(&self) -> Vec<Owned> {
        let heads = self.ledger.heads();
        heads.map(|head| Owned { range: head.range, owner: head.owner, epoch: head.epoch }).collect()
    }

    /// This host's leases.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.iter()
    }

    /// The lease an attachment has right now.
    #[must_use]
    pub fn lease_of(&self, attachment: &Attachment) -> Option<&Lease> {
        self.leases.of_attachment(attachment)
    }

    /// The sticky workloads of every host, as their holders say.
    pub fn directory(&self) -> impl Iterator<Item = &EntryBody> {
        self.directory.in_force(&self.ledger)
    }

    /// The moves that this router has heard of, from the oldest to the newest.
    pub fn history(&self) -> impl Iterator<Item = &Moved> {
        self.history.iter()
    }

    /// Notes what the clock on the wall says, since the beginning of 1970: only what people read depends on it.
    pub fn handle_wall_clock(&mut self, wall: Duration, now: Instant) {
        self.course.wall = Some((now, wall));
    }

    /// Whether an address is frozen: it moved too often, or its records contradict each other.
    #[must_use]
    pub fn is_frozen(&self, network: NetworkId, slot: Slot, now: Instant) -> bool {
        let range = Range { network, start: slot, length: 1 };
        self.moves.is_frozen(network, slot, now) || self.ledger.is_quarantined(&range)
    }

    /// Who owns a slot.
    #[must_use]
    pub fn owner(&self, network: NetworkId, slot: Slot) -> Option<Identity> {
        self.ledger.owner(network, slot).map(|holding| holding.owner)
    }

    /// How many slots this router has, in all networks.
    #[must_use]
    pub fn space(&self) -> Counts {
        let me = self.config.identity;
        let mut counts = Counts::default();
        for head in self.ledger.heads().filter(|head| head.owner == me) {
            counts.owned += self.uncarved_slots(&head.range);
        }
        for lease in self.leases.iter() {
            match lease.state {
                LeaseState::Active | LeaseState::Fenced => counts.allocated += 1,
                LeaseState::Held { .. } => counts.held += 1,
            }
        }
        for space in self.spaces.values() {
            counts.free += u64::try_from(space.free()).unwrap_or(u64::MAX);
            counts.resting += u64::try_from(space.resting()).unwrap_or(u64::MAX);
        }
        counts
    }

    /// Whether addresses are given.
    #[must_use]
    pub fn health(&self) -> Health {
        self.course.health
    }

    /// Everybody ever admitted, with the name if known, and whether it is revoked.
    pub fn members(&self) -> impl Iterator<Item = (Identity, Option<&PeerName>, bool)> {
        self.members.all().map(|(identity, name)| (identity, name, self.members.is_revoked(&identity)))
    }

    /// Whom this router has promised to refuse, revoked ones included, and those of whom the mesh has not told it. Some twice.
    pub fn refused(&self) -> impl Iterator<Item = Identity> {
        self.members.refused()
    }

    /// How people call a router.
    #[must_use]
    pub fn label(&self, identity: Identity) -> PeerLabel {
        self.members.label(identity)
    }

    /// The network of this number.
    #[must_use]
    pub fn network(&self, network: NetworkId) -> Option<&Network> {
        self.config.genesis.networks.iter().find(|known| known.id == network)
    }

    /// Ranges directly inside this one: of the pool its blocks, of a block its slots.
    fn inner_ranges(&self, range: &Range) -> impl Iterator<Item = Range> {
        let is_block = self.ledger.is_block(range);
        let carved = self.ledger.carved(range).map(|head| head.range);
        carved.filter(move |inner| is_block || self.ledger.is_block(inner))
    }

    /// How many slots of a range are its owner's: what is carved out of it has owners of its own.
    fn uncarved_slots(&self, range: &Range) -> u64 {
        let carved: u64 = self.inner_ranges(range).map(|inner| u64::from(inner.length)).sum();
        u64::from(range.length).saturating_sub(carved)
    }

    fn send(&mut self, to: To, message: &Message) {
        for bytes in split(message.emit(), &mut self.course.parted) {
            self.outbox.transmit(to, bytes);
        }
    }

    fn answer(&mut self, requests: &[RequestId], result: &Result<Lease, ClaimError>) {
        for request in requests {
            self.outbox.event(Event::Claimed { request: *request, result: result.clone() });
        }
    }

    /// Says that the table changed, once for everything that one call changed.
    fn announce_table(&mut self) {
        if std::mem::take(&mut self.course.table_changed) | self.directory.take_macs_changed() {
            self.outbox.event(Event::TableChanged);
        }
    }

    fn react(&mut self, from: Identity, message: Message, now: Instant) {
        match message {
            Message::Records(records) => self.learn(records, Some(from), now),
            Message::Entries(entries) => self.learn_entries(&entries, now),
            Message::Digest(buckets) => self.handle_digest(from, &buckets),
            Message::Compare(buckets) => self.handle_compare(from, &buckets),
            Message::Want(hashes) => self.send_items(from, &hashes),
            Message::WantRange(range) => self.send_history(from, &range),
            Message::SpaceRequest(request) => self.handle_space_request(from, &request, now),
            Message::SpaceGrant { network, records } => self.handle_space_grant(from, network, records, now),
            Message::SpaceDeny { network, hint, resting } => {
                self.handle_space_deny(from, network, Denial { hint, resting }, now);
            }
            Message::MovePrepare(prepare) => self.handle_prepare(from, prepare, now),
            Message::MoveOffer { key, lease } => self.handle_offer(from, key, lease),
            Message::MoveReady { key } => self.handle_ready(from, key, now),
            Message::MoveCommit { key, records, lease } => self.handle_move_commit(from, key, records, lease, now),
            Message::MoveAbort { key } => {
                self.waiting.offers.remove(&(key, from));
            }
            Message::MoveRefused { key, reason } => self.handle_refused(from, key, reason, now),
            Message::NameAsk { name, attempt, number } => {
                self.handle_name_ask(name, Question { claimant: from, attempt, number }, now);
            }
            Message::NameAnswer { name, attempt, verdict } => {
                self.handle_name_answer(from, &name, attempt, verdict, now);
            }
            Message::NameDrop { name, attempt } => self.waiting.pledges.take_back(&name.into(), from, attempt),
            Message::MoveInvite { name, to, attempt, handover } => {
                self.handle_invitation(Invitation { by: from, attempt, to, handover }, name.into(), now);
            }
            Message::MoveCancel { name } => drop(self.waiting.expected.remove(&name.into())),
            Message::MoveInvited { attempt, outcome, .. } => self.end_invitation(from, attempt, outcome),
            Message::RevokeAsk { ask, records, commits } => self.handle_ask(from, ask, records, commits, now),
            Message::RevokePromise { promise, records } => self.handle_promise(from, promise, &records, now),
            Message::RevokeCommit { commit, records } => self.hear_commit(from, commit, &records, now),
            Message::LogHead(head) => self.handle_log_head(from, &head),
            Message::Room(room) => self.handle_room(from, &room),
            Message::Census(census) => self.learn_census(&census, now),
            Message::Part(part) => {
                if let Some(whole) = self.parts.take(from, part) {
                    self.react(from, whole, now);
                }
            }
        }
    }
}

#[cfg(test)]
mod fingerprint;
#[cfg(test)]
mod tests;
