//! What operators live through: hosts that are gone for good and revoked, by two at once perhaps, databases that are lost, restored
//! from a copy or full, and routers that say two things.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ed25519_dalek::Signer as _;
use ipam::{Alarm, Config, Health, Ipam, RequestId, Table, adopt_snapshot};
use wire::{Epoch, Hash, Identity, NetworkId, RECORD_VERSION, Range, Record, RecordBody, Signature, message::Message};

use crate::{
    host::{Host, genesis, signing_key},
    world::{CENSUS_AFTER, World},
};

impl World {
    /// One thing of all that may happen.
    pub(crate) fn turn(&mut self) -> Result<()> {
        let host = self.dice.below(self.hosts.len());
        match self.dice.below(100) {
            0..84 => self.step()?,
            84..89 => self.revoke_some(host)?,
            89 => self.lose_database(host)?,
            90 => self.restore_copy(host)?,
            91..94 => self.fill_disk(host),
            _ => self.look_after_hosts()?,
        }
        self.pass(Duration::from_millis(100))
    }

    /// An operator gives up one or two hosts, whatever state they are in; perhaps another does so at the same time.
    fn revoke_some(&mut self, asker: usize) -> Result<()> {
        let stays = |host: &&Host| !self.gone.contains(&host.identity());
        if self.hosts.iter().filter(stays).count() < 5 {
            return Ok(());
        }
        let mut victims = Vec::new();
        for _ in 0..=self.dice.below(2) {
            victims.push(self.dice.below(self.hosts.len()));
        }
        if self.is_left_beside(&victims) {
            self.revoke(asker, &victims)?;
        }
        if self.dice.chance(40) {
            let other = self.dice.below(self.hosts.len());
            victims.push(self.dice.below(self.hosts.len()));
            victims.remove(0);
            if self.is_left_beside(&victims) {
                self.revoke(other, &victims)?;
            }
        }
        Ok(())
    }

    /// Whether a cluster is left without these: nobody can help one of which none works any more.
    fn is_left_beside(&self, hosts: &[usize]) -> bool {
        let stays = |number: &usize| self.hosts.get(*number).is_some_and(|host| !self.gone.contains(&host.identity()));
        let mut others = (0..self.hosts.len()).filter(|number| !hosts.contains(number));
        others.any(|number| stays(&number) && self.health(number) == Some(Health::Working))
    }

    pub(crate) fn revoke(&mut self, asker: usize, victims: &[usize]) -> Result<()> {
        // Who has not joined yet is nobody.
        let victims = victims.iter().filter_map(|victim| self.hosts.get(*victim));
        let identities: Vec<Identity> = victims.filter(|host| !host.disk.is_empty()).map(Host::identity).collect();
        self.revoke_identities(asker, &identities)
    }

    fn revoke_identities(&mut self, asker: usize, identities: &[Identity]) -> Result<()> {
        self.counter += 1;
        let (request, now) = (RequestId(self.counter), self.now);
        // Once asked, it has to be carried through: whoever has promised refuses them from then on.
        self.gone.extend(identities);
        if let Some(ipam) = self.hosts.get_mut(asker).and_then(|host| host.ipam.as_mut()) {
            ipam.revoke(request, identities, now);
        }
        self.drain()
    }

    /// The directory is gone. What ran there was attached under an identity that is no more, and is cut off.
    fn lose_database(&mut self, number: usize) -> Result<()> {
        let has_none = self.hosts.get(number).is_none_or(|host| host.disk.is_empty());
        if has_none || !self.may_begin_anew(number) {
            return Ok(());
        }
        self.told.lost += 1;
        self.crash(number);
        self.stop_everything(number);
        let host = self.hosts.get(number).context("no such host")?.identity();
        self.gone.insert(host);
        self.begin_anew(number)
    }

    /// The whole host goes back to how it was: what it has said since is known to others only.
    fn restore_copy(&mut self, number: usize) -> Result<()> {
        self.look_after_hosts()?;
        let copy = self.hosts.get(number).context("no such host")?.disk.clone();
        if self.health(number) != Some(Health::Working) {
            return Ok(());
        }
        for _ in 0..12 {
            self.step()?;
        }
        let stays = self.hosts.get(number).is_some_and(|host| !self.gone.contains(&host.identity()));
        if !stays || !self.is_left_beside(&[number]) {
            return Ok(());
        }
        // In two rounds without a fault it says to somebody how far its log has come.
        let faults = self.without_faults();
        self.wake_everybody()?;
        let said = |host: &Host| -> Vec<Vec<u8>> {
            let meta = host.disk.iter().filter(|((table, _), _)| *table == Table::Meta);
            meta.map(|(_, value)| value.clone()).collect()
        };
        let before = said(self.hosts.get(number).context("no such host")?);
        self.pass(Duration::from_secs(25))?;
        if self.health(number) != Some(Health::Working) {
            self.bring_back(faults);
            return Ok(());
        }
        self.crash(number);
        self.stop_everything(number);
        let host = self.hosts.get_mut(number).context("no such host")?;
        host.disk = copy;
        host.spool.clear();
        let went_back = said(host) != before;
        self.rules.forget(number);
        self.restart(number)?;
        self.pass(Duration::from_secs(1))?;
        ensure!(
            !went_back || self.health(number) >= Some(Health::RolledBack),
            "host {number} was restored from a copy and goes on"
        );
        self.told.restored += usize::from(went_back);
        self.bring_back(faults);
        Ok(())
    }

    /// A disk takes nothing any more, or does again.
    fn fill_disk(&mut self, number: usize) {
        let now = self.now;
        let Some(host) = self.hosts.get_mut(number) else { return };
        host.is_full = !host.is_full;
        if !host.is_full
            && let Some(ipam) = host.ipam.as_mut().filter(|ipam| ipam.health() == Health::ReadOnly)
        {
            let rows = crate::host::rows(&host.disk);
            // A store that holds less than it was told is not gone on with: nothing here loses what it has synced.
            let resumed = ipam.resume(&rows, now);
            debug_assert!(resumed.is_ok(), "{resumed:?}");
        }
    }

    /// What an operator sees in `raddle status`, and does about it: whoever was revoked or restored from a copy begins anew.
    fn look_after_hosts(&mut self) -> Result<()> {
        for number in 0..self.hosts.len() {
            if !self.is_unfit(number) || !self.may_begin_anew(number) {
                continue;
            }
            self.crash(number);
            self.stop_everything(number);
            self.begin_anew(number)?;
        }
        Ok(())
    }

    /// Whether it says itself that it has to begin anew.
    fn is_unfit(&self, number: usize) -> bool {
        // Where most of a cluster was revoked at once, a victim may doubt it, and says so.
        let doubts = |identity: Identity| {
            self.alarms.iter().any(|(at, alarm)| {
                *at == number
                    && matches!(alarm, Alarm::RevocationDoubted { victims, .. } if victims.iter().any(|victim| victim.identity == identity))
            })
        };
        match self.health(number) {
            Some(Health::RolledBack | Health::Revoked) => true,
            Some(Health::Working) => {
                let identity = self.hosts.get(number).map(Host::identity);
                identity.is_some_and(|identity| self.rules.is_revoked(identity) && doubts(identity))
            }
            Some(Health::ReadOnly) | None => false,
        }
    }

    /// Whether there is somebody to join by, and a key that nobody has had.
    fn may_begin_anew(&self, number: usize) -> bool {
        self.keys < 200 && self.sponsor_of(number).is_some()
    }

    fn sponsor_of(&self, number: usize) -> Option<usize> {
        let works = |other: &usize| {
            *other != number
                && self.health(*other) == Some(Health::Working)
                && self.hosts.get(*other).is_some_and(|host| !self.gone.contains(&host.identity()))
                && self.sides.get(*other) == self.sides.get(number)
        };
        (0..self.hosts.len()).find(works)
    }

    /// An empty directory and `raddle join`. The sponsor may die over it: then the host waits for the next time.
    fn begin_anew(&mut self, number: usize) -> Result<()> {
        let sponsor = self.sponsor_of(number).context("no sponsor")?;
        let old = self.hosts.get(number).context("no such host")?;
        let mut config = old.config.clone();
        // A joiner whose sponsor died over it repeats itself.
        if old.ipam.is_some() || !old.disk.is_empty() || self.gone.contains(&old.identity()) {
            self.gone.insert(old.identity());
            self.keys += 1;
            config = Config::new(signing_key(self.keys), genesis());
            config.seed = self.keys as u64;
            config.census_after = CENSUS_AFTER;
        }
        let (identity, now) = (config.identity, self.now);
        let ipam = self.hosts.get_mut(sponsor).and_then(|host| host.ipam.as_mut()).context("dead")?;
        ipam.grant_join(identity, None, now);
        self.drain()?;
        let snapshot = self.snapshots.remove(&identity);
        let host = self.hosts.get_mut(number).context("no such host")?;
        host.config = config;
        host.disk.clear();
        host.spool.clear();
        host.is_full = false;
        self.rules.forget(number);
        if let Some(snapshot) = snapshot {
            let rows = adopt_snapshot(&host.config, &snapshot, now).context("a snapshot that is no good")?;
            host.sync(&rows);
            host.start(now)?;
        }
        // Its letters went with it.
        self.letters.retain(|_, letter| letter.from != number && letter.to != number);
        self.reconnect();
        Ok(())
    }

    fn stop_everything(&mut self, number: usize) {
        let Some(host) = self.hosts.get_mut(number) else { return };
        host.cut_off.clear();
        let (identity, running) = (host.identity(), std::mem::take(&mut host.running));
        running.values().for_each(|running| self.rules.note_stopped(identity, running, self.now));
    }

    /// Whoever died is started again.
    pub(crate) fn wake(&mut self) -> Result<()> {
        (0..self.hosts.len()).try_for_each(|number| self.restart(number))
    }

    fn wake_everybody(&mut self) -> Result<()> {
        for number in 0..self.hosts.len() {
            if self.hosts.get(number).is_some_and(|host| host.is_full) {
                self.fill_disk(number);
            }
            self.restart(number)?;
        }
        self.heal();
        Ok(())
    }

    /// Everybody is back, and whoever is no more is revoked: then all is well again.
    pub(crate) fn settle_down(&mut self) -> Result<()> {
        self.without_faults();
        for _ in 0..4 {
            self.wake_everybody()?;
            self.pass(Duration::from_secs(15))?;
            let works = |number: &usize| {
                let stays = self.hosts.get(*number).is_some_and(|host| !self.gone.contains(&host.identity()));
                stays && self.health(*number) == Some(Health::Working)
            };
            // Whoever is still seen alive takes two routers' words.
            let askers: Vec<_> = (0..self.hosts.len()).filter(works).take(2).collect();
            ensure!(!askers.is_empty(), "nobody works any more");
            let gone: Vec<_> = self.gone.iter().copied().filter(|identity| !self.rules.is_revoked(*identity)).collect();
            let convicted = |host: &&Host| host.ipam.as_ref().is_some_and(|ipam| ipam.health() == Health::RolledBack);
            let unfit = self.hosts.iter().filter(convicted).map(Host::identity);
            let victims: Vec<_> = gone.into_iter().chain(unfit).collect();
            if !victims.is_empty() {
                askers.iter().try_for_each(|asker| self.revoke_identities(*asker, &victims))?;
            }
            self.pass(Duration::from_secs(15))?;
            // Whose sponsor died over it joins again.
            let waits = |number: &usize| self.hosts.get(*number).is_some_and(|host| host.disk.is_empty());
            for number in (0..self.hosts.len()).filter(waits).collect::<Vec<_>>() {
                self.begin_anew(number)?;
            }
            self.wake()?;
            self.look_after_hosts()?;
            self.pass(Duration::from_secs(15))?;
            if self.is_all_well() {
                break;
            }
        }
        for (number, host) in self.hosts.iter().enumerate() {
            ensure!(self.health(number) == Some(Health::Working), "host {number}: {:?}", self.health(number));
            ensure!(!self.rules.is_revoked(host.identity()), "host {number} does not know that it was revoked");
        }
        let gone: Vec<_> = self.gone.iter().filter(|identity| !self.rules.is_revoked(**identity)).collect();
        ensure!(gone.is_empty(), "not revoked after all: {gone:?}; last: {:?}", self.told.blocked);
        Ok(())
    }

    fn is_all_well(&self) -> bool {
        let works = |number| self.health(number) == Some(Health::Working);
        let stays = |host: &Host| !self.rules.is_revoked(host.identity());
        (0..self.hosts.len()).all(works)
            && self.hosts.iter().all(stays)
            && self.gone.iter().all(|identity| self.rules.is_revoked(*identity))
    }

    pub(crate) fn health(&self, number: usize) -> Option<Health> {
        self.hosts.get(number)?.ipam.as_ref().map(Ipam::health)
    }

    /// A router that gives a block of its own to two others, one of whom hears of one gift, one of the other.
    pub(crate) fn equivocate(&mut self, culprit: usize, takers: [usize; 2]) -> Result<Range> {
        let (range, epoch, previous) = self.block_of(culprit)?;
        let key = self.hosts.get(culprit).context("no such host")?.config.signing_key.clone();
        let author = Identity(key.verifying_key().to_bytes());
        for taker in takers {
            let owner = self.hosts.get(taker).context("no such host")?.identity();
            let body = RecordBody { range, owner, epoch: epoch.next(), author, previous, home: None };
            let signature = Signature(key.sign(&wire::encode(RECORD_VERSION, &body)).to_bytes());
            let bytes = Message::Records(vec![Record { body, signature }]).emit();
            let now = self.now;
            let host = self.hosts.get_mut(taker).context("no such host")?;
            host.ipam.as_mut().context("dead")?.handle_message(author, &bytes, now);
        }
        Ok(range)
    }

    /// A block that is a host's, with what its next record has to say.
    fn block_of(&self, number: usize) -> Result<(Range, Epoch, Hash)> {
        let host = self.hosts.get(number).context("no such host")?;
        let owned = host.ipam.as_ref().context("dead")?.table();
        let rows: Vec<(Record, &Vec<u8>)> = host
            .disk
            .iter()
            .filter(|((table, _), _)| *table == Table::Records)
            .filter_map(|((_, key), value)| {
                Some((wire::decode(RECORD_VERSION, value).or(wire::decode(1, value)).ok()?, key))
            })
            .collect();
        let is_it =
            |owned: &&ipam::Owned| owned.owner == host.identity() && owned.range.length == genesis().block_slots;
        let block = owned.iter().find(is_it).context("no block of its own")?;
        let record =
            rows.iter().find(|(record, _)| record.body.range == block.range && record.body.epoch == block.epoch);
        let (_, key) = record.context("a block without a record")?;
        let hash = Hash(*key.last_chunk::<32>().context("a key without a hash")?);
        Ok((block.range, block.epoch, hash))
    }

    /// Everybody but the culprit knows of the contradiction, and nobody gives anything out of the range.
    pub(crate) fn ensure_found_out(&self, culprit: Identity, range: Range) -> Result<()> {
        for (number, host) in self.hosts.iter().enumerate().filter(|(_, host)| host.identity() != culprit) {
            let alarmed = self.alarms.iter().any(|(at, alarm)| {
                *at == number
                    && matches!(alarm, Alarm::Equivocation { range: bad, author } if *author == culprit && bad.covers(&range))
            });
            ensure!(alarmed, "host {number} has raised no alarm");
            let ipam = host.ipam.as_ref().context("dead")?;
            ensure!(
                ipam.is_frozen(NetworkId::DEFAULT, range.start, self.now),
                "{range:?} is not frozen on host {number}"
            );
        }
        Ok(())
    }
}
