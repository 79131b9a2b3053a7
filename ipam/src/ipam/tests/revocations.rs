//! Taking everything from a router that is gone.

use std::time::Duration;

use crate::stage::{Stage, claim};
use crate::{ClaimError, Event, Health, LeaseState, RequestId, RevokeError};

fn revoke(stage: &mut Stage, host: usize, victims: &[usize]) -> Option<Result<(), RevokeError>> {
    let asked = stage.request();
    let victims: Vec<_> = victims.iter().map(|victim| stage.id(*victim)).collect();
    stage.hosts[host].ipam.revoke(asked, &victims, stage.now);
    stage.settle();
    done(stage, host, asked)
}

fn done(stage: &Stage, host: usize, asked: RequestId) -> Option<Result<(), RevokeError>> {
    stage.hosts[host].events.iter().find_map(|event| {
        if let Event::RevokeDone { request, result } = event
            && *request == asked
        {
            Some(result.clone().map(|_| ()))
        } else {
            None
        }
    })
}

#[test]
fn after_a_revocation_the_workload_gets_its_old_address_elsewhere() {
    let mut stage = Stage::new(3, 24, 16);
    let before = stage.claim(1, claim("c1", Some("web"))).unwrap();
    stage.isolate(1);
    assert!(matches!(stage.claim(2, claim("c2", Some("web"))), Err(ClaimError::HolderUnreachable { .. })));
    assert_eq!(revoke(&mut stage, 0, &[1]), Some(Ok(())));
    let after = stage.claim(2, claim("c2", Some("web"))).unwrap();
    assert_eq!(after.slot, before.slot);
    assert_eq!(stage.owner(0, before.slot.0), stage.id(2));
    assert_eq!(stage.hosts[0].ipam.table(), stage.hosts[2].ipam.table());
}

#[test]
fn the_founder_can_be_revoked_and_its_pool_goes_on_being_given() {
    let mut stage = Stage::with(3, 26, 16, |config| config.low_water_percent = 0);
    stage.isolate(0);
    assert_eq!(revoke(&mut stage, 2, &[0]), Some(Ok(())));
    for number in 0..40 {
        stage.claim(1, claim(&number.to_string(), None)).unwrap();
        if number == 20 {
            stage.restart(1);
            stage.restart(2);
            // What was inherited rests first, also after a restart.
            stage.pass(Duration::from_secs(121));
        }
    }
}

#[test]
fn one_that_does_not_answer_blocks_it_and_is_named() {
    let mut stage = Stage::new(4, 24, 16);
    stage.isolate(1);
    stage.isolate(3);
    assert_eq!(revoke(&mut stage, 0, &[1]), None);
    stage.pass(Duration::from_secs(9));
    let blocked = stage.hosts[0].events.iter().find_map(|event| {
        if let Event::RevokeDone { result: Err(error), .. } = event { Some(error.to_string()) } else { None }
    });
    let expected =
        "host3 did not answer; the revocation completes when each has, or revoke them too: raddle revoke host1 host3";
    assert_eq!(blocked.as_deref(), Some(expected));
    assert_eq!(revoke(&mut stage, 0, &[1, 3]), Some(Ok(())));
}

#[test]
fn it_completes_when_the_silent_one_comes_back() {
    let mut stage = Stage::new(4, 24, 16);
    stage.isolate(1);
    stage.isolate(3);
    assert_eq!(revoke(&mut stage, 0, &[1]), None);
    stage.pass(Duration::from_secs(9));
    stage.link(0, 3);
    stage.settle();
    let victim = stage.id(1);
    for host in [0, 2, 3] {
        assert!(stage.hosts[host].events.contains(&Event::Revoked { identities: vec![victim] }), "{host}");
    }
}

#[test]
fn a_revoked_router_that_comes_back_fences_itself() {
    let mut stage = Stage::new(3, 24, 16);
    stage.claim(1, claim("c1", Some("web"))).unwrap();
    stage.isolate(1);
    assert_eq!(revoke(&mut stage, 0, &[1]), Some(Ok(())));
    assert_eq!(stage.hosts[1].ipam.health(), Health::Working);
    stage.link(0, 1);
    stage.settle();
    assert_eq!(stage.hosts[1].ipam.health(), Health::Revoked);
    assert!(stage.hosts[1].events.contains(&Event::RevokedHere));
    assert!(stage.hosts[1].events.iter().any(|event| matches!(event, Event::Fenced { .. })));
    assert!(stage.hosts[1].ipam.leases().all(|lease| lease.state == LeaseState::Fenced));
    assert_eq!(stage.claim(1, claim("c9", None)), Err(ClaimError::RevokedHere));
    stage.restart(1);
    assert_eq!(stage.hosts[1].ipam.health(), Health::Revoked);
}

#[test]
fn a_restart_keeps_promises_and_inheritances() {
    let mut stage = Stage::new(3, 24, 16);
    stage.claim(1, claim("c1", Some("web"))).unwrap();
    stage.isolate(1);
    assert_eq!(revoke(&mut stage, 0, &[1]), Some(Ok(())));
    let table = stage.hosts[0].ipam.table();
    for host in [0, 2] {
        stage.restart(host);
        stage.settle();
        assert_eq!(stage.hosts[host].ipam.table(), table);
    }
    assert!(stage.claim(0, claim("c2", Some("web"))).is_ok());
}

#[test]
fn what_cannot_be_revoked_is_said() {
    let mut stage = Stage::new(2, 24, 16);
    assert_eq!(revoke(&mut stage, 0, &[0]), Some(Err(RevokeError::Itself)));
    let asked = stage.request();
    stage.hosts[0].ipam.revoke(asked, &[crate::stage::identity(9)], stage.now);
    stage.settle();
    assert!(matches!(done(&stage, 0, asked), Some(Err(RevokeError::Unknown { .. }))));
}

#[test]
fn a_joiner_that_only_the_victim_knew_loses_what_the_victim_gave_it() {
    let mut stage = Stage::new(3, 24, 16);
    stage.isolate(0);
    stage.add(3);
    let lease = stage.claim(3, claim("c1", None)).unwrap();
    assert_eq!(stage.owner(3, lease.slot.0), stage.id(3));
    assert_eq!(revoke(&mut stage, 1, &[0]), Some(Ok(())));
    stage.link(1, 3);
    stage.pass(Duration::from_secs(11));
    assert_eq!(stage.hosts[3].ipam.table(), stage.hosts[1].ipam.table());
    assert!(stage.hosts[3].events.iter().any(|event| matches!(event, Event::Fenced { .. })));
    stage.restart(3);
    assert_eq!(stage.hosts[3].ipam.table(), stage.hosts[1].ipam.table());
    assert!(stage.hosts[3].ipam.leases().all(|lease| lease.state == LeaseState::Fenced));
}

#[test]
fn a_forged_revocation_that_leaves_members_out_is_not_accepted() {
    let mut stage = Stage::new(4, 24, 16);
    let ask = wire::message::Ask {
        victims: vec![stage.id(1)],
        members: vec![stage.id(1), stage.id(2)],
        earlier: Vec::new(),
        known: Vec::new(),
        asker: stage.id(2),
    };
    let body = wire::message::PromiseBody {
        ask: crate::revoke::hash_of_ask(&ask),
        promiser: stage.id(2),
        beyond: Vec::new(),
        members: Vec::new(),
    };
    let signature = crate::seal::sign(&crate::stage::signing_key(2), wire::message::REVOCATION_VERSION, &body);
    let commit = wire::message::Commit { ask, promises: vec![wire::message::Promise { body, signature }] };
    let forged = wire::message::Message::RevokeCommit { commit, records: Vec::new() };
    let (table, from) = (stage.hosts[0].ipam.table(), stage.id(2));
    stage.hosts[0].ipam.handle_message(from, &forged.emit(), stage.now);
    stage.settle();
    assert_eq!(stage.hosts[0].ipam.table(), table);
}

#[test]
fn a_promise_outlives_a_restart() {
    let mut stage = Stage::new(4, 24, 16);
    let head = stage.owner(0, 2);
    stage.isolate(1);
    stage.isolate(3);
    // Host 3 is silent, so the revocation of host 1 stays open; host 2 has promised.
    assert_eq!(revoke(&mut stage, 0, &[1]), None);
    stage.restart(2);
    stage.link(1, 3);
    let target = stage.claim(3, crate::Claim { address: Some("10.32.0.9".parse().unwrap()), ..claim("late", None) });
    assert!(target.is_ok());
    stage.link(3, 2);
    stage.pass(Duration::from_secs(11));
    assert_eq!((stage.owner(3, 9), stage.owner(2, 9)), (stage.id(3), head));
}

#[test]
fn what_is_inherited_rests_before_it_is_given() {
    let mut stage = Stage::new(3, 24, 16);
    stage.claim(1, claim("c1", None)).unwrap();
    stage.isolate(1);
    assert_eq!(revoke(&mut stage, 0, &[1]), Some(Ok(())));
    let resting: u64 = [0, 2].iter().map(|host| stage.hosts[*host].ipam.space().resting).sum();
    assert_eq!(resting, 14);
}
