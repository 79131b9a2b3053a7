use hostnet::link::{LinkKind, LinkState};
use serde_json::json;

use super::*;
use crate::config::Place;

const GATEWAY: &str = "10.32.0.1";

fn target() -> Target {
    Target {
        place: Place {
            network: "raddle".to_owned(),
            control_socket: "/run/raddle/control.sock".into(),
            spool: "/var/lib/raddle/spool".into(),
        },
        cni_network: "mesh".to_owned(),
        container_id: "c1".to_owned(),
        ifname: "eth0".to_owned(),
    }
}

fn lease() -> Lease {
    Lease {
        network: "raddle".to_owned(),
        workload: "c1".to_owned(),
        address: "10.32.0.5/12".parse().unwrap(),
        address6: None,
        gateway: GATEWAY.parse().unwrap(),
        gateway6: None,
        mac: "02:00:00:00:00:05".to_owned(),
        mtu_bytes: 1389,
        bridge: "raddle0".to_owned(),
        host_interface: target().host_interface(),
        epoch: 1,
    }
}

fn result() -> Value {
    json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            {"name": "raddle0", "mac": "02:00:00:00:00:01"},
            {"name": target().host_interface(), "mac": "fe:00:00:00:00:05", "mtu": 1389},
            {"name": "eth0", "mac": "02:00:00:00:00:05", "mtu": 1389, "sandbox": "/run/netns/c1"},
        ],
        "ips": [{"address": "10.32.0.5/12", "interface": 2}, {"address": "192.0.2.1/24", "interface": 0}],
        "routes": [{"dst": "0.0.0.0/0", "gw": GATEWAY}, {"dst": "198.51.100.0/24"}],
    })
}

fn link(index: u32, name: &str, controller: Option<u32>) -> Link {
    Link {
        index,
        name: name.to_owned(),
        mac: Some([2, 0, 0, 0, 0, 5]),
        mtu_bytes: 1389,
        state: LinkState::Up,
        kind: LinkKind::Veth,
        controller,
        alias: None,
        addresses: vec!["10.32.0.5/12".parse().unwrap()],
    }
}

fn observed() -> Observed {
    let gateway = Some(GATEWAY.parse().unwrap());
    Observed {
        container: Some(link(2, "eth0", None)),
        routes: vec![
            Route { destination: Prefix::ALL_V4, gateway },
            Route { destination: "198.51.100.0/24".parse().unwrap(), gateway },
        ],
        host: Some(link(9, &target().host_interface(), Some(3))),
        port: Port::Open,
        macs: vec![[2, 0, 0, 0, 0, 5]],
        bridge: Some(Link { addresses: vec!["10.32.0.1/12".parse().unwrap()], ..link(3, "raddle0", None) }),
    }
}

fn missing(result: &Value, observed: &Observed) -> String {
    let promised = Promised::of(result, &target()).unwrap();
    let mut missing = inside(&target(), &promised, &lease(), observed);
    missing.extend(outside(&target(), &promised, &lease(), observed));
    missing.join("; ")
}

#[test]
fn what_is_as_it_was_is_fine() {
    assert_eq!(missing(&result(), &observed()), "");
}

#[test]
fn whatever_is_missing_is_named() {
    type Damage = fn(&mut Observed);
    let cases: [(Damage, &str); 12] = [
        (|observed| observed.container = None, "eth0 is missing"),
        (|observed| observed.host = None, "rd"),
        (|observed| observed.bridge = None, "raddle0 is missing"),
        (|observed| observed.port = Port::Fenced, "lets nothing pass"),
        (|observed| observed.routes.clear(), "0.0.0.0/0 through 10.32.0.1"),
        (|observed| observed.host.as_mut().unwrap().controller = None, "not a port of the bridge raddle0"),
        (|observed| observed.container.as_mut().unwrap().addresses.clear(), "10.32.0.5/12"),
        (|observed| observed.container.as_mut().unwrap().mtu_bytes = 900, "900, not 1389"),
        (|observed| observed.host.as_mut().unwrap().mtu_bytes = 900, "MTU of rd"),
        (|observed| observed.macs.clear(), "no forwarding entry for 02:00:00:00:00:05"),
        (|observed| observed.bridge.as_mut().unwrap().addresses.clear(), "gateway's address 10.32.0.1"),
        (|observed| observed.container.as_mut().unwrap().mac = Some([2, 0, 0, 0, 0, 9]), "\"mac\" capability"),
    ];
    for (damage, expected) in cases {
        let mut observed = observed();
        damage(&mut observed);
        let said = missing(&result(), &observed);
        assert!(said.contains(expected), "{expected}: {said:?}");
    }
}

#[test]
fn a_mac_that_a_later_plugin_has_set_cannot_work() {
    let mut result = result();
    result["interfaces"][2]["mac"] = json!("02:AA:00:00:00:09");
    let said = missing(&result, &observed());
    assert!(said.contains("02:aa:00:00:00:09") && said.contains("\"mac\" capability"), "{said}");
}

#[test]
fn a_result_without_our_interface_is_not_our_result() {
    for result in [json!({}), json!({"interfaces": 7}), json!({"interfaces": [{"name": "eth0"}]})] {
        assert_eq!(Promised::of(&result, &target()).unwrap_err().code, Code::Config, "{result}");
    }
}

#[test]
fn entries_that_nobody_understands_promise_nothing() {
    let mut result = result();
    result["ips"] = json!([7, {"address": "x", "interface": 2}, {"interface": 2}]);
    result["routes"] = json!({"dst": "x"});
    assert_eq!(missing(&result, &observed()), "");
}
