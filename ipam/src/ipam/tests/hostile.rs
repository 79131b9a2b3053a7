//! What a member whose keys are in wrong hands can do to the others: host 2 in each of these.

use std::time::Duration;

use wire::message::{Ask, CENSUS_VERSION, Census, CensusBody, Commit, Entry, EntryBody, EntryState, Handover, Message};
use wire::message::{ENTRY_VERSION, MoveKey, MovedLease, Promise, PromiseBody, REVOCATION_VERSION};
use wire::{Epoch, Hash, Identity, NetworkId, RECORD_VERSION, Range, Record, RecordBody, Slot};

use crate::event::Alarm;
use crate::revoke::hash_of_ask;
use crate::seal::sign;
use crate::stage::{Stage, claim, identity, signing_key};
use crate::{Event, Health, Hold, LeaseKey, LeaseState, Reservation, Table};

const ROGUE: usize = 2;

fn tell(stage: &mut Stage, to: usize, message: &Message) {
    let from = stage.id(ROGUE);
    stage.hosts[to].ipam.handle_message(from, &message.emit(), stage.now);
    stage.settle();
}

fn ids(stage: &Stage, hosts: &[usize]) -> Vec<Identity> {
    let mut all: Vec<_> = hosts.iter().map(|host| stage.id(*host)).collect();
    all.sort_unstable();
    all
}

fn question(stage: &Stage, victims: &[usize], members: &[usize]) -> Ask {
    Ask {
        victims: ids(stage, victims),
        members: ids(stage, members),
        earlier: Vec::new(),
        known: Vec::new(),
        asker: stage.id(ROGUE),
    }
}

/// A revocation that nobody but the rogue has signed, if anybody.
fn decision(ask: Ask, promisers: &[u8]) -> Message {
    let promise = |promiser: &u8| {
        let (ask, promiser, signed) = (hash_of_ask(&ask), identity(*promiser), signing_key(*promiser));
        let body = PromiseBody { ask, promiser, beyond: Vec::new(), members: Vec::new() };
        Promise { signature: sign(&signed, REVOCATION_VERSION, &body), body }
    };
    let promises = promisers.iter().map(promise).collect();
    Message::RevokeCommit { commit: Commit { ask, promises }, records: Vec::new() }
}

fn revoked_at(stage: &Stage, host: usize) -> usize {
    stage.hosts[host].ipam.members().filter(|(_, _, revoked)| *revoked).count()
}

fn revoke(stage: &mut Stage, host: usize, victims: &[usize]) -> bool {
    let (asked, victims) = (stage.request(), ids(stage, victims));
    stage.hosts[host].ipam.revoke(asked, &victims, stage.now);
    stage.settle();
    let is_done = |event: &Event| matches!(event, Event::RevokeDone { request, result: Ok(_) } if *request == asked);
    stage.hosts[host].events.iter().any(is_done)
}

#[test]
fn what_nobody_or_the_rogue_alone_has_signed_revokes_nobody() {
    let rogue = u8::try_from(ROGUE).unwrap();
    let cases: [(&[usize], &[usize], &[u8]); 7] = [
        // The one that hears it, by nobody; everybody else, by nobody.
        (&[0], &[], &[]),
        (&[1, 2, 3], &[], &[]),
        (&[1, 3], &[], &[]),
        // By the rogue: everybody else, everybody but the one that hears it, one of them.
        (&[0, 1, 3], &[2], &[rogue]),
        (&[1, 3], &[2], &[rogue]),
        (&[0], &[2], &[rogue]),
        (&[1], &[2], &[rogue]),
    ];
    for (victims, members, promisers) in cases {
        let mut stage = Stage::new(4, 24, 16);
        let forged = decision(question(&stage, victims, members), promisers);
        tell(&mut stage, 0, &forged);
        assert_eq!((stage.hosts[0].ipam.health(), revoked_at(&stage, 0)), (Health::Working, 0), "{victims:?}");
        stage.restart(0);
        assert_eq!((stage.hosts[0].ipam.health(), revoked_at(&stage, 0)), (Health::Working, 0), "{victims:?}");
    }
}

#[test]
fn of_three_one_alone_convinces_nobody_of_anything() {
    for victims in [&[0, 1][..], &[1], &[0]] {
        let mut stage = Stage::new(3, 24, 16);
        let forged = decision(question(&stage, victims, &[2]), &[2]);
        tell(&mut stage, 0, &forged);
        assert_eq!((stage.hosts[0].ipam.health(), revoked_at(&stage, 0)), (Health::Working, 0), "{victims:?}");
    }
}

/// Voices that nobody knows do not count, however many there are.
#[test]
fn members_that_were_never_admitted_have_no_voice() {
    let mut stage = Stage::new(4, 24, 16);
    let mut ask = question(&stage, &[0, 1, 3], &[2]);
    ask.members.extend((10..20).map(identity));
    ask.members.sort_unstable();
    let voices: Vec<u8> = [2].into_iter().chain(10..20).collect();
    let forged = decision(ask, &voices);
    tell(&mut stage, 0, &forged);
    assert_eq!((stage.hosts[0].ipam.health(), revoked_at(&stage, 0)), (Health::Working, 0));
}

/// Who has promised one router to refuse a victim has promised nothing to another.
#[test]
fn a_promise_is_for_the_question_it_was_given_on() {
    let mut stage = Stage::new(5, 24, 16);
    stage.isolate(1);
    stage.isolate(4);
    // Host 4 is silent, so the revocation of host 1 stays open; host 0 has promised.
    assert!(!revoke(&mut stage, 3, &[1]));
    let forged = decision(question(&stage, &[1], &[2]), &[2]);
    tell(&mut stage, 0, &forged);
    assert_eq!(revoked_at(&stage, 0), 0);
}

/// The survivor of three goes on; those that return do not believe so few, but nobody takes anything from them.
#[test]
fn fewer_survivors_than_victims_go_on_and_are_not_believed() {
    let mut stage = Stage::new(3, 24, 16);
    let slot = stage.claim(1, claim("c1", Some("web"))).unwrap().slot;
    stage.isolate(0);
    assert!(revoke(&mut stage, 0, &[1, 2]));
    assert_eq!(stage.claim(0, claim("c2", Some("web"))).unwrap().slot, slot);
    stage.link(0, 1);
    stage.pass(Duration::from_secs(60));
    assert_eq!(stage.hosts[1].ipam.health(), Health::Working);
    let doubts = |event: &&Event| matches!(event, Event::Alarm(Alarm::RevocationDoubted { .. }));
    assert_eq!(stage.hosts[1].events.iter().filter(doubts).count(), 1);
    assert_eq!(stage.owner(0, slot.0), stage.id(0));
}

#[test]
fn as_many_survivors_as_victims_are_believed() {
    let mut stage = Stage::new(4, 24, 16);
    for host in [0, 3] {
        stage.cut(host, 1);
        stage.cut(host, 2);
    }
    assert!(revoke(&mut stage, 0, &[1, 2]));
    stage.link(0, 1);
    stage.link(0, 2);
    stage.settle();
    for host in [1, 2] {
        assert_eq!(stage.hosts[host].ipam.health(), Health::Revoked, "host {host}");
    }
}

fn line(stage: &Stage, version: u64) -> Entry {
    let body = EntryBody {
        network: NetworkId::DEFAULT,
        workload: "web".to_owned(),
        ifname: "eth0".to_owned(),
        slot: Slot(9),
        epoch: Epoch(1),
        version,
        number: version,
        author: stage.id(ROGUE),
        state: EntryState::Ended,
        container_id: "c".to_owned(),
        mac: None,
        hold_s: None,
        came: None,
    };
    let signature = sign(&signing_key(2), ENTRY_VERSION, &body);
    Entry { body, signature }
}

/// The last version there is leaves no later one: what a router says after it must not look forgotten.
#[test]
fn no_version_of_a_line_makes_another_router_look_rolled_back() {
    for version in [u64::MAX, u64::MAX - 1, 1 << 40] {
        let mut stage = Stage::new(3, 24, 16);
        let lease = stage.claim(0, claim("c1", Some("web"))).unwrap();
        let entries = Message::Entries(vec![line(&stage, version)]);
        tell(&mut stage, 0, &entries);
        stage.release(0, "c1");
        stage.claim(0, claim("c2", Some("web"))).unwrap();
        let own = stage.hosts[0].ipam.directory.current_entry(&lease.key(), &stage.hosts[0].ipam.ledger).cloned();
        tell(&mut stage, 0, &Message::Entries(own.into_iter().collect()));
        assert_eq!(stage.hosts[0].ipam.health(), Health::Working, "{version}");
    }
}

/// Whatever order the lines came in, and though the rogue was there for a while.
#[test]
fn a_version_that_a_revoked_router_made_up_counts_for_nobody() {
    for version in [1 << 40, 1 << 47, 1 << 48] {
        let mut stage = Stage::new(3, 24, 16);
        let entries = Message::Entries(vec![line(&stage, version)]);
        tell(&mut stage, 0, &entries);
        let lease = stage.claim(0, claim("c1", Some("web"))).unwrap();
        tell(&mut stage, 1, &entries);
        stage.isolate(ROGUE);
        assert!(revoke(&mut stage, 0, &[ROGUE]));
        for host in [0, 1] {
            let key = lease.key();
            let own = stage.hosts[0].ipam.directory.version_of(&key, stage.id(0));
            assert_eq!(stage.hosts[host].ipam.next_version(&key), own + 1, "host {host}, {version}");
            assert_eq!(stage.hosts[host].ipam.directory().count(), 1, "host {host}, {version}");
        }
    }
}

#[test]
fn nobody_fills_a_pool_with_leases_that_nobody_asked_for() {
    let mut stage = Stage::new(3, 24, 16);
    let taken = stage.claim(0, claim("c1", None)).unwrap().slot;
    let free = stage.hosts[0].ipam.space().free;
    let block = stage.hosts[0].ipam.ledger.block_of(NetworkId::DEFAULT, taken);
    for slot in block.start.0..block.end().0 {
        let slot = Slot(slot);
        let epoch = stage.hosts[0].ipam.ledger.owner(NetworkId::DEFAULT, slot).unwrap().epoch;
        let key = MoveKey { network: NetworkId::DEFAULT, slot, epoch };
        let lease = MovedLease {
            workload: format!("x{}", slot.0),
            ifname: "eth0".to_owned(),
            container_id: "c".to_owned(),
            mac: None,
            hold_s: None,
            why: wire::message::Why::Followed,
        };
        let commit = Message::MoveCommit { key, records: Vec::new(), lease: Some(lease) };
        tell(&mut stage, 0, &commit);
    }
    let space = stage.hosts[0].ipam.space();
    assert_eq!((space.held, space.free), (0, free));
}

fn record(range: Range, owner: Identity, epoch: Epoch, previous: Hash) -> Record {
    let body = RecordBody { range, owner, epoch, author: identity(2), previous, home: None };
    Record { signature: sign(&signing_key(2), RECORD_VERSION, &body), body }
}

/// What there is no room for as evidence is not in force either, on disk least of all.
#[test]
fn more_lies_than_are_kept_are_no_truth_after_a_restart() {
    let mut stage = Stage::new(4, 24, 16);
    let block = stage.hosts[0].ipam.ledger.heads().find(|head| head.owner == identity(2)).unwrap();
    let previous = block.hash;
    for slot in 0..1024 {
        let range = Range { network: NetworkId(99), start: Slot(slot), length: 1 };
        stage.hosts[0].ipam.ledger.restore_evidence(&record(range, identity(1), Epoch(7), previous));
    }
    // The lower hash comes first at a restart: a lie with the lower one would count then.
    let mut pair = [1, 3].map(|owner| record(block.range, identity(owner), block.epoch.next(), previous));
    pair.sort_by_key(crate::ledger::hash_of_record);
    let [lie, truth] = pair;
    tell(&mut stage, 0, &Message::Records(vec![truth.clone()]));
    tell(&mut stage, 0, &Message::Records(vec![lie.clone()]));
    let slot = block.range.start.0;
    assert_eq!(stage.owner(0, slot), truth.body.owner);
    stage.isolate(0);
    stage.restart(0);
    assert_eq!(stage.owner(0, slot), truth.body.owner);
}

fn is_refused(stage: &Stage, host: usize, victim: usize) -> bool {
    let victim = stage.id(victim);
    stage.hosts[host].ipam.members.is_refused(&victim)
}

fn ask(stage: &mut Stage, to: usize, ask: Ask) {
    tell(stage, to, &Message::RevokeAsk { ask, records: Vec::new(), commits: Vec::new() });
}

#[test]
fn one_router_alone_has_nobody_refused_that_is_there() {
    let mut stage = Stage::new(5, 24, 16);
    for host in [0, 3, 4] {
        let asked = question(&stage, &[1], &[0, 1, 2, 3, 4]);
        ask(&mut stage, host, asked);
        assert!(!is_refused(&stage, host, 1), "host {host}");
    }
    assert!(stage.hosts[0].ipam.questions().iter().any(|question| question.asker.identity == stage.id(ROGUE)));
    stage.restart(0);
    assert!(!is_refused(&stage, 0, 1));
    // Nor has a question of somebody else's become one about it.
    stage.isolate(4);
    assert!(revoke(&mut stage, 3, &[4]));
    assert_eq!(revoked_at(&stage, 0), 1);
    assert!(!is_refused(&stage, 0, 1));
}

#[test]
fn two_operators_revoke_one_that_is_there() {
    for order in [[0, 3], [3, 0]] {
        let mut stage = Stage::new(4, 24, 16);
        assert!(!revoke(&mut stage, order[0], &[2]), "{order:?}");
        assert!(revoke(&mut stage, order[1], &[2]), "{order:?}");
        for host in [0, 1, 3] {
            assert_eq!(revoked_at(&stage, host), 1, "host {host} of {order:?}");
        }
        assert_eq!(stage.hosts[0].ipam.table(), stage.hosts[1].ipam.table());
    }
}

/// One that is lost while the question is open needs no second word.
#[test]
fn one_that_goes_while_it_is_asked_about_is_revoked() {
    let mut stage = Stage::new(4, 24, 16);
    assert!(!revoke(&mut stage, 0, &[1]));
    stage.isolate(1);
    stage.pass(Duration::from_secs(21));
    for host in [0, 2, 3] {
        assert_eq!(revoked_at(&stage, host), 1, "host {host}");
    }
}

#[test]
fn questions_without_end_take_one_row_each_asker() {
    let mut stage = Stage::new(4, 24, 16);
    stage.isolate(1);
    for number in 0..50 {
        let mut asked = question(&stage, &[1], &[0, 1, 2, 3]);
        asked.known = vec![Hash([number; 32])];
        ask(&mut stage, 0, asked);
        let mut invented = question(&stage, &[1], &[0, 1, 2, 3]);
        invented.victims = vec![identity(100 + number)];
        ask(&mut stage, 0, invented);
    }
    let rows = stage.hosts[0].disk.keys().filter(|(of, _)| *of == Table::Refused).count();
    assert_eq!(rows, 1);
    assert!(is_refused(&stage, 0, 1));
}

/// The way back from a revocation that was never decided: to revoke who asked for it.
#[test]
fn revoking_the_asker_ends_what_it_asked_for() {
    let mut stage = Stage::new(5, 24, 16);
    stage.isolate(1);
    for host in [0, 3, 4] {
        let asked = question(&stage, &[1], &[0, 1, 2, 3, 4]);
        ask(&mut stage, host, asked);
        assert!(is_refused(&stage, host, 1));
    }
    for host in [0, 3, 4] {
        stage.link(1, host);
    }
    stage.isolate(ROGUE);
    assert!(revoke(&mut stage, 0, &[ROGUE]));
    for restarted in [false, true] {
        for host in [0, 3, 4] {
            if restarted {
                stage.restart(host);
            }
            assert!(!is_refused(&stage, host, 1), "host {host}");
        }
    }
    // What it then decides, with whatever promises it had, is void.
    let late = decision(question(&stage, &[1], &[0, 2, 3, 4]), &[0, 2, 3, 4]);
    let from = stage.id(3);
    stage.hosts[0].ipam.handle_message(from, &late.emit(), stage.now);
    stage.settle();
    assert_eq!(revoked_at(&stage, 0), 1);
    let lease = stage.claim(1, claim("c9", None)).unwrap();
    assert_eq!(stage.owner(0, lease.slot.0), stage.id(1));
}

/// What an honest router asked for as well stays refused.
#[test]
fn what_somebody_else_asked_for_too_stays_refused() {
    let mut stage = Stage::new(5, 24, 16);
    stage.isolate(1);
    stage.isolate(4);
    assert!(!revoke(&mut stage, 0, &[1]));
    let asked = question(&stage, &[1], &[0, 1, 2, 3, 4]);
    ask(&mut stage, 3, asked);
    assert!(is_refused(&stage, 3, 1));
    stage.isolate(ROGUE);
    stage.link(0, 4);
    stage.cut(0, 4);
    assert!(!revoke(&mut stage, 0, &[ROGUE]));
    assert!(is_refused(&stage, 3, 1));
}

#[test]
fn an_address_that_is_kept_for_ever_outlives_the_loss_of_its_name() {
    for hold in [Hold::Forever, Hold::For(Duration::from_secs(600))] {
        let mut stage = Stage::new(3, 24, 16);
        let key = crate::stage::lease_key("web");
        let reserved = Reservation { key: key.clone(), address: None, hold };
        let asked = stage.request();
        stage.hosts[0].ipam.reserve(asked, reserved, stage.now);
        stage.settle();
        let slot = stage.hosts[0].ipam.leases().next().unwrap().slot;
        let owned = stage.hosts[2].ipam.ledger.heads().find(|head| head.owner == identity(2)).unwrap();
        let mut body = line(&stage, 1000).body;
        (body.slot, body.epoch, body.state) = (owned.range.start, owned.epoch, EntryState::Active);
        let signature = sign(&signing_key(2), ENTRY_VERSION, &body);
        tell(&mut stage, 0, &Message::Entries(vec![Entry { body, signature }]));
        let kept = stage.hosts[0]
            .ipam
            .leases()
            .any(|lease| lease.slot == slot && matches!(lease.state, LeaseState::Held { until: None }));
        assert_eq!(kept, hold == Hold::Forever);
        let alarmed = |event: &Event| matches!(event, Event::Alarm(Alarm::SplitName { .. } | Alarm::NameLost { .. }));
        assert_eq!(stage.hosts[0].events.iter().any(alarmed), hold == Hold::Forever);
    }
}

#[test]
fn what_is_wanted_many_times_is_sent_once() {
    let mut stage = Stage::new(4, 24, 16);
    stage.isolate(3);
    assert!(revoke(&mut stage, 0, &[3]));
    let rogue = stage.id(ROGUE);
    let body = CensusBody { author: rogue, upto: 9, living: vec![9] };
    let census = Census { signature: sign(&signing_key(2), CENSUS_VERSION, &body), body };
    let named = crate::seal::hash_of(CENSUS_VERSION, &census.body);
    tell(&mut stage, 0, &Message::Census(census));
    let ipam = &mut stage.hosts[0].ipam;
    let commit = *ipam.revocations.commits.keys().next().unwrap();
    for wanted in [commit, named] {
        ipam.handle_message(rogue, &Message::Want(vec![wanted; 3000]).emit(), stage.now);
        let sent = std::iter::from_fn(|| ipam.poll_transmit()).count();
        assert_eq!(sent, 1);
    }
}

#[test]
fn invitations_do_not_pile_up() {
    let mut stage = Stage::new(3, 24, 16);
    for workload in ["0", "1", "2"] {
        stage.claim(1, claim(workload, Some(workload))).unwrap();
    }
    for attempt in 0..3000_u64 {
        let name =
            LeaseKey { network: NetworkId::DEFAULT, workload: (attempt % 3).to_string(), ifname: "eth0".to_owned() };
        let (to, handover) = (stage.id(0), Handover::WhenStopped);
        let invite = Message::MoveInvite { name: name.into(), to, attempt, handover };
        let rogue = stage.id(ROGUE);
        stage.hosts[0].ipam.handle_message(rogue, &invite.emit(), stage.now);
    }
    let waiting = stage.hosts[0].ipam.waiting.claims.len();
    assert!((1..=3).contains(&waiting), "{waiting}");
}
