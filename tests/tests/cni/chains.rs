//! Beside other plugins: before Debian's in a chain, with theirs for addresses, and as theirs for addresses.

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::{Host, Image, Plugin, Podman, binary, until};

use super::driver::{Sandbox, conf, refuses, state, with};
use super::{WAIT, address, alone};

/// Runs a verb of one of Debian's plugins.
fn foreign(sandbox: &Sandbox, verb: &str, configuration: &Value) -> Result<tests::Finished> {
    let name = configuration["type"].as_str().context("no type")?;
    sandbox.call_plugin(&format!("/usr/lib/cni/{name}"), verb, &[], configuration.to_string().as_bytes())
}

fn delegating(ipam: Value) -> Value {
    with(conf("1.0.0"), &json!({"ipam": ipam}))
}

#[test]
fn another_plugin_may_decide_the_address() -> Result<()> {
    let (stage, cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let range = json!([[{"subnet": "10.32.0.0/12", "rangeStart": "10.32.0.100", "rangeEnd": "10.32.0.101"}]]);
    let local = delegating(json!({"type": "host-local", "ranges": range}));
    let (one, two, three) = (Sandbox::new(host, "c1")?, Sandbox::new(host, "c2")?, Sandbox::new(host, "c3")?);
    let result = one.add(&local)?;
    ensure!(address(&result)? == "10.32.0.100", "{result}");
    ensure!(address(&two.add(&local)?)? == "10.32.0.101", "host-local counts on");
    ensure!(one.reaches("10.32.0.101")?, "the two do not reach each other");
    one.quietly("CHECK", &[], &with(local.clone(), &json!({"prevResult": result})))?;
    let full = three.call("ADD", &[], &local)?;
    ensure!(!full.is_ok() && full.stdout.contains("host-local"), "{full}");
    refuses(&one.call("ADD", &[], &local)?, 104, &["DEL"])?;
    ensure!(one.reaches("10.32.0.101")?, "a refused ADD took an address away");
    for sandbox in [&one, &two, &three] {
        sandbox.del(&local)?;
    }
    ensure!(reservations(host)? == 0, "host-local was not asked to give back");
    let left = (cluster.router(1)?.containers()?, host.container_links()?);
    ensure!(left.0.is_empty() && left.1.is_empty(), "left: {left:?}");
    let fixed =
        json!({"type": "static", "addresses": [{"address": "10.32.0.120/12"}], "routes": [{"dst": "192.0.2.0/24"}]});
    let result = one.add(&delegating(fixed))?;
    ensure!(address(&result)? == "10.32.0.120", "{result}");
    ensure!(one.run(&["ip", "route"])?.ok()?.contains("192.0.2.0/24 via 10.32.0.1"), "{result}");
    Ok(())
}

/// What host-local has noted of the network "mesh", its lock and the like not counted.
fn reservations(host: &Host) -> Result<usize> {
    let files = host.run(&["ls", "/var/lib/cni/networks/mesh"])?.ok()?;
    Ok(files.lines().filter(|name| name.starts_with("10.")).count())
}

#[test]
fn a_plugin_for_addresses_that_is_of_no_use_is_named_and_nothing_is_left() -> Result<()> {
    let (stage, _cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let sandbox = Sandbox::new(host, "c1")?;
    let before = state(host)?;
    refuses(&sandbox.call("ADD", &[], &delegating(json!({"type": "absent"})))?, 7, &["absent", "/usr/lib/cni"])?;
    let outside = delegating(json!({"type": "static", "addresses": [{"address": "192.0.2.9/24"}]}));
    refuses(&sandbox.call("ADD", &[], &outside)?, 7, &["192.0.2.9"])?;
    ensure!(state(host)? == before, "something is left");
    sandbox.del(&delegating(json!({"type": "absent"})))
}

#[test]
fn other_plugins_get_addresses_from_the_router() -> Result<()> {
    let (stage, cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let bridge = json!({
        "cniVersion": "1.0.0", "name": "lan", "type": "bridge", "bridge": "lan0",
        "ipam": {"type": "raddle-cni"},
    });
    let sandbox = Sandbox::new(host, "c1")?;
    let result = foreign(&sandbox, "ADD", &bridge)?.json()?;
    let containers = cluster.router(1)?.containers()?;
    ensure!(containers.len() == 1 && containers[0]["address"] == address(&result)?, "{containers:?} {result}");
    foreign(&sandbox, "CHECK", &with(bridge.clone(), &json!({"prevResult": result})))?.ok()?;
    foreign(&sandbox, "DEL", &with(bridge, &json!({"prevResult": result})))?.ok()?;
    ensure!(cluster.router(1)?.containers()?.is_empty(), "the address was not given back");
    Ok(())
}

#[test]
fn portmap_bandwidth_and_tuning_follow_in_a_chain() -> Result<()> {
    let (stage, _cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let before = state(host)?;
    let sandbox = Sandbox::new(host, "c1")?;
    let mut result = sandbox.add(&conf("1.0.0"))?;
    let chain = [
        json!({"type": "portmap", "runtimeConfig": {"portMappings": [{"hostPort": 8080, "containerPort": 7, "protocol": "tcp"}]}}),
        json!({"type": "bandwidth", "ingressRate": 100_000_000, "ingressBurst": 100_000_000,
               "egressRate": 100_000_000, "egressBurst": 100_000_000}),
        json!({"type": "tuning", "sysctl": {"net.core.somaxconn": "500"}}),
    ];
    let links = chain.map(|more| with(conf("1.0.0"), &more));
    for link in &links {
        result = foreign(&sandbox, "ADD", &with(link.clone(), &json!({"prevResult": result})))?.json()?;
    }
    let previous = json!({"prevResult": result});
    sandbox.quietly("CHECK", &[], &with(conf("1.0.0"), &previous))?;
    let probe = binary("probe")?.display().to_string();
    let netns = format!("--net={}", sandbox.netns);
    let mut echo = host.spawn("tcp-echo", &["nsenter", &netns, &probe, "tcp-echo", "0.0.0.0:7"])?;
    echo.until_says("ready", WAIT)?;
    let mapped = format!("{}:8080", host.underlay());
    host.run(&[&probe, "tcp-stream", &mapped, "1"])?.ok()?;
    for link in links.iter().rev() {
        foreign(&sandbox, "DEL", &with(link.clone(), &previous))?.ok()?;
    }
    sandbox.del(&with(conf("1.0.0"), &previous))?;
    ensure!(state(host)? == before, "something is left");
    Ok(())
}

#[test]
fn podman_publishes_a_port_through_a_whole_chain() -> Result<()> {
    let (stage, cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let image = Image::pack(stage.directory(), &[binary("probe")?])?;
    let podman = Podman::on(host, &image, Plugin::Raddle)?;
    let whole = json!({"cniVersion": "1.0.0", "name": "raddle", "plugins": [
        {"type": "raddle-cni", "capabilities": {"ips": true, "mac": true}},
        {"type": "portmap", "capabilities": {"portMappings": true}},
        {"type": "bandwidth", "capabilities": {"bandwidth": true}},
        {"type": "tuning"},
    ]});
    host.run_with(&["tee", "/etc/cni/net.d/10-raddle.conflist"], whole.to_string().as_bytes())?.ok()?;
    podman.start("web", &["--publish", "8080:7"], &["probe", "tcp-echo", "0.0.0.0:7"])?.ok()?;
    let probe = binary("probe")?.display().to_string();
    let mapped = format!("{}:8080", host.underlay());
    until("the published port answers", WAIT, || {
        Ok(host.run(&[&probe, "tcp-stream", &mapped, "1"])?.is_ok().then_some(()))
    })?;
    podman.remove("web")?;
    ensure!(cluster.router(1)?.containers()?.is_empty() && host.container_links()?.is_empty(), "something is left");
    Ok(())
}

/// A plugin for addresses that notes what it is asked and what it reads, and answers what it is told to.
const NOTING: &str = "#!/bin/sh
cat > /run/noting.stdin
echo $CNI_COMMAND >> /run/noting.verbs
echo noting speaks >&2
. /run/noting.answer
";

#[test]
fn every_verb_is_passed_on_to_the_plugin_for_addresses() -> Result<()> {
    let (stage, cluster) = alone(&[])?;
    let host = stage.host(1)?;
    host.run_with(&["sh", "-c", "cat > /opt/cni/bin/noting && chmod +x /opt/cni/bin/noting"], NOTING.as_bytes())?
        .ok()?;
    let answers = |script: &str| host.run_with(&["tee", "/run/noting.answer"], script.as_bytes())?.ok();
    let verbs = || {
        let verbs = host.run(&["sh", "-c", "cat /run/noting.verbs; rm -f /run/noting.verbs"])?.ok()?;
        Ok::<_, anyhow::Error>(verbs.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    let asked = with(conf("1.1.0"), &json!({"ipam": {"type": "noting", "own": [1]}, "somebodys": "key"}));
    let sandbox = Sandbox::new(host, "c1")?;
    answers(r#"[ $CNI_COMMAND = ADD ] && echo '{"cniVersion":"1.1.0","ips":[{"address":"10.32.0.70/12"}]}' || true"#)?;
    let said = sandbox.call("ADD", &[], &asked)?;
    ensure!(said.stderr.contains("noting speaks"), "{said}");
    let result = said.json()?;
    ensure!(address(&result)? == "10.32.0.70" && verbs()? == "ADD", "{result}");
    ensure!(host.run(&["cat", "/run/noting.stdin"])?.json()? == asked, "it did not read the whole configuration");
    sandbox.quietly("CHECK", &[], &with(asked.clone(), &json!({"prevResult": result})))?;
    sandbox.quietly("STATUS", &[], &asked)?;
    let valid = json!({"cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]});
    sandbox.quietly("GC", &[], &with(asked.clone(), &valid))?;
    sandbox.del(&asked)?;
    ensure!(verbs()? == "CHECK STATUS GC DEL", "a verb was not passed on");
    // Its errors are told under its own codes, and what it gave for nothing it gets back.
    answers(r#"echo '{"cniVersion":"1.1.0","code":142,"msg":"out of luck"}'; exit 1"#)?;
    for verb in ["ADD", "STATUS", "GC"] {
        refuses(&sandbox.call(verb, &[], &with(asked.clone(), &valid))?, 142, &["noting", "out of luck"])?;
    }
    ensure!(verbs()? == "ADD DEL STATUS GC", "a refused ADD has to be followed by DEL");
    sandbox.del(&asked)?;
    for useless in
        [r#"{"cniVersion":"1.1.0","ips":[]}"#, r#"{"cniVersion":"1.1.0"}"#, r#"{"ips":[{"address":"x"}]}"#, ""]
    {
        answers(&format!("[ $CNI_COMMAND = ADD ] && echo '{useless}' || true"))?;
        verbs().ok();
        refuses(&sandbox.call("ADD", &[], &asked)?, 7, &["noting"])?;
        ensure!(verbs()? == "ADD DEL", "what was of no use was not given back");
    }
    ensure!(cluster.router(1)?.containers()?.is_empty() && host.container_links()?.is_empty(), "something is left");
    Ok(())
}
