//! What peers are told, and what they may not tell.

use std::time::Duration;

use wire::message::Message;
use wire::{Hash, Homecoming, NetworkId, Range, Record, Slot};

use crate::stage::{Stage, claim, identity, signed};
use crate::{Alarm, Event};

fn record(author: u8, start: u32, length: u32, owner: u8, epoch: u64, previous: Hash) -> Record {
    let range = Range { network: NetworkId::DEFAULT, start: Slot(start), length };
    signed(author, range, owner, epoch, previous)
}

fn hear(stage: &mut Stage, at: usize, from: usize, records: Vec<Record>) {
    let from = stage.id(from);
    stage.hosts[at].ipam.handle_message(from, &Message::Records(records).emit(), stage.now);
    stage.settle();
}

#[test]
fn what_was_lost_is_found_in_a_round() {
    let mut stage = Stage::new(3, 24, 16);
    // Sessions stand, but what is sent now is lost.
    let links = std::mem::take(&mut stage.links);
    stage.claim(0, claim("c", Some("web"))).unwrap();
    stage.claim(0, crate::Claim { address: Some("10.32.0.100".parse().unwrap()), ..claim("d", None) }).unwrap();
    assert_ne!(stage.hosts[0].ipam.table(), stage.hosts[2].ipam.table());
    stage.links = links;
    stage.pass(Duration::from_secs(15));
    assert_eq!(stage.hosts[0].ipam.table(), stage.hosts[2].ipam.table());
    assert_eq!(stage.hosts[2].ipam.directory().count(), 2);
}

fn lines(stage: &Stage, host: usize) -> Vec<wire::message::EntryBody> {
    stage.hosts[host].ipam.directory().cloned().collect()
}

/// More than one message, and more than one turn, in either direction.
#[test]
fn thousands_that_were_missed_come_in_one_go() {
    let mut stage = Stage::new(3, 18, 64);
    stage.isolate(2);
    for number in 0..5000 {
        stage.claim(0, claim(&number.to_string(), Some(&format!("work-{number}")))).unwrap();
    }
    for other in [0, 1] {
        stage.link(2, other);
        stage.settle();
        assert_eq!((lines(&stage, 2).len(), lines(&stage, other).len()), (5000, 5000));
        assert_eq!(stage.hosts[2].ipam.table(), stage.hosts[0].ipam.table());
    }
    // What one round costs from now on: a digest, and nothing that grows with the ledger.
    let before: usize = stage.hosts.iter().map(|host| host.sent_bytes).sum();
    stage.pass(Duration::from_secs(100));
    let round: usize = stage.hosts.iter().map(|host| host.sent_bytes).sum::<usize>() - before;
    assert!(round <= 3 * 11 * 3000, "{round} bytes for three hosts");
    // One difference costs its bucket, and the line.
    let links = std::mem::take(&mut stage.links);
    stage.release(0, "4999");
    stage.links = links;
    let before: usize = stage.hosts.iter().map(|host| host.sent_bytes).sum();
    stage.pass(Duration::from_secs(30));
    let repaired: usize = stage.hosts.iter().map(|host| host.sent_bytes).sum::<usize>() - before;
    assert_eq!(lines(&stage, 0), lines(&stage, 2));
    assert!(repaired <= 3 * 3 * 3000 + 3 * 4000, "{repaired} bytes for one line");
}

#[test]
fn a_round_costs_the_same_however_many_peers_there_are() {
    let mut stage = Stage::new(12, 20, 16);
    stage.pass(Duration::from_secs(1));
    let before: Vec<usize> = stage.hosts.iter().map(|host| host.sent_bytes).collect();
    stage.pass(Duration::from_secs(100));
    for (host, before) in stage.hosts.iter().zip(before) {
        let sent = host.sent_bytes - before;
        assert!((10 * 3 * 8..11 * (3 * 20 + 130)).contains(&sent), "{sent} bytes in ten rounds");
    }
}

#[test]
fn a_forged_record_is_not_taken() {
    let mut stage = Stage::new(3, 24, 16);
    let head =
        stage.hosts[0].ipam.ledger.head(&Range { network: NetworkId::DEFAULT, start: Slot(0), length: 16 }).unwrap();
    let mut forged = record(1, 0, 16, 2, 2, head.hash);
    forged.signature.0[0] ^= 1;
    hear(&mut stage, 0, 2, vec![forged]);
    assert_eq!(stage.owner(0, 2), identity(1));
}

#[test]
fn two_records_of_one_epoch_quarantine_the_range_everywhere_and_drop_nobody() {
    let mut stage = Stage::new(4, 24, 16);
    let running = stage.claim(1, claim("c", None)).unwrap();
    let head =
        stage.hosts[0].ipam.ledger.head(&Range { network: NetworkId::DEFAULT, start: Slot(0), length: 16 }).unwrap();
    // Host 1 gives its block to 2, and to 3.
    hear(&mut stage, 2, 1, vec![record(1, 0, 16, 2, 2, head.hash)]);
    hear(&mut stage, 3, 1, vec![record(1, 0, 16, 3, 2, head.hash)]);
    stage.pass(Duration::from_secs(15));
    for host in 0..4 {
        let alarmed = stage.hosts[host]
            .events
            .iter()
            .any(|event| matches!(event, Event::Alarm(Alarm::Equivocation { author, .. }) if *author == identity(1)));
        assert!(alarmed, "host {host}");
        assert!(stage.hosts[host].ipam.is_frozen(NetworkId::DEFAULT, running.slot, stage.now));
    }
    // Nobody gives anything out of it, and everybody goes on with the rest.
    let slot = stage.claim(2, claim("d", None)).unwrap().slot;
    assert!(slot.0 >= 16);
    for host in 0..4 {
        stage.restart(host);
        assert!(stage.hosts[host].ipam.is_frozen(NetworkId::DEFAULT, running.slot, stage.now));
    }
}

#[test]
fn a_held_address_in_quarantine_is_given_to_nobody() {
    let mut stage = Stage::new(4, 24, 16);
    stage.claim(1, claim("c1", Some("web"))).unwrap();
    stage.release(1, "c1");
    let held = stage.claim(2, claim("c2", Some("web"))).unwrap().slot;
    stage.release(2, "c2");
    give_twice(&mut stage, held);
    stage.pass(Duration::from_secs(15));
    assert!(stage.hosts[2].ipam.is_frozen(NetworkId::DEFAULT, held, stage.now));
    let again = stage.claim(2, claim("again", Some("web"))).unwrap();
    assert_ne!(again.slot, held);
}

/// Its address is given to nobody for as long as nobody knows whose it is; the workload goes on without it.
#[test]
fn a_workload_that_stops_on_an_address_in_quarantine_may_start_elsewhere() {
    let mut stage = Stage::new(4, 24, 16);
    stage.claim(1, claim("c1", Some("web"))).unwrap();
    stage.release(1, "c1");
    let slot = stage.claim(2, claim("c2", Some("web"))).unwrap().slot;
    give_twice(&mut stage, slot);
    stage.pass(Duration::from_secs(15));
    assert!(stage.hosts[2].ipam.is_frozen(NetworkId::DEFAULT, slot, stage.now));
    let running = stage.claim(3, claim("c3", Some("web"))).unwrap_err();
    assert!(running.to_string().contains("host2"), "{running}");
    stage.release(2, "c2");
    assert_eq!(stage.hosts[2].ipam.leases().count(), 0);
    assert_ne!(stage.claim(3, claim("c3", Some("web"))).unwrap().slot, slot);
}

/// Host 1 gave the slot to 2, and to 3 besides.
fn give_twice(stage: &mut Stage, slot: Slot) {
    let range = Range { network: NetworkId::DEFAULT, start: slot, length: 1 };
    let head = stage.hosts[0].ipam.ledger.head(&range).unwrap();
    let given = stage.hosts[0].ipam.ledger.record(&head.hash).unwrap().body.clone();
    hear(stage, 0, 1, vec![record(1, slot.0, 1, 3, given.epoch.0, given.previous)]);
}

/// Blocks of thousands of slots, most of which are away: what comes home to one names all the others.
#[test]
fn long_records_fill_no_message_beyond_its_limit() {
    let mut stage = Stage::new(2, 24, 16);
    let away =
        || Homecoming { slots: vec![Hash([1; 32])], apart: (0..2000).map(|slot| Slot((1 << 28) + slot)).collect() };
    let records: Vec<_> = (0..1000)
        .map(|number| {
            let mut long = record(1, number * 4096, 4096, 1, 9, Hash([0; 32]));
            long.body.home = Some(away());
            long
        })
        .collect();
    let (ipam, to) = (&mut stage.hosts[0].ipam, identity(1));
    ipam.send_records(to, records.clone());
    let mut heard = Vec::new();
    while let Some((_, bytes)) = ipam.poll_transmit() {
        match Message::parse(&bytes) {
            Ok(Message::Records(some)) => heard.extend(some),
            other => panic!("{} bytes: {other:?}", bytes.len()),
        }
    }
    heard.sort_by_key(|record| record.body.range.start);
    // Not with `assert_eq`: nobody reads six megabytes.
    assert!(heard == records, "{} of {}", heard.len(), records.len());
}

#[test]
fn what_goes_to_a_stranger_or_comes_from_one_waits_until_it_is_admitted() {
    let mut stage = Stage::new(2, 24, 16);
    let head =
        stage.hosts[0].ipam.ledger.head(&Range { network: NetworkId::DEFAULT, start: Slot(0), length: 16 }).unwrap();
    let given = record(1, 0, 16, 7, 2, head.hash);
    let previous = crate::ledger::hash_of_record(&given);
    hear(&mut stage, 0, 1, vec![given, record(7, 0, 16, 0, 3, previous)]);
    assert_eq!(stage.owner(0, 2), identity(1));
    stage.hosts[0].ipam.admit(identity(7), None, stage.now);
    stage.settle();
    assert_eq!(stage.owner(0, 2), identity(0));
}

/// Nobody could ask it for what it has, and nobody could revoke it.
#[test]
fn what_is_given_to_nobody_stays_where_it_was_and_goes_with_its_giver() {
    let mut stage = Stage::new(3, 24, 16);
    let head =
        stage.hosts[0].ipam.ledger.head(&Range { network: NetworkId::DEFAULT, start: Slot(0), length: 16 }).unwrap();
    for host in [0, 2] {
        hear(&mut stage, host, 1, vec![record(1, 0, 16, 9, 2, head.hash)]);
        assert_eq!(stage.owner(host, 2), identity(1), "host {host}");
    }
    stage.restart(2);
    stage.pass(Duration::from_secs(30));
    stage.isolate(1);
    let request = stage.request();
    stage.hosts[0].ipam.revoke(request, &[identity(1)], stage.now);
    stage.pass(Duration::from_secs(15));
    for host in [0, 2] {
        let owner = stage.owner(host, 2);
        assert!([identity(0), identity(2)].contains(&owner), "host {host}: {owner}");
        assert_eq!(owner, stage.owner(0, 2));
    }
}

#[test]
fn any_bytes_are_taken_calmly() {
    let mut stage = Stage::new(2, 24, 16);
    let from = stage.id(1);
    for length in 0..200u8 {
        let bytes: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(length)).collect();
        stage.hosts[0].ipam.handle_message(from, &bytes, stage.now);
    }
    stage.settle();
    assert!(stage.claim(0, claim("c", None)).is_ok());
}
