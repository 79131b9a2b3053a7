//! Blocks: gifts to joiners, requests, exhaustion.

use std::collections::BTreeSet;
use std::time::Duration;

use wire::Slot;

use crate::stage::{Stage, claim};
use crate::{ClaimError, Event};

#[test]
fn a_joiner_has_a_block_at_once_and_everybody_knows() {
    let mut stage = Stage::new(3, 24, 16);
    assert_eq!(stage.claim(1, claim("a", None)).unwrap().slot, Slot(2));
    assert_eq!(stage.claim(2, claim("a", None)).unwrap().slot, Slot(16));
    for host in 0..3 {
        assert_eq!(stage.owner(host, 2), stage.id(1));
        assert_eq!(stage.owner(host, 20), stage.id(2));
        assert_eq!(stage.owner(host, 200), stage.id(0));
    }
}

#[test]
fn granting_a_join_twice_gives_one_block() {
    let mut stage = Stage::new(2, 24, 16);
    let before = stage.hosts[0].ipam.table();
    let joiner = stage.id(1);
    stage.hosts[0].ipam.grant_join(joiner, None, stage.now);
    stage.settle();
    assert_eq!(stage.hosts[0].ipam.table(), before);
    let granted = stage.hosts[0].events.iter().filter(|event| matches!(event, Event::JoinGranted { .. })).count();
    assert_eq!(granted, 2);
}

#[test]
fn a_joiner_waits_for_its_own_gift_and_not_for_what_is_decided_after_it() {
    let mut stage = Stage::new(1, 24, 16);
    let joiner = crate::stage::identity(1);
    stage.hosts[0].ipam.grant_join(joiner, None, stage.now);
    let gift = stage.hosts[0].ipam.poll_store();
    assert!(gift.is_some());
    stage.begin(0, claim("a", None));
    stage.hosts[0].ipam.handle_stored(stage.now);
    let heard: Vec<_> = std::iter::from_fn(|| stage.hosts[0].ipam.poll_event()).collect();
    assert!(heard.iter().any(|event| matches!(event, Event::JoinGranted { .. })), "{heard:?}");
    assert!(!heard.iter().any(|event| matches!(event, Event::Claimed { .. })), "{heard:?}");
}

#[test]
fn a_spare_block_is_kept_ahead() {
    let mut stage = Stage::new(2, 24, 16);
    for number in 0..11 {
        stage.claim(1, claim(&number.to_string(), None)).unwrap();
    }
    // 14 slots of the first block less 11 are under a quarter of 16.
    assert_eq!(stage.hosts[1].ipam.space().owned, 32);
    stage.isolate(1);
    for number in 11..25 {
        stage.claim(1, claim(&number.to_string(), None)).unwrap();
    }
}

#[test]
fn a_claim_without_space_waits_for_a_block() {
    let mut stage = Stage::with(2, 24, 16, |config| config.low_water_percent = 0);
    let slots: BTreeSet<_> =
        (0..40).map(|number| stage.claim(1, claim(&number.to_string(), None)).unwrap().slot).collect();
    assert_eq!(slots.len(), 40);
}

#[test]
fn exhaustion_is_said_plainly_and_counts_who_could_not_be_asked() {
    let mut stage = Stage::new(3, 26, 16);
    let mut given = BTreeSet::new();
    let refused = loop {
        let container = given.len().to_string();
        match stage.claim(1, claim(&container, None)) {
            Ok(lease) => assert!(given.insert(lease.slot)),
            Err(error) => break error,
        }
    };
    let ClaimError::Exhausted { asked, unreachable, .. } = refused else { panic!("{refused}") };
    assert_eq!((asked.len(), unreachable.len()), (2, 0));
    stage.isolate(2);
    let Err(ClaimError::Exhausted { asked, unreachable, .. }) = stage.claim(1, claim("late", None)) else { panic!() };
    assert_eq!((asked.len(), unreachable.len()), (1, 1));
    let said = ClaimError::Exhausted { network: wire::NetworkId::DEFAULT, asked, unreachable }.to_string();
    assert_eq!(said, "no address is left here; asked without success: host0; no answer from: host2");
}

#[test]
fn a_peer_that_is_silent_does_not_keep_a_claim_waiting() {
    let mut stage = Stage::with(2, 24, 16, |config| config.low_water_percent = 0);
    for number in 0..14 {
        stage.claim(1, claim(&number.to_string(), None)).unwrap();
    }
    // The session still stands, but nothing arrives.
    stage.links.clear();
    let error = stage.claim(1, claim("late", None)).unwrap_err();
    assert!(
        matches!(&error, ClaimError::Exhausted { asked, unreachable, .. } if asked.is_empty() && unreachable.len() == 1),
        "{error}"
    );
}

#[test]
fn both_halves_of_a_partition_allocate_and_are_equal_after_the_heal() {
    let mut stage = Stage::new(4, 24, 16);
    for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        stage.cut(a, b);
    }
    let mut slots = BTreeSet::new();
    for host in 0..4 {
        for number in 0..14 {
            assert!(slots.insert(
                stage.claim(host, claim(&format!("{host}-{number}"), Some(&format!("{host}-{number}")))).unwrap().slot
            ));
        }
    }
    for (a, b) in [(0, 2), (0, 3), (1, 2), (1, 3)] {
        stage.link(a, b);
    }
    stage.pass(Duration::from_secs(15));
    for host in 1..4 {
        assert_eq!(stage.hosts[host].ipam.table(), stage.hosts[0].ipam.table());
        assert!(stage.hosts[host].ipam.directory().eq(stage.hosts[0].ipam.directory()));
    }
}

#[test]
fn an_idle_host_gives_its_last_block_but_not_while_any_of_it_rests() {
    let mut stage = Stage::with(2, 27, 16, |config| config.low_water_percent = 0);
    stage.claim(0, claim("short", None)).unwrap();
    for number in 0..14 {
        stage.claim(1, claim(&number.to_string(), None)).unwrap();
    }
    assert!(
        matches!(stage.claim(1, claim("late", None)), Err(ClaimError::Exhausted { asked, .. }) if asked.len() == 1)
    );
    stage.release(0, "short");
    assert!(
        matches!(stage.claim(1, claim("late", None)), Err(ClaimError::Exhausted { asked, .. }) if asked.len() == 1)
    );
    stage.pass(Duration::from_secs(121));
    assert_eq!(stage.claim(1, claim("late", None)).unwrap().slot, Slot(16));
    assert_eq!(stage.owner(0, 20), stage.id(1));
}

#[test]
fn a_block_that_a_slot_was_carved_out_of_is_not_given() {
    let mut stage = Stage::with(2, 27, 16, |config| config.low_water_percent = 0);
    stage.claim(1, crate::Claim { address: Some("10.32.0.20".parse().unwrap()), ..claim("moved", None) }).unwrap();
    for number in 0..14 {
        stage.claim(1, claim(&number.to_string(), None)).unwrap();
    }
    assert!(
        matches!(stage.claim(1, claim("late", None)), Err(ClaimError::Exhausted { asked, .. }) if asked.len() == 1)
    );
}
