//! A container with NET_RAW sends what it may not: nobody hears it, each frame is counted, and nobody else is disturbed.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tests::{Cluster, Container, Host, JoinBy, Stage, Underlay, until};

#[path = "attacks/frames.rs"]
mod frames;

use frames::{Attack, BRIDGE, Cast, Mac, Party, attacks, floods, honest};

const WAIT: Duration = Duration::from_secs(15);

/// An attacker, a neighbour on its host and one on another.
struct Scene {
    cluster: Cluster,
    attacker: Container,
    near: Container,
    far: Container,
    stage: Stage,
}

impl Scene {
    fn set() -> Result<Self> {
        let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
        let cluster = Cluster::form_by(&stage, JoinBy::Token, &["--pool6"])?;
        let attacker = Container::start(stage.host(1)?, "attacker", None)?;
        let near = Container::start(stage.host(1)?, "near", None)?;
        let far = Container::start(stage.host(2)?, "far", None)?;
        attacker.until_reaches(near.address()?)?;
        attacker.until_reaches(far.address()?)?;
        near.until_reaches(far.address()?)?;
        Ok(Self { cluster, attacker, near, far, stage })
    }

    fn cast(&self, victim: &Container) -> Result<Cast> {
        let gateway = self.stage.host(1)?.run(&["ip", "-json", "address", "show", "raddle0"])?.json()?;
        Ok(Cast { own: party_of(&self.attacker)?, victim: party_of(victim)?, gateway: party(&gateway)? })
    }

    fn drops(&self) -> Result<BTreeMap<String, u64>> {
        let containers = self.cluster.router(1)?.containers()?;
        let attacker = containers.iter().find(|container| container["container_id"] == self.attacker.id());
        let drops = &attacker.context("the attacker is not listed")?["drops"];
        Ok(serde_json::from_value(drops.clone())?)
    }
}

fn party_of(container: &Container) -> Result<Party> {
    party(&container.run(&["ip", "-json", "address", "show", "eth0"])?.json()?)
}

fn party(shown: &Value) -> Result<Party> {
    let text = |at: &str| shown.pointer(at).and_then(Value::as_str).with_context(|| format!("no {at} in {shown}"));
    let digits = text("/0/address")?.split(':').map(|byte| u8::from_str_radix(byte, 16));
    let mac: Mac = digits.collect::<Result<Vec<_>, _>>()?.try_into().ok().context("a MAC has six bytes")?;
    let ipv4: Ipv4Addr = text("/0/addr_info/0/local")?.parse()?;
    let ipv6: Ipv6Addr = text("/0/addr_info/1/local")?.parse()?;
    Ok(Party { mac, ipv4, ipv6 })
}

fn by_reason(attacks: &[Attack]) -> BTreeMap<String, u64> {
    let counted = attacks.iter().filter(|attack| attack.reason != BRIDGE);
    counted.fold(BTreeMap::new(), |mut counts, attack| {
        *counts.entry(attack.reason.to_owned()).or_default() += 1;
        counts
    })
}

/// What no container may change: where the host sends, and whom it takes for whom.
fn routes(host: &Host) -> Result<String> {
    let v4 = host.run(&["ip", "route"])?.ok()?;
    let v6 = host.run(&["ip", "-6", "route"])?.ok()?;
    let rules = host.run(&["ip", "rule"])?.ok()?;
    let addresses = host.run(&["ip", "-brief", "address", "show", "raddle0"])?.ok()?;
    Ok([v4, v6, rules, addresses].concat())
}

fn neighbours(container: &Container) -> Result<String> {
    let shown = container.run(&["ip", "-json", "neigh"])?.json()?;
    let entries = shown.as_array().into_iter().flatten().filter(|entry| entry["lladdr"].is_string());
    let mut known: Vec<_> = entries.map(|entry| format!("{} {}", entry["dst"], entry["lladdr"])).collect();
    known.sort();
    Ok(known.join("\n"))
}

#[test]
fn nothing_that_a_container_may_not_send_reaches_anybody() -> Result<()> {
    let scene = Scene::set()?;
    let listeners = [scene.near.listen_to_frames()?, scene.far.listen_to_frames()?];
    let before = (routes(scene.stage.host(1)?)?, neighbours(&scene.near)?, neighbours(&scene.far)?);
    for (victim, times) in [(&scene.near, 1), (&scene.far, 2)] {
        let cast = scene.cast(victim)?;
        let attacks = attacks(&cast)?;
        scene.attacker.send_frames(attacks.iter().map(|attack| &attack.frame))?;
        let (marker, frame) = honest(&cast);
        scene.attacker.send_frames([&frame])?;
        for listener in &listeners {
            until("the honest frame arrives", WAIT, || Ok(listener.has_heard(&marker)?.then_some(())))?;
            for attack in &attacks {
                ensure!(!listener.has_heard(&attack.marker())?, "{:?} got through", attack.name);
            }
        }
        let wanted: BTreeMap<_, _> =
            by_reason(&attacks).into_iter().map(|(reason, count)| (reason, count * times)).collect();
        let drops = scene.drops()?;
        ensure!(drops == wanted, "counted {drops:?}, sent {wanted:?}");
    }
    let after = (routes(scene.stage.host(1)?)?, neighbours(&scene.near)?, neighbours(&scene.far)?);
    ensure!(before == after, "before {before:#?}, after {after:#?}");
    scene.near.until_reaches(scene.far.address()?)?;
    scene.attacker.until_reaches(scene.near.address()?)?;
    Ok(())
}

/// What twenty pings came to.
fn pings(from: &Container, to: &Container) -> Result<String> {
    let to = to.address()?.to_string();
    let summary = from.run(&["ping", "-q", "-n", "-c", "20", "-i", "0.05", "-W", "2", &to])?.ok()?;
    Ok(summary.lines().skip_while(|line| !line.contains("transmitted")).collect::<Vec<_>>().join(", "))
}

#[test]
fn a_flood_is_counted_and_others_go_on() -> Result<()> {
    let scene = Scene::set()?;
    let listener = scene.far.listen_to_frames()?;
    let cast = scene.cast(&scene.near)?;
    for (name, frame) in floods(&cast)? {
        let before = scene.drops()?.get("broadcast-rate").copied().unwrap_or_default();
        let mut flood = scene.attacker.flood(name, &frame)?;
        flood.until_says("begun", WAIT)?;
        // Whoever has to ask for an address first is answered too.
        scene.near.run(&["ip", "neigh", "flush", "dev", "eth0"])?.ok()?;
        let said = pings(&scene.near, &scene.far)?;
        eprintln!("{name}: {said}");
        ensure!(said.contains(" 0% packet loss"), "{name}: {said}");
        flood.kill()?;
        let dropped = scene.drops()?.get("broadcast-rate").copied().unwrap_or_default() - before;
        let to_a_group = frame.first().is_some_and(|first| first & 1 == 1);
        ensure!((dropped > 1000) == to_a_group, "{name}: {dropped} frames were dropped for their rate");
    }
    // What is left to it is what everybody has.
    let (marker, frame) = honest(&cast);
    until("the flooding container speaks again", WAIT, || {
        scene.attacker.send_frames([&frame])?;
        Ok(listener.has_heard(&marker)?.then_some(()))
    })
}

/// Opens a connection to a router's port, or fails.
fn connection_to(to: &str) -> [&str; 4] {
    ["python3", "-c", "import socket, sys; socket.create_connection((sys.argv[1], 6783), 1)", to]
}

#[test]
fn the_underlay_port_is_not_there_for_containers() -> Result<()> {
    let scene = Scene::set()?;
    let (host, other) = (scene.stage.host(1)?, scene.stage.host(2)?);
    let gateway = scene.cast(&scene.near)?.gateway;
    let (gateway4, gateway6, underlay) =
        (gateway.ipv4.to_string(), gateway.ipv6.to_string(), host.underlay().to_string());
    // It is there for those it is for: the very same connection, from the hosts.
    for (from, to) in [(host, &gateway4), (host, &gateway6), (host, &underlay), (other, &underlay), (other, &gateway4)]
    {
        from.run(&connection_to(to))?.ok()?;
    }
    for to in [&gateway4, &gateway6, &underlay] {
        ensure!(!scene.attacker.run(&connection_to(to))?.is_ok(), "{to} answers a container of its host");
    }
    ensure!(!scene.far.run(&connection_to(&gateway4))?.is_ok(), "the gateway answers a container of another host");
    scene.attacker.until_reaches(gateway.ipv4)
}

#[test]
fn rules_that_somebody_flushes_are_back_before_long_and_at_the_next_container() -> Result<()> {
    let scene = Scene::set()?;
    let host = scene.stage.host(1)?;
    let rules = || host.run(&["nft", "list", "ruleset"])?.ok();
    host.run(&["nft", "flush", "ruleset"])?.ok()?;
    until("the rules are back", WAIT, || Ok(rules()?.contains("raddle-raddle0").then_some(())))?;
    host.run(&["nft", "flush", "ruleset"])?.ok()?;
    let third = Container::start(host, "third", None)?;
    ensure!(rules()?.contains(&third.address()?.to_string()), "an ADD did not bring the rules back");
    third.until_reaches(scene.far.address()?)
}

#[test]
fn a_host_without_nft_is_told_so_and_has_its_overlay() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let host = stage.host(1)?;
    host.run(&["mount", "--bind", "/dev/null", "/usr/sbin/nft"])?.ok()?;
    let cluster = Cluster::form(&stage)?;
    let status = cluster.router(1)?.status()?;
    let warnings = status["warnings"].to_string();
    ensure!(warnings.contains("nftables") && status["health"] == "degraded", "{status}");
    let container = Container::start(host, "c1", None)?;
    container.until_reaches(Ipv4Addr::new(10, 32, 0, 1))?;
    host.run(&["umount", "/usr/sbin/nft"])?.ok()?;
    until("the edge is there as soon as nft is", WAIT, || {
        let status = cluster.router(1)?.status()?;
        Ok(status["warnings"].as_array().is_some_and(Vec::is_empty).then_some(()))
    })?;
    let rules = host.run(&["nft", "list", "ruleset"])?.ok()?;
    ensure!(rules.contains(&container.address()?.to_string()), "{rules}");
    Ok(())
}
