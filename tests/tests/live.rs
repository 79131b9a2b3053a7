//! A running container is taken to another host with its process, its memory, its address and its open connections.

use std::{
    io::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tests::{Beats, Distribution, Engines, Podman, binary, now_ms, rounds, run, until};

const WAIT: Duration = Duration::from_secs(20);
/// Numbers in a row that show that a connection is in use.
const ENOUGH: usize = 30;
/// A web server with one small page.
const SERVE: [&str; 6] = ["httpd", "-f", "-p", "80", "-h", "/etc"];

/// Three hosts with podman, on the third of which somebody listens.
struct Hosts(Engines);

impl Hosts {
    fn new() -> Result<Self> {
        Engines::on(3).map(Self)
    }

    fn podman(&self, number: usize) -> Result<&Podman> {
        self.0.podman(number)
    }

    /// A counter on one host that a follower on host 3 counts with, over one connection that is in use.
    fn start_counter(&self, name: &str, number: usize) -> Result<Counter> {
        let podman = self.podman(number)?;
        podman.start(name, &[], &["probe", "count", "0.0.0.0:7", "10"])?.ok()?;
        let (address, mac) = podman.address(name)?;
        let follower = format!("{name}-follower");
        self.podman(3)?.start(&follower, &[], &["probe", "follow", &format!("{address}:7")])?.ok()?;
        let counter = Counter { name: name.to_owned(), follower, address, mac };
        self.until_counts(&counter, 0)?;
        Ok(counter)
    }

    /// Waits until the counter has been heard for a while since a moment, and returns all that was heard.
    fn until_counts(&self, counter: &Counter, since_ms: u64) -> Result<Beats> {
        self.until_beats(&counter.follower, since_ms)
    }

    /// The same for any client.
    fn until_beats(&self, client: &str, since_ms: u64) -> Result<Beats> {
        until(&format!("{client} hears"), WAIT, || {
            let beats = Beats::parse(&format!("{}\n", self.podman(3)?.logs(client)?))?;
            Ok((beats.good_after(since_ms) >= ENOUGH).then_some(beats))
        })
    }

    /// Takes a counter from one host to another.
    fn move_live(&self, counter: &Counter, from: usize, to: usize) -> Result<Took> {
        let archive = self.0.stage.directory().join(format!("{}.tar", counter.name));
        let (began_ms, start) = (now_ms()?, Instant::now());
        self.podman(from)?.checkpoint(&counter.name, &archive)?;
        let written = start.elapsed();
        self.podman(to)?.restore(&archive)?.ok()?;
        let restored = start.elapsed();
        let beats = self.until_counts(counter, now_ms()?)?;
        let moved = self.podman(to)?.address(&counter.name)?;
        ensure!(moved == (counter.address.clone(), counter.mac.clone()), "it has become {moved:?}");
        let silence = Duration::from_millis(beats.gap_ms_after(began_ms));
        Ok(Took { silence, leaving: written, arriving: restored - written })
    }

    /// Removes a web server on one host and starts it on another, under a client that fetches its page all the time.
    fn move_cold(&self, web: &str, from: usize, to: usize) -> Result<Took> {
        let address = self.podman(from)?.address(web)?;
        let (began_ms, start) = (now_ms()?, Instant::now());
        self.podman(from)?.remove(web)?;
        let gone = start.elapsed();
        self.podman(to)?.start(web, &[], &SERVE)?.ok()?;
        let there = start.elapsed();
        let beats = self.until_beats(&format!("{web}-client"), now_ms()?)?;
        let moved = self.podman(to)?.address(web)?;
        ensure!(moved == address, "it has become {moved:?}");
        let silence = Duration::from_millis(beats.gap_ms_after(began_ms));
        Ok(Took { silence, leaving: gone, arriving: there - gone })
    }

    fn remove(&self, counter: &Counter, number: usize) -> Result<()> {
        self.podman(3)?.remove(&counter.follower)?;
        self.podman(number)?.remove(&counter.name)
    }
}

/// What one move took.
#[derive(Clone, Copy)]
struct Took {
    /// Between two beats that the client heard.
    silence: Duration,
    /// What podman needed on the old host: a checkpoint or a removal.
    leaving: Duration,
    /// What it needed on the new one: a restoration or a start, the move of the address in it.
    arriving: Duration,
}

fn report(what: &str, moves: &[Took]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} moves of {what}", moves.len())?;
    writeln!(out, "  silence:          {}", Distribution::of(moves.iter().map(|took| took.silence)))?;
    writeln!(out, "  podman, leaving:  {}", Distribution::of(moves.iter().map(|took| took.leaving)))?;
    writeln!(out, "  podman, arriving: {}", Distribution::of(moves.iter().map(|took| took.arriving)))?;
    Ok(())
}

/// A process that counts, as it was when it was started.
struct Counter {
    name: String,
    follower: String,
    address: String,
    mac: String,
}

#[test]
fn an_established_connection_goes_with_its_process_there_and_back() -> Result<()> {
    let hosts = Hosts::new()?;
    ensure!(hosts.podman(1)?.why_not_live()?.is_none(), "{:?}", hosts.podman(1)?.why_not_live()?);
    let mut moves = Vec::new();
    for round in 0..rounds(1, 10) {
        let counter = hosts.start_counter(&format!("counter{round}"), 1)?;
        moves.push(hosts.move_live(&counter, 1, 2)?);
        // What the checkpoint left of it on the old host is removed: that gives up nothing of the new one's.
        hosts.podman(1)?.remove(&counter.name)?;
        moves.push(hosts.move_live(&counter, 2, 1)?);
        hosts.podman(2)?.remove(&counter.name)?;
        hosts.until_counts(&counter, now_ms()?)?;
        let left = hosts.0.stage.host(2)?.container_links()?;
        ensure!(left.is_empty(), "host2 keeps {left:?}");
        hosts.remove(&counter, 1)?;
    }
    report("a running process with its connection", &moves)
}

/// The same without CRIU, for comparison: another process, new connections, the same address. Any machine can do it.
#[test]
fn without_criu_a_container_made_anew_is_reached_at_the_same_address() -> Result<()> {
    let hosts = Hosts::new()?;
    let mut moves = Vec::new();
    for round in 0..rounds(1, 10) {
        let web = format!("web{round}");
        hosts.podman(1)?.start(&web, &[], &SERVE)?.ok()?;
        let (to, client) = (format!("{}:80", hosts.podman(1)?.address(&web)?.0), format!("{web}-client"));
        hosts.podman(3)?.start(&client, &[], &["probe", "fetch", &to, "/hostname", "20"])?.ok()?;
        hosts.until_beats(&client, 0)?;
        moves.push(hosts.move_cold(&web, 1, 2)?);
        moves.push(hosts.move_cold(&web, 2, 1)?);
        hosts.podman(3)?.remove(&client)?;
        hosts.podman(1)?.remove(&web)?;
    }
    report("a container made anew", &moves)
}

#[test]
fn a_copy_of_what_still_runs_is_refused_and_disturbs_nobody() -> Result<()> {
    let hosts = Hosts::new()?;
    let counter = hosts.start_counter("counter", 1)?;
    let copy = hosts.0.stage.directory().join("copy.tar");
    hosts.podman(1)?.checkpoint_running("counter", &copy)?;
    let (_, refusal) = hosts.podman(2)?.restore(&copy)?.refused()?;
    ensure!(refusal.contains("still runs in container") && refusal.contains("host1"), "{refusal}");
    hosts.until_counts(&counter, now_ms()?)?;
    let left = hosts.0.stage.host(2)?.container_links()?;
    ensure!(left.is_empty(), "host2 keeps {left:?}");

    // Done as it should have been, it goes.
    hosts.podman(2)?.remove("counter")?;
    hosts.move_live(&counter, 1, 2)?;
    let leases = hosts.0.cluster.router(2)?.leases()?;
    let lease = leases.iter().find(|lease| lease["workload"] == json!("counter")).context("no lease")?;
    ensure!(lease["owner"] == json!("host2") && lease["state"] == json!("active"), "{lease}");
    Ok(())
}

#[test]
fn what_was_written_down_outlives_its_host() -> Result<()> {
    let mut hosts = Hosts::new()?;
    let counter = hosts.start_counter("counter", 1)?;
    let archive = hosts.0.stage.directory().join("counter.tar");
    hosts.podman(1)?.checkpoint("counter", &archive)?;

    // Routers that come and go between the two halves of the move are nothing to it.
    hosts.0.cluster.router_mut(2)?.kill()?;
    let (_, refusal) = hosts.podman(2)?.restore(&archive)?.refused()?;
    ensure!(refusal.contains("no router answers"), "{refusal}");
    hosts.podman(2)?.remove("counter")?;
    hosts.0.cluster.router_mut(2)?.start_again()?;
    hosts.0.cluster.until_whole()?;

    // The old host dies: it alone could have given the address away, until it is given up for good.
    hosts.0.cluster.router_mut(1)?.kill()?;
    let (_, refusal) = hosts.podman(2)?.restore(&archive)?.refused()?;
    ensure!(refusal.contains("raddle revoke host1"), "{refusal}");
    hosts.podman(2)?.remove("counter")?;
    hosts.0.cluster.router(2)?.raddle(&["revoke", "host1"])?.ok()?;
    until("the address is free to come", WAIT, || {
        let restored = hosts.podman(2)?.restore(&archive)?;
        if !restored.is_ok() {
            hosts.podman(2)?.remove("counter")?;
        }
        restored.ok().map(Some)
    })?;
    hosts.until_counts(&counter, now_ms()?)?;
    let moved = hosts.podman(2)?.address("counter")?;
    ensure!(moved == (counter.address, counter.mac), "it has become {moved:?}");
    Ok(())
}

#[test]
fn the_demo_without_criu_says_why_and_moves_cold() -> Result<()> {
    let mut demo = Command::new("timeout");
    demo.args(["--signal=INT", "120"])
        .arg(binary("demo")?)
        .args(["--output", "json"])
        .env("RADDLE_ENGINES", "/nowhere");
    let shown = run(demo, b"")?;
    let line = "No live move on this machine: no /nowhere/criu/criu (scripts/setup unpacks it)";
    ensure!(shown.stderr.lines().any(|said| said == line), "{}", shown.stderr);
    let figures = shown.json()?;
    ensure!(figures["live"]["not_here"].is_string(), "{figures}");
    ensure!(figures["address_before"] == figures["address_after"] && figures["address_after"].is_string(), "{figures}");
    ensure!(figures["gap_ms"].as_u64() > Some(0) && figures["plaintext_found"] == json!(0), "{figures}");
    Ok(())
}
