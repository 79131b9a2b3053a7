//! Peers that do not reach each other, and the one between them.

use super::*;
use crate::event::Delivery;
use crate::gossip::{Leg, Passed, Reach, Topic};
use crate::plan::Hop;
use crate::route::Route;

/// So many routers that know one another.
fn all(seed: u8, routers: usize) -> Sim {
    let all = [0, 1, 2, 3];
    Sim::new(seed, &vec![&all[..routers]; routers])
}

/// 0 and 2 reach 1 and not each other.
fn line() -> Sim {
    let mut sim = all(7, 3);
    sim.cuts.insert((0, 2));
    assert!(sim.run_while(20 * SECOND, |sim| !sim.all_up()).is_some(), "they never met");
    sim
}

fn relayed_by(sim: &Sim, relay: usize) -> [Route; 2] {
    [Route::Relay(sim.identity(relay)); 2]
}

fn routes(sim: &Sim) -> [Route; 2] {
    [sim.route(0, 2), sim.route(2, 0)]
}

fn direct(sim: &Sim) -> [Route; 2] {
    [Route::Direct(sim.nodes[2].address), Route::Direct(sim.nodes[0].address)]
}

#[test]
fn the_ends_of_a_line_meet_by_the_one_between_them() {
    let mut sim = all(7, 3);
    sim.cuts.insert((0, 2));
    let took = sim.run_while(20 * SECOND, |sim| !sim.all_up()).expect("they never met");
    assert!(took < 3 * SECOND, "{took:?}");
    assert_eq!(routes(&sim), relayed_by(&sim, 1));
    let plan = sim.mesh(0).plan();
    let identity = sim.identity(2);
    let peer = plan.peers.iter().find(|peer| peer.identity == identity).unwrap();
    let relay = sim.identity(1);
    let index = sim.mesh(0).peers.get(&relay).unwrap().index;
    assert_eq!((peer.hop, peer.datagram_bytes), (Hop::Relay(index), 1472 - 40));
}

#[test]
fn messages_of_any_size_reach_the_far_end_in_order() {
    let mut sim = line();
    let far = sim.identity(2);
    let now = sim.now;
    let payloads: Vec<Vec<u8>> = (0..40_u8).map(|n| vec![n; if n % 7 == 0 { 900_000 } else { 200 }]).collect();
    for chunk in payloads.chunks(4) {
        for payload in chunk {
            sim.mesh(0).send(far, Topic::LEDGER, payload, Delivery::Reliable, now).unwrap();
        }
        sim.run(SECOND);
    }
    assert!(sim.messages(2) == payloads);
    let most = vec![1; PAYLOAD_BYTES];
    let now = sim.now;
    sim.mesh(0).send(far, Topic::LEDGER, &most, Delivery::Reliable, now).unwrap();
    sim.mesh(0).send(far, Topic::LEDGER, &[9; 100], Delivery::Lossy, now).unwrap();
    sim.run(SECOND);
    assert_eq!(sim.messages(2).len(), payloads.len() + 2);
    assert_eq!(sim.mesh(1).counters().unrelayed, 0);
}

#[test]
fn the_direct_way_is_taken_when_it_opens_and_left_when_it_closes() {
    let mut sim = line();
    sim.run(60 * SECOND);
    sim.cuts.clear();
    let took = sim.run_while(30 * SECOND, |sim| routes(sim) != direct(sim)).expect("it was never taken");
    assert!(took <= 10 * SECOND, "{took:?}");
    sim.run(30 * SECOND);
    sim.cuts.insert((0, 2));
    // Nothing is sent: it is noticed by the questions alone.
    let took = sim.run_while(60 * SECOND, |sim| routes(sim) != relayed_by(sim, 1)).expect("it was never left");
    assert!(took <= 25 * SECOND, "{took:?}");
    assert_eq!((sim.downs(0), sim.downs(2)), (Vec::new(), Vec::new()));
    let far = sim.identity(2);
    let now = sim.now;
    sim.mesh(0).send(far, Topic::LEDGER, &[7; 5000], Delivery::Reliable, now).unwrap();
    sim.run(SECOND);
    assert_eq!(sim.messages(2), [vec![7; 5000]]);
}

#[test]
fn a_way_that_carries_frames_is_left_within_seconds() {
    let mut sim = all(8, 3);
    sim.run(30 * SECOND);
    assert_eq!(routes(&sim), direct(&sim));
    sim.cuts.insert((0, 2));
    let mut took = Duration::ZERO;
    while routes(&sim) != relayed_by(&sim, 1) {
        for (at, far) in [(0, 2), (2, 0)] {
            let (index, now) =
                (sim.nodes[at].mesh.as_ref().unwrap().peers.get(&sim.identity(far)).unwrap().index, sim.now);
            sim.mesh(at).handle_traffic(index, 100, 0, now);
        }
        sim.run(100 * MILLISECOND);
        took += 100 * MILLISECOND;
        assert!(took < 4 * SECOND, "{:?}", routes(&sim));
    }
}

#[test]
fn one_way_is_no_way() {
    for (from, to) in [(0, 2), (2, 0)] {
        let mut sim = all(9, 3);
        sim.one_way_cuts.insert((from, to));
        sim.run(20 * SECOND);
        assert!(sim.all_up(), "{from} is not heard by {to}");
        assert_eq!(routes(&sim), relayed_by(&sim, 1));
        assert!(sim.switches(0, 2).len() + sim.switches(2, 0).len() <= 2);
        // And when it happens to a way that was open both ways.
        let mut sim = all(9, 3);
        sim.run(20 * SECOND);
        sim.one_way_cuts.insert((from, to));
        assert!(sim.run_while(30 * SECOND, |sim| routes(sim) != relayed_by(sim, 1)).is_some(), "{:?}", routes(&sim));
        sim.run(60 * SECOND);
        assert_eq!(routes(&sim), relayed_by(&sim, 1));
        assert_eq!((sim.downs(0), sim.downs(2)), (Vec::new(), Vec::new()));
    }
}

#[test]
fn a_link_that_comes_and_goes_is_left_alone() {
    let mut sim = all(10, 3);
    sim.run(10 * SECOND);
    let start = sim.now;
    for round in 0..150 {
        if round % 2 == 0 {
            sim.cuts.insert((0, 2))
        } else {
            sim.cuts.remove(&(0, 2))
        };
        sim.run(2 * SECOND);
    }
    sim.cuts.clear();
    sim.run(30 * SECOND);
    assert_eq!(routes(&sim), direct(&sim));
    assert_eq!((sim.downs(0), sim.downs(2)), (Vec::new(), Vec::new()));
    for (at, with) in [(0, 2), (2, 0)] {
        let switches = sim.switches(at, with);
        assert!(switches.windows(2).all(|pair| pair[1] - pair[0] >= SECOND), "{switches:?}");
        // There, and back when it was over: the link never stayed long enough to be believed.
        assert!(switches.iter().filter(|at| **at >= start).count() <= 4, "{switches:?}");
    }
}

#[test]
fn another_relay_takes_over_and_the_shortest_one_is_chosen() {
    let mut sim = all(11, 4);
    sim.cuts.insert((0, 2));
    sim.run(30 * SECOND);
    assert!(sim.all_up());
    let Route::Relay(used) = sim.route(0, 2) else { panic!("{:?}", sim.route(0, 2)) };
    let (relay, other) = if used == sim.identity(1) { (1, 3) } else { (3, 1) };
    sim.kill(relay);
    let took = sim.run_while(30 * SECOND, |sim| routes(sim) != relayed_by(sim, other)).expect("nobody took over");
    assert!(took <= 15 * SECOND, "{took:?}");
    sim.run(15 * SECOND);
    assert_eq!((sim.downs(0).len(), sim.downs(2).len()), (1, 1), "the relay alone was lost");
    let far = sim.identity(2);
    let now = sim.now;
    sim.mesh(0).send(far, Topic::LEDGER, &[7; 5000], Delivery::Reliable, now).unwrap();
    sim.run(SECOND);
    assert!(sim.messages(2).contains(&vec![7; 5000]));
}

#[test]
fn what_is_not_to_be_lost_waits_while_a_relay_is_replaced() {
    let mut sim = all(11, 4);
    sim.cuts.insert((0, 3));
    sim.run(30 * SECOND);
    let Route::Relay(used) = sim.route(0, 3) else { panic!("{:?}", sim.route(0, 3)) };
    sim.kill(if used == sim.identity(1) { 1 } else { 2 });
    let (far, now) = (sim.identity(3), sim.now);
    sim.mesh(0).lower(used, DownReason::Silent, now);
    assert_eq!(sim.mesh(0).peers.get(&far).unwrap().ways.used(), Some(Way::Relay(used)), "it is replaced already");
    sim.mesh(0).send(far, Topic::LEDGER, &[7; 5000], Delivery::Reliable, now).unwrap();
    sim.run(20 * SECOND);
    assert_eq!(sim.messages(3), [vec![7; 5000]]);
}

/// The largest datagram from 0 to 2.
fn planned_bytes(sim: &mut Sim) -> u16 {
    let far = sim.identity(2);
    sim.mesh(0).plan().peers.iter().find(|peer| peer.identity == far).unwrap().datagram_bytes
}

#[test]
fn a_path_to_a_relay_that_becomes_narrow_is_noticed() {
    let mut sim = line();
    sim.run(30 * SECOND);
    assert_eq!(planned_bytes(&mut sim), 1472 - 40);
    sim.weather.carries = 1300;
    let index = sim.mesh(0).peers.get(&sim::secret(1, 2, 1).identity()).unwrap().index;
    for _ in 0..15 {
        let now = sim.now;
        sim.mesh(0).handle_traffic(index, 100_000, 100_000, now);
        sim.run(SECOND);
    }
    assert!(planned_bytes(&mut sim) + 40 <= 1300, "{} bytes are lost", planned_bytes(&mut sim));
}

/// The relay finds out, and who sends by it does not: full frames were lost until it asked again.
#[test]
fn a_path_behind_a_relay_that_becomes_narrow_is_told() {
    let mut sim = line();
    sim.run(30 * SECOND);
    assert_eq!(planned_bytes(&mut sim), 1472 - 40);
    sim.narrow.insert((1, 2), 1300);
    let far = sim.identity(2);
    let mut took = Duration::ZERO;
    while planned_bytes(&mut sim) > 1300 {
        assert!(took < 10 * SECOND, "{} bytes are lost", planned_bytes(&mut sim));
        for at in [0, 1] {
            let now = sim.now;
            let index = sim.mesh(at).peers.get(&far).unwrap().index;
            sim.mesh(at).handle_traffic(index, 100_000, 100_000, now);
        }
        sim.run(SECOND);
        took += SECOND;
    }
    // And that it is as wide as it was, which the relay tries again and again.
    sim.narrow.clear();
    assert!(sim.run_while(60 * SECOND, |sim| planned_bytes(sim) < 1472 - 40).is_some(), "{}", planned_bytes(&mut sim));
}

/// Who does not hear it either says nothing of a way there: each would try it through four others.
#[test]
fn hardly_anything_is_passed_on_to_a_router_that_is_dead() {
    let numbers: Vec<u8> = (0..12).collect();
    let mut sim = Sim::new(9, &[&numbers[..]; 12]);
    assert!(sim.run_while(10 * SECOND, |sim| !sim.all_up()).is_some(), "they never met");
    sim.run(5 * SECOND);
    sim.kill(11);
    sim.run(60 * SECOND);
    let relayed: u64 = (0..11).map(|at| sim.mesh(at).counters().relayed).sum();
    assert!(relayed < 4 * 12, "{relayed} messages");
    assert!((0..11).all(|at| sim.downs(at) == [DownReason::Silent]));
}

#[test]
fn what_a_relay_says_later_shows_in_the_plan() {
    let mut sim = line();
    sim.run(30 * SECOND);
    assert_eq!(planned_bytes(&mut sim), 1472 - 40);
    let (relay, far, now) = (sim.identity(1), sim.identity(2), sim.now);
    let reach =
        Reach { round_trip: MILLISECOND, datagram_bytes: 1300, course: wire::envelope::Course::Direct, address: None };
    sim.mesh(0).handle_reach(relay, far, &reach, now);
    assert_eq!(planned_bytes(&mut sim), 1300);
}

#[test]
fn renewing_goes_on_by_a_relay() {
    let session = SessionTimes { renew: 5 * SECOND, jitter: SECOND, refuse: 8 * SECOND, idle: 5 * SECOND };
    let config = Config { session, ..Config::default() };
    let mut sim = Sim::new(12, &[]);
    for number in 0..3 {
        sim.add(1, number, &[0, 1, 2], config.clone());
    }
    sim.cuts.insert((0, 2));
    sim.run(10 * SECOND);
    let mut seen = BTreeSet::new();
    for _ in 0..60 {
        sim.run(SECOND);
        assert_eq!(routes(&sim), relayed_by(&sim, 1));
        let plan = sim.mesh(0).plan();
        seen.insert(plan.peers.iter().filter_map(|peer| peer.send.as_ref()).map(|session| session.local_index).max());
    }
    assert!(seen.len() >= 8, "{} sessions in a minute", seen.len());
    assert_eq!((sim.downs(0), sim.downs(2)), (Vec::new(), Vec::new()));
}

#[test]
fn nothing_is_passed_on_for_strangers_to_strangers_or_twice() {
    let mut sim = line();
    let (one, two) = (sim.identity(1), sim.identity(2));
    let stranger = sim::secret(1, 50, 1).identity();
    let (zero, now) = (sim.identity(0), sim.now);
    let envelope = [&Kind::Control.prefix()[..], &[0; 60]].concat();
    let initiation = [&Kind::Initiation.prefix()[..], &[0; 200]].concat();
    let data = [&Kind::Data.prefix()[..], &[0; 60]].concat();
    let before = sim.mesh(1).counters().unrelayed;
    let there = |far, message: &[u8]| Control::Relay(Passed { leg: Leg::There, far, message }).emit();
    // For nobody, for the sender itself, for the relay itself, and what is no message between two ends.
    for message in
        [there(stranger, &envelope), there(zero, &envelope), there(one, &envelope), there(two, &data), there(two, &[])]
    {
        sim.mesh(0).send_datagram(one, &message);
        sim.run(10 * MILLISECOND);
    }
    assert_eq!(sim.mesh(1).counters().unrelayed, before + 5);
    // The far end is asked to pass on what came by a relay itself.
    sim.mesh(0).send_datagram(two, &there(one, &envelope));
    sim.run(10 * MILLISECOND);
    assert_eq!(sim.mesh(2).counters().unrelayed, 1);
    // Somebody without a session says it in clear.
    let mut forged = Kind::Control.prefix().to_vec();
    forged.extend(there(two, &envelope));
    let (unopened, sent) = (sim.mesh(1).counters().unopened, sim.mesh(1).counters().relayed);
    sim.mesh(1).handle_datagram("198.51.100.1:6783".parse().unwrap(), &forged, now);
    assert_eq!((sim.mesh(1).counters().unopened, sim.mesh(1).counters().relayed), (unopened + 1, sent));
    // A flood of calls by way of a member costs the far end no more than its budget.
    let handshakes = sim.mesh(2).counters().handshakes;
    for _ in 0..200 {
        sim.mesh(0).send_datagram(one, &there(two, &initiation));
    }
    sim.run(100 * MILLISECOND);
    assert!(sim.mesh(2).counters().handshakes <= handshakes + 8);
}

/// Each of four reaches its neighbours in the line alone.
fn line_of_four() -> Sim {
    let mut sim = all(7, 4);
    sim.cuts.extend([(0, 2), (0, 3), (1, 3)]);
    sim
}

#[test]
fn the_ends_of_a_line_of_four_meet_by_the_two_between_them() {
    let mut sim = line_of_four();
    let took = sim.run_while(20 * SECOND, |sim| !sim.all_up()).expect("they never met");
    assert!(took < 10 * SECOND, "{took:?}");
    assert_eq!([sim.route(0, 3), sim.route(3, 0)], [1, 2].map(|relay| Route::Relay(sim.identity(relay))));
    sim.run(120 * SECOND);
    assert!((0..4).all(|at| sim.downs(at).is_empty()), "{:?}", sim.downs(0));
    let (plan, far) = (sim.mesh(0).plan(), sim.identity(3));
    let peer = plan.peers.iter().find(|peer| peer.identity == far).unwrap();
    assert_eq!(peer.datagram_bytes, 1472 - 40);
    let now = sim.now;
    sim.mesh(0).send(far, Topic::LEDGER, &[7; 100_000], Delivery::Reliable, now).unwrap();
    sim.mesh(0).send(far, Topic::LEDGER, &[9; 100], Delivery::Lossy, now).unwrap();
    sim.run(SECOND);
    assert_eq!(sim.messages(3).len(), 2);
    // A shorter way is taken, and the long one again when that is gone.
    sim.cuts.remove(&(0, 2));
    let by = |sim: &Sim| sim.route(0, 3);
    let shorter = Route::Relay(sim.identity(2));
    sim.run_while(60 * SECOND, |sim| by(sim) != shorter).expect("the shorter way was never taken");
    sim.cuts.insert((0, 2));
    let longer = Route::Relay(sim.identity(1));
    sim.run_while(60 * SECOND, |sim| by(sim) != longer || !sim.all_up()).expect("there was no way back");
}

#[test]
fn nothing_is_passed_on_by_a_third_relay() {
    let mut sim = Sim::new(7, &[&[0, 1, 2, 3, 4][..]; 5]);
    sim.cuts.extend([(0, 2), (0, 3), (0, 4), (1, 3), (1, 4), (2, 4)]);
    sim.run(120 * SECOND);
    assert_eq!([sim.route(0, 4), sim.route(4, 0)], [Route::None; 2]);
    assert!((0..5).all(|at| sim.downs(at).is_empty()), "{:?}", sim.downs(0));
    // Both ends know why, and nobody else has anything to know.
    assert_eq!([far_by(&sim, 0, 4), far_by(&sim, 4, 0)], [1, 3].map(|at| Some(sim.identity(at))));
    assert_eq!([far_by(&sim, 1, 4), far_by(&sim, 0, 3)], [None; 2]);
    sim.cuts.remove(&(2, 4));
    assert!(sim.run_while(320 * SECOND, |sim| !sim.all_up()).is_some(), "a line of four is whole");
    assert_eq!([far_by(&sim, 0, 4), far_by(&sim, 4, 0)], [None; 2]);
}

/// Who has said that it needs two relays to a peer that there is no way to.
fn far_by(sim: &Sim, at: usize, with: usize) -> Option<Identity> {
    let views = sim.nodes[at].mesh.as_ref().unwrap().peers(sim.now);
    views.iter().find(|peer| peer.identity == sim.identity(with)).unwrap().far_by
}

#[test]
fn nobody_is_asked_for_a_router_that_nobody_hears() {
    let all: Vec<u8> = (0..6).collect();
    let mut sim = Sim::new(3, &[&all[..]; 6]);
    assert!(sim.run_while(5 * SECOND, |sim| !sim.all_up()).is_some());
    let dead = sim.identity(5);
    sim.kill(5);
    sim.run(60 * SECOND);
    let now = sim.now;
    for at in 0..5 {
        let next = sim.mesh(at).peers.get(&dead).unwrap().ways.deadline(false, now).unwrap();
        assert!(next > now + 60 * SECOND, "{at} asks in {:?}", next - now);
    }
    sim.start(5);
    assert!(sim.run_while(5 * SECOND, |sim| !sim.all_up()).is_some());
}
