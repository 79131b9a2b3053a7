//! Whole meshes against one another, in virtual time.

mod addresses;
mod comparing;
mod cuts;
mod hostile;
mod joining;
mod relays;
mod renewal;
mod revoked;
mod sim;
mod sizes;
mod starts;

use std::time::Duration;

use super::*;
use crate::aead::Suite;
use crate::config::{PeerTimes, SessionTimes};
use crate::event::DownReason;
use crate::route::Route;
use sim::{Sim, Weather};

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn pair() -> Sim {
    let mut sim = Sim::new(1, &[&[0, 1], &[0, 1]]);
    assert!(sim.run_while(SECOND, |sim| !sim.all_up()).is_some(), "they never met");
    sim
}

#[test]
fn a_founder_whose_list_holds_the_others_alone_knows_whom_it_vouched_for() {
    let mut sim = Sim::new(1, &[&[1, 2], &[0, 1], &[0, 2]]);
    sim.run(SECOND);
    assert!(sim.all_up());
}

#[test]
fn two_meet_within_two_round_trips() {
    let mut sim = Sim::new(1, &[&[0, 1], &[0, 1]]);
    let took = sim.run_while(SECOND, |sim| !sim.all_up()).unwrap();
    assert!(took <= 6 * MILLISECOND, "{took:?}");
    assert!(sim.data_passes(0, 1) && sim.data_passes(1, 0));
    sim.run(10 * MILLISECOND);
    let plan = sim.mesh(0).plan();
    assert_eq!(plan.peers[0].datagram_bytes, 1472);
    assert_eq!(plan.peers[0].send.as_ref().unwrap().suite, Suite::supported()[0]);
}

#[test]
fn the_weaker_suite_is_agreed_upon() {
    let mut sim = Sim::new(1, &[&[0, 1]]);
    sim.add(1, 1, &[0, 1], Config { suites: vec![Suite::ChaCha20Poly1305], ..Config::default() });
    sim.run(SECOND);
    assert!(sim.data_passes(0, 1) && sim.data_passes(1, 0));
    assert_eq!(sim.mesh(0).plan().peers[0].send.as_ref().unwrap().suite, Suite::ChaCha20Poly1305);
}

#[test]
fn a_third_learns_of_the_second_and_talks_to_it_directly() {
    // 2 was sponsored by 0 and knows only 0; 1 has never heard of 2.
    let mut sim = Sim::new(2, &[&[0, 1, 2], &[0, 1], &[0, 2]]);
    let took = sim.run_while(5 * SECOND, |sim| !sim.all_up()).expect("they never met");
    assert!(took < SECOND, "{took:?}");
    assert!(sim.data_passes(2, 1) && sim.data_passes(1, 2));
    assert_eq!(sim.nodes[1].members.len(), 3);
}

#[test]
fn ten_that_know_only_the_first_find_one_another() {
    let others: Vec<[u8; 2]> = (1..10).map(|number| [0, number]).collect();
    let mut knows: Vec<&[u8]> = vec![&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]];
    knows.extend(others.iter().map(|pair| &pair[..]));
    let mut sim = Sim::new(3, &knows);
    sim.weather.loss = 0.05;
    assert!(sim.run_while(15 * SECOND, |sim| !sim.all_up()).is_some(), "they never met");
}

#[test]
fn twenty_percent_loss_is_lived_with() {
    let mut sim = Sim::new(4, &[&[0, 1], &[0, 1]]);
    sim.weather = Weather { loss: 0.2, jitter: 20 * MILLISECOND, ..Weather::default() };
    assert!(sim.run_while(10 * SECOND, |sim| !sim.all_up()).is_some(), "they never met");
    sim.run(1200 * SECOND);
    assert_eq!((sim.downs(0), sim.downs(1)), (Vec::new(), Vec::new()));
    assert!(sim.data_passes(0, 1) && sim.data_passes(1, 0));
}

#[test]
fn calls_that_cross_converge() {
    for seed in 0..40 {
        let mut sim = Sim::new(seed, &[&[0, 1], &[0, 1]]);
        sim.weather = Weather { jitter: 5 * MILLISECOND, ..Weather::default() };
        sim.run(10 * SECOND);
        assert!(sim.all_up(), "seed {seed}");
        let (left, right) = (sim.mesh(0).plan(), sim.mesh(1).plan());
        let (left, right) = (left.peers[0].send.as_ref().unwrap(), right.peers[0].send.as_ref().unwrap());
        assert_eq!((left.local_index, left.remote_index), (right.remote_index, right.local_index), "seed {seed}");
    }
}

#[test]
fn renewing_loses_no_frame() {
    let session = SessionTimes { renew: 5 * SECOND, jitter: SECOND, refuse: 8 * SECOND, idle: 3600 * SECOND };
    let config = Config { session, ..Config::default() };
    let mut sim = Sim::new(5, &[]);
    sim.add(1, 0, &[0, 1], config.clone());
    sim.add(1, 1, &[0, 1], config);
    sim.weather.delay = 20 * MILLISECOND;
    assert!(sim.run_while(SECOND, |sim| !sim.all_up()).is_some(), "they never met");
    let (mut seen, mut under_way) = (BTreeMap::new(), VecDeque::new());
    for step in 0..12_000 {
        for (from, to) in [(0, 1), (1, 0)] {
            let (datagram, _) = sim.seal_data(from, to).unwrap();
            under_way.push_back((sim.now + 25 * MILLISECOND, from, to, datagram));
        }
        sim.run(5 * MILLISECOND);
        while under_way.front().is_some_and(|(at, ..)| *at <= sim.now) {
            let (_, from, to, mut datagram) = under_way.pop_front().unwrap();
            assert!(sim.open_data(from, to, &mut datagram), "a frame was lost at step {step}");
        }
        seen.insert(sim.mesh(0).plan().peers[0].send.as_ref().unwrap().local_index, step);
    }
    assert!(seen.len() >= 8, "{} sessions in a minute", seen.len());
    assert_eq!((sim.downs(0), sim.downs(1)), (Vec::new(), Vec::new()));
}

#[test]
fn a_restarted_router_is_back_at_once() {
    for seed in 0..20 {
        for restarted in [0, 1] {
            let mut sim = Sim::new(seed, &[&[0, 1], &[0, 1]]);
            sim.weather = Weather { delay: 5 * MILLISECOND, jitter: 5 * MILLISECOND, ..Weather::default() };
            sim.run(30 * SECOND);
            sim.kill(restarted);
            // The other suspects nothing yet: were it to call in this moment, the first of the two calls would wait.
            sim.run(2 * SECOND);
            sim.start(restarted);
            let other = 1 - restarted;
            let took =
                sim.run_while(SECOND, |sim| !(sim.data_passes(0, 1) && sim.data_passes(1, 0))).expect("no traffic");
            assert!(took < 100 * MILLISECOND, "{took:?}");
            assert_eq!(sim.downs(other), vec![DownReason::Restarted]);
        }
    }
}

#[test]
fn all_restarted_at_once_find_one_another() {
    let all: &[u8] = &[0, 1, 2, 3, 4];
    let mut sim = Sim::new(7, &[all, all, all, all, all]);
    sim.run(30 * SECOND);
    (0..5).for_each(|at| sim.kill(at));
    (0..5).for_each(|at| sim.start(at));
    assert!(sim.run_while(SECOND, |sim| !sim.all_up()).is_some());
}

#[test]
fn a_silent_peer_goes_down_once_and_comes_back_by_itself() {
    let mut sim = pair();
    sim.cuts.insert((0, 1));
    sim.run(9 * SECOND);
    assert_eq!(sim.downs(0), Vec::new());
    sim.run(3 * SECOND);
    assert_eq!((sim.downs(0), sim.downs(1)), (vec![DownReason::Silent], vec![DownReason::Silent]));
    assert!(sim.mesh(0).plan().peers[0].send.is_none());
    sim.run(600 * SECOND);
    sim.cuts.clear();
    assert!(sim.run_while(20 * SECOND, |sim| !sim.all_up()).is_some());
    assert!(sim.data_passes(0, 1) && sim.data_passes(1, 0));
    assert_eq!(sim.downs(0).len(), 1);
}

#[test]
fn reliable_messages_arrive_in_order_and_large_ones_too() {
    let mut sim = pair();
    let (to, now) = (sim.identity(1), sim.now);
    let payloads: Vec<Vec<u8>> = (0u8..50).map(|number| vec![number; 1 + usize::from(number) * 20_000]).collect();
    for payload in &payloads {
        sim.mesh(0).send(to, Topic::LEDGER, payload, Delivery::Reliable, now).unwrap();
        sim.drain();
    }
    sim.run(3 * SECOND);
    let arrived = sim.messages(1);
    let first = payloads.len() - arrived.len();
    assert!(arrived == payloads[first..], "the oldest may go when too much waits, nothing else");
    assert!(sim.mesh(0).send(to, Topic::LEDGER, &vec![0; PAYLOAD_BYTES + 1], Delivery::Reliable, now).is_err());
    sim.mesh(0).send(to, Topic::LEDGER, &vec![9; PAYLOAD_BYTES], Delivery::Reliable, now).unwrap();
    sim.run(SECOND);
    assert_eq!(sim.messages(1).last().unwrap().len(), PAYLOAD_BYTES);
}

#[test]
fn lossy_messages_take_a_datagram() {
    let mut sim = pair();
    sim.weather.no_streams = true;
    let (to, now) = (sim.identity(1), sim.now);
    sim.mesh(0).send(to, Topic(9), b"hello", Delivery::Lossy, now).unwrap();
    sim.run(10 * MILLISECOND);
    assert_eq!(sim.messages(1), vec![b"hello".to_vec()]);
    let nobody = Identity([5; 32]);
    assert_eq!(
        sim.mesh(0).send(nobody, Topic(9), b"", Delivery::Lossy, now),
        Err(SendError::NotConnected { peer: nobody })
    );
}

#[test]
fn without_streams_small_messages_arrive_all_the_same() {
    let mut sim = Sim::new(8, &[&[0, 1, 2], &[0, 1], &[0, 2]]);
    sim.weather.no_streams = true;
    sim.run(10 * SECOND);
    assert!(sim.is_up(1, 2), "membership spreads by datagrams");
    let (to, now) = (sim.identity(1), sim.now);
    sim.mesh(0).send(to, Topic::LEDGER, &[3; 1000], Delivery::Reliable, now).unwrap();
    sim.run(5 * SECOND);
    assert_eq!(sim.messages(1), vec![vec![3; 1000]]);
}

#[test]
fn a_peer_that_moves_is_followed() {
    let mut sim = pair();
    sim.run(5 * SECOND);
    sim.nodes[1].address = "198.51.100.7:999".parse().unwrap();
    assert!(sim.run_while(5 * SECOND, |sim| !sim.data_passes(0, 1)).is_some(), "the next question tells");
    // A data envelope tells at once.
    sim.nodes[1].address = "[2001:db8::7]:999".parse().unwrap();
    assert!(!sim.data_passes(0, 1));
    let (mut datagram, _) = sim.seal_data(1, 0).unwrap();
    assert!(sim.open_data(1, 0, &mut datagram));
    assert!(sim.data_passes(0, 1));
    assert_eq!(sim.mesh(0).plan().peers[0].datagram_bytes, 1200, "nothing is known of the new path");
    sim.run(SECOND);
    assert_eq!(sim.mesh(0).plan().peers[0].datagram_bytes, 1452);
    sim.run(60 * SECOND);
    assert_eq!(sim.downs(0), Vec::new());
}

#[test]
fn all_addresses_are_tried_in_turn() {
    let mut sim = Sim::new(9, &[&[0], &[0, 1]]);
    let stale = ["203.0.113.1:1", "[2001:db8::1]:1", "192.0.2.2:6783"].map(|address| address.parse().unwrap());
    let key = sim::credentials(1, 1).signing_key;
    let mut second = sim::member(1, 1);
    second.addresses = SignedAddresses::sign(stale.to_vec(), (1, 1), &key);
    sim.nodes[0].members.insert(second.identity(), second);
    sim.start(0);
    // Only 0 calls: 1 cannot reach it by what it knows.
    sim.kill(1);
    sim.nodes[1].members.clear();
    let nowhere = SignedAddresses::sign(Vec::new(), (0, 0), &sim::credentials(1, 0).signing_key);
    let first = Member { addresses: nowhere, ..sim::member(1, 0) };
    sim.nodes[1].members.insert(first.identity(), first);
    sim.start(1);
    assert!(sim.run_while(3 * SECOND, |sim| !sim.all_up()).is_some());
}

#[test]
fn a_named_address_finds_a_member() {
    let mut sim = Sim::new(10, &[&[0], &[0]]);
    for (at, other) in [(0usize, 1u8), (1, 0)] {
        let key = sim::credentials(1, other).signing_key;
        let nowhere = Member { addresses: SignedAddresses::sign(Vec::new(), (0, 0), &key), ..sim::member(1, other) };
        sim.nodes[at].members.insert(nowhere.identity(), nowhere);
        sim.start(at);
    }
    sim.run(5 * SECOND);
    assert!(!sim.is_up(0, 1));
    let (there, now) = (sim.nodes[1].address, sim.now);
    sim.mesh(0).connect(there, now);
    assert!(sim.run_while(SECOND, |sim| !sim.all_up()).is_some());
}

#[test]
fn new_addresses_reach_everybody() {
    let mut sim = pair();
    let now = sim.now;
    sim.mesh(0).set_addresses(vec!["198.51.100.1:6783".parse().unwrap()], now);
    sim.run(SECOND);
    let first = sim.identity(0);
    assert_eq!(sim.nodes[1].members[&first].addresses.addresses.len(), 1);
    assert_eq!(sim.nodes[1].members[&first].addresses.version, (1, 1));
}

#[test]
fn an_idle_router_says_as_little_among_many_as_among_two() {
    for count in [2u8, 20] {
        let all: Vec<u8> = (0..count).collect();
        let mut sim = Sim::new(1, &vec![&all[..]; usize::from(count)]);
        sim.run(10 * SECOND);
        sim.tap = Some(Vec::new());
        sim.run(600 * SECOND);
        // Each datagram is sent by one router; with the headers of IPv4 and UDP.
        let bytes: usize = sim.tap.take().unwrap().iter().map(|(_, _, bytes)| bytes.len() + 28).sum();
        let each = bytes / usize::from(count) / 600;
        assert!(each < 200, "{each} bytes a second, of {count}");
    }
}

#[test]
fn one_direction_that_is_cut_is_noticed_by_those_who_talk_and_by_nobody_else() {
    let all: Vec<u8> = (0..6).collect();
    let mut sim = Sim::new(1, &[&all[..]; 6]);
    sim.run(10 * SECOND);
    sim.one_way_cuts.insert((0, 1));
    for _ in 0..30 {
        sim.seal_data(0, 1);
        sim.run(SECOND);
    }
    let is_relayed = |route: Route| matches!(route, Route::Relay(_));
    assert!(is_relayed(sim.route(0, 1)) && is_relayed(sim.route(1, 0)));
    assert!((0..6).all(|at| sim.downs(at).is_empty()), "all hear all, one way or another");
    assert!((2..6).all(|at| (0..6).all(|with| !is_relayed(sim.route(at, with)))));
    sim.one_way_cuts.clear();
    sim.run(10 * SECOND);
    assert!(sim.all_up() && !is_relayed(sim.route(0, 1)) && !is_relayed(sim.route(1, 0)));
}

#[test]
fn a_death_is_known_to_all_within_seconds_and_nobody_else_is_accused() {
    for seed in 0..10 {
        let all: Vec<u8> = (0..12).collect();
        let mut sim = Sim::new(seed, &[&all[..]; 12]);
        sim.weather = Weather { loss: 0.05, jitter: 20 * MILLISECOND, ..Weather::default() };
        sim.run(30 * SECOND);
        sim.kill(0);
        sim.run(20 * SECOND);
        for at in 1..12 {
            assert_eq!(sim.downs(at), vec![DownReason::Silent], "seed {seed}, router {at}");
            assert!(!sim.is_up(at, 0));
        }
    }
}

#[test]
fn a_nat_between_two_is_kept_open_and_nobody_elses() {
    let mut sim = pair();
    sim.nodes[1].address = "198.51.100.7:999".parse().unwrap();
    let all: Vec<u8> = (0..3).collect();
    sim.add(1, 2, &all, Config::default());
    sim.run(60 * SECOND);
    sim.tap = Some(Vec::new());
    sim.run(600 * SECOND);
    let (near, far) = (sim.nodes[0].address, sim.nodes[1].address);
    let tap = sim.tap.take().unwrap();
    let outwards = tap.iter().filter(|(from, to, _)| *from == far && *to == near).count();
    assert!(outwards >= 600 / 20, "{outwards}");
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let history = || {
        let mut sim = Sim::new(11, &[&[0, 1, 2], &[0, 1], &[0, 2]]);
        sim.weather = Weather { loss: 0.1, jitter: 9 * MILLISECOND, ..Weather::default() };
        let start = sim.now;
        sim.tap = Some(Vec::new());
        sim.run(200 * SECOND);
        let events: Vec<_> =
            sim.nodes.iter().flat_map(|node| &node.events).map(|(at, event)| (*at - start, event.clone())).collect();
        (events, sim.tap.take().unwrap())
    };
    assert!(history() == history());
}

#[test]
fn silence_is_measured_by_the_given_times() {
    let peer = PeerTimes { keepalive: SECOND / 5, suspect: SECOND / 2, silence: SECOND, ..PeerTimes::default() };
    let config = Config { peer, ..Config::default() };
    let mut sim = Sim::new(12, &[]);
    sim.add(1, 0, &[0, 1], config.clone());
    sim.add(1, 1, &[0, 1], config);
    sim.run(5 * SECOND);
    assert!(sim.all_up());
    sim.cuts.insert((0, 1));
    sim.run(SECOND + SECOND / 2);
    assert_eq!(sim.downs(0), vec![DownReason::Silent]);
}

#[test]
fn a_short_cut_heals_at_once() {
    let mut sim = pair();
    sim.run(30 * SECOND);
    sim.cuts.insert((0, 1));
    sim.run(12 * SECOND);
    sim.cuts.clear();
    let took =
        sim.run_while(15 * SECOND, |sim| !(sim.all_up() && sim.data_passes(0, 1) && sim.data_passes(1, 0))).unwrap();
    assert!(took <= 6 * SECOND, "{took:?}");
}

#[test]
fn a_large_cluster_starts_cold_within_fifteen_seconds() {
    let all: Vec<u8> = (0..25).collect();
    let mut sim = Sim::new(13, &[&all[..]; 25]);
    sim.weather = Weather { loss: 0.01, jitter: 3 * MILLISECOND, ..Weather::default() };
    let took = sim.run_while(15 * SECOND, |sim| !sim.all_up()).expect("they never met");
    assert!(took < 5 * SECOND, "{took:?}");
    let gated: u64 = (0..25).map(|at| sim.mesh(at).counters().gated).sum();
    assert_eq!(gated, 0, "honest calls were turned away");
}

#[test]
fn an_isolated_group_learns_what_the_other_admitted() {
    // 0, 1 and 2, 3 are apart; both groups admit somebody, then meet again.
    let mut sim =
        Sim::new(14, &[&[0, 1, 2, 3, 4], &[0, 1, 2, 3], &[0, 1, 2, 3, 5], &[0, 1, 2, 3], &[0, 4], &[0, 2, 5]]);
    for left in [0, 1, 4] {
        for right in [2, 3, 5] {
            sim.cuts.insert((left.min(right), left.max(right)));
        }
    }
    sim.run(60 * SECOND);
    assert!(sim.is_up(1, 4) && sim.is_up(3, 5) && !sim.is_up(4, 5));
    sim.cuts.clear();
    assert!(sim.run_while(15 * SECOND, |sim| !sim.all_up()).is_some());
}

#[test]
fn a_stream_to_the_wrong_host_is_given_up_for_the_right_one() {
    let mut sim = Sim::new(15, &[&[0, 1], &[0, 1], &[]]);
    // The best address that 1 lists is somebody else's by now.
    let addresses = vec![sim.nodes[2].address, sim.nodes[1].address];
    sim.nodes[1].config.addresses = addresses.clone();
    let key = sim::credentials(1, 1).signing_key;
    let second = Member { addresses: SignedAddresses::sign(addresses, (0, 1), &key), ..sim::member(1, 1) };
    sim.nodes[0].members.insert(second.identity(), second);
    (0..2).for_each(|at| {
        sim.kill(at);
        sim.start(at);
    });
    sim.run(8 * SECOND);
    let (to, now) = (sim.identity(1), sim.now);
    sim.mesh(0).send(to, Topic::LEDGER, &[1; 5000], Delivery::Reliable, now).unwrap();
    sim.run(SECOND);
    assert_eq!(sim.messages(1), vec![vec![1; 5000]]);
}

/// Routers die, restart and are cut off at random; when that ends, all is as if it had never been.
#[test]
fn after_any_trouble_all_are_connected_again() {
    for seed in 0..30 {
        let all: &[u8] = &[0, 1, 2, 3];
        let mut sim = Sim::new(seed, &[all, all, all, &[0, 3]]);
        sim.weather = Weather { loss: 0.1, delay: 10 * MILLISECOND, jitter: 30 * MILLISECOND, ..Weather::default() };
        let mut dice = Rng::new(&[seed; 32]);
        for _ in 0..25 {
            let [what, one, two, pause] = dice.bytes();
            let (one, two) = (usize::from(one % 4), usize::from(two % 4));
            match what % 4 {
                0 if sim.nodes[one].mesh.is_some() => sim.kill(one),
                0 | 1 if sim.nodes[one].mesh.is_none() => sim.start(one),
                2 => drop(sim.cuts.insert((one.min(two), one.max(two)))),
                _ => drop(sim.cuts.pop_first()),
            }
            sim.run(u32::from(pause) * 50 * MILLISECOND);
        }
        sim.cuts.clear();
        sim.weather.loss = 0.0;
        (0..4).filter(|at| sim.nodes[*at].mesh.is_none()).collect::<Vec<_>>().into_iter().for_each(|at| sim.start(at));
        assert!(sim.run_while(15 * SECOND, |sim| !sim.all_up()).is_some(), "seed {seed}: not all connected");
        sim.run(15 * SECOND);
        for (from, to) in (0..4).flat_map(|from| (0..4).map(move |to| (from, to))).filter(|(from, to)| from != to) {
            assert!(sim.data_passes(from, to), "seed {seed}: no frame from {from} to {to}");
            let (peer, now) = (sim.identity(to), sim.now);
            sim.mesh(from).send(peer, Topic::LEDGER, &[seed; 3000], Delivery::Reliable, now).unwrap();
        }
        let before: Vec<usize> = (0..4).map(|at| sim.messages(at).len()).collect();
        sim.run(3 * SECOND);
        assert!(
            (0..4).all(|at| sim.messages(at).len() == before[at] + 3),
            "seed {seed}: a message was lost in calm weather"
        );
    }
}

#[test]
fn what_is_swift_comes_without_a_stream_and_surely_with_one() {
    let mut sim = pair();
    let (to, now) = (sim.identity(1), sim.now);
    sim.mesh(0).send(to, Topic(9), b"twice", Delivery::Swift, now).unwrap();
    sim.mesh(0).send(to, Topic(9), &[7; 5000], Delivery::Swift, now).unwrap();
    sim.run(SECOND);
    let lengths: Vec<usize> = sim.messages(1).iter().map(Vec::len).collect();
    assert_eq!(lengths, [5, 5, 5000]);
    sim.weather.loss = 1.0;
    let now = sim.now;
    sim.mesh(0).send(to, Topic(9), b"once", Delivery::Swift, now).unwrap();
    sim.run(SECOND / 10);
    assert_eq!(sim.messages(1).last().unwrap(), b"once");
}
