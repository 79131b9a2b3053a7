//! Revocations of a member that has a lot to say: host 1 in each of these.

use std::time::Duration;

use wire::message::{ASSEMBLED_BYTES_MAX, Ask, Message, Promise, PromiseBody, REVOCATION_VERSION};
use wire::{Epoch, Hash, Identity, NetworkId, Range, Record, RecordBody, Signature, Slot};

use crate::ledger::hash_of_record;
use crate::seal::sign;
use crate::stage::{Stage, identity, signed, signing_key};
use crate::{Event, RevokeError, Table};

const VICTIM: usize = 1;

fn ids(stage: &Stage, hosts: &[usize]) -> Vec<Identity> {
    let mut all: Vec<_> = hosts.iter().map(|host| stage.id(*host)).collect();
    all.sort_unstable();
    all
}

/// Hosts that check no signature: there are too many of them, and none matters here.
fn unsigned(hosts: u8) -> Stage {
    Stage::with(hosts, 18, 64, |config| config.verify = |_, _, _| true)
}

/// What the operator of host 0 is told, if anything yet.
fn revoke(stage: &mut Stage, victims: &[usize]) -> Option<Result<(), RevokeError>> {
    super::revocations::revoke(stage, 0, victims)
}

/// Gives the victim so many more blocks.
fn endow(stage: &mut Stage, blocks: usize) {
    let (victim, now) = (stage.id(VICTIM), stage.now);
    for _ in 0..blocks {
        let founder = &mut stage.hosts[0].ipam;
        let block = founder.ledger.uncarved_block(NetworkId::DEFAULT).unwrap();
        assert!(founder.give(block, victim, now).is_some());
    }
    stage.settle();
}

fn blocks_of_the_victim(stage: &Stage) -> Vec<(Range, Hash, u64)> {
    let ledger = &stage.hosts[0].ipam.ledger;
    let mine = ledger.heads().filter(|head| head.owner == stage.id(VICTIM) && ledger.is_block(&head.range));
    mine.map(|head| (head.range, head.hash, head.epoch.0)).collect()
}

/// What the victim writes about each of its slots: given to somebody, so often.
fn gifts(stage: &Stage, to: u8, times: u64) -> Vec<Record> {
    let (mut all, victim, to) = (Vec::new(), stage.id(VICTIM), identity(to));
    for (block, hash, epoch) in blocks_of_the_victim(stage) {
        for slot in block.start.0..block.end().0 {
            let range = Range { network: NetworkId::DEFAULT, start: Slot(slot), length: 1 };
            let mut previous = hash;
            for time in 1..=times {
                let owner = if time == times { to } else { victim };
                let body =
                    RecordBody { range, owner, epoch: Epoch(epoch + time), author: victim, previous, home: None };
                let record = Record { body, signature: Signature([0; 64]) };
                previous = hash_of_record(&record);
                all.push(record);
            }
        }
    }
    all
}

/// Tells these hosts alone; nobody passes it on.
fn tell(stage: &mut Stage, hosts: &[usize], records: &[Record]) {
    let links = std::mem::take(&mut stage.links);
    let from = stage.id(VICTIM);
    for host in hosts {
        for records in records.chunks(1000) {
            let message = Message::Records(records.to_vec()).emit();
            stage.hosts[*host].ipam.handle_message(from, &message, stage.now);
        }
    }
    stage.settle();
    stage.links = links;
}

fn assert_equal(stage: &mut Stage, hosts: &[usize]) {
    for again in [false, true] {
        for host in hosts {
            assert_eq!(stage.hosts[*host].ipam.table(), stage.hosts[0].ipam.table(), "host {host}, {again}");
            assert!(stage.hosts[*host].ipam.table().iter().all(|owned| owned.owner != identity(1)), "host {host}");
        }
        hosts.iter().for_each(|host| stage.restart(*host));
        stage.settle();
    }
}

#[test]
fn more_records_than_a_message_holds_are_revoked() {
    let mut stage = unsigned(3);
    endow(&mut stage, 6);
    let records = gifts(&stage, 2, 60);
    assert!(Message::Records(records.clone()).emit().len() > ASSEMBLED_BYTES_MAX);
    tell(&mut stage, &[0, 2], &records);
    stage.isolate(VICTIM);
    assert_eq!(revoke(&mut stage, &[VICTIM]), Some(Ok(())));
    assert_equal(&mut stage, &[0, 2]);
}

/// More than is sent along, to whoever decides, or by it.
#[test]
fn records_that_one_alone_has_heard_of_are_asked_for() {
    for knowing in [0, 2, 3] {
        let mut stage = unsigned(4);
        endow(&mut stage, 2);
        let records = gifts(&stage, 2, 10);
        assert!(Message::Records(records.clone()).emit().len() > crate::revoke::ALONG_BYTES);
        tell(&mut stage, &[knowing], &records);
        stage.isolate(VICTIM);
        assert_eq!(revoke(&mut stage, &[VICTIM]), Some(Ok(())), "host {knowing}");
        let given = records.last().unwrap().body.range.start.0;
        assert_eq!(stage.owner(3, given), stage.id(2), "host {knowing}");
        assert_equal(&mut stage, &[0, 2, 3]);
    }
}

/// What passed between two others before the victim had it again is in nobody's promise.
#[test]
fn records_of_others_that_lie_between_are_asked_for_too() {
    let mut stage = Stage::new(4, 24, 16);
    let (block, hash, epoch) = blocks_of_the_victim(&stage)[0];
    let range = Range { network: NetworkId::DEFAULT, start: block.start, length: 1 };
    let (links, now) = (std::mem::take(&mut stage.links), stage.now);
    let learn = |stage: &mut Stage, host: usize, record: &Record| {
        stage.hosts[host].ipam.learn(vec![record.clone()], None, now);
    };
    let given = signed(1, range, 3, epoch + 1, hash);
    [2, 3].into_iter().for_each(|host| learn(&mut stage, host, &given));
    let passed_on = stage.hosts[3].ipam.give(range, identity(2), now).unwrap();
    learn(&mut stage, 2, &passed_on);
    let back = stage.hosts[2].ipam.give(range, identity(1), now).unwrap();
    learn(&mut stage, 3, &back);
    let again = signed(1, range, 3, epoch + 4, hash_of_record(&back));
    [2, 3].into_iter().for_each(|host| learn(&mut stage, host, &again));
    stage.settle();
    stage.links = links;
    stage.isolate(VICTIM);
    assert_eq!(revoke(&mut stage, &[VICTIM]), Some(Ok(())));
    assert_eq!(stage.owner(0, range.start.0), stage.id(3));
    assert_equal(&mut stage, &[0, 2, 3]);
}

#[test]
fn what_cannot_be_named_is_refused_with_the_reason() {
    let mut stage = unsigned(3);
    let records = vec![Hash([7; 32]); ASSEMBLED_BYTES_MAX / 32];
    let ask = Ask {
        victims: ids(&stage, &[1]),
        members: ids(&stage, &[0, 1]),
        earlier: Vec::new(),
        known: records,
        asker: stage.id(0),
    };
    assert!(crate::revoke::bytes_of_names(&ask) > crate::revoke::COMMIT_BYTES_MAX);
    let most = crate::revoke::records_at_most(&ask);
    assert!(most > 100_000);
    let fits = Ask { known: vec![Hash([7; 32]); most], ..ask };
    assert!(crate::revoke::bytes_of_names(&fits) <= crate::revoke::COMMIT_BYTES_MAX);
    endow(&mut stage, 7);
    let records = gifts(&stage, 2, 300);
    assert!(records.len() > most);
    tell(&mut stage, &[0], &records);
    stage.isolate(VICTIM);
    let refused = revoke(&mut stage, &[VICTIM]);
    assert!(matches!(refused, Some(Err(RevokeError::TooMuch { records, most, .. })) if records > most), "{refused:?}");
}

/// Two for each slot, each told to another router: far more than is kept as evidence.
#[test]
fn a_liar_is_revoked_however_much_it_lied() {
    let mut stage = unsigned(4);
    endow(&mut stage, 17);
    for taker in [2, 3] {
        let lies = gifts(&stage, u8::try_from(taker).unwrap(), 1);
        tell(&mut stage, &[taker], &lies);
    }
    stage.pass(Duration::from_secs(30));
    let frozen = |stage: &Stage, host: usize| {
        let slots = blocks_of_the_victim(stage).into_iter().flat_map(|(block, ..)| block.start.0..block.end().0);
        slots.filter(|slot| stage.hosts[host].ipam.is_frozen(NetworkId::DEFAULT, Slot(*slot), stage.now)).count()
    };
    // None that is not known of everywhere is given on, not even after a restart.
    stage.restart(0);
    assert!(frozen(&stage, 0) > 17 * 64, "{}", frozen(&stage, 0));
    let slots: Vec<u32> =
        blocks_of_the_victim(&stage).into_iter().flat_map(|(block, ..)| block.start.0..block.end().0).collect();
    stage.isolate(VICTIM);
    assert_eq!(revoke(&mut stage, &[VICTIM]), Some(Ok(())));
    for host in [0, 2, 3] {
        let is_frozen = |slot: &u32| stage.hosts[host].ipam.is_frozen(NetworkId::DEFAULT, Slot(*slot), stage.now);
        assert!(!slots.iter().any(is_frozen), "host {host}");
    }
    assert!(slots.iter().all(|slot| [stage.id(2), stage.id(3)].contains(&stage.owner(0, *slot))));
    assert_equal(&mut stage, &[0, 2, 3]);
}

fn promise_of(promiser: u8, ask: Hash, beyond: Vec<Hash>, members: Vec<Identity>) -> Message {
    let body = PromiseBody { ask, promiser: identity(promiser), beyond, members };
    let promise = Promise { signature: sign(&signing_key(promiser), REVOCATION_VERSION, &body), body };
    Message::RevokePromise { promise, records: Vec::new() }
}

/// A promise that names what does not exist holds nobody up but its own promiser, by name.
#[test]
fn who_names_what_nobody_can_show_is_named() {
    let invented = signed(2, Range { network: NetworkId(9), start: Slot(0), length: 1 }, 1, 1, Hash([3; 32]));
    for (beyond, members) in [(vec![hash_of_record(&invented)], vec![]), (vec![], vec![identity(99)])] {
        let mut stage = Stage::new(4, 24, 16);
        stage.isolate(VICTIM);
        stage.links.retain(|(from, to)| *from != 2 && *to != 2);
        assert_eq!(revoke(&mut stage, &[VICTIM]), None);
        let question = *stage.hosts[0].ipam.revocations.asking.keys().next().unwrap();
        let Message::RevokePromise { promise, .. } = promise_of(2, question, beyond, members) else { panic!() };
        let shown = Message::RevokePromise { promise, records: vec![invented.clone()] };
        let from = stage.id(2);
        stage.hosts[0].ipam.handle_message(from, &shown.emit(), stage.now);
        stage.pass(Duration::from_secs(20));
        let told = stage.hosts[0].events.iter().find_map(|event| {
            if let Event::RevokeDone { result: Err(error), .. } = event { Some(error.to_string()) } else { None }
        });
        let expected = "host2 answered with records or routers that it has not shown; the revocation completes when each \
                        has, or revoke them too: raddle revoke host1 host2";
        assert_eq!(told.as_deref(), Some(expected));
        stage.isolate(2);
        assert_eq!(revoke(&mut stage, &[VICTIM, 2]), Some(Ok(())));
    }
}

/// What a victim would name is what everybody else refuses.
#[test]
fn whoever_is_to_be_revoked_promises_nothing() {
    let mut stage = Stage::new(4, 24, 16);
    stage.links.retain(|(from, to)| *from != 3 && *to != 3);
    assert_eq!(revoke(&mut stage, &[VICTIM]), None);
    let question = *stage.hosts[0].ipam.revocations.asking.keys().next().unwrap();
    let promise = promise_of(1, question, vec![Hash([3; 32])], Vec::new());
    let victim = stage.id(VICTIM);
    stage.hosts[0].ipam.handle_message(victim, &promise.emit(), stage.now);
    let asking = &stage.hosts[0].ipam.revocations.asking[&question];
    assert!(!asking.unproven.contains_key(&victim) && !asking.promises.contains_key(&victim));
}

/// One question about many: what is kept of it grows with the question, not with its square.
#[test]
fn what_is_promised_takes_a_row_for_each_victim_and_no_list() {
    let mut stage = Stage::new(4, 24, 16);
    let fakes: Vec<Identity> = (30..230).map(identity).collect();
    for fake in &fakes {
        for host in 0..4 {
            stage.hosts[host].ipam.admit(*fake, None, stage.now);
        }
    }
    stage.settle();
    let mut victims = fakes.clone();
    victims.sort_unstable();
    let members: Vec<_> = victims.iter().copied().chain(ids(&stage, &[0, 1, 2, 3])).collect();
    let ask = Ask { victims, members, earlier: Vec::new(), known: Vec::new(), asker: stage.id(2) };
    let question = Message::RevokeAsk { ask, records: Vec::new(), commits: Vec::new() };
    let from = stage.id(2);
    stage.hosts[0].ipam.handle_message(from, &question.emit(), stage.now);
    stage.settle();
    let rows = stage.hosts[0].disk.iter().filter(|((table, _), _)| *table == Table::Refused);
    let bytes: usize = rows.map(|((_, key), value)| key.len() + value.len()).sum();
    assert!(bytes < 200 * fakes.len(), "{bytes}");
    stage.restart(0);
    assert!(fakes.iter().all(|fake| stage.hosts[0].ipam.members.is_refused(fake)));
    // Those that come later have promised nothing, and are not asked; those that were there are.
    let before: Vec<_> = stage.hosts[0].ipam.known_when_refused(fakes.iter()).unwrap().into_iter().collect();
    stage.hosts[0].ipam.admit(identity(240), None, stage.now);
    assert_eq!(stage.hosts[0].ipam.known_when_refused(fakes.iter()).unwrap().into_iter().collect::<Vec<_>>(), before);
    assert_eq!(before.len(), 204);
}
