//! What the neighbours see of a new container: both families at once, announced, and believed.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::{Cluster, Container, Host, JoinBy, Plugin, Stage, Underlay, until};

use super::driver::{Sandbox, conf, refuses, state, with};
use super::{WAIT, alone};

fn bytes_of_mac(text: &str) -> Result<Vec<u8>> {
    text.split(':').map(|byte| Ok(u8::from_str_radix(byte, 16)?)).collect()
}

#[test]
fn a_new_container_is_announced_and_believed() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let _cluster = Cluster::form_by(&stage, JoinBy::Token, &["--pool6"])?;
    let near = Container::start(stage.host(1)?, "near", None)?;
    let far = Container::start(stage.host(2)?, "far", None)?;
    near.until_reaches(far.address()?)?;
    let sandbox = Sandbox::new(stage.host(1)?, "new")?;
    let wanted = with(conf("1.0.0"), &json!({"runtimeConfig": {"ips": ["10.32.0.40"]}}));
    let first = sandbox.add(&wanted)?;
    let text = |at: &str| first.pointer(at).and_then(Value::as_str).with_context(|| format!("no {at} in {first}"));
    let (mac, six) = (text("/interfaces/2/mac")?, text("/ips/1/address")?.split('/').next().unwrap_or_default());
    sandbox.del(&wanted)?;
    for peer in [&near, &far] {
        for address in ["10.32.0.40", six] {
            let stale = ["lladdr", "02:de:ad:00:00:00", "nud", "reachable", "dev", "eth0"];
            peer.run(&[&["ip", "neigh", "replace", address], stale.as_slice()].concat())?.ok()?;
        }
        // The kernel lets no entry change within a second of its last change; ours are as old as it takes.
        peer.run(&["sh", "-c", "echo 0 > /proc/sys/net/ipv4/neigh/eth0/locktime"])?.ok()?;
    }
    let listeners = [near.listen_to_frames()?, far.listen_to_frames()?];
    sandbox.add(&wanted)?;
    let begin = Instant::now();
    let mac = bytes_of_mac(mac)?;
    let arp = [mac.as_slice(), &[10, 32, 0, 40]].concat();
    let six: std::net::Ipv6Addr = six.parse()?;
    // RFC 4861 §4.4: the subject and its link-layer address.
    let advertisement = [six.octets().as_slice(), &[2, 1], &mac].concat();
    for (listener, who) in listeners.iter().zip(["near", "far"]) {
        for announcement in [&arp, &advertisement] {
            until(&format!("{who} hears {announcement:02x?}"), WAIT, || {
                Ok(listener.has_heard(announcement)?.then_some(()))
            })?;
        }
    }
    for peer in [&near, &far] {
        for address in ["10.32.0.40".to_owned(), six.to_string()] {
            let reached = peer.run(&["ping", "-n", "-c", "1", "-W", "1", &address])?.is_ok();
            ensure!(reached, "{} goes on with what it had: {}", peer.id(), peer.run(&["ip", "neigh"])?.ok()?);
        }
    }
    eprintln!("both families heard and reached on both hosts {:?} after ADD", begin.elapsed());
    Ok(())
}

fn timed(host: &Host, id: &str) -> Result<f64> {
    let netns = format!("/run/netns/{id}");
    let about = tests::Attachment { container: id, netns: &netns, arguments: "" };
    Ok(host.time_cni(Plugin::Raddle, "ADD", about)?.trim().parse::<f64>()? / 1000.0)
}

#[test]
fn ipv6_works_at_once_wherever_the_kernel_has_it() -> Result<()> {
    let (stage, _cluster) = alone(&["--pool6"])?;
    let host = stage.host(1)?;
    let mut took = Vec::new();
    for (id, setting) in
        [("usual", "all/disable_ipv6=0"), ("off", "all/disable_ipv6=1"), ("later", "default/disable_ipv6=1")]
    {
        let sandbox = Sandbox::new(host, id)?;
        let (key, value) = setting.split_once('=').context("no value")?;
        sandbox.run(&["sh", "-c", "echo $1 > /proc/sys/net/ipv6/conf/$0", key, value])?.ok()?;
        took.push(timed(host, id)?);
        let shown = sandbox.run(&["ip", "-6", "-json", "address", "show", "eth0"])?.json()?.to_string();
        ensure!(shown.contains("global"), "{id}: {shown}");
        ensure!(!shown.contains("tentative") && !shown.contains("dadfailed"), "{id}: {shown}");
        let gateway = sandbox.run(&["ip", "-6", "-json", "route", "show", "default"])?.json()?;
        let gateway = gateway.pointer("/0/gateway").and_then(Value::as_str).context("no default route")?.to_owned();
        ensure!(sandbox.reaches(&gateway)?, "{id}: the gateway does not answer at once");
    }
    eprintln!("an ADD with both families took {took:?} ms");
    Ok(())
}

#[test]
fn both_families_and_the_mac_are_of_one_slot_also_for_a_second_interface() -> Result<()> {
    let (stage, cluster) = alone(&["--pool6"])?;
    let host = stage.host(1)?;
    let sandbox = Sandbox::new(host, "c1")?;
    let before = state(host)?;
    for ifname in ["eth0", "eth1", "net1"] {
        sandbox.call("ADD", &[("CNI_IFNAME", ifname)], &conf("1.0.0"))?.ok()?;
    }
    let containers = cluster.router(1)?.containers()?;
    ensure!(containers.len() == 3, "{containers:?}");
    for container in &containers {
        let text =
            |key: &str| container[key].as_str().map(str::to_owned).with_context(|| format!("no {key}: {container}"));
        let four: std::net::Ipv4Addr = text("address")?.parse()?;
        let six: std::net::Ipv6Addr = text("address6")?.parse()?;
        let mac = bytes_of_mac(&text("mac")?)?;
        ensure!(four.octets()[3] == six.octets()[15] && Some(&four.octets()[3]) == mac.last(), "{container}");
        ensure!(six.octets()[0] == 0xfd, "not a unique local address: {container}");
    }
    // The first one's default route stays, and asking by IPv6 decides the other family.
    let routes = sandbox.run(&["ip", "route", "show", "default"])?.ok()?;
    ensure!(routes.lines().count() == 1 && routes.contains("eth0"), "{routes}");
    for ifname in ["net1", "eth1", "eth0"] {
        sandbox.quietly("DEL", &[("CNI_IFNAME", ifname)], &conf("1.0.0"))?;
    }
    ensure!(state(host)? == before, "something is left");
    let six = containers[0]["address6"].as_str().context("no address6")?;
    let (prefix, _) = six.rsplit_once(':').context("no prefix")?;
    let wanted = with(conf("1.0.0"), &json!({"runtimeConfig": {"ips": [format!("{prefix}:77")]}}));
    let given = sandbox.add(&wanted)?;
    ensure!(given["ips"][0]["address"] == "10.32.0.119/12", "{given}");
    let apart = with(conf("1.0.0"), &json!({"runtimeConfig": {"ips": [format!("{prefix}:78"), "10.32.0.9"]}}));
    refuses(&Sandbox::new(host, "c2")?.call("ADD", &[], &apart)?, 7, &["10.32.0.9"])
}
