//! Which of a host's addresses other routers are told, and how much fits there.

use super::*;
use crate::cli::{self, Command};

fn config(words: &[&str]) -> Config {
    let args = cli::try_parse(["raddle", "router"].iter().chain(words)).unwrap();
    let Command::Router(router) = &args.command else { panic!("not the router's arguments") };
    Config::try_from((&args.globals, router)).unwrap()
}

fn link(name: &str, kind: LinkKind, mtu_bytes: u32, addresses: &[&str]) -> Link {
    Link {
        index: 1,
        name: name.to_owned(),
        mac: None,
        mtu_bytes,
        state: LinkState::Up,
        kind,
        controller: None,
        alias: None,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
    }
}

fn host() -> Vec<Link> {
    vec![
        link("lo", LinkKind::Loopback, 65_536, &["127.0.0.1/8", "::1/128"]),
        link("docker0", LinkKind::Bridge, 1450, &["172.17.0.1/16"]),
        link("tailscale0", LinkKind::Other("tun".to_owned()), 1280, &["100.64.0.1/32"]),
        link("eth0", LinkKind::Hardware, 9000, &["fe80::1/64", "2001:db8::5/64", "192.0.2.5/24"]),
        link("raddle0", LinkKind::Bridge, 1414, &["10.32.0.1/12"]),
    ]
}

fn written(underlay: &Underlay) -> Vec<String> {
    underlay.addresses.iter().map(ToString::to_string).collect()
}

#[test]
fn cards_come_before_bridges_and_ipv4_before_ipv6_and_tunnels_say_nothing_of_cards() {
    let underlay = choose(&config(&[]), &host());
    assert_eq!(written(&underlay), ["100.64.0.1:6783", "192.0.2.5:6783", "[2001:db8::5]:6783", "172.17.0.1:6783"]);
    assert_eq!((underlay.mtu_bytes(), underlay.datagram_bytes()), (9000, 8972));
}

#[test]
fn a_host_whose_card_is_in_a_bridge_is_reached_there() {
    let links = [link("br0", LinkKind::Bridge, 1500, &["192.0.2.5/24"])];
    let underlay = choose(&config(&[]), &links);
    assert_eq!((written(&underlay).as_slice(), underlay.mtu_bytes()), (["192.0.2.5:6783".to_owned()].as_slice(), 1500));
}

#[test]
fn one_address_to_listen_at_is_the_one_that_is_told() {
    let underlay = choose(&config(&["--listen", "[2001:db8::5]:7000"]), &host());
    assert_eq!(written(&underlay), ["[2001:db8::5]:7000"]);
    assert_eq!(underlay.datagram_bytes(), 8952);
    let underlay = choose(&config(&["--listen", "127.0.0.1"]), &host());
    assert_eq!(written(&underlay), ["127.0.0.1:6783"]);
}

#[test]
fn what_is_advertised_replaces_what_is_found() {
    let underlay = choose(&config(&["--advertise", "203.0.113.9:7000", "--advertise", "203.0.113.10"]), &host());
    assert_eq!(written(&underlay), ["203.0.113.9:7000", "203.0.113.10:6783"]);
}

#[test]
fn a_host_without_an_address_gets_ethernets_mtu() {
    let underlay = choose(&config(&[]), &host()[..1]);
    assert_eq!((underlay.addresses.len(), underlay.found_bytes, underlay.mtu_bytes()), (0, None, 1500));
}
