//! How a router's part of the ledger begins: founded, joined, or read back from its store.
//!
//! Decides what a store must say to be this router's. An identity is one with its disk (invariant I3): a store of another one,
//! or none at all, is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use wire::{ClusterId, DecodeError, GENESIS_VERSION, Identity, NetworkId, RECORD_VERSION, Record, decode, encode};

use super::forgetting::Forgetting;
use super::ownership::Gain;
use super::reserving::refused;
use super::waiting::Sent;
use super::{Course, Health, Ipam, Waiting};
use crate::config::Config;
use crate::dice::Dice;
use crate::digest::Digest;
use crate::directory::{Directory, is_census_authentic};
use crate::event::Event;
use crate::history::History;
use crate::lease::{LeaseState, Leases};
use crate::ledger::{Ledger, Outcome, Parking, hash_of_record, order_of};
use crate::members::Members;
use crate::moving::Moves;
use crate::outbox::Outbox;
use crate::parts::Parts;
use crate::revoke::{Request, Revocations, RevokeError, hash_of_commit, prove};
use crate::seal::{hash_of, is_signed_by};
use crate::store::{Contents, Table, Write};

/// Why a store is not this router's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The store is empty, but this router has an identity: its ledger is lost.
    #[error(
        "the store holds no ledger of {identity}; an identity that has lost its ledger must not be used again: join as a new one"
    )]
    Empty {
        /// The identity of the configuration.
        identity: Identity,
    },
    /// The store belongs to somebody else: it was copied.
    #[error("the store belongs to {stored}, not to {identity}; a copied store must not be used: join as a new router")]
    OtherIdentity {
        /// The identity of the configuration.
        identity: Identity,
        /// The identity in the store.
        stored: Identity,
    },
    /// A row cannot be read.
    #[error("a row of the table {} cannot be read", table.name())]
    Corrupt {
        /// The table.
        table: Table,
    },
    /// It holds less than was on the disk before.
    #[error("the store holds {stored} of the {held} batches that had been synced")]
    WentBack {
        /// Batches that it holds.
        stored: u64,
        /// Batches that it held.
        held: u64,
    },
    /// The key of the configuration is not its identity's.
    #[error("the signing key is not that of {identity}")]
    Key {
        /// The identity of the configuration.
        identity: Identity,
    },
}

/// Why a snapshot is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// The bytes are not a snapshot.
    #[error("not a snapshot")]
    Malformed(#[from] DecodeErrorKind),
    /// It was made for another router.
    #[error("the snapshot is for {identity}")]
    NotForUs {
        /// Whom it was made for.
        identity: Identity,
    },
    /// It is of another cluster.
    #[error("the snapshot is of another cluster, {cluster}")]
    OtherCluster {
        /// Its cluster.
        cluster: ClusterId,
    },
    /// A record in it is not signed by its author, or a row cannot be read.
    #[error("a row of the table {} is not authentic", table.name())]
    NotAuthentic {
        /// The table.
        table: Table,
    },
}

/// How a snapshot's bytes are wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeErrorKind(String);

impl From<DecodeError> for DecodeErrorKind {
    fn from(error: DecodeError) -> Self {
        Self(error.to_string())
    }
}

const SNAPSHOT_VERSION: u8 = 2;

/// What a joiner starts from.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    identity: Identity,
    cluster: ClusterId,
    rows: Vec<Write>,
}

/// Tables that say what the cluster knows, rather than what one host does.
const OF_THE_CLUSTER: [Table; 8] = [
    Table::Members,
    Table::Records,
    Table::Evidence,
    Table::Annals,
    Table::Commits,
    Table::Refused,
    Table::Directory,
    Table::Census,
];

/// The store of the router that founds a cluster: to be written once, before the first [`Ipam::new`].
#[must_use]
pub fn found(config: &Config) -> Vec<Write> {
    vec![Write::identity(config.identity), Write::member(config.identity, 0, None)]
}

/// The store of a router that joins, from what [`crate::Event::JoinGranted`] brought its sponsor: to be written once, before the
/// first [`Ipam::new`].
///
/// # Errors
/// [`SnapshotError`]; nothing of the snapshot is to be used then.
pub fn adopt_snapshot(config: &Config, bytes: &[u8], now: Instant) -> Result<Vec<Write>, SnapshotError> {
    let snapshot: Snapshot = decode(SNAPSHOT_VERSION, bytes).map_err(DecodeErrorKind::from)?;
    if snapshot.identity != config.identity {
        return Err(SnapshotError::NotForUs { identity: snapshot.identity });
    }
    if snapshot.cluster != cluster_of(config) {
        return Err(SnapshotError::OtherCluster { cluster: snapshot.cluster });
    }
    let rows: Vec<_> = snapshot.rows.into_iter().filter(|row| OF_THE_CLUSTER.contains(&row.table)).collect();
    let contents = Contents::read(&rows, now).map_err(|row| SnapshotError::NotAuthentic { table: row.table })?;
    let forged = |record: &&Record| {
        !is_signed_by(config.verify, record.body.author, RECORD_VERSION, &record.body, &record.signature)
    };
    if contents.records.iter().chain(&contents.evidence).chain(&contents.annals).find(forged).is_some() {
        return Err(SnapshotError::NotAuthentic { table: Table::Records });
    }
    if contents.entries.iter().any(|entry| !crate::directory::is_authentic(config.verify, entry)) {
        return Err(SnapshotError::NotAuthentic { table: Table::Directory });
    }
    if contents.censuses.iter().any(|census| !is_census_authentic(config.verify, census)) {
        return Err(SnapshotError::NotAuthentic { table: Table::Census });
    }
    if contents.commits.iter().any(|(_, commit, _)| prove(commit, config.rules).is_none()) {
        return Err(SnapshotError::NotAuthentic { table: Table::Commits });
    }
    Ok(found(config).into_iter().chain(rows).collect())
}

fn cluster_of(config: &Config) -> ClusterId {
    ClusterId(hash_of(GENESIS_VERSION, &config.genesis).0)
}

impl Ipam {
    /// Takes up where the store left off: `stored` is every row of it, in any order.
    ///
    /// # Errors
    /// [`RestoreError`]: the store is empty, somebody else's or damaged. Nothing is changed.
    pub fn new(config: Config, stored: &[Write], now: Instant) -> Result<Self, RestoreError> {
        let identity = config.identity;
        if Identity(config.signing_key.verifying_key().to_bytes()) != identity {
            return Err(RestoreError::Key { identity });
        }
        let contents = Contents::read(stored, now).map_err(|row| RestoreError::Corrupt { table: row.table })?;
        match contents.identity {
            None => return Err(RestoreError::Empty { identity }),
            Some(stored) if stored != identity => return Err(RestoreError::OtherIdentity { identity, stored }),
            Some(_) => {}
        }
        let mut ipam = Self::blank(config, stored, now);
        ipam.fill(contents, now);
        Ok(ipam)
    }

    fn blank(config: Config, stored: &[Write], now: Instant) -> Self {
        let gossip_at = Self::first_gossip(config.seed, config.gossip, now);
        Self {
            ledger: Ledger::new(&config.genesis),
            parking: Parking::default(),
            members: Members::default(),
            directory: Directory::default(),
            revocations: Revocations::default(),
            leases: Leases::default(),
            spaces: BTreeMap::new(),
            moves: Moves::default(),
            history: History::default(),
            waiting: Waiting::default(),
            outbox: Outbox::new(stored, config.seed),
            parts: Parts::default(),
            heads: BTreeMap::new(),
            forgetting: Forgetting::default(),
            overtaken: BTreeSet::new(),
            course: Course {
                health: Health::Working,
                started: now,
                gossip_at,
                turns: 0,
                lies_told: false,
                dice: Dice::new(config.seed),
                digest: Digest::default(),
                parted: 0,
                freed: 0,
                wall: None,
                table_changed: false,
                said: None,
            },
            config: Arc::new(config),
        }
    }

    fn fill(&mut self, contents: Contents, now: Instant) {
        for (member, number, name) in contents.members {
            self.members.restore(member, number, name);
        }
        if contents.rolled_back {
            self.course.health = self.course.health.max(Health::RolledBack);
        }
        for (victim, asker, known) in contents.refused {
            self.members.restore_refusal(victim, asker, known);
        }
        contents.annals.iter().for_each(|record| self.ledger.note_in_annals(record));
        let mut permitted = self.fill_ledger(contents.records, contents.commits);
        for record in &contents.evidence {
            self.ledger.restore_evidence(record);
        }
        permitted.retain(|hash| self.ledger.holds(hash));
        self.members.revoke(&BTreeSet::new(), &permitted);
        for census in contents.censuses {
            let _ = self.directory.take_census(census);
        }
        for entry in &contents.entries {
            let _ = self.directory.merge(entry);
        }
        for lease in contents.leases {
            self.waiting.restored.insert(lease.key());
            self.leases.insert(lease);
        }
        self.history = History::new(contents.moves);
        for (network, slot, order) in contents.resting {
            self.course.freed = self.course.freed.max(order);
            let until = now + self.config.rest;
            self.space_of(network).rest(slot, until);
        }
        self.fill_spaces(now);
    }

    /// Replays the ledger: every record has a higher epoch than what it extends, and so has every inheritance.
    fn fill_ledger(
        &mut self,
        mut records: Vec<Record>,
        commits: Vec<(u64, wire::message::Commit, Vec<wire::Hash>)>,
    ) -> BTreeSet<wire::Hash> {
        let mut permitted = BTreeSet::new();
        records.sort_by_cached_key(order_of);
        // What rests on a link that an heir had was not there before its revocation.
        let inherited = commits.iter().flat_map(|(_, _, inherited)| inherited.iter().copied());
        let stored: BTreeSet<_> = records.iter().map(hash_of_record).chain(inherited).collect();
        for (_, commit, _) in commits {
            self.put_back(&mut records, &stored);
            let Some(decision) = prove(&commit, self.config.rules) else { continue };
            self.ledger.inherit(&decision.victims, &decision.members);
            self.members.revoke(&decision.victims, &BTreeSet::new());
            permitted.extend(decision.records);
            self.revocations.commits.insert(hash_of_commit(&commit), commit);
            if decision.victims.contains(&self.config.identity) {
                self.course.health = Health::Revoked;
            }
        }
        self.put_back(&mut records, &stored);
        permitted
    }

    /// Puts records in force again, as far as they are not to come after a revocation. What was forgotten between them may
    /// have left one with a lower epoch to rest on one with a higher.
    fn put_back(&mut self, records: &mut Vec<Record>, stored: &BTreeSet<wire::Hash>) {
        let mut before = usize::MAX;
        while std::mem::replace(&mut before, records.len()) > records.len() {
            records.retain(|record| self.ledger.put_stored(record, stored) == Outcome::Gap);
        }
    }

    /// Finds the slots that are this host's, and the leases whose slots are not.
    fn fill_spaces(&mut self, now: Instant) {
        let me = self.config.identity;
        let networks: BTreeSet<NetworkId> = self.config.genesis.networks.iter().map(|network| network.id).collect();
        for network in networks {
            let mine = self
                .ledger
                .heads()
                .filter(|head| head.range.network == network && head.owner == me)
                .map(|head| head.range);
            let leased = self.leases.iter().map(|lease| wire::Range { network, start: lease.slot, length: 1 });
            let ranges: BTreeSet<_> = mine.chain(leased).collect();
            self.follow(&ranges.into_iter().collect::<Vec<_>>(), Gain::Given, now);
            if self.ledger.is_pool_just_inherited(network) {
                self.rest_pool(network, now);
            }
        }
        if self.course.health == Health::Revoked {
            let active: Vec<_> =
                self.leases.iter().filter(|lease| lease.state == LeaseState::Active).cloned().collect();
            for lease in active {
                self.fence(lease, now);
            }
        }
        // Who has lost a name is to know it before the winner gives it up.
        self.settle_names(now);
        self.course.table_changed = false;
    }

    /// Goes back to what the store holds, and gives nothing any more.
    pub(super) fn rewind(&mut self, now: Instant) {
        let rows = self.rows(|_| true);
        let Ok(contents) = Contents::read(&rows, now) else { return };
        self.answer_all_read_only();
        let members = self.members.clone();
        let outbox = std::mem::take(&mut self.outbox);
        let mut fresh = Self::blank(Config::clone(&self.config), &[], now);
        fresh.fill(contents, now);
        fresh.members = members;
        fresh.outbox = outbox;
        fresh.course.health = fresh.course.health.max(Health::ReadOnly);
        *self = fresh;
    }

    /// Answers whoever waits for what a router without a store does not go on with.
    fn answer_all_read_only(&mut self) {
        for pending in std::mem::take(&mut self.waiting.claims).into_values() {
            self.answer(&pending.requests, &Err(crate::ClaimError::ReadOnly));
        }
        for Sent { request, .. } in std::mem::take(&mut self.waiting.invitations).into_values() {
            let outcome = refused(&crate::ClaimError::ReadOnly.to_string());
            self.outbox.event(Event::Invited { request, outcome });
        }
        for Request { id, .. } in std::mem::take(&mut self.revocations.requests) {
            self.outbox.event(Event::RevokeDone { request: id, result: Err(RevokeError::ReadOnly) });
        }
    }

    /// The store can be written again, and holds these rows: goes on from there.
    ///
    /// # Errors
    /// [`RestoreError`]: what it holds is not this router's, or less than was acknowledged. Nothing is changed.
    pub fn resume(&mut self, stored: &[Write], now: Instant) -> Result<(), RestoreError> {
        let mut fresh = Self::new(Config::clone(&self.config), stored, now)?;
        let (stored, held) = (fresh.outbox.log(), self.outbox.log());
        if stored < held {
            return Err(RestoreError::WentBack { stored, held });
        }
        // Who was admitted meanwhile has a say in revocations, and would be forgotten by the next start (invariant I6).
        for (identity, name) in fresh.members.introduce(&self.members) {
            let number = fresh.members.number(&identity).unwrap_or(0);
            fresh.outbox.write(Write::member(identity, number, name.as_ref()));
        }
        fresh.heads = std::mem::take(&mut self.heads);
        self.answer_all_read_only();
        let unheard: Vec<_> = std::iter::from_fn(|| self.poll_event()).collect();
        *self = fresh;
        unheard.into_iter().for_each(|event| self.outbox.event(event));
        self.outbox.event(Event::TableChanged);
        // What was heard meanwhile was not kept.
        let peers: Vec<_> = self.members.connected().collect();
        for peer in peers {
            self.handle_peer_up(peer, now);
        }
        Ok(())
    }

    pub(super) fn snapshot_for(&self, identity: Identity) -> Vec<u8> {
        let rows = self.rows(|table| OF_THE_CLUSTER.contains(&table));
        encode(SNAPSHOT_VERSION, &Snapshot { identity, cluster: cluster_of(&self.config), rows })
    }

    pub(super) fn rows(&self, which: impl Fn(Table) -> bool) -> Vec<Write> {
        let rows = self.outbox.durable().filter(|(table, _, _)| which(*table));
        rows.map(|(table, key, value)| Write { table, key: key.to_vec(), value: Some(value.to_vec()) }).collect()
    }
}
