//! Everything that podman 4.3 passes to a plugin, on two hosts: addresses, MACs, names, aliases, ports, several networks.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::{Engines, Host, Plugin, Podman, binary, until};

const WAIT: Duration = Duration::from_secs(20);
const ECHO: [&str; 3] = ["probe", "tcp-echo", "0.0.0.0:7"];

/// Two hosts with routers and podman, with two networks each: ours with a chain behind it, and Debian's bridge.
struct Hosts(Engines);

impl Hosts {
    fn new() -> Result<Self> {
        let engines = Engines::on(2)?;
        for host in engines.stage.hosts() {
            write(
                host,
                "10-raddle",
                &json!({"cniVersion": "1.0.0", "name": "raddle", "plugins": [
                    {"type": "raddle-cni", "ipMasq": true, "capabilities": {"aliases": true, "ips": true, "mac": true}},
                    {"type": "portmap", "capabilities": {"portMappings": true}},
                ]}),
            )?;
            let mut local = Plugin::Bridge.configuration();
            let version = local["cniVersion"].take();
            write(
                host,
                "20-local",
                &json!({"cniVersion": version, "name": "local", "plugins": [{
                    "type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": local["ipam"],
                }]}),
            )?;
        }
        Ok(Self(engines))
    }

    fn podman(&self, number: usize) -> Result<&Podman> {
        self.0.podman(number)
    }

    /// What the router of a host says of a workload.
    fn listed(&self, number: usize, workload: &str) -> Result<Option<Value>> {
        let containers = self.0.cluster.router(number)?.containers()?;
        Ok(containers.into_iter().find(|container| container["workload"] == json!(workload)))
    }

    fn until_talks(&self, number: usize, name: &str, to: &str) -> Result<()> {
        let podman = self.podman(number)?;
        until(&format!("{name} talks to {to}"), WAIT, || {
            podman.run(&["exec", name, "probe", "tcp-stream", to, "1"])?.ok().map(Some)
        })?;
        Ok(())
    }

    fn nothing_left(&self) -> Result<()> {
        for (number, host) in (1..).zip(self.0.stage.hosts()) {
            let (links, containers) = (host.container_links()?, self.0.cluster.router(number)?.containers()?);
            ensure!(links.is_empty() && containers.is_empty(), "host{number} keeps {links:?}, lists {containers:?}");
        }
        Ok(())
    }
}

fn write(host: &Host, name: &str, conflist: &Value) -> Result<()> {
    host.run_with(&["tee", &format!("/etc/cni/net.d/{name}.conflist")], conflist.to_string().as_bytes())?.ok()?;
    Ok(())
}

#[test]
fn what_is_asked_for_is_had_or_refused_with_the_reason() -> Result<()> {
    let hosts = Hosts::new()?;
    let (one, two) = (hosts.podman(1)?, hosts.podman(2)?);
    let asked = ["--ip", "10.32.2.9", "--mac-address", "02:00:00:00:02:09", "--network-alias", "www", "-p", "8080:7"];
    one.start("web", &asked, &ECHO)?.ok()?;
    let web = (String::from("10.32.2.9"), String::from("02:00:00:00:02:09"));
    ensure!(one.address("web")? == web, "{:?}", one.address("web")?);
    // A MAC that names its address, and one that names none.
    two.start("named", &["--mac-address", "02:00:00:00:02:0a"], &["sleep", "1000"])?.ok()?;
    ensure!(two.address("named")?.0 == "10.32.2.10", "{:?}", two.address("named")?);
    two.remove("named")?;
    two.start("client", &["--mac-address", "0a:00:5e:00:53:01"], &["sleep", "1000"])?.ok()?;
    ensure!(two.address("client")?.1 == "0a:00:5e:00:53:01", "{:?}", two.address("client")?);
    hosts.until_talks(2, "client", "10.32.2.9:7")?;
    let probe = binary("probe")?.display().to_string();
    let published = format!("{}:8080", hosts.0.stage.host(1)?.underlay());
    hosts.0.stage.host(2)?.run(&[&probe, "tcp-stream", &published, "1"])?.ok()?;

    let refusals: [(&str, &[&str], &[&str]); 4] = [
        ("other", &["--mac-address", "0a:00:5e:00:53:01"], &["0a:00:5e:00:53:01", "client", "host2"]),
        ("other", &["--ip", "10.32.2.9"], &["10.32.2.9", "web", "host1"]),
        ("web", &[], &["still runs", "host1"]),
        ("other", &["--ip", "10.32.2.11", "--mac-address", "02:00:00:00:02:0c"], &["10.32.2.11", "02:00:00:00:02:0c"]),
    ];
    for (name, options, words) in refusals {
        let (_, said) = two.start(name, options, &ECHO)?.refused()?;
        ensure!(words.iter().all(|word| said.contains(word)), "{options:?}: {said}");
        two.remove(name)?;
    }
    let links = hosts.0.stage.host(2)?.container_links()?;
    ensure!(links.len() == 1, "the refused have left something: {links:?}");

    for words in [&["restart", "--time", "0", "web"] as &[&str], &["network", "reload", "web"]] {
        one.run(words)?.ok()?;
        ensure!(one.address("web")? == web, "{words:?}: {:?}", one.address("web")?);
        hosts.until_talks(2, "client", "10.32.2.9:7")?;
    }
    one.remove("web")?;
    two.remove("client")?;
    hosts.nothing_left()
}

#[test]
fn a_second_network_comes_and_goes() -> Result<()> {
    let hosts = Hosts::new()?;
    let (one, two) = (hosts.podman(1)?, hosts.podman(2)?);
    two.start("server", &[], &ECHO)?.ok()?;
    let server = format!("{}:7", two.address("server")?.0);

    // From the engine's own bridge into the overlay, out of it, and in again: the name keeps its address.
    one.start_on("local", "guest", &[], &["sleep", "1000"])?.ok()?;
    one.run(&["network", "connect", "raddle", "guest"])?.ok()?;
    hosts.until_talks(1, "guest", &server)?;
    let address = one.address("guest")?;
    one.run(&["network", "disconnect", "raddle", "guest"])?.ok()?;
    ensure!(hosts.listed(1, "guest")?.is_none(), "{:?}", hosts.listed(1, "guest")?);
    one.run(&["network", "connect", "raddle", "guest"])?.ok()?;
    ensure!(one.address("guest")? == address, "{:?}", one.address("guest")?);
    hosts.until_talks(1, "guest", &server)?;

    // From the overlay into the bridge and out of it: the overlay is not disturbed.
    one.start_on("raddle:ip=10.32.2.7,interface_name=net7", "host", &[], &["sleep", "1000"])?.ok()?;
    let listed = hosts.listed(1, "host")?.context("not listed")?;
    ensure!(listed["ifname"] == "net7" && listed["address"] == "10.32.2.7", "{listed}");
    one.run(&["network", "connect", "local", "host"])?.ok()?;
    hosts.until_talks(1, "host", &server)?;
    one.run(&["network", "disconnect", "local", "host"])?.ok()?;
    hosts.until_talks(1, "host", &server)?;
    for (podman, name) in [(one, "guest"), (one, "host"), (two, "server")] {
        podman.remove(name)?;
    }
    hosts.nothing_left()
}

#[test]
fn containers_stop_without_a_router_and_start_with_one() -> Result<()> {
    let mut hosts = Hosts::new()?;
    hosts.podman(1)?.start("web", &[], &ECHO)?.ok()?;
    let address = hosts.podman(1)?.address("web")?;
    hosts.0.cluster.router_mut(1)?.kill()?;
    hosts.podman(1)?.run(&["stop", "--time", "0", "web"])?.ok()?;
    let (_, said) = hosts.podman(1)?.run(&["start", "web"])?.refused()?;
    ensure!(said.contains("no router answers"), "{said}");
    let links = hosts.0.stage.host(1)?.container_links()?;
    ensure!(links.is_empty(), "{links:?}");
    hosts.0.cluster.router_mut(1)?.start_again()?;
    hosts.podman(1)?.run(&["start", "web"])?.ok()?;
    ensure!(hosts.podman(1)?.address("web")? == address, "{:?}", hosts.podman(1)?.address("web")?);
    hosts.podman(1)?.remove("web")?;
    hosts.nothing_left()
}
