//! Every slot of every pool has one address of each kind, and they lead back to it.

use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

fn network() -> impl Strategy<Value = Network> {
    (0..=NetworkId::MAX.0, any::<u32>(), 8u8..=28, any::<u128>(), 8u8..=96).prop_map(
        |(id, base, prefix, base6, prefix6)| {
            let pool = Pool { base: Ipv4Addr::from_bits(base & (u32::MAX << (32 - prefix))), prefix };
            let base6 = Ipv6Addr::from_bits(base6 & (u128::MAX << (128 - prefix6)));
            Network {
                id: NetworkId(id),
                name: "n".to_owned(),
                pool,
                pool6: Some(Pool6 { base: base6, prefix: prefix6 }),
            }
        },
    )
}

proptest! {
    #[test]
    fn every_slot_has_its_own_addresses(network in network(), seed in any::<u32>()) {
        network.validate().unwrap();
        let slot = Slot(seed % network.slots());
        prop_assert_eq!(network.slot_of(network.address(slot)), Some(slot));
        prop_assert_eq!(network.slot_of6(network.address6(slot).unwrap()), Some(slot));
        prop_assert_eq!(network.slot_of_mac(network.mac(slot)), Some(slot));
        prop_assert!(!network.mac(slot).is_multicast());
    }

    #[test]
    fn networks_never_share_a_mac(a in network(), b in network(), seed in any::<u32>()) {
        prop_assume!(a.id != b.id);
        prop_assert_eq!(b.slot_of_mac(a.mac(Slot(seed % a.slots()))), None);
    }
}

#[test]
fn the_ends_of_a_pool_and_the_gateway_are_never_given_out() {
    let pool = Pool { base: Ipv4Addr::new(10, 32, 0, 0), prefix: 12 };
    let network = Network { id: NetworkId::DEFAULT, name: "raddle".to_owned(), pool, pool6: None };
    assert_eq!(network.slots(), 1 << 20);
    assert!(!network.is_assignable(Slot(0)) && !network.is_assignable(Slot::GATEWAY));
    assert!(network.is_assignable(Slot(2)) && network.is_assignable(Slot((1 << 20) - 2)));
    assert!(!network.is_assignable(Slot((1 << 20) - 1)));
    assert_eq!(network.address(Slot::GATEWAY), Ipv4Addr::new(10, 32, 0, 1));
    assert_eq!(network.mac(Slot(5)).to_string(), "02:00:00:00:00:05");
}

#[test]
fn host_bits_and_odd_sizes_are_refused() {
    let network = |base: [u8; 4], prefix| Network {
        id: NetworkId::DEFAULT,
        name: "raddle".to_owned(),
        pool: Pool { base: base.into(), prefix },
        pool6: None,
    };
    assert!(network([10, 32, 0, 1], 12).validate().is_err());
    assert!(network([10, 0, 0, 0], 7).validate().is_err());
    assert!(network([10, 0, 0, 0], 29).validate().is_err());
    assert!(network([10, 0, 0, 16], 28).validate().is_ok());
}
