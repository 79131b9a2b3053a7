//! Hosts whose addresses change under them.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;
use tests::{Cluster, Container, Stage, Underlay, until};

const WAIT: Duration = Duration::from_secs(30);

#[test]
fn a_host_that_gets_another_address_is_followed_and_found_again() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let mut cluster = Cluster::form(&stage)?;
    let one = Container::start(stage.host(1)?, "one", None)?;
    let two = Container::start(stage.host(2)?, "two", None)?;
    one.until_reaches(two.address()?)?;
    let host = stage.host(2)?;
    let address = |verb: &str, address: &str| -> Result<()> {
        host.run(&["ip", "address", verb, address, "dev", "eth0"])?.ok()?;
        Ok(())
    };
    // Addresses of IPv6 go too, or the hosts would simply use those.
    address("del", &format!("{}/64", host.underlay6()))?;
    address("del", &format!("{}/24", host.underlay()))?;
    address("add", "10.99.0.22/24")?;
    let begun = Instant::now();
    one.until_reaches(two.address()?)?;
    let followed = begun.elapsed();
    until("the new address is known", WAIT, || {
        let peers = cluster.router(1)?.peers()?;
        Ok(peers.iter().any(|peer| peer["address"] == json!("10.99.0.22:6783")).then_some(()))
    })?;
    cluster.router(2)?.until_logs(&["reached elsewhere"])?;
    // Host 1 was told, and has written it down: after a restart it calls there, and is called from there.
    cluster.router_mut(1)?.kill()?;
    cluster.router_mut(1)?.start_again()?;
    cluster.until_whole()?;
    one.until_reaches(two.address()?)?;
    println!("frames passed again after {followed:?}");
    Ok(())
}

#[test]
fn a_host_with_two_networks_is_reached_by_the_one_that_is_left() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    for host in stage.hosts() {
        let second = format!("10.99.0.{}/24", 100 + u16::from(host.underlay().octets()[3]));
        host.run(&["ip", "address", "add", &second.replace("10.99.0", "10.99.1"), "dev", "eth0"])?.ok()?;
    }
    let cluster = Cluster::form(&stage)?;
    let one = Container::start(stage.host(1)?, "one", None)?;
    let two = Container::start(stage.host(2)?, "two", None)?;
    let ping = one.spawn("ping", &["ping", "-i", "0.1", "-W", "1", &two.address()?.to_string()])?;
    one.until_reaches(two.address()?)?;
    // The first network and IPv6 are lost between them; the addresses stay.
    let rules = "table inet first { chain input { type filter hook input priority 0; ip saddr 10.99.0.0/24 drop; \
                 ip6 saddr fd99::/64 udp dport 6783 drop; ip6 saddr fd99::/64 tcp dport 6783 drop; }; }";
    stage.host(2)?.run_with(&["nft", "-f", "-"], rules.as_bytes())?.ok()?;
    let begun = Instant::now();
    let before = ping.output()?.matches("bytes from").count();
    until("the open ping is answered", WAIT, || {
        Ok((ping.output()?.matches("bytes from").count() > before + 5).then_some(()))
    })?;
    println!("by the other network after {:?}", begun.elapsed());
    let peers = cluster.router(1)?.peers()?;
    ensure!(
        peers.iter().all(|peer| peer["path"] == json!("direct") && peer["state"] == json!("connected")),
        "{peers:?}"
    );
    ensure!(
        peers.iter().any(|peer| peer["address"].as_str().is_some_and(|at| at.starts_with("10.99.1."))),
        "{peers:?}"
    );
    Ok(())
}
