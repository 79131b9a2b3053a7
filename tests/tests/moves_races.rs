//! Several hosts want the same workload, or the same address, at the same instant: one of them gets it, and the others hear
//! which.

use std::{sync::Barrier, thread};

use anyhow::{Context as _, Result, bail, ensure};
use tests::{Answer, Cluster, Container, Host, Plugin, Stage, Underlay, rounds};

/// What came of one host's attempt.
type Outcome = Result<Result<Container, Answer>>;

/// All hosts of the stage start a container of this workload at once.
fn race(stage: &Stage, round: usize, workload: &str) -> Vec<Outcome> {
    race_with(stage, &|host| Container::try_start(host, Plugin::Raddle, &format!("racer-{round}"), Some(workload)))
}

/// All hosts of the stage start something at once.
fn race_with(stage: &Stage, start: &(impl Fn(&Host) -> Outcome + Sync)) -> Vec<Outcome> {
    let barrier = Barrier::new(stage.hosts().len());
    thread::scope(|scope| {
        let begin = |host| {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                start(host)
            })
        };
        let racers: Vec<_> = stage.hosts().iter().map(begin).collect();
        let panicked = |_| Err(anyhow::anyhow!("a racer panicked"));
        racers.into_iter().map(|racer| racer.join().unwrap_or_else(panicked)).collect()
    })
}

/// Exactly one has won; everybody else was refused with code 11 and the winner's name.
fn winner(outcomes: Vec<Outcome>, what: &str) -> Result<Container> {
    let (mut won, mut refusals) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome? {
            Ok(container) => won.push(container),
            Err(answer) => refusals.push(answer.failed()?),
        }
    }
    let Ok([winner]) = <[Container; 1]>::try_from(won) else { bail!("{what}: not one winner: {refusals:?}") };
    for (code, message) in refusals {
        let named = message.contains(winner.host().name());
        ensure!(code == 11 && named, "{what}: {} won, but code {code}: {message}", winner.host().name());
    }
    Ok(winner)
}

/// One hundred workloads that nobody has had before, wanted on all three hosts at once.
#[test]
fn a_new_workload_that_all_hosts_start_at_once_starts_on_one() -> Result<()> {
    let rounds = rounds(100, 1000);
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let _cluster = Cluster::form_by(&stage, tests::JoinBy::Token, &["--pool", "10.32.0.0/16"])?;
    let mut wins = [0_usize; 3];
    for round in 0..rounds {
        let workload = format!("race-{round}");
        let what = format!("round {round}");
        let first = winner(race(&stage, round, &workload), &what).context("started for the first time")?;
        let address = first.address()?;
        let at = stage.hosts().iter().position(|host| host.name() == first.host().name()).context("no host")?;
        *wins.get_mut(at).context("no host")? += 1;
        first.stop()?;
        // Now its address is held by the winner, and wanted everywhere at once again.
        if round % 5 == 0 {
            let second = winner(race(&stage, round, &workload), &what).context("started again")?;
            ensure!(second.address()? == address, "{what}: it has {} and had {address}", second.address()?);
            second.stop()?;
        }
    }
    // Names are spread over their registrars, and whoever asks itself is the quickest.
    ensure!(wins.iter().all(|won| won * 10 >= rounds), "one host always wins: {wins:?}");
    for host in stage.hosts() {
        ensure!(host.container_links()?.is_empty(), "{}: a refused ADD left something", host.name());
    }
    Ok(())
}

/// An address that nobody has, wanted on all three hosts at once for three workloads.
#[test]
fn an_address_that_all_hosts_want_at_once_goes_to_one() -> Result<()> {
    let rounds = rounds(20, 1000);
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let _cluster = Cluster::form_by(&stage, tests::JoinBy::Token, &["--pool", "10.32.0.0/16"])?;
    for round in 0..rounds {
        // Of the first host's block, of the others', and of the pool that nobody has a block of yet.
        let address = format!("10.32.{}.{}", round / 200, 2 + round % 200);
        let outcomes = race_with(&stage, &|host| {
            let workload = format!("{}-{round}", host.name());
            Container::try_start_at(host, &format!("racer-{round}"), &workload, &address)
        });
        let (mut won, mut refusals) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            match outcome? {
                Ok(container) => won.push(container),
                Err(answer) => refusals.push(answer.failed()?),
            }
        }
        let Ok([winner]) = <[Container; 1]>::try_from(won) else { bail!("{address}: not one winner: {refusals:?}") };
        let name = winner.host().name();
        for (code, message) in refusals {
            ensure!([11, 102].contains(&code) && message.contains(name), "{name} won, but code {code}: {message}");
        }
        winner.stop()?;
    }
    Ok(())
}
