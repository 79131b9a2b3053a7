use wire::NetworkId;

use super::*;

fn moved(epoch: u64) -> Moved {
    let key = LeaseKey { network: NetworkId::DEFAULT, workload: "web".to_owned(), ifname: "eth0".to_owned() };
    let (from, to) = (Identity([1; 32]), Identity([2; 32]));
    Moved { at: Duration::from_secs(epoch), key, slot: Slot(5), epoch: Epoch(epoch), from, to, why: Why::Followed }
}

#[test]
fn the_oldest_makes_room_and_numbers_go_on_after_a_restart() {
    let mut history = History::default();
    let most = u64::try_from(MOVES_KEPT).unwrap();
    for number in 0..most {
        assert_eq!(history.add(moved(number)), (number, None));
    }
    assert_eq!(history.add(moved(most)), (most, Some(0)));
    let mut stored: Vec<_> = (1..).zip(history.iter().cloned()).collect();
    stored.reverse();
    let mut again = History::new(stored);
    assert!(again.iter().eq(history.iter()));
    assert_eq!(again.add(moved(most + 1)), (most + 1, Some(1)));
}
