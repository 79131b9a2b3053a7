//! Hosts of other kinds: what their links carry, and what their kernels have switched off.

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tests::{Cluster, Host, JoinBy, Stage, Underlay, until};

use super::driver::{Sandbox, conf, with};
use super::{WAIT, address, alone};

/// A ping that may not be fragmented, of a packet of so many bytes.
fn ping(from: &Sandbox, to: &str, mtu_bytes: u64) -> Result<tests::Finished> {
    // 20 bytes of IPv4, 8 of ICMP.
    let payload = (mtu_bytes - 28).to_string();
    from.run(&["ping", "-n", "-c", "1", "-W", "2", "-M", "do", "-s", &payload, to])
}

fn mtu(result: &Value, interface: usize) -> Result<u64> {
    result["interfaces"][interface]["mtu"].as_u64().with_context(|| format!("no MTU: {result}"))
}

fn fits_to_the_byte(underlay_bytes: u16, expected: u64, wanted: Value) -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: underlay_bytes })?;
    let cluster = Cluster::form(&stage)?;
    for router in cluster.routers() {
        until("the path is measured", WAIT, || {
            match router.peers()?.first().and_then(|peer| peer["mtu_bytes"].as_u64()) {
                Some(mtu_bytes) if mtu_bytes >= expected => Ok(Some(())),
                shown => bail!("{shown:?}"),
            }
        })?;
    }
    let configuration = with(conf("1.1.0"), &json!({"mtu": wanted}));
    let (one, two) = (Sandbox::new(stage.host(1)?, "one")?, Sandbox::new(stage.host(2)?, "two")?);
    let result = one.add(&configuration)?;
    let far = address(&two.add(&configuration)?)?;
    ensure!(mtu(&result, 1)? == expected && mtu(&result, 2)? == expected, "{result}");
    ensure!(mtu(&result, 0)? >= expected, "the bridge carries less than its ports: {result}");
    until("the two reach each other", WAIT, || Ok(one.reaches(&far)?.then_some(())))?;
    ping(&one, &far, expected)?.ok()?;
    let long = ping(&one, &far, expected + 1)?;
    ensure!(!long.is_ok() && format!("{long}").contains("too long"), "{long}");
    Ok(())
}

#[test]
fn what_the_interface_says_it_carries_passes_to_the_byte() -> Result<()> {
    fits_to_the_byte(1500, 1414, Value::Null)?;
    fits_to_the_byte(1500, 900, json!(900))?;
    fits_to_the_byte(9000, 8914, Value::Null)
}

fn without_ipv6_by_setting(host: &Host) -> Result<()> {
    let script = "for f in all default; do echo 1 > /proc/sys/net/ipv6/conf/$f/disable_ipv6; done";
    host.run(&["sh", "-c", script])?.ok()?;
    Ok(())
}

#[test]
fn a_host_that_has_ipv6_switched_off_has_the_networks_own() -> Result<()> {
    for pool in [&[][..], &["--pool6"]] {
        let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
        let host = stage.host(1)?;
        without_ipv6_by_setting(host)?;
        let _cluster = Cluster::form_by(&stage, JoinBy::Token, pool)?;
        let sandbox = Sandbox::new(host, "c1")?;
        let result = sandbox.add(&conf("1.1.0"))?;
        let ips = result["ips"].as_array().context("no ips")?;
        ensure!(ips.len() == 1 + pool.len(), "{result}");
        for ip in ips {
            let gateway = ip["gateway"].as_str().context("no gateway")?;
            ensure!(sandbox.reaches(gateway)?, "{gateway} does not answer");
        }
        sandbox.quietly("CHECK", &[], &with(conf("1.1.0"), &json!({"prevResult": result})))?;
        sandbox.del(&conf("1.1.0"))?;
        let others = host.run(&["cat", "/proc/sys/net/ipv6/conf/all/disable_ipv6"])?.ok()?;
        ensure!(others == "1", "what the host has switched off is on");
    }
    Ok(())
}

/// As a kernel that was started with `ipv6.disable=1`: there are no settings of IPv6 at all.
fn without_ipv6_at_all(host: &Host) -> Result<()> {
    host.run(&["sh", "-c", "mkdir /run/nothing && mount --bind /run/nothing /proc/sys/net/ipv6"])?.ok()?;
    Ok(())
}

#[test]
fn a_kernel_without_ipv6_is_named_where_it_is_wanted_and_missed_nowhere_else() -> Result<()> {
    let (stage, mut cluster) = alone(&["--pool6"])?;
    let host = stage.host(1)?;
    without_ipv6_at_all(host)?;
    cluster.router_mut(1)?.kill()?;
    let refused = host.raddle(&["router"])?;
    ensure!(!refused.is_ok() && refused.stderr.contains("--pool6"), "{refused}");

    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let host = stage.host(1)?;
    without_ipv6_at_all(host)?;
    let _cluster = Cluster::form(&stage)?;
    let sandbox = Sandbox::new(host, "c1")?;
    let result = sandbox.add(&conf("1.1.0"))?;
    ensure!(sandbox.reaches("10.32.0.1")?, "{result}");
    sandbox.del(&conf("1.1.0"))
}
