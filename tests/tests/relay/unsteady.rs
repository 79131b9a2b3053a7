//! A link between two of three hosts that comes and goes, is deaf, or loses much one way: nobody loses anybody over it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::Value;
use tests::{Cluster, Container, Host, Process, Stage, Underlay, pass, rounds};

use super::{DIRECT, RELAY, ends, until_answered, until_path};

/// How often a link comes and goes.
const TURN: Duration = Duration::from_secs(2);

/// Who has which address, and since which change of hands.
fn owners(cluster: &Cluster) -> Result<BTreeSet<(String, String, String)>> {
    let leases = cluster.router(1)?.leases()?;
    let fact = |lease: &Value, name: &str| lease[name].to_string();
    Ok(leases.iter().map(|lease| (fact(lease, "address"), fact(lease, "owner"), fact(lease, "epoch"))).collect())
}

/// What makes a link between two hosts worse.
type Worsen = fn(&Stage, &Host, &Host) -> Result<()>;

/// Three hosts, containers on the last two, and a ping between those that goes on.
struct Scene {
    stage: Stage,
    cluster: Cluster,
    ping: Process,
    _containers: (Container, Container),
}

impl Scene {
    fn build() -> Result<Self> {
        let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
        let cluster = Cluster::form(&stage)?;
        until_path(&cluster, &DIRECT)?;
        let (two, three) = ends(&stage)?;
        let ping = two.spawn("ping", &["ping", "-i", "0.1", "-W", "1", &three.address()?.to_string()])?;
        until_answered(&ping, 3)?;
        Ok(Self { stage, cluster, ping, _containers: (two, three) })
    }

    /// The link is bad and good by turns, so many times and for so long each. No address changes hands, no session ends, the path changes at
    /// most once a second, and is the direct one again soon after.
    fn endure(self, what: &str, turns: usize, turn: Duration, worsen: Worsen) -> Result<()> {
        let before = owners(&self.cluster)?;
        let (two, three) = (self.stage.host(2)?, self.stage.host(3)?);
        for _ in 0..turns {
            worsen(&self.stage, two, three)?;
            pass(turn);
            self.stage.mend()?;
            pass(turn);
        }
        let settled = until_path(&self.cluster, &DIRECT)?;
        ensure!(settled <= Duration::from_secs(30), "converged after {settled:?}");
        until_answered(&self.ping, 3)?;
        let after = owners(&self.cluster)?;
        ensure!(after == before, "{after:?}, before {before:?}");
        let mut out = std::io::stdout();
        let seconds = 2 * turns * usize::try_from(turn.as_secs())?;
        for (from, to) in [(2, "host3"), (3, "host2")] {
            let log = self.cluster.router(from)?.log()?;
            let count = |text| log.lines().filter(|line| line.contains(text) && line.contains(to)).count();
            let (changes, losses) = (count("goes another way"), count("no longer connected"));
            writeln!(
                out,
                "{what}, {seconds} s: host{from}: {changes} changes of the path, settled after {settled:.1?}"
            )?;
            ensure!(changes <= seconds && losses == 0, "{changes} changes, {losses} losses");
        }
        writeln!(out, "{what}: {} pings answered of {}", answered(&self.ping)?, seconds * 10)?;
        Ok(())
    }
}

fn answered(ping: &Process) -> Result<usize> {
    Ok(ping.output()?.matches("bytes from").count())
}

#[test]
fn a_link_that_comes_and_goes_changes_no_owner_and_few_paths() -> Result<()> {
    Scene::build()?.endure("comes and goes", rounds(3, 75), TURN, Stage::cut)
}

#[test]
fn a_link_that_is_deaf_by_turns_changes_no_owner_and_few_paths() -> Result<()> {
    Scene::build()?.endure("deaf by turns", rounds(2, 38), TURN, Stage::deafen)
}

#[test]
fn a_link_that_loses_a_third_one_way_changes_no_owner_and_few_paths() -> Result<()> {
    let seconds = u64::try_from(rounds(5, 75))?;
    Scene::build()?.endure("loses a third one way", 1, Duration::from_secs(seconds), Stage::thin)
}

#[test]
fn what_hears_and_is_not_heard_is_reached_by_a_relay() -> Result<()> {
    let Scene { stage, cluster, ping, _containers } = Scene::build()?;
    stage.deafen(stage.host(2)?, stage.host(3)?)?;
    let took = until_path(&cluster, &RELAY)?;
    until_answered(&ping, 3)?;
    writeln!(std::io::stdout(), "by the relay after {took:?}")?;
    Ok(())
}
