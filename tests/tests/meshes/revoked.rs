//! A router dies that has let another one in where only some heard of it: whoever is asked to revoke it, all come to do so.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, ensure};
use ipam::RequestId;

use crate::{
    BAD, SECOND,
    net::Weather,
    node::{Arithmetic, Node},
    seeds,
    world::{World, sponsor},
};

/// The founder, which lets the newcomer in and dies; and three others, of which the first is on its side of a cut.
const GONE: usize = 0;
const NEAR: usize = 1;
const FAR: [usize; 2] = [2, 3];

impl World {
    /// One host more, that a running one has let in. It is off, and knows whom its sponsor knows.
    fn join(&mut self, by: usize) -> Result<usize> {
        let number = self.nodes.len();
        let mut node = Node::new(number, Arithmetic::Real, self.now)?;
        let host = self.nodes.get_mut(by).context("no such host")?;
        sponsor(host, &mut node, self.now)?;
        let member = node.member(host.members.get(&host.identity).map(Arc::as_ref), self.now)?;
        let running = host.running.as_mut().context("the sponsor is off")?;
        running.mesh.admit_join(member, self.now).map_err(|reason| anyhow!("refused: {reason}"))?;
        self.settle(by)?;
        node.members = self.nodes.get(by).context("no such host")?.members.clone();
        self.numbers.insert(node.identity, number);
        self.nodes.push(node);
        Ok(number)
    }

    /// An operator says on one host that others are gone for good.
    fn revoke(&mut self, at: usize, gone: &[usize]) -> Result<()> {
        self.next_request += 1;
        let request = RequestId(self.next_request);
        let victims: Vec<_> = gone.iter().filter_map(|number| Some(self.nodes.get(*number)?.identity)).collect();
        let now = self.now;
        let running = self.nodes.get_mut(at).and_then(|node| node.running.as_mut());
        running.context("it is off")?.ipam.revoke(request, &victims, now);
        self.settle(at)
    }

    /// Whether a host knows that another one is revoked.
    fn has_revoked(&self, at: usize, whom: usize) -> bool {
        let Some((node, whom)) = self.nodes.get(at).zip(self.nodes.get(whom)) else { return false };
        let mut members = node.running.iter().flat_map(|running| running.ipam.members());
        members.any(|(identity, _, revoked)| revoked && identity == whom.identity)
    }
}

/// The others have promised to refuse it before they could hear of its newcomer.
fn divided(seed: u64) -> Result<(World, usize)> {
    let mut world = World::new(seed, 4, Weather { loss: 0, doubled: 0, ..BAD })?;
    for number in 0..4 {
        world.start(number)?;
    }
    world.run_while(30 * SECOND, |world| !world.is_whole()).context("not everybody knows everybody")?;
    world.net.sides = FAR.into_iter().map(|far| (far, 1)).collect();
    world.run(15 * SECOND)?;
    let newcomer = world.join(GONE)?;
    world.start(newcomer)?;
    world.run(15 * SECOND)?;
    world.kill(GONE)?;
    world.run(15 * SECOND)?;
    Ok((world, newcomer))
}

/// Everybody who lives comes to know that these are revoked, and the same owners.
fn ensure_revoked(mut world: World, gone: &[usize]) -> Result<()> {
    let alive: Vec<usize> = (0..world.nodes.len()).filter(|number| world.is_alive(*number)).collect();
    let is_done = |world: &World| {
        alive.iter().all(|at| gone.iter().all(|gone| world.has_revoked(*at, *gone))) && world.is_equal()
    };
    let done = world.run_while(120 * SECOND, |world| !is_done(world));
    let who: Vec<_> = alive.iter().filter(|at| gone.iter().all(|gone| world.has_revoked(**at, *gone))).collect();
    done.with_context(|| format!("of {alive:?} only {who:?} have revoked {gone:?}"))?;
    ensure!(alive.len() + gone.len() == world.nodes.len(), "somebody else died");
    Ok(())
}

fn heal(world: &mut World) -> Result<()> {
    world.net.sides.clear();
    world.run(20 * SECOND)
}

#[test]
fn a_newcomer_that_the_asker_has_never_heard_of_does_not_block_a_revocation() -> Result<()> {
    for seed in seeds(0..1)? {
        let (mut world, _) = divided(seed)?;
        world.revoke(FAR[0], &[GONE])?;
        world.run(15 * SECOND)?;
        heal(&mut world)?;
        ensure_revoked(world, &[GONE]).with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}

/// Those who hear what was decided carry it out only when they know all of its heirs.
#[test]
fn nor_one_that_only_the_asker_has_heard_of() -> Result<()> {
    for seed in seeds(0..1)? {
        // Of two askers one gives way; it is not to depend on which.
        for askers in [&[NEAR][..], &[FAR[0], NEAR]] {
            let (mut world, _) = divided(seed)?;
            for asker in askers {
                world.revoke(*asker, &[GONE])?;
                world.run(15 * SECOND)?;
            }
            heal(&mut world)?;
            ensure_revoked(world, &[GONE]).with_context(|| format!("seed {seed}, asked by {askers:?}"))?;
        }
    }
    Ok(())
}

/// It dies as well, and goes with its sponsor: who has never heard of it is to refuse it too.
#[test]
fn a_newcomer_that_is_lost_with_its_sponsor_is_revoked_with_it() -> Result<()> {
    for seed in seeds(0..1)? {
        let (mut world, newcomer) = divided(seed)?;
        world.revoke(FAR[0], &[GONE])?;
        world.run(15 * SECOND)?;
        world.kill(newcomer)?;
        heal(&mut world)?;
        world.revoke(NEAR, &[GONE, newcomer])?;
        ensure_revoked(world, &[GONE, newcomer]).with_context(|| format!("seed {seed}"))?;
    }
    Ok(())
}
