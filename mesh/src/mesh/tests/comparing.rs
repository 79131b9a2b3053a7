//! Whatever two routers were told by somebody who wants them to differ, they come to know the same.

use super::*;
use crate::digest::hash;
use crate::gossip::{GOSSIP_VERSION, Gossip};
use crate::identity::issue_certificate;

/// Two routers, and members that do not run, all known to both. They do not reach each other.
fn apart() -> Sim {
    let mut sim = Sim::new(1, &[&[0, 1, 2], &[0, 1, 2]]);
    sim.run(SECOND);
    sim.cuts.insert((0, 1));
    sim.run(15 * SECOND);
    assert!(!sim.is_up(0, 1) && !sim.is_up(1, 0));
    sim
}

/// Somebody tells a router of members.
fn tell(sim: &mut Sim, at: usize, members: Vec<Member>) {
    let payload = wire::encode(GOSSIP_VERSION, &Gossip::Members { members, seen: Vec::new() });
    let (liar, now) = (sim::member(1, 2).identity(), sim.now);
    sim.mesh(at).handle_gossip(liar, &payload, now);
    sim.drain();
}

fn known(sim: &mut Sim, at: usize) -> BTreeMap<Identity, Member> {
    sim.mesh(at).members().into_iter().map(|member| (member.identity(), member)).collect()
}

/// They reach each other again: the least time in which they come to know the same.
fn meet(sim: &mut Sim) -> Option<Duration> {
    sim.cuts.clear();
    sim.run_while(120 * SECOND, |sim| !sim.all_up() || known(sim, 0) != known(sim, 1))
}

fn listed(number: u8, version: (u32, u32), port: u16) -> Member {
    let addresses = vec![SocketAddr::from(([198, 51, 100, number], port))];
    let key = sim::credentials(1, number).signing_key;
    Member { addresses: SignedAddresses::sign(addresses, version, &key), ..sim::member(1, number) }
}

/// A line's part of the exclusive or of hashes that a digest would be, 64 bits of it.
fn part(member: &Member) -> u64 {
    let (title, (boot, count)) = (&member.certificate.title, member.addresses.version);
    let (generation, [first, ..]) = (title.generation.to_be_bytes(), title.identity.0);
    let line = hash(&[&title.identity.0, &generation, &boot.to_be_bytes(), &count.to_be_bytes()]);
    u64::from_be_bytes(*line.first_chunk().unwrap()).rotate_left(63 - u32::from(first) % 64)
}

/// Which of these make the exclusive or of the others: Gauss over GF(2).
fn forgery(parts: &[u64], target: u64) -> Option<BTreeSet<usize>> {
    let mut basis: Vec<(u64, BTreeSet<usize>)> = Vec::new();
    let reduce = |basis: &[(u64, BTreeSet<usize>)], mut value: u64, mut from: BTreeSet<usize>| {
        for (known, made) in basis {
            if value ^ known < value {
                value ^= known;
                from = &from ^ made;
            }
        }
        (value, from)
    };
    for (number, part) in parts.iter().enumerate() {
        let (value, from) = reduce(&basis, *part, BTreeSet::from([number]));
        if value != 0 {
            basis.push((value, from));
            basis.sort_by_key(|(value, _)| std::cmp::Reverse(*value));
        }
    }
    let (left, from) = reduce(&basis, target, BTreeSet::new());
    (left == 0).then_some(from)
}

/// Eighty accomplices tell one router their first lines, the other some of their second ones, so that a router the other has
/// never heard of cancels out.
#[test]
fn lines_that_cancel_out_hide_nobody() {
    let mut sim = apart();
    let hidden = listed(3, (1, 0), 1);
    let lines = |version| (10..90).map(move |number| listed(number, (version, 0), 1));
    let (first, second): (Vec<Member>, Vec<Member>) = (lines(1).collect(), lines(2).collect());
    let parts: Vec<u64> = first.iter().zip(&second).map(|(first, second)| part(first) ^ part(second)).collect();
    let chosen = forgery(&parts, part(&hidden)).unwrap();
    let mixed = first.iter().zip(&second).enumerate();
    let mixed = mixed.map(|(number, (first, second))| if chosen.contains(&number) { second } else { first }.clone());
    tell(&mut sim, 1, mixed.collect());
    tell(&mut sim, 0, first.into_iter().chain([hidden.clone()]).collect());
    let sum = |members: BTreeMap<Identity, Member>| members.values().map(part).fold(0, |sum, part| sum ^ part);
    assert_eq!(sum(known(&mut sim, 0)), sum(known(&mut sim, 1)), "the forger computes wrongly");
    assert!(meet(&mut sim).is_some_and(|took| took < 20 * SECOND));
    assert!(known(&mut sim, 1).contains_key(&hidden.identity()));
}

#[test]
fn two_lists_under_one_version_become_one() {
    for (left, right) in [(1, 2), (2, 1)] {
        let mut sim = apart();
        tell(&mut sim, 0, vec![listed(2, (7, 7), left)]);
        tell(&mut sim, 1, vec![listed(2, (7, 7), right)]);
        assert!(meet(&mut sim).is_some_and(|took| took < 20 * SECOND));
        let liar = sim::member(1, 2).identity();
        assert_eq!(known(&mut sim, 0)[&liar].addresses, listed(2, (7, 7), 2).addresses);
        // And one with a number of its own takes the place of both.
        tell(&mut sim, 0, vec![listed(2, (7, 8), 1)]);
        assert_eq!(known(&mut sim, 0)[&liar].addresses, listed(2, (7, 8), 1).addresses);
    }
}

#[test]
fn two_keys_under_one_generation_become_one() {
    let (key, issuer) = (sim::credentials(1, 2).signing_key, sim::credentials(1, 0).signing_key);
    let renewed = |noise: u8| {
        let member = sim::member(1, 2);
        let noise_key = Secret::new([noise; 32]).noise_public();
        let title = wire::Title { noise_key, generation: 2, ..member.certificate.title.clone() };
        Member { certificate: issue_certificate(title, &key, &issuer), ..member }
    };
    for (left, right) in [(50, 51), (51, 50)] {
        let mut sim = apart();
        tell(&mut sim, 0, vec![renewed(left)]);
        tell(&mut sim, 1, vec![renewed(right)]);
        assert!(meet(&mut sim).is_some_and(|took| took < 20 * SECOND));
    }
}

#[test]
fn a_router_that_two_sponsors_admitted_is_known_by_one_certificate() {
    let by = |sponsor: u8| {
        let (key, issuer) = (sim::credentials(1, 3).signing_key, sim::credentials(1, sponsor).signing_key);
        let member = listed(3, (1, 0), 1);
        let title = wire::Title { issuer: issuer.identity(), ..member.certificate.title.clone() };
        Member { certificate: issue_certificate(title, &key, &issuer), ..member }
    };
    for (left, right) in [(0, 2), (2, 0)] {
        let mut sim = apart();
        tell(&mut sim, 0, vec![by(left)]);
        tell(&mut sim, 1, vec![by(right)]);
        assert!(meet(&mut sim).is_some_and(|took| took < 20 * SECOND));
        assert_eq!(known(&mut sim, 0).len(), 4);
    }
}

/// A member that signs as fast as it can must not make of one message a store full of rows, and one for each of the others.
#[test]
fn of_many_versions_in_one_message_one_is_written_and_passed_on() {
    let all: &[u8] = &[0, 1, 2, 3];
    let mut sim = Sim::new(3, &[all, all, all, all]);
    assert!(sim.run_while(10 * SECOND, |sim| !sim.all_up()).is_some(), "they never met");
    sim.run(SECOND);
    let versions = (1..=300).map(|version| listed(9, (version, 0), 6783)).collect();
    let payload = wire::encode(GOSSIP_VERSION, &Gossip::Members { members: versions, seen: Vec::new() });
    let (source, now) = (sim.identity(3), sim.now);
    sim.mesh(0).handle_gossip(source, &payload, now);
    let said: usize = std::iter::from_fn(|| sim.mesh(0).poll_transmit()).map(|transmit| transmit.bytes.len()).sum();
    let line = wire::encode(GOSSIP_VERSION, &listed(9, (300, 0), 6783)).len();
    assert!((line..3 * line).contains(&said), "{said} bytes to two others, of a line of {line}");
    let is_news = |event: &Event| matches!(event, Event::MemberAdmitted { .. });
    let told: Vec<Event> = std::iter::from_fn(|| sim.mesh(0).poll_event()).filter(is_news).collect();
    let member = Box::new(listed(9, (300, 0), 6783));
    assert_eq!(told, vec![Event::MemberAdmitted { member, change: crate::MemberChange::New }]);
}
