//! Beyond the overlay: what leaves it under the host's address, and what keeps its own.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::{Cluster, Host, JoinBy, Process, Stage, Underlay, binary, until};

use super::driver::{Sandbox, conf, refuses, with};
use super::{WAIT, address};

/// Two hosts of a cluster and a station that knows nothing of any overlay.
struct Scene {
    stage: Stage,
    cluster: Cluster,
}

const STATION: [&str; 2] = ["10.99.0.250", "fd99::250"];

impl Scene {
    fn set() -> Result<Self> {
        let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
        let station = stage.switch();
        for address in [format!("{}/24", STATION[0]), format!("{}/64", STATION[1])] {
            station.run(&["ip", "address", "add", &address, "dev", "underlay", "nodad"])?.ok()?;
        }
        let cluster = Cluster::form_by(&stage, JoinBy::Token, &["--pool6"])?;
        Ok(Self { stage, cluster })
    }
}

fn masqueraded() -> Value {
    with(conf("1.0.0"), &json!({"ipMasq": true}))
}

/// Somebody who prints who has sent what.
fn listener(host: &Host, netns: Option<&str>, name: &str) -> Result<Process> {
    let probe = binary("probe")?.display().to_string();
    let inside = netns.map(|netns| format!("--net={netns}"));
    let words: Vec<_> = inside.iter().flat_map(|inside| ["nsenter", inside.as_str()]).collect();
    let mut process = host.spawn(name, &[words, vec![&probe, "hear", "[::]:7000"]].concat())?;
    process.until_says("ready", WAIT)?;
    Ok(process)
}

/// As whom `listener` at `to` hears `sandbox`.
fn seen_as(sandbox: &Sandbox, to: &str, listener: &Process, text: &str) -> Result<IpAddr> {
    let to: IpAddr = to.parse()?;
    let probe = binary("probe")?.display().to_string();
    let to = std::net::SocketAddr::from((to, 7000)).to_string();
    let line = until(&format!("{text:?} is heard"), WAIT, || {
        sandbox.run(&[&probe, "say", &to, text])?.ok()?;
        let said = listener.output()?;
        Ok(said.lines().find(|line| line.contains(text)).map(str::to_owned))
    })?;
    let from: IpAddr = line.split(' ').next().with_context(|| format!("no sender in {line:?}"))?.parse()?;
    Ok(from.to_canonical())
}

#[test]
fn what_leaves_the_overlay_leaves_it_under_the_hosts_address() -> Result<()> {
    let mut scene = Scene::set()?;
    let (host, other) = (scene.stage.host(1)?.clone(), scene.stage.host(2)?.clone());
    // As a host is that has its own routes from router advertisements.
    let setting = "/proc/sys/net/ipv6/conf/eth0/accept_ra";
    host.run(&["sh", "-c", "echo 1 > \"$0\"", setting])?.ok()?;
    let (plain, masked, far) =
        (Sandbox::new(&host, "plain")?, Sandbox::new(&host, "masked")?, Sandbox::new(&other, "far")?);
    plain.add(&conf("1.0.0"))?;
    ensure!(!plain.reaches(STATION[0])?, "without ipMasq nothing leads out of a fresh host");
    let rules = || host.run(&["nft", "list", "ruleset"])?.ok();
    ensure!(!rules()?.contains("type nat"), "the kernel tracks connections though nobody is masqueraded");
    let own = masked.add(&masqueraded())?;
    let far_address = address(&far.add(&conf("1.0.0"))?)?;
    let outside = listener(scene.stage.switch(), None, "outside")?;
    let inside = listener(&other, Some(&far.netns), "inside")?;

    let check = |step: &str| -> Result<()> {
        for (station, expected) in [(STATION[0], IpAddr::from(host.underlay())), (STATION[1], host.underlay6().into())]
        {
            let seen = seen_as(&masked, station, &outside, &format!("{step}-{station}"))?;
            ensure!(seen == expected, "{step}: {station} sees {seen} instead of {expected}");
            ensure!(masked.reaches(station)?, "{step}: {station} does not answer");
        }
        let seen = seen_as(&masked, &far_address, &inside, step)?.to_string();
        ensure!(seen == address(&own)?, "{step}: in the overlay it is seen as {seen}");
        ensure!(!plain.reaches(STATION[0])?, "{step}: another container is masqueraded as well");
        Ok(())
    };
    check("first")?;
    ensure!(host.run(&["cat", setting])?.ok()? == "2", "the host no longer listens to its own routers");
    host.run(&["nft", "flush", "ruleset"])?.ok()?;
    until("the rules are back", WAIT, || Ok(rules()?.contains("masqueraded6").then_some(())))?;
    check("flushed")?;
    scene.cluster.router_mut(1)?.kill()?;
    scene.cluster.router_mut(1)?.start_again()?;
    scene.cluster.until_whole()?;
    check("restarted")?;

    let underlay_port = |to: &str| {
        let script = "import socket, sys; socket.create_connection((sys.argv[1], 6783), 1)";
        Ok::<_, anyhow::Error>(masked.run(&["python3", "-c", script, to])?.is_ok())
    };
    ensure!(!underlay_port(&other.underlay().to_string())?, "another router's port is reached through the gateway");
    masked.del(&masqueraded())?;
    for set in ["masqueraded4", "masqueraded6"] {
        let shown = host.run(&["nft", "-json", "list", "set", "inet", "raddle-raddle0", set])?.json()?;
        ensure!(shown.pointer("/nftables/1/set/elem").is_none_or(Value::is_null), "left behind: {shown}");
    }
    plain.del(&conf("1.0.0"))
}

#[test]
fn nobody_is_told_that_he_is_masqueraded_where_nothing_masquerades() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let host = stage.host(1)?;
    host.run(&["mount", "--bind", "/dev/null", "/usr/sbin/nft"])?.ok()?;
    let cluster = Cluster::form(&stage)?;
    let sandbox = Sandbox::new(host, "c1")?;
    refuses(&sandbox.call("ADD", &[], &masqueraded())?, 11, &["masquerade", "nft"])?;
    ensure!(host.container_links()?.is_empty() && cluster.router(1)?.containers()?.is_empty(), "something is left");
    // As a runtime goes on, for longer than the router waits before it looks again.
    let begin = Instant::now();
    while begin.elapsed() < LOOKS {
        sandbox.del(&masqueraded())?;
        refuses(&sandbox.call("ADD", &[], &masqueraded())?, 11, &["masquerade", "nft"])?;
    }
    let log = cluster.router(1)?.log()?;
    ensure!(!log.contains("works again"), "{log}");
    sandbox.add(&conf("1.0.0"))?;
    Ok(())
}

/// The router looks every 5 s.
const LOOKS: Duration = Duration::from_secs(6);

/// The host's `nft` and kernel change behind a router that has loaded its rules: gone, or without address translation.
const NO_NFT: &str = "mount --bind /dev/null /usr/sbin/nft";
const NO_TRANSLATION: &str = "
    cp /usr/sbin/nft /run/nft-whole
    printf '%s\\n' '#!/bin/sh' 'rules=$(cat)' \\
        'case $rules in *masquerade*) echo Error: Could not process rule: No such file or directory >&2; exit 1;; esac' \\
        'printf \"%s\\n\" \"$rules\" | /run/nft-whole -f -' > /run/nft-without
    chmod +x /run/nft-without
    mount --bind /run/nft-without /usr/sbin/nft";

fn port_of(result: &Value) -> Result<&str> {
    result["interfaces"][1]["name"].as_str().context("no port")
}

#[test]
fn who_cannot_be_masqueraded_is_refused_and_costs_nobody_his_guard() -> Result<()> {
    for wrong in [NO_NFT, NO_TRANSLATION] {
        let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
        let host = stage.host(1)?;
        let cluster = Cluster::form(&stage)?;
        host.run(&["sh", "-ec", wrong])?.ok()?;
        let (masked, plain) = (Sandbox::new(host, "masked")?, Sandbox::new(host, "plain")?);
        refuses(&masked.call("ADD", &[], &masqueraded())?, 11, &["masquerade", "nft"])?;
        until("nothing is left of it", WAIT, || Ok(cluster.router(1)?.containers()?.is_empty().then_some(())))?;
        ensure!(host.container_links()?.is_empty(), "it has left an interface");
        let result = plain.add(&conf("1.0.0"))?;
        host.run(&["umount", "/usr/sbin/nft"])?.ok()?;
        let ports = host.run(&["nft", "list", "set", "bridge", "raddle-raddle0", "ports"])?.ok()?;
        ensure!(ports.contains(port_of(&result)?), "nobody looks at the next container: {ports}");
        masked.add(&masqueraded())?;
        let rules = host.run(&["nft", "list", "ruleset"])?.ok()?;
        ensure!(rules.contains("type nat"), "it is masqueraded by nothing: {rules}");
    }
    Ok(())
}

#[test]
fn rules_that_masquerade_and_cannot_be_loaded_again_leave_the_guard() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let host = stage.host(1)?;
    let cluster = Cluster::form(&stage)?;
    let (masked, plain) = (Sandbox::new(host, "masked")?, Sandbox::new(host, "plain")?);
    let mut ports = vec![port_of(&masked.add(&masqueraded())?)?.to_owned()];
    host.run(&["sh", "-ec", NO_TRANSLATION])?.ok()?;
    host.run(&["/run/nft-whole", "flush", "ruleset"])?.ok()?;
    let rules = || host.run(&["/run/nft-whole", "list", "ruleset"])?.ok();
    let until_guarded = |ports: &[String]| {
        until("all are guarded", WAIT, || {
            let rules = rules()?;
            Ok(ports.iter().all(|port| rules.contains(port)).then_some(rules))
        })
    };
    let guard = until_guarded(&ports)?;
    ensure!(guard.contains("dport 6783") && !guard.contains("type nat"), "{guard}");
    let warnings = || Ok::<_, anyhow::Error>(cluster.router(1)?.status()?["warnings"].to_string());
    until("the operator is told", WAIT, || Ok(warnings()?.contains("ipMasq").then_some(())))?;
    ports.push(port_of(&plain.add(&conf("1.0.0"))?)?.to_owned());
    until_guarded(&ports)?;
    host.run(&["umount", "/usr/sbin/nft"])?.ok()?;
    until("it is masqueraded again", WAIT, || Ok(rules()?.contains("type nat").then_some(())))?;
    until("all is well", WAIT, || Ok((warnings()? == "[]").then_some(())))?;
    until_guarded(&ports).map(|_| ())
}

/// Every setting of the host's network stack that is not of one of our own interfaces.
fn settings(host: &Host) -> Result<Vec<String>> {
    let all = host.run(&["sh", "-c", "cd /proc/sys/net && grep -r . . 2>/dev/null || true"])?.ok()?;
    let own = |line: &str| ["/raddle0/", "/raddle-tap/", "/rd"].iter().any(|name| line.contains(name));
    // What the kernel counts by itself.
    let counts = |line: &str| line.contains("nf_conntrack_count");
    let mut lines: Vec<_> = all.lines().filter(|line| !own(line) && !counts(line)).map(str::to_owned).collect();
    lines.sort();
    Ok(lines)
}

/// As Docker leaves a host: what is forwarded is dropped unless somebody says otherwise.
#[test]
fn only_documented_settings_of_the_host_change() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let host = stage.host(1)?;
    let script = "for f in all default; do echo 1 > /proc/sys/net/ipv4/conf/$f/rp_filter; done; iptables -P FORWARD DROP; \
                  f=/proc/sys/net/bridge/bridge-nf-call-iptables; [ ! -e $f ] || echo 0 > $f";
    host.run(&["sh", "-c", script])?.ok()?;
    stage.switch().run(&["ip", "address", "add", "10.99.0.250/24", "dev", "underlay"])?.ok()?;
    let before = settings(host)?;
    let cluster = Cluster::form(&stage)?;
    let (one, far) = (Sandbox::new(host, "c1")?, Sandbox::new(stage.host(2)?, "far")?);
    one.add(&conf("1.0.0"))?;
    let far = address(&far.add(&conf("1.0.0"))?)?;
    until("the two reach each other", WAIT, || Ok(one.reaches(&far)?.then_some(())))?;
    let changed = |after: &[String]| after.iter().filter(|line| !before.contains(line)).cloned().collect::<Vec<_>>();
    ensure!(changed(&settings(host)?).is_empty(), "changed: {:#?}", changed(&settings(host)?));
    let two = Sandbox::new(host, "c2")?;
    let own = two.add(&masqueraded())?;
    let after = changed(&settings(host)?);
    let documented =
        |line: &String| line.contains("forwarding") || line.contains("ip_forward") || line.contains("accept_redirects");
    ensure!(!after.is_empty() && after.iter().all(documented), "changed: {after:#?}");
    ensure!(!two.reaches("10.99.0.250")?, "FORWARD does not drop: the test proves nothing");
    behind_firewall_and_portmap(&two, &own)?;
    for sandbox in [&one, &two] {
        sandbox.del(&conf("1.0.0"))?;
    }
    until("nothing of a container is left in the rules", WAIT, || {
        let rules = host.run(&["nft", "list", "ruleset"])?.ok()?;
        Ok((!rules.contains("\"rd") && !rules.contains(&address(&own)?)).then_some(()))
    })?;
    drop(cluster);
    Ok(())
}

/// As Docker and Kubernetes leave a host: rules for what is forwarded see what a bridge passes on.
#[test]
fn a_host_that_drops_what_its_bridges_pass_on_is_told_what_helps() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let host = stage.host(1)?;
    let cluster = Cluster::form(&stage)?;
    let (one, two) = (Sandbox::new(host, "c1")?, Sandbox::new(host, "c2")?);
    one.add(&conf("1.0.0"))?;
    let two = address(&two.add(&conf("1.0.0"))?)?;
    let until_told = |wanted: bool| {
        until("the operator is told", WAIT, || {
            let told = cluster.router(1)?.status()?["warnings"].to_string();
            let helps = "iptables -I FORWARD -i raddle0 -o raddle0 -j ACCEPT";
            ensure!(told.contains(helps) == wanted && (wanted || told == "[]"), "{told}");
            Ok(Some(()))
        })
    };
    host.run(&["sysctl", "-qw", "net.bridge.bridge-nf-call-iptables=1"])?.ok()?;
    ensure!(one.reaches(&two)?, "one host, one bridge");
    host.run(&["iptables", "-P", "FORWARD", "DROP"])?.ok()?;
    ensure!(!one.reaches(&two)?, "nothing is dropped: the test proves nothing");
    until_told(true)?;
    // It is the policy that counts, and not that bridged frames are seen.
    host.run(&["iptables", "-P", "FORWARD", "ACCEPT"])?.ok()?;
    until_told(false)?;
    host.run(&["iptables", "-P", "FORWARD", "DROP"])?.ok()?;
    until_told(true)?;
    host.run(&["iptables", "-I", "FORWARD", "-i", "raddle0", "-o", "raddle0", "-j", "ACCEPT"])?.ok()?;
    ensure!(one.reaches(&two)?, "what the operator was told does not help");
    until_told(false)?;
    // Another rule that helps, and knows neither the bridge nor any one container.
    host.run(&["iptables", "-F", "FORWARD"])?.ok()?;
    until_told(true)?;
    host.run(&["iptables", "-I", "FORWARD", "-s", "10.32.0.0/12", "-j", "ACCEPT"])?.ok()?;
    ensure!(one.reaches(&two)?, "the whole pool is accepted");
    until_told(false)
}

/// The two plugins that a host like this one needs follow ours: the container reaches the outside, and itself by a port of its host.
fn behind_firewall_and_portmap(sandbox: &Sandbox, result: &Value) -> Result<()> {
    let mapping = json!({"portMappings": [{"hostPort": 8080, "containerPort": 7, "protocol": "tcp"}]});
    let chain = [json!({"type": "firewall"}), json!({"type": "portmap", "snat": true, "runtimeConfig": mapping})];
    let call = |verb: &str, more: &Value| {
        let program = format!("/usr/lib/cni/{}", more["type"].as_str().unwrap_or_default());
        let configuration = with(with(conf("1.0.0"), more), &json!({"prevResult": result}));
        sandbox.call_plugin(&program, verb, &[], configuration.to_string().as_bytes())?.ok()
    };
    for more in &chain {
        call("ADD", more)?;
    }
    until("the outside is reached behind the firewall plugin", WAIT, || {
        Ok(sandbox.reaches("10.99.0.250")?.then_some(()))
    })?;
    let probe = binary("probe")?.display().to_string();
    let netns = format!("--net={}", sandbox.netns);
    let mut echo = sandbox.host.spawn("echo", &["nsenter", &netns, &probe, "tcp-echo", "0.0.0.0:7"])?;
    echo.until_says("ready", WAIT)?;
    sandbox.run(&[&probe, "tcp-stream", &format!("{}:8080", sandbox.host.underlay()), "1"])?.ok()?;
    for more in chain.iter().rev() {
        call("DEL", more)?;
    }
    Ok(())
}
