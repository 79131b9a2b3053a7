//! What must never happen, whatever befalls the hosts.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use ipam::{Health, Ipam, LeaseState, Owned, REST};
use wire::{Epoch, Identity, NetworkId, Range, Slot};

use crate::host::{Host, Running, attachment, is_brief};

/// Whether a workload came back to the address it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    /// It was nowhere before.
    New,
    /// It has the address it had.
    Same,
    /// It has another.
    Another,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// Who had a slot last, and until when.
    last: BTreeMap<Slot, (String, Instant)>,
    /// Where a workload was last, and until when.
    places: BTreeMap<String, (Slot, Instant)>,
    /// The highest epoch each host has known of a range.
    epochs: BTreeMap<(usize, Range), Epoch>,
    /// Whom somebody has known to be revoked.
    revoked: BTreeSet<Identity>,
    /// Whom each host has promised to refuse, and how many it knew to be revoked then.
    promised: BTreeMap<(usize, Identity), usize>,
}

impl Rules {
    /// I7: an address that is given belongs to nobody who runs, and has rested since somebody else had it.
    pub(crate) fn ensure_free(&self, at: usize, new: &Running, hosts: &[Host], now: Instant) -> Result<Kept> {
        // I6: nobody hears a host that is revoked, and it may not have heard of it either.
        let heard = |host: &Host| !self.is_revoked(host.identity());
        let giver_is_heard = hosts.get(at).is_some_and(heard);
        for (number, host) in hosts.iter().enumerate().filter(|(_, host)| giver_is_heard && heard(host)) {
            for (container, running) in &host.running {
                let same = running.slot == new.slot;
                ensure!(
                    !same || is_fenced(host, container),
                    "{new:?} given on {at}, and {container} has {running:?} on {number}"
                );
            }
        }
        if let Some((workload, ended)) = self.last.get(&new.slot) {
            let rested = now.duration_since(*ended);
            let may_have = workload == &new.workload || rested >= REST || !giver_is_heard;
            ensure!(may_have, "{new:?} given {rested:?} after {workload}");
        }
        Ok(match self.places.get(&new.workload) {
            Some((slot, ended)) if now.duration_since(*ended) < HELD && *slot == new.slot => Kept::Same,
            Some((_, ended)) if now.duration_since(*ended) < HELD => Kept::Another,
            Some(_) | None => Kept::New,
        })
    }

    /// Where nothing fails, a workload runs once.
    pub(crate) fn ensure_alone(&self, at: usize, new: &Running, hosts: &[Host]) -> Result<()> {
        for (number, host) in hosts.iter().enumerate() {
            let other = host.running.values().find(|running| running.workload == new.workload);
            ensure!(other.is_none(), "{new:?} started on {at} and runs on {number}: {other:?}");
        }
        Ok(())
    }

    /// A host goes back, or begins anew.
    pub(crate) fn forget(&mut self, number: usize) {
        self.epochs.retain(|(host, _), _| *host != number);
        self.promised.retain(|(host, _), _| *host != number);
    }

    /// A host has promised to refuse them, and has it on its disk.
    pub(crate) fn note_promised(&mut self, number: usize, identities: &[Identity], ipam: &Ipam) {
        let known = revoked_at(ipam);
        self.promised.extend(identities.iter().map(|identity| ((number, *identity), known)));
    }

    /// I6: a promise outlives everything but the revocation of whoever asked for it.
    fn ensure_promises_kept(&mut self, number: usize, ipam: &Ipam) -> Result<()> {
        let known = revoked_at(ipam);
        let refused: BTreeSet<Identity> = ipam.refused().collect();
        self.promised
            .retain(|(host, identity), before| *host != number || *before == known || refused.contains(identity));
        let mut of_this = self.promised.keys().filter(|(host, _)| *host == number);
        let broken = of_this.find(|(_, identity)| !refused.contains(identity));
        ensure!(broken.is_none(), "host {number} has promised to refuse {broken:?}, and does not");
        Ok(())
    }

    /// A container ended, or is cut off. One at a host that is revoked has no address that could have to rest.
    pub(crate) fn note_stopped(&mut self, host: Identity, running: &Running, now: Instant) {
        if self.is_revoked(host) {
            return;
        }
        self.last.insert(running.slot, (running.workload.clone(), now));
        if !is_brief(&running.workload) {
            self.places.insert(running.workload.clone(), (running.slot, now));
        }
    }

    /// Somebody knows of it: from now on nobody has to hear what runs there, and its addresses rest.
    pub(crate) fn note_revoked(&mut self, identity: Identity, hosts: &[Host], now: Instant) {
        for host in hosts.iter().filter(|host| host.identity() == identity) {
            host.running.values().for_each(|running| self.note_stopped(identity, running, now));
        }
        self.revoked.insert(identity);
    }

    pub(crate) fn is_revoked(&self, identity: Identity) -> bool {
        self.revoked.contains(&identity)
    }

    /// It may start anywhere, at any address.
    pub(crate) fn note_given_up(&mut self, workload: &str) {
        self.places.remove(workload);
    }

    /// I2, I7: a router that comes back has the lease of every container that still runs.
    pub(crate) fn ensure_kept(&self, number: usize, host: &Host) -> Result<()> {
        let ipam = host.ipam.as_ref().context("dead")?;
        for (container, running) in &host.running {
            let lease = ipam.lease_of(&attachment(container));
            ensure!(
                lease.is_some_and(|lease| lease.slot == running.slot),
                "host {number} forgot {running:?}: {lease:?}"
            );
        }
        Ok(())
    }

    /// Everything that can be said at any moment.
    pub(crate) fn check(&mut self, hosts: &[Host]) -> Result<()> {
        for (number, host) in hosts.iter().enumerate() {
            let Some(ipam) = &host.ipam else { continue };
            self.ensure_promises_kept(number, ipam)?;
            // I10: what cannot be written never happened, and nothing is given by it.
            if ipam.health() == Health::ReadOnly {
                self.epochs.retain(|(host, _), _| *host != number);
                continue;
            }
            // One that was revoked, and says so first of all, may have heard that when its disk took nothing any more.
            if ipam.health() == Health::Revoked {
                self.epochs.retain(|(host, _), _| *host != number);
            }
            // I4: a range's epoch rises and never falls, restarts included.
            for owned in ipam.table().into_iter().filter(|_| ipam.health() != Health::Revoked) {
                let highest = self.epochs.entry((number, owned.range)).or_insert(owned.epoch);
                ensure!(owned.epoch >= *highest, "host {number} went back from {highest:?} to {owned:?}");
                *highest = owned.epoch;
            }
            // I1: who runs a container that is not fenced owns its slot.
            for (container, running) in &host.running {
                let owner = ipam.owner(NetworkId::DEFAULT, running.slot);
                let own = owner == Some(host.identity()) || is_fenced(host, container);
                ensure!(own, "host {number} runs {container} on {running:?}, which belongs to {owner:?}");
            }
        }
        one_owner(hosts, &self.revoked)
    }
}

/// I5: what a router does over a silence, or as time passes, takes no slot from anybody, but for those it knows to be revoked.
pub(crate) fn ensure_owners_stay(ipam: &mut Ipam, act: impl FnOnce(&mut Ipam)) -> Result<()> {
    let (before, revoked) = (ipam.table(), revoked_at(ipam));
    act(ipam);
    let after = ipam.table();
    if before == after || revoked_at(ipam) > revoked {
        return Ok(());
    }
    let owner = |table: &[Owned], slot: u32| {
        let around = table.iter().filter(|owned| owned.range.contains(Slot(slot)));
        around.min_by_key(|owned| owned.range.length).map(|owned| owned.owner)
    };
    for slot in 0..SLOTS {
        let (old, new) = (owner(&before, slot), owner(&after, slot));
        ensure!(old == new, "slot {slot} went from {old:?} to {new:?} over nothing");
    }
    Ok(())
}

/// How many a router knows to be revoked.
fn revoked_at(ipam: &Ipam) -> usize {
    ipam.members().filter(|(_, _, revoked)| *revoked).count()
}

/// I1, I3, I6: no slot has two hosts that each believe it to be theirs, but for those that are revoked.
fn one_owner(hosts: &[Host], revoked: &BTreeSet<Identity>) -> Result<()> {
    let mut owners: BTreeMap<u32, usize> = BTreeMap::new();
    for (number, host) in hosts.iter().enumerate() {
        let Some(ipam) = &host.ipam else { continue };
        if revoked.contains(&host.identity()) || ipam.health() >= Health::RolledBack {
            continue;
        }
        for slot in 0..SLOTS {
            if ipam.owner(NetworkId::DEFAULT, Slot(slot)) == Some(host.identity()) {
                let other = owners.insert(slot, number);
                ensure!(other.is_none(), "slot {slot} belongs to host {number} and to host {other:?}");
            }
        }
    }
    Ok(())
}

fn is_fenced(host: &Host, container: &str) -> bool {
    let lease = host.ipam.as_ref().and_then(|ipam| ipam.lease_of(&attachment(container)));
    lease.is_some_and(|lease| lease.state == LeaseState::Fenced)
}

/// A /25.
const SLOTS: u32 = 128;
/// Well below the ten minutes that an address is held, so that a hold is not mistaken for over.
const HELD: Duration = Duration::from_secs(540);
