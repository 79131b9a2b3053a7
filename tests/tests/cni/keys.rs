//! Whose an attachment is: CNI network, container id and interface name say it together, whatever else changes.

use anyhow::{Result, ensure};
use serde_json::json;

use super::driver::{Sandbox, conf, refuses, state, with};
use super::{address, alone};

#[test]
fn two_networks_may_call_their_containers_alike() -> Result<()> {
    let (stage, cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let (one, two) =
        (Sandbox::new(host, "c1")?, Sandbox { netns: "/run/netns/c2".into(), ..Sandbox::absent(host, "c1") });
    Sandbox::new(host, "c2")?;
    let (mesh, other) = (conf("1.1.0"), with(conf("1.1.0"), &json!({"name": "other"})));
    let first = one.add(&mesh)?;
    // Of a network that the container is not attached to, as after an ADD that was refused.
    one.del(&other)?;
    ensure!(cluster.router(1)?.containers()?.len() == 1, "another network's DEL has released the address");
    refuses(&one.call("CHECK", &[], &with(other.clone(), &json!({"prevResult": first})))?, 106, &["no lease"])?;
    let second = two.add(&other)?;
    ensure!(address(&first)? != address(&second)?, "two containers have one address: {second}");
    one.run(&["ping", "-n", "-c", "1", "-W", "1", &address(&second)?])?.ok()?;
    two.quietly("GC", &[], &with(other.clone(), &json!({"cni.dev/valid-attachments": []})))?;
    one.quietly("CHECK", &[], &with(mesh.clone(), &json!({"prevResult": first})))?;
    one.del(&mesh)?;
    ensure!(cluster.router(1)?.containers()?.is_empty() && host.container_links()?.is_empty(), "something is left");
    Ok(())
}

#[test]
fn del_takes_what_add_made_whatever_became_of_the_configuration() -> Result<()> {
    let (stage, _cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let before = state(host)?;
    let sandbox = Sandbox::new(host, "c1")?;
    for more in [
        json!({"network": "another"}),
        json!({"network": 7, "dataDir": "relative", "controlSocket": ["x"]}),
        json!({"ipam": 7, "runtimeConfig": 7, "routes": "x", "args": 7}),
    ] {
        sandbox.add(&conf("1.1.0"))?;
        sandbox.del(&with(conf("1.1.0"), &more))?;
        ensure!(state(host)? == before, "{more}: something is left");
    }
    Ok(())
}

#[test]
fn whoever_has_given_up_is_given_nothing() -> Result<()> {
    let (stage, cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let sandbox = Sandbox::new(host, "c1")?;
    cluster.router(1)?.process().signal("STOP")?;
    refuses(&sandbox.call("ADD", &[], &conf("1.1.0"))?, 11, &["raddle status"])?;
    cluster.router(1)?.process().go_on()?;
    // Its answer comes behind what there was to say to the first.
    Sandbox::new(host, "c2")?.add(&conf("1.1.0"))?;
    let containers = cluster.router(1)?.containers()?;
    ensure!(containers.len() == 1 && containers[0]["container_id"] == "c2", "{containers:?}");
    sandbox.add(&conf("1.1.0"))?;
    Ok(())
}

#[test]
fn a_container_whose_path_was_relative_is_not_taken_for_gone() -> Result<()> {
    let (stage, cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let sandbox = Sandbox::new(host, "c1")?;
    let environment =
        [("CNI_COMMAND", "ADD"), ("CNI_CONTAINERID", "c1"), ("CNI_NETNS", "netns/c1"), ("CNI_IFNAME", "eth0")];
    let words = ["sh", "-c", "cd /run && exec \"$0\"", super::driver::PLUGIN];
    host.run_env(&environment, &words, conf("1.1.0").to_string().as_bytes())?.ok()?;
    sandbox.quietly("GC", &[], &conf("1.1.0"))?;
    ensure!(cluster.router(1)?.containers()?.len() == 1 && sandbox.reaches("10.32.0.1")?, "it was taken for gone");
    Ok(())
}

#[test]
fn status_says_that_such_an_add_would_fail() -> Result<()> {
    let (stage, _cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let sandbox = Sandbox::new(host, "c1")?;
    let hanging = "#!/bin/sh\nexec sleep 1000\n";
    host.run_with(&["sh", "-c", "cat > /opt/cni/bin/hanging && chmod +x /opt/cni/bin/hanging"], hanging.as_bytes())?
        .ok()?;
    for (more, code, word) in [
        (json!({"network": "another"}), 50, "another"),
        (json!({"mtu": "big"}), 6, "mtu"),
        (json!({"routes": [{"dst": "x"}]}), 7, "routes"),
        (json!({"ipam": {"type": "absent"}}), 7, "absent"),
        (json!({"ipam": {"type": "hanging"}}), 50, "hanging gave no answer"),
    ] {
        refuses(&sandbox.call("STATUS", &[], &with(conf("1.1.0"), &more))?, code, &[word])?;
    }
    sandbox.quietly("STATUS", &[], &conf("1.1.0"))
}

#[test]
fn what_the_runtime_says_of_dns_is_in_the_result() -> Result<()> {
    let (stage, _cluster) = alone(&[])?;
    let host = stage.host(1)?;
    let own = json!({"nameservers": ["192.0.2.1"], "domain": "own"});
    for (id, asked, told) in [
        ("none", json!({}), own.clone()),
        ("empty", json!({"dns": {"servers": []}}), own.clone()),
        (
            "all",
            json!({"dns": {"Servers": ["192.0.2.2"], "searches": ["a.example"], "options": ["ndots:2"]}, "aliases": ["x"]}),
            json!({"nameservers": ["192.0.2.2"], "search": ["a.example"], "options": ["ndots:2"]}),
        ),
    ] {
        let result = Sandbox::new(host, id)?.add(&with(conf("1.1.0"), &json!({"dns": own, "runtimeConfig": asked})))?;
        ensure!(result["dns"] == told, "{id}: {result}");
    }
    let sandbox = Sandbox::new(host, "bad")?;
    let bad = with(conf("1.1.0"), &json!({"runtimeConfig": {"dns": {"servers": "192.0.2.2"}}}));
    refuses(&sandbox.call("ADD", &[], &bad)?, 6, &["runtimeConfig.dns.servers"])
}
