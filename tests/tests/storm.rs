//! Two hundred containers at once: every one gets its own address, and when they are gone nothing is left, also when many of
//! the calls were killed.
//!
//! How long it takes is for `scripts/bench` to say.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::{Cluster, Host, Plugin, Stage, Underlay, rounds, size, until};

const CONTAINERS: usize = 200;

fn ensure_nothing_is_left(host: &Host, cluster: &Cluster) -> Result<()> {
    ensure!(host.container_links()?.is_empty(), "links are left: {:?}", host.container_links()?);
    let left = cluster.router(1)?.containers()?;
    ensure!(left.is_empty(), "addresses are left: {left:?}");
    for set in ["macs", "addresses4", "addresses6", "targets6"] {
        let rules = host.run(&["nft", "-json", "list", "set", "bridge", "raddle-raddle0", set])?.json()?;
        ensure!(rules.pointer("/nftables/1/set/elem").is_none_or(Value::is_null), "rules are left: {rules}");
    }
    Ok(())
}

#[test]
fn two_hundred_containers_at_once_come_and_go() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    let host = stage.host(1)?;
    host.storm_begins(CONTAINERS)?;
    host.storm(Plugin::Raddle, "ADD", CONTAINERS)?;
    let containers = cluster.router(1)?.containers()?;
    let addresses: BTreeSet<_> = containers.iter().filter_map(|one| one["address"].as_str()).collect();
    ensure!(addresses.len() == CONTAINERS, "{} addresses", addresses.len());
    host.storm(Plugin::Raddle, "DEL", CONTAINERS)?;
    ensure_nothing_is_left(host, &cluster)
}

#[test]
fn calls_that_are_killed_at_any_moment_leave_nothing_that_del_does_not_take() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    let host = stage.host(1)?;
    let containers = size(60, CONTAINERS);
    host.storm_begins(containers)?;
    for round in 0..rounds(3, 30) {
        // As long as the last of them takes alone, or less: some are done, some have not begun.
        let within = Duration::from_millis(100 << (round % 3));
        let added = host.storm_killed(Plugin::Raddle, "ADD", containers, within)?;
        let deleted = host.storm_killed(Plugin::Raddle, "DEL", containers, within)?;
        eprintln!("{within:?}: {} ADDs and {} DELs of {containers} were killed", added.failed(), deleted.failed());
        host.storm(Plugin::Raddle, "DEL", containers)?;
        ensure_nothing_is_left(host, &cluster)?;
        // Everything works as if nothing had been.
        host.storm(Plugin::Raddle, "ADD", containers)?;
        let all = cluster.router(1)?.containers()?;
        let addresses: BTreeSet<_> = all.iter().filter_map(|one| one["address"].as_str()).collect();
        ensure!(addresses.len() == containers, "{} addresses of {containers}", addresses.len());
        host.storm(Plugin::Raddle, "DEL", containers)?;
    }
    ensure_nothing_is_left(host, &cluster)
}

#[test]
fn what_killed_calls_leave_goes_with_its_container_without_any_del() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    let host = stage.host(1)?;
    let containers = size(40, CONTAINERS);
    host.storm_begins(containers)?;
    host.storm_killed(Plugin::Raddle, "ADD", containers, Duration::from_millis(300))?;
    host.storm_ends(containers)?;
    until("what has no container is given back", Duration::from_secs(60), || {
        Ok(ensure_nothing_is_left(host, &cluster).is_ok().then_some(()))
    })
}
