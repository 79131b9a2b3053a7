use super::*;

fn port() -> GuardedPort {
    GuardedPort {
        interface: "rd0123456789ab".to_owned(),
        mac: [2, 0, 0, 0, 0, 5],
        addresses: vec!["10.32.0.5".parse().unwrap(), "fd00:32::5".parse().unwrap()],
        outside: Outside::AsTheHost,
    }
}

#[test]
fn the_parts_of_a_key_begin_at_multiples_of_four_bytes() {
    let keys = |set| keys(set, &port());
    let lengths = |set| keys(set).iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(lengths(Set::Ports), [16]);
    assert_eq!(lengths(Set::Macs), [24]);
    assert_eq!(lengths(Set::Addresses4), [28]);
    assert_eq!(lengths(Set::Addresses6), [40, 40]);
    assert_eq!(lengths(Set::Targets6), [32, 32]);
    assert_eq!(lengths(Set::Masqueraded4), [4]);
    assert_eq!(lengths(Set::Masqueraded6), [16]);
    assert_eq!(keys(Set::Addresses4).concat().get(24..), Some([10, 32, 0, 5].as_slice()));
    assert_eq!(name_of(&keys(Set::Macs).concat()), "rd0123456789ab");
}

#[test]
fn only_who_asks_for_it_is_masqueraded() {
    let port = GuardedPort { outside: Outside::AsItself, ..port() };
    for set in [Set::Masqueraded4, Set::Masqueraded6] {
        assert_eq!(keys(set, &port), Vec::<Vec<u8>>::new());
    }
}

#[test]
fn the_link_local_address_is_the_macs() {
    let own = port().ipv6().next().unwrap();
    assert_eq!(own, "fe80::ff:fe00:5".parse::<Ipv6Addr>().unwrap());
}

#[test]
fn names_that_nft_would_read_as_something_else_are_not_ours() {
    for name in ["", "rd\"x", "rd*", "rd x", "a-name-too-long!"] {
        assert!(!is_plain(name), "{name}");
    }
    assert!(is_plain("rd0123456789ab"));
    assert_eq!(rules::table("br 0;x"), "raddle-br_0_x");
}
