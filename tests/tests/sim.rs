//! Many real ledgers on one virtual clock: links that delay, lose and break, disks that forget what was not synced, hosts
//! that die at any moment. The rules are looked at after every step; a failure names its seed.
//!
//! `RADDLE_SIM_SEEDS=100..200` runs others than the usual seeds and the fresh one; `scripts/soak sim` runs a thousand.

#[path = "sim/dice.rs"]
mod dice;
#[path = "sim/host.rs"]
mod host;
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
