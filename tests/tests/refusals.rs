//! Bad input: the answer names what is wrong and what to do, the exit status says whose mistake it is, and nothing is lost.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::{Cluster, Host, Router, Stage, Underlay, binary};

const DATA: &str = "/var/lib/raddle";

fn stage(hosts: u8) -> Result<Stage> {
    Stage::build(Underlay { hosts, mtu_bytes: 1500 })
}

/// Runs `raddle` with these words; it must end by itself with this status and say all of this.
fn says(host: &Host, words: &[&str], status: i32, wanted: &[&str]) -> Result<()> {
    let (code, said) = host.raddle(words)?.refused()?;
    ensure!(code == status, "`raddle {}` ended with {code}, not {status}: {said}", words.join(" "));
    for text in wanted {
        ensure!(said.contains(text), "`raddle {}` does not say {text:?}: {said}", words.join(" "));
    }
    Ok(())
}

#[test]
fn wrong_usage_is_status_2() -> Result<()> {
    let stage = stage(1)?;
    let host = stage.host(1)?;
    for (words, wanted) in [
        (vec!["frobnicate"], "frobnicate"),
        (vec!["router", "--frobnicate"], "--frobnicate"),
        (vec!["init", "--pool", "10.32.0.0/99"], "10.32.0.0/99"),
        (vec!["token", "create", "--ttl", "soon"], "soon"),
        (vec!["token", "create", "--uses", "0"], "0"),
        (vec!["join"], "TOKEN"),
        (vec!["status", "--output", "xml"], "xml"),
    ] {
        says(host, &words, 2, &[wanted])?;
    }
    ensure!(!host.run(&["test", "-e", DATA])?.is_ok(), "wrong usage left a data directory");
    Ok(())
}

#[test]
fn verbs_without_a_router_say_so() -> Result<()> {
    let stage = stage(1)?;
    let host = stage.host(1)?;
    says(host, &["status"], 1, &["control.sock"])?;
    says(host, &["router"], 1, &[DATA, "raddle init"])?;
    says(host, &["join", "not-a-token", "10.99.0.1"], 1, &["token"])
}

#[test]
fn a_second_init_keeps_the_first() -> Result<()> {
    let stage = stage(1)?;
    let host = stage.host(1)?;
    host.raddle(&["init"])?.ok()?;
    let key = host.run(&["sha256sum", "/var/lib/raddle/signing.key"])?.ok()?;
    says(host, &["init"], 1, &[DATA])?;
    ensure!(host.run(&["sha256sum", "/var/lib/raddle/signing.key"])?.ok()? == key);
    Router::start(host, &[])?;
    Ok(())
}

#[test]
fn keys_that_others_can_read_are_refused() -> Result<()> {
    let stage = stage(1)?;
    let host = stage.host(1)?;
    host.raddle(&["init"])?.ok()?;
    for key in ["signing.key", "noise.key"] {
        let key = format!("{DATA}/{key}");
        host.run(&["chmod", "644", &key])?.ok()?;
        says(host, &["router"], 1, &[&key, "chmod"])?;
        host.run(&["chmod", "600", &key])?.ok()?;
    }
    host.run(&["chmod", "755", DATA])?.ok()?;
    says(host, &["router"], 1, &[DATA, "chmod"])?;
    host.run(&["chmod", "700", DATA])?.ok()?;
    host.run(&["mv", "/var/lib/raddle/noise.key", "/var/lib/noise.key"])?.ok()?;
    says(host, &["router"], 1, &["noise.key"])?;
    host.run(&["mv", "/var/lib/noise.key", "/var/lib/raddle/noise.key"])?.ok()?;
    Router::start(host, &[])?;
    Ok(())
}

#[test]
fn a_pool_that_overlaps_a_route_is_refused() -> Result<()> {
    let stage = stage(1)?;
    let host = stage.host(1)?;
    says(host, &["init", "--pool", "10.96.0.0/12"], 1, &["10.96.0.0/12", "10.99.0.0/24", "--pool"])?;
    ensure!(!host.run(&["test", "-e", "/var/lib/raddle/ledger.redb"])?.is_ok(), "a refused init left a store");
    // A route that came later: the router sees it too.
    host.raddle(&["init"])?.ok()?;
    host.run(&["ip", "route", "add", "10.33.0.0/16", "via", "10.99.0.200"])?.ok()?;
    says(host, &["router"], 1, &["10.32.0.0/12", "10.33.0.0/16"])?;
    host.run(&["ip", "route", "del", "10.33.0.0/16"])?.ok()?;
    Router::start(host, &[])?;
    Ok(())
}

#[test]
fn an_mtu_that_carries_no_ipv6_is_refused_where_the_cluster_has_it() -> Result<()> {
    let stage = stage(2)?;
    for (number, words) in [(1, ["init", "--pool6"].as_slice()), (2, &["init"])] {
        stage.host(number)?.raddle(words)?.ok()?;
    }
    says(stage.host(1)?, &["router", "--mtu", "1279"], 1, &["--mtu 1279", "1280"])?;
    Router::start(stage.host(1)?, &["--mtu", "1280"])?;
    Router::start(stage.host(2)?, &["--mtu", "1279"])?;
    Ok(())
}

#[test]
fn a_port_in_use_is_named() -> Result<()> {
    let stage = stage(1)?;
    let host = stage.host(1)?;
    host.raddle(&["init"])?.ok()?;
    let probe = binary("probe")?.display().to_string();
    for verb in ["udp-echo", "tcp-echo"] {
        let mut squatter = host.spawn(verb, &[&probe, verb, "0.0.0.0:6783"])?;
        squatter.until_says("ready", Duration::from_secs(10))?;
        says(host, &["router"], 1, &["6783", "--listen"])?;
    }
    Router::start(host, &[])?;
    Ok(())
}

#[test]
fn a_second_router_on_one_data_directory_is_refused() -> Result<()> {
    let stage = stage(1)?;
    let cluster = Cluster::form(&stage)?;
    let host = stage.host(1)?;
    let other = [
        "--control-socket",
        "/run/raddle/other.sock",
        "--listen",
        "0.0.0.0:6800",
        "--bridge",
        "raddle1",
        "--tap",
        "raddle-tap1",
    ];
    says(host, &[&["router"], other.as_slice()].concat(), 1, &[DATA])?;
    cluster.router(1)?.status()?;
    Ok(())
}

/// Two machines with one identity would both own its addresses.
#[test]
fn a_copied_data_directory_is_refused() -> Result<()> {
    let stage = stage(2)?;
    let mut cluster = Cluster::form_alone(&stage)?;
    cluster.router_mut(1)?.kill()?;
    let archive = stage.directory().join("copy.tar").display().to_string();
    stage.host(1)?.run(&["tar", "-C", "/var/lib", "-cf", &archive, "raddle"])?.ok()?;
    stage.host(2)?.run(&["tar", "-C", "/var/lib", "-xf", &archive])?.ok()?;
    says(stage.host(2)?, &["router"], 1, &[DATA, "copy", "--data-dir", "raddle revoke host1"])?;
    cluster.router_mut(1)?.start_again()
}
