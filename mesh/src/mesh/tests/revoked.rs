//! What becomes of a member that the others have revoked: it is refused everything but the news of it.

use super::*;

const PROOF: &[u8] = &[7; 5000];

/// Three of whom 0 and 1 have revoked 2, which was away.
fn revoked() -> Sim {
    let all: &[u8] = &[0, 1, 2];
    let mut sim = Sim::new(21, &[all, all, all]);
    assert!(sim.run_while(SECOND, |sim| !sim.all_up()).is_some(), "they never met");
    sim.run(5 * SECOND);
    sim.kill(2);
    for at in 0..2 {
        shut_out(&mut sim, at);
    }
    sim.run(60 * SECOND);
    sim
}

fn shut_out(sim: &mut Sim, at: usize) {
    let (victim, now) = (sim.identity(2), sim.now);
    sim.mesh(at).revoke(victim, now);
}

fn called(sim: &Sim, at: usize) -> usize {
    sim.nodes[at].events.iter().filter(|(_, event)| matches!(event, Event::RevokedCalled { .. })).count()
}

/// Tells node 2 whenever one of the others says that it may, as their ledgers would. Returns how long it took to arrive.
fn until_told(sim: &mut Sim, most: Duration) -> Option<Duration> {
    let (victim, heard) = (sim.identity(2), sim.messages(2).len());
    let mut told = [called(sim, 0), called(sim, 1)];
    sim.run_while(most, |sim| {
        for (at, told) in told.iter_mut().enumerate() {
            if called(sim, at) > std::mem::replace(told, called(sim, at)) {
                let now = sim.now;
                sim.mesh(at).send(victim, Topic::LEDGER, PROOF, Delivery::Reliable, now).unwrap();
            }
        }
        sim.drain();
        sim.messages(2).len() == heard
    })
}

#[test]
fn a_revoked_member_that_returns_is_told_and_gets_nothing_else() {
    for (seed, loss) in [(1, 0.0), (2, 0.2)] {
        let mut sim = revoked();
        sim.weather = Weather { loss, jitter: 5 * MILLISECOND, ..Weather::default() };
        sim.start(2);
        let took = until_told(&mut sim, 5 * SECOND).unwrap_or_else(|| panic!("seed {seed}: it was never told"));
        assert!(took < 3 * SECOND, "seed {seed}: {took:?}");
        assert_eq!(sim.messages(2)[0], PROOF);
        for other in 0..2 {
            let victim = sim.identity(2);
            let plan = sim.mesh(other).plan();
            let peer = plan.peers.iter().find(|peer| peer.identity == victim).unwrap();
            assert!(peer.send.is_none() && peer.receive.is_empty(), "data keys for a revoked member");
            assert!(!sim.data_passes(2, other) && !sim.data_passes(other, 2));
            assert!(!sim.is_up(other, 2) && sim.messages(other).is_empty());
            let ups = sim.nodes[other].events.iter().filter(|(_, event)| matches!(event, Event::PeerUp { .. })).count();
            assert_eq!(ups, 2, "a revoked member is nobody's peer");
        }
        assert!(sim.data_passes(0, 1) && sim.data_passes(1, 0));
    }
}

#[test]
fn nothing_a_revoked_member_says_is_heard() {
    let mut sim = revoked();
    sim.start(2);
    assert!(sim.run_while(5 * SECOND, |sim| !sim.is_up(2, 0)).is_some());
    let before = sim.nodes[0].members.len();
    for topic in [Topic::LEDGER, Topic(9)] {
        let (to, now) = (sim.identity(0), sim.now);
        sim.mesh(2).send(to, topic, &[1; 3000], Delivery::Reliable, now).unwrap();
        sim.mesh(2).send(to, topic, &[1; 30], Delivery::Lossy, now).unwrap();
    }
    // It vouches for somebody, too.
    let (issuer, key) = (sim::secret(1, 2, 1), sim::secret(1, 70, 1));
    let title = wire::Title {
        identity: key.identity(),
        noise_key: sim::secret(1, 70, 2).noise_public(),
        name: "friend".parse().unwrap(),
        generation: 1,
        issuer: issuer.identity(),
    };
    let addresses = SignedAddresses::sign(Vec::new(), (1, 0), &key);
    let certificate = crate::identity::issue_certificate(title, &key, &issuer);
    let now = sim.now;
    sim.mesh(2).admit(vec![Member { certificate, addresses, revoked: false }], None, now);
    sim.run(30 * SECOND);
    assert!(sim.messages(0).is_empty() && sim.messages(1).is_empty());
    assert_eq!(sim.nodes[0].members.len(), before);
}

#[test]
fn a_revoked_member_that_was_only_cut_off_is_told_too() {
    let all: &[u8] = &[0, 1, 2];
    let mut sim = Sim::new(22, &[all, all, all]);
    sim.run(10 * SECOND);
    sim.cuts.extend([(0, 2), (1, 2)]);
    (0..2).for_each(|at| shut_out(&mut sim, at));
    sim.run(60 * SECOND);
    sim.cuts.clear();
    let since = sim.now;
    until_told(&mut sim, 15 * SECOND).expect("it was never told");
    let contact = sim
        .nodes
        .iter()
        .flat_map(|node| &node.events)
        .find(|(at, event)| *at >= since && matches!(event, Event::RevokedCalled { .. }));
    assert!(sim.now - contact.unwrap().0 < 3 * SECOND);
}

/// Revoked while connected, and what was sent to tell it is lost: it notices the silence, calls, and is told.
#[test]
fn a_revoked_member_that_missed_its_commit_is_told_when_it_calls() {
    let all: &[u8] = &[0, 1, 2];
    let mut sim = Sim::new(23, &[all, all, all]);
    sim.run(10 * SECOND);
    (0..2).for_each(|at| shut_out(&mut sim, at));
    assert!(until_told(&mut sim, 15 * SECOND).is_some());
}

#[test]
fn a_revoked_member_that_calls_for_ever_costs_little() {
    let mut sim = revoked();
    sim.start(2);
    sim.run(SECOND);
    let before = sim.mesh(0).counters();
    let (peer, start) = (sim.identity(0), sim.now);
    for _ in 0..600 {
        let now = sim.now;
        sim.mesh(2).place_call(peer, now);
        sim.run(SECOND / 10);
    }
    let after = sim.mesh(0).counters();
    assert!(after.strangers - before.strangers > 400, "{before:?} {after:?}");
    assert!(called(&sim, 0) <= 2 + 2 * usize::try_from((sim.now - start).as_secs()).unwrap());
    assert!(sim.data_passes(0, 1) && sim.data_passes(1, 0));
    // When it is gone, nothing is left of it.
    sim.kill(2);
    sim.run(20 * SECOND);
    let (victim, now) = (sim.identity(2), sim.now);
    assert_eq!(
        sim.mesh(0).send(victim, Topic::LEDGER, PROOF, Delivery::Reliable, now),
        Err(SendError::NotConnected { peer: victim })
    );
}

#[test]
fn a_router_that_knows_it_is_revoked_falls_silent() {
    let mut sim = revoked();
    sim.start(2);
    assert!(until_told(&mut sim, 5 * SECOND).is_some());
    shut_out(&mut sim, 2);
    sim.run(SECOND);
    assert!(sim.downs(2).contains(&DownReason::RevokedHere));
    assert!(sim.mesh(2).plan().peers.iter().all(|peer| peer.send.is_none() && peer.receive.is_empty()));
    sim.run(30 * SECOND);
    sim.tap = Some(Vec::new());
    sim.run(600 * SECOND);
    let address = sim.nodes[2].address;
    assert!(!sim.tap.take().unwrap().iter().any(|(from, to, _)| *from == address || *to == address));
    // A restart changes nothing, if it remembers.
    sim.kill(2);
    let own = sim::member(1, 2);
    sim.nodes[2].members.insert(own.identity(), Member { revoked: true, ..own });
    sim.start(2);
    sim.tap = Some(Vec::new());
    sim.run(60 * SECOND);
    assert!(!sim.tap.take().unwrap().iter().any(|(from, _, _)| *from == address));
}

#[test]
fn who_is_revoked_itself_listens_to_nobody_it_had_shut_out() {
    let mut sim = revoked();
    sim.start(2);
    let victim = sim.identity(2);
    let is_its = |stream: &Stream| matches!(stream.standing, crate::streams::Standing::Bound(peer) if peer == victim);
    let has_stream = |sim: &mut Sim| sim.mesh(0).streams.values().any(is_its);
    assert!(sim.run_while(5 * SECOND, |sim| !has_stream(sim)).is_some(), "it never had a stream");
    let (own, now) = (sim.identity(0), sim.now);
    sim.mesh(0).revoke(own, now);
    assert!(!has_stream(&mut sim));
}
