//! Several hosts start one workload at the same moment, or while they cannot speak to one another.

use std::time::Duration;

use wire::message::{ENTRY_VERSION, Entry, EntryBody, EntryState, LINES_MAX, Message, Name, NameVerdict};
use wire::{NetworkId, Range};

use crate::seal::sign;
use crate::stage::{Stage, attachment, claim, signing_key};
use crate::{Alarm, Claim, ClaimError, Event, Hold, Lease, LeaseKey, LeaseState};

/// What the hosts' simultaneous claims led to: the winner's lease, and who was told about whom.
fn race(stage: &mut Stage, hosts: &[usize], wish: &dyn Fn(usize) -> Claim) -> (Vec<(usize, Lease)>, Vec<ClaimError>) {
    let asked: Vec<_> = hosts.iter().map(|host| (*host, stage.begin(*host, wish(*host)))).collect();
    stage.pass(Duration::from_secs(5));
    let (mut won, mut lost) = (Vec::new(), Vec::new());
    for (host, request) in asked {
        match stage.answer(host, request).expect("an answer") {
            Ok(lease) => won.push((host, lease)),
            Err(error) => lost.push(error),
        }
    }
    (won, lost)
}

fn names_host(error: &ClaimError, host: usize) -> bool {
    let text = error.to_string();
    text.contains(&format!("host{host}"))
}

#[test]
fn a_host_that_can_tell_of_no_further_workload_says_so() {
    let mut stage = Stage::new(1, 24, 16);
    let slot = stage.claim(0, claim("c1", Some("web"))).unwrap().slot;
    let key = LeaseKey { network: NetworkId::DEFAULT, workload: "web".to_owned(), ifname: "eth0".to_owned() };
    let ipam = &mut stage.hosts[0].ipam;
    let mut line = ipam.directory.current_entry(&key, &ipam.ledger).unwrap().clone();
    for number in 1..LINES_MAX {
        line.body.workload = number.to_string();
        assert!(ipam.directory.merge(&line));
    }
    // A name that has its place keeps it.
    let said = |stage: &Stage| stage.hosts[0].events.contains(&Event::Alarm(Alarm::DirectoryFull));
    stage.release(0, "c1");
    assert_eq!(stage.claim(0, claim("c2", Some("web"))).unwrap().slot, slot);
    assert!(!said(&stage));
    stage.claim(0, claim("c3", Some("db"))).unwrap();
    assert!(said(&stage));
}

#[test]
fn a_workload_that_is_new_everywhere_is_started_by_one_host() {
    let mut stage = Stage::new(4, 24, 16);
    for round in 0..50 {
        let workload = format!("web-{round}");
        let wish = |host: usize| claim(&format!("c{host}-{round}"), Some(&workload));
        let (won, lost) = race(&mut stage, &[0, 1, 2, 3], &wish);
        let [(winner, _)] = won.as_slice() else { panic!("{won:?}") };
        assert!(lost.iter().all(|error| names_host(error, *winner)), "{winner} won: {lost:?}");
        // Whoever lost gets it when the winner has stopped, with the same address.
        let slot = won[0].1.slot;
        stage.release(*winner, &format!("c{winner}-{round}"));
        let next = (winner + 1) % 4;
        assert_eq!(stage.claim(next, claim("next", Some(&workload))).unwrap().slot, slot);
        stage.release(next, "next");
        stage.pass(Duration::from_secs(800));
    }
}

#[test]
fn a_held_workload_and_an_address_go_to_one_host() {
    let mut stage = Stage::new(3, 24, 16);
    for round in 0..30 {
        let (workload, container) = (format!("web-{round}"), |host: usize| format!("c{host}-{round}"));
        stage.claim(0, claim("first", Some(&workload))).unwrap();
        stage.release(0, "first");
        let (won, lost) = race(&mut stage, &[1, 2], &|host| claim(&container(host), Some(&workload)));
        assert_eq!(won.len(), 1, "{won:?}");
        assert!(lost.iter().all(|error| names_host(error, won[0].0)), "{won:?} {lost:?}");
        let winner = won[0].0;
        stage.release(winner, &container(winner));
        // The same address, by two workloads and by none.
        let address = Some("10.32.0.77".parse().unwrap());
        let names = if round % 2 == 0 { [Some("a"), Some("b")] } else { [None, None] };
        let wish = |host: usize| Claim { address, ..claim(&container(host), names[host - 1]) };
        let (won, lost) = race(&mut stage, &[1, 2], &wish);
        assert_eq!(won.len(), 1, "{won:?}");
        assert!(lost.iter().all(|error| names_host(error, won[0].0)), "{won:?} {lost:?}");
        let winner = won[0].0;
        stage.release(winner, &container(winner));
        stage.pass(Duration::from_secs(800));
    }
}

/// Only who gave the name up knows that it did: what the others have heard of it is not true any more.
#[test]
fn a_workload_that_was_given_up_a_moment_ago_is_started_by_one_host() {
    let mut stage = Stage::new(4, 24, 16);
    for round in 0..20 {
        let workload = format!("web-{round}");
        stage.claim(0, claim("first", Some(&workload))).unwrap();
        stage.release(0, "first");
        let links = std::mem::take(&mut stage.links);
        let request = stage.request();
        stage.hosts[0].ipam.release_workload(request, NetworkId::DEFAULT, &workload, stage.now);
        stage.settle();
        stage.links = links;
        let racers: &[usize] = if round % 2 == 0 { &[1, 2, 3] } else { &[0, 1, 2, 3] };
        let wish = |host: usize| claim(&format!("c{host}"), Some(&workload));
        let (won, lost) = race(&mut stage, racers, &wish);
        let [(winner, _)] = won.as_slice() else { panic!("{won:?}") };
        assert!(lost.iter().all(|error| names_host(error, *winner)), "{winner} won: {lost:?}");
        stage.release(*winner, &format!("c{winner}"));
        stage.pass(Duration::from_secs(800));
    }
}

/// Each of them asks for an address of its own choice, so that no two ask the same host for a slot.
#[test]
fn a_held_workload_that_is_wanted_at_several_addresses_is_started_at_one() {
    let mut stage = Stage::new(4, 24, 16);
    for round in 0..20 {
        let workload = format!("web-{round}");
        stage.claim(0, claim("first", Some(&workload))).unwrap();
        stage.release(0, "first");
        let wish = |host: usize| {
            let address = (host != 3).then(|| format!("10.32.0.{}", 100 + host).parse().unwrap());
            Claim { address, ..claim(&format!("c{host}"), Some(&workload)) }
        };
        let (won, lost) = race(&mut stage, &[1, 2, 3], &wish);
        let [(winner, _)] = won.as_slice() else { panic!("{won:?}") };
        assert!(lost.iter().all(|error| names_host(error, *winner)), "{winner} won: {lost:?}");
        stage.release(*winner, &format!("c{winner}"));
        stage.pass(Duration::from_secs(800));
    }
}

/// The container that was cut off still runs when its old address comes to its host for another workload.
#[test]
fn an_address_that_comes_back_for_another_workload_is_not_the_old_containers() {
    let mut stage = Stage::new(2, 24, 16);
    let address = Some("10.32.0.5".parse().unwrap());
    let old = stage.claim(0, Claim { address, ..claim("old", Some("web")) }).unwrap();
    let take_over = Claim { handover: wire::message::Handover::TakeOver, ..claim("new", Some("web")) };
    assert_eq!(stage.claim(1, take_over).unwrap().slot, old.slot);
    // Meanwhile the workload goes on at another address, and the first one is free.
    stage.release(1, "new");
    let elsewhere = Some("10.32.0.20".parse().unwrap());
    stage.claim(1, Claim { address: elsewhere, ..claim("newer", Some("web")) }).unwrap();
    stage.pass(Duration::from_secs(130));
    let other = stage.claim(0, Claim { address, ..claim("other", Some("db")) }).unwrap();
    assert_eq!(other.slot, old.slot);
    assert!(!stage.hosts[0].events.iter().any(|event| matches!(event, Event::Unfenced { .. })));
    assert_eq!(stage.hosts[0].ipam.lease_of(&attachment("old")), None);
    // Its end frees nothing.
    stage.release(0, "old");
    assert!(stage.hosts[0].ipam.lease_of(&attachment("other")).is_some());
}

#[test]
fn one_workload_cannot_run_at_two_addresses_of_its_own_choice() {
    let mut stage = Stage::new(2, 24, 16);
    let at = |address: &str, container: &str| Claim {
        address: Some(address.parse().unwrap()),
        ..claim(container, Some("web"))
    };
    stage.claim(0, at("10.32.0.5", "a")).unwrap();
    let error = stage.claim(1, at("10.32.0.20", "b")).unwrap_err();
    assert!(names_host(&error, 0), "{error}");
    // When it has stopped there it may run here, at another address, and the old one is nobody's.
    stage.release(0, "a");
    assert!(stage.claim(1, at("10.32.0.20", "b")).is_ok());
    assert_eq!(stage.hosts[0].ipam.leases().count(), 0);
    assert_eq!(stage.hosts[0].ipam.directory().count(), 1);
}

#[test]
fn a_start_does_not_wait_for_a_registrar_that_is_silent() {
    let mut stage = Stage::new(3, 24, 16);
    let links = std::mem::take(&mut stage.links);
    for number in 0..10 {
        let begun = stage.now;
        let request = stage.begin(1, claim(&format!("c{number}"), Some(&format!("web-{number}"))));
        stage.pass(Duration::from_millis(1001));
        assert!(stage.answer(1, request).is_some_and(|answer| answer.is_ok()), "{:?}", stage.now - begun);
    }
    stage.links = links;
}

#[test]
fn a_registrar_that_goes_while_it_is_asked_is_replaced() {
    let mut stage = Stage::new(3, 24, 16);
    for number in 0..10 {
        let links = std::mem::take(&mut stage.links);
        let request = stage.begin(1, claim(&format!("c{number}"), Some(&format!("web-{number}"))));
        stage.settle();
        stage.links = links;
        for other in [0, 2] {
            stage.cut(1, other);
        }
        stage.settle();
        assert!(stage.answer(1, request).is_some_and(|answer| answer.is_ok()));
        for other in [0, 2] {
            stage.link(1, other);
        }
        stage.settle();
    }
}

#[test]
fn a_claim_that_fails_gives_its_name_back_at_once() {
    let mut stage = Stage::new(3, 28, 8);
    // Everything is taken.
    for host in 0..3 {
        let mut full = false;
        for number in 0..16 {
            full |= !full && stage.claim(host, claim(&format!("{host}-{number}"), None)).is_err();
        }
        assert!(full);
    }
    for number in 0..6 {
        let workload = format!("web-{number}");
        assert!(matches!(stage.claim(0, claim("a", Some(&workload))), Err(ClaimError::Exhausted { .. })));
        let second = stage.claim(1, claim("b", Some(&workload)));
        assert!(matches!(second, Err(ClaimError::Exhausted { .. })), "{second:?}");
    }
}

/// Both halves of a cluster start it: two addresses, one name. The order of the directory says whose, everywhere alike.
#[test]
fn a_name_split_by_a_partition_is_one_hosts_afterwards() {
    let mut stage = Stage::new(2, 24, 16);
    stage.cut(0, 1);
    let leases: Vec<_> =
        (0..2).map(|host| stage.claim(host, claim(&format!("c{host}"), Some("web"))).unwrap()).collect();
    assert_ne!(leases[0].slot, leases[1].slot);
    stage.link(0, 1);
    stage.pass(Duration::from_secs(15));
    let named: Vec<Vec<_>> =
        (0..2).map(|host| stage.hosts[host].ipam.directory().map(|line| line.author).collect()).collect();
    assert_eq!(named[0], named[1]);
    let winner = (0..2).find(|host| named[0] == [stage.id(*host)]).unwrap();
    let loser = 1 - winner;
    let told = |stage: &Stage, host: usize| {
        let split = |event: &&Event| matches!(event, Event::Alarm(Alarm::SplitName { .. }));
        stage.hosts[host].events.iter().filter(split).count()
    };
    assert_eq!((told(&stage, loser), told(&stage, winner)), (1, 0));
    // Both run on: nobody's address was given twice.
    for (host, before) in leases.iter().enumerate() {
        let lease = stage.hosts[host].ipam.lease_of(&attachment(&format!("c{host}"))).unwrap();
        assert_eq!((lease.slot, lease.state), (before.slot, LeaseState::Active));
    }
    stage.restart(loser);
    // The loser's address goes with its container, and the workload's next start finds the winner.
    stage.release(loser, &format!("c{loser}"));
    assert_eq!(stage.hosts[loser].ipam.leases().count(), 0);
    let error = stage.claim(loser, claim("again", Some("web"))).unwrap_err();
    assert!(names_host(&error, winner), "{error}");
    stage.release(winner, &format!("c{winner}"));
    let back = stage.claim(loser, claim("again", Some("web"))).unwrap();
    assert_eq!(back.slot, leases[winner].slot);
    assert_eq!(stage.hosts[loser].ipam.owner(NetworkId::DEFAULT, back.slot), Some(stage.id(loser)));
}

/// The line of the host that got a name comes before the record by which that host owns the slot.
#[test]
fn a_name_stays_pledged_until_a_line_of_it_counts() {
    let mut stage = Stage::new(3, 24, 16);
    let lease = stage.claim(1, claim("c1", None)).unwrap();
    let (winner, other, now) = (stage.id(0), stage.id(1), stage.now);
    let (network, workload, ifname) = (NetworkId::DEFAULT, "web".to_owned(), "eth0".to_owned());
    let body = EntryBody {
        network,
        workload: workload.clone(),
        ifname: ifname.clone(),
        slot: lease.slot,
        epoch: lease.epoch,
        version: 1,
        number: 1,
        author: winner,
        state: EntryState::Active,
        container_id: "c0".to_owned(),
        mac: None,
        hold_s: None,
        came: None,
    };
    let line = Entry { signature: sign(&signing_key(0), ENTRY_VERSION, &body), body };
    let name = Name { network, workload, ifname };
    let ask = |attempt| Message::NameAsk { name: name.clone(), attempt, number: 1 }.emit();
    let registrar = &mut stage.hosts[2].ipam;
    registrar.handle_message(winner, &ask(1), now);
    registrar.handle_message(winner, &Message::Entries(vec![line]).emit(), now);
    registrar.handle_message(other, &ask(2), now);
    registrar.poll_store().unwrap();
    registrar.handle_stored(now);
    let mut answers = Vec::new();
    while let Some((_, bytes)) = registrar.poll_transmit() {
        if let Ok(Message::NameAnswer { attempt, verdict, .. }) = Message::parse(&bytes) {
            answers.push((attempt, verdict == NameVerdict::Granted));
        }
    }
    assert_eq!(answers, [(1, true), (2, false)]);
}

/// It has forgotten that it lost the name, and takes a slot home, with which it tells everybody of its block's leases.
#[test]
fn a_name_that_was_lost_is_not_taken_back_after_a_restart() {
    let mut stage = Stage::new(2, 24, 16);
    stage.claim(1, claim("traveller-1", Some("traveller"))).unwrap();
    stage.claim(0, claim("traveller-0", Some("other"))).unwrap();
    stage.cut(0, 1);
    for host in 0..2 {
        stage.claim(host, claim(&format!("c{host}"), Some("web"))).unwrap();
    }
    stage.link(0, 1);
    stage.pass(Duration::from_secs(15));
    let author = |stage: &Stage| {
        let mut lines = stage.hosts[0].ipam.directory().filter(|line| line.workload == "web");
        lines.next().map(|line| line.author)
    };
    let winner = author(&stage).unwrap();
    let loser = (0..2).find(|host| stage.id(*host) != winner).unwrap();
    // There and back, from the loser's block.
    let (name, container) = if loser == 0 { ("other", "traveller-0") } else { ("traveller", "traveller-1") };
    stage.release(loser, container);
    stage.claim(1 - loser, claim("away", Some(name))).unwrap();
    stage.release(1 - loser, "away");
    stage.claim(loser, claim("back", Some(name))).unwrap();
    stage.restart(loser);
    stage.pass(Duration::from_secs(30));
    assert_eq!(author(&stage), Some(winner));
}

/// Both halves start it, and the half that keeps the name ends it: from then on it runs at the other one alone.
#[test]
fn whoever_lost_a_name_has_it_when_the_winner_has_given_it_up() {
    let mut stage = Stage::new(3, 24, 16);
    (0..3).for_each(|host| stage.isolate(host));
    let briefly = |container: &str| Claim { hold: Some(Hold::For(Duration::ZERO)), ..claim(container, Some("web")) };
    let slots: Vec<_> = (0..2).map(|host| stage.claim(host, briefly(&format!("c{host}"))).unwrap().slot).collect();
    [(0, 1), (0, 2), (1, 2)].into_iter().for_each(|(a, b)| stage.link(a, b));
    stage.pass(Duration::from_secs(15));
    let says = |stage: &Stage| stage.hosts[2].ipam.directory().map(|line| (line.author, line.slot)).collect::<Vec<_>>();
    let winner = (0..2).find(|host| says(&stage) == [(stage.id(*host), slots[*host])]).unwrap();
    let loser = 1 - winner;
    stage.release(winner, &format!("c{winner}"));
    // The block of the one that is left gets a new epoch: a slot of it has been away and is home again.
    stage.claim(loser, claim("t0", Some("traveller"))).unwrap();
    stage.release(loser, "t0");
    stage.claim(2, claim("t1", Some("traveller"))).unwrap();
    stage.release(2, "t1");
    stage.claim(loser, claim("t2", Some("traveller"))).unwrap();
    stage.pass(Duration::from_secs(200));
    assert!(says(&stage).contains(&(stage.id(loser), slots[loser])), "{:?}", says(&stage));
    let error = stage.claim(2, claim("second", Some("web"))).unwrap_err();
    assert!(matches!(&error, ClaimError::HeldElsewhere { .. }) && names_host(&error, loser), "{error}");
    // Its end is told too, and then the workload may start anywhere.
    stage.release(loser, &format!("c{loser}"));
    stage.claim(2, claim("third", Some("web"))).unwrap();
}

/// The winner's block has a new epoch, and its word for that is on its way.
#[test]
fn a_name_is_not_taken_back_before_the_winner_has_given_it_up() {
    let mut stage = Stage::new(3, 24, 16);
    stage.cut(0, 1);
    stage.isolate(2);
    let leases: Vec<_> =
        (0..2).map(|host| stage.claim(host, claim(&format!("c{host}"), Some("web"))).unwrap()).collect();
    stage.link(0, 1);
    stage.pass(Duration::from_secs(15));
    let author = stage.hosts[0].ipam.directory().next().unwrap().author;
    let winner = (0..2).find(|host| stage.id(*host) == author).unwrap();
    let loser = 1 - winner;
    stage.cut(0, 1);
    stage.link(winner, 2);
    stage.claim(winner, claim("t0", Some("traveller"))).unwrap();
    stage.release(winner, "t0");
    stage.claim(2, claim("t1", Some("traveller"))).unwrap();
    stage.release(2, "t1");
    stage.claim(winner, claim("t2", Some("traveller"))).unwrap();
    stage.pass(Duration::from_secs(200));
    let range = Range { network: NetworkId::DEFAULT, start: leases[winner].slot, length: 1 };
    let records = stage.hosts[winner].ipam.ledger.history(&range);
    let (from, me, now) = (stage.id(winner), stage.id(loser), stage.now);
    let (key, ipam) = (leases[loser].key(), &mut stage.hosts[loser].ipam);
    let before = ipam.directory.entry_of(&key, me).cloned();
    ipam.handle_message(from, &Message::Records(records).emit(), now);
    assert_eq!(ipam.directory.current(&key, &ipam.ledger).map(|line| line.author), Some(me));
    ipam.settle_names(now);
    assert!(before.is_some());
    assert_eq!(ipam.directory.entry_of(&key, me).cloned(), before);
    stage.link(0, 1);
    stage.pass(Duration::from_secs(15));
    assert!(stage.hosts[loser].ipam.directory().any(|line| line.workload == "web" && line.author == author));
}
