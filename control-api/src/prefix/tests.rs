use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

#[test]
fn host_bits_stay() {
    let parsed: Prefixed<Ipv4Addr> = "10.32.0.5/12".parse().unwrap();
    assert_eq!((parsed.address, parsed.prefix), (Ipv4Addr::new(10, 32, 0, 5), 12));
    assert_eq!(parsed.to_string(), "10.32.0.5/12");
}

#[test]
fn what_is_no_prefixed_address_is_refused_with_the_text() {
    for text in
        ["", "/", "10.0.0.1", "10.0.0.1/", "10.0.0.1/33", "10.0.0.1/+8", "10.0.0.1/8 ", "fd00::1/64", "10.0.0/8"]
    {
        let refused = text.parse::<Prefixed<Ipv4Addr>>().unwrap_err();
        assert_eq!(refused, PrefixedError { text: text.to_owned(), bits: 32 });
    }
    assert!("fd00::1/129".parse::<Prefixed<Ipv6Addr>>().is_err());
}

proptest! {
    #[test]
    fn parse_undoes_display(bits: u128, prefix in 0..=128_u8) {
        let there = Prefixed { address: Ipv6Addr::from_bits(bits), prefix };
        prop_assert_eq!(there.to_string().parse(), Ok(there));
    }

    #[test]
    fn no_text_is_too_odd_to_refuse(text: String) {
        let _ = text.parse::<Prefixed<Ipv4Addr>>();
    }
}
