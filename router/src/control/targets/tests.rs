//! What is added is stored once; what is removed is gone from the command line's part too.

use super::*;
use crate::memory::decode_targets;

fn stored(change: &Change) -> Vec<String> {
    decode_targets(change.value.as_deref().unwrap()).unwrap()
}

#[test]
fn an_address_is_stored_once_and_only_if_an_operator_adds_it() {
    let mut targets = Targets::new(Vec::new(), vec!["host1".parse().unwrap()]);
    assert_eq!(stored(&targets.add(&["host2:6783".to_owned(), "host2:6783".to_owned()])), ["host2:6783"]);
    let all: Vec<_> = targets.all().iter().map(ToString::to_string).collect();
    assert_eq!(all, ["host2:6783", "host1:6783"]);
}

#[test]
fn a_forgotten_address_is_tried_no_more_wherever_it_came_from() {
    let mut targets = Targets::new(vec!["host2:6783".to_owned()], vec!["host1".parse().unwrap()]);
    let forgotten = ["host1:6783".to_owned(), "host2:6783".to_owned()];
    assert!(stored(&targets.remove(&forgotten)).is_empty());
    assert!(targets.all().is_empty());
}
