//! What another handshake key costs the others: nothing, wherever they are, and the old one is worth nothing.

use super::*;
use crate::event::Alarm;
use crate::mesh::membership::ALARMS_MOST;
use crate::primitives::Primitives;

/// Gives a node another key, as its router does. Returns the one before.
fn renew(sim: &mut Sim, at: usize, key: u8) -> Secret {
    let (noise_key, now) = (Secret::new([key; 32]), sim.now);
    let mesh = sim.mesh(at);
    let before = mesh.me.local.noise_key.clone();
    let renewed = mesh.make_renewal(&noise_key).unwrap();
    mesh.adopt_renewal(renewed, noise_key, now);
    sim.drain();
    before
}

/// Whether node 1 answers a call of node 0 under this key.
fn is_answered(sim: &mut Sim, noise_key: Secret, boot: u32) -> bool {
    let target = sim.mesh(1).me.local.noise_public;
    let (cluster, noise_public) = (sim.mesh(0).cluster(), noise_key.noise_public());
    let (identity, to) = (sim.identity(0), sim.identity(1));
    let local = Local { cluster, identity, noise_public, noise_key, primitives: Primitives::default() };
    let callee = crate::handshake::Callee { identity: to, noise_public: &target, index: 1, cookie: None };
    let (stamp, suites, certificate) = ((boot, 0), Vec::new(), None);
    let greeting = crate::handshake::Greeting { stamp, protocols: (1, 1), queues: 1, identity, suites, certificate };
    let (_, call) = crate::handshake::call(&local, &callee, &greeting, [3; 32]).unwrap();
    let (from, now) = (sim.nodes[0].address, sim.now);
    sim.drain();
    sim.mesh(1).handle_datagram(from, &call, now);
    let answered = sim.mesh(1).poll_transmit().is_some();
    sim.drain();
    answered
}

#[test]
fn nobody_loses_a_session_by_a_renewal() {
    let all: &[u8] = &[0, 1, 2];
    let mut sim = Sim::new(41, &[all, all, all]);
    sim.weather = Weather { loss: 0.1, jitter: 5 * MILLISECOND, ..Weather::default() };
    sim.run(10 * SECOND);
    let mut lost = 0;
    for second in 0..600 {
        if second % 100 == 50 {
            renew(&mut sim, 0, u8::try_from(second / 100).unwrap() + 200);
        }
        sim.run(SECOND);
        for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0)] {
            // At this loss some path is taken for broken now and then, and left for the third router.
            let is_relayed = matches!(sim.route(from, to), Route::Relay(_));
            lost += usize::from(!(is_relayed || sim.data_passes(from, to)));
        }
    }
    assert_eq!((lost, sim.downs(0), sim.downs(1), sim.downs(2)), (0, Vec::new(), Vec::new(), Vec::new()));
    assert_eq!(sim.mesh(0).generation(), 7);
    let whose = sim.identity(0);
    for at in 1..3 {
        let known = sim.mesh(at).members().into_iter().find(|member| member.identity() == whose).unwrap();
        assert_eq!(known.certificate.title.noise_key, Secret::new([205; 32]).noise_public());
    }
}

#[test]
fn the_old_key_is_refused() {
    let mut sim = pair();
    sim.run(SECOND);
    let old = sim.mesh(0).me.local.noise_key.clone();
    assert!(is_answered(&mut sim, old.clone(), 1000), "the test calls wrongly");
    sim.run(10 * SECOND);
    assert_eq!(renew(&mut sim, 0, 200).bytes(), old.bytes());
    sim.run(10 * SECOND);
    assert!(!is_answered(&mut sim, old, 1001));
    assert!(is_answered(&mut sim, Secret::new([200; 32]), 1002));
}

#[test]
fn who_was_away_learns_of_a_renewal_from_the_caller() {
    // No third is there to tell it.
    for cut in [true, false] {
        let mut sim = pair();
        sim.run(SECOND);
        if cut {
            sim.cuts.insert((0, 1));
        } else {
            sim.kill(0);
        }
        sim.run(60 * SECOND);
        renew(&mut sim, 1, 201);
        renew(&mut sim, 1, 202);
        if cut {
            sim.cuts.clear();
        } else {
            sim.start(0);
        }
        let took = sim.run_while(60 * SECOND, |sim| !(sim.is_up(0, 1) && sim.is_up(1, 0)));
        assert!(took.is_some_and(|took| took < 15 * SECOND), "{took:?}");
        assert!(sim.data_passes(0, 1) && sim.data_passes(1, 0));
    }
}

#[test]
fn two_who_renewed_while_they_were_apart_learn_of_it_from_a_third() {
    let all: &[u8] = &[0, 1, 2];
    let mut sim = Sim::new(43, &[all, all, all]);
    sim.run(10 * SECOND);
    sim.cuts.extend([(0, 1), (0, 2), (1, 2)]);
    sim.run(60 * SECOND);
    renew(&mut sim, 0, 200);
    renew(&mut sim, 1, 201);
    sim.cuts.clear();
    let took = sim.run_while(60 * SECOND, |sim| !sim.all_up());
    assert!(took.is_some_and(|took| took < 20 * SECOND), "{took:?}");
}

#[test]
fn somebody_else_who_renews_our_certificate_is_noticed_and_undone() {
    let mut sim = pair();
    sim.run(SECOND);
    // However much else there was to raise an alarm about.
    for number in 0..=ALARMS_MOST {
        let mut claimant = [0; 32];
        claimant[..8].copy_from_slice(&number.to_be_bytes());
        let (claimant, holder) = (Identity(claimant), sim.identity(1));
        sim.mesh(0).alarm(Alarm::NameTaken { name: "host1".parse().unwrap(), holder, claimant });
    }
    sim.drain();
    let is_alarm = |event: &Event| matches!(event, Event::Alarm(_));
    assert_eq!(sim.nodes[0].events.iter().filter(|(_, event)| is_alarm(event)).count(), ALARMS_MOST);
    let (now, liar) = (sim.now, sim.identity(1));
    let stolen = sim.mesh(0).make_renewal(&Secret::new([66; 32])).unwrap();
    let news = crate::gossip::Gossip::Members { members: vec![stolen], seen: Vec::new() };
    let payload = wire::encode(crate::gossip::GOSSIP_VERSION, &news);
    sim.mesh(0).handle_gossip(liar, &payload, now);
    sim.drain();
    assert!(sim.nodes[0].events.iter().any(|(_, event)| *event == Event::Alarm(Alarm::Impersonated)));
    renew(&mut sim, 0, 200);
    assert_eq!(sim.mesh(0).generation(), 3);
    sim.run(200 * SECOND);
    assert!(sim.data_passes(0, 1) && sim.downs(0).is_empty());
}
