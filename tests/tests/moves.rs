//! A container that goes to another host keeps its address, and whoever talks to it need not know.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::{Cluster, Container, Plugin, Process, Stage, Underlay, until};

const WAIT: Duration = Duration::from_secs(15);

/// Waits until an open ping has had more answers than before.
fn until_answered(ping: &Process, more: usize) -> Result<()> {
    let answers = || -> Result<usize> { Ok(ping.output()?.matches("bytes from").count()) };
    let before = answers()?;
    until("the open ping is answered", WAIT, || Ok((answers()? >= before + more).then_some(())))
}

/// Five workloads, four moves each: no address moves so often in a row that it looks like two hosts fighting over it.
#[test]
fn twenty_moves_keep_address_and_mac_and_an_open_ping() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    let observer = Container::start(stage.host(3)?, "observer", None)?;
    for number in 0..5 {
        let workload = format!("web-{number}");
        let mut web = Container::start(stage.host(1)?, &format!("{workload}-0"), Some(&workload))?;
        let (address, mac) = (web.address()?, web.mac()?);
        observer.until_reaches(address)?;
        let name = format!("ping-{number}");
        let ping = observer.spawn(&name, &["ping", "-i", "0.1", "-W", "1", &address.to_string()])?;
        until_answered(&ping, 2)?;
        for (turn, to) in [2, 1, 2, 1].into_iter().enumerate() {
            web.stop()?;
            web = Container::start(stage.host(to)?, &format!("{workload}-{}", turn + 1), Some(&workload))?;
            ensure!(web.address()? == address, "{workload} has {} and had {address}", web.address()?);
            ensure!(web.mac()? == mac, "{workload} has {} and had {mac}", web.mac()?);
            until_answered(&ping, 3)?;
        }
        let owner = lease(&cluster, 1, &workload)?["owner"].clone();
        ensure!(owner == json!("host1"), "{workload} is owned by {owner}");
    }
    Ok(())
}

fn lease(cluster: &Cluster, number: usize, workload: &str) -> Result<Value> {
    let leases = cluster.router(number)?.leases()?;
    let found = leases.iter().find(|lease| lease["workload"] == json!(workload));
    found.cloned().with_context(|| format!("no lease of {workload} on host{number}: {leases:?}"))
}

#[test]
fn while_it_runs_nobody_else_can_have_it() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    let here = Container::start(stage.host(1)?, "here", Some("web"))?;
    let before = lease(&cluster, 1, "web")?;
    for attempt in 0..3 {
        let refusal = Container::try_start(stage.host(2)?, Plugin::Raddle, &format!("there-{attempt}"), Some("web"))?;
        let Err(answer) = refusal else { anyhow::bail!("two containers have one address") };
        let (code, message) = answer.failed()?;
        ensure!(code == 11 && message.contains("host1"), "code {code}: {message}");
    }
    ensure!(stage.host(2)?.container_links()?.is_empty(), "a refused ADD left something");
    ensure!(lease(&cluster, 1, "web")?["epoch"] == before["epoch"], "a refused ADD changed the owner");
    // And when it has stopped, the other host gets it.
    let (address, mac) = (here.address()?, here.mac()?);
    here.stop()?;
    let there = Container::start(stage.host(2)?, "there", Some("web"))?;
    ensure!((there.address()?, there.mac()?) == (address, mac));
    Ok(())
}

/// A runtime may say DEL again at any time, also when the workload has long been elsewhere.
#[test]
fn a_late_delete_frees_nothing_elsewhere() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    let observer = Container::start(stage.host(3)?, "observer", None)?;
    let old = Container::start(stage.host(1)?, "old", Some("web"))?;
    let address = old.address()?;
    old.stop()?;
    let new = Container::start(stage.host(2)?, "new", Some("web"))?;
    ensure!(new.address()? == address);
    let before = lease(&cluster, 2, "web")?;
    for _ in 0..3 {
        old.delete()?;
    }
    let after = lease(&cluster, 2, "web")?;
    for field in ["address", "owner", "epoch", "state", "container_id"] {
        ensure!(before[field] == after[field], "before: {before}\nafter: {after}");
    }
    observer.until_reaches(address)?;
    ensure!(new.verb("CHECK", &json!({"prevResult": new.result()}))?.done()? == Value::Null);
    Ok(())
}

/// Whoever looks at either of them reads which two they are.
#[test]
fn an_address_that_two_hosts_fight_for_stays_and_both_are_named() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    let mut web = Container::start(stage.host(1)?, "web-0", Some("web"))?;
    let address = web.address()?.to_string();
    for turn in 1..=6 {
        web.stop()?;
        web = Container::start(stage.host(1 + turn % 2)?, &format!("web-{turn}"), Some("web"))?;
    }
    web.stop()?;
    let Err(answer) = Container::try_start(stage.host(2)?, Plugin::Raddle, "late", Some("web"))? else {
        anyhow::bail!("it moved once more")
    };
    let (code, message) = answer.failed()?;
    ensure!(code == 11 && message.contains("is frozen: it moved more than 5 times in 180 s"), "{code}: {message}");
    for number in [1, 2] {
        let warnings = cluster.router(number)?.status()?["warnings"].to_string();
        let named = [address.as_str(), "web", "host1", "host2"].iter().all(|word| warnings.contains(word));
        ensure!(named, "host{number}: {warnings}");
    }
    ensure!(lease(&cluster, 1, "web")?["state"] == json!("frozen"), "{}", lease(&cluster, 1, "web")?);
    let back = Container::start(stage.host(1)?, "back", Some("web"))?;
    ensure!(back.address()?.to_string() == address, "it has {}", back.address()?);
    back.stop()
}

/// Both sides of a cut hand out addresses of their own, and afterwards everybody knows everything.
#[test]
fn a_partition_makes_no_duplicates() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let _cluster = Cluster::form(&stage)?;
    stage.cut(stage.host(1)?, stage.host(2)?)?;
    let mut containers = Vec::new();
    for host in stage.hosts() {
        for number in 0..10 {
            containers.push(Container::start(host, &format!("c{number}"), None)?);
        }
    }
    stage.mend()?;
    let mut addresses = containers.iter().map(Container::address).collect::<Result<Vec<_>>>()?;
    addresses.sort_unstable();
    addresses.dedup();
    ensure!(addresses.len() == containers.len(), "an address was given twice");
    let (first, last) = (containers.first().context("none")?, containers.last().context("none")?);
    // Design: everything is equal at most 15 s after the heal.
    first.until_reaches(last.address()?)
}
