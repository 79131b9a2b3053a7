//! The real binary between a real bridge, real namespaces and a stand-in for the router that speaks the control words.
//!
//! Needs root: without it every test here fails, and says so.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something is not as expected")]

mod stage;

use std::fs;
use std::time::{Duration, Instant};

use control_api::{ApiError, ErrorKind};
use serde_json::{Value, json};

use crate::stage::{Container, Host, conf};

#[test]
fn add_gives_what_it_says_and_del_takes_it_away() {
    let host = Host::new();
    let (one, two) = (Container::new("c1"), Container::new("c2"));
    let result = host.add(&one, &[], &conf(&host)).ok();
    host.add(&two, &[], &conf(&host)).ok();
    assert_eq!(result["interfaces"][0]["name"], "raddle0");
    assert_eq!(result["interfaces"][2]["name"], "eth0");
    assert_eq!(result["interfaces"][2]["sandbox"], one.path());
    assert_eq!(result["ips"][0]["address"], "10.32.0.2/12");
    assert_eq!(result["ips"][0]["interface"], 2);
    one.ok(&["ping", "-n", "-c", "1", "-W", "1", "10.32.0.1"]);
    one.ok(&["ping", "-n", "-c", "1", "-W", "1", "10.32.0.3"]);
    let link: Value = serde_json::from_str(&one.ok(&["ip", "-j", "link", "show", "eth0"])).unwrap();
    assert_eq!(link[0]["address"], result["interfaces"][2]["mac"]);
    assert_eq!(link[0]["mtu"], result["interfaces"][2]["mtu"]);
    for _ in 0..2 {
        host.del(&one, &conf(&host)).done();
    }
    assert_eq!(host.ports(), 1);
    assert_eq!(host.router.leases(), ["c2"]);
    assert_eq!(one.interfaces(), ["lo"]);
}

#[test]
fn a_dual_stack_lease_is_usable_at_once() {
    let host = Host::new();
    host.router.set_ipv6();
    let one = Container::new("c1");
    one.ok(&["sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"]);
    let result = host.add(&one, &[], &conf(&host)).ok();
    assert_eq!(result["ips"][1]["address"], "fd00:32::2/64");
    one.ok(&["ping", "-n", "-c", "1", "-W", "1", "fd00:32::1"]);
    let shown = one.ok(&["ip", "address", "show", "dev", "eth0"]);
    assert!(!shown.contains("tentative") && !shown.contains("dadfailed"), "{shown}");
}

#[test]
fn wishes_reach_the_router() {
    let host = Host::new();
    let one = Container::new("c1");
    let mut config = conf(&host);
    config["hold"] = json!("forever");
    config["network"] = json!("blue");
    config["runtimeConfig"] = json!({"ips": ["10.32.0.77"]});
    config["args"] = json!({"cni": {"labels": [{"key": "raddle.workload", "value": "db"}]}});
    host.add(&one, &[("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=other;X=y")], &config).ok();
    let asked = host.router.last_lease();
    assert_eq!(asked.network, "blue");
    assert_eq!(asked.cni_network, "mesh");
    assert_eq!(asked.workload.as_deref(), Some("db"));
    assert!(asked.sticky);
    assert_eq!(asked.address, Some("10.32.0.77".parse().unwrap()));
    assert_eq!(asked.hold_s, Some(u64::MAX));
    assert_eq!(asked.netns, Some(one.path()));
    let two = Container::new("c2");
    host.add(&two, &[("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAME=web")], &conf(&host)).ok();
    assert_eq!(host.router.last_lease().workload.as_deref(), Some("web"));
    let three = Container::new("c3");
    host.add(&three, &[], &conf(&host)).ok();
    let asked = host.router.last_lease();
    assert_eq!((asked.workload, asked.sticky), (None, false));
}

#[test]
fn a_second_add_is_refused_and_changes_nothing() {
    let host = Host::new();
    let one = Container::new("c1");
    host.add(&one, &[], &conf(&host)).ok();
    let before = (host.interfaces(), one.ok(&["ip", "address"]), host.router.asked());
    let refused = host.add(&one, &[], &conf(&host)).fault(104);
    assert!(refused["details"].as_str().unwrap().contains("DEL"), "{refused}");
    assert_eq!((host.interfaces(), one.ok(&["ip", "address"]), host.router.asked()), before);
    let second = host.add(&one, &[("CNI_IFNAME", "eth1")], &conf(&host)).ok();
    assert_eq!(second["ips"][0]["address"], "10.32.0.3/12");
    assert_eq!(second.get("routes"), None, "the default route of the first interface stays");
    assert!(one.ok(&["ip", "route"]).contains("default via 10.32.0.1 dev eth0"));
    host.run("DEL", &one, &[("CNI_IFNAME", "eth1")], &conf(&host)).done();
    assert_eq!(one.interfaces(), ["lo", "eth0"]);
    assert_eq!(host.router.leases(), ["c1"]);
}

#[test]
fn an_interface_of_that_name_is_an_error_before_anything_is_asked_for() {
    let host = Host::new();
    let one = Container::new("c1");
    one.ok(&["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "x"]);
    host.add(&one, &[], &conf(&host)).fault(101);
    assert_eq!(host.router.asked(), 0);
}

#[test]
fn a_namespace_that_is_none_is_refused_before_anything_is_asked_for() {
    let host = Host::new();
    let one = Container::new("c1");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(one.path(), &link).unwrap();
    let before = host.interfaces();
    let cases = [
        (folder.path().join("gone").display().to_string(), 3),
        (file.display().to_string(), 8),
        (folder.path().display().to_string(), 8),
        (host.path(), 8),
    ];
    for (path, code) in cases {
        host.add(&one, &[("CNI_NETNS", &path)], &conf(&host)).fault(code);
    }
    assert_eq!(host.interfaces(), before);
    assert_eq!(host.router.asked(), 0);
    host.add(&one, &[("CNI_NETNS", &link.display().to_string())], &conf(&host)).ok();
}

#[test]
fn every_refusal_of_the_router_has_its_code_and_leaves_nothing() {
    let host = Host::new();
    let one = Container::new("c1");
    let before = host.interfaces();
    for (kind, code) in [
        (ErrorKind::TryAgain, 11),
        (ErrorKind::Held, 11),
        (ErrorKind::ReadOnly, 11),
        (ErrorKind::NotReady, 11),
        (ErrorKind::Taken, 102),
        (ErrorKind::Exhausted, 103),
        (ErrorKind::Duplicate, 104),
        (ErrorKind::Invalid, 7),
        (ErrorKind::Unknown, 7),
        (ErrorKind::Internal, 105),
    ] {
        host.router.refuse_with(ApiError::new(kind, "db is in use on host1").with_remedy("stop it there"));
        let refused = host.add(&one, &[], &conf(&host)).fault(code);
        assert_eq!(refused["msg"], "db is in use on host1");
        assert_eq!(refused["details"], "stop it there");
        assert_eq!(refused["cniVersion"], "1.1.0");
    }
    assert_eq!((host.interfaces(), one.interfaces()), (before, vec!["lo".to_owned()]));
    assert!(!host.spool().exists());
}

#[test]
fn what_fails_after_the_lease_gives_it_back() {
    let host = Host::new();
    let one = Container::new("c1");
    let mut config = conf(&host);
    config["routes"] = json!([{"dst": "198.51.100.0/24", "gw": "192.0.2.1"}]);
    host.add(&one, &[], &config).fault(7);
    assert_eq!(host.router.leases(), [""; 0]);
    assert_eq!(one.interfaces(), ["lo"]);
    host.ok(&["ip", "link", "del", "raddle0"]);
    let refused = host.add(&one, &[], &conf(&host)).fault(105);
    assert!(refused["msg"].as_str().unwrap().contains("raddle0"), "{refused}");
    assert_eq!(host.router.leases(), [""; 0]);
    assert_eq!(host.ports(), 0);
}

#[test]
fn a_result_that_nobody_takes_is_undone() {
    let host = Host::new();
    let one = Container::new("c1");
    let status = host.add_into_closed_stdout(&one, &conf(&host));
    assert!(!status.success());
    assert_eq!(one.interfaces(), ["lo"]);
    assert_eq!(host.router.leases(), [""; 0]);
}

#[test]
fn while_the_router_is_away_add_says_so_and_del_is_remembered() {
    let host = Host::new();
    let (one, two) = (Container::new("c1"), Container::new("c2"));
    host.add(&one, &[], &conf(&host)).ok();
    host.router.stop();
    let started = Instant::now();
    host.del(&one, &conf(&host)).done();
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!((host.ports(), one.interfaces()), (0, vec!["lo".to_owned()]));
    host.del(&one, &conf(&host)).done();
    let pending = control_api::spool::pending(&host.spool()).unwrap();
    assert_eq!(pending.releases.len(), 1);
    assert_eq!(pending.releases[0].release.attachment.container_id, "c1");
    let started = Instant::now();
    let refused = host.add(&two, &[], &conf(&host)).fault(11);
    assert!(started.elapsed() < Duration::from_secs(10));
    assert!(refused["msg"].as_str().unwrap().contains("control.sock"), "{refused}");
    assert_eq!(two.interfaces(), ["lo"]);
    assert_eq!(host.ports(), 0);
    host.run("STATUS", &two, &[], &conf(&host)).fault(50);
    host.run("VERSION", &two, &[], &json!({"cniVersion": "0.4.0"})).ok();
}

#[test]
fn a_router_that_does_not_answer_costs_less_than_ten_seconds_and_leaves_a_release() {
    let host = Host::new();
    let one = Container::new("c1");
    host.router.fall_silent();
    let started = Instant::now();
    host.add(&one, &[], &conf(&host)).fault(11);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!(one.interfaces(), ["lo"]);
    assert_eq!(control_api::spool::pending(&host.spool()).unwrap().releases.len(), 1);
    let started = Instant::now();
    host.run("STATUS", &one, &[], &conf(&host)).fault(50);
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[test]
fn del_converges_whatever_is_left() {
    let host = Host::new();
    let one = Container::new("c1");
    host.del(&one, &conf(&host)).done();
    host.run("DEL", &one, &[("CNI_NETNS", "")], &conf(&host)).done();
    host.add(&one, &[], &conf(&host)).ok();
    host.run("DEL", &one, &[("CNI_NETNS", "/run/netns/gone")], &conf(&host)).done();
    assert_eq!(host.router.leases(), [""; 0]);
    host.add(&one, &[], &conf(&host)).ok();
    let other = Container::new("other");
    other.ok(&["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "x"]);
    let mut config = conf(&host);
    config["prevResult"] = json!("garbage");
    config["mtu"] = json!("big");
    host.run("DEL", &one, &[("CNI_NETNS", &other.path())], &config).done();
    assert_eq!((host.ports(), one.interfaces()), (0, vec!["lo".to_owned()]));
    assert!(other.interfaces().contains(&"eth0".to_owned()), "another container's eth0 is not ours to remove");
}

#[test]
fn check_sees_what_is_missing() {
    let host = Host::new();
    let one = Container::new("c1");
    let mut config = conf(&host);
    config["prevResult"] = host.add(&one, &[], &conf(&host)).ok();
    let check = || host.run("CHECK", &one, &[], &config);
    check().done();
    host.run("CHECK", &one, &[], &conf(&host)).fault(7);
    let port = config["prevResult"]["interfaces"][1]["name"].as_str().unwrap();
    host.ok(&["ip", "link", "set", port, "nomaster"]);
    assert!(check().fault(106)["msg"].as_str().unwrap().contains("raddle0"));
    host.ok(&["ip", "link", "set", port, "master", "raddle0"]);
    one.ok(&["ip", "route", "del", "default"]);
    assert!(check().fault(106)["msg"].as_str().unwrap().contains("0.0.0.0/0"));
    one.ok(&["ip", "address", "flush", "dev", "eth0"]);
    assert!(check().fault(106)["msg"].as_str().unwrap().contains("10.32.0.2/12"));
    host.router.forget("c1");
    assert!(check().fault(106)["msg"].as_str().unwrap().contains("no lease"));
    host.router.stop();
    check().fault(11);
}

#[test]
fn gc_removes_what_the_router_says_is_gone() {
    let host = Host::new();
    let containers = [Container::new("c1"), Container::new("c2")];
    for container in &containers {
        host.add(container, &[], &conf(&host)).ok();
    }
    let mut config = conf(&host);
    config["cni.dev/valid-attachments"] = json!([{"containerID": "c2", "ifname": "eth0"}]);
    host.run("GC", &containers[0], &[], &config).done();
    assert_eq!(host.router.leases(), ["c2"]);
    assert_eq!(containers[0].interfaces(), ["lo"]);
    assert_eq!(containers[1].interfaces(), ["lo", "eth0"]);
    host.run("GC", &containers[0], &[], &conf(&host)).done();
    assert_eq!(host.router.leases(), ["c2"], "a list that is missing says nothing");
    host.run("STATUS", &containers[0], &[], &conf(&host)).done();
    host.router.stop();
    host.run("GC", &containers[0], &[], &config).fault(11);
}

#[test]
fn sixteen_adds_at_once_get_sixteen_addresses() {
    let host = Host::new();
    let containers: Vec<_> = (0..16).map(|number| Container::new(&format!("c{number}"))).collect();
    let mut addresses: Vec<String> = std::thread::scope(|scope| {
        let host = &host;
        let add = |container| scope.spawn(move || host.add(container, &[], &conf(host)).ok());
        let adds: Vec<_> = containers.iter().map(add).collect();
        adds.into_iter().map(|add| add.join().unwrap()["ips"][0]["address"].to_string()).collect()
    });
    addresses.sort();
    addresses.dedup();
    assert_eq!(addresses.len(), 16);
    for container in &containers {
        container.ok(&["ping", "-n", "-c", "1", "-W", "1", "10.32.0.1"]);
        host.del(container, &conf(&host)).done();
    }
    assert_eq!((host.ports(), host.router.leases().len()), (0, 0));
}

#[test]
fn an_add_that_is_killed_anywhere_is_cleaned_up_by_del() {
    let host = Host::new();
    for round in 0..24 {
        let one = Container::new("c1");
        host.add_killed_after(&one, &conf(&host), Duration::from_micros(round * 400));
        host.del(&one, &conf(&host)).done();
        assert_eq!((host.ports(), one.interfaces()), (0, vec!["lo".to_owned()]), "round {round}");
        assert_eq!(host.router.leases(), [""; 0], "round {round}");
        host.add(&one, &[], &conf(&host)).ok();
        host.del(&one, &conf(&host)).done();
    }
}

#[test]
fn stdout_holds_one_document_and_notes_go_to_stderr() {
    let host = Host::new();
    let one = Container::new("c1");
    let mut config = conf(&host);
    config["mtu"] = json!(9000);
    config["controlsocket"] = json!("/misspelt");
    config["capabilities"] = json!({"ips": true});
    let answer = host.add(&one, &[("TRACEPARENT", "00-0-0-00"), ("CNI_ARGS", "IgnoreUnknown=1;FOO=bar")], &config);
    assert!(answer.stderr.contains("controlsocket") && answer.stderr.contains("9000"), "{}", answer.stderr);
    assert!(!answer.stderr.contains("capabilities"), "{}", answer.stderr);
    assert_eq!(answer.ok()["interfaces"][2]["mtu"], 1389);
}
