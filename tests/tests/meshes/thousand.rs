//! As many routers as one process holds, with cheap primitives ([`crate::cheap`]): what is asked of a cluster of a thousand.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tests::size;

use crate::{BAD, SECOND, churns, heals, net::Weather, node::Arithmetic, percentile, say, seeds, world::World};

/// Everybody starts at once; then five of a hundred die in a minute and come back, and containers are started.
#[test]
fn a_thousand_routers_know_who_lives_and_who_owns_what() -> Result<()> {
    let hosts = number("RADDLE_SIM_HOSTS", size(60, 1000))?;
    let minutes = u32::try_from(number("RADDLE_SIM_MINUTES", size(2, 10))?)?;
    let (mut deaths, mut found) = (0, 0);
    for seed in seeds(0..1)? {
        let spent = Spent::now();
        let run = || -> Result<World> {
            let mut world = World::computed_with(Arithmetic::Cheap, seed, hosts, BAD)?;
            churns(&mut world, seed, 60 * SECOND * minutes)?;
            heals(&mut world)?;
            Ok(world)
        };
        let world = run().with_context(|| format!("seed {seed}"))?;
        let mut told = world.told;
        let noticed = [50, 99, 100].map(|percent| percentile(&mut told.noticed, percent));
        let pushed = [50, 99, 100].map(|percent| percentile(&mut told.pushed, percent));
        say(&format!("  {} deaths noticed after {noticed:.1?} (p50, p99, worst)", told.deaths));
        say(&format!("  {} of {} claims given; pushes arrived after {pushed:.1?}", told.given, told.claims));
        say(&format!("  {} records were everywhere 20 s after they were pushed", told.found));
        say(&format!("  {} living routers called dead; {spent}", told.false_verdicts.len()));
        ensure!(told.false_verdicts.is_empty(), "seed {seed}: {:?}", told.false_verdicts);
        // The clock is the simulation's: no load of this machine is in it. In a short run one lost segment is one in a hundred.
        let is_long = size(0, 1) == 1;
        ensure!(!is_long || pushed[1] <= PUSHED, "seed {seed}: one push in a hundred took {:?}", pushed[1]);
        (deaths, found) = (deaths + told.deaths, found + told.found);
    }
    ensure!(deaths > 2 && found > 0, "too quiet: {deaths} deaths, {found} records");
    Ok(())
}

/// What one router says, hears and takes when nothing happens, by the number of routers: the lines of `docs/scale.json`.
#[test]
fn a_router_of_a_thousand_routers_costs_little_while_nothing_happens() -> Result<()> {
    let calm = Weather { loss: 0, doubled: 0, ..BAD };
    let sizes = match number("RADDLE_SIM_HOSTS", 0)? {
        0 => [[2, 10, 30].as_slice(), &[50, 100, 300, 1000][..size(0, 4)]].concat(),
        hosts => vec![hosts],
    };
    let mut costs = Vec::new();
    for hosts in sizes {
        let before = memory_bytes()?;
        let mut world = World::computed_with(Arithmetic::Cheap, 1, hosts, calm)?;
        let start = Spent::now();
        for number in 0..hosts {
            world.start(number)?;
        }
        let whole = world.run_while(30 * SECOND, |world| !world.is_whole())?;
        let start = start.core();
        world.run(30 * SECOND)?;
        let (bytes, datagrams, idle) = (world.net.bytes, world.net.datagrams, Spent::now());
        world.run(120 * SECOND)?;
        // Each is sent by one and heard by another.
        let each = |total: u64| total * 2 / 120 / hosts as u64;
        let cost = each(world.net.bytes - bytes);
        let each_core = |core: Duration| core.as_secs_f64() / hosts as f64;
        say(&format!(
            "{{\"routers\": {hosts}, \"bytes_s\": {cost}, \"frames_s\": {}, \"core_percent\": {:.4}, \"mib\": {:.2}, \
             \"start_core_ms\": {:.1}, \"whole_s\": {:.2}}}",
            each(world.net.datagrams - datagrams),
            each_core(idle.core()) / 120.0 * 100.0,
            memory_bytes()?.saturating_sub(before) as f64 / hosts as f64 / 1_048_576.0,
            each_core(start) * 1000.0,
            whole.as_secs_f64(),
        ));
        costs.push(cost);
    }
    ensure!(costs.iter().all(|cost| *cost <= 1024), "{costs:?} bytes a second");
    let (least, most) = (costs.iter().min(), costs.iter().max());
    ensure!(most.zip(least).is_some_and(|(most, least)| *most <= least * 2), "it grows: {costs:?}");
    Ok(())
}

/// A number that whoever runs the test may choose.
fn number(name: &str, usual: usize) -> Result<usize> {
    Ok(std::env::var(name).ok().map(|text| text.parse()).transpose()?.unwrap_or(usual))
}

/// What an experiment has cost so far.
struct Spent {
    began: Instant,
    core: Duration,
}

impl Spent {
    fn now() -> Self {
        Self { began: Instant::now(), core: core_time() }
    }

    fn core(&self) -> Duration {
        core_time().saturating_sub(self.core)
    }
}

impl std::fmt::Display for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let memory = memory_bytes().unwrap_or_default() / 1_048_576;
        write!(f, "{:.1?} of the clock, {:.1?} of a core, {memory} MiB", self.began.elapsed(), self.core())
    }
}

/// How long this thread has run: other work of the machine is not in it.
fn core_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or_default())
}

fn memory_bytes() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = text.split(' ').nth(1).context("statm without a resident size")?.parse()?;
    Ok(pages * 4096)
}

/// How long 99 of 100 pushes may take, where one datagram in twenty is lost.
const PUSHED: Duration = Duration::from_millis(100);
