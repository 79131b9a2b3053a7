//! What a port may send: rules in the kernel, told by the router, back after somebody flushed them.

use hostnet::edge::{Checked, Edge, GuardedPort, Outside, Told};

use super::*;

/// An edge for these containers, which are attached.
fn guarded(host: &Space, containers: &[&Container]) -> Edge {
    let mut edge = Edge::new("raddle0", 6783);
    let port = |container: &&Container| GuardedPort {
        interface: container.host_interface(),
        mac: container.mac(),
        addresses: container.addresses().iter().map(|prefix| prefix.address).collect(),
        outside: Outside::AsItself,
    };
    host.open().run(|| edge.load()).unwrap().unwrap();
    host.open().run(|| edge.set_ports(containers.iter().map(port))).unwrap().unwrap();
    containers.iter().for_each(|container| drop(container.attach(host).unwrap()));
    edge
}

#[test]
fn a_guarded_container_is_reached_and_speaks_for_nobody_else() {
    let host = host();
    let (one, two) = (Container::new(5), Container::new(6));
    let mut edge = guarded(&host, &[&one, &two]);
    let reaches = |target: &str| one.space.run(&["ping", "-n", "-c", "1", "-W", "1", target]).status.success();
    for target in ["10.32.0.6", "10.32.0.1", "fd00:32::6", "fd00:32::1"] {
        assert!(reaches(target), "{target}: {}", host.ok(&["nft", "list", "ruleset"]));
    }
    assert_eq!(host.open().run(|| edge.drops()).unwrap().unwrap(), [].into());
    one.space.ok(&["ip", "address", "add", "10.32.0.7/12", "dev", "eth0"]);
    let spoofed = one.space.run(&["ping", "-n", "-c", "1", "-W", "1", "-I", "10.32.0.7", "10.32.0.6"]);
    assert!(!spoofed.status.success());
    one.space.ok(&["ip", "link", "set", "eth0", "address", "02:00:00:00:00:06"]);
    assert!(!reaches("10.32.0.6"));
    let drops = host.open().run(|| edge.drops()).unwrap().unwrap();
    let drops = drops.get(&one.host_interface()).unwrap();
    assert!(drops.contains_key("source-address") && drops.contains_key("source-mac"), "{drops:?}");
    one.space.ok(&["ip", "link", "set", "eth0", "address", "02:00:00:00:00:05"]);
    assert!(reaches("10.32.0.6"));
    assert_eq!(host.open().run(|| edge.check()).unwrap().unwrap(), Checked::Whole);
}

#[test]
fn whatever_is_flushed_of_the_edge_comes_back() {
    let host = host();
    let one = Container::new(5);
    let mut edge = guarded(&host, &[&one]);
    for flush in [
        vec!["nft", "flush", "ruleset"],
        vec!["nft", "flush", "table", "bridge", "raddle-raddle0"],
        vec!["nft", "flush", "set", "bridge", "raddle-raddle0", "addresses4"],
        vec!["nft", "delete", "table", "inet", "raddle-raddle0"],
    ] {
        host.ok(&flush);
        assert_eq!(host.open().run(|| edge.check()).unwrap().unwrap(), Checked::Restored, "{flush:?}");
        assert_eq!(host.open().run(|| edge.check()).unwrap().unwrap(), Checked::Whole, "{flush:?}");
    }
    one.space.ok(&["ping", "-n", "-c", "1", "-W", "1", "10.32.0.1"]);
    host.ok(&["nft", "flush", "ruleset"]);
    let two = GuardedPort {
        interface: "rd000000000006".to_owned(),
        mac: [2, 0, 0, 0, 0, 6],
        addresses: Vec::new(),
        outside: Outside::AsItself,
    };
    host.open().run(|| edge.set_ports([two])).unwrap().unwrap();
    let rules = host.ok(&["nft", "list", "ruleset"]);
    assert!(rules.contains("rd000000000006") && rules.contains(&one.host_interface()), "{rules}");
}

#[test]
fn a_port_whose_lease_is_gone_sends_nothing_until_it_is_gone_itself() {
    let host = host();
    let one = Container::new(5);
    let mut edge = guarded(&host, &[&one]);
    host.open().run(|| edge.set_ports([])).unwrap().unwrap();
    assert!(!one.space.run(&["ping", "-n", "-c", "1", "-W", "1", "10.32.0.1"]).status.success());
    assert_eq!(host.open().run(|| edge.check()).unwrap().unwrap(), Checked::Whole);
    assert!(host.ok(&["nft", "list", "ruleset"]).contains(&one.host_interface()));
    one.detach(&host, &one.owner()).unwrap();
    assert_eq!(host.open().run(|| edge.check()).unwrap().unwrap(), Checked::Whole);
    assert!(!host.ok(&["nft", "list", "ruleset"]).contains(&one.host_interface()));
}

#[test]
fn ports_that_are_gone_are_no_burden_however_many_they_were() {
    // More than one attribute of a message to the kernel has room for.
    let many = 3000_u32;
    let host = host();
    let port = |number: u32| GuardedPort {
        interface: format!("rd{number:012}"),
        mac: [2, 0, 0, 0, 0, 5],
        addresses: Vec::new(),
        outside: Outside::AsItself,
    };
    let mut edge = Edge::new("raddle0", 6783);
    let set = |edge: &mut Edge, count: u32| host.open().run(|| edge.set_ports((0..count).map(port))).unwrap();
    let check = |edge: &mut Edge| host.open().run(|| edge.check()).unwrap().unwrap();
    let ports = || host.ok(&["nft", "list", "set", "bridge", "raddle-raddle0", "ports"]);
    // They came and went while nothing could be loaded.
    set(&mut edge, many).unwrap_err();
    set(&mut edge, 0).unwrap_err();
    assert_eq!(check(&mut edge), Checked::Restored);
    assert!(!ports().contains("rd0"), "{}", ports());
    // They go all at once.
    assert_eq!(set(&mut edge, many).unwrap(), Told::Ports);
    assert_eq!(set(&mut edge, 0).unwrap(), Told::Ports);
    assert_eq!(ports().matches("rd0").count(), 3000, "their interfaces may still be there");
    assert_eq!(check(&mut edge), Checked::Whole);
    assert!(!ports().contains("rd0"), "{}", ports());
    assert_eq!(set(&mut edge, 0).unwrap(), Told::Nothing);
}

/// Prints what a change of one port costs: it is part of every ADD.
#[test]
fn the_rules_change_port_by_port() {
    let host = host();
    let mut edge = guarded(&host, &[]);
    let port = |number: u8| GuardedPort {
        interface: format!("rd0000000000{number:02x}"),
        mac: [2, 0, 0, 0, 0, number],
        addresses: vec![IpAddr::from([10, 32, 0, number])],
        outside: Outside::AsItself,
    };
    let tables = || {
        let rules = host.ok(&["nft", "-a", "list", "ruleset"]);
        rules.lines().filter(|line| line.starts_with("table")).map(str::to_owned).collect::<Vec<_>>()
    };
    let (loaded, mut longest) = (tables(), Duration::ZERO);
    for count in 1..=200 {
        let start = Instant::now();
        host.open().run(|| edge.set_ports((1..=count).map(port))).unwrap().unwrap();
        longest = longest.max(start.elapsed());
    }
    eprintln!("the longest of 200 changes took {longest:?}");
    assert_eq!(tables(), loaded, "all rules were made again");
    assert_eq!(host.open().run(|| edge.check()).unwrap().unwrap(), Checked::Whole);
}
