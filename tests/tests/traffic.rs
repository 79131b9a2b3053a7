//! Containers on different hosts talk as on one LAN, and nothing of it can be read on the underlay.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::{Capture, Cluster, Container, Recording, Stage, Underlay, binary, until};

/// What `probe tcp-stream` writes into every line.
const PLAINTEXT: &[u8] = b"raddle-known-plaintext";
const WAIT: Duration = Duration::from_secs(15);

fn probe() -> Result<String> {
    Ok(binary("probe")?.display().to_string())
}

fn pair(stage: &Stage) -> Result<(Container, Container)> {
    let one = Container::start(stage.host(1)?, "one", None)?;
    let two = Container::start(stage.host(2)?, "two", None)?;
    one.until_reaches(two.address()?)?;
    Ok((one, two))
}

#[test]
fn every_host_reaches_every_other() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let _cluster = Cluster::form(&stage)?;
    let start = |host| Container::start(host, "c", None);
    let containers = stage.hosts().iter().map(start).collect::<Result<Vec<_>>>()?;
    for from in &containers {
        for to in &containers {
            from.until_reaches(to.address()?)?;
        }
    }
    Ok(())
}

#[test]
fn tcp_and_udp_pass_and_the_underlay_shows_nothing() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let capture = Capture::start(&stage, "capture")?;
    let _cluster = Cluster::form(&stage)?;
    let (one, two) = pair(&stage)?;
    let (probe, address) = (probe()?, two.address()?);
    let mut echo = two.spawn("tcp-echo", &[&probe, "tcp-echo", "0.0.0.0:7"])?;
    echo.until_says("ready", WAIT)?;
    let spoken = one.run(&[&probe, "tcp-stream", &format!("{address}:7"), "2"])?.ok()?;
    let spoken: Value = serde_json::from_str(spoken.lines().last().unwrap_or_default())?;
    ensure!(spoken["lines"].as_u64() > Some(50), "{spoken}");

    let mut echo = two.spawn("udp-echo", &[&probe, "udp-echo", "0.0.0.0:7"])?;
    echo.until_says("ready", WAIT)?;
    // The last one is a datagram of forty fragments on this network.
    for bytes in ["1", "1200", "60000"] {
        one.run(&[&probe, "udp-call", &format!("{address}:7"), bytes])?.ok()?;
    }
    let recording = capture.finish()?;
    ensure!(recording.occurrences(PLAINTEXT) == 0, "plaintext on the underlay");
    let clear = recording.clear()?;
    ensure!(clear.is_empty(), "{} clear frames, the first {:02x?}", clear.len(), clear.first());
    ensure!(
        recording.sealed_bytes() > 120_000,
        "only {} bytes were sealed: did it pass here?",
        recording.sealed_bytes()
    );
    Ok(())
}

#[test]
fn broadcast_and_multicast_reach_every_host_once() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let _cluster = Cluster::form(&stage)?;
    let (one, two) = pair(&stage)?;
    let three = Container::start(stage.host(3)?, "three", None)?;
    one.until_reaches(three.address()?)?;
    let probe = probe()?;
    for (name, listen, to) in [
        ("broadcast", vec!["hear", "0.0.0.0:5000"], "10.47.255.255:5000"),
        ("multicast", vec!["hear", "0.0.0.0:5001", "239.1.2.3"], "239.1.2.3:5001"),
    ] {
        let mut listeners = Vec::new();
        for container in [&two, &three] {
            let words: Vec<&str> = std::iter::once(probe.as_str()).chain(listen.iter().copied()).collect();
            let mut listener = container.spawn(name, &words)?;
            listener.until_says("ready", WAIT)?;
            listeners.push(listener);
        }
        one.run(&[&probe, "say", to, "first"])?.ok()?;
        one.run(&[&probe, "say", to, "last"])?.ok()?;
        for listener in &mut listeners {
            listener.until_says("last", WAIT)?;
            let heard = listener.output()?;
            let from = format!("{} first", one.address()?);
            ensure!(heard.matches(&from).count() == 1, "{name} heard: {heard}");
        }
    }
    Ok(())
}

/// Pings of exactly the container's MTU pass whole, one byte more is refused at home, and nothing is cut on the underlay.
fn mtu(underlay_bytes: u16) -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: underlay_bytes })?;
    let capture = Capture::start(&stage, "capture")?;
    let _cluster = Cluster::form(&stage)?;
    let (one, two) = pair(&stage)?;
    let to = two.address()?.to_string();
    // Path MTU discovery may still be under way: the container's MTU follows it.
    let inner = until("the MTU uses the underlay", WAIT, || {
        let inner = one.mtu_bytes()?;
        Ok((inner + OVERHEAD_BYTES >= u64::from(underlay_bytes)).then_some(inner))
    })?;
    ensure!(two.mtu_bytes()? == inner, "both ends of a network have one MTU");
    let ping = |bytes: u64| {
        // 20 bytes of IPv4 and 8 of ICMP are part of the MTU, not of ping's size.
        one.run(&["ping", "-c", "3", "-i", "0.2", "-W", "2", "-M", "do", "-s", &(bytes - 28).to_string(), &to])
    };
    until("a ping of the MTU passes", WAIT, || Ok(ping(inner)?.is_ok().then_some(())))?;
    let (_, _) = ping(inner + 1)?.refused()?;
    let recording = capture.finish()?;
    ensure!(recording.fragments() == 0, "{} fragments on the underlay", recording.fragments());
    Ok(())
}

/// Outer IPv6 and UDP, envelope, tag, inner Ethernet, and some room for what else a sealed frame carries.
const OVERHEAD_BYTES: u64 = 40 + 8 + 16 + 16 + 14 + 26;

#[test]
fn pings_of_exactly_the_mtu_pass_on_1500() -> Result<()> {
    mtu(1500)
}

#[test]
fn pings_of_exactly_the_mtu_pass_on_9000() -> Result<()> {
    mtu(9000)
}

/// Keeps what a reader of a capture may rely on in one place with the tests that do.
#[test]
fn a_file_that_is_no_capture_is_refused() {
    assert!(Recording::parse(b"not a capture, but long enough for a header").is_err());
}
