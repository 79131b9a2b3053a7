//! What one host does by itself.

use std::time::Duration;

use wire::{NetworkId, Slot};

use crate::stage::{Stage, attachment, claim};
use crate::{ClaimError, Hold, LeaseState};

#[test]
fn the_first_address_is_behind_the_gateway() {
    let mut stage = Stage::new(1, 24, 16);
    let lease = stage.claim(0, claim("a", None)).unwrap();
    assert_eq!(lease.slot, Slot(2));
    assert_eq!(lease.state, LeaseState::Active);
    assert_eq!(stage.claim(0, claim("b", None)).unwrap().slot, Slot(3));
}

#[test]
fn nothing_is_answered_before_it_is_durable() {
    let mut stage = Stage::new(1, 24, 16);
    let request = stage.begin(0, claim("a", None));
    assert_eq!(stage.hosts[0].ipam.poll_event(), None);
    let batch = stage.hosts[0].ipam.poll_store().unwrap();
    assert_eq!(stage.hosts[0].ipam.poll_event(), None);
    crate::stage::apply(&mut stage.hosts[0].disk, &batch);
    stage.hosts[0].ipam.handle_stored(stage.now);
    stage.settle();
    assert!(stage.answer(0, request).unwrap().is_ok());
}

#[test]
fn a_second_add_is_a_duplicate_that_carries_the_lease() {
    let mut stage = Stage::new(1, 24, 16);
    let lease = stage.claim(0, claim("a", None)).unwrap();
    let address = "10.32.0.2".parse().unwrap();
    assert_eq!(stage.claim(0, claim("a", None)), Err(ClaimError::Duplicate { lease: Box::new(lease), address }));
}

#[test]
fn a_claim_repeated_before_its_answer_gets_the_same_lease() {
    let mut stage = Stage::new(1, 24, 16);
    let first = stage.begin(0, claim("a", None));
    let second = stage.begin(0, claim("a", None));
    stage.settle();
    assert!(stage.answer(0, first).unwrap().is_ok());
    assert_eq!(stage.answer(0, first), stage.answer(0, second));
}

#[test]
fn a_claim_whose_answer_a_crash_swallowed_gets_the_same_lease() {
    let mut stage = Stage::new(1, 24, 16);
    stage.begin(0, claim("a", None));
    let batch = stage.hosts[0].ipam.poll_store().unwrap();
    crate::stage::apply(&mut stage.hosts[0].disk, &batch);
    stage.restart(0);
    assert_eq!(stage.claim(0, claim("a", None)).unwrap().slot, Slot(2));
    stage.pass(Duration::from_secs(60));
    assert!(matches!(stage.claim(0, claim("a", None)), Err(ClaimError::Duplicate { .. })));
}

#[test]
fn a_freed_slot_rests_and_goes_to_the_back_of_the_queue() {
    let mut stage = Stage::new(1, 28, 16);
    for number in 0..13 {
        stage.claim(0, claim(&number.to_string(), None)).unwrap();
    }
    assert!(
        matches!(stage.claim(0, claim("late", None)), Err(ClaimError::Exhausted { shares, .. }) if shares.len() == 1)
    );
    assert!(stage.release(0, "5"));
    assert!(stage.release(0, "1"));
    stage.pass(Duration::from_secs(119));
    assert!(matches!(stage.claim(0, claim("late", None)), Err(ClaimError::NoneYet { resting: 2, .. })));
    stage.pass(Duration::from_secs(2));
    assert_eq!(stage.claim(0, claim("x", None)).unwrap().slot, Slot(7));
    assert_eq!(stage.claim(0, claim("y", None)).unwrap().slot, Slot(3));
}

#[test]
fn a_restart_begins_the_rest_anew_and_keeps_the_order() {
    let mut stage = Stage::new(1, 28, 16);
    for number in 0..13 {
        stage.claim(0, claim(&number.to_string(), None)).unwrap();
    }
    stage.release(0, "5");
    stage.release(0, "1");
    stage.pass(Duration::from_secs(100));
    stage.restart(0);
    stage.pass(Duration::from_secs(119));
    assert!(matches!(stage.claim(0, claim("late", None)), Err(ClaimError::NoneYet { .. })));
    stage.pass(Duration::from_secs(2));
    assert_eq!(stage.claim(0, claim("x", None)).unwrap().slot, Slot(7));
    assert_eq!(stage.claim(0, claim("y", None)).unwrap().slot, Slot(3));
}

#[test]
fn a_sticky_workload_finds_its_address_held() {
    let mut stage = Stage::new(1, 24, 16);
    stage.claim(0, claim("a", None)).unwrap();
    let before = stage.claim(0, claim("c1", Some("web"))).unwrap();
    assert!(stage.release(0, "c1"));
    assert!(!stage.release(0, "c1"));
    stage.restart(0);
    stage.pass(Duration::from_secs(500));
    let after = stage.claim(0, claim("c2", Some("web"))).unwrap();
    assert_eq!((after.slot, after.attachment), (before.slot, attachment("c2")));
    // The old container's late DEL frees nothing.
    assert!(!stage.release(0, "c1"));
    assert!(stage.hosts[0].ipam.lease_of(&attachment("c2")).is_some());
}

#[test]
fn a_hold_ends() {
    let mut stage = Stage::new(1, 24, 16);
    stage.claim(0, claim("c1", Some("web"))).unwrap();
    stage.release(0, "c1");
    stage.pass(Duration::from_secs(601));
    assert_eq!(stage.hosts[0].ipam.leases().count(), 0);
    assert_eq!(stage.claim(0, claim("c2", Some("web"))).unwrap().slot, Slot(3));
}

#[test]
fn a_hold_of_zero_is_none_and_one_for_ever_does_not_end() {
    let mut stage = Stage::new(1, 24, 16);
    stage.claim(0, crate::Claim { hold: Some(Hold::For(Duration::ZERO)), ..claim("c1", Some("web")) }).unwrap();
    stage.claim(0, crate::Claim { hold: Some(Hold::Forever), ..claim("c2", Some("db")) }).unwrap();
    stage.release(0, "c1");
    stage.release(0, "c2");
    stage.pass(Duration::from_secs(100_000));
    let held: Vec<_> = stage.hosts[0].ipam.leases().map(|lease| lease.workload.clone()).collect();
    assert_eq!(held, ["db"]);
    let request = stage.request();
    stage.hosts[0].ipam.release_workload(request, NetworkId::DEFAULT, "db", stage.now);
    stage.settle();
    assert_eq!(stage.hosts[0].ipam.leases().count(), 0);
}

#[test]
fn a_workload_that_still_runs_names_its_container() {
    let mut stage = Stage::new(1, 24, 16);
    stage.claim(0, claim("c1", Some("web"))).unwrap();
    let Err(ClaimError::HeldElsewhere { container_id, .. }) = stage.claim(0, claim("c2", Some("web"))) else {
        panic!()
    };
    assert_eq!(container_id, "c1");
}

#[test]
fn an_explicit_address_is_checked_before_it_is_given() {
    let mut stage = Stage::new(1, 24, 16);
    let wants = |address: &str, container: &str| crate::Claim {
        address: Some(address.parse().unwrap()),
        ..claim(container, None)
    };
    assert!(matches!(stage.claim(0, wants("10.33.0.9", "a")), Err(ClaimError::OutsidePool { .. })));
    for reserved in ["10.32.0.0", "10.32.0.1", "10.32.0.255"] {
        assert!(matches!(stage.claim(0, wants(reserved, "a")), Err(ClaimError::Reserved { .. })));
    }
    assert_eq!(stage.claim(0, wants("10.32.0.200", "a")).unwrap().slot, Slot(200));
    let Err(ClaimError::Taken { container_id, .. }) =
        stage.claim(0, crate::Claim { workload: Some("b".to_owned()), ..wants("10.32.0.200", "b") })
    else {
        panic!()
    };
    assert_eq!(container_id, "a");
}

#[test]
fn bad_texts_and_networks_are_refused() {
    let mut stage = Stage::new(1, 24, 16);
    assert!(matches!(stage.claim(0, claim("", None)), Err(ClaimError::Text { .. })));
    assert!(matches!(stage.claim(0, claim("a", Some(&"x".repeat(400)))), Err(ClaimError::Text { .. })));
    let mut elsewhere = claim("a", None);
    elsewhere.attachment.network = NetworkId(7);
    assert!(matches!(stage.claim(0, elsewhere), Err(ClaimError::UnknownNetwork { .. })));
}

#[test]
fn two_interfaces_of_one_workload_have_two_addresses() {
    let mut stage = Stage::new(1, 24, 16);
    let first = stage.claim(0, claim("c1", Some("web"))).unwrap();
    let mut second = claim("c1", Some("web"));
    second.attachment.ifname = "eth1".to_owned();
    let second = stage.claim(0, second).unwrap();
    assert_ne!(first.slot, second.slot);
}
