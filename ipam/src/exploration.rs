//! Every history of a few small routers: the real code, step by step, under a network that does its worst.
//!
//! Every record ever signed may reach anyone, every message whom it is for: any number of times, in any order, at any time or
//! never. A state is what the routers' disks and memories hold and what was ever sent; the exploration goes breadth first, so a
//! history that ends with one address in use on two hosts is the shortest there is. A router is a function of its state and its
//! input, so each of its steps is taken once and remembered; that makes a million states affordable.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use wire::message::Message;
use wire::{Identity, Slot};

use crate::stage::{Disk, apply, attachment, claim, epoch, genesis, identity, rows, signing_key};
use crate::{Claim, Config, Ipam, RequestId, Rules, To, found};

mod moves;
mod ownership;

/// What is explored, and how far.
pub(crate) struct Plan {
    pub(crate) hosts: u8,
    pub(crate) rules: Rules,
    /// The block changes hands at most so often.
    pub(crate) epochs: u64,
    /// Who may revoke whom.
    pub(crate) revocations: &'static [(usize, usize)],
    /// How often, all together.
    pub(crate) times: u8,
    /// What becomes of a router whose database is lost, and how often that happens.
    pub(crate) loss: Loss,
    /// Whether slots that came home are taken back into their blocks, at any moment.
    pub(crate) merges: bool,
    /// Whether what is superfluous is forgotten, at any moment at which all hold the same.
    pub(crate) forgets: bool,
    /// How often a router may be killed and started again on its disk.
    pub(crate) crashes: u8,
    /// The workload that all hosts claim; none = each its own.
    pub(crate) workload: Option<&'static str>,
    /// Whether that workload must never run twice: true where nobody is killed and nobody loses patience.
    pub(crate) one_name: bool,
    /// Pairs (who, whom) that believe they are not connected.
    pub(crate) silent: &'static [(u8, u8)],
    /// Give up, finding nothing, after so many states.
    pub(crate) limit: usize,
}

/// What becomes of a router whose database is lost.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    Never,
    /// It goes on under its old identity.
    KeepsIdentity,
    /// It is a new identity, so often at most; everybody that vanished is revoked together with whoever is.
    NewIdentity(u8),
}

/// How an exploration ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// No history of up to `depth` steps, nor any of the states seen beyond.
    Nothing {
        states: usize,
        depth: usize,
    },
    Duplicate {
        states: usize,
        history: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Claim,
    Release,
    Deliver(u16),
    Revoke(u16),
    Admit(u8),
    Merge,
    Forget,
    Crash,
    Lose,
}

/// One thing that was sent. To nobody in particular = to everybody.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Parcel {
    from: Identity,
    to: Option<Identity>,
    bytes: Vec<u8>,
}

/// One state: routers by number, and what was ever sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct World {
    cores: Vec<u32>,
    sent: Vec<u64>,
    /// Keys that identities were made of so far.
    keys: u8,
    crashes: u8,
    revoking: u8,
}

/// One state of one router, and what is asked of it again and again.
struct Core {
    ipam: Rc<Ipam>,
    key: u8,
    newest_epoch: u64,
    in_use: Vec<Slot>,
    revoked: Vec<Identity>,
    /// What it compares with others, and whether it holds more than that.
    compared: u64,
    superfluous: bool,
}

/// What a step leads to: the router's next state, and what it sent.
type Taken = (u32, Rc<Vec<u16>>);

struct Explorer {
    plan: Plan,
    now: Instant,
    cores: Vec<Core>,
    numbers: BTreeMap<(u64, u64), u32>,
    parcels: Vec<Parcel>,
    /// Whether a parcel asks for something that leads to another record.
    requests: Vec<bool>,
    parcel_numbers: BTreeMap<Parcel, u16>,
    victims: Vec<Vec<Identity>>,
    steps: BTreeMap<(u32, Step), Taken>,
}

/// Whose word a record is does not depend on who brings it.
fn courier() -> Identity {
    identity(200)
}

pub(crate) fn explore(plan: Plan) -> Found {
    let mut explorer = Explorer {
        plan,
        now: epoch(),
        cores: Vec::new(),
        numbers: BTreeMap::new(),
        parcels: Vec::new(),
        requests: Vec::new(),
        parcel_numbers: BTreeMap::new(),
        victims: Vec::new(),
        steps: BTreeMap::new(),
    };
    explorer.run()
}

impl Explorer {
    fn run(&mut self) -> Found {
        let first = self.beginning();
        let mut seen: BTreeSet<Rc<World>> = BTreeSet::new();
        let mut worlds = vec![Rc::new(first)];
        let mut before: Vec<(usize, usize, Step)> = vec![(0, 0, Step::Claim)];
        seen.insert(Rc::clone(&worlds[0]));
        let mut next = 0;
        while let Some(world) = worlds.get(next).cloned() {
            if self.is_duplicate(&world) {
                return Found::Duplicate { states: next + 1, history: self.history(&before, next) };
            }
            if next >= self.plan.limit {
                return Found::Nothing { states: next, depth: self.history(&before, next).len() - 1 };
            }
            for (host, step, after) in self.successors(&world) {
                if !seen.contains(&after) {
                    let after = Rc::new(after);
                    seen.insert(Rc::clone(&after));
                    worlds.push(after);
                    before.push((next, host, step));
                }
            }
            next += 1;
        }
        Found::Nothing { states: next, depth: usize::MAX }
    }

    fn history(&self, before: &[(usize, usize, Step)], last: usize) -> Vec<String> {
        let mut steps = VecDeque::new();
        let mut at = last;
        while at != 0 {
            let (earlier, host, step) = before[at];
            steps.push_front(self.told(host, step));
            at = earlier;
        }
        steps.into()
    }

    /// One network whose pool is one block, the first host's; everybody knows everybody.
    fn beginning(&mut self) -> World {
        let hosts = self.plan.hosts;
        let mut cores = Vec::new();
        for host in 0..hosts {
            let config = self.config(host);
            let mut disk = Disk::new();
            apply(&mut disk, &found(&config));
            let mut ipam = Ipam::new(config, &rows(&disk), self.now).unwrap();
            for other in (0..hosts).filter(|other| *other != host) {
                ipam.admit(identity(other), None, self.now);
                if !self.plan.silent.contains(&(host, other)) {
                    ipam.handle_peer_up(identity(other), self.now);
                }
            }
            cores.push(self.settle(ipam, host).0);
        }
        World { cores, sent: Vec::new(), keys: hosts, crashes: 0, revoking: 0 }
    }

    fn config(&self, key: u8) -> Config {
        Config {
            rest: std::time::Duration::ZERO,
            low_water_percent: 0,
            rules: self.plan.rules,
            ..Config::new(signing_key(key), genesis(28, 16))
        }
    }

    /// Everything that may happen next.
    fn successors(&mut self, world: &World) -> Vec<(usize, Step, World)> {
        let mut all = Vec::new();
        for host in 0..world.cores.len() {
            for step in self.steps_of(world, host) {
                let after = self.take(world, host, step);
                all.extend((after != *world).then_some((host, step, after)));
            }
            if self.may_be_lost(world) {
                all.push((host, Step::Lose, self.lose(world, host)));
            }
        }
        all
    }

    fn steps_of(&mut self, world: &World, host: usize) -> Vec<Step> {
        let core = &self.cores[world.cores[host] as usize];
        let (me, newest) = (identity(core.key), core.newest_epoch);
        let may_forget = self.plan.forgets && core.superfluous && self.all_hold_the_same(world);
        let mut steps = vec![if core.in_use.is_empty() { Step::Claim } else { Step::Release }];
        for (number, parcel) in self.parcels.iter().enumerate() {
            let sent = world.sent.get(number / 64).is_some_and(|bits| bits >> (number % 64) & 1 == 1);
            let spends = newest >= self.plan.epochs && self.requests[number];
            if sent && !spends && parcel.to.is_none_or(|to| to == me) {
                steps.push(Step::Deliver(u16::try_from(number).unwrap()));
            }
        }
        if world.revoking < self.plan.times {
            steps.extend(self.revocations(world, host));
        }
        if self.plan.merges && newest < self.plan.epochs {
            steps.push(Step::Merge);
        }
        if may_forget {
            steps.push(Step::Forget);
        }
        if world.crashes < self.plan.crashes {
            steps.push(Step::Crash);
        }
        steps
    }

    fn all_hold_the_same(&self, world: &World) -> bool {
        let mut compared = world.cores.iter().map(|core| self.cores[*core as usize].compared);
        let first = compared.next();
        compared.all(|other| Some(other) == first)
    }

    /// Somebody is revoked, and with it every identity that has vanished.
    fn revocations(&mut self, world: &World, host: usize) -> Vec<Step> {
        let keys: Vec<u8> = world.cores.iter().map(|core| self.cores[*core as usize].key).collect();
        let vanished: Vec<_> = (0..world.keys).filter(|key| !keys.contains(key)).collect();
        let mut steps = Vec::new();
        let may = |victim: usize| self.plan.revocations.contains(&(host, victim));
        let targets: Vec<u8> =
            keys.iter().enumerate().filter(|(victim, _)| may(*victim)).map(|(_, key)| *key).collect();
        for victim in targets {
            let victims: Vec<_> = vanished.iter().copied().chain([victim]).map(identity).collect();
            let number = self.victims.iter().position(|known| *known == victims).unwrap_or_else(|| {
                self.victims.push(victims);
                self.victims.len() - 1
            });
            steps.push(Step::Revoke(u16::try_from(number).unwrap()));
        }
        steps
    }

    fn take(&mut self, world: &World, host: usize, step: Step) -> World {
        let (core, sent) = self.step(world.cores[host], step);
        let mut after = world.clone();
        after.cores[host] = core;
        after.crashes += u8::from(step == Step::Crash);
        after.revoking += u8::from(matches!(step, Step::Revoke(_)));
        for number in sent.iter() {
            let (word, bit) = (usize::from(number / 64), number % 64);
            after.sent.resize(after.sent.len().max(word + 1), 0);
            after.sent[word] |= 1 << bit;
        }
        after
    }

    /// What one router makes of one step.
    fn step(&mut self, core: u32, step: Step) -> Taken {
        if let Some(known) = self.steps.get(&(core, step)) {
            return known.clone();
        }
        let Core { ipam, key, .. } = &self.cores[core as usize];
        let (mut ipam, key, now) = (Ipam::clone(ipam), *key, self.now);
        let container = format!("c{key}");
        match step {
            Step::Claim => ipam.claim(RequestId(1), self.claim_of(&container), now),
            Step::Release => ipam.release(RequestId(2), &attachment(&container), now),
            Step::Deliver(number) => {
                let parcel = self.parcels[usize::from(number)].clone();
                // Nobody is lost to one router alone; that none of them is seen alive any more makes promises easiest.
                if let Ok(Message::RevokeAsk { ask, .. }) = Message::parse(&parcel.bytes) {
                    ask.victims.iter().for_each(|victim| ipam.handle_peer_down(*victim, now));
                }
                ipam.handle_message(parcel.from, &parcel.bytes, now);
            }
            Step::Revoke(number) => ipam.revoke(RequestId(3), &self.victims[usize::from(number)].clone(), now),
            Step::Admit(other) => {
                ipam.admit(identity(other), None, now);
                ipam.handle_peer_up(identity(other), now);
            }
            Step::Merge => ipam.merge_homes_at_once(now),
            Step::Forget => ipam.forget_at_once(),
            Step::Crash => {
                let mut restored = Ipam::new(self.config(key), &ipam.stored_rows(), now).unwrap();
                for other in ipam.connected_peers() {
                    restored.handle_peer_up(other, now);
                }
                ipam = restored;
            }
            Step::Lose => ipam = Ipam::new(self.config(key), &found(&self.config(key)), now).unwrap(),
        }
        let (number, sent) = self.settle(ipam, key);
        let result = (number, Rc::new(sent));
        self.steps.insert((core, step), result.clone());
        result
    }

    fn claim_of(&self, container: &str) -> Claim {
        claim(container, self.plan.workload)
    }

    /// Everything written, everything sent noted down.
    fn settle(&mut self, mut ipam: Ipam, key: u8) -> (u32, Vec<u16>) {
        let mut sent = Vec::new();
        loop {
            if ipam.poll_store().is_some() {
                ipam.handle_stored(self.now);
                continue;
            }
            let Some((to, bytes)) = ipam.poll_transmit() else { break };
            sent.extend(self.parcels_of(key, to, bytes));
        }
        while ipam.poll_event().is_some() {}
        sent.sort_unstable();
        sent.dedup();
        let fingerprint = ipam.fingerprint();
        let next = u32::try_from(self.cores.len()).unwrap();
        let number = *self.numbers.entry(fingerprint).or_insert(next);
        if number == next {
            let newest_epoch = ipam.table().iter().map(|owned| owned.epoch.0).max().unwrap_or(0);
            let (in_use, revoked) = (ipam.slots_in_use().into_iter().collect(), ipam.revoked().into_iter().collect());
            let (compared, superfluous) = ipam.compared();
            self.cores.push(Core { ipam: Rc::new(ipam), key, newest_epoch, in_use, revoked, compared, superfluous });
        }
        (number, sent)
    }

    /// Takes a message apart: records go each on its own way. Comparing and asking brings nothing that is not on its way already.
    fn parcels_of(&mut self, key: u8, to: To, bytes: Vec<u8>) -> Vec<u16> {
        let whom = match to {
            To::Peer(identity) => Some(identity),
            To::AllPeers => None,
        };
        let from = identity(key);
        let mut parcels = Vec::new();
        match Message::parse(&bytes).unwrap() {
            Message::Records(records) | Message::SpaceGrant { records, .. } => {
                for record in records {
                    parcels.push(Parcel { from: courier(), to: None, bytes: Message::Records(vec![record]).emit() });
                }
            }
            Message::MoveCommit { records, .. } => {
                for record in records {
                    parcels.push(Parcel { from: courier(), to: None, bytes: Message::Records(vec![record]).emit() });
                }
                parcels.push(Parcel { from, to: whom, bytes });
            }
            Message::RevokeCommit { .. } | Message::Entries(_) | Message::Census(_) => {
                parcels.push(Parcel { from: courier(), to: None, bytes })
            }
            Message::Digest(_)
            | Message::Compare(_)
            | Message::Want(_)
            | Message::WantRange(_)
            | Message::Part(_)
            | Message::LogHead(_)
            | Message::Room(_) => {}
            Message::SpaceRequest(_)
            | Message::SpaceDeny { .. }
            | Message::MovePrepare(_)
            | Message::MoveOffer { .. }
            | Message::MoveReady { .. }
            | Message::MoveAbort { .. }
            | Message::MoveRefused { .. }
            | Message::NameAsk { .. }
            | Message::NameAnswer { .. }
            | Message::NameDrop { .. }
            | Message::MoveInvite { .. }
            | Message::MoveInvited { .. }
            | Message::MoveCancel { .. }
            | Message::RevokeAsk { .. }
            | Message::RevokePromise { .. } => parcels.push(Parcel { from, to: whom, bytes }),
        }
        parcels.into_iter().map(|parcel| self.number_of(parcel)).collect()
    }

    fn number_of(&mut self, parcel: Parcel) -> u16 {
        let next = u16::try_from(self.parcels.len()).unwrap();
        let number = *self.parcel_numbers.entry(parcel.clone()).or_insert(next);
        if number == next {
            self.requests.push(is_request(&parcel.bytes));
            self.parcels.push(parcel);
        }
        number
    }

    fn may_be_lost(&self, world: &World) -> bool {
        match self.plan.loss {
            Loss::Never => false,
            Loss::KeepsIdentity => true,
            Loss::NewIdentity(times) => world.keys < self.plan.hosts + times,
        }
    }

    /// A database is gone.
    fn lose(&mut self, world: &World, host: usize) -> World {
        if self.plan.loss == Loss::KeepsIdentity {
            return self.take(world, host, Step::Lose);
        }
        let mut after = world.clone();
        let fresh = world.keys;
        after.keys += 1;
        let config = self.config(fresh);
        let ipam = Ipam::new(config.clone(), &found(&config), self.now).unwrap();
        after.cores[host] = self.settle(ipam, fresh).0;
        // Everybody that was ever admitted is known to everybody that is there.
        for key in 0..world.keys {
            after.cores[host] = self.step(after.cores[host], Step::Admit(key)).0;
        }
        for other in (0..world.cores.len()).filter(|other| *other != host) {
            after.cores[other] = self.step(after.cores[other], Step::Admit(fresh)).0;
        }
        after
    }

    /// Whether an address is in use on two hosts that are not known to be revoked.
    fn is_duplicate(&self, world: &World) -> bool {
        let cores: Vec<_> = world.cores.iter().map(|core| &self.cores[*core as usize]).collect();
        let is_revoked = |core: &Core| cores.iter().any(|other| other.revoked.contains(&identity(core.key)));
        let counted: Vec<_> = cores.iter().filter(|core| !core.in_use.is_empty() && !is_revoked(core)).collect();
        if self.plan.one_name && counted.len() > 1 {
            return true;
        }
        counted.iter().enumerate().any(|(number, core)| {
            counted.iter().skip(number + 1).any(|other| core.in_use.iter().any(|slot| other.in_use.contains(slot)))
        })
    }

    fn told(&self, host: usize, step: Step) -> String {
        match step {
            Step::Deliver(number) => {
                let message = Message::parse(&self.parcels[usize::from(number)].bytes).unwrap();
                let text: String = format!("{message:?}").chars().take(120).collect();
                format!("host {host} hears {text}")
            }
            Step::Revoke(number) => format!("host {host} revokes {:?}", self.victims[usize::from(number)]),
            Step::Claim | Step::Release | Step::Admit(_) | Step::Merge | Step::Forget | Step::Crash | Step::Lose => {
                format!("host {host}: {step:?}")
            }
        }
    }
}

/// Requests that lead to another record.
fn is_request(bytes: &[u8]) -> bool {
    matches!(Message::parse(bytes), Ok(Message::SpaceRequest(_) | Message::MovePrepare(_)))
}
