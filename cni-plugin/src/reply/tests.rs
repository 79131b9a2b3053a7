use hostnet::link::{Link, LinkKind, LinkState, Prefix};
use hostnet::veth::{Attached, Route};

use super::*;
use crate::attach::Address;
use crate::config::{Config, Place};
use crate::fault::Code;
use crate::request::Target;
use crate::wishes::Wishes;

fn link(name: &str, mac: [u8; 6], kind: LinkKind) -> Link {
    Link {
        index: 7,
        name: name.to_owned(),
        mac: Some(mac),
        mtu_bytes: 1389,
        state: LinkState::Up,
        kind,
        controller: None,
        alias: None,
        addresses: Vec::new(),
    }
}

fn outcome() -> Outcome {
    let address =
        |prefix: &str, gateway: &str| Address { prefix: prefix.parse().unwrap(), gateway: gateway.parse().unwrap() };
    Outcome {
        attached: Attached {
            bridge: link("raddle0", [2, 0, 0, 0, 0, 1], LinkKind::Bridge),
            host: link("rd0123456789ab", [0xfe, 0, 0, 0, 0, 5], LinkKind::Veth),
            routes: vec![
                Route { destination: Prefix::ALL_V4, gateway: Some("10.32.0.1".parse().unwrap()) },
                Route { destination: "fd99::/16".parse().unwrap(), gateway: None },
            ],
        },
        mac: [2, 0, 0, 0, 0, 5],
        mtu_bytes: 1389,
        addresses: vec![address("10.32.0.5/12", "10.32.0.1"), address("fd00:32::5/64", "fd00:32::1")],
    }
}

fn add(previous: Option<Value>, dns: Value) -> Add {
    let config = Config::parse(br#"{"cniVersion":"1.1.0","name":"mesh"}"#).unwrap();
    let mut settings = config.settings().unwrap();
    settings.dns = dns;
    Add {
        target: Target {
            place: Place {
                network: "raddle".to_owned(),
                control_socket: "/run/raddle/control.sock".into(),
                spool: "/var/lib/raddle/spool".into(),
            },
            cni_network: "mesh".to_owned(),
            container_id: "c1".to_owned(),
            ifname: "eth0".to_owned(),
        },
        netns: "/var/run/netns/../netns/c1".to_owned(),
        wishes: Wishes::default(),
        settings,
        previous,
        unknown_keys: Vec::new(),
    }
}

#[test]
fn the_newest_result_says_everything() {
    let document = Added::of(Version::V1_1_0, &add(None, json!({})), &outcome()).document();
    let expected = json!({
        "cniVersion": "1.1.0",
        "interfaces": [
            {"name": "raddle0", "mac": "02:00:00:00:00:01", "mtu": 1389},
            {"name": "rd0123456789ab", "mac": "fe:00:00:00:00:05", "mtu": 1389},
            {"name": "eth0", "mac": "02:00:00:00:00:05", "mtu": 1389, "sandbox": "/var/run/netns/../netns/c1"},
        ],
        "ips": [
            {"address": "10.32.0.5/12", "gateway": "10.32.0.1", "interface": 2},
            {"address": "fd00:32::5/64", "gateway": "fd00:32::1", "interface": 2},
        ],
        "routes": [{"dst": "0.0.0.0/0", "gw": "10.32.0.1"}, {"dst": "fd99::/16"}],
        "dns": {},
    });
    assert_eq!(document, expected);
}

#[test]
fn each_version_gets_what_it_knows_and_nothing_else() {
    for version in Version::ALL {
        let document = Added::of(version, &add(None, json!({})), &outcome()).document();
        assert_eq!(document["cniVersion"], version.as_str());
        let families: Vec<_> = document["ips"].as_array().unwrap().iter().map(|ip| ip.get("version")).collect();
        let has_mtu = document["interfaces"].as_array().unwrap().iter().any(|interface| interface.get("mtu").is_some());
        if version < Version::V1_0_0 {
            assert_eq!(families, [Some(&json!("4")), Some(&json!("6"))], "{version:?}");
        } else {
            assert_eq!(families, [None, None], "{version:?}");
        }
        assert_eq!(has_mtu, version >= Version::V1_1_0, "{version:?}");
    }
}

#[test]
fn what_earlier_plugins_said_stays_and_indices_follow() {
    let previous = json!({
        "cniVersion": "1.0.0",
        "interfaces": [{"name": "a"}, {"name": "b", "sandbox": "/x"}],
        "ips": [{"address": "192.0.2.2/24", "interface": 1}],
        "routes": [{"dst": "192.0.2.0/24"}],
        "dns": {"nameservers": ["192.0.2.53"]},
    });
    let document = Added::of(Version::V1_0_0, &add(Some(previous.clone()), json!({})), &outcome()).document();
    assert_eq!(document["interfaces"].as_array().unwrap().len(), 5);
    assert_eq!(document["ips"][0], previous["ips"][0]);
    assert_eq!(document["ips"][1]["interface"], 4);
    assert_eq!(document["interfaces"][4]["name"], "eth0");
    assert_eq!(document["routes"][0], previous["routes"][0]);
    assert_eq!(document["dns"], previous["dns"]);
    let own = json!({"nameservers": ["10.32.0.1"]});
    let document = Added::of(Version::V1_0_0, &add(Some(previous), own.clone()), &outcome()).document();
    assert_eq!(document["dns"], own);
}

#[test]
fn a_fault_is_a_document_with_a_version() {
    let plain = Fault::new(Code::TryAgain, "not yet");
    assert_eq!(fault(Version::V0_4_0, &plain), json!({"cniVersion": "0.4.0", "code": 11, "msg": "not yet"}));
    let detailed = plain.with_details("why");
    let expected = json!({"cniVersion": "1.1.0", "code": 11, "msg": "not yet", "details": "why"});
    assert_eq!(fault(Version::V1_1_0, &detailed), expected);
}

#[test]
fn versions_are_answered_in_the_callers() {
    let document = versions("0.2.0");
    assert_eq!(document["cniVersion"], "0.2.0");
    assert_eq!(document["supportedVersions"], json!(["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]));
}
