//! Routers that are killed at any moment while addresses are given, given back and moved.
//!
//! What a router acknowledged is there when it is back, and no address is two containers' at a time.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::Ipv4Addr,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, Result, bail, ensure};
use control_api::{ClientError, LeaseState};
use tests::{Cluster, JoinBy, Stage, Underlay, pass, rounds, until};

use crate::{client::Asker, dice::Dice};

/// What all hosts were told.
#[derive(Default)]
struct Told {
    /// Who has which address: host and container.
    owners: BTreeMap<Ipv4Addr, (usize, String)>,
    /// Where each workload was last, and under which address.
    places: BTreeMap<String, (usize, Ipv4Addr)>,
    given: usize,
    /// Of those given, by how many a workload came to another host and found its address there.
    moved: usize,
    /// What was given although somebody had it.
    twice: Option<String>,
}

/// What one host's plugin knows.
struct Runtime<'a> {
    host: usize,
    asker: Asker,
    dice: Dice,
    told: &'a Mutex<Told>,
    deeds: &'a AtomicUsize,
    /// Acknowledged, and not given back.
    running: BTreeMap<String, Ipv4Addr>,
    /// Nobody said what became of these.
    doubtful: Vec<String>,
    counter: usize,
}

impl Runtime<'_> {
    fn run(&mut self, over: &AtomicBool) -> Result<()> {
        while !over.load(Ordering::Relaxed) {
            if self.deed().is_err() {
                self.reconcile()?;
            }
        }
        self.reconcile()
    }

    /// One thing a runtime does. An error = nobody knows whether it was done.
    fn deed(&mut self) -> Result<(), ClientError> {
        self.deeds.fetch_add(1, Ordering::Relaxed);
        if self.dice.chance(45) || self.running.len() > MOST {
            let which = self.dice.below(self.running.len());
            let Some(container) = self.running.keys().nth(which).cloned() else { return Ok(()) };
            return self.release(&container);
        }
        self.counter += 1;
        let container = format!("{}-{}", self.host, self.counter);
        let workload = self.dice.chance(50).then(|| format!("work-{}", self.dice.below(WORKLOADS)));
        match self.asker.allocate(&container, workload.as_deref()) {
            Ok(address) => self.note(container, workload, address),
            Err(ClientError::Refused(_)) => {}
            Err(error) => {
                self.doubtful.push(container);
                return Err(error);
            }
        }
        Ok(())
    }

    fn release(&mut self, container: &str) -> Result<(), ClientError> {
        if let Some(address) = self.running.remove(container)
            && let Ok(mut told) = self.told.lock()
        {
            told.owners.remove(&address);
        }
        let released = self.asker.release(container);
        if released.is_err() {
            self.doubtful.push(container.to_owned());
        }
        released
    }

    /// A container may use its address from here on.
    fn note(&mut self, container: String, workload: Option<String>, address: Ipv4Addr) {
        if let Ok(mut told) = self.told.lock() {
            told.given += 1;
            if let Some(other) = told.owners.insert(address, (self.host, container.clone())) {
                told.twice = Some(format!("{address}: {container} and {other:?}"));
            }
            let before = workload.and_then(|workload| told.places.insert(workload, (self.host, address)));
            told.moved += usize::from(before.is_some_and(|(host, had)| host != self.host && had == address));
        }
        self.running.insert(container, address);
    }

    /// The router is back: it has what it acknowledged.
    fn reconcile(&mut self) -> Result<()> {
        let asked = || Ok(Some((self.asker.containers()?, self.asker.leases()?)));
        let (containers, leases) = until(&format!("router {} answers", self.host), BACK, asked)?;
        let running: BTreeMap<_, _> = containers.into_iter().map(|one| (one.container_id, one.address)).collect();
        for (container, address) in &self.running {
            let about: Vec<_> = leases.iter().filter(|lease| lease.address == *address).collect();
            let is_given = running.get(container) == Some(address);
            // One that moves too often is frozen, and runs on where it is.
            let is_fenced = about.iter().any(|lease| lease.state == LeaseState::Fenced);
            ensure!(is_given && !is_fenced, "host {} forgot {container} at {address}: {about:?}", self.host);
        }
        while let Some(container) = self.doubtful.pop() {
            if self.release(&container).is_err() {
                // Killed again.
                return self.reconcile();
            }
        }
        Ok(())
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_given_twice_whenever_routers_are_killed() -> Result<()> {
    let kills = rounds(40, 2000);
    let seed = u64::from(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.subsec_nanos());
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let mut cluster = Cluster::form_by(&stage, JoinBy::Token, &["--pool", "10.32.0.0/20", "--block-size", "16"])?;
    let (told, over, deeds) = (Mutex::<Told>::default(), AtomicBool::new(false), AtomicUsize::new(0));
    let mut longest = Duration::ZERO;
    std::thread::scope(|scope| -> Result<()> {
        let runtimes: Vec<_> = (1..=3)
            .map(|host| {
                let mut runtime = Runtime {
                    host,
                    asker: Asker::of(cluster.router(host)?.host()),
                    dice: Dice::new(seed.wrapping_add(host as u64)),
                    told: &told,
                    deeds: &deeds,
                    running: BTreeMap::new(),
                    doubtful: Vec::new(),
                    counter: 0,
                };
                let over = &over;
                Ok(scope.spawn(move || runtime.run(over)))
            })
            .collect::<Result<_>>()?;
        let mut dice = Dice::new(seed);
        let killed = (0..kills).try_for_each(|_| {
            pass(Duration::from_micros(dice.below(200_000) as u64));
            let router = cluster.router_mut(1 + dice.below(3))?;
            router.kill()?;
            let start = Instant::now();
            router.start_again()?;
            longest = longest.max(start.elapsed());
            ensure!(!runtimes.iter().any(|runtime| runtime.is_finished()), "a runtime has given up");
            Ok(())
        });
        over.store(true, Ordering::Relaxed);
        for runtime in runtimes {
            runtime.join().map_err(|_| anyhow::anyhow!("panicked"))?.with_context(|| format!("seed {seed}"))?;
        }
        killed
    })?;
    let Told { owners, given, moved, twice, .. } = told.into_inner()?;
    if let Some(twice) = twice {
        bail!("seed {seed}: given twice: {twice}");
    }
    let deeds = deeds.into_inner();
    ensure!(given > kills && moved > 0, "{given} given, {moved} of them to who moved, for {kills} kills: too quiet");
    cluster.until_whole()?;
    writeln!(
        std::io::stdout(),
        "{kills} kills during {deeds} deeds: {given} addresses given, {moved} of them to who moved, {} in use at the end; \
         longest start {longest:?}",
        owners.len()
    )?;
    Ok(())
}

/// Workloads that all hosts want: each move is one of these.
const WORKLOADS: usize = 12;
/// Containers of one host.
const MOST: usize = 60;
/// A router that is killed again and again takes a while.
const BACK: Duration = Duration::from_secs(60);
