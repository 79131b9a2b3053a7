//! Anti-entropy: what was missed is found and sent.
//!
//! Decides what two routers compare and what they send each other. Knows nothing of what the items mean.
//!
//! ```text
//!   A ── Digest: one number a bucket ──▶ B
//!     ◀── Compare: B's hashes where they differ ──
//!     ── what B lacks; Want: what A lacks ──▶
//!     ◀── what A lacks ──
//! ```

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use wire::message::{Bucket, DIGEST_BUCKETS, Entry, Message};
use wire::{Hash, Identity, Range, Record};

use super::Ipam;
use crate::directory::{hash_of_entry, is_authentic, key_of};
use crate::ledger::hash_of_record;
use crate::outbox::To;
use crate::store::Write;

/// Peers compared with in a round: with fewer, a peer's turn comes too seldom in a small mesh; with all, a round costs N digests.
const PEERS_A_ROUND: usize = 3;
/// Records in one message: some 200 KiB, far below the limit of a message.
const RECORDS_A_MESSAGE: usize = 1000;
/// Directory lines in one message: at their longest some 400 KiB.
const ENTRIES_A_MESSAGE: usize = 300;
/// Hashes in one message: 384 KiB.
const HASHES_A_MESSAGE: usize = 12_000;

impl Ipam {
    /// Compares with the next few peers.
    pub(super) fn gossip(&mut self, now: Instant) {
        self.course.gossip_at = now + self.config.gossip;
        self.settle_names(now);
        self.meet_all_expected(now);
        let peers: Vec<_> = self.members.connected().filter(|peer| !self.members.is_revoked(peer)).collect();
        for _ in 0..PEERS_A_ROUND.min(peers.len()) {
            self.course.gossip_turn = (self.course.gossip_turn + 1) % peers.len();
            if let Some(peer) = peers.get(self.course.gossip_turn) {
                self.send_digest(*peer);
            }
        }
    }

    /// When a router that starts now compares first: seeded, so that not all of them do at once.
    pub(super) fn first_gossip(seed: u64, gossip: Duration, now: Instant) -> Instant {
        now + gossip.mul_f64(f64::from(u8::try_from(seed % 100).unwrap_or(0)) / 100.0)
    }

    pub(super) fn send_digest(&mut self, to: Identity) {
        let digest = self.digest();
        self.send(To::Peer(to), &Message::Digest(digest));
    }

    pub(super) fn handle_digest(&mut self, from: Identity, theirs: &[u64]) {
        let ours = self.digest();
        let differing: BTreeSet<usize> = ours
            .iter()
            .zip(theirs)
            .enumerate()
            .filter(|(_, (ours, theirs))| ours != theirs)
            .map(|(number, _)| number)
            .collect();
        if differing.is_empty() {
            return;
        }
        let mut buckets: Vec<Bucket> = Vec::new();
        let mut total = 0;
        for number in differing {
            let mut hashes: Vec<_> = self.item_hashes().filter(|hash| bucket_of(hash) == number).collect();
            hashes.sort_unstable();
            total += hashes.len();
            if total > HASHES_A_MESSAGE && !buckets.is_empty() {
                // What is left over is found in the next round.
                break;
            }
            hashes.truncate(HASHES_A_MESSAGE);
            buckets.push(Bucket { number: u8::try_from(number).unwrap_or(u8::MAX), hashes });
        }
        self.send(To::Peer(from), &Message::Compare(buckets));
    }

    pub(super) fn handle_compare(&mut self, from: Identity, buckets: &[Bucket]) {
        let theirs: BTreeSet<Hash> = buckets.iter().flat_map(|bucket| bucket.hashes.iter().copied()).collect();
        let compared: BTreeSet<usize> = buckets.iter().map(|bucket| usize::from(bucket.number)).collect();
        let ours: BTreeSet<Hash> = self.item_hashes().filter(|hash| compared.contains(&bucket_of(hash))).collect();
        let lacked_there: Vec<_> = ours.difference(&theirs).copied().collect();
        let lacked_here: Vec<_> = theirs.difference(&ours).copied().take(HASHES_A_MESSAGE).collect();
        self.send_items(from, &lacked_there);
        if !lacked_here.is_empty() {
            self.send(To::Peer(from), &Message::Want(lacked_here));
        }
    }

    /// Sends the items of these hashes, whatever they are.
    pub(super) fn send_items(&mut self, to: Identity, hashes: &[Hash]) {
        let hashes = hashes.get(..HASHES_A_MESSAGE).unwrap_or(hashes);
        // A revocation first: it says which of the records count.
        for hash in hashes {
            if let Some(commit) = self.revocations.commits.get(hash).cloned() {
                let message = self.commit_message(commit);
                self.send(To::Peer(to), &message);
            }
        }
        let records: Vec<Record> = hashes.iter().filter_map(|hash| self.ledger.record(hash)).cloned().collect();
        self.send_records(to, records);
        let entries: Vec<Entry> = hashes.iter().filter_map(|hash| self.directory.entry(hash)).cloned().collect();
        for entries in entries.chunks(ENTRIES_A_MESSAGE) {
            self.send(To::Peer(to), &Message::Entries(entries.to_vec()));
        }
    }

    fn send_records(&mut self, to: Identity, mut records: Vec<Record>) {
        // Whatever a record extends has a lower epoch.
        records.sort_by_key(|record| record.body.epoch);
        for records in records.chunks(RECORDS_A_MESSAGE) {
            self.send(To::Peer(to), &Message::Records(records.to_vec()));
        }
    }

    pub(super) fn send_history(&mut self, to: Identity, range: &Range) {
        let records = self.ledger.history(range);
        self.send_records(to, records);
    }

    /// Takes lines of the directory that are newer than what their authors said before.
    pub(super) fn learn_entries(&mut self, entries: &[Entry], now: Instant) {
        for entry in entries {
            let author = entry.body.author;
            let may_speak = self.members.is_admitted(&author) && author != self.config.identity;
            if may_speak
                && self.directory.entry(&hash_of_entry(entry)).is_none()
                && is_authentic(entry)
                && self.directory.merge(entry)
            {
                self.outbox.write(Write::entry(entry));
                let key = key_of(&entry.body);
                self.waiting.pledges.fulfil(&key, author);
                self.settle_name(&key, now);
                self.meet_expected(&key, now);
                if self.members.is_revoked(&author) {
                    self.hold_for_orphans(author, now);
                }
            }
        }
    }

    /// One number for each bucket: the exclusive or of its items' hashes.
    fn digest(&self) -> Vec<u64> {
        let mut buckets = vec![0; DIGEST_BUCKETS];
        for hash in self.item_hashes() {
            if let (Some(bucket), Some(part)) = (buckets.get_mut(bucket_of(&hash)), hash.0.last_chunk::<8>()) {
                *bucket ^= u64::from_be_bytes(*part);
            }
        }
        buckets
    }

    fn item_hashes(&self) -> impl Iterator<Item = Hash> {
        let records = self.ledger.records().map(|(hash, _)| hash);
        records.chain(self.directory.hashes()).chain(self.revocations.commits.keys().copied())
    }

    /// Every record by or to one of these.
    pub(super) fn records_of(&self, identities: &[Identity]) -> Vec<Record> {
        let is_theirs =
            |record: &&Record| identities.contains(&record.body.author) || identities.contains(&record.body.owner);
        let mut records: Vec<_> = self.ledger.records().map(|(_, record)| record).filter(is_theirs).cloned().collect();
        records.sort_by_key(|record| (record.body.epoch, hash_of_record(record)));
        records
    }
}

fn bucket_of(hash: &Hash) -> usize {
    usize::from(hash.0[0])
}
