//! A router's handshake key is replaced while it runs.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tests::{Cluster, Container, Stage, Underlay};

const KEY: &str = "/var/lib/raddle/noise.key";
const WAIT: Duration = Duration::from_secs(10);

#[test]
fn a_renewal_stops_nothing_and_leaves_no_use_for_the_old_key() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let mut cluster = Cluster::form(&stage)?;
    let one = Container::start(stage.host(1)?, "one", None)?;
    let two = Container::start(stage.host(2)?, "two", None)?;
    one.until_reaches(two.address()?)?;
    // Host 3 is away meanwhile.
    let away = cluster.router(3)?.status()?["name"].clone();
    cluster.router_mut(3)?.kill()?;
    cluster.router(1)?.until_connected(1)?;
    let mut ping = one.spawn("ping", &["ping", "-i", "0.01", &two.address()?.to_string()])?;
    ping.until_says("bytes from", WAIT)?;
    let host = stage.host(1)?;
    let old = format!("{KEY}.before");
    host.run(&["cp", KEY, &old])?.ok()?;
    for generation in 2..5 {
        let renewed = cluster.router(1)?.raddle(&["renew", "--output", "json"])?.json()?;
        ensure!(renewed == json!({ "generation": generation, "away": [away] }), "{renewed}");
        ensure!(!host.run(&["cmp", KEY, &old])?.is_ok(), "the key is the one before");
    }
    cluster.router_mut(3)?.start_again()?;
    cluster.until_whole()?;
    // Who restarts calls under the new key, from either side; what was asked meanwhile was answered.
    ping.until_says("icmp_seq=20 ", WAIT)?;
    ping.signal("INT")?;
    ping.wait(WAIT)?.context("the ping goes on")?;
    let said = ping.output()?;
    let number = |line: &str| line.split_once("icmp_seq=")?.1.split(' ').next()?.parse::<usize>().ok();
    let answered: Vec<usize> = said.lines().filter_map(number).collect();
    // Who is interrupted has perhaps one question open; before that none is.
    ensure!(answered.iter().copied().eq(1..=answered.len()) && answered.len() > 10, "{said}");
    for number in [2, 1] {
        cluster.router_mut(number)?.kill()?;
        cluster.router_mut(number)?.start_again()?;
        cluster.until_whole()?;
    }
    one.until_reaches(two.address()?)?;
    // The old key fits nothing any more.
    cluster.router_mut(1)?.kill()?;
    host.run(&["mv", &old, KEY])?.ok()?;
    let (code, said) = host.raddle(&["router"])?.refused()?;
    ensure!(code == 1 && said.contains("do not belong"), "{said}");
    Ok(())
}
