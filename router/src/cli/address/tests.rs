use super::*;

fn peer(text: &str) -> Result<String, String> {
    text.parse::<PeerAddress>().map(|address| address.to_string()).map_err(|wrong| wrong.to_string())
}

#[test]
fn the_port_may_be_left_out() {
    for (text, meant) in [
        ("host1", "host1:6783"),
        ("host1:7000", "host1:7000"),
        ("host-1.example.org", "host-1.example.org:6783"),
        ("192.0.2.1", "192.0.2.1:6783"),
        ("192.0.2.1:1", "192.0.2.1:1"),
        ("2001:db8::1", "[2001:db8::1]:6783"),
        ("[2001:db8::1]", "[2001:db8::1]:6783"),
        ("[2001:db8::1]:65535", "[2001:db8::1]:65535"),
        ("[fe80::1%eth0]:6783", "[fe80::1%eth0]:6783"),
        ("::1", "[::1]:6783"),
    ] {
        assert_eq!(peer(text).as_deref(), Ok(meant), "{text}");
        // What is shown can be given again.
        assert_eq!(peer(meant).as_deref(), Ok(meant));
    }
}

#[test]
fn what_is_no_address_is_refused_with_the_text_and_a_reason() {
    for (text, reason) in [
        ("", "not a host name or an address"),
        (":6783", "not a host name or an address"),
        ("host1:", "the port is not a number"),
        ("host1:0", "the port is not a number"),
        ("host1:65536", "the port is not a number"),
        ("host1:+1", "the port is not a number"),
        ("-host", "not a host name or an address"),
        ("a b", "not a host name or an address"),
        ("http://host1", "the port is not a number"),
        ("192.0.2.300", "not a host name or an address"),
        ("192.0.2", "not a host name or an address"),
        ("[::1", "the bracket is not closed"),
        ("[host1]:6783", "not an IPv6 address in the brackets"),
        ("[::1]6783", "something else than a port follows the bracket"),
        ("1:2:3", "not a host name or an address"),
    ] {
        let said = peer(text).unwrap_err();
        assert!(said.starts_with(&format!("{text:?}: {reason}")), "{text}: {said}");
    }
}

#[test]
fn a_long_text_is_cut() {
    assert!(peer(&"é".repeat(5000)).unwrap_err().len() < 300);
}

#[test]
fn an_underlay_address_is_an_address_not_a_name() {
    let parsed: UnderlayAddress = "[::]:7000".parse().unwrap();
    assert_eq!(parsed.or_port(6783), "[::]:7000".parse().unwrap());
    let parsed: UnderlayAddress = "192.0.2.1".parse().unwrap();
    assert_eq!(parsed.or_port(6783), "192.0.2.1:6783".parse().unwrap());
    assert!("host1".parse::<UnderlayAddress>().unwrap_err().to_string().contains("not an address"));
}

#[test]
fn interface_names_are_what_the_kernel_takes() {
    for good in ["raddle0", "a", "raddle-tap", "fifteen-letters", "eth0.100"] {
        assert_eq!(parse_interface(good).as_deref(), Ok(good));
    }
    for bad in ["", "sixteen-letters-", ".", "..", "a/b", "a b", "-x", "a:1", "é"] {
        assert!(parse_interface(bad).is_err(), "{bad}");
    }
}
