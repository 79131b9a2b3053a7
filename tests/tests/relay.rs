//! Hosts that cannot reach each other, with one between them that can: their containers talk all the same, and the host
//! between them reads nothing of it.

#[path = "relay/far.rs"]
mod far;
#[path = "relay/large.rs"]
mod large;
#[path = "relay/nat.rs"]
mod nat;
#[path = "relay/unsteady.rs"]
mod unsteady;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::{Capture, Cluster, Container, Process, Router, Stage, Underlay, binary, until};

/// What `probe tcp-stream` writes into every line.
const PLAINTEXT: &[u8] = b"raddle-known-plaintext";
const WAIT: Duration = Duration::from_secs(40);

/// How one router reaches another: the path, and by whom.
fn path(router: &Router, peer: &str) -> Result<(String, Option<String>)> {
    let peers = router.peers()?;
    let found = peers.iter().find(|known| known["name"] == json!(peer)).context("no such peer")?;
    Ok((found["path"].as_str().unwrap_or("none").to_owned(), found["via"].as_str().map(str::to_owned)))
}

/// Waits until the ends of the line, hosts 2 and 3, reach each other so. Returns how long it took.
fn until_path(cluster: &Cluster, wanted: &(&str, Option<&str>)) -> Result<Duration> {
    let begun = Instant::now();
    for (from, to) in [(2, "host3"), (3, "host2")] {
        until(&format!("host{from} reaches {to} {wanted:?}"), WAIT, || {
            let (path, via) = path(cluster.router(from)?, to)?;
            Ok(((path.as_str(), via.as_deref()) == *wanted).then_some(()))
        })?;
    }
    Ok(begun.elapsed())
}

const DIRECT: (&str, Option<&str>) = ("direct", None);
const RELAY: (&str, Option<&str>) = ("relay", Some("host1"));

/// Three hosts of which the last two reach only the first.
fn line() -> Result<(Stage, Cluster)> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    stage.cut(stage.host(2)?, stage.host(3)?)?;
    let cluster = Cluster::form(&stage)?;
    Ok((stage, cluster))
}

fn ends(stage: &Stage) -> Result<(Container, Container)> {
    let two = Container::start(stage.host(2)?, "two", Some("two"))?;
    let three = Container::start(stage.host(3)?, "three", Some("three"))?;
    two.until_reaches(three.address()?)?;
    Ok((two, three))
}

#[test]
fn the_ends_of_a_line_talk_and_the_host_between_them_reads_nothing() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    stage.cut(stage.host(2)?, stage.host(3)?)?;
    let capture = Capture::start(&stage, "capture")?;
    let cluster = Cluster::form(&stage)?;
    until_path(&cluster, &RELAY)?;
    let (two, three) = ends(&stage)?;
    let (probe, address) = (binary("probe")?.display().to_string(), three.address()?);
    speak(&two, &three)?;
    let mut echo = three.spawn("udp-echo", &[&probe, "udp-echo", "0.0.0.0:7"])?;
    echo.until_says("ready", WAIT)?;
    for bytes in ["1", "1200", "60000"] {
        two.run(&[&probe, "udp-call", &format!("{address}:7"), bytes])?.ok()?;
    }
    let recording = capture.finish()?;
    ensure!(recording.occurrences(PLAINTEXT) == 0, "plaintext on the underlay");
    ensure!(recording.clear()?.is_empty() && recording.fragments() == 0);
    ensure!(recording.sealed_bytes() > 120_000, "only {} bytes were sealed", recording.sealed_bytes());
    let rtt = cluster.router(2)?.peers()?;
    println!("{rtt:?}");
    let lost = cluster.router(1)?.status()?["drops"].clone();
    ensure!(lost.get("not-relayed").is_none(), "{lost}");
    Ok(())
}

/// Says some hundred lines of plaintext over TCP, and hears each of them said back.
fn speak(from: &Container, to: &Container) -> Result<()> {
    let probe = binary("probe")?.display().to_string();
    let mut echo = to.spawn("tcp-echo", &[&probe, "tcp-echo", "0.0.0.0:7"])?;
    echo.until_says("ready", WAIT)?;
    let spoken = from.run(&[&probe, "tcp-stream", &format!("{}:7", to.address()?), "2"])?.ok()?;
    let spoken: Value = serde_json::from_str(spoken.lines().last().unwrap_or_default())?;
    ensure!(spoken["lines"].as_u64() > Some(50), "{spoken}");
    Ok(())
}

/// Waits until an open ping has had more answers than before.
fn until_answered(ping: &Process, more: usize) -> Result<()> {
    let answers = || -> Result<usize> { Ok(ping.output()?.matches("bytes from").count()) };
    let before = answers()?;
    until("the open ping is answered", WAIT, || Ok((answers()? >= before + more).then_some(())))
}

#[test]
fn a_direct_path_is_taken_when_it_opens_and_left_when_it_closes() -> Result<()> {
    let (stage, cluster) = line()?;
    until_path(&cluster, &RELAY)?;
    let (two, three) = ends(&stage)?;
    let ping = two.spawn("ping", &["ping", "-i", "0.1", "-W", "1", &three.address()?.to_string()])?;
    until_answered(&ping, 3)?;
    stage.mend()?;
    let up = until_path(&cluster, &DIRECT)?;
    ensure!(up <= Duration::from_secs(10), "the direct path was taken after {up:?}");
    until_answered(&ping, 3)?;
    stage.cut(stage.host(2)?, stage.host(3)?)?;
    let down = until_path(&cluster, &RELAY)?;
    until_answered(&ping, 3)?;
    println!("direct after {up:?}, by the relay again after {down:?}");
    Ok(())
}

#[test]
fn a_container_moves_between_the_ends_of_a_line() -> Result<()> {
    let (stage, cluster) = line()?;
    until_path(&cluster, &RELAY)?;
    let observer = Container::start(stage.host(2)?, "observer", None)?;
    let mut web = Container::start(stage.host(2)?, "web-0", Some("web"))?;
    let (address, mac) = (web.address()?, web.mac()?);
    observer.until_reaches(address)?;
    for (turn, to) in [(1, 3), (2, 2), (3, 3)] {
        web.stop()?;
        web = Container::start(stage.host(to)?, &format!("web-{turn}"), Some("web"))?;
        ensure!((web.address()?, web.mac()?) == (address, mac.clone()), "turn {turn}");
        observer.until_reaches(address)?;
    }
    Ok(())
}
