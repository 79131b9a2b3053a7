//! Each step of an attachment fails for a real reason: the error says which, and the host is as it was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tests::{Cluster, Finished, Host, JoinBy, Plugin, Stage, Storm, Underlay, rounds, size, until};

use super::driver::{PLUGIN, Sandbox, conf, fault, refuses, state, with};
use super::{WAIT, address, alone};

/// An ADD whose plugin is started by these words.
fn add_by(sandbox: &Sandbox, words: &[&str]) -> Result<Finished> {
    let environment = [
        ("CNI_COMMAND", "ADD"),
        ("CNI_CONTAINERID", sandbox.id.as_str()),
        ("CNI_NETNS", sandbox.netns.as_str()),
        ("CNI_IFNAME", "eth0"),
    ];
    sandbox.host.run_env(&environment, words, conf("1.0.0").to_string().as_bytes())
}

fn has_eth0(sandbox: &Sandbox) -> Result<bool> {
    Ok(sandbox.run(&["ip", "link", "show", "eth0"])?.is_ok())
}

#[test]
fn whatever_fails_on_the_way_is_undone() -> Result<()> {
    let (stage, _cluster) = alone(&["--pool6"])?;
    let host = stage.host(1)?;
    let sandbox = Sandbox::new(host, "c1")?;
    let port = sandbox.add(&conf("1.0.0"))?["interfaces"][1]["name"].as_str().context("no port")?.to_owned();
    sandbox.del(&conf("1.0.0"))?;
    let before = state(host)?;
    let unreachable = with(conf("1.0.0"), &json!({"routes": [{"dst": "192.0.2.0/24", "gw": "198.51.100.1"}]}));
    refuses(&sandbox.call("ADD", &[], &unreachable)?, 7, &["192.0.2.0/24"])?;
    ensure!(state(host)? == before && !has_eth0(&sandbox)?, "a refused route has left something");
    for dropped in ["-net_admin", "-sys_admin"] {
        let denied = add_by(&sandbox, &["setpriv", "--bounding-set", dropped, PLUGIN])?;
        let (code, message) = fault(&denied)?;
        ensure!([8, 105].contains(&code) && message.contains("ermitted"), "{dropped}: {code} {message}");
        ensure!(state(host)? == before && !has_eth0(&sandbox)?, "without {dropped} something is left");
    }
    // A reader that has gone: the kernel says EPIPE.
    let unread = "import os, subprocess, sys; r, w = os.pipe(); os.close(r); \
                  sys.exit(subprocess.call([sys.argv[1]], stdout=w))";
    for words in [vec!["python3", "-c", unread, PLUGIN], vec!["sh", "-c", "exec \"$0\" > /dev/full", PLUGIN]] {
        let lost = add_by(&sandbox, &words)?;
        ensure!(!lost.is_ok() && lost.stderr.contains("stdout"), "{lost}");
        ensure!(state(host)? == before && !has_eth0(&sandbox)?, "a result that nobody took has left something");
    }
    // The name of the port is another's: neither ADD nor DEL touches it.
    host.run(&["ip", "link", "add", &port, "type", "bridge"])?.ok()?;
    refuses(&sandbox.call("ADD", &[], &conf("1.0.0"))?, 104, &[&port])?;
    sandbox.del(&conf("1.0.0"))?;
    ensure!(host.has_link(&port)? && !has_eth0(&sandbox)?, "an interface of somebody else was taken");
    host.run(&["ip", "link", "del", &port])?.ok()?;
    sandbox.add(&conf("1.0.0"))?;
    ensure!(sandbox.reaches("10.32.0.1")?, "after all that an ADD does not work");
    Ok(())
}

#[test]
fn a_bridge_that_somebody_took_away_is_named() -> Result<()> {
    let (stage, mut cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let sandbox = Sandbox::new(host, "c1")?;
    let ready = || sandbox.call("STATUS", &[], &conf("1.1.0"));
    ensure!(ready()?.ok()?.is_empty(), "STATUS has something to say");
    // The operator hears of it as well, a few seconds later.
    let until_health = |wanted: &str| {
        until(&format!("the router is {wanted}"), WAIT, || {
            let status: Value = host.raddle(&["status", "--output", "json"])?.json()?;
            Ok((status["health"] == wanted).then(|| status["warnings"].to_string()))
        })
    };
    for (wrong, right) in [("nomaster", "master raddle0"), ("down", "up")] {
        let set = |how: &str| host.run(&["sh", "-c", &format!("ip link set raddle-tap {how}")])?.ok();
        set(wrong)?;
        refuses(&ready()?, 51, &["raddle-tap"])?;
        let told = until_health("failing")?;
        ensure!(told.contains("raddle-tap") && told.contains("restart the router"), "{told}");
        set(right)?;
        ensure!(ready()?.is_ok(), "STATUS does not see that all is well again");
        let told = until_health("ok")?;
        ensure!(told == "[]", "{told}");
    }
    host.run(&["ip", "link", "del", "raddle0"])?.ok()?;
    refuses(&ready()?, 51, &["raddle0"])?;
    refuses(&sandbox.call("ADD", &[], &conf("1.0.0"))?, 105, &["raddle0"])?;
    ensure!(cluster.router(1)?.containers()?.is_empty() && !has_eth0(&sandbox)?, "something is left");
    cluster.router_mut(1)?.kill()?;
    cluster.router_mut(1)?.start_again()?;
    ready()?.ok()?;
    sandbox.add(&conf("1.0.0"))?;
    Ok(())
}

#[test]
fn status_says_when_no_address_is_left() -> Result<()> {
    let (stage, _cluster) = alone(&["--pool", "10.50.0.0/26"])?;
    let host = stage.host(1)?;
    host.storm_begins(64)?;
    host.try_storm(Plugin::Raddle, "ADD", 64)?;
    let sandbox = Sandbox::new(host, "c1")?;
    refuses(&sandbox.call("STATUS", &[], &conf("1.1.0"))?, 50, &["no address is left"])?;
    refuses(&sandbox.call("ADD", &[], &conf("1.1.0"))?, 103, &[])
}

/// A data directory of few megabytes, so that it can be filled.
fn small_disk(host: &Host) -> Result<()> {
    let script = "mkdir -p /var/lib/raddle && mount -t tmpfs -o size=8m,mode=700 tmpfs /var/lib/raddle";
    host.run(&["sh", "-c", script])?.ok()?;
    Ok(())
}

fn fill(host: &Host) -> Result<()> {
    let full = host.run(&["dd", "if=/dev/zero", "of=/var/lib/raddle/ballast", "bs=4k"])?;
    ensure!(!full.is_ok() && full.stderr.contains("No space"), "{full}");
    Ok(())
}

fn empty(host: &Host) -> Result<()> {
    host.run(&["rm", "/var/lib/raddle/ballast"])?.ok()?;
    Ok(())
}

#[test]
fn a_full_disk_refuses_and_leaves_nothing() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 1, mtu_bytes: 1500 })?;
    let host = stage.host(1)?;
    small_disk(host)?;
    let mut cluster = Cluster::form(&stage)?;
    let (running, sandbox) = (Sandbox::new(host, "running")?, Sandbox::new(host, "c1")?);
    running.add(&conf("1.0.0"))?;
    fill(host)?;
    // The store has some room of its own: whoever still gets an address has it for good.
    let mut attached = Vec::new();
    let refused = loop {
        let next = Sandbox::new(host, &format!("f{}", attached.len()))?;
        let answer = next.call("ADD", &[], &conf("1.0.0"))?;
        if !answer.is_ok() {
            ensure!(!has_eth0(&next)?, "a refused ADD has left an interface");
            break answer;
        }
        attached.push(next);
        ensure!(attached.len() < 2000, "a full disk takes everything");
    };
    refuses(&refused, 11, &["store", "disk"])?;
    ensure!(host.container_links()?.len() == attached.len() + 1, "a refused ADD has left a port");
    refuses(&sandbox.call("STATUS", &[], &conf("1.1.0"))?, 50, &["store"])?;
    refuses(&sandbox.call("ADD", &[], &conf("1.0.0"))?, 11, &["store"])?;
    ensure!(running.reaches("10.32.0.1")?, "traffic has to go on");
    cluster.router_mut(1)?.kill()?;
    // Nobody to tell and nowhere to note it: that is an error, but the interface is gone.
    refuses(&running.call("DEL", &[], &conf("1.0.0"))?, 5, &["spool"])?;
    ensure!(!has_eth0(&running)?, "the interface has to go all the same");
    empty(host)?;
    running.del(&conf("1.0.0"))?;
    cluster.router_mut(1)?.start_again()?;
    sandbox.add(&conf("1.0.0"))?;
    let left = cluster.router(1)?.containers()?.len();
    ensure!(left == attached.len() + 1, "{left} leases for {} containers", attached.len() + 1);
    Ok(())
}

#[test]
fn what_was_released_meanwhile_is_free_before_the_first_address_is_given() -> Result<()> {
    let (stage, mut cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let (one, two) = (Sandbox::new(host, "c1")?, Sandbox::new(host, "c2")?);
    let wanted = [("CNI_ARGS", "IP=10.32.0.20")];
    one.call("ADD", &wanted, &conf("1.0.0"))?.ok()?;
    refuses(&two.call("ADD", &wanted, &conf("1.0.0"))?, 11, &["c1"])?;
    for _ in 0..2 {
        cluster.router_mut(1)?.kill()?;
        one.del(&conf("1.0.0"))?;
        one.del(&conf("1.0.0"))?;
        cluster.router_mut(1)?.start_again()?;
        let given = address(&two.call("ADD", &wanted, &conf("1.0.0"))?.json()?)?;
        ensure!(given == "10.32.0.20", "{given}");
        two.del(&conf("1.0.0"))?;
        one.call("ADD", &wanted, &conf("1.0.0"))?.ok()?;
    }
    Ok(())
}

/// The router goes and comes back while many containers come and go.
#[test]
fn a_router_that_restarts_under_a_storm_keeps_its_books() -> Result<()> {
    let (stage, mut cluster) = alone(&[])?;
    let host = stage.host(1)?.clone();
    let containers = size(40, 200);
    host.storm_begins(containers)?;
    for round in 0..rounds(2, 20) {
        for verb in ["ADD", "DEL"] {
            let pause = Duration::from_millis(u64::try_from(round * 37 % 150)?);
            let ended = std::thread::scope(|scope| -> Result<_> {
                let storm = scope.spawn(|| host.try_storm(Plugin::Raddle, verb, containers));
                tests::pass(pause);
                cluster.router_mut(1)?.kill()?;
                cluster.router_mut(1)?.start_again()?;
                storm.join().map_err(|_| anyhow::anyhow!("the storm panicked"))?
            })?;
            let router = cluster.router(1)?;
            let expected = if verb == "ADD" { containers - ended.failed() } else { 0 };
            ensure!(verb == "ADD" || ended.failed() == 0, "{} DELs failed: {:?}", ended.failed(), ended.failures());
            for failure in ended.failures() {
                let code = serde_json::from_str::<Value>(failure)?["code"].as_u64();
                ensure!(code == Some(11), "an ADD failed otherwise than by \"try again\": {failure}");
            }
            until(&format!("{verb}: {expected} containers"), WAIT, || {
                let (leases, links) = (router.containers()?.len(), host.container_links()?.len());
                Ok((leases == expected && links == expected).then_some(()))
            })?;
        }
    }
    Ok(())
}

/// One verb for all of them, while both programs are replaced as `raddle install-cni` and the service manager do it.
fn storm_while_upgraded(cluster: &mut Cluster, host: &Host, verb: &str, containers: usize) -> Result<Storm> {
    std::thread::scope(|scope| {
        let storm = scope.spawn(|| host.try_storm(Plugin::Raddle, verb, containers));
        host.raddle(&["install-cni", "--conf-dir", "/run/net.d"])?.ok()?;
        let router = cluster.router_mut(1)?;
        router.stop()?;
        router.start_again()?;
        host.raddle(&["install-cni", "--conf-dir", "/run/net.d"])?.ok()?;
        storm.join().map_err(|_| anyhow::anyhow!("the storm panicked"))?
    })
}

#[test]
fn an_upgrade_under_a_storm_loses_nothing_for_who_tries_again() -> Result<()> {
    let (stage, mut cluster) = alone(&[])?;
    let host = stage.host(1)?.clone();
    let containers = size(40, 200);
    host.storm_begins(containers)?;
    let code = |failure: &String| Ok::<_, anyhow::Error>(serde_json::from_str::<Value>(failure)?["code"].as_u64());
    for _ in 0..rounds(1, 10) {
        let added = storm_while_upgraded(&mut cluster, &host, "ADD", containers)?;
        for failure in added.failures() {
            ensure!(code(failure)? == Some(11), "an ADD failed otherwise than by \"try again\": {failure}");
        }
        let again = host.try_storm(Plugin::Raddle, "ADD", containers)?;
        for failure in again.failures() {
            ensure!(code(failure)? == Some(104), "trying again does not help: {failure}");
        }
        eprintln!("{} of {containers} ADDs were told to try again", added.failed());
        ensure!(added.failed() + again.failed() == containers, "{added:?} {again:?}");
        let listed = cluster.router(1)?.containers()?;
        let addresses: BTreeSet<_> = listed.iter().filter_map(|one| one["address"].as_str()).collect();
        ensure!(addresses.len() == containers, "{} addresses of {containers}", addresses.len());
        let deleted = storm_while_upgraded(&mut cluster, &host, "DEL", containers)?;
        ensure!(deleted.failed() == 0, "{:?}", deleted.failures());
        until("nothing is left", WAIT, || {
            Ok((host.container_links()?.is_empty() && cluster.router(1)?.containers()?.is_empty()).then_some(()))
        })?;
    }
    Ok(())
}

#[test]
fn a_spooled_release_is_carried_out_once_however_many_ask_in_one_turn() -> Result<()> {
    let (stage, cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let sandboxes: Vec<_> = ["c1", "c2", "c3"].into_iter().map(|id| Sandbox::new(host, id)).collect::<Result<_>>()?;
    let (one, two, three) = (&sandboxes[0], &sandboxes[1], &sandboxes[2]);
    one.add(&conf("1.0.0"))?;
    let router = cluster.router(1)?;
    router.process().signal("STOP")?;
    one.del(&conf("1.0.0"))?;
    // What the three ask lies before the router, in this order, when it goes on.
    let before = waiting(host)?;
    std::thread::scope(|scope| -> Result<()> {
        let mut calls = Vec::new();
        for (number, sandbox) in (1..).zip([two, one, three]) {
            calls.push(scope.spawn(|| sandbox.add(&conf("1.0.0"))));
            until("the next one has asked", WAIT, || Ok((waiting(host)? == before + number).then_some(())))?;
        }
        router.process().go_on()?;
        for call in calls {
            call.join().map_err(|_| anyhow::anyhow!("a call panicked"))??;
        }
        Ok(())
    })?;
    ensure!(router.containers()?.len() == 3, "{:?}", router.containers()?);
    one.run(&["ping", "-n", "-c", "1", "-W", "1", "10.32.0.1"])?.ok()?;
    Ok(())
}

/// How many connections to the control socket nobody has accepted yet.
fn waiting(host: &Host) -> Result<usize> {
    let listed = host.run(&["ss", "-xlnH", "src", "/run/raddle/control.sock"])?.ok()?;
    listed.split_whitespace().nth(2).with_context(|| format!("no queue in {listed:?}"))?.parse().context("no number")
}

#[test]
fn a_reboot_without_any_del_leaves_nothing() -> Result<()> {
    let (stage, mut cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let containers: Vec<_> = ["c1", "c2"].into_iter().map(|id| Sandbox::new(host, id)).collect::<Result<_>>()?;
    for container in &containers {
        container.add(&conf("1.0.0"))?;
    }
    cluster.router_mut(1)?.kill()?;
    // What a reboot takes: every interface, every namespace, what is in /run.
    for container in &containers {
        host.run(&["ip", "netns", "delete", &container.id])?.ok()?;
    }
    host.run(&["sh", "-c", "ip link del raddle0; nft flush ruleset; rm -rf /run/raddle"])?.ok()?;
    cluster.router_mut(1)?.start_again()?;
    until("nothing is left", WAIT, || Ok(cluster.router(1)?.containers()?.is_empty().then_some(())))?;
    let again = Sandbox::new(host, "c1")?;
    again.add(&conf("1.0.0"))?;
    ensure!(again.reaches("10.32.0.1")?, "an ADD after it does not work");
    Ok(())
}

/// The namespace goes while the plugin works in it, at another moment each time.
#[test]
fn a_namespace_that_goes_meanwhile_takes_everything_along() -> Result<()> {
    let (stage, cluster) = alone(&[])?;
    let host = stage.host(1)?;
    // What a shell starts in the background reads /dev/null unless it is told otherwise.
    let script = "exec 3<&0; ip netns add gone$1; (sleep $2; \"$0\" <&3 > /run/said$1; true) & \
                  sleep $3; ip netns del gone$1; wait; cat /run/said$1";
    let (mut refused, mut given) = (BTreeMap::<u64, usize>::new(), 0);
    for number in 0..rounds(9, 100) {
        let id = format!("gone{number}");
        let netns = format!("/run/netns/{id}");
        let environment =
            [("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", id.as_str()), ("CNI_NETNS", &netns), ("CNI_IFNAME", "eth0")];
        // From 4 ms before the ADD begins to 8 ms after: it takes some milliseconds.
        let late = number * 7 % 120;
        let [before, after] =
            [40_usize.saturating_sub(late), late.saturating_sub(40)].map(|tenths| format!("0.{tenths:04}"));
        let words = ["sh", "-c", script, PLUGIN, &number.to_string(), &before, &after];
        let said = host.run_env(&environment, &words, conf("1.0.0").to_string().as_bytes())?.json()?;
        match said["code"].as_u64() {
            // What it was given is as it should be: only its namespace was not.
            Some(code) => {
                ensure!(code != 6, "after {before} s, {after} s: {said}");
                *refused.entry(code).or_default() += 1;
            }
            None => given += 1,
        }
    }
    eprintln!("{given} ADDs were done, refused by code: {refused:?}");
    ensure!(!refused.is_empty(), "no namespace has gone before its ADD was done");
    until("nothing is left", WAIT, || {
        Ok((host.container_links()?.is_empty() && cluster.router(1)?.containers()?.is_empty()).then_some(()))
    })
}

#[test]
fn gc_with_an_empty_list_takes_all_and_with_one_that_is_not_understood_nothing() -> Result<()> {
    let (stage, cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let sandbox = Sandbox::new(host, "c1")?;
    sandbox.add(&conf("1.1.0"))?;
    let other = Sandbox::new(host, "other")?;
    other.add(&with(conf("1.1.0"), &json!({"name": "another"})))?;
    let gc = |valid: Value| sandbox.call("GC", &[], &with(conf("1.1.0"), &json!({"cni.dev/valid-attachments": valid})));
    for bad in [json!({}), json!(["c1"]), json!([{"containerID": "c1"}]), json!("none")] {
        refuses(&gc(bad)?, 6, &["cni.dev/valid-attachments"])?;
    }
    ensure!(cluster.router(1)?.containers()?.len() == 2, "a list that is not understood was taken for an empty one");
    ensure!(gc(json!([]))?.ok()?.is_empty(), "GC has something to say");
    let left = cluster.router(1)?.containers()?;
    ensure!(left.len() == 1 && left[0]["container_id"] == "other", "{left:?}");
    ensure!(host.container_links()?.len() == 1, "{:?}", host.container_links()?);
    Ok(())
}

/// Whoever has room may be back in a moment: only an orchestrator that is told so tries again.
#[test]
fn an_add_without_a_path_to_who_has_room_is_to_be_tried_again() -> Result<()> {
    let stage = Stage::build(Underlay { hosts: 2, mtu_bytes: 1500 })?;
    let init = ["--pool", "10.50.0.0/24", "--block-size", "4"];
    let mut cluster = Cluster::form_by(&stage, JoinBy::Token, &init)?;
    cluster.router_mut(1)?.kill()?;
    let mut attached = 0;
    let sandbox = loop {
        let sandbox = Sandbox::new(stage.host(2)?, &format!("c{attached}"))?;
        let answer = sandbox.call("ADD", &[], &conf("1.1.0"))?;
        if !answer.is_ok() {
            refuses(&answer, 11, &["no address is free here at present", "host1"])?;
            break sandbox;
        }
        attached += 1;
        ensure!(attached < 64, "it has more than it was given");
    };
    cluster.router_mut(1)?.start_again()?;
    until("the ADD succeeds", WAIT, || Ok(sandbox.call("ADD", &[], &conf("1.1.0"))?.is_ok().then_some(())))
}
