//! The clock, the links and what befalls the hosts.
//!
//! Decides by dice what happens next; what must never happen is in `rules`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use ipam::{
    Alarm, Claim, Config, Event, Lease, LeaseState, RequestId, Stickiness, Table, Write, adopt_snapshot, found,
};
use wire::Identity;
use wire::message::{EntryBody, Handover};

use crate::{
    dice::Dice,
    events::Told,
    host::{Host, attachment, claim, genesis, signing_key},
    links::Letter,
    rules::{Rules, ensure_owners_stay},
};

/// What may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Faults {
    /// Nothing: messages take their time, that is all.
    None,
    /// Messages are lost and doubled, links break, hosts die between a decision and its sync.
    All,
}

/// All of it.
pub(crate) struct World {
    pub(crate) hosts: Vec<Host>,
    pub(crate) now: Instant,
    pub(crate) faults: Faults,
    /// Faults there were: what was doubled by them may run on.
    pub(crate) has_healed: bool,
    pub(crate) dice: Dice,
    /// Messages under way, by arrival; the second number keeps those of one instant in order.
    pub(crate) letters: BTreeMap<(Instant, u64), Letter>,
    /// Which side of a partition each host is on.
    pub(crate) sides: Vec<usize>,
    /// Claims that are not answered yet.
    pub(crate) asked: BTreeMap<RequestId, Asked>,
    pub(crate) rules: Rules,
    pub(crate) told: Told,
    pub(crate) counter: u64,
    /// Keys that identities were made of.
    pub(crate) keys: usize,
    /// Identities that no host has any more, and those that somebody has asked to revoke.
    pub(crate) gone: BTreeSet<Identity>,
    /// For joiners that have not started yet.
    pub(crate) snapshots: BTreeMap<Identity, Vec<u8>>,
    pub(crate) alarms: Vec<(usize, Alarm)>,
    /// Batches that were written, and which one its host does not survive: before it is synced, or after.
    pub(crate) batches: usize,
    pub(crate) fatal: Option<(usize, bool)>,
}

/// A claim that is not answered yet.
pub(crate) struct Asked {
    host: usize,
    pub(crate) container: String,
}

impl World {
    /// Hosts that joined one after the other.
    pub(crate) fn new(seed: u64, hosts: usize, faults: Faults) -> Result<Self> {
        let now = Instant::now();
        let mut world = Self {
            hosts: Vec::new(),
            now,
            faults,
            has_healed: false,
            dice: Dice::new(seed),
            letters: BTreeMap::new(),
            sides: vec![0; hosts],
            asked: BTreeMap::new(),
            rules: Rules::default(),
            told: Told::default(),
            counter: 0,
            keys: hosts,
            gone: BTreeSet::new(),
            snapshots: BTreeMap::new(),
            alarms: Vec::new(),
            batches: 0,
            fatal: None,
        };
        for number in 0..hosts {
            world.join(number, seed)?;
        }
        world.reconnect();
        world.pass(Duration::from_secs(5))?;
        Ok(world)
    }

    fn join(&mut self, number: usize, seed: u64) -> Result<()> {
        let mut config = Config::new(signing_key(number), genesis());
        config.seed = seed.wrapping_mul(31).wrapping_add(number as u64);
        config.census_after = CENSUS_AFTER;
        let stored = if number == 0 {
            found(&config)
        } else {
            let snapshot = self.grant(&config)?;
            adopt_snapshot(&config, &snapshot, self.now)?
        };
        self.hosts.push(Host::new(config, &stored, self.now)?);
        // What the mesh does when certificates are exchanged.
        let identities: Vec<_> = self.hosts.iter().map(Host::identity).collect();
        for host in &mut self.hosts {
            let Some(ipam) = &mut host.ipam else { continue };
            identities.iter().for_each(|identity| ipam.admit(*identity, None, self.now));
        }
        Ok(())
    }

    /// The first host sponsors everybody.
    fn grant(&mut self, config: &Config) -> Result<Vec<u8>> {
        let sponsor = self.hosts.first_mut().context("nobody to join")?;
        let ipam = sponsor.ipam.as_mut().context("the sponsor is dead")?;
        ipam.grant_join(config.identity, None, self.now);
        let batch = ipam.poll_store().context("a gift that is not written down")?;
        sponsor.sync(&batch);
        let ipam = sponsor.ipam.as_mut().context("the sponsor is dead")?;
        ipam.handle_stored(self.now);
        while let Some(event) = ipam.poll_event() {
            if let Event::JoinGranted { snapshot, .. } = event {
                return Ok(snapshot);
            }
        }
        bail!("no snapshot for a joiner")
    }

    /// One thing happens, then some time passes.
    pub(crate) fn step(&mut self) -> Result<()> {
        let host = self.dice.below(self.hosts.len());
        match self.dice.below(100) {
            0..28 => self.start_container(host, None, Handover::WhenStopped),
            28..55 => {
                let workload = format!("work-{}", self.dice.below(WORKLOADS));
                let handover = if self.dice.chance(10) { Handover::TakeOver } else { Handover::WhenStopped };
                self.start_container(host, Some(workload), handover);
            }
            55..60 => self.say_where(host),
            60..85 => self.stop_container(host),
            85..90 if self.faults == Faults::All => self.crash(host),
            85..90 => {}
            90..95 => self.restart(host)?,
            95..97 => self.part(),
            97..99 => self.heal(),
            _ => self.pass(Duration::from_secs(200))?,
        }
        let time = Duration::from_millis(self.dice.below(3000) as u64);
        self.pass(time)
    }

    /// An operator says on some host where a workload is to start next.
    fn say_where(&mut self, host: usize) {
        let to = self.dice.below(self.hosts.len());
        let handover = if self.dice.chance(10) { Handover::TakeOver } else { Handover::WhenStopped };
        let key = claim("any", Some(format!("work-{}", self.dice.below(WORKLOADS))), handover).key();
        let Some(to) = self.hosts.get(to).map(Host::identity) else { return };
        self.counter += 1;
        let request = RequestId(self.counter);
        if let Some(ipam) = self.hosts.get_mut(host).and_then(|host| host.ipam.as_mut()) {
            ipam.invite(request, to, key, handover, self.now);
            self.told.said += 1;
        }
    }

    fn start_container(&mut self, host: usize, workload: Option<String>, handover: Handover) {
        let container = self.new_container();
        self.begin(host, claim(&container, workload, handover));
    }

    pub(crate) fn new_container(&mut self) -> String {
        self.counter += 1;
        format!("c{}", self.counter)
    }

    pub(crate) fn begin(&mut self, host: usize, wish: Claim) {
        self.counter += 1;
        let (container, request) = (wish.attachment.container_id.clone(), RequestId(self.counter));
        let now = self.now;
        // A dead router answers nothing: the plugin tells its runtime to try again later.
        if let Some(ipam) = self.hosts.get_mut(host).and_then(|host| host.ipam.as_mut()) {
            ipam.claim(request, wish, now);
            self.asked.insert(request, Asked { host, container });
        }
    }

    fn stop_container(&mut self, number: usize) {
        let which = self.hosts.get(number).map_or(0, |host| host.running.len() + host.cut_off.len());
        let which = self.dice.below(which);
        let Some(host) = self.hosts.get_mut(number) else { return };
        let Some(container) = host.running.keys().chain(host.cut_off.keys()).nth(which).cloned() else { return };
        self.stop(number, container);
    }

    pub(crate) fn stop(&mut self, number: usize, container: String) {
        let Some(host) = self.hosts.get_mut(number) else { return };
        host.cut_off.remove(&container);
        let identity = host.identity();
        if let Some(running) = host.running.remove(&container) {
            self.rules.note_stopped(identity, &running, self.now);
        }
        self.counter += 1;
        match &mut host.ipam {
            Some(ipam) => ipam.release(RequestId(self.counter), &attachment(&container), self.now),
            None => host.spool.push(container),
        }
    }

    pub(crate) fn crash(&mut self, number: usize) {
        let Some(host) = self.hosts.get_mut(number) else { return };
        if host.ipam.take().is_none() {
            return;
        }
        self.told.crashes += 1;
        // The plugin was not answered: its runtime gives up on these containers and says DEL, which waits in the spool.
        let lost: Vec<_> =
            self.asked.iter().filter(|(_, asked)| asked.host == number).map(|(request, _)| *request).collect();
        for request in lost {
            host.spool.extend(self.asked.remove(&request).map(|asked| asked.container));
        }
        host.sessions.clear();
        (0..self.hosts.len()).for_each(|other| self.disconnect(other, number));
    }

    pub(crate) fn restart(&mut self, number: usize) -> Result<()> {
        let Some(host) = self.hosts.get_mut(number) else { return Ok(()) };
        // One that has not joined yet has nothing to start on.
        if host.ipam.is_some() || host.disk.is_empty() {
            return Ok(());
        }
        host.start(self.now)?;
        // It may have died when a revocation was durable and before it could say so.
        let known = host.ipam.iter().flat_map(ipam::Ipam::members).filter(|(_, _, revoked)| *revoked);
        let fresh: Vec<_> = known.map(|(one, _, _)| one).filter(|one| !self.rules.is_revoked(*one)).collect();
        fresh.iter().for_each(|one| self.rules.note_revoked(*one, &self.hosts, self.now));
        let host = self.hosts.get_mut(number).context("no such host")?;
        let (identity, lost) = (host.identity(), host.fence_lost());
        lost.iter().for_each(|running| self.rules.note_stopped(identity, running, self.now));
        // The spool is read before anything is served.
        let Some(ipam) = &mut host.ipam else { return Ok(()) };
        for container in std::mem::take(&mut host.spool) {
            self.counter += 1;
            ipam.release(RequestId(self.counter), &attachment(&container), self.now);
        }
        self.rules.ensure_kept(number, host)?;
        self.reconnect();
        Ok(())
    }

    /// Lets time pass; everything that is due happens in order.
    pub(crate) fn pass(&mut self, time: Duration) -> Result<()> {
        let end = self.now + time;
        loop {
            self.drain()?;
            let letter = self.letters.keys().next().map(|(at, _)| *at);
            let timers = self.hosts.iter().filter_map(|host| Some(host.ipam.as_ref()?.poll_timeout()?.0));
            let Some(next) = timers.chain(letter).min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.deliver();
            for ipam in self.hosts.iter_mut().filter_map(|host| host.ipam.as_mut()) {
                if ipam.poll_timeout().is_some_and(|(at, _)| at <= self.now) {
                    ensure_owners_stay(ipam, |ipam| ipam.handle_timeout(self.now))?;
                    let next = ipam.poll_timeout();
                    ensure!(next.is_none_or(|(at, _)| at > self.now), "woken for nothing, for ever: {next:?}");
                }
            }
        }
        self.now = end;
        Ok(())
    }

    /// Takes everything that the ledgers have to say, and syncs their disks.
    pub(crate) fn drain(&mut self) -> Result<()> {
        let mut again = true;
        while std::mem::take(&mut again) {
            for number in 0..self.hosts.len() {
                again |= self.drain_host(number)?;
            }
        }
        Ok(())
    }

    fn drain_host(&mut self, number: usize) -> Result<bool> {
        let mut dies = self.faults == Faults::All && self.dice.below(2000) == 0;
        let host = self.hosts.get_mut(number).context("no such host")?;
        let Some(ipam) = &mut host.ipam else { return Ok(false) };
        let mut busy = false;
        if let Some(batch) = ipam.poll_store() {
            if host.is_full {
                ipam.handle_store_failed(self.now);
                return Ok(true);
            }
            self.batches += 1;
            self.told.forgotten += batch.iter().filter(|write| is_forgotten(write)).count();
            // Dead before the sync, or after it and before anybody heard: both must be harmless.
            let mut before = dies && self.dice.chance(50);
            if let Some((_, unwritten)) = self.fatal.take_if(|(number, _)| *number == self.batches) {
                (dies, before) = (true, unwritten);
            }
            if !before {
                host.sync(&batch);
            }
            if dies {
                self.crash(number);
                return Ok(true);
            }
            let ipam = host.ipam.as_mut().context("dead")?;
            ipam.handle_stored(self.now);
            busy = true;
        }
        let Some(ipam) = &mut host.ipam else { return Ok(false) };
        let mut letters = VecDeque::new();
        while let Some(letter) = ipam.poll_transmit() {
            letters.push_back(letter);
        }
        let mut events = Vec::new();
        while let Some(event) = ipam.poll_event() {
            events.push(event);
        }
        busy |= !letters.is_empty() || !events.is_empty();
        letters.into_iter().for_each(|(to, bytes)| self.post(number, to, &bytes));
        for event in events {
            self.react(number, event)?;
        }
        Ok(busy)
    }

    /// Ends all faults. Returns what there were.
    pub(crate) fn without_faults(&mut self) -> Faults {
        self.has_healed |= self.faults != Faults::None;
        std::mem::replace(&mut self.faults, Faults::None)
    }

    pub(crate) fn bring_back(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Ends all faults and gives everybody time to hear of everything.
    pub(crate) fn mend(&mut self, time: Duration) -> Result<()> {
        self.without_faults();
        for number in 0..self.hosts.len() {
            self.restart(number)?;
        }
        self.heal();
        self.pass(time)
    }

    /// The rules that hold at every moment.
    pub(crate) fn check(&mut self) -> Result<()> {
        self.rules.check(&self.hosts)
    }

    /// Everybody comes to know the same owners.
    pub(crate) fn until_equal(&mut self) -> Result<()> {
        let until = self.now + crate::HEALED;
        while self.ensure_equal().is_err() && self.now < until {
            self.pass(Duration::from_secs(1))?;
        }
        self.ensure_equal()
    }

    /// Everybody knows the same owners.
    pub(crate) fn ensure_equal(&self) -> Result<()> {
        let table = |host: &Host| {
            let owned = host.ipam.iter().flat_map(ipam::Ipam::table);
            let mut rows: Vec<_> = owned.map(|owned| (owned.range, owned.owner, owned.epoch)).collect();
            rows.sort_unstable();
            rows
        };
        let first = self.hosts.first().map(table).unwrap_or_default();
        for (number, host) in self.hosts.iter().enumerate() {
            let own = table(host);
            let only_here: Vec<_> = own.iter().filter(|row| !first.contains(row)).collect();
            let only_there: Vec<_> = first.iter().filter(|row| !own.contains(row)).collect();
            ensure!(own == first, "host {number} knows {only_here:?}, where host 0 knows {only_there:?}");
            let (ours, theirs) = (names(host), self.hosts.first().map(names).unwrap_or_default());
            ensure!(ours == theirs, "host {number} knows {ours:?}, where host 0 knows {theirs:?}");
            let is_told = |lease: &&Lease| ours.iter().any(|line| line.workload == lease.workload);
            let lost = named(host).find(|lease| !is_told(lease));
            ensure!(lost.is_none(), "host {number} runs {lost:?}, and nobody knows");
        }
        Ok(())
    }

    pub(crate) fn told(&self) -> &Told {
        &self.told
    }
}

/// Who has which workload, as a host knows.
fn names(host: &Host) -> Vec<EntryBody> {
    host.ipam.iter().flat_map(ipam::Ipam::directory).cloned().collect()
}

/// The leases of workloads that run on a host under a name of their own.
fn named(host: &Host) -> impl Iterator<Item = &Lease> {
    let leases = host.ipam.iter().flat_map(ipam::Ipam::leases);
    leases.filter(|lease| lease.stickiness == Stickiness::Sticky && lease.state == LeaseState::Active)
}

/// Whether a line of the directory goes.
fn is_forgotten(write: &Write) -> bool {
    write.table == Table::Directory && write.value.is_none()
}

/// Nothing that is over is kept for longer than a round.
pub(crate) const CENSUS_AFTER: usize = 1;
/// Few enough for every one of them to be wanted on two hosts at once, again and again.
pub(crate) const WORKLOADS: usize = 8;
