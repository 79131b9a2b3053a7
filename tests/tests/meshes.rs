//! Whole routers but for their sockets: the real mesh and the real ledger of many hosts on one virtual clock, over links that
//! delay, lose, double and break, with hosts that die at any moment.
//!
//! A failure names its seed; `RADDLE_SIM_SEEDS=7..8` runs that one again, and a fresh one is run and printed each time.

#[path = "meshes/cheap.rs"]
mod cheap;
#[path = "sim/dice.rs"]
mod dice;
#[path = "meshes/net.rs"]
mod net;
#[path = "meshes/node.rs"]
mod node;
#[path = "meshes/revoked.rs"]
mod revoked;
#[path = "meshes/spread.rs"]
mod spread;
#[path = "meshes/thousand.rs"]
mod thousand;
#[path = "meshes/world.rs"]
mod world;

use std::{
    ops::Range,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use tests::{rounds, size};

use crate::{net::Weather, world::World};

const SECOND: Duration = Duration::from_secs(1);
/// A data centre on a bad day.
const BAD: Weather = Weather { loss: 5, doubled: 2, delay: Duration::from_millis(1), jitter: Duration::from_millis(4) };

/// Some fixed seeds, and one that nobody has run before.
fn seeds(usual: Range<u64>) -> Result<Vec<u64>> {
    if let Ok(text) = std::env::var("RADDLE_SIM_SEEDS") {
        let (from, to) = text.split_once("..").context("RADDLE_SIM_SEEDS is FROM..TO")?;
        return Ok((from.parse()?..to.parse()?).collect());
    }
    let fresh = u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos());
    say(&format!("fresh seed: {fresh}"));
    Ok(usual.chain([fresh]).collect())
}

#[expect(clippy::print_stdout, reason = "what an experiment has measured")]
fn say(text: &str) {
    println!("{text}");
}

fn percentile(samples: &mut [Duration], percent: usize) -> Duration {
    samples.sort_unstable();
    samples.get((samples.len() * percent / 100).min(samples.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// All start at once; then some die and come back all the time, and containers are started.
fn churns(world: &mut World, seed: u64, time: Duration) -> Result<()> {
    let hosts = world.nodes.len();
    for number in 0..hosts {
        world.start(number)?;
    }
    let whole = world.run_while(30 * SECOND, |world| !world.is_whole()).context("not everybody knows everybody")?;
    let (bytes, end) = (world.net.bytes, world.now + time);
    let mut returns: Vec<(Instant, usize)> = Vec::new();
    while world.now < end {
        world.run(SECOND)?;
        world.check_spread()?;
        // Five of a hundred in a minute, and in small clusters some in any case.
        let deaths = (hosts * 5).max(500) + world.net.dice.below(60 * 100);
        for _ in 0..deaths / (60 * 100) {
            let who = world.net.dice.below(hosts);
            world.kill(who)?;
            let back = world.now + SECOND * u32::try_from(25 + world.net.dice.below(20))?;
            returns.push((back, who));
        }
        let (due, later): (Vec<_>, Vec<_>) = returns.into_iter().partition(|(at, _)| *at <= world.now);
        returns = later;
        for (_, who) in due.into_iter().filter(|(_, who)| !world.is_alive(*who)).collect::<Vec<_>>() {
            world.start(who)?;
        }
        if world.net.dice.chance(50) {
            let who = world.net.dice.below(hosts);
            world.claim(who, None)?;
        }
    }
    let bytes = (world.net.bytes - bytes) * 2 / hosts as u64 / time.as_secs();
    say(&format!("{hosts} routers, seed {seed}: whole after {whole:?}; then {bytes} bytes a second each, in and out"));
    Ok(())
}

/// Everybody comes back, and everybody must come to know the same.
fn heals(world: &mut World) -> Result<()> {
    world.net.sides.clear();
    world.net.one_way.clear();
    for number in (0..world.nodes.len()).filter(|number| !world.is_alive(*number)).collect::<Vec<_>>() {
        world.start(number)?;
    }
    world.run_while(30 * SECOND, |world| !world.is_whole()).context("not whole after all")?;
    let took = world.run_while(20 * SECOND, |world| !world.is_equal()).context("not equal after all")?;
    say(&format!("equal {took:?} after the last one was back"));
    Ok(())
}

#[test]
fn a_cluster_that_churns_knows_who_lives_and_who_owns_what() -> Result<()> {
    let hosts = size(30, 100);
    let minutes = u32::try_from(size(3, 10))?;
    for seed in seeds(0..rounds(1, 20) as u64)? {
        let begin = Instant::now();
        let run = || -> Result<World> {
            let mut world = World::new(seed, hosts, BAD)?;
            churns(&mut world, seed, 60 * SECOND * minutes)?;
            heals(&mut world)?;
            Ok(world)
        };
        let mut told = run().with_context(|| format!("seed {seed}"))?.told;
        let noticed = [50, 99, 100].map(|percent| percentile(&mut told.noticed, percent));
        let pushed = [50, 99, 100].map(|percent| percentile(&mut told.pushed, percent));
        println!("  {} deaths noticed after {noticed:.1?} (p50, p99, worst)", told.deaths);
        println!("  {} of {} claims given; pushes arrived after {pushed:.1?}", told.given, told.claims);
        println!("  {:.1?} of this machine", begin.elapsed());
        ensure!(told.false_verdicts.is_empty(), "seed {seed}: {:?}", told.false_verdicts);
        ensure!(told.deaths > 2 && told.given > 10, "seed {seed}: too quiet: {} deaths", told.deaths);
    }
    Ok(())
}

/// A partition down the middle, on both sides of which addresses are given, and a third that only one side hears.
#[test]
fn a_partition_gives_no_address_twice_and_heals_by_itself() -> Result<()> {
    let hosts = size(12, 50);
    for seed in seeds(10..10 + rounds(1, 20) as u64)? {
        let run = || -> Result<World> {
            let mut world = World::new(seed, hosts, BAD)?;
            world.dies_at_sync = true;
            for number in 0..hosts {
                world.start(number)?;
            }
            world.run(30 * SECOND)?;
            world.net.sides = (0..hosts).map(|number| (number, number % 2)).collect();
            for _ in 0..60 {
                let (one, other) = (world.net.dice.below(hosts), world.net.dice.below(hosts));
                world.claim(one, None)?;
                if world.net.dice.chance(20) {
                    world.net.one_way.insert((one, other));
                }
                world.run(SECOND)?;
                for number in (0..hosts).filter(|number| !world.is_alive(*number)).collect::<Vec<_>>() {
                    world.start(number)?;
                }
            }
            world.dies_at_sync = false;
            heals(&mut world)?;
            Ok(world)
        };
        let told = run().with_context(|| format!("seed {seed}"))?.told;
        say(&format!("seed {seed}: {} given, {} deaths at a sync", told.given, told.deaths));
        ensure!(told.given > 20, "seed {seed}: too quiet");
    }
    Ok(())
}
