//! Routers that are killed while a workload moves, and hosts that are cut off: the address has one owner afterwards, a repeated
//! ADD finds it, and nothing is left over.

use std::{
    collections::BTreeSet,
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use tests::{Answer, Cluster, Container, Distribution, Host, Plugin, Stage, Underlay, rounds, size, until};
use wire::message::Handover;

/// Moves before the first crash: they show how long an ADD takes here that brings an address along.
const UNDISTURBED: usize = 2;
/// A router's restart, its sessions and an ADD that waits for a peer.
const RECOVERED: Duration = Duration::from_secs(40);

/// Repeats an ADD as a runtime does, until it succeeds; every refusal must be "try again later".
fn add_until_given(host: &Host, id: &str, workload: &str, wishes: &str) -> Result<Container> {
    until(&format!("{workload} starts on {}", host.name()), RECOVERED, || {
        match Container::try_start_asking(host, id, workload, wishes)? {
            Ok(container) => Ok(Some(Ok(container))),
            Err(answer) => match refused_for_now(answer) {
                Ok(message) => Err(anyhow!(message)),
                Err(otherwise) => Ok(Some(Err(otherwise))),
            },
        }
    })?
}

/// What a refusal said that asks to try again later; an error if it says otherwise.
fn refused_for_now(answer: Answer) -> Result<String> {
    let (code, message) = answer.failed()?;
    ensure!(code == 11, "refused for good: code {code}: {message}");
    Ok(message)
}

/// Every router says that this host alone has the workload, and in a container.
fn one_owner(cluster: &Cluster, workload: &str, owner: &str) -> Result<()> {
    for router in cluster.routers() {
        until(&format!("{} knows that {owner} has {workload}", router.host().name()), RECOVERED, || {
            let leases = router.leases()?;
            let of_it: Vec<&Value> = leases.iter().filter(|lease| lease["workload"] == json!(workload)).collect();
            let right = |lease: &&Value| lease["owner"] == json!(owner) && lease["state"] == json!("active");
            ensure!(of_it.len() == 1 && of_it.iter().all(right), "{of_it:?}");
            Ok(Some(()))
        })?;
    }
    Ok(())
}

/// What the new container asks for.
fn wish(handover: Handover) -> &'static str {
    match handover {
        Handover::WhenStopped => "",
        Handover::TakeOver => "RADDLE_TAKE_OVER=1",
    }
}

/// What one round was like.
struct Round {
    /// Whether the ADD during which somebody was killed has succeeded.
    at_once: bool,
    restart: Duration,
    /// From the end of the restart until an ADD had succeeded.
    given: Duration,
    /// From there until everybody was connected, and knew whose the workload is.
    known: Duration,
}

/// A cluster on a stage of its own, one of whose routers is killed in every round.
struct Lane {
    cluster: Cluster,
    stage: Stage,
    victim: usize,
    /// How long the ADD of a move takes that nobody disturbs.
    whole: Duration,
}

impl Lane {
    fn form(victim: usize) -> Result<Self> {
        let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
        let cluster = Cluster::form(&stage)?;
        let mut lane = Self { cluster, stage, victim, whole: Duration::ZERO };
        for number in 0..UNDISTURBED {
            let workload = format!("before-{number}");
            Container::start(lane.stage.host(1)?, &format!("first-{workload}"), Some(&workload))?.stop()?;
            let second = Container::prepare(lane.stage.host(2)?, &format!("second-{workload}"), &workload, "")?;
            let begun = Instant::now();
            let second = second.attach()?.map_err(|answer| anyhow!("{answer:?}"))?;
            lane.whole = begun.elapsed();
            second.stop()?;
        }
        Ok(lane)
    }

    fn moves(mut self, rounds: impl Iterator<Item = usize>) -> Result<Vec<Round>> {
        let done: Vec<Round> = rounds.map(|round| self.round(round)).collect::<Result<_>>()?;
        nothing_leaked(&self.cluster, done.len() + UNDISTURBED)?;
        Ok(done)
    }

    fn round(&mut self, round: usize) -> Result<Round> {
        // Spread evenly over the move and some time after it, whatever the number of rounds (the golden section).
        let delay = self.whole * u32::try_from(round * 618 % 1000)? / 800;
        let (stage, victim) = (&self.stage, self.victim);
        let handover = if round.is_multiple_of(2) { Handover::WhenStopped } else { Handover::TakeOver };
        let workload = format!("web-{round}");
        let first = Container::start(stage.host(1)?, &format!("first-{round}"), Some(&workload))?;
        let address = first.address()?;
        if handover == Handover::WhenStopped {
            first.stop()?;
        }
        let id = format!("second-{round}");
        let (to, routers) = (stage.host(2)?, &mut self.cluster);
        let second = Container::prepare(to, &id, &workload, wish(handover))?;
        let (added, restart, up) = thread::scope(|scope| -> Result<_> {
            let add = scope.spawn(|| second.attach());
            tests::pass(delay);
            let killed = Instant::now();
            routers.router_mut(victim)?.kill()?;
            routers.router_mut(victim)?.start_again()?;
            let (restart, up) = (killed.elapsed(), Instant::now());
            Ok((add.join().map_err(|_| anyhow!("the ADD panicked"))??, restart, up))
        })?;
        let at_once = added.is_ok();
        let second = match added {
            Ok(container) => container,
            Err(answer) => {
                refused_for_now(answer).with_context(|| format!("host{victim} killed after {delay:?}"))?;
                add_until_given(to, &id, &workload, wish(handover))?
            }
        };
        let (given, was_given) = (up.elapsed(), Instant::now());
        ensure!(second.address()? == address, "after {delay:?}: it has {} and had {address}", second.address()?);
        if handover == Handover::TakeOver {
            stage.host(1)?.until_fenced(RECOVERED)?;
            first.stop()?;
        }
        self.cluster.until_whole()?;
        one_owner(&self.cluster, &workload, "host2").with_context(|| format!("killed after {delay:?}"))?;
        let known = was_given.elapsed();
        ensure!(stage.host(1)?.container_links()?.is_empty(), "the old host has a port left");
        ensure!(stage.host(2)?.container_links()?.len() == 1, "{:?}", stage.host(2)?.container_links()?);
        second.stop()?;
        ensure!(stage.host(2)?.container_links()?.is_empty(), "the new host has a port left");
        Ok(Round { at_once, restart, given, known })
    }
}

/// Each workload has one address, held by its last host; no container has any.
fn nothing_leaked(cluster: &Cluster, workloads: usize) -> Result<()> {
    for router in cluster.routers() {
        until(&format!("{} knows that all is held", router.host().name()), RECOVERED, || {
            let leases = router.leases()?;
            let held = |lease: &&Value| lease["owner"] == json!("host2") && lease["state"] == json!("held");
            let addresses: BTreeSet<_> = leases.iter().filter_map(|lease| lease["address"].as_str()).collect();
            ensure!(leases.iter().filter(held).count() == leases.len(), "{leases:?}");
            ensure!(leases.len() == workloads && addresses.len() == workloads, "{} leases", leases.len());
            Ok(router.containers()?.is_empty().then_some(()))
        })?;
    }
    Ok(())
}

/// In a soak several clusters go through it side by side: most of a round is waiting.
fn moves_while_one_is_killed(victim: usize) -> Result<()> {
    let (rounds, lanes) = (rounds(4, 100), size(1, 4));
    let done = thread::scope(|scope| {
        let lane = |lane: usize| scope.spawn(move || Lane::form(victim)?.moves((lane..rounds).step_by(lanes)));
        let running: Vec<_> = (0..lanes).map(lane).collect();
        let ended = running.into_iter().map(|lane| lane.join().map_err(|_| anyhow!("a lane panicked"))?);
        ended.collect::<Result<Vec<_>>>()
    })?;
    let done: Vec<_> = done.into_iter().flatten().collect();
    let at_once = done.iter().filter(|round| round.at_once).count();
    let each = |of: fn(&Round) -> Duration| Distribution::of(done.iter().map(of));
    writeln!(
        std::io::stdout(),
        "host{victim} killed in {} moves, {lanes} side by side: {at_once} ADDs succeeded all the same\n\
         its restart: {}\nthe address given after it: {}\neverybody connected and knows: {}",
        done.len(),
        each(|round| round.restart),
        each(|round| round.given),
        each(|round| round.known),
    )?;
    Ok(())
}

#[test]
fn the_old_host_is_killed_during_a_move() -> Result<()> {
    moves_while_one_is_killed(1)
}

#[test]
fn the_new_host_is_killed_during_a_move() -> Result<()> {
    moves_while_one_is_killed(2)
}

#[test]
fn a_third_host_is_killed_during_a_move() -> Result<()> {
    moves_while_one_is_killed(3)
}

/// The runtimes of two hosts do not wait for one another.
#[test]
fn a_workload_that_stops_while_it_is_started_elsewhere_follows() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    for round in 0..u64::try_from(rounds(6, 100))? {
        let workload = format!("web-{round}");
        let old = Container::start(stage.host(1)?, &format!("old-{round}"), Some(&workload))?;
        let address = old.address()?;
        let to = stage.host(2)?;
        let new = thread::scope(|scope| -> Result<_> {
            let add = scope.spawn(|| add_until_given(to, &format!("new-{round}"), &workload, ""));
            tests::pass(Duration::from_millis(round * 7 % 100));
            old.stop()?;
            add.join().map_err(|_| anyhow!("the ADD panicked"))?
        })?;
        ensure!(new.address()? == address, "{workload} has {} and had {address}", new.address()?);
        one_owner(&cluster, &workload, "host2")?;
        new.stop()?;
    }
    Ok(())
}

#[test]
fn what_a_host_holds_that_is_cut_off_is_refused_with_the_way_out_until_it_is_back() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    let old = Container::start(stage.host(1)?, "old", Some("web"))?;
    let address = old.address()?;
    old.stop()?;
    let (first, others) = stage.hosts().split_at(1);
    stage.part(first, others)?;
    for attempt in 0..3 {
        let answer = Container::try_start(stage.host(2)?, Plugin::Raddle, &format!("cut-{attempt}"), Some("web"))?;
        let Err(answer) = answer else { anyhow::bail!("it was given away while its holder could not be asked") };
        let (code, message) = answer.failed()?;
        ensure!(code == 11 && message.contains("raddle revoke host1"), "code {code}: {message}");
    }
    ensure!(stage.host(2)?.container_links()?.is_empty(), "a refused ADD left something");
    stage.mend()?;
    let new = add_until_given(stage.host(2)?, "back", "web", "")?;
    ensure!(new.address()? == address, "it has {} and had {address}", new.address()?);
    one_owner(&cluster, "web", "host2")
}
