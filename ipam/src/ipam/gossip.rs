//! Anti-entropy: what was missed is found and sent.
//!
//! Decides what two routers compare and what they send each other. Knows nothing of what the items mean.
//!
//! ```text
//!   A ── Digest: one sum for everything ──▶ B
//!     ◀── Digest: one sum a bucket, if that one differs ──
//!     ── Compare: A's hashes where they differ ──▶
//!     ◀── what A lacks; Want: what B lacks ──
//!     ── what B lacks ──▶
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use wire::message::{Bucket, DIGEST_BUCKETS, Entry, EntryState, LINES_MAX, Message, Sum};
use wire::{Hash, Identity, Range, Record};

use super::Ipam;
use crate::digest::{Digest, bucket_of};
use crate::directory::{hash_of_entry, is_authentic, is_plausible, key_of};
use crate::event::Event;
use crate::ledger::{hash_of_record, order_of};
use crate::moving::MOVES_WINDOW;
use crate::outbox::To;
use crate::store::Write;

/// Peers compared with in a round: some twenty bytes each, and what two heard differently is known to most a round later.
const PEERS_A_ROUND: usize = 3;
/// Records in one message, in bytes: half of what a message holds.
const RECORDS_BYTES: usize = 256 << 10;
/// Records in one turn, in bytes, and those of one range that are sent unasked: with the range that is begun last they stay
/// below the 8 MiB that may wait for a stream.
const TURN_BYTES: usize = 3 << 20;
/// Directory lines in one message: at their longest some 400 KiB.
const ENTRIES_A_MESSAGE: usize = 300;
/// Hashes in one message: 384 KiB.
const HASHES_A_MESSAGE: usize = 12_000;
/// Items sent in one go: below the 8 MiB that may wait for a stream, at their longest too.
const ITEMS_A_TURN: usize = 4000;
/// Further turns between two rounds: a quarter of a million items, and an end where two ledgers cannot become equal.
const TURNS_A_ROUND: u32 = 64;

impl Ipam {
    /// Compares with a few others, whichever they are: what a round costs does not grow with the peers.
    pub(super) fn gossip(&mut self, now: Instant) {
        self.course.gossip_at = now + self.config.gossip;
        self.course.turns = 0;
        self.course.lies_told = false;
        self.revocations.told.clear();
        // Before leases are told of again with their blocks: a name that was lost is not to be taken back.
        self.settle_names(now);
        self.merge_homes(MOVES_WINDOW, now);
        self.forget_what_all_are_past();
        self.count_lines();
        self.meet_all_expected(now);
        self.ask_again();
        self.want_again();
        // A store that went back in time differs in nothing else, perhaps.
        if let Some(peer) = self.compare_with_some() {
            self.want_what_is_decided(peer);
            self.send_log_head(peer);
        }
    }

    /// Compares with a few peers, the first of whom is returned.
    pub(super) fn compare_with_some(&mut self) -> Option<Identity> {
        let peers: Vec<_> = self.members.connected().filter(|peer| !self.members.is_revoked(peer)).collect();
        let first = self.course.dice.below(peers.len());
        for peer in peers.iter().cycle().skip(first).take(PEERS_A_ROUND.min(peers.len())) {
            self.send_summary(*peer);
            self.send_room(*peer);
        }
        peers.get(first).copied()
    }

    /// Compares at once over a lie, for everybody is to know soon, but once a round: a liar has more of them.
    pub(super) fn tell_of_lies(&mut self) {
        if !std::mem::replace(&mut self.course.lies_told, true) {
            self.compare_with_some();
        }
    }

    /// When a router that starts now compares first: seeded, so that not all of them do at once.
    pub(super) fn first_gossip(seed: u64, gossip: Duration, now: Instant) -> Instant {
        now + gossip.mul_f64(f64::from(u8::try_from(seed % 100).unwrap_or(0)) / 100.0)
    }

    /// Asks whether anything differs: some twenty bytes, where most of the time nothing does.
    pub(super) fn send_summary(&mut self, to: Identity) {
        // By this word others forget what everybody holds, and what is in memory alone is not held.
        if self.outbox.is_closed() {
            return self.send_digest(to);
        }
        let summary = self.digest().whole();
        self.send(To::Peer(to), &Message::Digest(vec![summary]));
    }

    pub(super) fn send_digest(&mut self, to: Identity) {
        let digest = self.digest().sums().to_vec();
        self.send(To::Peer(to), &Message::Digest(digest));
    }

    /// There was more than one turn could carry: what is left of the difference follows at once.
    fn take_another_turn(&mut self, with: Identity) {
        if self.course.turns < TURNS_A_ROUND {
            self.course.turns += 1;
            self.send_digest(with);
        }
    }

    pub(super) fn handle_digest(&mut self, from: Identity, theirs: &[Sum]) {
        let ours = self.digest().clone();
        if let [summary] = theirs {
            if *summary == ours.whole() {
                self.forgetting.note_equal(from);
            } else {
                self.send_digest(from);
            }
            return;
        }
        let mut held: BTreeMap<usize, Vec<Hash>> = BTreeMap::new();
        for (number, (ours, theirs)) in ours.sums().iter().zip(theirs).enumerate() {
            if ours != theirs {
                held.insert(number, Vec::new());
            }
        }
        if held.is_empty() {
            return;
        }
        for hash in self.item_hashes() {
            if let Some(hashes) = held.get_mut(&bucket_of(&hash)) {
                hashes.push(hash);
            }
        }
        // Beginning anywhere: a difference that cannot be mended must not hide the others for ever.
        let first = self.course.dice.below(DIGEST_BUCKETS);
        let (before, after): (Vec<_>, Vec<_>) = held.into_iter().partition(|(number, _)| *number < first);
        let (mut buckets, mut total): (Vec<Bucket>, usize) = (Vec::new(), 0);
        for (number, mut hashes) in after.into_iter().chain(before) {
            total += hashes.len();
            if total > HASHES_A_MESSAGE && !buckets.is_empty() {
                break;
            }
            hashes.sort_unstable();
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
        let lacked_here: Vec<_> = theirs.difference(&ours).copied().take(ITEMS_A_TURN).collect();
        let is_full = theirs.len() > HASHES_A_MESSAGE / 2 && compared.len() < DIGEST_BUCKETS;
        let wants = !lacked_here.is_empty();
        if wants {
            self.send(To::Peer(from), &Message::Want(lacked_here));
        }
        self.send_items(from, &lacked_there);
        if is_full && !wants && lacked_there.len() < ITEMS_A_TURN {
            self.take_another_turn(from);
        }
    }

    /// Sends the items of these hashes, whatever they are.
    pub(super) fn send_items(&mut self, to: Identity, hashes: &[Hash]) {
        let turn: BTreeSet<Hash> = hashes.iter().take(ITEMS_A_TURN).copied().collect();
        // A revocation first: it says which of the records count. One a turn: it may be as long as a message can be.
        let mut commits = turn.iter().filter_map(|hash| self.revocations.commits.get(hash));
        let (commit, mut has_more) = (commits.next().cloned(), commits.next().is_some());
        if let Some(commit) = commit {
            let message = self.commit_message(commit);
            self.send(To::Peer(to), &message);
        }
        let (records, is_whole) = self.with_what_lies_between(&turn);
        // As many lines again would push the records out of the stream. Some go all the same: there may be records that the
        // other never takes.
        let is_long = records.iter().map(bytes_of_record).sum::<usize>() > TURN_BYTES / 2;
        let most = if is_long { ENTRIES_A_MESSAGE } else { ITEMS_A_TURN };
        self.send_records(to, records);
        let entries = turn.iter().filter_map(|hash| self.directory.entry(hash)).take(most);
        let entries: Vec<Entry> = entries.cloned().collect();
        for entries in entries.chunks(ENTRIES_A_MESSAGE) {
            self.send(To::Peer(to), &Message::Entries(entries.to_vec()));
        }
        if is_long {
            return self.take_another_turn(to);
        }
        // After the lines that its author had then: what was replaced must not be missed before what replaced it is there.
        let mut said = 0;
        let censuses: Vec<_> = turn.iter().filter_map(|hash| self.directory.census(hash)).cloned().collect();
        for census in censuses {
            said += census.body.living.len();
            // As many numbers as one author may have: more would push out what was said before.
            if said > LINES_MAX {
                has_more = true;
                break;
            }
            self.send(To::Peer(to), &Message::Census(census));
        }
        if hashes.len() >= ITEMS_A_TURN || !is_whole || has_more {
            self.take_another_turn(to);
        }
    }

    /// The records of these hashes, and those around them that are held: what is compared is what ownership rests on, and who
    /// lacks that may lack what lies between too, and cannot take the one without the other. Returns whether these are all; no
    /// range is begun beyond what fits one turn.
    fn with_what_lies_between(&self, hashes: &BTreeSet<Hash>) -> (Vec<Record>, bool) {
        let mut records: BTreeMap<Hash, Record> = BTreeMap::new();
        let mut ranges: BTreeSet<Range> = BTreeSet::new();
        let mut bytes = 0;
        for record in hashes.iter().filter_map(|hash| self.ledger.record(hash)) {
            if records.len() >= ITEMS_A_TURN || bytes >= TURN_BYTES {
                return (records.into_values().collect(), false);
            }
            let range = record.body.range;
            // What is refused is wanted by name alone: it counts for a revocation, and whoever asks knows what it rests on.
            let parties = [record.body.author, record.body.owner];
            let is_alone = parties.iter().any(|party| self.members.is_refused(party)) || !ranges.insert(range);
            let mut around = if is_alone { Vec::new() } else { self.ledger.history(&range) };
            // More than a stream takes would push out what was said before.
            if around.iter().map(bytes_of_record).sum::<usize>() > TURN_BYTES {
                around.clear();
            }
            for record in around.into_iter().chain(std::iter::once(record.clone())) {
                let of_this = bytes_of_record(&record);
                bytes += records.insert(hash_of_record(&record), record).map_or(of_this, |_| 0);
            }
        }
        (records.into_values().collect(), true)
    }

    pub(super) fn send_records(&mut self, to: Identity, mut records: Vec<Record>) {
        records.sort_by_cached_key(order_of);
        let (mut said, mut bytes) = (Vec::new(), 0);
        for record in records {
            let of_this = bytes_of_record(&record);
            if bytes + of_this > RECORDS_BYTES && !said.is_empty() {
                self.send(To::Peer(to), &Message::Records(std::mem::take(&mut said)));
                bytes = 0;
            }
            bytes += of_this;
            said.push(record);
        }
        if !said.is_empty() {
            self.send(To::Peer(to), &Message::Records(said));
        }
    }

    pub(super) fn send_history(&mut self, to: Identity, range: &Range) {
        let records = self.ledger.history(range);
        self.send_records(to, records);
    }

    /// Takes lines of the directory that are newer than what their authors said before.
    pub(super) fn learn_entries(&mut self, entries: &[Entry], now: Instant) {
        let mut bereft = BTreeSet::new();
        for entry in entries {
            let author = entry.body.author;
            if author == self.config.identity && self.is_unremembered(entry) && is_authentic(self.config.verify, entry)
            {
                self.become_rolled_back();
            }
            let may_speak = self.members.is_admitted(&author) && author != self.config.identity;
            let is_new = self.directory.entry(&hash_of_entry(entry)).is_none();
            if !may_speak || !is_new || !is_authentic(self.config.verify, entry) || !is_plausible(&entry.body) {
                continue;
            }
            if self.merge_line(entry, now) {
                self.outbox.write(Write::entry(entry));
                let key = key_of(&entry.body);
                // A line whose record is still on its way counts for nobody: until it does, the pledge stands for it.
                let current = self.directory.current(&key, &self.ledger).map(|current| current.author);
                if current == Some(author) || entry.body.state == EntryState::Ended {
                    self.waiting.pledges.fulfil(&key, author, entry.body.number);
                }
                self.settle_name(&key, now);
                self.settle_mac(&key);
                self.meet_expected(&key, now);
                if self.members.is_revoked(&author) {
                    self.correct_orphans(&entry.body, now);
                    bereft.insert(author);
                }
            }
        }
        for victim in bereft {
            self.hold_for_orphans(victim, now);
        }
        // Frames follow a MAC as they follow a move: its line was durable with its author.
        if self.directory.take_macs_changed() {
            self.outbox.event_at_once(Event::TableChanged);
        }
    }

    /// What this router holds, counted anew if it has changed since.
    fn digest(&mut self) -> &Digest {
        let state =
            (self.ledger.changes(), self.directory.changes(), self.revocations.commits.len(), self.members.named());
        if !self.course.digest.is_of(state) {
            self.course.digest = Digest::new(state, self.item_hashes());
        }
        &self.course.digest
    }

    fn item_hashes(&self) -> impl Iterator<Item = Hash> {
        let records = self.ledger.compared(|hash| self.members.is_named(hash));
        records.chain(self.directory.hashes()).chain(self.revocations.commits.keys().copied())
    }

    /// The records that [`Self::held_of`] names, each after what it rests on.
    pub(super) fn records_of(&self, identities: &[Identity]) -> Vec<Record> {
        let mut records: Vec<_> = self.held_of(identities).map(|(_, record)| record.clone()).collect();
        records.sort_by_cached_key(order_of);
        records
    }

    /// Every record by or to one of these, but for their lies that are in force nowhere here: whoever has one in force has it in
    /// its own list, and nobody else rests on it.
    pub(super) fn held_of(&self, identities: &[Identity]) -> impl Iterator<Item = (Hash, &Record)> {
        let identities: BTreeSet<Identity> = identities.iter().copied().collect();
        self.ledger.records().filter(move |(hash, record)| {
            let is_by = identities.contains(&record.body.author);
            (is_by || identities.contains(&record.body.owner)) && !(is_by && self.ledger.is_evidence(hash))
        })
    }
}

/// What a record takes in a message, at most.
fn bytes_of_record(record: &Record) -> usize {
    let home = record.body.home.as_ref();
    RECORD_BYTES + home.map_or(0, |home| home.slots.len() * size_of::<Hash>() + home.apart.len() * SLOT_BYTES)
}

/// A record by which nothing comes home: 160 of these are two identities, a hash and the signature.
const RECORD_BYTES: usize = 200;
/// A slot at its longest.
const SLOT_BYTES: usize = 5;
