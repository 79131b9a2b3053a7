//! Hosts in a line, of which each reaches its neighbours alone: the ends of four are two relays apart, those of five too far.

use anyhow::{Context as _, Result, bail, ensure};
use tests::{Capture, Cluster, Container, Router, Stage, Underlay, peer, until};

use super::{PLAINTEXT, WAIT, path, speak};

/// The hosts, and their routers: each has joined by the one before it.
fn line_of(hosts: usize) -> Result<(Stage, Vec<Router>)> {
    let stage = Stage::build(Underlay { hosts: u8::try_from(hosts)?, mtu_bytes: 1500 })?;
    for one in 1..=hosts {
        for other in one + 2..=hosts {
            stage.cut(stage.host(one)?, stage.host(other)?)?;
        }
    }
    let mut routers = Cluster::form_alone(&stage)?.into_routers();
    for number in 2..=hosts {
        let (host, before) = (stage.host(number)?, stage.host(number - 1)?);
        let token = before.raddle(&["token", "create"])?.ok()?;
        host.raddle(&["join", &token, &peer(before)])?.ok()?;
        routers.push(Router::start(host, &[])?);
    }
    Ok((stage, routers))
}

fn until_path(router: &Router, to: &str, wanted: &(&str, Option<&str>)) -> Result<()> {
    until(&format!("{} reaches {to} {wanted:?}", router.host().name()), WAIT, || {
        let (path, via) = path(router, to)?;
        if (path.as_str(), via.as_deref()) == *wanted { Ok(Some(())) } else { bail!("{path} {via:?}") }
    })
}

#[test]
fn the_ends_of_a_line_of_four_talk_and_the_two_between_them_read_nothing() -> Result<()> {
    let (stage, routers) = line_of(4)?;
    let [one, two, three, four] = routers.as_slice() else { bail!("no four routers") };
    let begun = std::time::Instant::now();
    for (from, to, via) in [
        (one, "host3", "host2"),
        (three, "host1", "host2"),
        (two, "host4", "host3"),
        (four, "host2", "host3"),
        (one, "host4", "host2"),
        (four, "host1", "host3"),
    ] {
        until_path(from, to, &("relay", Some(via)))?;
    }
    let met = begun.elapsed();
    let capture = Capture::start(&stage, "capture")?;
    // What is left of the pool is the first host's: the last asks for a block by two relays.
    let (on_one, on_four) =
        (Container::start(one.host(), "one", Some("one"))?, Container::start(four.host(), "four", Some("four"))?);
    on_one.until_reaches(on_four.address()?)?;
    speak(&on_one, &on_four)?;
    for (from, to) in [(&on_one, &on_four), (&on_four, &on_one)] {
        let payload = (from.mtu_bytes()? - 28).to_string();
        let to = to.address()?.to_string();
        from.run(&["ping", "-c", "3", "-i", "0.2", "-W", "2", "-M", "do", "-s", &payload, &to])?.ok()?;
    }
    let recording = capture.finish()?;
    ensure!(recording.occurrences(PLAINTEXT) == 0 && recording.fragments() == 0, "plaintext or pieces on the underlay");
    // A workload moves from one end to the other, with its address.
    let address = on_four.address()?;
    on_four.stop()?;
    let moved = Container::start(one.host(), "four-again", Some("four"))?;
    ensure!(moved.address()? == address, "{} was {address}", moved.address()?);
    println!("a line of four: everybody reached everybody after {met:.1?}");
    Ok(())
}

#[test]
fn the_ends_of_a_line_of_five_say_why_they_do_not_talk() -> Result<()> {
    let (_stage, routers) = line_of(5)?;
    let (Some(first), Some(last)) = (routers.first(), routers.last()) else { bail!("no routers") };
    for (from, to, neighbour) in [(first, "host5", "host2"), (last, "host1", "host4")] {
        let said = until(&format!("{} says why", from.host().name()), WAIT, || {
            let peers: serde_json::Value = from.host().raddle(&["peers", "--output", "json"])?.json()?;
            let peers = peers["peers"].as_array().context("no peers")?;
            let peer = peers.iter().find(|peer| peer["name"] == to).context("no such peer")?;
            Ok(peer["why"].as_str().map(str::to_owned))
        })?;
        ensure!(said.contains(neighbour) && said.contains("two relays"), "{said}");
        let line = format!("no path to {to}: {said}");
        for verb in ["peers", "status"] {
            let text = from.host().raddle(&[verb])?.ok()?;
            ensure!(text.contains(&line), "{verb}: {text}");
        }
    }
    Ok(())
}
