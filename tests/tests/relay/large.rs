//! What is large passes a relay: no hole, no piece where none is needed.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{Capture, Cluster, Container, Stage, Underlay, until};

use super::{RELAY, WAIT, until_path};

/// What an IPv4 underlay of 1500 bytes leaves to a container on a direct path, and what a relay takes of it.
const DIRECT_BYTES: u64 = 1414;
const RELAYED_BYTES: u64 = 1374;

/// Pings that no router on the way may cut up.
fn ping_whole(from: &Container, to: &Container, bytes: u64) -> Result<()> {
    let (payload, to) = ((bytes - 28).to_string(), to.address()?.to_string());
    from.run(&["ping", "-c", "3", "-i", "0.2", "-W", "2", "-M", "do", "-s", &payload, &to])?.ok()?;
    Ok(())
}

/// A second of TCP as fast as it goes. Returns megabits a second.
fn stream(from: &Container, to: &Container) -> Result<f64> {
    let mut server = to.spawn("iperf3", &["iperf3", "--server", "--one-off", "--forceflush"])?;
    server.until_says("Server listening", WAIT)?;
    let report = from.run(&["iperf3", "--client", &to.address()?.to_string(), "--json", "--time", "1"])?.ok()?;
    let report: Value = serde_json::from_str(&report)?;
    let rate = report.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64).context("no rate")?;
    Ok(rate / 1e6)
}

#[test]
fn large_packets_and_streams_pass_a_relay() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    // What passes in the middle is what a wire would carry.
    for host in stage.hosts() {
        host.run(&["ethtool", "-K", "eth0", "tso", "off", "gso", "off", "tx-udp-segmentation", "off"])?.ok()?;
    }
    let cluster = Cluster::form(&stage)?;
    let start = |host: usize, name: &str| Container::start(stage.host(host)?, name, None);
    let (old_two, old_three) = (start(2, "old-two")?, start(3, "old-three")?);
    ensure!((old_two.mtu_bytes()?, old_three.mtu_bytes()?) == (DIRECT_BYTES, DIRECT_BYTES));
    stage.cut(stage.host(2)?, stage.host(3)?)?;
    until_path(&cluster, &RELAY)?;
    until("the ends know what the relayed path carries", WAIT, || {
        let carried = |from: usize, to: &str| -> Result<Option<u64>> {
            let peers = cluster.router(from)?.peers()?;
            Ok(peers.iter().find(|peer| peer["name"] == to).and_then(|peer| peer["mtu_bytes"].as_u64()))
        };
        let both = (carried(2, "host3")?, carried(3, "host2")?);
        ensure!(both == (Some(RELAYED_BYTES), Some(RELAYED_BYTES)), "{both:?}");
        Ok(Some(()))
    })?;
    let capture = Capture::start(&stage, "capture")?;
    let (two, three) = (start(2, "two")?, start(3, "three")?);
    ensure!((two.mtu_bytes()?, three.mtu_bytes()?) == (RELAYED_BYTES, RELAYED_BYTES), "{:?}", two.mtu_bytes());
    two.until_reaches(three.address()?)?;
    ping_whole(&two, &three, RELAYED_BYTES)?;
    ping_whole(&three, &two, RELAYED_BYTES)?;
    // Those that were there before keep their MTU: what does not fit travels in pieces of Raddle's own.
    ping_whole(&old_two, &old_three, DIRECT_BYTES)?;
    ping_whole(&old_three, &old_two, DIRECT_BYTES)?;
    ensure!(capture.finish()?.fragments() == 0, "the underlay cut up what it should have carried whole");
    let (new, old) = (stream(&two, &three)?, stream(&old_two, &old_three)?);
    println!("by a relay: {new:.0} Mbit/s where the MTU fits, {old:.0} Mbit/s where it is that of a direct path");
    Ok(())
}
