//! A workload that is deleted on one host and comes back on another keeps its address.

use std::time::Duration;

use wire::NetworkId;

use crate::stage::{Stage, attachment, claim};
use crate::{Alarm, ClaimError, Event, Hold, LeaseState};

#[test]
fn a_workload_takes_its_address_along() {
    let mut stage = Stage::new(3, 24, 16);
    let before = stage.claim(0, claim("c1", Some("web"))).unwrap();
    stage.release(0, "c1");
    let after = stage.claim(1, claim("c2", Some("web"))).unwrap();
    assert_eq!(after.slot, before.slot);
    assert!(after.epoch > before.epoch);
    for host in 0..3 {
        assert_eq!(stage.owner(host, before.slot.0), stage.id(1));
        assert_eq!(stage.hosts[host].ipam.directory().map(|line| line.author).collect::<Vec<_>>(), [stage.id(1)]);
        assert!(stage.hosts[host].events.contains(&Event::TableChanged));
    }
    assert_eq!(stage.hosts[0].ipam.leases().count(), 0);
    assert!(!stage.release(0, "c1"));
    assert!(stage.hosts[1].ipam.lease_of(&attachment("c2")).is_some());
}

#[test]
fn while_it_runs_the_holder_is_named() {
    let mut stage = Stage::new(2, 24, 16);
    stage.claim(0, claim("c1", Some("web"))).unwrap();
    let error = stage.claim(1, claim("c2", Some("web"))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "workload \"web\" still runs in container c1 on host0; try again when it has stopped"
    );
    stage.release(0, "c1");
    assert!(stage.claim(1, claim("c2", Some("web"))).is_ok());
}

#[test]
fn it_moves_on_and_back_again() {
    let mut stage = Stage::new(3, 24, 16);
    let slot = stage.claim(0, claim("0", Some("web"))).unwrap().slot;
    for (turn, host) in [1, 2, 0].into_iter().enumerate() {
        let (old, new) = (turn.to_string(), (turn + 1).to_string());
        let from = [0, 1, 2][turn];
        stage.release(from, &old);
        assert_eq!(stage.claim(host, claim(&new, Some("web"))).unwrap().slot, slot);
    }
    assert_eq!(stage.owner(2, slot.0), stage.id(0));
}

#[test]
fn a_holder_that_cannot_be_reached_is_named_with_the_command() {
    let mut stage = Stage::new(3, 24, 16);
    stage.claim(0, claim("c1", Some("web"))).unwrap();
    stage.release(0, "c1");
    stage.isolate(0);
    let error = stage.claim(1, claim("c2", Some("web"))).unwrap_err();
    assert!(error.to_string().ends_with("run: raddle revoke host0"), "{error}");
}

#[test]
fn a_holder_that_does_not_answer_is_named_while_the_plugin_still_waits() {
    let mut stage = Stage::new(2, 24, 16);
    stage.claim(0, claim("c1", Some("web"))).unwrap();
    stage.release(0, "c1");
    stage.links.clear();
    let request = stage.begin(1, claim("c2", Some("web")));
    stage.pass(crate::ANSWER - Duration::from_millis(100));
    assert_eq!(stage.answer(1, request), None);
    stage.pass(Duration::from_millis(200));
    assert!(matches!(stage.answer(1, request), Some(Err(ClaimError::HolderUnreachable { .. }))));
}

#[test]
fn a_free_address_of_another_host_is_carved_out_on_request() {
    let mut stage = Stage::new(3, 24, 16);
    let wants = |address: &str, container: &str| crate::Claim {
        address: Some(address.parse().unwrap()),
        ..claim(container, None)
    };
    // Of host 2's block, and of the pool that nobody has a block of yet.
    assert!(stage.claim(1, wants("10.32.0.20", "a")).is_ok());
    assert!(stage.claim(1, wants("10.32.0.200", "b")).is_ok());
    let taken =
        stage.claim(2, crate::Claim { workload: Some("w".to_owned()), ..wants("10.32.0.20", "c") }).unwrap_err();
    assert_eq!(taken.to_string(), "10.32.0.20 is taken by \"10.32.0.20\" (container a) on host1");
    stage.claim(0, claim("mine", None)).unwrap();
}

#[test]
fn a_slot_that_moved_stays_with_its_new_owner_when_its_lease_ends() {
    let mut stage = Stage::new(2, 24, 16);
    let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
    stage.release(0, "c1");
    stage.claim(1, claim("c2", Some("web"))).unwrap();
    stage.release(1, "c2");
    stage.pass(Duration::from_secs(601));
    stage.pass(Duration::from_secs(121));
    assert_eq!(stage.owner(0, slot.0), stage.id(1));
    let slots: Vec<_> = (0..15).map(|number| stage.claim(1, claim(&number.to_string(), None)).unwrap().slot).collect();
    assert!(slots.contains(&slot));
}

#[test]
fn an_address_that_two_hosts_fight_for_is_frozen() {
    let mut stage = Stage::new(2, 24, 16);
    let slot = stage.claim(0, claim("0", Some("web"))).unwrap().slot;
    let mut host = 0;
    for turn in 1..=6 {
        stage.release(host, &(turn - 1).to_string());
        host = 1 - host;
        stage.claim(host, claim(&turn.to_string(), Some("web"))).unwrap();
    }
    stage.release(host, "6");
    assert!(matches!(stage.claim(1 - host, claim("7", Some("web"))), Err(ClaimError::Frozen { .. })));
    assert!(stage.hosts[0].ipam.is_frozen(NetworkId::DEFAULT, slot, stage.now));
    // Both of them say between whom.
    for host in &stage.hosts {
        let told = |event: &Event| {
            if let Event::Alarm(alarm @ Alarm::Flapping { .. }) = event { Some(alarm.to_string()) } else { None }
        };
        let alarms = host.events.iter().filter_map(told);
        let [alarm] = &alarms.collect::<Vec<_>>()[..] else { panic!("one alarm") };
        for word in ["10.32.0.", "\"web\"", "host0", "host1"] {
            assert!(alarm.contains(word), "{alarm}");
        }
    }
    stage.pass(Duration::from_secs(181));
    assert!(stage.claim(1 - host, claim("7", Some("web"))).is_ok());
}

#[test]
fn a_commit_that_comes_after_the_claim_gave_up_is_held() {
    let mut stage = Stage::new(2, 24, 16);
    let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
    stage.release(0, "c1");
    let request = stage.begin(1, claim("c2", Some("web")));
    // Prepare, offer and ready arrive; the commit is under way when the container is deleted.
    hand(&mut stage, 1, 0);
    hand(&mut stage, 0, 1);
    hand(&mut stage, 1, 0);
    stage.release(1, "c2");
    assert_eq!(stage.answer(1, request), Some(Err(ClaimError::Withdrawn)));
    stage.settle();
    assert_eq!(stage.owner(1, slot.0), stage.id(1));
    let held: Vec<_> = stage.hosts[1]
        .ipam
        .leases()
        .map(|lease| (lease.slot, matches!(lease.state, LeaseState::Held { .. })))
        .collect();
    assert_eq!(held, [(slot, true)]);
    assert_eq!(stage.claim(1, claim("c3", Some("web"))).unwrap().slot, slot);
}

/// Writes and hands over one round of what a host has to say, and returns it.
fn hand(stage: &mut Stage, from: usize, to: usize) -> Vec<Vec<u8>> {
    while let Some(batch) = stage.hosts[from].ipam.poll_store() {
        crate::stage::apply(&mut stage.hosts[from].disk, &batch);
        stage.hosts[from].ipam.handle_stored(stage.now);
    }
    let passed: Vec<_> =
        std::iter::from_fn(|| stage.hosts[from].ipam.poll_transmit()).map(|(_, bytes)| bytes).collect();
    let sender = stage.id(from);
    for bytes in &passed {
        stage.hosts[to].ipam.handle_message(sender, bytes, stage.now);
    }
    passed
}

#[test]
fn a_workload_that_comes_back_after_the_offer_stays() {
    let mut stage = Stage::new(2, 24, 16);
    let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
    stage.release(0, "c1");
    let request = stage.begin(1, claim("c2", Some("web")));
    hand(&mut stage, 1, 0);
    hand(&mut stage, 0, 1);
    stage.claim(0, claim("c3", Some("web"))).unwrap();
    assert_eq!(stage.owner(1, slot.0), stage.id(0));
    let Some(Err(ClaimError::HeldElsewhere { container_id, .. })) = stage.answer(1, request) else { panic!() };
    assert_eq!(container_id, "c3");
}

#[test]
fn an_offer_for_a_claim_that_was_given_up_is_turned_down() {
    for lost in [false, true] {
        let mut stage = Stage::new(2, 24, 16);
        let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
        stage.release(0, "c1");
        let request = stage.begin(1, claim("c2", Some("web")));
        hand(&mut stage, 1, 0);
        // The offer is under way when the container is deleted; what is said of that arrives first, or never.
        let (deleted, now) = (stage.request(), stage.now);
        stage.hosts[1].ipam.release(deleted, &attachment("c2"), now);
        if lost {
            while stage.hosts[1].ipam.poll_transmit().is_some() {}
            assert_eq!(stage.hosts[0].ipam.waiting.offers.len(), 1);
        } else {
            hand(&mut stage, 1, 0);
            assert!(stage.hosts[0].ipam.waiting.offers.is_empty());
        }
        hand(&mut stage, 0, 1);
        hand(&mut stage, 1, 0);
        assert!(stage.hosts[0].ipam.waiting.offers.is_empty());
        stage.settle();
        assert_eq!(stage.answer(1, request), Some(Err(ClaimError::Withdrawn)));
        assert_eq!([stage.owner(0, slot.0), stage.owner(1, slot.0)], [stage.id(0); 2]);
        assert!(stage.hosts[1].ipam.leases().next().is_none());
        assert_eq!(stage.claim(0, claim("c3", Some("web"))).unwrap().slot, slot);
    }
}

#[test]
fn the_messages_of_an_old_move_move_nothing_again() {
    let mut stage = Stage::new(2, 24, 16);
    let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
    stage.release(0, "c1");
    stage.begin(1, claim("c2", Some("web")));
    let mut taker = hand(&mut stage, 1, 0);
    hand(&mut stage, 0, 1);
    taker.extend(hand(&mut stage, 1, 0));
    stage.settle();
    stage.release(1, "c2");
    assert_eq!(stage.claim(0, claim("c3", Some("web"))).unwrap().slot, slot);
    stage.release(0, "c3");
    let sender = stage.id(1);
    for bytes in taker.iter().chain(&taker) {
        stage.hosts[0].ipam.handle_message(sender, bytes, stage.now);
    }
    stage.settle();
    assert_eq!(stage.owner(1, slot.0), stage.id(0));
}

#[test]
fn nobody_hears_of_a_move_or_a_gift_that_is_not_durable() {
    let mut stage = Stage::with(2, 24, 16, |config| config.low_water_percent = 0);
    let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
    stage.release(0, "c1");
    let request = stage.begin(1, claim("c2", Some("web")));
    hand(&mut stage, 1, 0);
    hand(&mut stage, 0, 1);
    hand(&mut stage, 1, 0);
    // The commit is decided, and the power goes before it is written.
    assert_eq!(stage.hosts[0].ipam.poll_transmit(), None);
    assert!(stage.hosts[0].ipam.poll_store().is_some());
    assert_eq!(stage.hosts[0].ipam.poll_transmit(), None);
    stage.cut(0, 1);
    stage.restart(0);
    stage.settle();
    assert_eq!((stage.owner(0, slot.0), stage.owner(1, slot.0)), (stage.id(0), stage.id(0)));
    // Asked again, it decides again.
    stage.link(0, 1);
    stage.settle();
    assert_eq!(stage.answer(1, request).and_then(Result::ok).map(|lease| lease.slot), Some(slot));
    assert_eq!((stage.owner(0, slot.0), stage.owner(1, slot.0)), (stage.id(1), stage.id(1)));

    let joiner = crate::stage::identity(7);
    stage.hosts[0].ipam.grant_join(joiner, None, stage.now);
    assert_eq!(stage.hosts[0].ipam.poll_transmit(), None);
    assert_eq!(stage.hosts[0].ipam.poll_event(), None);
}

/// A slot's record reaches the taker before the commit does, and sometimes alone.
#[test]
fn how_long_it_is_held_moves_too() {
    for commit in [true, false] {
        let mut stage = Stage::new(3, 24, 16);
        let hold = Hold::For(Duration::from_secs(5000));
        let slot = stage.claim(0, crate::Claim { hold: Some(hold), ..claim("c1", Some("web")) }).unwrap().slot;
        stage.release(0, "c1");
        let request = stage.begin(1, claim("c2", Some("web")));
        hand(&mut stage, 1, 0);
        hand(&mut stage, 0, 1);
        hand(&mut stage, 1, 0);
        if !commit {
            stage.cut(0, 1);
        }
        stage.settle();
        // What was lost comes by way of the third.
        stage.pass(Duration::from_secs(15));
        let lease = match stage.answer(1, request) {
            Some(Ok(lease)) => lease,
            _ => stage.claim(1, claim("c2", Some("web"))).unwrap(),
        };
        assert_eq!((lease.slot, lease.hold), (slot, hold));
    }
}

/// The taker was killed between its readiness and the record: it had heard of nobody's wish when the slot came.
#[test]
fn a_slot_that_comes_to_a_taker_that_was_restarted_waits_for_its_workload() {
    let mut stage = Stage::new(3, 24, 16);
    let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
    stage.release(0, "c1");
    stage.begin(1, claim("c2", Some("web")));
    hand(&mut stage, 1, 0);
    hand(&mut stage, 0, 1);
    hand(&mut stage, 1, 0);
    stage.isolate(1);
    stage.settle();
    stage.restart(1);
    [0, 2].into_iter().for_each(|other| stage.link(1, other));
    stage.settle();
    assert_eq!(stage.owner(1, slot.0), stage.id(1));
    // It may even start on a host that had no part in the move.
    assert_eq!(stage.claim(2, claim("c3", Some("web"))).unwrap().slot, slot);
}

/// A year of moves to and fro leaves the block as it was: one range, that can be given whole.
#[test]
fn what_comes_home_merges_into_its_block() {
    let mut stage = Stage::new(3, 24, 16);
    let ranges = stage.hosts[0].ipam.table().len();
    for round in 0..6 {
        for host in [1, 2, 1] {
            let container = format!("c{round}-{host}");
            let lease = stage.claim(host, claim(&container, Some("web"))).unwrap();
            assert!(lease.slot.0 < 16, "{lease:?}");
            stage.release(host, &container);
        }
        stage.pass(Duration::from_secs(200));
        for host in 0..3 {
            assert_eq!(stage.hosts[host].ipam.table().len(), ranges, "round {round}, host {host}");
            assert_eq!(stage.hosts[host].ipam.directory().count(), 1, "round {round}, host {host}");
        }
        if round == 3 {
            (0..3).for_each(|host| stage.restart(host));
        }
    }
    assert_eq!(stage.hosts[1].ipam.table(), stage.hosts[2].ipam.table());
}

/// It answers, so nobody is told to revoke it.
#[test]
fn a_holder_that_can_give_nothing_is_not_said_to_be_silent() {
    let mut stage = Stage::new(2, 24, 16);
    stage.claim(0, claim("c1", Some("web"))).unwrap();
    stage.release(0, "c1");
    stage.hosts[0].ipam.handle_store_failed(stage.now);
    let error = stage.claim(1, claim("c2", Some("web"))).unwrap_err();
    assert!(matches!(error, ClaimError::HolderUnable { .. }), "{error}");
}

/// The record of a move that this host has forgotten to have asked for, and nothing else.
fn comes_alone(stage: &mut Stage, from: usize, to: usize, slot: wire::Slot) {
    let range = wire::Range { network: NetworkId::DEFAULT, start: slot, length: 1 };
    let (giver, taker, now) = (stage.id(from), stage.id(to), stage.now);
    let given = stage.hosts[from].ipam.give(range, taker, now).unwrap();
    stage.hosts[to].ipam.handle_message(giver, &wire::message::Message::Records(vec![given]).emit(), now);
    stage.settle();
}

#[test]
fn an_address_of_which_nobody_knows_who_had_it_last_rests() {
    let mut stage = Stage::new(3, 24, 16);
    stage.claim(0, claim("c0", None)).unwrap();
    stage.isolate(1);
    let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
    stage.release(0, "c1");
    comes_alone(&mut stage, 0, 1, slot);
    assert_eq!(stage.owner(1, slot.0), stage.id(1));
    let wanted = stage.hosts[1].ipam.address(NetworkId::DEFAULT, slot);
    let other = crate::Claim { address: Some(wanted), ..claim("c2", None) };
    assert!(matches!(stage.claim(1, other.clone()), Err(ClaimError::Resting { .. })));
    stage.pass(crate::REST);
    assert!(stage.claim(1, other).is_ok());
}

/// The first has left it, which the taker has not heard.
#[test]
fn an_address_that_comes_for_one_of_two_workloads_rests() {
    let mut stage = Stage::new(3, 24, 16);
    let slot = stage.claim(0, crate::Claim { hold: Some(Hold::For(Duration::ZERO)), ..claim("c1", Some("first")) });
    let slot = slot.unwrap().slot;
    stage.isolate(1);
    stage.release(0, "c1");
    stage.pass(crate::REST);
    let wanted = stage.hosts[0].ipam.address(NetworkId::DEFAULT, slot);
    stage.claim(0, crate::Claim { address: Some(wanted), ..claim("c2", Some("second")) }).unwrap();
    stage.release(0, "c2");
    let giver = stage.id(0);
    let key = crate::stage::lease_key("second");
    let line = stage.hosts[0].ipam.directory.entry_of(&key, giver).unwrap().clone();
    let message = wire::message::Message::Entries(vec![line]);
    stage.hosts[1].ipam.handle_message(giver, &message.emit(), stage.now);
    comes_alone(&mut stage, 0, 1, slot);
    assert_eq!(stage.hosts[1].ipam.leases().count(), 0);
    assert_ne!(stage.claim(1, claim("c3", Some("first"))).unwrap().slot, slot);
}
