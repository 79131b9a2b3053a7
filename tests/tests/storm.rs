//! Two hundred containers at once: every one gets its own address, and when they are gone nothing is left.
//!
//! How long it takes is for `scripts/bench` to say.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::{Cluster, Plugin, Stage, Underlay};

const CONTAINERS: usize = 200;

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
    ensure!(host.container_links()?.is_empty(), "links are left: {:?}", host.container_links()?);
    let left = cluster.router(1)?.containers()?;
    ensure!(left.is_empty(), "addresses are left: {left:?}");
    let rules = host.run(&["nft", "-json", "list", "set", "bridge", "raddle-raddle0", "addresses4"])?.json()?;
    ensure!(rules.pointer("/nftables/1/set/elem").is_none_or(Value::is_null), "rules are left: {rules}");
    Ok(())
}
