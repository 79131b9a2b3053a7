//! Two hundred containers at once: every one gets its own address, and when they are gone nothing is left.

use std::collections::BTreeSet;
use std::thread;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::{Attachment, Cluster, Host, Plugin, Stage, Underlay};

const CONTAINERS: usize = 200;

/// Runs one verb for all of them at the same time; how long each took, in milliseconds, sorted.
fn storm(host: &Host, verb: &str) -> Result<Vec<f64>> {
    let one = |number: usize| {
        let (id, netns) = (format!("s{number}"), format!("/run/netns/s{number}"));
        host.time_cni(Plugin::Raddle, verb, Attachment { container: &id, netns: &netns, arguments: "" })
    };
    let took: Vec<Result<String>> = thread::scope(|scope| {
        let calls: Vec<_> = (0..CONTAINERS).map(|number| scope.spawn(move || one(number))).collect();
        calls.into_iter().filter_map(|call| call.join().ok()).collect()
    });
    let mut milliseconds = Vec::new();
    for text in took {
        milliseconds.push(text?.trim().parse::<f64>()? / 1000.0);
    }
    milliseconds.sort_by(f64::total_cmp);
    ensure!(milliseconds.len() == CONTAINERS, "{} of {CONTAINERS} {verb}s ended", milliseconds.len());
    Ok(milliseconds)
}

#[test]
fn two_hundred_containers_at_once_come_and_go() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    let host = stage.host(1)?;
    let last = (CONTAINERS - 1).to_string();
    host.run(&["sh", "-c", "for n in $(seq 0 $0); do ip netns add s$n || exit 1; done", &last])?.ok()?;
    let added = storm(host, "ADD")?;
    let containers = cluster.router(1)?.containers()?;
    let addresses: BTreeSet<_> = containers.iter().filter_map(|one| one["address"].as_str()).collect();
    ensure!(addresses.len() == CONTAINERS, "{} addresses", addresses.len());
    let deleted = storm(host, "DEL")?;
    for (verb, took) in [("ADD", &added), ("DEL", &deleted)] {
        let at = |part: usize| took.get(CONTAINERS * part / 100).copied().unwrap_or_default();
        println!("{verb}: p50 {:.0} ms, p99 {:.0} ms", at(50), at(99));
    }
    ensure!(host.container_links()?.is_empty(), "links are left: {:?}", host.container_links()?);
    let left = cluster.router(1)?.containers()?;
    ensure!(left.is_empty(), "addresses are left: {left:?}");
    let rules = host.run(&["nft", "-json", "list", "set", "bridge", "raddle-raddle0", "addresses4"])?.json()?;
    ensure!(rules.pointer("/nftables/1/set/elem").is_none_or(Value::is_null), "rules are left: {rules}");
    Ok(())
}
