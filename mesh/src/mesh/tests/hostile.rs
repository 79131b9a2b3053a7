//! What strangers, liars and old recordings achieve: nothing, cheaply.

use std::net::Ipv6Addr;

use super::*;
use crate::event::{Alarm, Encounter, Origin};
use crate::identity::issue_certificate;
use crate::primitives::Primitives;

#[test]
fn a_recorded_call_is_refused() {
    let mut sim = Sim::new(1, &[&[0, 1], &[0, 1]]);
    sim.tap = Some(Vec::new());
    sim.run(5 * SECOND);
    let recorded = sim.tap.take().unwrap();
    let before: Vec<_> = (0..2).map(|at| sim.mesh(at).plan().peers[0].receive.len()).collect();
    sim.run(SECOND);
    for (from, to, bytes) in recorded {
        let (at, now) = (usize::from(to == sim.nodes[1].address), sim.now);
        sim.mesh(at).handle_datagram(from, &bytes, now);
    }
    sim.drain();
    let after: Vec<_> = (0..2).map(|at| sim.mesh(at).plan().peers[0].receive.len()).collect();
    assert_eq!(before, after, "a recording made a session");
    let counters = [sim.mesh(0).counters(), sim.mesh(1).counters()];
    assert!(counters.iter().any(|counters| counters.replayed_calls > 0));
    assert!(counters.iter().all(|counters| counters.replayed > 0), "{counters:?}");
    sim.run(30 * SECOND);
    assert!(sim.data_passes(0, 1) && sim.data_passes(1, 0));
    assert_eq!(sim.downs(0), Vec::new());
}

#[test]
fn a_datagram_that_was_held_back_makes_nobodys_stream_a_peers() {
    let mut sim = pair();
    sim.run(5 * SECOND);
    let (now, one, elsewhere) = (sim.now, sim.identity(1), sim::address_of(9));
    sim.mesh(0).send_datagram(one, &Control::Check { number: 1 }.emit());
    let held_back = sim.mesh(0).poll_transmit().unwrap().bytes;
    let stream = StreamId(1000);
    sim.mesh(1).handle_stream_opened(stream, Origin::Accepted(elsewhere), now);
    sim.mesh(1).handle_stream_bytes(stream, &wire::envelope::Frames::emit(&held_back).unwrap(), now);
    let events: Vec<Event> = std::iter::from_fn(|| sim.mesh(1).poll_event()).collect();
    assert_eq!(events, vec![Event::CloseStream { stream }]);
    assert_eq!(sim.mesh(1).poll_transmit(), None, "it was answered");
    let zero = sim.identity(0);
    sim.mesh(1).send(zero, Topic::LEDGER, &[7; 5000], Delivery::Reliable, now).unwrap();
    sim.run(SECOND);
    assert_eq!(sim.messages(0), [vec![7; 5000]]);
}

#[test]
fn another_cluster_is_never_met() {
    let mut sim = Sim::new(1, &[&[0, 1]]);
    sim.add(2, 1, &[0, 1], Config::default());
    sim.run(60 * SECOND);
    assert!(!sim.is_up(0, 1) && !sim.is_up(1, 0));
    assert!(sim.mesh(0).counters().gated > 0);
    assert_eq!(sim.mesh(0).counters().handshakes, 0, "a Diffie-Hellman was spent on another cluster");
}

/// What the logs of a node hear of other clusters.
fn strangers(sim: &Sim, at: usize) -> Vec<(SocketAddr, Encounter)> {
    let met = |event: &Event| {
        if let Event::Stranger { address, encounter } = event { Some((*address, *encounter)) } else { None }
    };
    sim.nodes[at].events.iter().filter_map(|(_, event)| met(event)).collect()
}

#[test]
fn a_named_router_of_another_cluster_is_told_of_on_both_sides_and_once() {
    let mut sim = Sim::new(1, &[&[0]]);
    sim.add(2, 1, &[1], Config::default());
    let (there, theirs) = (sim.nodes[0].address, sim.mesh(0).cluster());
    for _ in 0..10 {
        let now = sim.now;
        sim.mesh(1).connect(there, now);
        sim.run(60 * SECOND);
    }
    assert_eq!(strangers(&sim, 1), vec![(there, Encounter::Named { cluster: theirs })]);
    let from = SocketAddr::new(sim.nodes[1].address.ip(), 40_000);
    assert_eq!(strangers(&sim, 0), vec![(from, Encounter::Caller)]);
    assert_eq!(sim.mesh(0).counters().handshakes, 0);
    assert_eq!(sim.mesh(0).members().len(), 1);
}

#[test]
fn a_named_router_of_our_own_is_no_stranger() {
    // 1 does not know 0, which is of its cluster; 2 does, and 2's own address is named too.
    let mut sim = Sim::new(1, &[&[0, 2], &[1], &[0, 2]]);
    let now = sim.now;
    for (at, named) in [(1usize, 0usize), (2, 0), (2, 2)] {
        let address = sim.nodes[named].address;
        sim.mesh(at).connect(address, now);
    }
    sim.run(60 * SECOND);
    assert!((0..3).all(|at| strangers(&sim, at).is_empty()));
    assert!(sim.is_up(0, 2), "a member is met as ever");
    let asked = |sim: &Sim, at: usize| {
        let asks = |event: &Event| matches!(event, Event::OpenStream { target: crate::event::Target::Address(_), .. });
        sim.nodes[at].events.iter().filter(|(_, event)| asks(event)).count()
    };
    assert_eq!((asked(&sim, 1), asked(&sim, 2)), (1, 0), "who is known is not asked");
}

#[test]
fn what_answers_a_probe_with_rubbish_is_left_alone() {
    let mut sim = Sim::new(1, &[&[0]]);
    let (now, address) = (sim.now, sim::address_of(9));
    sim.mesh(0).connect(address, now);
    let short = crate::contact::message(Kind::ProbeReply, &[&[7; 31]]);
    let of_others = crate::contact::message(Kind::JoinRefused, &[&[0, 0]]);
    for (number, message) in (1..).zip([short, of_others]) {
        let (stream, origin) = (StreamId(number), Origin::Dialed(crate::event::Target::Address(address)));
        sim.mesh(0).handle_stream_opened(stream, origin, now);
        sim.mesh(0).handle_stream_bytes(stream, &wire::envelope::Frames::emit(&message).unwrap(), now);
        let events: Vec<Event> = std::iter::from_fn(|| sim.mesh(0).poll_event()).collect();
        assert_eq!(events, vec![Event::CloseStream { stream }]);
    }
    // A reply that nobody asked for is none.
    let reply = crate::contact::ProbeReply { cluster: ClusterId([1; 32]) }.emit();
    sim.mesh(0).handle_stream_opened(StreamId(3), Origin::Accepted(address), now);
    sim.mesh(0).handle_stream_bytes(StreamId(3), &wire::envelope::Frames::emit(&reply).unwrap(), now);
    let events: Vec<Event> = std::iter::from_fn(|| sim.mesh(0).poll_event()).collect();
    assert_eq!(events, vec![Event::CloseStream { stream: StreamId(3) }]);
}

#[test]
fn garbage_costs_no_diffie_hellman() {
    let mut sim = pair();
    let (before, mut rng, now) = (sim.mesh(0).counters(), Rng::new(&[9; 32]), sim.now);
    for number in 0..20_000u32 {
        let mut bytes = vec![0; 16 + usize::from(rng.bytes::<1>()[0])];
        rng.fill(&mut bytes);
        bytes[..4].copy_from_slice(&[(number % 7) as u8, 0, 1, 0]);
        let [_, a, b, c] = number.to_be_bytes();
        sim.mesh(0).handle_datagram(SocketAddr::from(([10, a, b, c], 1)), &bytes, now);
    }
    let after = sim.mesh(0).counters();
    assert_eq!(after.handshakes, before.handshakes);
    assert!(after.gated > before.gated + 2_000);
    assert!(sim.mesh(0).poll_transmit().is_none(), "garbage was answered");
    assert!(sim.data_passes(0, 1));
}

/// A call to node 0 of somebody who knows its public key, and is no member.
fn strangers_call(sim: &mut Sim) -> Vec<u8> {
    let (cluster, identity, noise_key) = (sim.mesh(0).cluster(), sim.identity(0), Secret::new([1; 32]));
    let local = Local { cluster, identity, noise_public: [0; 32], noise_key, primitives: Primitives::default() };
    let noise_public = &sim::credentials(1, 0).noise_key.noise_public();
    let callee = crate::handshake::Callee { identity, noise_public, index: 1, cookie: None };
    let (stamp, suites) = ((1, 1), Vec::new());
    let greeting =
        crate::handshake::Greeting { stamp, protocols: (1, 1), queues: 1, identity, suites, certificate: None };
    crate::handshake::call(&local, &callee, &greeting, [3; 32]).unwrap().1
}

#[test]
fn a_flood_with_valid_mac1_is_met_with_cookies_and_a_member_gets_through() {
    let mut sim = Sim::new(1, &[&[0, 1], &[0, 1]]);
    sim.run(SECOND);
    sim.kill(1);
    // Somebody who knows the public key, from ever new addresses.
    let (message, now) = (strangers_call(&mut sim), sim.now);
    let before = sim.mesh(0).counters();
    for number in 0..5_000u32 {
        let [_, _, b, c] = number.to_be_bytes();
        sim.mesh(0).handle_datagram(SocketAddr::from(([10, 1, b, c], 1)), &message, now);
    }
    let after = sim.mesh(0).counters();
    assert!(after.handshakes - before.handshakes <= 500 && after.challenged - before.challenged > 4_000, "{after:?}");
    while sim.mesh(0).poll_transmit().is_some() {}
    sim.start(1);
    let took = sim.run_while(SECOND, |sim| !sim.data_passes(0, 1)).expect("the flood shut a member out");
    assert!(took < SECOND, "{took:?}");
}

#[test]
fn under_a_flood_a_stale_cookie_is_replaced() {
    let mut sim = pair();
    sim.run(SECOND);
    sim.kill(1);
    let (message, first, now) = (strangers_call(&mut sim), sim.identity(0), sim.now);
    sim.start(1);
    sim.mesh(1).peers.get_mut(&first).unwrap().cookie = Some(([7; 16], now));
    let took = sim.run_while(10 * SECOND, |sim| {
        let now = sim.now;
        // Whoever floods is there all the time: only who shows a good cookie passes.
        for number in 0..2_000u32 {
            let [_, _, b, c] = number.to_be_bytes();
            sim.mesh(0).handle_datagram(SocketAddr::from(([10, 1, b, c], 1)), &message, now);
        }
        while sim.mesh(0).out.transmits.pop_front().is_some() {}
        !sim.data_passes(0, 1)
    });
    assert!(took.is_some(), "the member showed its stale cookie again and again");
}

#[test]
fn a_stranger_with_the_right_cluster_is_no_member() {
    let mut sim = Sim::new(1, &[&[0], &[0, 1]]);
    sim.run(10 * SECOND);
    assert!(!sim.is_up(0, 1) && !sim.is_up(1, 0));
    assert!(sim.mesh(0).counters().strangers > 0);
}

#[test]
fn a_name_taken_twice_is_an_alarm_and_no_more() {
    let mut sim = Sim::new(1, &[&[0, 1], &[0, 1]]);
    // Another identity that 0 certified under the name of 1, known to 0 alone, as after a partition.
    let (signing, noise, issuer) = (sim::secret(1, 50, 1), sim::secret(1, 50, 2), sim::secret(1, 0, 1));
    let title = wire::Title {
        identity: signing.identity(),
        noise_key: noise.noise_public(),
        name: "host1".parse().unwrap(),
        generation: 1,
        issuer: issuer.identity(),
    };
    let addresses = SignedAddresses::sign(Vec::new(), (1, 0), &signing);
    let twin = Member { certificate: issue_certificate(title, &signing, &issuer), addresses, revoked: false };
    sim.run(SECOND);
    let now = sim.now;
    let first = sim.identity(0);
    let news = crate::gossip::Gossip::Members { members: vec![twin.clone()], seen: Vec::new() };
    let payload = wire::encode(crate::gossip::GOSSIP_VERSION, &news);
    sim.mesh(1).handle_gossip(first, &payload, now);
    sim.mesh(1).handle_gossip(first, &payload, now);
    sim.drain();
    let alarms: Vec<_> = sim.nodes[1].events.iter().filter(|(_, event)| matches!(event, Event::Alarm(_))).collect();
    let (name, holder, claimant) = ("host1".parse().unwrap(), sim.identity(1), twin.identity());
    assert_eq!(alarms.len(), 1);
    assert_eq!(alarms[0].1, Event::Alarm(Alarm::NameTaken { name, holder, claimant }));
    assert_eq!(sim.mesh(1).members().len(), 3, "a member is refused over its name");
    assert!(sim.data_passes(0, 1));
}

/// What node 0 certifies under another identity's name or key, told to node 1 as gossip.
fn certify(sim: &mut Sim, title: wire::Title, holder: &Secret) {
    let certificate = issue_certificate(title, holder, &sim::secret(1, 0, 1));
    let addresses = SignedAddresses::sign(vec![sim.nodes[0].address], (u32::MAX, 0), holder);
    let news = crate::gossip::Gossip::Members {
        members: vec![Member { certificate, addresses, revoked: false }],
        seen: Vec::new(),
    };
    let (payload, liar, now) = (wire::encode(crate::gossip::GOSSIP_VERSION, &news), sim.identity(0), sim.now);
    sim.mesh(1).handle_gossip(liar, &payload, now);
    sim.drain();
}

/// Calls node 1 as somebody, with a key of node 0's choice. Returns whether that made a session.
fn passes_for(sim: &mut Sim, identity: Identity, noise_key: Secret, certificate: Option<wire::Certificate>) -> bool {
    let target = sim::credentials(1, 1).noise_key.noise_public();
    let (cluster, noise_public) = (sim.mesh(0).cluster(), noise_key.noise_public());
    let local = Local { cluster, identity, noise_public, noise_key, primitives: Primitives::default() };
    let callee = crate::handshake::Callee { identity: sim.identity(1), noise_public: &target, index: 1, cookie: None };
    let (stamp, suites) = ((u32::MAX, u64::MAX), Vec::new());
    let greeting = crate::handshake::Greeting { stamp, protocols: (1, 1), queues: 1, identity, suites, certificate };
    let (_, message) = crate::handshake::call(&local, &callee, &greeting, [3; 32]).unwrap();
    let (from, now) = (sim.nodes[0].address, sim.now);
    sim.mesh(1).handle_datagram(from, &message, now);
    let answered = sim.mesh(1).poll_transmit().is_some();
    sim.drain();
    answered
}

#[test]
fn no_member_becomes_another_by_certifying_it() {
    let all: &[u8] = &[0, 1, 2];
    let mut sim = Sim::new(31, &[all, all, all]);
    sim.run(10 * SECOND);
    let (victim, before) = (sim.identity(2), sim::member(1, 2).certificate);
    let (liar, key) = (sim::secret(1, 0, 1), Secret::new([77; 32]));
    let title =
        wire::Title { noise_key: key.noise_public(), generation: 2, issuer: liar.identity(), ..before.title.clone() };
    certify(&mut sim, title.clone(), &liar);
    let known = sim.mesh(1).members().into_iter().find(|member| member.identity() == victim).unwrap();
    assert_eq!(known.certificate, before);
    let certificate = issue_certificate(title, &liar, &liar);
    assert!(!passes_for(&mut sim, victim, key.clone(), None), "a key nobody certified");
    assert!(!passes_for(&mut sim, victim, key, Some(certificate)), "a key that the member did not take");
    // Its own calls are heard as before.
    sim.run(200 * SECOND);
    assert!(sim.data_passes(2, 1) && sim.data_passes(1, 2));
    assert!(sim.downs(1).is_empty() && sim.downs(2).is_empty());
}

#[test]
fn a_handshake_key_listed_by_another_too_serves_its_holder_alone() {
    // 0 lists the key of 2, of which 1 has not heard yet, for an identity of its own making.
    let mut sim = Sim::new(32, &[&[0, 1], &[0, 1], &[0, 2]]);
    sim.run(SECOND);
    sim.cuts.insert((0, 2));
    let (fake, theirs) = (Secret::new([78; 32]), sim::credentials(1, 2).certificate.title);
    let title = wire::Title { identity: fake.identity(), name: "fake".parse().unwrap(), ..theirs };
    certify(&mut sim, title, &fake);
    assert_eq!(sim.mesh(1).members().len(), 3);
    let now = sim.now;
    let (newcomer, knows) = (sim::member(1, 2), sim::member(1, 1));
    sim.mesh(1).admit(vec![newcomer], None, now);
    sim.mesh(2).admit(vec![knows], None, now);
    assert!(sim.run_while(10 * SECOND, |sim| !sim.is_up(1, 2)).is_some(), "the holder of the key is shut out");
    assert!(sim.data_passes(1, 2) && sim.data_passes(2, 1));
    // Calls for the fake that reach the key's holder come to nothing.
    let (holder, fake, now) = (sim.nodes[2].address, fake.identity(), sim.now);
    sim.mesh(1).peers.get_mut(&fake).unwrap().path.list(&[holder]);
    sim.mesh(1).place_call(fake, now);
    sim.run(10 * SECOND);
    let fake_is_up = sim.mesh(1).peers.get(&fake).unwrap().is_up();
    assert!(!fake_is_up && sim.downs(2).is_empty());
}

/// Members of node 0's making that nobody meets, with a list of addresses for each version.
fn phantoms(version: u32) -> Vec<Member> {
    let issuer = sim::secret(1, 0, 1);
    let phantom = |number: u8| {
        let (signing, noise) = (sim::secret(1, number, 1), sim::secret(1, number, 2));
        let title = wire::Title {
            identity: signing.identity(),
            noise_key: noise.noise_public(),
            name: format!("phantom{number}").parse().unwrap(),
            generation: 1,
            issuer: issuer.identity(),
        };
        let listed = if version == 0 { Vec::new() } else { vec![victim(version)] };
        let addresses = SignedAddresses::sign(listed, (1, version), &signing);
        Member { certificate: issue_certificate(title, &signing, &issuer), addresses, revoked: false }
    };
    (100..140).map(phantom).collect()
}

/// Two addresses of somebody who has nothing to do with it, in turn.
fn victim(turn: u32) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 1 + u8::from(turn.is_multiple_of(2))], 53))
}

#[test]
fn no_member_has_others_call_whom_it_likes_without_end() {
    let mut sim = pair();
    let says = |sim: &mut Sim, members: Vec<Member>, seen: Vec<(Identity, SocketAddr)>| {
        let news = crate::gossip::Gossip::Members { members, seen };
        let payload = wire::encode(crate::gossip::GOSSIP_VERSION, &news);
        let (liar, now) = (sim.identity(0), sim.now);
        sim.mesh(1).handle_gossip(liar, &payload, now);
        sim.drain();
    };
    let calls = |sim: &mut Sim| {
        let from = sim.nodes[1].address;
        let tap = sim.tap.replace(Vec::new()).unwrap_or_default();
        let is_call = |bytes: &[u8]| Kind::of_message(bytes).is_ok_and(|kind| kind == Kind::Initiation);
        tap.iter().filter(|(sender, _, bytes)| *sender == from && is_call(bytes)).count()
    };
    let members = phantoms(0);
    says(&mut sim, members.clone(), members.iter().map(|member| (member.identity(), victim(0))).collect());
    // Nobody answers, and each is called ever more seldom.
    sim.run(600 * SECOND);
    calls(&mut sim);
    sim.run(5 * SECOND);
    let idle = calls(&mut sim);
    for turn in 1..=250 {
        says(&mut sim, Vec::new(), members.iter().map(|member| (member.identity(), victim(turn))).collect());
        sim.run(20 * MILLISECOND);
    }
    let hinted = calls(&mut sim);
    assert!(hinted <= idle + 150, "{hinted} calls in five seconds, {idle} without a word");
    sim.run(60 * SECOND);
    calls(&mut sim);
    for version in 1..=5 {
        let members = phantoms(version);
        says(&mut sim, members, Vec::new());
        sim.run(SECOND);
    }
    let listed = calls(&mut sim);
    assert!(listed <= idle + 150, "{listed} calls in five seconds, {idle} without a word");
}

#[test]
fn strangers_hold_few_streams_and_not_for_long() {
    let mut sim = pair();
    sim.run(SECOND);
    let now = sim.now;
    for number in 0..100 {
        let origin = Origin::Accepted(SocketAddr::from(([10, 9, 9, number], 1)));
        sim.mesh(0).handle_stream_opened(StreamId(1000 + u64::from(number)), origin, now);
    }
    sim.drain();
    let closed =
        |sim: &Sim| sim.nodes[0].events.iter().filter(|(_, event)| matches!(event, Event::CloseStream { .. })).count();
    assert_eq!(closed(&sim), 36);
    // One host alone gets fewer.
    for number in 0..20 {
        let origin = Origin::Accepted(SocketAddr::from(([10, 9, 9, 9], number)));
        sim.mesh(1).handle_stream_opened(StreamId(1000 + u64::from(number)), origin, now);
    }
    sim.drain();
    assert_eq!(sim.nodes[1].events.iter().filter(|(_, event)| matches!(event, Event::CloseStream { .. })).count(), 12);
    sim.run(6 * SECOND);
    assert_eq!(closed(&sim), 100);
    assert!(sim.data_passes(0, 1));
}

#[test]
fn strangers_cannot_keep_members_streams_out() {
    let mut sim = pair();
    sim.run(SECOND);
    let (now, member) = (sim.now, sim.nodes[1].address);
    // One IPv6 host with a network of its own, and many others.
    for number in 0..200u16 {
        let here = SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, number), 1));
        sim.mesh(0).handle_stream_opened(StreamId(1000 + u64::from(number)), Origin::Accepted(here), now);
    }
    let open = |sim: &mut Sim| sim.mesh(0).streams.values().filter(|stream| stream.stranger().is_some()).count();
    assert_eq!(open(&mut sim), 8, "a /64 is one host");
    for number in 0..200u8 {
        let there = SocketAddr::from(([10, 9, 9, number], 1));
        sim.mesh(0).handle_stream_opened(StreamId(2000 + u64::from(number)), Origin::Accepted(there), now);
    }
    assert_eq!(open(&mut sim), 64);
    sim.mesh(0).handle_stream_opened(StreamId(3000), Origin::Accepted(member), now);
    assert!(sim.mesh(0).streams.contains_key(&StreamId(3000)));
}

#[test]
fn garbage_on_a_stream_closes_it() {
    let mut sim = pair();
    let (now, from) = (sim.now, sim.nodes[1].address);
    for (number, bytes) in [
        (1u64, vec![0xff; 64]),
        (2, vec![0, 0, 0, 5, 1, 2, 3, 4, 5]),
        (3, [&[0, 0, 0, 40, 5, 0, 1, 0][..], &[7; 36]].concat()),
    ] {
        let stream = StreamId(1000 + number);
        sim.mesh(0).handle_stream_opened(stream, Origin::Accepted(from), now);
        sim.mesh(0).handle_stream_bytes(stream, &bytes, now);
        assert!(
            std::iter::from_fn(|| sim.mesh(0).poll_event()).any(|event| event == Event::CloseStream { stream }),
            "{number}"
        );
    }
}

proptest::proptest! {
    #[test]
    fn any_datagrams_and_streams_are_survived(pieces in proptest::collection::vec((0u8..24, proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)), 0..20)) {
        let mut sim = Sim::new(1, &[&[0, 1]]);
        let now = sim.now;
        let origin = Origin::Accepted("10.0.0.1:1".parse().unwrap());
        for (number, (kind, piece)) in (0..).zip(pieces) {
            let message = [&[kind, 0, 1, 0][..], &piece].concat();
            sim.mesh(0).handle_datagram("10.0.0.1:1".parse().unwrap(), &message, now);
            sim.mesh(0).handle_stream_opened(StreamId(number), origin, now);
            sim.mesh(0).handle_stream_bytes(StreamId(number), &wire::envelope::Frames::emit(&message).unwrap(), now);
        }
    }
}
