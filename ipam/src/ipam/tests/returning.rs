//! Whoever waits for a router that goes and comes back within its patience need not ask again.

use std::time::Duration;

use wire::message::{Handover, Invited};

use crate::stage::{Stage, apply, attachment, claim, lease_key};
use crate::{ANSWER, ClaimError, Event, LeaseState};

/// Hands over one round of what a host has to say, or loses it.
fn speak(stage: &mut Stage, from: usize, to: Option<usize>) {
    while let Some(batch) = stage.hosts[from].ipam.poll_store() {
        apply(&mut stage.hosts[from].disk, &batch);
        stage.hosts[from].ipam.handle_stored(stage.now);
    }
    let said: Vec<_> = std::iter::from_fn(|| stage.hosts[from].ipam.poll_transmit()).collect();
    assert!(!said.is_empty(), "host {from} has nothing to say");
    let sender = stage.id(from);
    for (_, bytes) in said {
        if let Some(to) = to {
            stage.hosts[to].ipam.handle_message(sender, &bytes, stage.now);
        }
    }
}

/// A router goes, and comes back a second later, on its disk or as it was.
fn away_for_a_second(stage: &mut Stage, host: usize, is_killed: bool) {
    let others: Vec<_> = (0..stage.hosts.len()).filter(|other| *other != host).collect();
    stage.isolate(host);
    stage.pass(Duration::from_secs(1));
    if is_killed {
        stage.restart(host);
    }
    others.into_iter().for_each(|other| stage.link(host, other));
    stage.settle();
}

/// Question, offer, readiness and commit: whichever is the last to be lost with the link.
#[test]
fn a_move_goes_on_when_the_holder_is_back() {
    for is_killed in [false, true] {
        for heard in 0..4 {
            let mut stage = Stage::new(3, 24, 16);
            let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
            stage.release(0, "c1");
            let begun = stage.now;
            let request = stage.begin(1, claim("c2", Some("web")));
            let steps = [(1, 0), (0, 1), (1, 0), (0, 1)];
            for (step, (from, to)) in steps.into_iter().enumerate().take(heard + 1) {
                speak(&mut stage, from, Some(to).filter(|_| step < heard));
            }
            away_for_a_second(&mut stage, 0, is_killed);
            let answer = stage.answer(1, request);
            let Some(Ok(lease)) = answer else { panic!("{heard} {is_killed}: {answer:?}") };
            assert!(stage.now < begun + ANSWER);
            assert_eq!((lease.slot, lease.state), (slot, LeaseState::Active), "{heard} {is_killed}");
            (0..3).for_each(|host| assert_eq!(stage.owner(host, slot.0), stage.id(1), "{heard} {is_killed}"));
            assert_eq!(stage.hosts[0].ipam.leases().count(), 0);
            assert!(stage.hosts[0].ipam.waiting.offers.is_empty());
        }
    }
}

#[test]
fn a_claim_waits_for_a_holder_that_is_not_connected_and_no_longer_than_for_its_answer() {
    for comes_back in [true, false] {
        let mut stage = Stage::new(3, 24, 16);
        let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
        stage.release(0, "c1");
        stage.isolate(0);
        let request = stage.begin(1, claim("c2", Some("web")));
        stage.pass(ANSWER - Duration::from_millis(1));
        assert_eq!(stage.answer(1, request), None);
        if comes_back {
            stage.link(0, 1);
        } else {
            stage.pass(Duration::from_millis(1));
        }
        stage.settle();
        match stage.answer(1, request) {
            Some(Ok(lease)) => assert!(comes_back && lease.slot == slot),
            Some(Err(error)) => {
                assert!(!comes_back && matches!(error, ClaimError::HolderUnreachable { .. }), "{error}")
            }
            None => panic!("{comes_back}"),
        }
    }
}

/// It is asked again, and not believed to be where it was before it was away.
#[test]
fn a_workload_that_has_started_again_when_its_holder_is_back_stays_there() {
    let mut stage = Stage::new(3, 24, 16);
    let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
    stage.release(0, "c1");
    stage.isolate(0);
    let request = stage.begin(1, claim("c2", Some("web")));
    stage.claim(0, claim("c3", Some("web"))).unwrap();
    stage.link(0, 1);
    stage.settle();
    assert!(matches!(stage.answer(1, request), Some(Err(ClaimError::HeldElsewhere { .. }))));
    assert_eq!(stage.owner(1, slot.0), stage.id(0));
}

#[test]
fn a_container_that_stops_while_its_host_is_away_is_not_waited_for_in_vain() {
    let mut stage = Stage::new(3, 24, 16);
    let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
    let (invitation, to) = (stage.request(), stage.id(1));
    stage.hosts[0].ipam.invite(invitation, to, lease_key("web"), Handover::WhenStopped, stage.now);
    stage.settle();
    let request = stage.begin(1, claim("c2", Some("web")));
    stage.settle();
    stage.isolate(0);
    stage.release(0, "c1");
    stage.pass(Duration::from_secs(1));
    assert_eq!(stage.answer(1, request), None);
    stage.link(0, 1);
    stage.settle();
    assert_eq!(stage.answer(1, request).and_then(Result::ok).map(|lease| lease.slot), Some(slot));
    assert!(stage.hosts[1].ipam.lease_of(&attachment("c2")).is_some());
}

#[test]
fn an_invitation_that_was_lost_with_the_link_is_repeated() {
    for is_killed in [false, true] {
        for heard in 0..2 {
            let mut stage = Stage::new(3, 24, 16);
            let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
            stage.release(0, "c1");
            let (request, to) = (stage.request(), stage.id(1));
            stage.hosts[2].ipam.invite(request, to, lease_key("web"), Handover::WhenStopped, stage.now);
            // The question, or the answer with what it asks of the holder.
            speak(&mut stage, 2, Some(1).filter(|_| heard > 0));
            away_for_a_second(&mut stage, 1, is_killed);
            let is_here = |event: &Event| *event == Event::Invited { request, outcome: Invited::Here };
            assert!(stage.hosts[2].events.iter().any(is_here), "{heard} {is_killed}");
            assert_eq!(stage.owner(2, slot.0), stage.id(1));
        }
    }
}

/// Nobody else has any of the pool.
#[test]
fn a_claim_without_space_waits_for_whoever_may_have_some() {
    for (is_asked, is_killed) in [(true, false), (true, true), (false, false)] {
        let mut stage = Stage::with(2, 24, 16, |config| config.low_water_percent = 0);
        for number in 0..14 {
            stage.claim(1, claim(&number.to_string(), None)).unwrap();
        }
        let request = if is_asked {
            let request = stage.begin(1, claim("late", None));
            speak(&mut stage, 1, None);
            away_for_a_second(&mut stage, 0, is_killed);
            request
        } else {
            stage.cut(0, 1);
            let request = stage.begin(1, claim("late", None));
            stage.pass(ANSWER - Duration::from_millis(1));
            assert_eq!(stage.answer(1, request), None);
            stage.link(0, 1);
            stage.settle();
            request
        };
        assert!(matches!(stage.answer(1, request), Some(Ok(_))), "{is_asked} {is_killed}");
    }
}
