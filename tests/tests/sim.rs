//! Many real ledgers on one virtual clock: links that delay, lose and break, disks that forget what was not synced, hosts
//! that die at any moment. The rules are looked at after every step; a failure names its seed.
//!
//! `RADDLE_SIM_SEEDS=100..200` runs others than the usual seeds and the fresh one; `scripts/soak sim` runs a thousand.

#[path = "sim/dice.rs"]
mod dice;
#[path = "sim/events.rs"]
mod events;
#[path = "sim/histories.rs"]
mod histories;
#[path = "sim/host.rs"]
mod host;
#[path = "sim/links.rs"]
mod links;
#[path = "sim/races.rs"]
mod races;
#[path = "sim/rules.rs"]
mod rules;
#[path = "sim/world.rs"]
mod world;

use std::{
    io::Write as _,
    ops::Range,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};

use crate::world::{Faults, World};

/// Enough steps for every container to have moved and every host to have died several times.
const STEPS: usize = 1500;
/// Design: after a heal everything is equal within 15 s.
const HEALED: Duration = Duration::from_secs(15);

/// The usual seeds, many more under `scripts/soak`, and one that nobody has ever tried.
fn seeds(usual: Range<u64>, soaking: usize) -> Result<Vec<u64>> {
    if let Ok(text) = std::env::var("RADDLE_SIM_SEEDS") {
        let (from, to) = text.split_once("..").context("RADDLE_SIM_SEEDS is FROM..TO")?;
        return Ok((from.parse()?..to.parse()?).collect());
    }
    let usual_many = usize::try_from(usual.end - usual.start)?;
    let many = u64::try_from(tests::rounds(usual_many, soaking))?;
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let fresh = u64::from(since.subsec_nanos()) << 16 | since.as_secs() & 0xffff;
    writeln!(std::io::stdout(), "fresh seed {fresh}: RADDLE_SIM_SEEDS={fresh}..{} repeats it", fresh + 1)?;
    Ok((usual.start..usual.start + many).chain([fresh]).collect())
}

fn run(seed: u64, hosts: usize, faults: Faults) -> Result<World> {
    let mut world = World::new(seed, hosts, faults)?;
    for step in 0..STEPS {
        world.step().and_then(|()| world.check()).with_context(|| format!("seed {seed}, step {step}"))?;
    }
    Ok(world)
}

/// Afterwards all is mended, and everybody must come to know the same.
fn heals(mut world: World, seed: u64) -> Result<World> {
    world.mend(HEALED)?;
    world.check().with_context(|| format!("seed {seed}, after the heal"))?;
    world.ensure_equal().with_context(|| format!("seed {seed}, after the heal"))?;
    Ok(world)
}

#[test]
fn without_faults_every_workload_keeps_its_address() -> Result<()> {
    for seed in seeds(0..4, 100)? {
        let world = heals(run(seed, 4, Faults::None)?, seed)?;
        ensure!(world.told().given > 100, "seed {seed}: nothing happened: {:?}", world.told());
        ensure!(world.told().strayed == 0, "seed {seed}: {:?}", world.told());
        ensure!(world.told().cut_off > 0 && world.told().said > 0, "seed {seed}: {:?}", world.told());
        ensure!(world.told().forgotten > 0, "seed {seed}: {:?}", world.told());
    }
    Ok(())
}

#[test]
fn no_address_is_given_twice_whatever_breaks() -> Result<()> {
    for seed in seeds(100..112, 1000)? {
        let world = heals(run(seed, 5, Faults::All)?, seed)?;
        ensure!(world.told().given > 50 && world.told().crashes > 5, "seed {seed}: too quiet: {:?}", world.told());
    }
    Ok(())
}

/// Revocations, also of hosts that live, and by two at once; databases that are lost, full, or restored from a copy.
#[test]
fn no_address_is_given_twice_whoever_is_revoked_or_forgets() -> Result<()> {
    let (mut revoked, mut lost, mut restored) = (0, 0, 0);
    let seeds = seeds(1042..1050, 1000)?;
    for seed in &seeds {
        let lived = || -> Result<World> {
            let mut world = World::new(*seed, 6, Faults::All)?;
            for step in 0..TURNS {
                world.turn().and_then(|()| world.check()).with_context(|| format!("turn {step}"))?;
            }
            world.settle_down()?;
            world.check()?;
            world.until_equal()?;
            Ok(world)
        };
        let world = lived().with_context(|| format!("seed {seed}"))?;
        let told = world.told();
        ensure!(told.given > 0 && told.crashes > 0, "seed {seed}: too quiet: {told:?}");
        (revoked, lost, restored) = (revoked + told.revoked, lost + told.lost, restored + told.restored);
    }
    // One seed that is repeated need not have them all.
    ensure!(seeds.len() == 1 || revoked > 0 && lost > 0 && restored > 0, "too quiet: {revoked}, {lost}, {restored}");
    writeln!(
        std::io::stdout(),
        "{} histories: {revoked} revocations, {lost} databases lost, {restored} restored from a copy",
        seeds.len()
    )?;
    Ok(())
}

/// Counts how often a history's disks are written, and lives it once more for each time, with a crash right there: before the
/// sync, and after it but before anybody has heard.
#[test]
fn a_crash_at_any_durable_step_is_harmless() -> Result<()> {
    for seed in seeds(300..301, 40)? {
        let batches = crashes_at(seed, None)?.batches;
        for step in 1..=batches {
            // One of the two in every run, in turn; both under `scripts/soak`.
            for unwritten in [step % 2 == 0, step % 2 == 1].into_iter().take(tests::size(1, 2)) {
                let fatal = Some((step, unwritten));
                crashes_at(seed, fatal)
                    .with_context(|| format!("seed {seed}, a crash at batch {fatal:?} of {batches}"))?;
            }
        }
        ensure!(batches > 30, "seed {seed}: {batches} batches are too few");
        writeln!(std::io::stdout(), "seed {seed}: a crash at each of {batches} durable steps")?;
    }
    Ok(())
}

/// A history without any other fault, with a revocation or two in it.
fn crashes_at(seed: u64, fatal: Option<(usize, bool)>) -> Result<World> {
    let mut world = World::new(seed, 4, Faults::None)?;
    // What is lost in a crash may start a name twice, and never an address.
    (world.batches, world.fatal, world.has_healed) = (0, fatal, true);
    for step in 0..SHORT {
        world.step().and_then(|()| world.check()).with_context(|| format!("step {step}"))?;
        match step {
            4 => world.revoke(0, &[1])?,
            // By two hosts, of sets that overlap.
            _ if step == SHORT / 2 => {
                world.revoke(2, &[3])?;
                world.revoke(0, &[3, 1])?;
            }
            _ => world.wake()?,
        }
        world.check().with_context(|| format!("step {step}"))?;
    }
    world.settle_down()?;
    world.check()?;
    world.until_equal()?;
    Ok(world)
}

#[test]
fn who_gives_a_block_to_two_is_found_out_by_all() -> Result<()> {
    for seed in seeds(400..404, 200)? {
        let found_out = || -> Result<()> {
            let mut world = World::new(seed, 5, Faults::None)?;
            world.has_healed = true;
            for _ in 0..20 {
                world.step()?;
            }
            world.mend(HEALED)?;
            let culprit = world.hosts.get(1).context("no host")?.identity();
            let range = world.equivocate(1, [2, 3])?;
            // One round of anti-entropy, with the time that its messages take.
            world.pass(ipam::GOSSIP + Duration::from_secs(1))?;
            world.ensure_found_out(culprit, range)?;
            let before = world.told().given;
            for _ in 0..40 {
                world.step()?;
            }
            ensure!(world.told().given > before, "the others are affected");
            world.revoke(0, &[1])?;
            world.settle_down()?;
            world.until_equal()
        };
        found_out().with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

/// All hosts want one workload, or different ones the same address, and the workload may have been given up at this instant.
#[test]
fn what_all_hosts_want_at_the_same_instant_goes_to_one() -> Result<()> {
    for seed in seeds(500..503, 1000)? {
        let raced = || -> Result<World> {
            let mut world = World::new(seed, 4, Faults::None)?;
            for step in 0..RACES {
                world.step().and_then(|()| world.race()).with_context(|| format!("race {step}"))?;
                world.check().with_context(|| format!("race {step}"))?;
            }
            heals(world, seed)
        };
        let told = raced().with_context(|| format!("seed {seed}"))?.told().clone();
        ensure!(told.raced * 2 > RACES, "seed {seed}: too few races were won: {told:?}");
    }
    Ok(())
}

/// Enough for every workload to be raced for in each of its states.
const RACES: usize = 200;
/// Enough for several revocations, some of them of hosts that live.
const TURNS: usize = 150;
/// Short enough to be lived a hundred times.
const SHORT: usize = 16;
