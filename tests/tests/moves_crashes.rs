//! Routers that are killed while a workload moves, and hosts that are cut off: the address has one owner afterwards, a repeated
//! ADD finds it, and nothing is left over.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::{Value, json};
use tests::{Answer, Cluster, Container, Host, Plugin, Stage, Underlay, rounds, until};

/// A move takes some tens of milliseconds, the plugin's own work included; up to here is after its end, mostly.
const LATEST_MS: u64 = 80;
/// A router's restart, its sessions and an ADD that waits for a peer.
const RECOVERED: Duration = Duration::from_secs(40);

/// Repeats an ADD as a runtime does, until it succeeds; every refusal must be "try again later".
fn add_until_given(host: &Host, id: &str, workload: &str) -> Result<Container> {
    until(&format!("{workload} starts on {}", host.name()), RECOVERED, || {
        match Container::try_start(host, Plugin::Raddle, id, Some(workload))? {
            Ok(container) => Ok(Some(container)),
            Err(answer) => Err(refused_for_now(answer)),
        }
    })
}

fn refused_for_now(answer: Answer) -> anyhow::Error {
    match answer.failed() {
        Ok((code, message)) => anyhow!("code {code}: {message}"),
        Err(error) => error,
    }
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

fn moves_while_one_is_killed(victim: usize) -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let mut cluster = Cluster::form(&stage)?;
    for round in 0..rounds(4, 100) {
        // Spread evenly over the move, whatever the number of rounds (the golden section).
        let delay = u64::try_from(round)? * 618 % 1000 * LATEST_MS / 1000;
        let workload = format!("web-{round}");
        let first = Container::start(stage.host(1)?, &format!("first-{round}"), Some(&workload))?;
        let address = first.address()?;
        first.stop()?;
        let id = format!("second-{round}");
        let (to, routers) = (stage.host(2)?, &mut cluster);
        let added = thread::scope(|scope| -> Result<_> {
            let add = scope.spawn(|| Container::try_start(to, Plugin::Raddle, &id, Some(&workload)));
            tests::pass(Duration::from_millis(delay));
            routers.router_mut(victim)?.kill()?;
            routers.router_mut(victim)?.start_again()?;
            add.join().map_err(|_| anyhow!("the ADD panicked"))?
        })?;
        let second = match added {
            Ok(container) => container,
            Err(_) => add_until_given(stage.host(2)?, &id, &workload)?,
        };
        ensure!(second.address()? == address, "after {delay} ms: it has {} and had {address}", second.address()?);
        cluster.until_whole()?;
        one_owner(&cluster, &workload, "host2").with_context(|| format!("killed after {delay} ms"))?;
        ensure!(stage.host(1)?.container_links()?.is_empty(), "the old host has a port left");
        ensure!(stage.host(2)?.container_links()?.len() == 1, "{:?}", stage.host(2)?.container_links()?);
        second.stop()?;
        ensure!(stage.host(2)?.container_links()?.is_empty(), "the new host has a port left");
    }
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
            let add = scope.spawn(|| add_until_given(to, &format!("new-{round}"), &workload));
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
    let new = add_until_given(stage.host(2)?, "back", "web")?;
    ensure!(new.address()? == address, "it has {} and had {address}", new.address()?);
    one_owner(&cluster, "web", "host2")
}
