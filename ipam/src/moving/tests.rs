//! When an address is frozen.

use super::*;
use crate::stage::{epoch, identity};

#[test]
fn the_sixth_move_in_three_minutes_freezes_and_calm_thaws() {
    let (mut moves, now) = (Moves::default(), epoch());
    let at = |seconds| now + Duration::from_secs(seconds);
    let paces: Vec<_> =
        (0..7).map(|turn| moves.note(NetworkId(0), Slot(5), [identity(0), identity(1)], at(turn))).collect();
    assert_eq!(paces.iter().position(|pace| *pace == Pace::Froze), Some(MOVES_MAX));
    assert_eq!(paces.iter().filter(|pace| **pace == Pace::Froze).count(), 1);
    assert!(moves.is_frozen(NetworkId(0), Slot(5), at(100)));
    assert_eq!(moves.hosts(NetworkId(0), Slot(5)), BTreeSet::from([identity(0), identity(1)]));
    assert!(!moves.is_frozen(NetworkId(0), Slot(6), at(100)));
    assert!(!moves.is_frozen(NetworkId(0), Slot(5), at(182)));
    moves.forget_calm(at(500));
    assert!(moves.recent.is_empty());
}
