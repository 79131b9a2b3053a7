//! Taking everything from a router that is gone.

use std::time::Duration;

use crate::stage::{Stage, claim};
use crate::{ClaimError, Event, Health, LeaseState, RequestId, RevokeError};

pub(super) fn revoke(stage: &mut Stage, host: usize, victims: &[usize]) -> Option<Result<(), RevokeError>> {
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
        if number == 10 {
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

fn ask_to_revoke(stage: &mut Stage, host: usize, victims: &[usize]) -> RequestId {
    let asked = stage.request();
    let victims: Vec<_> = victims.iter().map(|victim| stage.id(*victim)).collect();
    stage.hosts[host].ipam.revoke(asked, &victims, stage.now);
    asked
}

pub(super) fn assert_equal_tables(stage: &Stage, hosts: &[usize]) {
    for host in hosts {
        assert_eq!(stage.hosts[*host].ipam.table(), stage.hosts[hosts[0]].ipam.table(), "host {host}");
    }
}

#[test]
fn two_operators_revoke_one_router_at_once() {
    let mut stage = Stage::new(4, 24, 16);
    stage.isolate(1);
    let asked = [(0, ask_to_revoke(&mut stage, 0, &[1])), (2, ask_to_revoke(&mut stage, 2, &[1]))];
    stage.settle();
    for (host, asked) in asked {
        assert_eq!(done(&stage, host, asked), Some(Ok(())), "host {host}");
    }
    assert_equal_tables(&stage, &[0, 2, 3]);
    let commits = stage.hosts.iter().map(|host| host.ipam.revocations.commits.len());
    assert_eq!(commits.collect::<Vec<_>>(), [1, 0, 1, 1]);
}

/// Each alone would wait for the other's victim; together they are done.
#[test]
fn two_operators_revoke_two_routers_at_once() {
    let mut stage = Stage::new(5, 24, 16);
    stage.isolate(3);
    stage.isolate(4);
    let asked = [(0, ask_to_revoke(&mut stage, 0, &[3])), (1, ask_to_revoke(&mut stage, 1, &[4]))];
    stage.settle();
    for (host, asked) in asked {
        assert_eq!(done(&stage, host, asked), Some(Ok(())), "host {host}");
    }
    assert_equal_tables(&stage, &[0, 1, 2]);
    for host in 0..3 {
        stage.restart(host);
    }
    stage.settle();
    assert_equal_tables(&stage, &[0, 1, 2]);
}

#[test]
fn a_second_question_that_waits_for_the_same_router_names_it_to_both() {
    let mut stage = Stage::new(5, 24, 16);
    for silent in [2, 3, 4] {
        stage.isolate(silent);
    }
    let asked = [(0, ask_to_revoke(&mut stage, 0, &[3])), (1, ask_to_revoke(&mut stage, 1, &[4]))];
    stage.pass(Duration::from_secs(9));
    for (host, asked) in asked {
        let Some(Err(error)) = done(&stage, host, asked) else { panic!("host {host}") };
        let error = error.to_string();
        assert!(error.contains("host2 did not answer") || error.contains("asks to revoke"), "{error}");
    }
    stage.link(0, 2);
    stage.link(1, 2);
    stage.settle();
    assert_equal_tables(&stage, &[0, 1, 2]);
    assert!(stage.hosts[2].ipam.members().filter(|(_, _, revoked)| *revoked).count() == 2);
}

#[test]
fn a_joiner_that_comes_during_a_revocation_keeps_its_sponsors_promise() {
    let mut stage = Stage::new(4, 24, 16);
    stage.isolate(1);
    stage.isolate(3);
    // Host 3 is silent, so the revocation of host 1 stays open.
    assert_eq!(revoke(&mut stage, 0, &[1]), None);
    stage.add(4);
    stage.link(1, 4);
    let late = stage.claim(1, crate::Claim { address: Some("10.32.0.100".parse().unwrap()), ..claim("late", None) });
    assert!(late.is_err(), "{late:?}");
    stage.cut(1, 4);
    stage.link(0, 3);
    stage.settle();
    let (joiner, now) = (stage.id(4), stage.now);
    for host in [2, 3] {
        stage.hosts[host].ipam.admit(joiner, None, now);
    }
    stage.pass(Duration::from_secs(15));
    assert_equal_tables(&stage, &[0, 2, 3, 4]);
    assert!(stage.hosts[4].ipam.members().any(|(_, _, revoked)| revoked));
}

/// The operator's way out of a quarantine: who gave a range away twice is revoked, and one of the two has it.
#[test]
fn revoking_who_gave_a_block_away_twice_ends_its_quarantine() {
    let mut stage = Stage::new(4, 24, 16);
    let block = wire::Range { network: wire::NetworkId::DEFAULT, start: wire::Slot(0), length: 16 };
    let head = stage.hosts[0].ipam.ledger.head(&block).unwrap();
    for taker in [2, 3] {
        let (range, owner, author) = (block, stage.id(taker), stage.id(1));
        let body = wire::RecordBody { range, owner, epoch: head.epoch.next(), author, previous: head.hash, home: None };
        let signature = crate::seal::sign(&crate::stage::signing_key(1), wire::RECORD_VERSION, &body);
        let given = wire::message::Message::Records(vec![wire::Record { body, signature }]);
        stage.hosts[taker].ipam.handle_message(author, &given.emit(), stage.now);
        stage.settle();
    }
    stage.pass(Duration::from_secs(30));
    let frozen = |stage: &Stage, host: usize| {
        stage.hosts[host].ipam.is_frozen(wire::NetworkId::DEFAULT, wire::Slot(5), stage.now)
    };
    assert!([0, 2, 3].iter().all(|host| frozen(&stage, *host)));
    stage.isolate(1);
    assert_eq!(revoke(&mut stage, 0, &[1]), Some(Ok(())));
    for again in [false, true] {
        if again {
            [0, 2, 3].into_iter().for_each(|host| stage.restart(host));
        }
        stage.pass(Duration::from_secs(30));
        assert_equal_tables(&stage, &[0, 2, 3]);
        assert!([0, 2, 3].iter().all(|host| !frozen(&stage, *host)), "{again}");
        assert!([2, 3].contains(&(0..4).find(|host| stage.id(*host) == stage.owner(0, 5)).unwrap()));
    }
}

/// It promised on the first revocation, was away when that was decided, and then had to go itself.
#[test]
fn a_revoked_router_is_told_what_was_decided_before_while_it_was_away() {
    let mut stage = Stage::new(5, 24, 16);
    stage.isolate(3);
    stage.isolate(2);
    assert_eq!(revoke(&mut stage, 0, &[3]), None);
    stage.isolate(4);
    stage.link(2, 0);
    stage.pass(Duration::from_secs(15));
    assert_eq!(revoke(&mut stage, 0, &[3]), Some(Ok(())));
    assert_eq!(revoke(&mut stage, 0, &[4]), Some(Ok(())));
    stage.link(4, 0);
    stage.settle();
    assert_eq!(stage.hosts[4].ipam.health(), Health::Revoked);
}

/// A slot that an heir has and takes back into its block is no longer apart after a restart, nor for a joiner.
#[test]
fn what_an_heir_took_home_is_home_after_a_restart_and_for_who_joins() {
    let mut stage = Stage::new(2, 24, 16);
    stage.claim(0, claim("c0", Some("web"))).unwrap();
    stage.release(0, "c0");
    stage.claim(1, claim("c1", Some("web"))).unwrap();
    stage.isolate(1);
    let apart = stage.hosts[0].ipam.table().len();
    assert_eq!(revoke(&mut stage, 0, &[1]), Some(Ok(())));
    stage.pass(Duration::from_secs(1200));
    let table = stage.hosts[0].ipam.table();
    assert!(table.len() < apart, "nothing came home: {table:?}");
    stage.restart(0);
    assert_eq!(stage.hosts[0].ipam.table(), table);
    stage.add(2);
    let there: Vec<_> = stage.hosts[2].ipam.table();
    assert_eq!(there, stage.hosts[0].ipam.table());
}

/// It came with its sponsor's promise, so nobody waits for its own.
#[test]
fn one_that_joined_during_a_revocation_can_ask_for_it() {
    let mut stage = Stage::new(4, 24, 16);
    stage.isolate(1);
    stage.isolate(3);
    assert_eq!(revoke(&mut stage, 0, &[1]), None);
    stage.add(4);
    let joiner = stage.id(4);
    [2, 3].into_iter().for_each(|host| stage.hosts[host].ipam.admit(joiner, None, stage.now));
    stage.link(4, 2);
    // The first question is forgotten, and not what was promised on it.
    stage.restart(0);
    let asked = ask_to_revoke(&mut stage, 4, &[1]);
    stage.settle();
    stage.link(3, 0);
    stage.link(3, 4);
    stage.settle();
    assert_eq!(done(&stage, 4, asked), Some(Ok(())));
    assert_equal_tables(&stage, &[0, 2, 3, 4]);
}

/// Host 1 has host 4 revoked, which only host 2 hears: the others have promised to refuse host 1 by then.
fn half_told() -> Stage {
    let mut stage = Stage::new(5, 24, 16);
    stage.isolate(4);
    stage.cut(1, 2);
    assert_eq!(revoke(&mut stage, 1, &[4]), None);
    stage.isolate(1);
    stage.cut(2, 0);
    stage.cut(2, 3);
    assert_eq!(revoke(&mut stage, 0, &[1]), None);
    stage.link(1, 2);
    stage.settle();
    stage.isolate(1);
    assert!(stage.hosts[2].ipam.revoked().contains(&stage.id(4)));
    stage
}

#[test]
fn what_a_lost_router_decided_counts_where_somebody_knew_of_it() {
    let mut stage = half_told();
    stage.link(2, 0);
    stage.link(2, 3);
    stage.pass(Duration::from_secs(30));
    let both = std::collections::BTreeSet::from([stage.id(1), stage.id(4)]);
    for host in [0, 2, 3] {
        assert_eq!(stage.hosts[host].ipam.revoked(), both, "host {host}");
    }
    assert_equal_tables(&stage, &[0, 2, 3]);
}

/// It refuses who had decided the first, and misses a promise on the second as long as it does not know the first.
#[test]
fn a_revoked_router_believes_what_was_decided_before_by_one_that_it_refuses() {
    let mut stage = half_told();
    stage.isolate(3);
    stage.link(2, 0);
    stage.settle();
    assert_eq!(revoke(&mut stage, 0, &[1, 3]), Some(Ok(())));
    stage.link(3, 0);
    stage.pass(Duration::from_secs(30));
    assert_eq!(stage.hosts[3].ipam.health(), Health::Revoked);
}
