//! What a revocation does to the ledger.
//!
//! Decides the heir of each range and takes back what the members never knew of. Knows nothing of promises.

use std::collections::BTreeSet;

use serde::Serialize;
use wire::{Epoch, Hash, Identity, Range, Record, message::REVOCATION_VERSION};

use super::{Ledger, Link, Outcome, Source};
use crate::seal::hash_of;

/// What an inherited link's hash covers: nothing but what follows from the members' promises, so that every member that
/// knows of the revocation names it alike.
#[derive(Serialize)]
struct Inheritance {
    domain: &'static str,
    range: Range,
    owner: Identity,
    epoch: Epoch,
    previous: Hash,
}

/// Who inherits a range: the member whose hash with the range is lowest, so that a dead host's ranges spread over all.
pub(crate) fn heir(range: &Range, members: &BTreeSet<Identity>) -> Option<Identity> {
    members.iter().copied().min_by_key(|member| hash_of(REVOCATION_VERSION, &("raddle heir", range, member)))
}

impl Ledger {
    /// Takes every range from the victims and gives it to its heir. Returns the ranges.
    pub(crate) fn inherit(&mut self, victims: &BTreeSet<Identity>, members: &BTreeSet<Identity>) -> Vec<Range> {
        let orphans: Vec<_> = self.heads().filter(|head| victims.contains(&head.owner)).collect();
        for orphan in &orphans {
            let Some(owner) = heir(&orphan.range, members) else { continue };
            let (range, epoch, previous) = (orphan.range, orphan.epoch.next(), orphan.hash);
            let hash =
                hash_of(REVOCATION_VERSION, &Inheritance { domain: "raddle inherits", range, owner, epoch, previous });
            self.append(range, Link { owner, epoch, hash, source: Source::Inherited { previous } });
        }
        orphans.into_iter().map(|orphan| orphan.range).collect()
    }

    /// Takes out every record that is not to be kept, and all that rests on it. Returns what is gone.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Hash, &Record) -> bool) -> Vec<Record> {
        if self.records().all(|(hash, record)| keep(&hash, record)) {
            return Vec::new();
        }
        let dropped: Vec<_> = self
            .evidence
            .iter()
            .filter(|(hash, record)| !keep(hash, record))
            .map(|(_, record)| record.clone())
            .collect();
        for record in &dropped {
            self.drop_evidence(&super::hash_of_record(record));
        }
        let mut links = self.take_links();
        links.sort_by_key(|(_, link)| link.order());
        let stored = links.iter().map(|(_, link)| link.hash).collect();
        let gone = links.into_iter().filter_map(|(range, link)| self.put_back(range, link, &stored, &keep));
        let gone: Vec<_> = gone.collect();
        gone.into_iter().chain(dropped).collect()
    }

    /// Ends the quarantine of what the victims gave away twice: of records that contradict one another, the one with the
    /// lowest hash counts. Whoever knows of the revocation holds them all, so everybody chooses alike. Returns those that do
    /// not count, and what rested on them.
    pub(crate) fn settle(&mut self, victims: &BTreeSet<Identity>) -> Vec<Record> {
        if self.quarantine.is_empty() {
            return Vec::new();
        }
        let evidence: Vec<_> = std::mem::take(&mut self.evidence).into_values().collect();
        self.lies.clear();
        let (theirs, others): (Vec<_>, Vec<_>) =
            evidence.into_iter().partition(|record| victims.contains(&record.body.author));
        self.quarantine.clear();
        let mut links = self.take_links();
        links.extend(theirs.into_iter().map(|record| (record.body.range, Link::signed(record))));
        links.sort_by_key(|(_, link)| link.order());
        let stored = links.iter().map(|(_, link)| link.hash).collect();
        let mut gone = Vec::new();
        for (range, link) in links {
            let Source::Signed(record) = &link.source else {
                gone.extend(self.put_back(range, link, &stored, &|_, _| true));
                continue;
            };
            let before = victims.contains(&record.body.author).then(|| self.quarantine.clone());
            let outcome = self.put_stored(record, &stored);
            let in_force = matches!(outcome, Outcome::Applied | Outcome::Known | Outcome::GivenTwice(_));
            let mut counts = in_force || matches!(outcome, Outcome::Equivocation(_));
            if let Some(before) = before {
                self.quarantine = before;
                self.drop_evidence(&link.hash);
                counts = in_force;
            }
            gone.extend((!counts).then(|| record.clone()));
        }
        others.iter().for_each(|record| self.restore_evidence(record));
        gone
    }

    /// Takes every link out but the first ones.
    fn take_links(&mut self) -> Vec<(Range, Link)> {
        self.changes += 1;
        let mut links: Vec<(Range, Link)> = Vec::new();
        for (range, chain) in &mut self.chains {
            let fixed = chain.iter().take_while(|link| link.source == Source::Genesis).count();
            links.extend(chain.split_off(fixed).into_iter().map(|link| (*range, link)));
        }
        self.chains.retain(|_, chain| !chain.is_empty());
        self.hashes.clear();
        self.home.clear();
        links
    }

    /// Puts a link back if it is to be kept and still extends something; otherwise returns its record.
    fn put_back(
        &mut self,
        range: Range,
        link: Link,
        stored: &BTreeSet<Hash>,
        keep: &impl Fn(&Hash, &Record) -> bool,
    ) -> Option<Record> {
        match &link.source {
            Source::Genesis => None,
            Source::Signed(record) => {
                let stays = keep(&link.hash, record)
                    && !matches!(self.put_stored(record, stored), Outcome::Gap | Outcome::Past | Outcome::Refused);
                (!stays).then(|| record.clone())
            }
            Source::Inherited { previous } => {
                if self.chains.get(&range).and_then(|chain| chain.last()).is_some_and(|last| last.hash == *previous) {
                    self.append(range, link);
                }
                None
            }
        }
    }
}
