//! The plugin as runtimes use it: the real binary beside a real router, by environment and stdin alone.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::{Cluster, JoinBy, Stage, Underlay, until};

#[path = "cni/chains.rs"]
mod chains;
#[path = "cni/driver.rs"]
mod driver;
#[path = "cni/faults.rs"]
mod faults;
#[path = "cni/hosts.rs"]
mod hosts;
#[path = "cni/keys.rs"]
mod keys;
#[path = "cni/neighbours.rs"]
mod neighbours;
#[path = "cni/outside.rs"]
mod outside;

use driver::{PLUGIN, Sandbox, conf, refuses, state, with};

const VERSIONS: [&str; 5] = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const WAIT: Duration = Duration::from_secs(10);

fn alone(init: &[&str]) -> Result<(Stage, Cluster)> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let cluster = Cluster::form_by(&stage, JoinBy::Token, init)?;
    Ok((stage, cluster))
}

fn address(result: &Value) -> Result<String> {
    let text = result.pointer("/ips/0/address").and_then(Value::as_str).context("no address")?;
    Ok(text.split('/').next().unwrap_or_default().to_owned())
}

#[test]
fn version_needs_no_router() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let sandbox = Sandbox::absent(stage.host(1)?, "c1");
    let dummy = [("CNI_NETNS", "dummy"), ("CNI_IFNAME", "dummy"), ("CNI_CONTAINERID", "")];
    for (stdin, answer) in [(r#"{"cniVersion":"0.4.0"}"#, "0.4.0"), ("", "1.1.0")] {
        let told = sandbox.call_raw("VERSION", &dummy, stdin.as_bytes())?.json()?;
        ensure!(told == json!({"cniVersion": answer, "supportedVersions": VERSIONS}), "{told}");
    }
    let banner = sandbox.call_raw("", &[], b"")?;
    ensure!(banner.is_ok() && banner.stdout.is_empty() && banner.stderr.contains("1.1.0"), "{banner}");
    Ok(())
}

#[test]
fn what_makes_no_sense_is_refused_by_its_code_and_changes_nothing() -> Result<()> {
    let (stage, _cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let sandbox = Sandbox::new(host, "c1")?;
    let before = state(host)?;
    let newest = conf("1.1.0");
    refuses(&sandbox.call("FROB", &[], &newest)?, 4, &["FROB"])?;
    let nothing = [("CNI_CONTAINERID", ""), ("CNI_NETNS", ""), ("CNI_IFNAME", "")];
    refuses(&sandbox.call("ADD", &nothing, &newest)?, 4, &["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"])?;
    for (variable, value) in [
        ("CNI_CONTAINERID", "a/b"),
        ("CNI_IFNAME", "sixteen-letters-"),
        ("CNI_IFNAME", "a b"),
        ("CNI_IFNAME", "."),
        ("CNI_IFNAME", "x:y"),
        // The kernel would fill in a number; and a folder of settings is called so.
        ("CNI_IFNAME", "eth%d"),
        ("CNI_IFNAME", "all"),
    ] {
        refuses(&sandbox.call("ADD", &[(variable, value)], &newest)?, 4, &[variable])?;
    }
    for (stdin, code) in [
        ("{nope", 6),
        ("", 6),
        ("[]", 6),
        (r#"{"cniVersion":"1.1.0","name":7,"type":"x"}"#, 6),
        (r#"{"cniVersion":"1.1.0","name":"../x","type":"x"}"#, 7),
        (r#"{"cniVersion":"1.1.0","type":"x"}"#, 7),
        (r#"{"cniVersion":"2.0.0","name":"mesh","type":"x"}"#, 1),
        (r#"{"cniVersion":"1.0","name":"mesh","type":"x"}"#, 1),
        (r#"{"name":"mesh","type":"x"}"#, 1),
        (r#"{"cniVersion":"1.1.0","name":"mesh","type":"x","mtu":"big"}"#, 6),
        (r#"{"cniVersion":"1.1.0","name":"mesh","type":"x","ipam":{"type":"../x"}}"#, 7),
        (r#"{"cniVersion":"1.1.0","name":"mesh","type":"x","ipam":"host-local"}"#, 6),
        (r#"{"cniVersion":"1.1.0","name":"mesh","type":"x","runtimeConfig":[]}"#, 6),
        (r#"{"cniVersion":"1.1.0","name":"mesh","type":"x","prevResult":{"interfaces":{}}}"#, 6),
        (r#"{"cniVersion":"1.1.0","name":"mesh","type":"x","prevResult":{"ips":7}}"#, 6),
    ] {
        refuses(&sandbox.call_raw("ADD", &[], stdin.as_bytes())?, code, &[])
            .with_context(|| format!("the configuration {stdin}"))?;
    }
    for (verb, version) in [("CHECK", "0.3.1"), ("GC", "1.0.0"), ("STATUS", "1.0.0")] {
        refuses(&sandbox.call(verb, &[], &conf(version))?, 1, &[version])?;
    }
    ensure!(state(host)? == before, "something has changed");
    Ok(())
}

#[test]
fn stdout_is_one_document_whatever_the_configuration_holds() -> Result<()> {
    let (stage, _cluster) = alone(&[])?;
    let sandbox = Sandbox::new(stage.host(1)?, "c1")?;
    let more = json!({
        "capabilities": {"ips": true}, "args": {"foo": 1}, "surprise": "x".repeat(2 << 20), "cniVersions": ["9.9.9"],
    });
    let noisy = [("TRACEPARENT", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("RUST_LOG", "trace")];
    let said = sandbox.call("ADD", &noisy, &with(conf("1.1.0"), &more))?;
    ensure!(said.stderr.contains("surprise"), "{}", said.stderr);
    let result = said.json()?;
    ensure!(result["cniVersion"] == "1.1.0", "{result}");
    Ok(())
}

#[test]
fn every_version_gets_its_own_shape_of_a_container_that_works_at_once() -> Result<()> {
    let (stage, _cluster) = alone(&["--pool6"])?;
    let host = stage.host(1)?;
    let other = Sandbox::new(host, "other")?;
    let other = address(&other.add(&conf("1.1.0"))?)?;
    for version in VERSIONS {
        let sandbox = Sandbox::new(host, &format!("v{version}"))?;
        let asked = Instant::now();
        let result = sandbox.add(&conf(version))?;
        let took = asked.elapsed();
        eprintln!("{version}: an ADD with both families took {took:?}");
        for target in [other.as_str(), "10.32.0.1"] {
            ensure!(sandbox.reaches(target)?, "{version}: {target} is not reached at once");
        }
        ensure!(result["cniVersion"] == version, "{result}");
        let inside = &result["interfaces"][2];
        ensure!(inside["sandbox"] == sandbox.netns && inside["name"] == "eth0", "{result}");
        ensure!(result["interfaces"][0]["name"] == "raddle0", "{result}");
        ensure!(result["interfaces"][1].get("sandbox").is_none(), "{result}");
        let ips = result["ips"].as_array().context("no ips")?;
        ensure!(ips.len() == 2 && ips.iter().all(|ip| ip["interface"] == 2), "{result}");
        ensure!(ips.iter().all(|ip| ip["version"].is_string() == (version < "1.0.0")), "{result}");
        ensure!(inside["mtu"].is_u64() == (version == "1.1.0"), "{result}");
        let shown = sandbox.run(&["ip", "-json", "address", "show", "eth0"])?.json()?;
        ensure!(shown[0]["address"] == inside["mac"], "{shown} {result}");
        ensure!(version != "1.1.0" || shown[0]["mtu"] == inside["mtu"], "{shown} {result}");
        ensure!(!shown.to_string().contains("tentative"), "{shown}");
        if version >= "0.4.0" {
            sandbox.quietly("CHECK", &[], &with(conf(version), &json!({"prevResult": result})))?;
        }
        sandbox.del(&with(conf(version), &json!({"prevResult": result})))?;
    }
    Ok(())
}

#[test]
fn a_second_add_is_refused_and_a_second_interface_is_not() -> Result<()> {
    let (stage, _cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let sandbox = Sandbox::new(host, "c1")?;
    let first = address(&sandbox.add(&conf("1.0.0"))?)?;
    let before = state(host)?;
    refuses(&sandbox.call("ADD", &[], &conf("1.0.0"))?, 104, &["DEL", "c1"])?;
    ensure!(state(host)? == before, "a refused ADD has changed something");
    let second = sandbox.call("ADD", &[("CNI_IFNAME", "eth1")], &conf("1.0.0"))?.json()?;
    ensure!(address(&second)? != first, "{second}");
    sandbox.quietly("DEL", &[("CNI_IFNAME", "eth1")], &conf("1.0.0"))?;
    ensure!(state(host)? == before, "DEL of eth1 has left something, or taken too much");
    ensure!(sandbox.reaches("10.32.0.1")?, "eth0 went with eth1");
    Ok(())
}

#[test]
fn a_path_that_is_no_namespace_of_a_container_is_refused() -> Result<()> {
    let (stage, _cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let sandbox = Sandbox::new(host, "c1")?;
    host.run(&["ln", "-s", &sandbox.netns, "/run/link"])?.ok()?;
    let before = state(host)?;
    for (path, code) in [("/run/netns/gone", 3), ("/etc/passwd", 8), ("/etc", 8), ("/proc/self/ns/net", 8)] {
        refuses(&sandbox.call("ADD", &[("CNI_NETNS", path)], &conf("1.0.0"))?, code, &[path])?;
    }
    ensure!(state(host)? == before, "a refused ADD has changed something");
    sandbox.call("ADD", &[("CNI_NETNS", "/run/link")], &conf("1.0.0"))?.ok()?;
    Ok(())
}

#[test]
fn names_as_long_as_they_may_be_never_clash() -> Result<()> {
    let (stage, _cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let long = "c".repeat(60);
    let (one, two) = (Sandbox::new(host, &format!("{long}1"))?, Sandbox::new(host, &format!("{long}2"))?);
    let config = with(conf("1.0.0"), &json!({"name": "n".repeat(200)}));
    for sandbox in [&one, &two] {
        sandbox.call("ADD", &[("CNI_IFNAME", "fifteen-letters")], &config)?.ok()?;
    }
    let links = host.container_links()?;
    ensure!(links.len() == 2 && links.iter().all(|name| name.len() <= 15), "{links:?}");
    Ok(())
}

#[test]
fn a_wanted_mtu_is_everywhere_and_never_more_than_fits() -> Result<()> {
    let (stage, _cluster) = alone(&["--pool6"])?;
    let host = stage.host(1)?;
    let mtu_of = |id: &str, wanted: Value| {
        let sandbox = Sandbox::new(host, id)?;
        let said = sandbox.call("ADD", &[], &with(conf("1.1.0"), &json!({"mtu": wanted})))?.json()?;
        let shown = sandbox.run(&["ip", "-json", "link", "show", "eth0"])?.json()?;
        ensure!(shown[0]["mtu"] == said["interfaces"][2]["mtu"], "{shown} {said}");
        ensure!(said["interfaces"][1]["mtu"] == said["interfaces"][2]["mtu"], "{said}");
        shown[0]["mtu"].as_u64().context("no MTU")
    };
    let usual = mtu_of("absent", Value::Null)?;
    ensure!((1300..1500).contains(&usual), "{usual}");
    ensure!(mtu_of("small", json!(1300))? == 1300, "a smaller MTU is honoured");
    ensure!(mtu_of("large", json!(9000))? == usual, "what does not fit is cut");
    let sandbox = Sandbox::new(host, "tiny")?;
    refuses(&sandbox.call("ADD", &[], &with(conf("1.1.0"), &json!({"mtu": 600})))?, 7, &["600", "IPv6"])
}

#[test]
fn a_wanted_address_is_given_or_refused_by_its_reason() -> Result<()> {
    let (stage, _cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let ask = |id: &str, arguments: &str, more: Value| {
        let sandbox = Sandbox::new(host, id)?;
        sandbox.call("ADD", &[("CNI_ARGS", arguments)], &with(conf("1.0.0"), &more))
    };
    for (id, arguments, more, wanted) in [
        ("args", "IP=10.32.0.20", json!({}), "10.32.0.20"),
        ("cni", "", json!({"args": {"cni": {"ips": ["10.32.0.21"]}}}), "10.32.0.21"),
        ("capability", "", json!({"runtimeConfig": {"ips": ["10.32.0.22/12"]}}), "10.32.0.22"),
        ("both", "IP=10.32.0.30", json!({"runtimeConfig": {"ips": ["10.32.0.23"]}}), "10.32.0.23"),
    ] {
        let given = address(&ask(id, arguments, more)?.json()?)?;
        ensure!(given == wanted, "{id}: {given} instead of {wanted}");
    }
    let dynamic = address(&ask("dynamic", "", json!({}))?.json()?)?;
    let taken = format!("IP={dynamic}");
    let before = state(host)?;
    for (id, arguments, code, word) in [
        ("outside", "IP=192.0.2.1", 7, "192.0.2.1"),
        ("gateway", "IP=10.32.0.1", 7, "10.32.0.1"),
        ("network", "IP=10.32.0.0", 7, "10.32.0.0"),
        ("broadcast", "IP=10.47.255.255", 7, "10.47.255.255"),
        ("taken", taken.as_str(), 102, dynamic.as_str()),
        // Whoever asks for an address is the workload of that address: it may be about to move.
        ("running", "IP=10.32.0.20", 11, "container args on host1"),
        ("banana", "IP=banana", 4, "banana"),
        ("unknown", "FOO=bar", 4, "FOO"),
    ] {
        refuses(&ask(id, arguments, json!({}))?, code, &[word]).with_context(|| id.to_owned())?;
    }
    ensure!(state(host)? == before, "a refused address has left something");
    ask("ignored", "IgnoreUnknown=1;FOO=bar", json!({}))?.ok()?;
    Ok(())
}

#[test]
fn a_wanted_mac_is_there_or_refused() -> Result<()> {
    let (stage, _cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let first = Sandbox::new(host, "c1")?.add(&conf("1.0.0"))?;
    let mac = first["interfaces"][2]["mac"].as_str().context("no MAC")?;
    // A MAC names its slot: another slot of the same network.
    let wanted = format!("{}50", mac.get(..15).context("a short MAC")?);
    for (id, environment, more) in [
        ("capability", vec![], json!({"runtimeConfig": {"mac": wanted}})),
        ("args", vec![], json!({"args": {"cni": {"mac": wanted}}})),
        ("variable", vec![("CNI_ARGS", format!("IgnoreUnknown=1;MAC={wanted}"))], json!({})),
    ] {
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let sandbox = Sandbox::new(host, id)?;
        let result = sandbox.call("ADD", &environment, &with(conf("1.0.0"), &more))?.json()?;
        ensure!(result["interfaces"][2]["mac"] == wanted && address(&result)? == "10.32.0.80", "{id}: {result}");
        sandbox.del(&conf("1.0.0"))?;
    }
    let other = Sandbox::new(host, "c2")?;
    for bad in ["01:00:5e:00:00:01", "02:00:00:00:05", "banana"] {
        let asked = with(conf("1.0.0"), &json!({"runtimeConfig": {"mac": bad}}));
        refuses(&other.call("ADD", &[], &asked)?, 7, &[bad])?;
    }
    Ok(())
}

#[test]
fn a_refused_add_leaves_nothing_and_the_next_one_works() -> Result<()> {
    let (stage, _cluster) = alone(&["--pool", "10.50.0.0/26"])?;
    let host = stage.host(1)?;
    let mut attached = Vec::new();
    let sandbox = loop {
        let sandbox = Sandbox::new(host, &format!("c{}", attached.len()))?;
        let answer = sandbox.call("ADD", &[], &conf("1.0.0"))?;
        if !answer.is_ok() {
            refuses(&answer, 103, &[])?;
            break sandbox;
        }
        attached.push(sandbox);
        ensure!(attached.len() < 64, "more addresses than there are");
    };
    ensure!(attached.len() > 55, "only {} addresses of a /26", attached.len());
    let links = sandbox.run(&["ip", "-brief", "link"])?.ok()?;
    ensure!(!links.contains("eth0"), "{links}");
    let last = attached.pop().context("nothing attached")?;
    last.del(&conf("1.0.0"))?;
    let before = state(host)?;
    let closed = ["sh", "-c", "exec \"$0\" >&-", PLUGIN];
    let environment =
        [("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", &last.id), ("CNI_NETNS", &last.netns), ("CNI_IFNAME", "eth0")];
    let lost = host.run_env(&environment, &closed, conf("1.0.0").to_string().as_bytes())?;
    ensure!(!lost.is_ok(), "{lost}");
    ensure!(state(host)? == before, "an ADD whose result nobody heard has left something");
    Ok(())
}

#[test]
fn del_takes_what_is_there_and_nothing_else() -> Result<()> {
    let (stage, cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let bystander = Sandbox::new(host, "bystander")?;
    bystander.add(&conf("1.0.0"))?;
    let before = state(host)?;
    Sandbox::absent(host, "never").del(&conf("1.0.0"))?;
    for (id, environment, more) in [
        ("unset", vec![("CNI_NETNS", "")], json!({})),
        ("gone", vec![("CNI_NETNS", "/run/netns/elsewhere")], json!({})),
        ("reused", vec![("CNI_NETNS", bystander.netns.as_str())], json!({})),
        ("null", vec![], json!({"prevResult": null})),
        ("garbage", vec![], json!({"prevResult": {"cniVersion": "9.9", "ips": 7}})),
        ("changed", vec![], json!({"mtu": "big", "ipMasq": true, "ipam": {"type": "dhcp"}})),
    ] {
        let sandbox = Sandbox::new(host, id)?;
        sandbox.add(&conf("1.0.0"))?;
        for _ in 0..2 {
            sandbox.quietly("DEL", &environment, &with(conf("1.0.0"), &more)).with_context(|| id.to_owned())?;
        }
        ensure!(state(host)? == before, "{id}: not all is as before");
    }
    ensure!(bystander.reaches("10.32.0.1")?, "another container lost its interface");
    let sandbox = Sandbox::new(host, "rebooted")?;
    sandbox.add(&conf("1.0.0"))?;
    host.run(&["ip", "netns", "delete", "rebooted"])?.ok()?;
    sandbox.del(&conf("1.0.0"))?;
    ensure!(cluster.router(1)?.containers()?.len() == 1, "the address of a namespace that went was kept");
    Ok(())
}

#[test]
fn a_router_that_is_away_is_waited_for_by_add_and_not_by_del() -> Result<()> {
    let (stage, mut cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let (one, two) = (Sandbox::new(host, "c1")?, Sandbox::new(host, "c2")?);
    let result = one.add(&conf("1.1.0"))?;
    two.quietly("STATUS", &[], &conf("1.1.0"))?;
    cluster.router_mut(1)?.kill()?;
    let asked = Instant::now();
    refuses(&two.call("STATUS", &[], &conf("1.1.0"))?, 50, &["control.sock"])?;
    ensure!(asked.elapsed() < Duration::from_secs(1), "STATUS took {:?}", asked.elapsed());
    let previous = with(conf("1.1.0"), &json!({"prevResult": result}));
    refuses(&one.call("CHECK", &[], &previous)?, 11, &[])?;
    refuses(&two.call("ADD", &[], &conf("1.1.0"))?, 11, &["raddle status"])?;
    ensure!(asked.elapsed() < Duration::from_secs(10), "ADD took {:?}", asked.elapsed());
    one.del(&previous)?;
    ensure!(host.container_links()?.is_empty(), "DEL has left its link");
    cluster.router_mut(1)?.start_again()?;
    until("the spooled release is carried out", WAIT, || {
        Ok(cluster.router(1)?.containers()?.is_empty().then_some(()))
    })?;
    two.add(&conf("1.1.0"))?;
    Ok(())
}

#[test]
fn check_names_what_is_missing() -> Result<()> {
    let (stage, _cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let sandbox = Sandbox::new(host, "c1")?;
    let result = sandbox.add(&conf("1.0.0"))?;
    let check = |result: &Value| sandbox.call("CHECK", &[], &with(conf("1.0.0"), &json!({"prevResult": result})));
    check(&result)?.ok()?;
    refuses(&sandbox.call("CHECK", &[], &conf("1.0.0"))?, 7, &["prevResult"])?;
    let port = result["interfaces"][1]["name"].as_str().context("no port")?;
    let mac = result["interfaces"][2]["mac"].as_str().context("no MAC")?;
    for (damage, repair, named) in [
        (
            format!("bridge fdb del {mac} dev {port} master"),
            format!("bridge fdb add {mac} dev {port} master static"),
            mac,
        ),
        (
            "ip address del 10.32.0.1/12 dev raddle0".into(),
            "ip address add 10.32.0.1/12 dev raddle0".into(),
            "10.32.0.1",
        ),
        (format!("ip link set {port} down"), format!("ip link set {port} up"), port),
    ] {
        host.run(&["sh", "-c", &damage])?.ok()?;
        refuses(&check(&result)?, 106, &[named]).with_context(|| damage.clone())?;
        host.run(&["sh", "-c", &repair])?.ok()?;
        sandbox.run(&["ip", "route", "replace", "default", "via", "10.32.0.1"]).ok();
        until(&repair, WAIT, || Ok(check(&result)?.is_ok().then_some(())))?;
    }
    let mut tuned = result.clone();
    tuned["interfaces"][2]["mac"] = json!("02:11:22:33:44:55");
    refuses(&check(&tuned)?, 106, &["capability"])?;
    sandbox.run(&["ip", "route", "del", "default"])?.ok()?;
    refuses(&check(&result)?, 106, &["0.0.0.0/0"])?;
    let address = address(&result)?;
    host.run(&["ip", "link", "set", port, "nomaster"])?.ok()?;
    refuses(&check(&result)?, 106, &[port])?;
    sandbox.run(&["ip", "address", "flush", "dev", "eth0"])?.ok()?;
    refuses(&check(&result)?, 106, &[&address])
}

#[test]
fn gc_takes_what_the_runtime_no_longer_has() -> Result<()> {
    let (stage, cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let names = || -> Result<Vec<String>> {
        let containers = cluster.router(1)?.containers()?;
        let mut names: Vec<_> = containers.iter().map(|one| one["container_id"].to_string()).collect();
        names.sort();
        Ok(names)
    };
    let other = Sandbox::new(host, "other")?;
    other.add(&with(conf("1.1.0"), &json!({"name": "another"})))?;
    let sandbox = Sandbox::new(host, "kept")?;
    for (id, key) in [("a", "cni.dev/valid-attachments"), ("b", "cni.dev/attachments")] {
        sandbox.add(&conf("1.1.0"))?;
        Sandbox::new(host, id)?.add(&conf("1.1.0"))?;
        let valid = json!({key: [{"containerID": "kept", "ifname": "eth0"}]});
        sandbox.quietly("GC", &[("CNI_CONTAINERID", "")], &with(conf("1.1.0"), &valid))?;
        ensure!(names()? == ["\"kept\"", "\"other\""], "{:?}", names()?);
        ensure!(host.container_links()?.len() == 2, "{:?}", host.container_links()?);
        sandbox.del(&conf("1.1.0"))?;
    }
    sandbox.add(&conf("1.1.0"))?;
    Sandbox::new(host, "gone")?.add(&conf("1.1.0"))?;
    host.run(&["ip", "netns", "delete", "gone"])?.ok()?;
    sandbox.quietly("GC", &[], &conf("1.1.0"))?;
    ensure!(names()? == ["\"kept\"", "\"other\""], "without a list only what has no namespace goes: {:?}", names()?);
    Ok(())
}

#[test]
fn the_configuration_is_installed_when_the_router_answers_and_not_before() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let host = stage.host(1)?;
    let words = ["install-cni", "--bin-dir", "/run/cni/bin", "--conf-dir", "/run/cni/net.d"];
    let conflist = "/run/cni/net.d/10-raddle.conflist";
    let exists = |path: &str| Ok::<_, anyhow::Error>(host.run(&["test", "-e", path])?.is_ok());
    let (code, said) = host.raddle(&words)?.refused()?;
    ensure!(code == 1 && said.contains("raddle router"), "{code}: {said}");
    ensure!(exists("/run/cni/bin/raddle-cni")? && !exists(conflist)?, "the configuration came before the router");
    let _cluster = Cluster::form(&stage)?;
    let told = host.raddle(&[&words[..], &["--output", "json"]].concat())?.json()?;
    ensure!(told["conflist"] == conflist && told["conflist_written"] == true, "{told}");
    let written = host.run(&["cat", conflist])?.json()?;
    ensure!(written["plugins"][0]["type"] == "raddle-cni", "{written}");
    host.run(&["sh", "-c", "echo {} > \"$0\"", conflist])?.ok()?;
    ensure!(host.raddle(&words)?.ok()?.contains("left as it is"), "an operator's configuration was not kept");
    ensure!(host.run(&["cat", conflist])?.ok()? == "{}", "an operator's configuration was overwritten");
    let left = host.run(&["ls", "-A", "/run/cni/bin", "/run/cni/net.d"])?.ok()?;
    ensure!(!left.contains(".new"), "{left}");
    Ok(())
}
