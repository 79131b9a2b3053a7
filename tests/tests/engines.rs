//! Real engines call the plugin on two hosts: Podman with its CNI backend, and containerd through `ctr run --cni`.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tests::{Cluster, Containerd, Host, Image, Plugin, Podman, Stage, Underlay, binary, until};

const WAIT: Duration = Duration::from_secs(20);

fn nothing_left(cluster: &Cluster, number: usize, host: &Host) -> Result<()> {
    let links = host.container_links()?;
    ensure!(links.is_empty(), "{} keeps {links:?}", host.name());
    let containers = cluster.router(number)?.containers()?;
    ensure!(containers.is_empty(), "{} still lists {containers:?}", host.name());
    Ok(())
}

#[test]
fn podman_on_two_hosts() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    let image = Image::pack(stage.directory(), &[binary("probe")?])?;
    let one = Podman::on(stage.host(1)?, &image, Plugin::Raddle)?;
    let two = Podman::on(stage.host(2)?, &image, Plugin::Raddle)?;
    one.start("web", &[], &["probe", "tcp-echo", "0.0.0.0:7"])?.ok()?;
    let (address, mac) = one.address("web")?;
    let shown = cluster.router(1)?.containers()?;
    ensure!(shown.iter().any(|container| container["workload"] == json!("web")), "{shown:?}");
    two.start("client", &[], &["sleep", "1000"])?.ok()?;
    let talk = || two.run(&["exec", "client", "probe", "tcp-stream", &format!("{address}:7"), "1"]);
    until("the client talks to web", WAIT, || Ok(talk()?.is_ok().then_some(())))?;

    // Stop and start keep the container and its address, in a new namespace.
    one.run(&["stop", "--time", "0", "web"])?.ok()?;
    one.run(&["start", "web"])?.ok()?;
    ensure!(one.address("web")? == (address.clone(), mac.clone()));
    until("the client talks to web again", WAIT, || Ok(talk()?.is_ok().then_some(())))?;

    // Removed here and started there under the same name: the move.
    one.remove("web")?;
    nothing_left(&cluster, 1, stage.host(1)?)?;
    two.start("web", &[], &["probe", "tcp-echo", "0.0.0.0:7"])?.ok()?;
    ensure!(two.address("web")? == (address.clone(), mac), "the address did not come along");
    until("the client talks to web on its own host", WAIT, || Ok(talk()?.is_ok().then_some(())))?;
    for name in ["web", "client"] {
        two.remove(name)?;
    }
    nothing_left(&cluster, 2, stage.host(2)?)
}

#[test]
fn containerd_on_two_hosts() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    let image = Image::pack(stage.directory(), &[binary("probe")?])?;
    let archive = Podman::on(stage.host(1)?, &image, Plugin::Raddle)?.archive()?;
    let one = Containerd::on(stage.host(1)?, &archive, Plugin::Raddle)?;
    let two = Containerd::on(stage.host(2)?, &archive, Plugin::Raddle)?;
    let mut web = one.start("web", &["probe", "tcp-echo", "0.0.0.0:7"])?;
    web.until_says("ready", WAIT)?;
    let shown = cluster.router(1)?.containers()?;
    let address = shown.first().and_then(|container| container["address"].as_str()).context("no address")?;
    let address = address.split('/').next().unwrap_or(address);
    let talk = |name: &str| two.once(name, &["probe", "tcp-stream", &format!("{address}:7"), "1"]);
    let mut attempt = 0;
    until("a container on the other host talks to it", WAIT, || {
        attempt += 1;
        talk(&format!("client-{attempt}"))?.ok().map(Some)
    })?;
    nothing_left(&cluster, 2, stage.host(2)?)?;
    one.kill("web")?;
    web.wait(WAIT)?;
    nothing_left(&cluster, 1, stage.host(1)?)
}
