//! A host that is gone for good: what it had goes to the others, and should it return it learns so and lets go.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{Cluster, Container, Plugin, Router, Stage, Underlay, peer, until};

/// Silence is believed after ten seconds; a claim is answered within a few more.
const WAIT: Duration = Duration::from_secs(30);
/// What a revoked router that returns has, from its start to its ports being down.
const TOLD: Duration = Duration::from_secs(5);

/// Asks for the workload until the answer says what an operator is to do.
fn refused_with(stage: &Stage, host: usize, workload: &str, remedy: &str) -> Result<()> {
    let mut attempt = 0;
    until(&format!("ADD of {workload} is refused with {remedy:?}"), WAIT, || {
        attempt += 1;
        let tried =
            Container::try_start(stage.host(host)?, Plugin::Raddle, &format!("early-{attempt}"), Some(workload))?;
        let Err(answer) = tried else { return Ok(Some(Err(anyhow::anyhow!("two containers have one address")))) };
        let (code, message) = answer.failed()?;
        ensure!(code == 11 && message.contains(remedy), "code {code}: {message}");
        Ok(Some(Ok(())))
    })?
}

/// How many frames have come in at a container's end of its cable.
fn received(container: &Container) -> Result<u64> {
    let links = container.run(&["ip", "-json", "-s", "link", "show", "eth0"])?.json()?;
    links.pointer("/0/stats64/rx/packets").and_then(Value::as_u64).with_context(|| format!("no counter: {links}"))
}

/// Whether every container's end on the host's side is switched off.
fn ports_are_down(router: &Router) -> Result<bool> {
    for link in router.host().container_links()? {
        let shown = router.host().run(&["ip", "-json", "link", "show", &link])?.json()?;
        let flags = shown.pointer("/0/flags").and_then(Value::as_array).context("no flags")?;
        if flags.iter().any(|flag| flag == "UP") {
            return Ok(false);
        }
    }
    Ok(true)
}

#[test]
fn a_revoked_router_that_returns_learns_it_and_cuts_its_containers_off() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let mut cluster = Cluster::form(&stage)?;
    let observer = Container::start(stage.host(2)?, "observer", None)?;
    let old = Container::start(stage.host(3)?, "old", Some("web"))?;
    let (address, mac) = (old.address()?, old.mac()?);
    observer.until_reaches(address)?;

    // The host is lost; its container runs on. Nobody gets the address before it has been said that it is gone.
    cluster.router_mut(3)?.kill()?;
    refused_with(&stage, 1, "web", "raddle revoke host3")?;
    // By the beginning of its public key, which no other router can have.
    let peers = cluster.router(1)?.peers()?;
    let identity = peers.iter().find(|peer| peer["name"] == "host3").and_then(|peer| peer["identity"].as_str());
    let prefix = identity.and_then(|identity| identity.get(..12)).context("no identity")?.to_owned();
    cluster.router(1)?.raddle(&["revoke", &prefix])?.ok()?;
    let new = Container::start(stage.host(1)?, "new", Some("web"))?;
    ensure!((new.address()?, new.mac()?) == (address, mac), "the workload has lost its address");
    observer.until_reaches(address)?;

    // It is back, and does not know.
    let start = Instant::now();
    cluster.router_mut(3)?.start_again()?;
    let returned = cluster.router(3)?;
    until_lets_go(returned, TOLD.saturating_sub(start.elapsed()))?;
    returned.until_logs(&["revoked this router"])?;
    cluster
        .router(1)?
        .until_logs(&["host3", "is told"])
        .or_else(|_| cluster.router(2)?.until_logs(&["host3", "is told"]))?;
    let counted = (received(&old)?, received(&new)?);
    observer.run(&["ping", "-c", "10", "-i", "0.1", "-W", "1", &address.to_string()])?.ok()?;
    ensure!(received(&old)? == counted.0, "a frame came to the container that was cut off");
    ensure!(received(&new)? >= counted.1 + 10, "the answers came from elsewhere");
    let refused = Container::try_start(stage.host(3)?, Plugin::Raddle, "late", None)?;
    ensure!(refused.is_err(), "a revoked router gave an address");

    joins_again(&stage, cluster)
}

/// Who sees it alive does not take one router's word for it; of one that two ask to revoke all let go at once, itself first.
#[test]
fn a_router_that_is_revoked_while_it_runs_lets_go() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    let _running = Container::start(stage.host(3)?, "running", Some("web"))?;
    let (_, alone) = cluster.router(2)?.raddle(&["revoke", "host3"])?.refused()?;
    ensure!(alone.contains("run 'raddle revoke host3' on another one too"), "{alone}");
    let warnings = cluster.router(1)?.status()?["warnings"].to_string();
    ensure!(warnings.contains("host2 asks to revoke host3") && warnings.contains("alive"), "{warnings}");
    ensure!(cluster.router(3)?.status()?["health"] != "failing", "one router's word was enough");
    cluster.router(1)?.raddle(&["revoke", "host3"])?.ok()?;
    until_lets_go(cluster.router(3)?, TOLD)?;
    for number in [1, 2] {
        cluster.router(number)?.until_connected(1)?;
    }
    // It is nobody's peer any more, and says so.
    cluster.router(3)?.until_connected(0)
}

/// Its status names the reason, and its containers' ports are down.
fn until_lets_go(router: &Router, most: Duration) -> Result<()> {
    until("the revoked router lets go", most, || {
        let status = router.status()?;
        let failing = status["health"] == "failing" && status["warnings"].to_string().contains("revoked");
        ensure!(failing && ports_are_down(router)?, "{status}");
        Ok(Some(()))
    })
}

/// The way back that its status names: an empty data directory, and a new identity under the same name.
fn joins_again(stage: &Stage, mut cluster: Cluster) -> Result<()> {
    let third = stage.host(3)?;
    cluster.router_mut(3)?.kill()?;
    third.run(&["rm", "-r", "/var/lib/raddle"])?.ok()?;
    let token = cluster.router(1)?.token(&[])?;
    third.raddle(&["join", &token, &peer(stage.host(1)?)])?.ok()?;
    cluster.router_mut(3)?.start_again()?;
    cluster.until_whole()?;
    ensure!(ports_are_down(cluster.router(3)?)?, "the port of a container without a lease is open");
    let fresh = Container::start(third, "fresh", None)?;
    let other = Container::start(stage.host(2)?, "other", None)?;
    other.until_reaches(fresh.address()?)?;
    // Those who stayed know both identities of that name after a restart too.
    cluster.router_mut(1)?.kill()?;
    cluster.router_mut(1)?.start_again()?;
    cluster.until_whole()?;
    let states: Vec<Value> = cluster.router(1)?.peers()?.iter().map(|peer| peer["state"].clone()).collect();
    ensure!(states.iter().filter(|state| **state == "revoked").count() == 1 && states.len() == 3, "{states:?}");
    Ok(())
}
