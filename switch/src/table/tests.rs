use proptest::prelude::*;
use wire::Pool;

use super::*;

const SLOTS: u32 = 256;

fn network(id: u32) -> Network {
    let pool = Pool { base: Ipv4Addr::new(10, 32, 0, 0), prefix: 24 };
    Network { id: NetworkId(id), name: "test".to_owned(), pool, pool6: None }
}

fn range(network: u32, start: u32, length: u32) -> Range {
    Range { network: NetworkId(network), start: Slot(start), length }
}

fn owners(table: &Table) -> Vec<Owner> {
    (0..SLOTS).map(|slot| table.owner(NetworkId(0), Slot(slot))).collect()
}

fn peer(index: u32) -> Owner {
    Owner::Peer(PeerIndex(index))
}

/// The rule said plainly: the smallest range that has the slot; of equal ones the last.
fn smallest(ranges: &[(Range, Owner)], slot: Slot) -> Owner {
    let having = ranges.iter().filter(|(range, _)| range.contains(slot));
    having.rev().min_by_key(|(range, _)| range.length).map_or(Owner::Nobody, |&(_, owner)| owner)
}

fn any_owner() -> impl Strategy<Value = Owner> {
    prop_oneof![Just(Owner::Here), (0..3_u32).prop_map(peer)]
}

/// Aligned powers of two are disjoint or nested, as the ledger's ranges are.
fn any_range() -> impl Strategy<Value = (Range, Owner)> {
    (0..=8_u32, 0..SLOTS, any_owner()).prop_map(|(power, at, owner)| {
        let length = 1 << power;
        (range(0, at / length * length, length), owner)
    })
}

proptest! {
    #[test]
    fn the_smallest_range_has_the_slot(ranges in proptest::collection::vec(any_range(), 0..40)) {
        let table = Table::new(vec![network(0)], &ranges, Vec::new(), &[]);
        let expected: Vec<_> = (0..SLOTS).map(|slot| smallest(&ranges, Slot(slot))).collect();
        prop_assert_eq!(owners(&table), expected);
    }

    #[test]
    fn ranges_of_any_kind_make_a_table(
        ranges in proptest::collection::vec((any::<u32>(), any::<u32>(), any_owner()), 0..40), slot in any::<u32>(),
    ) {
        let ranges: Vec<_> = ranges.into_iter().map(|(start, length, owner)| (range(0, start, length), owner)).collect();
        let table = Table::new(vec![network(0)], &ranges, Vec::new(), &[]);
        let claimed = ranges.iter().any(|(range, _)| range.contains(Slot(slot)));
        prop_assert!(claimed || table.owner(NetworkId(0), Slot(slot)) == Owner::Nobody);
    }
}

#[test]
fn a_carved_slot_leaves_its_block_around_it() {
    let ranges = [(range(0, 64, 64), Owner::Here), (range(0, 70, 1), peer(4))];
    let table = Table::new(vec![network(0)], &ranges, Vec::new(), &[]);
    let of = |slot| table.owner(NetworkId(0), Slot(slot));
    assert_eq!(
        [63, 64, 69, 70, 71, 127, 128].map(of),
        [Owner::Nobody, Owner::Here, Owner::Here, peer(4), Owner::Here, Owner::Here, Owner::Nobody]
    );
}

#[test]
fn blocks_of_one_owner_become_one_run() {
    let ranges: Vec<_> = (0..4).map(|block| (range(0, block * 64, 64), Owner::Here)).collect();
    let table = NetworkTable::new(network(0), &ranges);
    assert_eq!(table.starts, [Slot(0), Slot(256)]);
}

#[test]
fn networks_do_not_see_one_another() {
    let ranges = [(range(0, 2, 1), Owner::Here), (range(7, 3, 1), peer(1))];
    let table = Table::new(vec![network(7), network(0)], &ranges, Vec::new(), &[]);
    let of = |network, slot| table.owner(NetworkId(network), Slot(slot));
    assert_eq!([of(0, 2), of(0, 3), of(7, 2), of(7, 3)], [Owner::Here, Owner::Nobody, Owner::Nobody, peer(1)]);
    assert_eq!(of(8, 2), Owner::Nobody);
    assert_eq!(table.networks().map(|network| network.id.0).collect::<Vec<_>>(), [0, 7]);
}
