//! What nothing rests on is forgotten, once everybody is past it.

use std::time::Duration;

use wire::message::Message;
use wire::{NetworkId, Range, Slot};

use crate::stage::{Stage, claim};
use crate::store::Table;

/// Records in the store of a host, and their bytes.
fn stored(stage: &Stage, host: usize) -> (usize, usize) {
    let rows = stage.hosts[host].disk.iter().filter(|((table, _), _)| [Table::Records, Table::Annals].contains(table));
    rows.fold((0, 0), |(count, bytes), ((_, key), value)| (count + 1, bytes + key.len() + value.len()))
}

/// The workload's container stops here and starts there; the address goes with it.
fn hop(stage: &mut Stage, number: usize, from: usize, to: usize) -> Slot {
    stage.release(from, &format!("c{number}"));
    let slot = stage.claim(to, claim(&format!("c{}", number + 1), Some("web"))).unwrap().slot;
    // Six moves within three minutes would freeze it.
    stage.pass(Duration::from_secs(37));
    slot
}

fn restart_all(stage: &mut Stage) {
    for host in 0..stage.hosts.len() {
        let before = stage.hosts[host].ipam.table();
        stage.restart(host);
        assert_eq!(stage.hosts[host].ipam.table(), before, "host {host}");
    }
    stage.settle();
}

#[test]
fn ten_thousand_moves_of_an_address_leave_a_few_records() {
    let mut stage = Stage::new(3, 24, 16);
    let slot = stage.claim(0, claim("c0", Some("web"))).unwrap().slot;
    let mut most = 0;
    for number in 0..10_000 {
        // Now and then it is where it began for long enough to come home.
        let (from, to) = ([0, 1, 2][number % 3], [0, 1, 2][(number + 1) % 3]);
        assert_eq!(hop(&mut stage, number, from, to), slot);
        if number % 1000 == 2 {
            stage.pass(Duration::from_secs(200));
        }
        if number % 2500 == 1000 {
            restart_all(&mut stage);
        }
        most = most.max(stored(&stage, number % 3).0);
    }
    stage.pass(Duration::from_secs(60));
    let stores: Vec<_> = (0..3).map(|host| stored(&stage, host)).collect();
    println!("at most {most} records at a time; at the end {stores:?} (records, bytes)");
    assert!(stores.iter().all(|(records, bytes)| *records <= 10 && *bytes <= 4096), "{stores:?}");
    assert!(most <= 40, "{most} records");
    restart_all(&mut stage);
    // Somebody who joins gets what is left, and knows who has what by it.
    stage.add(3);
    stage.pass(Duration::from_secs(15));
    assert_eq!(stage.hosts[3].ipam.table(), stage.hosts[0].ipam.table());
    assert_eq!(
        stage.hosts[3].ipam.owner(NetworkId::DEFAULT, slot),
        stage.hosts[1].ipam.owner(NetworkId::DEFAULT, slot)
    );
}

#[test]
fn who_is_away_finds_everything_there_when_it_is_back() {
    let mut stage = Stage::new(3, 24, 16);
    let slot = stage.claim(0, claim("c0", Some("web"))).unwrap().slot;
    for number in 0..40 {
        hop(&mut stage, number, number % 2, (number + 1) % 2);
    }
    let before = stored(&stage, 0).0;
    stage.isolate(2);
    for number in 40..140 {
        hop(&mut stage, number, number % 2, (number + 1) % 2);
    }
    // It has not heard of these, so nobody has forgotten them.
    assert!(stored(&stage, 0).0 > before + 90, "{:?}", stored(&stage, 0));
    stage.link(2, 1);
    stage.pass(Duration::from_secs(120));
    for host in 0..3 {
        assert_eq!(stage.hosts[host].ipam.table(), stage.hosts[0].ipam.table());
    }
    stage.link(2, 0);
    stage.pass(Duration::from_secs(120));
    let stores: Vec<_> = (0..3).map(|host| stored(&stage, host).0).collect();
    assert!(stores.iter().all(|records| *records <= 10), "{stores:?}");
    assert_eq!(stage.owner(2, slot.0), stage.id(0));
}

/// It hears of the last of several moves alone, and its question about those before is lost.
#[test]
fn who_missed_what_lies_between_gets_it_in_a_round() {
    let mut stage = Stage::new(3, 24, 16);
    let slot = stage.claim(0, claim("c0", Some("web"))).unwrap().slot;
    hop(&mut stage, 0, 0, 1);
    stage.isolate(2);
    for number in 1..6 {
        hop(&mut stage, number, number % 2, (number + 1) % 2);
    }
    let range = Range { network: NetworkId::DEFAULT, start: slot, length: 1 };
    let newest = stage.hosts[0].ipam.ledger.history(&range).into_iter().max_by_key(crate::ledger::order_of).unwrap();
    let (from, now) = (stage.id(0), stage.now);
    stage.hosts[2].ipam.handle_message(from, &Message::Records(vec![newest]).emit(), now);
    stage.settle();
    assert_ne!(stage.owner(2, slot.0), stage.owner(0, slot.0));
    stage.link(2, 0);
    stage.pass(Duration::from_secs(15));
    assert_eq!(stage.hosts[2].ipam.table(), stage.hosts[0].ipam.table());
}

/// A revocation takes away as much as it does where nothing was forgotten, and what it names is kept.
#[test]
fn what_a_revocation_names_is_kept_and_its_heirs_are_the_same_after_restarts() {
    // One that joined, and the first, whose block is carved out of a pool of its own.
    for victim in [3, 0] {
        revoked_among_forgotten(victim);
    }
}

fn revoked_among_forgotten(victim: usize) {
    let mut stage = Stage::new(4, 24, 16);
    let others: Vec<_> = (0..4).filter(|host| *host != victim).collect();
    stage.claim(0, claim("c0", Some("web"))).unwrap();
    for number in 0..13 {
        hop(&mut stage, number, number % 4, (number + 1) % 4);
    }
    stage.pass(Duration::from_secs(120));
    stage.isolate(victim);
    let (request, victim) = (stage.request(), stage.id(victim));
    stage.hosts[others[0]].ipam.revoke(request, &[victim], stage.now);
    stage.pass(Duration::from_secs(15));
    for &host in &others {
        assert!(stage.hosts[host].ipam.table().iter().all(|owned| owned.owner != victim));
        assert_eq!(stage.hosts[host].ipam.table(), stage.hosts[others[0]].ipam.table());
    }
    let mut at = others.iter().position(|host| stage.owner(others[0], 2) == stage.id(*host)).unwrap();
    for number in 13..53 {
        let to = (at + 1) % 3;
        stage.release(others[at], &format!("c{number}"));
        stage.claim(others[to], claim(&format!("c{}", number + 1), Some("web"))).unwrap();
        at = to;
        stage.pass(Duration::from_secs(37));
    }
    stage.pass(Duration::from_secs(120));
    for _ in 0..2 {
        for &host in &others {
            let before = stage.hosts[host].ipam.table();
            stage.restart(host);
            assert_eq!(stage.hosts[host].ipam.table(), before, "host {host}");
        }
        stage.pass(Duration::from_secs(60));
    }
    for &host in &others {
        assert_eq!(stage.hosts[host].ipam.table(), stage.hosts[others[0]].ipam.table());
    }
}

/// What a router without a store has heard is not held: who took its word for it would forget what it needs to follow.
#[test]
fn nothing_is_forgotten_that_a_router_with_a_full_disk_has_not_written() {
    let mut stage = Stage::new(3, 24, 16);
    stage.claim(0, claim("c0", Some("web"))).unwrap();
    stage.pass(Duration::from_secs(30));
    stage.hosts[2].ipam.handle_store_failed(stage.now);
    hop(&mut stage, 0, 0, 1);
    hop(&mut stage, 1, 1, 0);
    stage.pass(Duration::from_secs(400));
    let rows = crate::stage::rows(&stage.hosts[2].disk);
    stage.hosts[2].ipam.resume(&rows, stage.now).unwrap();
    stage.pass(Duration::from_secs(60));
    assert_eq!(stage.hosts[2].ipam.table(), stage.hosts[0].ipam.table());
}
