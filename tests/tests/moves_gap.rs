//! What a move costs whoever talks to the container: measured by pings every millisecond from a third host, and by a
//! connection that stays open where the process moves along.

use std::{io::Write as _, time::Duration};

use anyhow::{Result, ensure};
use tests::{Cluster, Container, Distribution, Gap, OpenPing, Stage, Underlay, clock, rounds, until};

/// Four moves a workload, so that no address moves too often for the flap guard.
const TURNS: [usize; 4] = [2, 1, 2, 1];
const WAIT: Duration = Duration::from_secs(20);

fn report(what: &str, gaps: &[Gap]) -> Result<()> {
    let added = Distribution::of(gaps.iter().map(|gap| gap.added));
    let silence = Distribution::of(gaps.iter().map(|gap| gap.silence));
    let mut out = std::io::stdout().lock();
    // Figures to be read, not judged: a test that times itself fails on a busy machine.
    writeln!(out, "{} moves of {what}", gaps.len())?;
    writeln!(out, "added by the network: {added}")?;
    writeln!(out, "silence in all, the engine included: {silence}")?;
    Ok(())
}

#[test]
fn moves_under_a_thousand_pings_a_second() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let _cluster = Cluster::form(&stage)?;
    let observer = Container::start(stage.host(3)?, "observer", None)?;
    let mut gaps = Vec::new();
    for number in 0..rounds(10, 250) {
        let workload = format!("web-{number}");
        let mut web = Container::start(stage.host(1)?, &format!("{workload}-0"), Some(&workload))?;
        let address = web.address()?;
        observer.until_reaches(address)?;
        let ping = OpenPing::start(&observer, &format!("ping-{number}"), &address.to_string())?;
        for (turn, to) in TURNS.into_iter().enumerate() {
            ping.until_answered_after(clock()?)?;
            let stopped = clock()?;
            web.stop()?;
            web = Container::start(stage.host(to)?, &format!("{workload}-{}", turn + 1), Some(&workload))?;
            let started = clock()?;
            ping.until_answered_after(started)?;
            ensure!(web.address()? == address, "{workload} has {} and had {address}", web.address()?);
            gaps.push(ping.gap(stopped, started)?);
        }
        web.stop()?;
    }
    report("a container that is made anew", &gaps)
}

/// The container's namespace is attached on the other host, with its processes and their sockets in it: what a live
/// migration is to the network, without the time that it takes to copy a process.
#[test]
fn a_connection_stays_open_where_the_process_moves() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let _cluster = Cluster::form(&stage)?;
    let observer = Container::start(stage.host(3)?, "observer", None)?;
    let probe = tests::binary("probe")?.display().to_string();
    let mut gaps = Vec::new();
    for number in 0..rounds(5, 250) {
        let workload = format!("web-{number}");
        let mut web = Container::start(stage.host(1)?, &workload, Some(&workload))?;
        let address = web.address()?;
        let mut counter = web.spawn(&format!("count-{number}"), &[&probe, "count", "0.0.0.0:7", "5"])?;
        counter.until_says("ready", WAIT)?;
        observer.until_reaches(address)?;
        let to = format!("{address}:7");
        let mut follower = observer.spawn(&format!("follow-{number}"), &[&probe, "follow", &to])?;
        let ping = OpenPing::start(&observer, &format!("ping-{number}"), &address.to_string())?;
        for to in TURNS {
            ping.until_answered_after(clock()?)?;
            let followed = follower.output()?.lines().count();
            web.lend_to(stage.host(to)?)?;
            let stopped = clock()?;
            web.delete()?;
            let (here, there) = (web.host().clone(), stage.host(to)?);
            web = web.attach_on(there)?;
            let started = clock()?;
            here.run(&["ip", "netns", "delete", &workload])?.ok()?;
            ping.until_answered_after(started)?;
            ensure!(web.address()? == address, "{workload} has {} and had {address}", web.address()?);
            gaps.push(ping.gap(stopped, started)?);
            until("the connection goes on", WAIT, || {
                ensure!(follower.is_running()?, "the connection broke: {}", follower.output()?);
                Ok((follower.output()?.lines().count() > followed + 2).then_some(()))
            })?;
        }
        counter.kill()?;
        web.stop()?;
    }
    report("a running process with an open connection", &gaps)
}
