//! containerd runs pods, as Kubernetes has it do: the system's 1.6, and 2.1 for CNI 1.1.0.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::{Cluster, Cri, Generation, Host, Image, Plugin, Pod, Podman, Sandbox, Stage, Underlay, binary, until};

const WAIT: Duration = Duration::from_secs(20);
const WEB: Pod<'_> = Pod {
    namespace: "shop",
    name: "web-0",
    ports: &[(8080, 7)],
    annotations: &[("kubernetes.io/ingress-bandwidth", "50M"), ("kubernetes.io/egress-bandwidth", "50M")],
};
/// It is given its address by the one means that Kubernetes has for that.
const CLIENT: Pod<'_> = Pod {
    namespace: "shop",
    name: "client",
    ports: &[],
    annotations: &[("raddle.ip", "10.32.1.7"), ("raddle.mac", "02:00:00:00:01:07")],
};

/// Two hosts with routers and a containerd each, all pods of which echo on port 7.
struct Hosts {
    cris: Vec<Cri>,
    cluster: Cluster,
    // Last: what runs on the hosts goes before the hosts do.
    stage: Stage,
}

impl Hosts {
    fn new(generation: Generation, version: &str) -> Result<Self> {
        let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
        let cluster = Cluster::form(&stage)?;
        let image = Image::pack(stage.directory(), &[binary("probe")?])?;
        let podman = Podman::on(stage.host(1)?, &image, Plugin::Raddle)?;
        let archive = podman.pod_archive(&image, &["probe", "tcp-echo", "0.0.0.0:7"])?;
        let start = |host: &Host| Cri::on(host, generation, &archive, &conflist(version));
        let cris = stage.hosts().iter().map(start).collect::<Result<Vec<_>>>()?;
        Ok(Self { cris, cluster, stage })
    }

    fn cri(&self, number: usize) -> Result<&Cri> {
        number.checked_sub(1).and_then(|at| self.cris.get(at)).with_context(|| format!("no containerd {number}"))
    }

    fn cri_mut(&mut self, number: usize) -> Result<&mut Cri> {
        number.checked_sub(1).and_then(|at| self.cris.get_mut(at)).with_context(|| format!("no containerd {number}"))
    }

    fn nothing_left(&self, number: usize) -> Result<()> {
        let links = self.stage.host(number)?.container_links()?;
        ensure!(links.is_empty(), "host{number} keeps {links:?}");
        let containers = self.cluster.router(number)?.containers()?;
        ensure!(containers.is_empty(), "host{number} still lists {containers:?}");
        Ok(())
    }
}

/// What the documentation shows for Kubernetes, and every capability that CRI has something for.
fn conflist(version: &str) -> Value {
    let capabilities = json!({"dns": true, "ips": true, "mac": true, "portMappings": true, "bandwidth": true,
        "io.kubernetes.cri.pod-annotations": true});
    json!({"cniVersion": version, "name": "raddle", "plugins": [
        {"type": "raddle-cni", "ipMasq": true, "capabilities": capabilities},
        {"type": "bandwidth", "capabilities": {"bandwidth": true}},
        {"type": "portmap", "capabilities": {"portMappings": true}},
    ]})
}

fn until_talks(from: &Sandbox, to: &str) -> Result<()> {
    let probe = binary("probe")?.display().to_string();
    until(&format!("{} answers", to), WAIT, || from.run(&[&probe, "tcp-stream", to, "1"])?.ok().map(Some))?;
    Ok(())
}

/// What every containerd does with pods on two hosts.
fn pods_live_and_move(hosts: &mut Hosts) -> Result<()> {
    let web = hosts.cri(1)?.run(&WEB)?;
    let (address, mac) = (web.address.clone(), web.mac()?);
    let shown = hosts.cluster.router(1)?.containers()?;
    ensure!(shown.iter().any(|container| container["workload"] == json!("shop/web-0")), "{shown:?}");
    let client = hosts.cri(2)?.run(&CLIENT)?;
    ensure!((client.address.as_str(), client.mac()?.as_str()) == ("10.32.1.7", "02:00:00:00:01:07"), "{client:?}");
    until_talks(&client, &format!("{address}:7"))?;

    // What the pod is for: a container of its own in the pod's network.
    hosts.cri(1)?.run_in(&web, &WEB, &["probe", "tcp-echo", "0.0.0.0:9"])?;
    until_talks(&client, &format!("{address}:9"))?;

    // The chain: the port of the host leads to the pod, and the bandwidth is limited on its veth.
    let probe = binary("probe")?.display().to_string();
    let published = format!("{}:8080", hosts.stage.host(1)?.underlay());
    hosts.stage.host(2)?.run(&[&probe, "tcp-stream", &published, "1"])?.ok()?;
    let limits = hosts.stage.host(1)?.run(&["tc", "qdisc", "show"])?.ok()?;
    ensure!(limits.contains("tbf") && limits.contains("50Mbit"), "{limits}");

    // Its own restart is nothing to the pods.
    hosts.cri_mut(1)?.restart()?;
    let web = hosts.cri(1)?.sandbox(&web.id)?;
    ensure!(web.address == address, "{web:?}");
    until_talks(&client, &format!("{address}:7"))?;

    // While it runs there it does not run here; removed there, it comes with its address.
    let refusal = format!("{:#}", hosts.cri(2)?.run(&WEB).err().context("it runs twice")?);
    ensure!(refusal.contains("still runs") && refusal.contains("host1"), "{refusal}");
    hosts.cri(1)?.remove(&web)?;
    hosts.nothing_left(1)?;
    let moved = hosts.cri(2)?.run(&WEB)?;
    ensure!((moved.address.clone(), moved.mac()?) == (address.clone(), mac), "{moved:?}");
    until_talks(&client, &format!("{address}:7"))?;
    hosts.cri(2)?.remove(&moved)?;
    hosts.cri(2)?.remove(&client)?;
    hosts.nothing_left(2)
}

#[test]
fn pods_of_containerd_1_6_on_two_hosts() -> Result<()> {
    let mut hosts = Hosts::new(Generation::Installed, "1.0.0")?;
    pods_live_and_move(&mut hosts)
}

#[test]
fn pods_of_containerd_2_1_on_two_hosts() -> Result<()> {
    let mut hosts = Hosts::new(Generation::Newer, "1.1.0")?;
    pods_live_and_move(&mut hosts)?;

    // It asks for STATUS: the network is as ready as the router is.
    let ready = |hosts: &Hosts| hosts.cri(1)?.network();
    ensure!(ready(&hosts)?.is_ok(), "{:?}", ready(&hosts)?);
    hosts.cluster.router_mut(1)?.kill()?;
    let reason = until("the network is not ready", WAIT, || Ok(ready(&hosts)?.err()))?;
    ensure!(reason.contains("no router answers"), "{reason}");
    hosts.cluster.router_mut(1)?.start_again()?;
    until("the network is ready", WAIT, || Ok(ready(&hosts)?.ok()))
}
