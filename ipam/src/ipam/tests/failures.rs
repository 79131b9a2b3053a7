//! Disks that fail, crash at the wrong moment, or are somebody else's.

use std::time::Duration;

use wire::NetworkId;
use wire::message::{Handover, Invited};

use crate::stage::{Stage, attachment, claim, genesis, identity, rows, signing_key};
use crate::{
    Alarm, ClaimError, Config, Event, Health, Hold, Ipam, LeaseKey, Release, Reservation, RestoreError, RevokeError,
    found,
};

#[test]
fn a_store_of_another_identity_is_refused() {
    let stage = Stage::new(1, 24, 16);
    let other = Config::new(signing_key(5), genesis(24, 16));
    let refused = Ipam::new(other, &rows(&stage.hosts[0].disk), stage.now).unwrap_err();
    assert_eq!(refused, RestoreError::OtherIdentity { identity: identity(5), stored: identity(0) });
}

#[test]
fn an_identity_without_its_store_is_refused() {
    let stage = Stage::new(1, 24, 16);
    let refused = Ipam::new(stage.hosts[0].config.clone(), &[], stage.now).unwrap_err();
    assert_eq!(refused, RestoreError::Empty { identity: identity(0) });
}

#[test]
fn a_damaged_row_is_named() {
    let stage = Stage::new(1, 24, 16);
    let mut disk = rows(&stage.hosts[0].disk);
    disk.extend(found(&stage.hosts[0].config));
    let last = disk.last_mut().unwrap();
    last.value = Some(vec![1, 2]);
    let refused = Ipam::new(stage.hosts[0].config.clone(), &disk, stage.now).unwrap_err();
    assert_eq!(refused, RestoreError::Corrupt { table: crate::Table::Members });
}

#[test]
fn a_store_that_fails_gives_nothing_and_takes_nothing() {
    let mut stage = Stage::new(2, 24, 16);
    stage.claim(0, claim("running", None)).unwrap();
    let request = stage.begin(0, claim("unlucky", None));
    stage.hosts[0].ipam.poll_store().unwrap();
    stage.hosts[0].ipam.handle_store_failed(stage.now);
    stage.settle();
    assert_eq!(stage.answer(0, request), Some(Err(ClaimError::ReadOnly)));
    assert_eq!(stage.hosts[0].ipam.health(), Health::ReadOnly);
    assert_eq!(stage.claim(0, claim("next", None)), Err(ClaimError::ReadOnly));
    assert!(stage.hosts[0].ipam.lease_of(&attachment("running")).is_some());
    assert!(stage.hosts[0].ipam.lease_of(&attachment("unlucky")).is_none());
    assert!(!stage.release(0, "running"));
    assert!(stage.hosts[0].ipam.lease_of(&attachment("running")).is_some());
    // The other goes on.
    stage.claim(1, claim("there", None)).unwrap();
}

#[test]
fn whoever_waits_hears_that_the_store_has_failed() {
    let mut stage = Stage::new(3, 24, 16);
    stage.claim(1, claim("c1", Some("web"))).unwrap();
    stage.isolate(2);
    let (there, gone) = (stage.id(1), stage.id(2));
    let [invited, revoked, released, late] = [(); 4].map(|()| stage.request());
    let key = LeaseKey { network: NetworkId::DEFAULT, workload: "web".to_owned(), ifname: "eth0".to_owned() };
    let (now, unknown) = (stage.now, attachment("unknown"));
    stage.claim(0, claim("running", None)).unwrap();
    let ipam = &mut stage.hosts[0].ipam;
    ipam.invite(invited, there, key.clone(), Handover::WhenStopped, now);
    ipam.revoke(revoked, &[gone], now);
    ipam.release(released, &attachment("running"), now);
    assert!(ipam.poll_store().is_some());
    ipam.handle_store_failed(now);
    ipam.release(late, &unknown, now);
    let events: Vec<_> = std::iter::from_fn(|| ipam.poll_event()).collect();
    let is_refused = |event: &Event| matches!(event, Event::Invited { request, outcome: Invited::Refused { .. } } if *request == invited);
    assert!(events.iter().any(is_refused), "{events:?}");
    assert!(events.contains(&Event::RevokeDone { request: revoked, result: Err(RevokeError::ReadOnly) }), "{events:?}");
    // Also of what is not known: it may be on the disk all the same.
    for request in [released, late] {
        assert!(events.contains(&Event::Released { request, outcome: Release::ReadOnly }), "{events:?}");
    }
    // Nobody is forgotten when it goes on either.
    ipam.invite(invited, there, key, Handover::WhenStopped, now);
    let rows = rows(&stage.hosts[0].disk);
    stage.hosts[0].ipam.resume(&rows, now).unwrap();
    stage.settle();
    assert!(stage.hosts[0].events.iter().any(is_refused));
    assert!(stage.release(0, "running"));
}

#[test]
fn a_router_that_cannot_write_still_follows_the_others() {
    let mut stage = Stage::new(2, 24, 16);
    stage.begin(0, claim("unlucky", None));
    stage.hosts[0].ipam.poll_store().unwrap();
    stage.hosts[0].ipam.handle_store_failed(stage.now);
    for number in 0..14 {
        stage.claim(1, claim(&number.to_string(), Some(&number.to_string()))).unwrap();
    }
    assert_eq!(stage.hosts[0].ipam.directory().count(), 14);
    assert_eq!(stage.hosts[0].ipam.poll_store(), None);
}

#[test]
fn a_store_that_lost_what_it_had_is_not_gone_on_with() {
    let mut stage = Stage::new(1, 24, 16);
    let before = rows(&stage.hosts[0].disk);
    stage.claim(0, claim("acknowledged", None)).unwrap();
    let after = rows(&stage.hosts[0].disk);
    stage.begin(0, claim("unlucky", None));
    assert!(stage.hosts[0].ipam.poll_store().is_some());
    stage.hosts[0].ipam.handle_store_failed(stage.now);
    let now = stage.now;
    let refused = stage.hosts[0].ipam.resume(&before, now);
    assert!(matches!(refused, Err(RestoreError::WentBack { .. })), "{refused:?}");
    assert_eq!(stage.hosts[0].ipam.health(), Health::ReadOnly);
    stage.hosts[0].ipam.resume(&after, now).unwrap();
    assert_eq!(stage.hosts[0].ipam.health(), Health::Working);
}

#[test]
fn a_store_that_takes_writes_again_is_gone_on_with() {
    let mut stage = Stage::new(2, 24, 16);
    let before = stage.claim(1, claim("kept", Some("web"))).unwrap();
    let asked = stage.begin(1, claim("lost", None));
    assert!(stage.hosts[1].ipam.poll_store().is_some());
    stage.hosts[1].ipam.handle_store_failed(stage.now);
    stage.settle();
    assert_eq!(stage.answer(1, asked), Some(Err(ClaimError::ReadOnly)));
    // What others do meanwhile is heard, and not kept.
    stage.claim(0, claim("other", Some("db"))).unwrap();
    let (newcomer, now) = (identity(9), stage.now);
    stage.hosts[1].ipam.admit(newcomer, None, now);
    let rows = rows(&stage.hosts[1].disk);
    stage.hosts[1].ipam.resume(&rows, stage.now).unwrap();
    stage.settle();
    assert_eq!(stage.hosts[1].ipam.health(), Health::Working);
    // But for who was admitted: the next start must know whose promise a revocation needs.
    stage.restart(1);
    assert!(stage.hosts[1].ipam.members().any(|(identity, _, _)| identity == newcomer));
    let (now, kept) = (stage.now, attachment("kept"));
    assert_eq!(stage.hosts[1].ipam.lease_of(&kept).map(|lease| lease.slot), Some(before.slot));
    assert!(stage.claim(1, claim("next", None)).is_ok());
    assert_eq!(stage.hosts[1].ipam.directory().count(), 2);
    assert!(!stage.hosts[1].ipam.is_frozen(NetworkId::DEFAULT, before.slot, now));
}

/// Host 1's store is put back to where it was a minute and a container ago, in place, so that nothing of the disk shows it. It runs,
/// and reaches nobody.
fn restored(hosts: u8) -> Stage {
    let mut stage = Stage::new(hosts, 24, 16);
    stage.claim(1, claim("before", None)).unwrap();
    let copy = stage.hosts[1].disk.clone();
    // Nothing of this one is in any record or line.
    stage.claim(1, claim("after", None)).unwrap();
    stage.pass(Duration::from_secs(60));
    stage.isolate(1);
    stage.hosts[1].disk = copy;
    stage.restart(1);
    stage
}

#[test]
fn a_store_that_was_restored_from_a_copy_is_found_out_at_the_first_contact() {
    let mut stage = restored(3);
    stage.link(0, 1);
    stage.settle();
    let has = |stage: &Stage, host: usize, is_it: fn(&Alarm) -> bool| {
        stage.hosts[host].events.iter().any(|event| matches!(event, Event::Alarm(alarm) if is_it(alarm)))
    };
    assert!(has(&stage, 0, |alarm| matches!(alarm, Alarm::RolledBack { .. })));
    assert!(has(&stage, 1, |alarm| matches!(alarm, Alarm::RolledBackHere { .. })));
    assert_eq!(stage.claim(1, claim("late", None)), Err(ClaimError::RolledBackHere));
    stage.restart(1);
    assert_eq!(stage.hosts[1].ipam.health(), Health::RolledBack);
    stage.link(0, 2);
    assert!(stage.claim(0, claim("other", None)).is_ok() && stage.claim(2, claim("other", None)).is_ok());
}

#[test]
fn a_gift_that_a_restored_store_has_forgotten_is_not_made_again() {
    let mut stage = Stage::new(3, 24, 16);
    let copy = stage.hosts[1].disk.clone();
    let address = Some("10.32.0.9".parse().unwrap());
    let moved = stage.claim(2, crate::Claim { address, ..claim("moved", None) }).unwrap();
    // Whoever heard how far the log had come has gone, and the log has long come as far again.
    stage.isolate(1);
    stage.hosts[1].disk = copy;
    stage.restart(1);
    for number in 0..9 {
        stage.claim(1, claim(&number.to_string(), None)).unwrap();
        stage.release(1, &number.to_string());
        stage.pass(Duration::from_secs(200));
    }
    stage.restart(0);
    stage.link(0, 1);
    stage.settle();
    assert_eq!(stage.hosts[1].ipam.health(), Health::RolledBack);
    assert_eq!(stage.owner(1, moved.slot.0), stage.id(2));
}

/// It has written as much as it has forgotten, or more, before anybody could tell it: only that it was not the life that wrote it
/// the first time gives it away.
#[test]
fn what_a_restored_store_wrote_in_place_of_what_it_forgot_does_not_hide_it() {
    for more in 0..6 {
        let mut stage = restored(3);
        let known = stage.hosts[0].ipam.heads[&stage.id(1)].body.number;
        let log = |stage: &Stage| stage.hosts[1].ipam.outbox.log();
        let mut number = 0;
        while log(&stage) < known + more {
            stage.claim(1, claim(&format!("new-{number}"), None)).unwrap();
            number += 1;
        }
        stage.link(0, 1);
        stage.settle();
        assert_eq!(stage.hosts[1].ipam.health(), Health::RolledBack, "{} of {known}", log(&stage));
    }
}

/// A start is not a restored store, however often, and whoever hears of it how late.
#[test]
fn a_router_that_merely_starts_again_is_believed() {
    let mut stage = Stage::new(3, 24, 16);
    for round in 0..100 {
        if round % 7 == 0 {
            stage.isolate(1);
        }
        stage.restart(1);
        stage.claim(1, claim(&round.to_string(), None)).unwrap();
        stage.release(1, &round.to_string());
        if round % 7 == 5 {
            stage.link(0, 1);
            stage.link(2, 1);
        }
        stage.pass(Duration::from_secs(121));
        assert_eq!(stage.hosts[1].ipam.health(), Health::Working, "{round}");
    }
}

/// It says how far its log has come, writes on, and hears only then that it was further once.
#[test]
fn what_a_restored_store_writes_before_it_hears_of_it_does_not_hide_it() {
    let mut stage = restored(2);
    let (first, second) = (stage.id(0), stage.id(1));
    stage.links.insert((1, 0));
    stage.hosts[1].ipam.handle_peer_up(first, stage.now);
    stage.hosts[0].ipam.handle_peer_up(second, stage.now);
    stage.send(1);
    stage.begin(1, claim("late", None));
    assert!(stage.hosts[1].ipam.poll_store().is_some());
    stage.hosts[1].ipam.handle_stored(stage.now);
    stage.links.insert((0, 1));
    stage.settle();
    assert_eq!(stage.hosts[1].ipam.health(), Health::RolledBack);
}

#[test]
fn an_address_is_held_while_nothing_can_be_written_and_nobody_is_woken_over_it() {
    let mut stage = Stage::new(1, 24, 16);
    stage.claim(0, claim("c0", Some("web"))).unwrap();
    stage.release(0, "c0");
    stage.begin(0, claim("unlucky", None));
    assert!(stage.hosts[0].ipam.poll_store().is_some());
    stage.hosts[0].ipam.handle_store_failed(stage.now);
    stage.now += Duration::from_secs(3600);
    let now = stage.now;
    stage.hosts[0].ipam.handle_timeout(now);
    let next = stage.hosts[0].ipam.poll_timeout();
    assert!(next.is_some_and(|(at, _)| at > now), "{next:?}");
    let rows = rows(&stage.hosts[0].disk);
    stage.hosts[0].ipam.resume(&rows, now).unwrap();
    stage.pass(Duration::from_secs(3600));
    assert_eq!(stage.hosts[0].ipam.space().held, 0);
}

/// What a router without a store does, it does in memory, and says nothing of it: its own word would convict it afterwards.
#[test]
fn a_disk_that_was_full_is_not_taken_for_one_that_was_restored() {
    for loser in 0..2 {
        let mut stage = Stage::new(2, 24, 16);
        stage.cut(0, 1);
        for host in 0..2 {
            stage.claim(host, claim(&format!("c{host}"), Some("web"))).unwrap();
        }
        stage.release(loser, &format!("c{loser}"));
        // The other has started it more often.
        let other = 1 - loser;
        stage.release(other, &format!("c{other}"));
        stage.claim(other, claim("again", Some("web"))).unwrap();
        stage.hosts[loser].ipam.handle_store_failed(stage.now);
        stage.link(0, 1);
        stage.pass(Duration::from_secs(30));
        let (id, rows) = (stage.id(loser), rows(&stage.hosts[loser].disk));
        let written = Ipam::new(stage.hosts[loser].config.clone(), &rows, stage.now).unwrap().directory.next_number(id);
        let said = stage.hosts[other].ipam.directory.next_number(id);
        assert!(said <= written, "host {loser} said {said}, and has {written} on its disk");
        stage.hosts[loser].ipam.resume(&rows, stage.now).unwrap();
        stage.pass(Duration::from_secs(30));
        assert_eq!(stage.hosts[loser].ipam.health(), Health::Working, "{loser}");
    }
}

#[test]
fn nothing_is_kept_for_a_container_that_runs_while_nothing_can_be_written() {
    let mut stage = Stage::new(2, 24, 16);
    stage.claim(1, claim("c1", Some("web"))).unwrap();
    stage.hosts[1].ipam.handle_store_failed(stage.now);
    let request = stage.request();
    let key = LeaseKey { network: NetworkId::DEFAULT, workload: "web".to_owned(), ifname: "eth0".to_owned() };
    stage.hosts[1].ipam.reserve(request, Reservation { key, address: None, hold: Hold::Forever }, stage.now);
    stage.settle();
    assert_eq!(stage.answer(1, request), Some(Err(ClaimError::ReadOnly)));
    let rows = rows(&stage.hosts[1].disk);
    stage.hosts[1].ipam.resume(&rows, stage.now).unwrap();
    stage.pass(Duration::from_secs(30));
    assert_eq!(stage.hosts[1].ipam.health(), Health::Working);
}

/// The registrars of some of these names answer late, or not at all.
#[test]
fn a_claim_that_waits_is_not_granted_by_a_router_that_was_found_restored() {
    let mut stage = restored(3);
    stage.links.retain(|(from, to)| *from != 1 && *to != 1);
    let (first, second) = (stage.id(0), stage.id(1));
    stage.links.insert((1, 0));
    stage.hosts[1].ipam.handle_peer_up(first, stage.now);
    stage.hosts[0].ipam.handle_peer_up(second, stage.now);
    stage.send(1);
    let requests: Vec<_> = (0..8).map(|number| format!("late-{number}")).collect();
    let requests: Vec<_> = requests.iter().map(|name| stage.begin(1, claim(name, Some(name)))).collect();
    stage.settle();
    let waiting: Vec<_> = requests.into_iter().filter(|request| stage.answer(1, *request).is_none()).collect();
    assert!(!waiting.is_empty());
    stage.links.insert((0, 1));
    stage.hosts[1].ipam.handle_peer_up(first, stage.now);
    stage.settle();
    assert_eq!(stage.hosts[1].ipam.health(), Health::RolledBack);
    stage.pass(Duration::from_secs(9));
    for request in waiting {
        assert_eq!(stage.answer(1, request), Some(Err(ClaimError::RolledBackHere)));
    }
}
