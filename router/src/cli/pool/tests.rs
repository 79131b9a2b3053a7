use super::*;

#[test]
fn a_pool_has_no_host_bits() {
    assert_eq!(parse_pool("10.32.0.0/12").unwrap(), Pool { base: Ipv4Addr::new(10, 32, 0, 0), prefix: 12 });
    let said = |text: &str| parse_pool(text).unwrap_err().to_string();
    assert_eq!(said("10.32.0.1/12"), "10.32.0.1/12 is not an IPv4 pool: 8 to 28 prefix bits, all others zero");
    assert_eq!(said("10.32.0.0/29"), "10.32.0.0/29 is not an IPv4 pool: 8 to 28 prefix bits, all others zero");
    assert!(said("10.32.0.0").contains("\"10.32.0.0\" is not an address with a prefix length"));
    assert!(said("fd00::/64").contains("fd00::/64"));
}

#[test]
fn an_ipv6_pool_is_given_or_random() {
    assert_eq!("auto".parse(), Ok(PoolChoice6::Random));
    let base = "fd12:3456:789a::".parse().unwrap();
    assert_eq!("fd12:3456:789a::/64".parse(), Ok(PoolChoice6::Given(Pool6 { base, prefix: 64 })));
    assert!("fd12:3456:789a::/97".parse::<PoolChoice6>().is_err());
    assert!("fd12:3456:789a::1/64".parse::<PoolChoice6>().is_err());
    assert!("automatic".parse::<PoolChoice6>().is_err());
}

#[test]
fn a_block_is_a_power_of_two() {
    assert_eq!(parse_block_size("64"), Ok(64));
    assert_eq!(parse_block_size("4"), Ok(4));
    for bad in ["0", "2", "63", "131072", "-64", "x", ""] {
        assert_eq!(
            parse_block_size(bad).unwrap_err().to_string(),
            format!("{bad:?} is not a power of two from 4 to 65536")
        );
    }
}
