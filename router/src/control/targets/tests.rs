//! What is added is stored once; what is removed is gone from the command line's part too. A look-up takes nothing away that it
//! has not found to be otherwise.

use super::*;
use crate::memory::decode_targets;

fn stored(change: &Change) -> Vec<String> {
    decode_targets(change.value.as_deref().unwrap()).unwrap()
}

fn of(names: &[&str], now: Instant) -> Targets {
    Targets::new(Vec::new(), names.iter().map(|name| name.parse().unwrap()).collect(), now)
}

fn at(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 6783))
}

/// A round in which every name means what is said, and is not known if nothing is.
fn found((round, targets): (u64, Vec<PeerAddress>), meaning: impl Fn(&str) -> Option<u8>) -> Found {
    let found = |target: PeerAddress| {
        let known = meaning(&target.host).map(|number| vec![at(number)]);
        (target, known.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound)))
    };
    Found { round, meanings: targets.into_iter().map(found).collect() }
}

#[test]
fn an_address_is_stored_once_and_only_if_an_operator_adds_it() {
    let mut targets = of(&["host1"], Instant::now());
    assert_eq!(stored(&targets.add(&["host2:6783".to_owned(), "host2:6783".to_owned()])), ["host2:6783"]);
    let all: Vec<_> = targets.all().iter().map(ToString::to_string).collect();
    assert_eq!(all, ["host2:6783", "host1:6783"]);
}

#[test]
fn a_forgotten_address_is_tried_no_more_wherever_it_came_from() {
    let now = Instant::now();
    let mut targets = of(&["host1"], now);
    targets.add(&["host2:6783".to_owned()]);
    let begun = targets.begin(now);
    targets.learn(found(begun, |host| Some(if host == "host1" { 1 } else { 2 })), now);
    let forgotten = ["host1:6783".to_owned(), "host2:6783".to_owned()];
    assert!(stored(&targets.remove(&forgotten)).is_empty());
    assert!(targets.all().is_empty());
    let begun = targets.begin(now);
    let told = targets.learn(found(begun, |_| None), now);
    assert_eq!(told, News { forgotten: vec![at(1), at(2)], named: Vec::new() });
}

#[test]
fn a_name_that_cannot_be_looked_up_means_what_it_meant_and_is_asked_again_soon() {
    let now = Instant::now();
    let mut targets = of(&["host1", "host2"], now);
    let begun = targets.begin(now);
    assert_eq!(targets.poll_timeout(), None);
    let told = targets.learn(found(begun, |host| (host == "host1").then_some(1)), now);
    assert_eq!((told.named, targets.poll_timeout()), (vec![at(1)], Some(now + AGAIN)));
    // Only the one that is not known, and only that one is tried anew.
    let (now, all) = (now + AGAIN, now + RESOLVE);
    let begun = targets.begin(now);
    let told = targets.learn(found(begun, |host| (host == "host2").then_some(2)), now);
    assert_eq!(told, News { forgotten: Vec::new(), named: vec![at(2)] });
    assert_eq!(targets.poll_timeout(), Some(all));
    // The name server is gone, and comes back with another answer.
    let begun = targets.begin(all);
    assert_eq!(targets.learn(found(begun, |_| None), all), News::default());
    assert_eq!(targets.named, BTreeSet::from([at(1), at(2)]));
    let begun = targets.begin(all + AGAIN);
    let told = targets.learn(found(begun, |host| Some(if host == "host1" { 1 } else { 3 })), all + AGAIN);
    assert_eq!(told, News { forgotten: vec![at(2)], named: vec![at(1), at(3)] });
}

#[test]
fn an_older_round_that_ends_late_says_nothing() {
    let now = Instant::now();
    let mut targets = of(&["host1"], now);
    let older = targets.begin(now);
    targets.add(&["host2:6783".to_owned()]);
    let newer = targets.begin(now);
    assert_eq!(newer.1.len(), 2);
    let told = targets.learn(found(newer, |host| Some(if host == "host1" { 1 } else { 2 })), now);
    assert_eq!(told.named, [at(1), at(2)]);
    assert_eq!(targets.learn(found(older, |_| Some(9)), now), News::default());
    assert_eq!(targets.named, BTreeSet::from([at(1), at(2)]));
}

#[test]
fn more_addresses_than_are_tried_at_a_time_take_turns() {
    let mut now = Instant::now();
    let names: Vec<String> = (1..=40).map(|number| format!("host{number}")).collect();
    let mut targets = of(&names.iter().map(String::as_str).collect::<Vec<_>>(), now);
    let mut tried = BTreeSet::new();
    for _ in 0..3 {
        let before = targets.named.clone();
        let begun = targets.begin(now);
        let told = targets.learn(found(begun, |host| host.strip_prefix("host")?.parse().ok()), now);
        assert_eq!(targets.named.len(), mesh::ADDRESSES_MOST);
        assert_eq!(before.difference(&targets.named).copied().collect::<Vec<_>>(), told.forgotten);
        tried.extend(told.named);
        now += RESOLVE;
    }
    assert_eq!(tried.len(), 40);
}
