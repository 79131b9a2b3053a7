//! A workload is started elsewhere although its old container still runs: it is cut off, and whoever talks to the address
//! talks to the new one.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{Attachment, Cluster, Container, Host, Plugin, Stage, Underlay, until};

/// A fence is a few messages and syncs; the rest is for a machine that compiles beside it.
const WAIT: Duration = Duration::from_secs(10);

/// Starts a container of the workload that takes its address from whoever has it. `arguments` and `more` say so.
fn take_over(host: &Host, id: &str, arguments: &str, more: &Value) -> Result<Value> {
    host.run(&["ip", "netns", "add", id])?.ok()?;
    let netns = format!("/run/netns/{id}");
    let about = Attachment { container: id, netns: &netns, arguments };
    host.cni(Plugin::Raddle, "ADD", about, more)?.done()
}

fn reaches(from: &Container, address: &str) -> Result<bool> {
    Ok(from.run(&["ping", "-c", "1", "-W", "1", address])?.is_ok())
}

#[test]
fn the_old_container_is_cut_off_and_its_delete_frees_nothing() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    let observer = Container::start(stage.host(3)?, "observer", None)?;
    let neighbour = Container::start(stage.host(1)?, "neighbour", None)?;
    let old = Container::start(stage.host(1)?, "old", Some("web"))?;
    let (address, seen_from) = (old.address()?, observer.address()?);
    observer.until_reaches(address)?;
    ensure!(reaches(&old, &seen_from.to_string())?, "the old container reaches nobody");

    let workload = "IgnoreUnknown=1;RADDLE_WORKLOAD=web";
    let given = take_over(stage.host(2)?, "new", &format!("{workload};RADDLE_TAKE_OVER=1"), &json!({}))?;
    let text = format!("{address}/12");
    ensure!(given.pointer("/ips/0/address") == Some(&json!(text)), "{given}");
    observer.until_reaches(address)?;
    // On the bridge where the old port still is, too.
    neighbour.until_reaches(address)?;
    // It runs on, and nobody hears it.
    ensure!(!reaches(&old, &seen_from.to_string())?, "the old container still reaches others");
    ensure!(!reaches(&old, "10.32.0.1")?, "the old container still reaches the gateway");
    let of_web = |number: usize| -> Result<Vec<(Value, Value)>> {
        let leases = cluster.router(number)?.leases()?.into_iter().filter(|lease| lease["workload"] == json!("web"));
        Ok(leases.map(|lease| (lease["state"].clone(), lease["owner"].clone())).collect())
    };
    let expected = [(json!("fenced"), json!("host2")), (json!("active"), json!("host2"))];
    until("host1 shows both", WAIT, || Ok((of_web(1)? == expected).then_some(())))?;
    old.stop()?;
    ensure!(of_web(1)? == expected[1..], "{:?}", of_web(1)?);
    observer.until_reaches(address)?;

    // On the same host, and said in the network's configuration.
    take_over(stage.host(2)?, "newer", workload, &json!({"takeOver": true}))?;
    observer.until_reaches(address)?;
    ensure!(of_web(3)? == expected[1..], "{:?}", of_web(3)?);
    let about = Attachment { container: "new", netns: "/run/netns/new", arguments: workload };
    stage.host(2)?.cni(Plugin::Raddle, "DEL", about, &json!({}))?.done()?;
    ensure!(of_web(3)? == expected[1..], "a late delete freed it: {:?}", of_web(3)?);
    observer.until_reaches(address)?;
    // What there was of moves is remembered on every host: the second taking over was none.
    for number in 1..=3 {
        let moves = cluster.router(number)?.raddle(&["moves", "web", "--output", "json"])?.json()?;
        let seen = moves["moves"].as_array().map(Vec::len);
        let of = |field: &str| moves.pointer(&format!("/moves/0/{field}")).cloned().unwrap_or_default();
        let expected = [json!("host1"), json!("host2"), json!("taken-over"), json!(address.to_string())];
        ensure!(seen == Some(1) && ["from", "to", "why", "address"].map(of) == expected, "host{number}: {moves}");
    }
    Ok(())
}

#[test]
fn an_operator_takes_over_before_the_start() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let _cluster = Cluster::form(&stage)?;
    let old = Container::start(stage.host(1)?, "old", Some("web"))?;
    let address = old.address()?;
    let said = stage.host(1)?.raddle(&["move", "web", "--to", "host2", "--take-over", "--output", "json"])?.json()?;
    ensure!(said["state"] == json!("ready"), "{said}");
    let new = Container::start(stage.host(2)?, "new", Some("web"))?;
    ensure!(new.address()? == address, "{}", new.address()?);
    old.stop()
}

/// Who cannot be asked may still use the address.
#[test]
fn who_does_not_answer_is_not_taken_over() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let _cluster = Cluster::form(&stage)?;
    let old = Container::start(stage.host(1)?, "old", Some("web"))?;
    stage.cut(stage.host(1)?, stage.host(2)?)?;
    let arguments = "IgnoreUnknown=1;RADDLE_WORKLOAD=web;RADDLE_TAKE_OVER=1";
    let about = Attachment { container: "new", netns: "/run/netns/new", arguments };
    stage.host(2)?.run(&["ip", "netns", "add", "new"])?.ok()?;
    let (code, message) = stage.host(2)?.cni(Plugin::Raddle, "ADD", about, &json!({}))?.failed()?;
    ensure!(code == 11 && message.contains("raddle revoke host1"), "code {code}: {message}");
    ensure!(reaches(&old, "10.32.0.1")?, "the old container was cut off");
    Ok(())
}
