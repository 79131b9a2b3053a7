//! An address waits for a workload that has not started yet, and goes where it is to start next.

use std::time::Duration;

use wire::NetworkId;
use wire::message::{Handover, Invited, Message};

use crate::stage::{Stage, claim};
use crate::{Alarm, Claim, ClaimError, Event, Hold, Lease, LeaseKey, LeaseState, PeerLabel, RequestId, Reservation};

fn key(workload: &str) -> LeaseKey {
    LeaseKey { network: NetworkId::DEFAULT, workload: workload.to_owned(), ifname: "eth0".to_owned() }
}

fn reserve(stage: &mut Stage, host: usize, workload: &str, address: Option<&str>) -> Result<Lease, ClaimError> {
    let request = stage.request();
    let address = address.map(|address| address.parse().unwrap());
    let reservation = Reservation { key: key(workload), address, hold: Hold::Forever };
    stage.hosts[host].ipam.reserve(request, reservation, stage.now);
    stage.settle();
    stage.pass(Duration::from_secs(5));
    stage.answer(host, request).expect("an answer")
}

fn invite(stage: &mut Stage, from: usize, to: usize, workload: &str) -> RequestId {
    let (request, identity) = (stage.request(), stage.id(to));
    stage.hosts[from].ipam.invite(request, identity, key(workload), Handover::WhenStopped, stage.now);
    stage.settle();
    request
}

fn outcome(stage: &Stage, host: usize, asked: RequestId) -> Option<Invited> {
    stage.hosts[host].events.iter().find_map(|event| {
        if let Event::Invited { request, outcome } = event
            && *request == asked
        {
            Some(outcome.clone())
        } else {
            None
        }
    })
}

#[test]
fn an_address_is_kept_before_the_first_start() {
    let mut stage = Stage::new(3, 24, 16);
    let any = reserve(&mut stage, 0, "web", None).unwrap();
    assert_eq!(any.state, LeaseState::Held { until: None });
    let chosen = reserve(&mut stage, 1, "db", Some("10.32.0.77")).unwrap();
    stage.pass(Duration::from_secs(3600));
    // Wherever they start, that is what they get; nobody else does.
    assert_eq!(stage.claim(2, claim("c1", Some("web"))).unwrap().slot, any.slot);
    assert_eq!(stage.claim(2, claim("c2", Some("db"))).unwrap().slot, chosen.slot);
    let taken = reserve(&mut stage, 0, "other", Some("10.32.0.77")).unwrap_err();
    assert!(matches!(taken, ClaimError::Taken { .. }), "{taken}");
    // And after them it is kept on.
    stage.release(2, "c1");
    stage.pass(Duration::from_secs(3600));
    assert_eq!(stage.claim(1, claim("c3", Some("web"))).unwrap().slot, any.slot);
}

#[test]
fn a_refusal_takes_nothing_from_a_workload() {
    let mut stage = Stage::new(2, 24, 16);
    let kept = reserve(&mut stage, 0, "web", None).unwrap();
    stage.claim(0, Claim { address: Some("10.32.0.77".parse().unwrap()), ..claim("c1", Some("db")) }).unwrap();
    let elsewhere = stage.claim(1, claim("c2", Some("other"))).unwrap().slot;
    let elsewhere = format!("10.32.0.{}", elsewhere.0);
    for taken in ["10.32.0.77", &elsewhere] {
        let asked = Claim { address: Some(taken.parse().unwrap()), ..claim("c3", Some("web")) };
        assert!(matches!(stage.claim(0, asked).unwrap_err(), ClaimError::Taken { .. }));
        assert!(matches!(reserve(&mut stage, 0, "web", Some(taken)).unwrap_err(), ClaimError::Taken { .. }));
    }
    stage.isolate(1);
    let unreachable = reserve(&mut stage, 0, "web", Some(&elsewhere)).unwrap_err();
    assert!(matches!(unreachable, ClaimError::HolderUnreachable { .. }), "{unreachable}");
    assert_eq!(stage.hosts[0].ipam.leases().find(|lease| lease.workload == "web"), Some(&kept));
    // What is granted takes its place; the old address rests.
    stage.link(0, 1);
    let moved = reserve(&mut stage, 0, "web", Some("10.32.0.78")).unwrap();
    assert_eq!((moved.slot.0, stage.hosts[0].ipam.space().resting), (78, 1));
    stage.restart(0);
    assert_eq!(stage.claim(1, claim("c4", Some("web"))).unwrap().slot, moved.slot);
}

#[test]
fn a_workload_that_is_away_goes_where_it_is_told() {
    let mut stage = Stage::new(3, 24, 16);
    let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
    stage.release(0, "c1");
    // Asked of a third host, which has no part in it.
    let asked = invite(&mut stage, 2, 1, "web");
    assert_eq!(outcome(&stage, 2, asked), Some(Invited::Here));
    assert_eq!(stage.owner(2, slot.0), stage.id(1));
    // Its start there needs nobody.
    stage.isolate(1);
    assert_eq!(stage.claim(1, claim("c2", Some("web"))).unwrap().slot, slot);
}

#[test]
fn a_workload_that_runs_goes_when_it_stops() {
    let mut stage = Stage::new(3, 24, 16);
    let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
    let asked = invite(&mut stage, 0, 1, "web");
    let waits = Invited::Waits { holder: stage.id(0), container_id: "c1".to_owned() };
    assert_eq!(outcome(&stage, 0, asked), Some(waits));
    assert_eq!(stage.owner(2, slot.0), stage.id(0));
    stage.release(0, "c1");
    assert_eq!(stage.owner(2, slot.0), stage.id(1));
    assert_eq!(stage.hosts[0].ipam.leases().count(), 0);
    let held = stage.hosts[1].ipam.leases().next().unwrap();
    assert!(matches!(held.state, LeaseState::Held { until: Some(_) }), "{held:?}");
    assert_eq!(stage.claim(1, claim("c2", Some("web"))).unwrap().slot, slot);
}

#[test]
fn what_cannot_go_says_why() {
    let mut stage = Stage::new(2, 24, 16);
    let asked = invite(&mut stage, 0, 1, "nothing");
    assert_eq!(outcome(&stage, 0, asked), Some(Invited::Unknown));
    stage.claim(0, claim("c1", Some("web"))).unwrap();
    stage.links.clear();
    let asked = invite(&mut stage, 0, 1, "web");
    stage.pass(Duration::from_secs(5));
    assert!(matches!(outcome(&stage, 0, asked), Some(Invited::Refused { .. })));
}

#[test]
fn everybody_sees_where_it_is_to_go_until_it_is_there_or_called_off() {
    let mut stage = Stage::new(3, 24, 16);
    stage.claim(0, claim("c1", Some("web"))).unwrap();
    let seen = |stage: &Stage| -> Vec<_> {
        stage.hosts.iter().map(|host| host.ipam.moving_to(&key("web"), stage.now)).collect()
    };
    invite(&mut stage, 2, 1, "web");
    assert_eq!(seen(&stage), [Some(stage.id(1)); 3]);
    assert!(stage.hosts[0].ipam.cancel_move(key("web")));
    stage.settle();
    assert_eq!(seen(&stage), [None; 3]);
    stage.release(0, "c1");
    assert_eq!(stage.hosts[0].ipam.leases().count(), 1);
    stage.claim(0, claim("c2", Some("web"))).unwrap();
    // The newest word counts.
    invite(&mut stage, 0, 1, "web");
    invite(&mut stage, 0, 2, "web");
    stage.release(0, "c2");
    assert_eq!(stage.hosts[2].ipam.leases().count(), 1);
    assert_eq!(seen(&stage), [None; 3]);
}

#[test]
fn a_container_that_is_expected_waits_for_the_old_one_to_stop() {
    let mut stage = Stage::new(2, 24, 16);
    let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
    invite(&mut stage, 0, 1, "web");
    let early = stage.begin(1, claim("c2", Some("web")));
    stage.settle();
    assert_eq!(stage.answer(1, early), None);
    stage.release(0, "c1");
    assert_eq!(stage.answer(1, early).unwrap().unwrap().slot, slot);
    // It does not wait for ever.
    invite(&mut stage, 1, 0, "web");
    let error = stage.claim(0, claim("c3", Some("web"))).unwrap_err();
    assert!(matches!(error, ClaimError::HeldElsewhere { ref container_id, .. } if container_id == "c2"), "{error}");
}

#[test]
fn a_take_over_cuts_off_the_container_that_has_it() {
    let mut stage = Stage::new(3, 24, 16);
    let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
    let taking = |container: &str| Claim { handover: Handover::TakeOver, ..claim(container, Some("web")) };
    assert_eq!(stage.claim(1, taking("c2")).unwrap().slot, slot);
    let states = |stage: &Stage, host: usize| -> Vec<_> {
        stage.hosts[host].ipam.leases().map(|lease| (lease.attachment.container_id.clone(), lease.state)).collect()
    };
    assert_eq!(states(&stage, 0), [("c1".to_owned(), LeaseState::Fenced)]);
    assert!(stage.hosts[0].events.iter().any(|event| matches!(event, Event::Fenced { .. })));
    // What is left of it frees nothing, also after a restart.
    stage.restart(0);
    stage.release(0, "c1");
    assert_eq!(states(&stage, 0), []);
    assert_eq!(states(&stage, 1), [("c2".to_owned(), LeaseState::Active)]);
    assert_eq!(stage.owner(2, slot.0), stage.id(1));
    // On one host too.
    assert_eq!(stage.claim(1, taking("c3")).unwrap().slot, slot);
    assert_eq!(states(&stage, 1), [("c3".to_owned(), LeaseState::Active)]);
    stage.release(1, "c2");
    assert_eq!(states(&stage, 1), [("c3".to_owned(), LeaseState::Active)]);
    // And back to where a fenced one still is.
    stage.claim(2, taking("c4")).unwrap();
    assert_eq!(stage.claim(1, taking("c5")).unwrap().slot, slot);
    assert_eq!(states(&stage, 1), [("c5".to_owned(), LeaseState::Active)]);
}

#[test]
fn nobody_is_taken_over_who_cannot_be_asked() {
    let mut stage = Stage::new(2, 24, 16);
    stage.claim(0, claim("c1", Some("web"))).unwrap();
    stage.isolate(0);
    let error =
        stage.claim(1, Claim { handover: Handover::TakeOver, ..claim("c2", Some("web")) }).unwrap_err().to_string();
    assert!(error.ends_with("run: raddle revoke host0"), "{error}");
}

#[test]
fn a_move_may_take_over() {
    let mut stage = Stage::new(3, 24, 16);
    let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
    let (request, to) = (stage.request(), stage.id(1));
    stage.hosts[2].ipam.invite(request, to, key("web"), Handover::TakeOver, stage.now);
    stage.settle();
    assert_eq!(outcome(&stage, 2, request), Some(Invited::Here));
    assert_eq!(stage.hosts[0].ipam.leases().map(|lease| lease.state).collect::<Vec<_>>(), [LeaseState::Fenced]);
    assert_eq!(stage.claim(1, claim("c2", Some("web"))).unwrap().slot, slot);
}

#[test]
fn of_two_who_ask_for_the_same_move_the_later_one_counts_and_the_earlier_one_is_told() {
    let mut stage = Stage::new(4, 24, 16);
    stage.claim(1, claim("c1", Some("web"))).unwrap();
    stage.release(1, "c1");
    // What the holder would say does not come, so that the first one waits.
    stage.links.remove(&(1, 0));
    let earlier = invite(&mut stage, 2, 0, "web");
    let later = invite(&mut stage, 3, 0, "web");
    assert!(matches!(outcome(&stage, 2, earlier), Some(Invited::Refused { .. })), "{:?}", outcome(&stage, 2, earlier));
    assert_eq!(outcome(&stage, 3, later), None);
    stage.links.insert((1, 0));
    stage.pass(Duration::from_secs(5));
    assert!(outcome(&stage, 3, later).is_some());
}

/// What goes both ways at once, for speed, may come twice.
#[test]
fn an_invitation_that_comes_twice_is_one() {
    let mut stage = Stage::new(3, 24, 16);
    stage.claim(1, claim("c1", Some("web"))).unwrap();
    stage.release(1, "c1");
    stage.links.remove(&(1, 0));
    let (inviter, to, now) = (stage.id(2), stage.id(0), stage.now);
    let asked = invite(&mut stage, 2, 0, "web");
    let attempt = stage.hosts[2].ipam.waiting.attempts;
    let again = Message::MoveInvite { name: key("web").into(), to, attempt, handover: Handover::WhenStopped };
    stage.hosts[0].ipam.handle_message(inviter, &again.emit(), now);
    stage.settle();
    assert_eq!(outcome(&stage, 2, asked), None);
}

/// The operator has changed its mind, and the host that was named first cannot have the address.
#[test]
fn a_move_that_fails_leaves_the_newer_one_alone() {
    let mut stage = Stage::new(4, 24, 16);
    stage.claim(0, claim("c1", Some("web"))).unwrap();
    // Whoever has it hears, and does not answer.
    stage.links.retain(|(from, _)| *from != 0);
    let first = invite(&mut stage, 3, 1, "web");
    stage.pass(Duration::from_secs(1));
    invite(&mut stage, 3, 2, "web");
    // The first has given up, the second waits still.
    stage.pass(Duration::from_millis(2500));
    assert!(matches!(outcome(&stage, 3, first), Some(Invited::Refused { .. })));
    for host in 1..4 {
        assert_eq!(stage.hosts[host].ipam.moving_to(&key("web"), stage.now), Some(stage.id(2)), "host {host}");
    }
}

/// Somebody started the workload where the reservation could not be seen. Both are there, and one of them at a time runs.
#[test]
fn an_address_that_is_kept_is_not_started_while_another_host_has_its_name() {
    let mut stage = Stage::new(3, 24, 16);
    let loser = if stage.id(0) < stage.id(1) { 0 } else { 1 };
    let winner = 1 - loser;
    stage.isolate(loser);
    let kept = reserve(&mut stage, loser, "web", None).unwrap();
    let started = stage.claim(winner, claim("c1", Some("web"))).unwrap();
    stage.link(winner, loser);
    stage.link(2, loser);
    stage.pass(Duration::from_secs(15));
    let alarmed = |event: &Event| matches!(event, Event::Alarm(Alarm::NameLost { .. }));
    assert!(stage.hosts[loser].events.iter().any(alarmed));
    let error = stage.claim(loser, claim("c2", Some("web"))).unwrap_err();
    let is_there = |holder: &PeerLabel| holder.identity == stage.id(winner);
    assert!(matches!(&error, ClaimError::HeldElsewhere { holder, .. } if is_there(holder)), "{error}");
    let held = |stage: &Stage| stage.hosts[loser].ipam.leases().next().map(|lease| (lease.slot, lease.state));
    assert_eq!(held(&stage), Some((kept.slot, LeaseState::Held { until: None })));
    // When it has stopped there, what was kept is there for it; the other address comes along, and rests.
    stage.release(winner, "c1");
    assert_eq!(stage.claim(loser, claim("c3", Some("web"))).unwrap().slot, kept.slot);
    assert_eq!(stage.owner(2, started.slot.0), stage.id(loser));
    let wanted = format!("10.32.0.{}", started.slot.0).parse().unwrap();
    let other = stage.claim(2, Claim { address: Some(wanted), ..claim("c4", None) }).unwrap_err();
    assert!(matches!(other, ClaimError::Resting { .. }), "{other}");
    // And everybody hears that it runs there.
    let error = stage.claim(2, claim("c5", Some("web"))).unwrap_err();
    assert!(matches!(&error, ClaimError::HeldElsewhere { container_id, .. } if container_id == "c3"), "{error}");
    assert_eq!(stage.hosts[2].ipam.directory().map(|line| line.slot).collect::<Vec<_>>(), [kept.slot]);
}

/// It has one here that is kept for it, and asks for the one that it had elsewhere: that is its own, and need not rest.
#[test]
fn a_workload_may_choose_the_address_that_it_had_elsewhere() {
    let mut stage = Stage::new(2, 24, 16);
    stage.cut(0, 1);
    let kept: Vec<_> = (0..2).map(|host| reserve(&mut stage, host, "web", None).unwrap().slot).collect();
    stage.link(0, 1);
    stage.pass(Duration::from_secs(15));
    let chooser = if stage.id(0) < stage.id(1) { 0 } else { 1 };
    let other = kept[1 - chooser];
    let address = Some(format!("10.32.0.{}", other.0).parse().unwrap());
    let lease = stage.claim(chooser, Claim { address, ..claim("c1", Some("web")) }).unwrap();
    assert_eq!(lease.slot, other);
    // The one that was kept rests from then on.
    assert_eq!(stage.hosts[chooser].ipam.space().resting, 1);
}
