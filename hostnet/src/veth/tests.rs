use super::*;

fn link(kind: LinkKind, alias: Option<&str>) -> Link {
    Link {
        index: 7,
        name: "rd000000000000".to_owned(),
        mac: None,
        mtu_bytes: 1400,
        state: crate::link::LinkState::Up,
        kind,
        controller: None,
        alias: alias.map(str::to_owned),
        addresses: Vec::new(),
    }
}

#[test]
fn only_the_owners_veth_is_the_owners() {
    let long = "x".repeat(300);
    let cases = [
        (LinkKind::Veth, Some("me"), "me", true),
        (LinkKind::Veth, None, "me", true),
        (LinkKind::Veth, Some("you"), "me", false),
        (LinkKind::Bridge, Some("me"), "me", false),
        (LinkKind::Hardware, None, "me", false),
        (LinkKind::Veth, Some(&long[..254]), long.as_str(), true),
    ];
    for (kind, noted, owner, expected) in cases {
        let answer = ensure_owner(&link(kind.clone(), noted), owner);
        assert_eq!(answer.is_ok(), expected, "{kind:?} {noted:?} {owner}");
    }
}

#[test]
fn an_alias_is_cut_between_characters() {
    let owner = format!("{}é", "x".repeat(254));
    assert_eq!(alias(&owner), "x".repeat(254));
    assert_eq!(alias("short"), "short");
}

#[test]
fn the_hosts_end_never_has_the_containers_mac() {
    assert_eq!(host_mac([2, 1, 2, 3, 4, 5]), [0xfe, 1, 2, 3, 4, 5]);
    assert_eq!(host_mac([0xfe, 1, 2, 3, 4, 5]), [0xfa, 1, 2, 3, 4, 5]);
}
