//! What a killed router costs: nothing that was promised, and no connection.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tests::{Cluster, Container, Plugin, Router, Stage, Underlay, binary, until};

const WAIT: Duration = Duration::from_secs(20);

/// Everything about leases that must not change by a restart.
fn promises(router: &Router) -> Result<Vec<Value>> {
    let keep = |lease: &Value| {
        let fields = ["network", "workload", "address", "mac", "owner", "epoch", "state", "container_id", "ifname"];
        fields.iter().map(|field| (String::from(*field), lease[*field].clone())).collect()
    };
    let mut leases: Vec<Value> = router.leases()?.iter().map(keep).collect();
    leases.sort_by_key(ToString::to_string);
    Ok(leases)
}

#[test]
fn a_tcp_stream_survives_a_router_that_is_killed() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let mut cluster = Cluster::form(&stage)?;
    let one = Container::start(stage.host(1)?, "one", None)?;
    let two = Container::start(stage.host(2)?, "two", Some("two"))?;
    one.until_reaches(two.address()?)?;
    let probe = binary("probe")?.display().to_string();
    let mut echo = two.spawn("echo", &[&probe, "tcp-echo", "0.0.0.0:7"])?;
    echo.until_says("ready", WAIT)?;
    let mut stream = one.spawn("stream", &[&probe, "tcp-stream", &format!("{}:7", two.address()?), "12"])?;
    stream.until_says("connected", WAIT)?;
    let before = promises(cluster.router(2)?)?;

    let down = Instant::now();
    cluster.router_mut(2)?.kill()?;
    cluster.router_mut(2)?.start_again()?;
    let down = down.elapsed();
    // Once more, on the other side of the stream.
    cluster.router_mut(1)?.kill()?;
    cluster.router_mut(1)?.start_again()?;

    ensure!(stream.wait(Duration::from_secs(60))? == Some(0), "the stream broke: {}", stream.output()?);
    let said: Value = serde_json::from_str(stream.output()?.lines().last().unwrap_or_default())?;
    // TCP retransmits after up to twice the time it already waited; the rest is the sessions' coming back.
    let longest = Duration::from_millis(said["longest_ms"].as_u64().unwrap_or(u64::MAX));
    ensure!(longest < 2 * down + Duration::from_secs(5), "silent for {longest:?}, the router was away for {down:?}");
    ensure!(promises(cluster.router(2)?)? == before, "leases changed");
    cluster.until_whole()
}

#[test]
fn all_routers_restarted_at_once_know_what_they_promised() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 3, mtu_bytes: 1500 })?;
    let mut cluster = Cluster::form(&stage)?;
    let mut containers = Vec::new();
    for host in stage.hosts() {
        containers.push(Container::start(host, "plain", None)?);
        containers.push(Container::start(host, "named", Some(&format!("work-{}", host.name())))?);
    }
    let gone = Container::start(stage.host(1)?, "gone", Some("held-work"))?;
    let held = gone.address()?;
    gone.stop()?;
    let before = cluster.routers().iter().map(promises).collect::<Result<Vec<_>>>()?;
    let ps_before =
        cluster.routers().iter().map(|router| Ok(router.containers()?.len())).collect::<Result<Vec<_>>>()?;

    cluster.routers_mut().iter_mut().try_for_each(Router::kill)?;
    cluster.routers_mut().iter_mut().try_for_each(Router::start_again)?;
    cluster.until_whole()?;

    let after = cluster.routers().iter().map(promises).collect::<Result<Vec<_>>>()?;
    ensure!(after == before, "before: {before:#?}\nafter: {after:#?}");
    let ps_after = cluster.routers().iter().map(|router| Ok(router.containers()?.len())).collect::<Result<Vec<_>>>()?;
    ensure!(ps_after == ps_before, "{ps_before:?} {ps_after:?}");
    let (first, others) = containers.split_first().expect("six of them");
    for other in others {
        first.until_reaches(other.address()?)?;
    }
    let fresh = Container::start(stage.host(1)?, "fresh", None)?;
    for other in &containers {
        ensure!(other.address()? != fresh.address()?, "an address was given twice");
    }
    ensure!(fresh.address()? != held);
    let back = Container::start(stage.host(1)?, "back", Some("held-work"))?;
    ensure!(back.address()? == held, "a held address comes back to its workload");
    Ok(())
}

/// While the router is down a DEL is kept and an ADD is refused; both are made good when it is back.
#[test]
fn the_plugin_bridges_a_router_that_is_down() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let mut cluster = Cluster::form(&stage)?;
    let host = stage.host(1)?;
    let gone = Container::start(host, "gone", None)?;
    ensure!(cluster.router(1)?.containers()?.len() == 1);
    cluster.router_mut(1)?.kill()?;

    let start = Instant::now();
    let refusal = Container::try_start(host, Plugin::Raddle, "early", None)?;
    let Err(answer) = refusal else { anyhow::bail!("an ADD without a router succeeded") };
    let (code, message) = answer.failed()?;
    ensure!(code == 11, "code {code}: {message}");
    ensure!(start.elapsed() < Duration::from_secs(12), "refused only after {:?}", start.elapsed());
    ensure!(host.container_links()?.len() == 1, "a refused ADD left something: {:?}", host.container_links()?);
    gone.stop()?;
    ensure!(host.container_links()?.is_empty());

    cluster.router_mut(1)?.start_again()?;
    Container::start(host, "later", None)?;
    until("the spooled release is done", WAIT, || {
        let ids: Vec<Value> =
            cluster.router(1)?.containers()?.iter().map(|container| container["container_id"].clone()).collect();
        Ok((ids == [json!("later")]).then_some(()))
    })
}

/// As a service manager does that has `Type=notify`: it goes on when it is told, and then the router takes commands.
#[test]
fn who_started_it_is_told_when_it_takes_commands() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let host = stage.host(1)?;
    host.raddle(&["init"])?.ok()?;
    let listen = "import os, socket, subprocess\n\
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
        s.bind('/run/notify')\n\
        print('listens', flush=True)\n\
        print(s.recv(64).decode(), subprocess.call(['raddle', 'status']), flush=True)\n";
    let mut manager = host.spawn("manager", &["python3", "-c", listen])?;
    manager.until_says("listens", WAIT)?;
    let _router = Router::start_under(host, &[("NOTIFY_SOCKET", "/run/notify")], &[])?;
    ensure!(manager.wait(WAIT)? == Some(0), "{}", manager.output()?);
    let said = manager.output()?;
    ensure!(said.contains("READY=1") && said.trim_end().ends_with(" 0"), "{said}");
    Ok(())
}
