use super::*;

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

#[test]
fn prefixes_overlap_when_one_contains_the_other() {
    let cases = [
        ("10.32.0.0/12", "10.40.1.0/24", true),
        ("10.40.1.0/24", "10.32.0.0/12", true),
        ("10.32.0.0/12", "10.48.0.0/12", false),
        ("0.0.0.0/0", "10.48.0.0/12", true),
        ("10.1.2.3/32", "10.1.2.3/32", true),
        ("10.1.2.3/32", "10.1.2.2/32", false),
        ("fd00::/8", "fd12::/64", true),
        ("fd00::/64", "fd00:0:0:1::/64", false),
        ("::/0", "10.0.0.0/8", false),
    ];
    for (one, other, expected) in cases {
        assert_eq!(prefix(one).overlaps(&prefix(other)), expected, "{one} {other}");
    }
}

#[test]
fn a_prefix_is_written_as_it_is_read() {
    for text in ["10.32.0.5/12", "0.0.0.0/0", "fd00::5/64", "::/0", "1.2.3.4/32", "fe80::1/128"] {
        assert_eq!(prefix(text).to_string(), text);
    }
    for text in ["", "/", "10.0.0.1", "10.0.0.1/", "10.0.0.1/33", "10.0.0.1/+8", "fd00::/129", "x/8", "10.0.0.1/8/8"] {
        assert!(text.parse::<Prefix>().is_err(), "{text}");
    }
}

#[test]
fn the_loopback_is_there_with_its_address() {
    let links = list().unwrap();
    let loopback = links.iter().find(|link| link.kind == LinkKind::Loopback).unwrap();
    assert_eq!(loopback.name, "lo");
    assert_eq!(loopback.index, 1);
    assert!(loopback.mtu_bytes >= 1500);
}
