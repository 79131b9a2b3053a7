use super::*;
use crate::request::{Call, Request};

fn add(keys: &str) -> Add {
    let stdin = format!(r#"{{"cniVersion":"1.1.0","name":"mesh","type":"raddle-cni"{keys}}}"#);
    let lookup = |name: &str| match name {
        "CNI_COMMAND" => Some("ADD".into()),
        "CNI_CONTAINERID" => Some("c1".into()),
        "CNI_NETNS" => Some("/run/netns/c1".into()),
        "CNI_IFNAME" => Some("eth0".into()),
        _ => None,
    };
    let call = Call::parse(&lookup, stdin.as_bytes()).unwrap();
    let Request::Add(add) = call.request else { panic!("{call:?}") };
    *add
}

fn lease(six: bool) -> Lease {
    Lease {
        network: "raddle".to_owned(),
        workload: "c1".to_owned(),
        address: "10.32.0.5/12".parse().unwrap(),
        address6: six.then(|| "fd00:32::5/64".parse().unwrap()),
        gateway: "10.32.0.1".parse().unwrap(),
        gateway6: six.then(|| "fd00:32::1".parse().unwrap()),
        mac: "02:00:00:00:00:05".to_owned(),
        mtu_bytes: 1389,
        bridge: "raddle0".to_owned(),
        host_interface: "rd0123456789ab".to_owned(),
        epoch: 1,
    }
}

#[test]
fn an_mtu_is_never_larger_than_what_the_overlay_carries() {
    let mtu = |keys, six| mtu(&add(keys), &lease(six), &addresses(&lease(six)));
    assert_eq!(mtu("", true).unwrap(), 1389);
    assert_eq!(mtu(r#","mtu":900"#, false).unwrap(), 900);
    assert_eq!(mtu(r#","mtu":9000"#, true).unwrap(), 1389);
    let refused = mtu(r#","mtu":900"#, true).unwrap_err();
    assert_eq!(refused.code, Code::Config);
    assert!(refused.message.contains("IPv6"), "{refused:?}");
}

#[test]
fn routes_go_through_the_gateway_of_their_family() {
    let routes = |keys, six| routes(&add(keys), &addresses(&lease(six)));
    let shown = |routes: Vec<Route>| {
        let show = |route: &Route| format!("{} {}", route.destination, route.gateway.unwrap());
        routes.iter().map(show).collect::<Vec<_>>()
    };
    assert_eq!(shown(routes("", false).unwrap()), ["0.0.0.0/0 10.32.0.1"]);
    assert_eq!(shown(routes("", true).unwrap()), ["0.0.0.0/0 10.32.0.1", "::/0 fd00:32::1"]);
    let keys = r#","isDefaultGateway":false,"routes":[{"dst":"192.0.2.0/24"},{"dst":"0.0.0.0/0","gw":"10.32.0.9"}]"#;
    assert_eq!(shown(routes(keys, true).unwrap()), ["192.0.2.0/24 10.32.0.1", "0.0.0.0/0 10.32.0.9"]);
    let twice = r#","routes":[{"dst":"0.0.0.0/0"}]"#;
    assert_eq!(shown(routes(twice, false).unwrap()), ["0.0.0.0/0 10.32.0.1"]);
    let refused = routes(r#","routes":[{"dst":"fd99::/16"}]"#, false).unwrap_err();
    assert_eq!(refused.code, Code::Config);
}

#[test]
fn a_default_route_that_is_asked_for_stands_in_the_place_of_the_networks() {
    let routes = |keys: &str, six| routes(&add(keys), &addresses(&lease(six)));
    let shown = |keys, six| {
        let show = |route: Route| format!("{} {}", route.destination, route.gateway.unwrap());
        routes(keys, six).unwrap().into_iter().map(show).collect::<Vec<_>>()
    };
    let elsewhere = r#","routes":[{"dst":"0.0.0.0/0","gw":"10.32.0.9"}]"#;
    assert_eq!(shown(elsewhere, false), ["0.0.0.0/0 10.32.0.9"]);
    assert_eq!(shown(elsewhere, true), ["::/0 fd00:32::1", "0.0.0.0/0 10.32.0.9"]);
    let elsewhere6 = r#","routes":[{"dst":"::/0","gw":"fd00:32::9"}]"#;
    assert_eq!(shown(elsewhere6, true), ["0.0.0.0/0 10.32.0.1", "::/0 fd00:32::9"]);
    let twice = r#","routes":[{"dst":"192.0.2.0/24"},{"dst":"192.0.2.0/24","gw":"10.32.0.1"}]"#;
    assert_eq!(shown(twice, false), ["0.0.0.0/0 10.32.0.1", "192.0.2.0/24 10.32.0.1"]);
    for both in [r#"{"dst":"0.0.0.0/0"}"#, r#"{"dst":"10.0.0.0/0","gw":"10.32.0.8"}"#] {
        let refused =
            routes(&format!(r#","routes":[{{"dst":"0.0.0.0/0","gw":"10.32.0.9"}},{both}]"#), false).unwrap_err();
        assert_eq!(refused.code, Code::Config);
        assert!(refused.message.contains("0/0") && refused.message.contains("10.32.0.9"), "{refused:?}");
    }
}
