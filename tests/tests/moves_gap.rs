//! What a move costs whoever talks to the container: measured by pings every millisecond from a third host.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use tests::{Cluster, Container, Process, Stage, Underlay, rounds, until};

/// Fifty workloads, four moves each, so that no address moves too often for the flap guard.
const WORKLOADS: usize = 50;
const WORKLOADS_SOAKING: usize = 250;
const TURNS: [usize; 4] = [2, 1, 2, 1];
const WAIT: Duration = Duration::from_secs(10);

/// One move as the third host saw it.
#[derive(Debug, Clone, Copy)]
struct Gap {
    /// From the last answer of the old place to the first of the new one: the engine's time included.
    silence: Duration,
    /// From the moment the ADD had returned to the first answer: what the network adds.
    added: Duration,
}

/// Durations in order, for people.
struct Distribution(Vec<Duration>);

impl Distribution {
    fn of(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }

    fn percent(&self, percent: usize) -> Duration {
        let at = (self.0.len() * percent / 100).min(self.0.len().saturating_sub(1));
        self.0.get(at).copied().unwrap_or_default()
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |percent| self.percent(percent).as_secs_f64() * 1000.0;
        write!(f, "p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, longest {:.1} ms", ms(50), ms(90), ms(99), ms(100))
    }
}

/// When each answer came, by the clock of the machine.
fn answers(ping: &Process) -> Result<Vec<Duration>> {
    let text = ping.output()?;
    let lines = text.lines().filter(|line| line.contains("bytes from"));
    let stamps = lines.filter_map(|line| line.strip_prefix('[')?.split_once(']')?.0.parse().ok());
    Ok(stamps.map(Duration::from_secs_f64).collect())
}

fn until_answered_after(ping: &Process, moment: Duration) -> Result<()> {
    let later = |stamps: Vec<Duration>| stamps.last().is_some_and(|last| *last > moment);
    until("the open ping is answered", WAIT, || Ok(later(answers(ping)?).then_some(())))
}

fn clock() -> Result<Duration> {
    Ok(SystemTime::UNIX_EPOCH.elapsed()?)
}

/// The pings that were answered: nobody sees more of a move than this.
fn gap(stamps: &[Duration], stopped: Duration, started: Duration) -> Result<Gap> {
    let last = stamps.iter().rev().find(|stamp| **stamp < stopped).context("no answer before the move")?;
    let first = stamps.iter().find(|stamp| **stamp > stopped + GONE).context("no answer after the move")?;
    Ok(Gap { silence: first.saturating_sub(*last), added: first.saturating_sub(started) })
}

#[test]
fn moves_under_a_thousand_pings_a_second() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let _cluster = Cluster::form(&stage)?;
    let observer = Container::start(stage.host(3)?, "observer", None)?;
    let mut gaps = Vec::new();
    for number in 0..rounds(WORKLOADS, WORKLOADS_SOAKING) {
        let workload = format!("web-{number}");
        let mut web = Container::start(stage.host(1)?, &format!("{workload}-0"), Some(&workload))?;
        let address = web.address()?;
        observer.until_reaches(address)?;
        let words = ["ping", "-D", "-i", "0.001", "-W", "1", &address.to_string()];
        let mut ping = observer.spawn(&format!("ping-{number}"), &words)?;
        for (turn, to) in TURNS.into_iter().enumerate() {
            until_answered_after(&ping, clock()?)?;
            let stopped = clock()?;
            web.stop()?;
            web = Container::start(stage.host(to)?, &format!("{workload}-{}", turn + 1), Some(&workload))?;
            let started = clock()?;
            until_answered_after(&ping, started)?;
            ensure!(web.address()? == address, "{workload} has {} and had {address}", web.address()?);
            gaps.push(gap(&answers(&ping)?, stopped, started)?);
        }
        ping.kill()?;
        web.stop()?;
    }
    let added = Distribution::of(gaps.iter().map(|gap| gap.added).collect());
    let silence = Distribution::of(gaps.iter().map(|gap| gap.silence).collect());
    println!("{} moves\nadded by the network: {added}\nsilence in all, the engine included: {silence}", gaps.len());
    // A figure to be read, not judged: a test that times itself fails on a busy machine.
    Ok(())
}

/// A DEL takes longer than this before the port is gone: answers until then are still the old container's.
const GONE: Duration = Duration::from_millis(60);
