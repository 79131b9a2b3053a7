//! The plugin called through libcni 1.3, as engines call it: chains, cached results, every version, GC and STATUS.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::{Attachment, Cluster, Host, Libcni, Stage, Underlay};

/// Every plugin that the documentation says may follow. `firewall` knows no version before 0.4.0.
fn chain(version: &str) -> Value {
    let mut plugins = vec![
        json!({"type": "raddle-cni", "ipMasq": true, "capabilities": {"ips": true, "mac": true}}),
        json!({"type": "tuning", "sysctl": {"net.ipv4.conf.IFNAME.arp_filter": "1"}}),
        json!({"type": "bandwidth", "capabilities": {"bandwidth": true}}),
        json!({"type": "portmap", "capabilities": {"portMappings": true}}),
        json!({"type": "sbr"}),
    ];
    if !version.starts_with("0.3") {
        plugins.push(json!({"type": "firewall"}));
    }
    json!({"cniVersion": version, "name": "raddle", "plugins": plugins})
}

/// What a runtime asks for one container.
fn capabilities(address: &str, host_port: u16) -> Value {
    json!({"ips": [address], "portMappings": [{"hostPort": host_port, "containerPort": 7, "protocol": "tcp"}],
        "bandwidth": {"ingressRate": 50_000_000, "ingressBurst": 5_000_000}})
}

fn about<'a>(container: &'a str, netns: &'a str) -> Attachment<'a> {
    Attachment { container, netns, arguments: "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web" }
}

/// The rules and links that ADDs leave, of whatever plugin.
fn traces(host: &Host) -> Result<String> {
    let rules =
        host.run(&["sh", "-c", "iptables-save | grep -v '^#\\|^:'; nft list ruleset | grep 10.32.1 || true"])?.ok()?;
    Ok(format!("{:?}\n{rules}", host.container_links()?))
}

#[test]
fn chains_of_every_version() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let cluster = Cluster::form(&stage)?;
    let host = stage.host(1)?;
    for (version, last) in [("0.3.0", 30), ("0.3.1", 31), ("0.4.0", 40), ("1.0.0", 100), ("1.1.0", 110)] {
        let libcni = Libcni::on(host, version, &chain(version))?;
        libcni.validate()?.done()?;
        let (id, address) = (format!("c-{last}"), format!("10.32.1.{last}"));
        host.run(&["ip", "netns", "add", &id])?.ok()?;
        let netns = format!("/run/netns/{id}");
        let (about, wanted) = (about(&id, &netns), capabilities(&address, 8000 + last));
        let result = libcni.verb("add", about, &wanted)?.done().with_context(|| version.to_owned())?;
        ensure!(result["cniVersion"] == version, "{result}");
        ensure!(result.pointer("/ips/0/address") == Some(&json!(format!("{address}/12"))), "{result}");
        let listed = cluster.router(1)?.containers()?;
        ensure!(listed.len() == 1, "{listed:?}");
        let cached = libcni.attachments(&id)?;
        ensure!(cached.pointer("/0/IfName") == Some(&json!("eth0")), "{cached}");
        // CHECK came with 0.4.0.
        if last >= 40 {
            libcni.verb("check", about, &wanted)?.done().with_context(|| version.to_owned())?;
        }
        ensure!(traces(host)?.contains(&address), "no plugin has left a rule");
        libcni.verb("del", about, &wanted)?.done()?;
        libcni.verb("del", about, &wanted)?.done()?;
        host.run(&["ip", "netns", "delete", &id])?.ok()?;
        ensure!(cluster.router(1)?.containers()?.is_empty());
        let left = traces(host)?;
        ensure!(!left.contains(&address) && left.starts_with("[]"), "{version} leaves {left}");
    }
    Ok(())
}

#[test]
fn garbage_status_and_check() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let mut cluster = Cluster::form(&stage)?;
    let host = stage.host(1)?;
    let alone = json!({"cniVersion": "1.1.0", "name": "raddle", "plugins": [{"type": "raddle-cni"}]});
    let libcni = Libcni::on(host, "one", &alone)?;
    let netns = |id: &str| format!("/run/netns/{id}");
    for id in ["c1", "c2", "c3"] {
        host.run(&["ip", "netns", "add", id])?.ok()?;
        let about = Attachment { container: id, netns: &netns(id), arguments: "" };
        libcni.verb("add", about, &Value::Null)?.done()?;
    }
    let listed = || -> Result<Vec<String>> {
        let listed = cluster.router(1)?.containers()?;
        let mut ids: Vec<_> =
            listed.iter().filter_map(|container| container["container_id"].as_str()).map(str::to_owned).collect();
        ids.sort();
        ensure!(host.container_links()?.len() == ids.len(), "{ids:?} and {:?}", host.container_links()?);
        Ok(ids)
    };

    // libcni deletes what its cache knows and the runtime does not name; what no cache knows is left to the plugin.
    libcni.gc(&["c1/eth0", "c2/eth0"])?.done()?;
    ensure!(listed()? == ["c1", "c2"], "{:?}", listed()?);
    Libcni::on(host, "without-memory", &alone)?.gc(&["c1/eth0"])?.done()?;
    ensure!(listed()? == ["c1"], "{:?}", listed()?);

    let (id, netns) = ("c1", netns("c1"));
    let about = Attachment { container: id, netns: &netns, arguments: "" };
    libcni.verb("check", about, &Value::Null)?.done()?;
    host.run(&["nsenter", &format!("--net={netns}"), "ip", "link", "set", "eth0", "mtu", "1280"])?.ok()?;
    let (code, message) = libcni.verb("check", about, &Value::Null)?.failed()?;
    ensure!(code == 106 && message.contains("1280"), "{code} {message}");

    libcni.status()?.done()?;
    cluster.router_mut(1)?.kill()?;
    let (code, message) = libcni.status()?.failed()?;
    ensure!(code == 50 && message.contains("no router answers"), "{code} {message}");
    let (code, _) = libcni.verb("check", about, &Value::Null)?.failed()?;
    ensure!(code == 11, "CHECK without a router: {code}");
    libcni.verb("del", about, &Value::Null)?.done()?;
    cluster.router_mut(1)?.start_again()?;
    libcni.status()?.done()?;
    let left = cluster.router(1)?.containers()?;
    ensure!(left.is_empty() && host.container_links()?.is_empty(), "{left:?}");
    Ok(())
}
