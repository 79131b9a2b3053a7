//! What a path carries is found out end to end: a middle that becomes narrow, without a word, stops traffic for seconds.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::Value;
use tests::{Cluster, Container, Router, Stage, Underlay, until};

/// A black hole is noticed within three seconds of use and what is left after five lost soundings; a machine that compiles
/// beside it is slower.
const NOTICED: Duration = Duration::from_secs(30);
/// The first time a wider path is looked for, and the second, are a quarter and half a minute later.
const WIDENED: Duration = Duration::from_secs(75);
/// The containers' MTU on an IPv4 underlay of 9000 and of 1500 bytes.
const JUMBO: u64 = 8914;
const USUAL: u64 = 1414;

/// Drops, in the middle, what is larger than an underlay of so many bytes carries.
fn narrow(stage: &Stage, mtu_bytes: u16) -> Result<()> {
    let rules = format!(
        "table bridge narrow {{ chain forward {{ type filter hook forward priority 0; meta length > {mtu_bytes} drop; }}; }}"
    );
    stage.switch().run_with(&["nft", "-f", "-"], rules.as_bytes())?.ok()?;
    Ok(())
}

fn widen(stage: &Stage) -> Result<()> {
    stage.switch().run(&["nft", "delete", "table", "bridge", "narrow"])?.ok()?;
    Ok(())
}

fn shown(router: &Router) -> Result<u64> {
    let peers = router.peers()?;
    let mtu = peers.first().and_then(|peer| peer["mtu_bytes"].as_u64());
    match mtu {
        Some(mtu) => Ok(mtu),
        None => bail!("no MTU: {peers:?}"),
    }
}

/// Waits until both routers show this MTU, and says how long it took.
fn until_shown(cluster: &Cluster, mtu_bytes: u64, limit: Duration) -> Result<Duration> {
    let start = Instant::now();
    for router in cluster.routers() {
        until(&format!("{} shows {mtu_bytes}", router.host().name()), limit, || {
            let shown = shown(router)?;
            if shown == mtu_bytes { Ok(Some(())) } else { bail!("{shown}") }
        })?;
    }
    Ok(start.elapsed())
}

/// Two hosts whose interfaces cut what they send, as real ones do: what passes in the middle is what a wire would carry.
fn stage() -> Result<Stage> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 9000 })?;
    for host in stage.hosts() {
        host.run(&["ethtool", "-K", "eth0", "tso", "off", "gso", "off", "tx-udp-segmentation", "off"])?.ok()?;
    }
    Ok(stage)
}

/// The longest time in which a stream, watched every tenth of a second, brought nothing.
fn longest_gap(report: &Value) -> f64 {
    let bytes = |interval: &Value| interval.pointer("/sum/bytes").and_then(Value::as_u64).unwrap_or_default();
    let intervals = report["intervals"].as_array().into_iter().flatten();
    let gaps = intervals.fold((0_u32, 0_u32), |(longest, now), interval| {
        let now = if bytes(interval) == 0 { now + 1 } else { 0 };
        (longest.max(now), now)
    });
    f64::from(gaps.0) / 10.0
}

#[test]
fn a_middle_that_becomes_narrow_and_wide_again_is_followed() -> Result<()> {
    let stage = stage()?;
    let cluster = Cluster::form(&stage)?;
    until_shown(&cluster, JUMBO, NOTICED)?;
    let one = Container::start(stage.host(1)?, "one", None)?;
    let two = Container::start(stage.host(2)?, "two", None)?;
    one.until_reaches(two.address()?)?;
    ensure!((one.mtu_bytes()?, two.mtu_bytes()?) == (JUMBO, JUMBO), "a jumbo underlay is used without being asked to");

    let to = two.address()?.to_string();
    let mut server = two.spawn("iperf3", &["iperf3", "--server", "--one-off", "--forceflush"])?;
    server.until_says("Server listening", NOTICED)?;
    let words = ["iperf3", "--client", &to, "--json", "--interval", "0.1", "--time", "20", "--bitrate", "200M"];
    let mut client = one.spawn("stream", &words)?;
    until("the stream flows", NOTICED, || {
        let peers = cluster.router(1)?.peers()?;
        Ok(peers.first().and_then(|peer| peer["tx_bytes"].as_u64()).filter(|bytes| *bytes > 20_000_000))
    })?;
    narrow(&stage, 1500)?;
    let noticed = until_shown(&cluster, USUAL, NOTICED)?;
    ensure!(client.wait(NOTICED)? == Some(0), "the stream broke: {}", client.output()?);
    let report: Value = serde_json::from_str(&client.output()?)?;
    println!("narrow: {noticed:?}; the stream stood still for {} s", longest_gap(&report));

    // What is attached from now on gets what fits; what was there before goes on in pieces.
    let three = Container::start(stage.host(1)?, "three", None)?;
    ensure!(three.mtu_bytes()? == USUAL, "{}", three.mtu_bytes()?);
    three.until_reaches(two.address()?)?;
    one.run(&["ping", "-c", "2", "-i", "0.2", "-W", "2", "-M", "do", "-s", &(JUMBO - 28).to_string(), &to])?.ok()?;

    widen(&stage)?;
    println!("wide again: {:?}", until_shown(&cluster, JUMBO, WIDENED)?);
    let four = Container::start(stage.host(2)?, "four", None)?;
    ensure!(four.mtu_bytes()? == JUMBO, "{}", four.mtu_bytes()?);
    Ok(())
}

#[test]
fn a_middle_that_was_narrow_from_the_beginning_is_no_black_hole() -> Result<()> {
    let stage = stage()?;
    narrow(&stage, 1420)?;
    let cluster = Cluster::form(&stage)?;
    println!("found: {:?}", until_shown(&cluster, 1420 - 86, NOTICED)?);
    let one = Container::start(stage.host(1)?, "one", None)?;
    let two = Container::start(stage.host(2)?, "two", None)?;
    one.until_reaches(two.address()?)?;
    ensure!((one.mtu_bytes()?, two.mtu_bytes()?) == (1420 - 86, 1420 - 86));
    let to = two.address()?.to_string();
    one.run(&["ping", "-c", "2", "-i", "0.2", "-W", "2", "-M", "do", "-s", &(1420 - 86 - 28).to_string(), &to])?
        .ok()?;
    Ok(())
}
