//! An operator keeps an address for a workload, and says where it is to start next.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{Cluster, Container, Stage, Underlay, now_ms, until};

/// A move is a few messages and syncs; the rest is for a machine that compiles beside it.
const WAIT: Duration = Duration::from_secs(10);

/// Waits until this host's router says that this host has the workload, in this state.
fn until_at(cluster: &Cluster, number: usize, workload: &str, owner: &str, state: &str) -> Result<Value> {
    let router = cluster.router(number)?;
    until(&format!("{workload} is {state} on {owner}"), WAIT, || {
        let is_it = |lease: &Value| {
            lease["workload"] == json!(workload) && lease["owner"] == json!(owner) && lease["state"] == json!(state)
        };
        Ok(router.leases()?.into_iter().find(is_it))
    })
}

#[test]
fn a_workload_that_runs_goes_where_it_is_told_when_it_stops() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    let old = Container::start(stage.host(1)?, "old", Some("web"))?;
    let (address, mac) = (old.address()?, old.mac()?);
    // Said on a host that has no part in it.
    let said = stage.host(3)?.raddle(&["move", "web", "--to", "host2", "--output", "json"])?.json()?;
    ensure!(said["state"] == json!("waiting") && said["holder"] == json!("host1"), "{said}");
    for number in 1..=3 {
        let lease = until_at(&cluster, number, "web", "host1", "active")?;
        ensure!(lease["moving_to"] == json!("host2"), "host{number}: {lease}");
    }
    old.stop()?;
    until_at(&cluster, 3, "web", "host2", "held")?;
    let new = Container::start(stage.host(2)?, "new", Some("web"))?;
    ensure!((new.address()?, new.mac()?) == (address, mac), "another address");
    new.stop()?;
    let said = stage.host(3)?.raddle(&["move", "web", "--to", "host3", "--output", "json"])?.json()?;
    ensure!(said["state"] == json!("ready"), "{said}");
    until_at(&cluster, 1, "web", "host3", "held")?;
    let now_s = now_ms()? / 1000;
    for number in 1..=3 {
        let told = stage.host(number)?.raddle(&["moves", "--output", "json"])?.json()?;
        let moves = told["moves"].as_array().cloned().unwrap_or_default();
        let seen: Vec<_> = moves.iter().map(|moved| (&moved["from"], &moved["to"], &moved["why"])).collect();
        let (one, two, three, asked) = (json!("host1"), json!("host2"), json!("host3"), json!("asked"));
        ensure!(seen == [(&one, &two, &asked), (&two, &three, &asked)], "host{number}: {told}");
        let at = |moved: &Value| moved["at_unix_s"].as_u64().unwrap_or_default();
        ensure!(moves.iter().all(|moved| (now_s - 120..=now_s + 1).contains(&at(moved))), "host{number}: {told}");
    }
    // Called off.
    let again = Container::start(stage.host(3)?, "again", Some("web"))?;
    stage.host(1)?.raddle(&["move", "web", "--to", "host2"])?.ok()?;
    stage.host(2)?.raddle(&["move", "web", "--cancel"])?.ok()?;
    ensure!(until_at(&cluster, 3, "web", "host3", "active")?["moving_to"] == Value::Null);
    let (code, message) = stage.host(1)?.raddle(&["move", "web", "--cancel"])?.refused()?;
    ensure!(code == 1 && message.contains("no move"), "{message}");
    again.stop()?;
    // For how long is known everywhere: ten minutes unless somebody says otherwise.
    let held = until_at(&cluster, 1, "web", "host3", "held")?;
    ensure!(held["held_for_s"].as_u64().is_some_and(|left| (540..=600).contains(&left)), "{held}");
    let (code, message) = stage.host(1)?.raddle(&["release", "web"])?.refused()?;
    ensure!(code == 1 && message.contains("host3"), "{message}");
    stage.host(3)?.raddle(&["release", "web"])?.ok()?;
    let (code, message) = stage.host(1)?.raddle(&["move", "nothing", "--to", "host2"])?.refused()?;
    ensure!(code == 1 && message.contains("nothing"), "{message}");
    Ok(())
}

#[test]
fn a_reserved_address_waits_for_its_workload() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    stage.host(2)?.raddle(&["reserve", "db", "10.32.0.77"])?.ok()?;
    let lease = until_at(&cluster, 2, "db", "host2", "held")?;
    ensure!(lease["held_for_s"] == Value::Null && lease["container_id"] == Value::Null, "{lease}");
    until_at(&cluster, 1, "db", "host2", "held")?;
    let db = Container::start(stage.host(1)?, "db", Some("db"))?;
    ensure!(db.address()?.to_string() == "10.32.0.77", "{}", db.address()?);
    let (code, message) = stage.host(2)?.raddle(&["reserve", "other", "10.32.0.77"])?.refused()?;
    ensure!(code == 1 && message.contains("db") && message.contains("host1"), "{message}");
    Ok(())
}
