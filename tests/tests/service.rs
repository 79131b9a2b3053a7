//! The unit for systemd allows the router what it needs: all it does for containers is tried with the unit's capabilities.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tests::{Attachment, Container, Host, Plugin, Process, Stage, Underlay, peer, until};

const UNIT: &str = include_str!("../../scripts/raddle.service");
/// A start takes well under a second; the rest is for a machine that compiles beside it.
const WAIT: Duration = Duration::from_secs(30);

/// What `setpriv` calls the unit's bounding set.
fn bounding_set() -> Result<String> {
    let line = UNIT.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let names = line.context("the unit bounds no capabilities")?.split_whitespace();
    let names = names.map(|name| name.trim_start_matches("CAP_").to_lowercase());
    Ok(std::iter::once(String::from("-all")).chain(names.map(|name| format!("+{name}"))).collect::<Vec<_>>().join(","))
}

/// Starts the router as the unit does, and waits until it takes commands.
fn start(host: &Host) -> Result<Process> {
    ensure!(UNIT.contains("NoNewPrivileges=yes"), "the unit has changed, and this test with it");
    let words = ["setpriv", "--no-new-privs", "--bounding-set", &bounding_set()?, "raddle", "router"];
    let mut router = host.spawn("router", &words)?;
    until(&format!("the router on {} answers", host.name()), WAIT, || {
        ensure!(router.is_running()?, "it ended: {}", router.output()?);
        host.raddle(&["status", "--output", "json"])?.json().map(Some)
    })?;
    Ok(router)
}

#[test]
fn a_router_with_the_capabilities_of_its_unit_does_all_that_containers_need() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let (first, second) = (stage.host(1)?, stage.host(2)?);
    stage.switch().run(&["ip", "address", "add", "10.99.0.250/24", "dev", "underlay"])?.ok()?;
    for host in stage.hosts() {
        host.run(&["groupadd", "--force", "raddle"])?.ok()?;
    }
    first.raddle(&["init", "--pool6"])?.ok()?;
    let mut one = start(first)?;
    let token = first.raddle(&["token", "create"])?.ok()?;
    second.raddle(&["join", &token, &peer(first)])?.ok()?;
    let two = start(second)?;
    let group = first.run(&["stat", "-c", "%G %a", "/run/raddle/control.sock"])?.ok()?;
    ensure!(group == "raddle 660", "{group}");

    // Ports, rules, masquerading, forwarding, announcements.
    let (old, far) = (Container::start(first, "old", Some("web"))?, Container::start(second, "far", None)?);
    old.until_reaches(far.address()?)?;
    outside(second)?;
    forgotten(second)?;
    let new = old.taken_over_on(second, "new")?;
    far.until_reaches(new.address()?)?;
    first.until_fenced(WAIT)?;
    // Another start finds what the first has left, and a bridge that is gone is made again.
    one.kill()?;
    first.run(&["ip", "link", "delete", "raddle0"])?.ok()?;
    old.stop()?;
    let again = start(first)?;
    Container::start(first, "again", None)?.until_reaches(new.address()?)?;
    for (host, router) in [(first, &again), (second, &two)] {
        let status = host.raddle(&["status", "--output", "json"])?.json()?;
        ensure!(status["health"] == "ok", "{status}");
        let log = router.output()?;
        ensure!(!log.contains("ermitted"), "{log}");
    }
    Ok(())
}

/// Each of these brings a list of the devices that may be opened, `ProtectClock` in systemd 245 to 251: the tap is on none.
#[test]
fn the_unit_leaves_the_router_its_tap() {
    let lists = ["ProtectClock=", "DeviceAllow=", "DevicePolicy=", "PrivateDevices="];
    let listed: Vec<_> = UNIT.lines().filter(|line| lists.iter().any(|list| line.starts_with(list))).collect();
    assert!(listed.is_empty() || listed.contains(&"DeviceAllow=/dev/net/tun rw"), "{listed:?}");
    assert!(!listed.contains(&"PrivateDevices=yes"), "there is no /dev/net/tun");
}

/// A container whose process goes is released, also when another process of the host's has its number by now, which the router may
/// not trace.
fn forgotten(host: &Host) -> Result<()> {
    let gone = host.home().join("gone").display().to_string();
    let script = "until [ -e \"$0\" ]; do sleep 0.1; done; exec nsenter --net=/proc/1/ns/net sleep 1000";
    let process = host.spawn("forgotten", &["unshare", "--net", "sh", "-c", script, &gone])?;
    let netns = format!("/proc/{}/ns/net", process.pid());
    until("it has a namespace of its own", WAIT, || {
        let ours = host.run(&["readlink", "/proc/1/ns/net", &netns])?.ok()?;
        Ok(ours.lines().collect::<BTreeSet<_>>().len().eq(&2).then_some(()))
    })?;
    let about = Attachment { container: "forgotten", netns: &netns, arguments: "" };
    host.cni(Plugin::Raddle, "ADD", about, &json!({}))?.done()?;
    let is_listed = || {
        let containers = host.raddle(&["ps", "--output", "json"])?.json()?;
        Ok::<_, anyhow::Error>(containers.to_string().contains("forgotten"))
    };
    ensure!(is_listed()?, "nobody knows of it");
    host.run(&["touch", &gone])?.ok()?;
    until("its lease has ended", WAIT, || Ok((!is_listed()?).then_some(())))
}

/// A container that is masqueraded reaches what is beyond the host.
fn outside(host: &Host) -> Result<()> {
    host.run(&["ip", "netns", "add", "masqueraded"])?.ok()?;
    let about = Attachment { container: "masqueraded", netns: "/run/netns/masqueraded", arguments: "" };
    host.cni(Plugin::Raddle, "ADD", about, &json!({"ipMasq": true}))?.done()?;
    until("a masqueraded container reaches the outside", WAIT, || {
        let words = ["ip", "netns", "exec", "masqueraded", "ping", "-c", "1", "-W", "1", "10.99.0.250"];
        Ok(host.run(&words)?.is_ok().then_some(()))
    })
}
