//! What a path carries is found out end to end: a middle that becomes narrow, without a word, stops traffic for seconds.
//! Ends, bridge and tap follow.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use control_api::{Client, LeaseRequest, OwnerKind};
use serde_json::Value;
use tests::{Cluster, Container, Host, Router, Stage, Underlay, until};

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

#[test]
fn hosts_that_get_jumbo_frames_later_use_them() -> Result<()> {
    let stage = stage()?;
    let give = |mtu_bytes: &str| {
        stage
            .hosts()
            .iter()
            .try_for_each(|host| host.run(&["ip", "link", "set", "eth0", "mtu", mtu_bytes])?.ok().map(drop))
    };
    give("1500")?;
    let cluster = Cluster::form(&stage)?;
    until_shown(&cluster, USUAL, NOTICED)?;
    give("9000")?;
    println!("jumbo: {:?}", until_shown(&cluster, JUMBO, NOTICED)?);
    let one = Container::start(stage.host(1)?, "one", None)?;
    let two = Container::start(stage.host(2)?, "two", None)?;
    ensure!((one.mtu_bytes()?, two.mtu_bytes()?) == (JUMBO, JUMBO), "new containers follow");
    one.until_reaches(two.address()?)?;
    give("1500")?;
    println!("usual again: {:?}", until_shown(&cluster, USUAL, NOTICED)?);
    let (to, large) = (two.address()?.to_string(), (JUMBO - 28).to_string());
    one.run(&["ping", "-c", "2", "-i", "0.2", "-W", "2", "-M", "do", "-s", &large, &to])?.ok()?;
    Ok(())
}

/// An ADD that takes its time: it has its lease, and no interface yet. Returns the container's address, MAC and MTU.
fn lease(host: &Host, netns: &str, host_interface: &str) -> Result<(String, String, u32)> {
    let mut client = Client::connect(host.root().join("run/raddle/control.sock"), NOTICED)?;
    let lease = client.lease(LeaseRequest {
        network: control_api::DEFAULT_NETWORK.to_owned(),
        cni_network: String::from("raddle"),
        container_id: String::from("late"),
        ifname: String::from("eth0"),
        netns: Some(netns.to_owned()),
        workload: None,
        sticky: false,
        address: None,
        address6: None,
        mac: None,
        hold_s: None,
        masquerade: false,
        take_over: false,
        host_interface: host_interface.to_owned(),
        owner_kind: OwnerKind::Cni,
    })?;
    Ok((lease.address.to_string(), lease.mac.to_string(), lease.mtu_bytes))
}

#[test]
fn a_container_whose_mtu_has_become_too_large_meanwhile_loses_nothing() -> Result<()> {
    let stage = stage()?;
    let cluster = Cluster::form(&stage)?;
    until_shown(&cluster, JUMBO, NOTICED)?;
    let host = stage.host(1)?;
    let one = Container::start(host, "one", None)?;
    let two = Container::start(stage.host(2)?, "two", None)?;
    one.until_reaches(two.address()?)?;
    // Else the tap would stay large for its sake.
    let port = host.container_links()?.pop().context("no port")?;
    host.run(&["ip", "link", "set", &port, "mtu", "1280"])?.ok()?;
    one.run(&["ip", "link", "set", "eth0", "mtu", "1280"])?.ok()?;
    host.run(&["ip", "netns", "add", "late"])?.ok()?;
    let (address, mac, mtu_bytes) = lease(host, "/run/netns/late", "rdlate")?;
    ensure!(u64::from(mtu_bytes) == JUMBO, "{mtu_bytes}");

    let to = two.address()?.to_string();
    let load = one.spawn("load", &["ping", "-q", "-i", "0.01", "-s", "1200", &to])?;
    narrow(&stage, 1500)?;
    until_shown(&cluster, USUAL, NOTICED)?;
    until("the tap follows", NOTICED, || {
        let tap = host.run(&["ip", "-json", "link", "show", "raddle-tap"])?.json()?;
        if tap[0]["mtu"] == USUAL { Ok(Some(())) } else { bail!("{tap}") }
    })?;
    drop(load);
    let mtu = mtu_bytes.to_string();
    let pair = ["ip", "link", "add", "rdlate", "mtu", &mtu, "type", "veth", "peer", "name", "eth0"];
    host.run(&[&pair[..], &["mtu", &mtu, "address", &mac, "netns", "late"]].concat())?.ok()?;
    host.run(&["ip", "link", "set", "rdlate", "master", "raddle0", "up"])?.ok()?;
    host.run(&["ip", "-n", "late", "address", "add", &address, "dev", "eth0"])?.ok()?;
    host.run(&["ip", "-n", "late", "link", "set", "eth0", "up"])?.ok()?;
    let begin = Instant::now();
    let words = ["ip", "netns", "exec", "late", "ping", "-c", "1", "-W", "1", "-M", "do", "-s", "5000", &to];
    until("large packets pass", NOTICED, || Ok(host.run(&words)?.is_ok().then_some(())))?;
    println!("a port that came late passes large packets after {:?}", begin.elapsed());
    Ok(())
}
