//! First contact from both sides: every way in, and every refusal with its own reason on both sides.

use wire::envelope::Frames;

use super::*;
use crate::admission::MEMBERS_MOST;
use crate::event::{Application, JoinId, Origin, SecretUsed, Standing};
use crate::join::{Candidate, JoinError, Joined, Joiner, Progress};
use crate::join_secret::{SecretKind, SecretState};
use crate::primitives::Primitives;
use crate::token::{Token, TokenId};

const STREAM: StreamId = StreamId(7_000);
const ID: TokenId = TokenId([4; 8]);

fn candidate(number: u8, name: &str) -> Candidate {
    let (signing_key, noise_key) = (sim::secret(1, number, 1), sim::secret(1, number, 2));
    Candidate { signing_key, noise_key, name: name.parse().unwrap(), addresses: vec![sim::address_of(number)] }
}

fn token(sim: &mut Sim, secret: u8) -> Token {
    Token { cluster: sim.mesh(0).cluster(), id: ID, secret: Secret::new([secret; 32]) }
}

fn secret(kind: SecretKind, key: u8, state: SecretState) -> JoinSecret {
    JoinSecret { kind, key: Secret::new([key; 32]), state }
}

fn alone(secrets: Vec<JoinSecret>) -> Sim {
    let mut sim = Sim::new(1, &[&[0]]);
    sim.mesh(0).set_join_secrets(secrets);
    sim
}

/// Everything the two sides say to one another, until nobody has more to say.
fn converse(
    sim: &mut Sim,
    joiner: &mut Joiner,
    mut answer: impl FnMut(&mut Mesh, &Application, Instant),
) -> (Vec<Progress>, Vec<Event>) {
    let (now, from) = (sim.now, "198.51.100.5:5000".parse().unwrap());
    let mesh = sim.mesh(0);
    mesh.handle_stream_opened(STREAM, Origin::Accepted(from), now);
    let (mut progress, mut events) = (Vec::new(), Vec::new());
    loop {
        let (spoken, heard) = (progress.len(), events.len());
        let mut bytes = 0;
        while let Some(said) = joiner.poll_transmit() {
            bytes += said.len();
            mesh.handle_stream_bytes(STREAM, &said, now);
        }
        while let Some(transmit) = mesh.poll_transmit() {
            if transmit.carrier == Carrier::Stream(STREAM) {
                bytes += transmit.bytes.len();
                transmit.bytes.chunks(1000).for_each(|chunk| joiner.handle_bytes(chunk));
            }
        }
        while let Some(event) = mesh.poll_event() {
            if let Event::JoinRequested(application) = &event {
                answer(mesh, application, now);
            }
            events.push(event);
        }
        progress.extend(std::iter::from_fn(|| joiner.poll_progress()));
        if bytes == 0 && (spoken, heard) == (progress.len(), events.len()) {
            return (progress, events);
        }
    }
}

fn grant(mesh: &mut Mesh, application: &Application, now: Instant) {
    let admitted = mesh.certify_join(application.join).and_then(|member| mesh.admit_join(member, now));
    mesh.answer_join(application.join, admitted.map(|()| vec![5; 1_200_000]));
}

fn joined(progress: &[Progress]) -> &Joined {
    match progress {
        [.., Progress::Joined(joined)] => joined,
        other => panic!("{other:?}"),
    }
}

fn refused(events: &[Event]) -> Vec<RefuseReason> {
    let reason =
        |event: &Event| if let Event::JoinRefused { reason, .. } = event { Some(reason.clone()) } else { None };
    events.iter().filter_map(reason).collect()
}

#[test]
fn a_token_makes_a_member_that_everybody_meets() {
    let mut sim = alone(vec![secret(SecretKind::Token(ID), 1, SecretState::Live)]);
    let token = token(&mut sim, 1);
    let mut joiner = Joiner::with_token(candidate(1, "host1"), &token, [1; 32]);
    let mut seen = None;
    let (progress, events) = converse(&mut sim, &mut joiner, |mesh, application, now| {
        seen = Some(application.clone());
        grant(mesh, application, now);
    });
    let Application { name, identity, noise_key, secret, standing, addresses, .. } = seen.unwrap();
    let expected = candidate(1, "host1");
    assert_eq!(
        (name, identity, noise_key),
        (expected.name, expected.signing_key.identity(), expected.noise_key.noise_public())
    );
    assert_eq!((secret, standing, addresses), (SecretUsed::Token(ID), Standing::Newcomer, expected.addresses));
    assert!(events.iter().any(|event| matches!(event, Event::MemberAdmitted { .. })));
    assert_eq!(events.last(), Some(&Event::CloseStream { stream: STREAM }));
    let joined = joined(&progress).clone();
    assert_eq!((joined.ledger.len(), joined.members.len(), joined.genesis), (1_200_000, 2, sim::genesis(1)));
    // The newcomer starts, and they meet.
    sim.add(1, 1, &[], Config::default());
    sim.nodes[1].members = joined.members.into_iter().map(|member| (member.identity(), member)).collect();
    sim.start(1);
    assert!(sim.run_while(SECOND, |sim| !sim.all_up()).is_some());
}

#[test]
fn nobody_hears_of_an_applicant_that_its_sponsor_could_not_write_down() {
    let mut sim = alone(vec![secret(SecretKind::Token(ID), 1, SecretState::Live)]);
    let token = token(&mut sim, 1);
    let mut joiner = Joiner::with_token(candidate(1, "host1"), &token, [1; 32]);
    let (progress, events) = converse(&mut sim, &mut joiner, |mesh, application, _| {
        mesh.certify_join(application.join).unwrap();
        mesh.answer_join(application.join, Err(RefuseReason::ReadOnly));
    });
    assert_eq!(progress, vec![Progress::Failed(JoinError::Refused { reason: RefuseReason::ReadOnly })]);
    assert!(!events.iter().any(|event| matches!(event, Event::MemberAdmitted { .. })));
    assert_eq!(sim.mesh(0).members().len(), 1);
}

#[test]
fn a_password_makes_a_member_too() {
    let mut sim = alone(vec![secret(SecretKind::Password, 8, SecretState::Live)]);
    let mut joiner = Joiner::with_password(candidate(1, "host1"), [1; 32]);
    let (progress, _) = converse(&mut sim, &mut joiner, grant);
    assert_eq!(progress, vec![Progress::PasswordKeyWanted { cluster: sim.mesh(0).cluster() }]);
    joiner.handle_password_key(&Secret::new([8; 32]));
    let (progress, _) = converse(&mut sim, &mut joiner, grant);
    assert_eq!(joined(&progress).certificate.title.name.as_str(), "host1");
}

#[test]
fn while_a_password_is_replaced_both_open_the_door_and_no_third() {
    let passwords = [9, 8].map(|key| secret(SecretKind::Password, key, SecretState::Live));
    let mut sim = alone(passwords.to_vec());
    for (number, key) in [(1, 8), (2, 9), (3, 7)] {
        let mut joiner = Joiner::with_password(candidate(number, &format!("host{number}")), [number; 32]);
        converse(&mut sim, &mut joiner, grant);
        joiner.handle_password_key(&Secret::new([key; 32]));
        let (progress, _) = converse(&mut sim, &mut joiner, grant);
        if key == 7 {
            assert_eq!(progress, vec![Progress::Failed(JoinError::Refused { reason: RefuseReason::WrongPassword })]);
        } else {
            assert_eq!(joined(&progress).certificate.title.name.as_str(), format!("host{number}"));
        }
    }
}

#[test]
fn every_refusal_has_its_reason_on_both_sides() {
    let kind = SecretKind::Token(ID);
    let taken = RefuseReason::NameTaken { name: "host0".parse().unwrap() };
    let cases = [
        (vec![], 1, "new", RefuseReason::UnknownToken),
        (vec![secret(kind, 1, SecretState::Used)], 1, "new", RefuseReason::UsedToken),
        (vec![secret(kind, 1, SecretState::Expired)], 1, "new", RefuseReason::ExpiredToken),
        (vec![secret(kind, 2, SecretState::Live)], 1, "new", RefuseReason::WrongToken),
        (vec![secret(kind, 1, SecretState::Live)], 1, "host0", taken),
    ];
    for (secrets, key, name, reason) in cases {
        let mut sim = alone(secrets);
        let token = token(&mut sim, key);
        let mut joiner = Joiner::with_token(candidate(1, name), &token, [1; 32]);
        let (progress, events) = converse(&mut sim, &mut joiner, |_, application, _| panic!("{application:?}"));
        assert_eq!(progress, vec![Progress::Failed(JoinError::Refused { reason: reason.clone() })]);
        assert_eq!(refused(&events), vec![reason]);
        assert_eq!(events.last(), Some(&Event::CloseStream { stream: STREAM }));
    }
}

#[test]
fn a_cluster_that_is_full_says_so_before_anything_is_used_up() {
    // Its members are made up, so it looks at no signature.
    let mut sim = Sim::new(1, &[]);
    let primitives = Primitives { verify: |_, _, _| true, ..Primitives::default() };
    sim.add(1, 0, &[0], Config { primitives, ..Config::default() });
    sim.mesh(0).set_join_secrets(vec![secret(SecretKind::Token(ID), 1, SecretState::Live)]);
    let (mut stamp, now) = (sim::member(1, 0), sim.now);
    stamp.certificate.title.issuer = Identity(sim::genesis(1).authority);
    let members = (1..MEMBERS_MOST).map(|number| {
        let mut member = stamp.clone();
        let title = &mut member.certificate.title;
        title.identity.0[..8].copy_from_slice(&number.to_be_bytes());
        title.name = format!("made-up{number}").parse().unwrap();
        member
    });
    let (members, mesh) = (members.collect(), sim.mesh(0));
    mesh.admit(members, None, now);
    while mesh.poll_event().is_some() {}
    let token = token(&mut sim, 1);
    let mut joiner = Joiner::with_token(candidate(1, "new"), &token, [1; 32]);
    let (progress, events) = converse(&mut sim, &mut joiner, grant);
    assert_eq!(progress, vec![Progress::Failed(JoinError::Refused { reason: RefuseReason::Full })]);
    assert_eq!(refused(&events), vec![RefuseReason::Full]);
    assert!(!events.iter().any(|event| matches!(event, Event::JoinRequested(_))));
}

#[test]
fn a_token_of_another_cluster_is_told_from_a_wrong_one() {
    let mut sim = alone(vec![secret(SecretKind::Token(ID), 1, SecretState::Live)]);
    let token = Token { cluster: cluster_id(&sim::genesis(2)), ..token(&mut sim, 1) };
    let mut joiner = Joiner::with_token(candidate(1, "new"), &token, [1; 32]);
    let (progress, events) = converse(&mut sim, &mut joiner, grant);
    assert_eq!(progress, vec![Progress::Failed(JoinError::Refused { reason: RefuseReason::WrongCluster })]);
    assert_eq!(refused(&events), vec![RefuseReason::WrongCluster]);
}

#[test]
fn passwords_are_refused_when_wrong_or_when_there_is_none() {
    for (secrets, reason) in [
        (vec![secret(SecretKind::Password, 8, SecretState::Live)], RefuseReason::WrongPassword),
        (vec![], RefuseReason::NoPassword),
    ] {
        let mut sim = alone(secrets);
        let mut joiner = Joiner::with_password(candidate(1, "new"), [1; 32]);
        converse(&mut sim, &mut joiner, grant);
        joiner.handle_password_key(&Secret::new([9; 32]));
        let (progress, events) = converse(&mut sim, &mut joiner, grant);
        assert_eq!(progress, vec![Progress::Failed(JoinError::Refused { reason: reason.clone() })]);
        assert_eq!(refused(&events), vec![reason]);
    }
}

#[test]
fn the_owner_may_refuse_too() {
    let mut sim = alone(vec![secret(SecretKind::Token(ID), 1, SecretState::Live)]);
    let token = token(&mut sim, 1);
    let mut joiner = Joiner::with_token(candidate(1, "new"), &token, [1; 32]);
    let (progress, events) = converse(&mut sim, &mut joiner, |mesh, application, _| {
        mesh.answer_join(application.join, Err(RefuseReason::ReadOnly))
    });
    assert_eq!(progress, vec![Progress::Failed(JoinError::Refused { reason: RefuseReason::ReadOnly })]);
    assert_eq!(refused(&events), vec![RefuseReason::ReadOnly]);
}

#[test]
fn a_member_whose_answer_was_lost_gets_it_again_from_a_spent_token() {
    let kind = SecretKind::Token(ID);
    let mut sim = alone(vec![secret(kind, 1, SecretState::Live)]);
    let token = token(&mut sim, 1);
    let mut first = Joiner::with_token(candidate(1, "host1"), &token, [1; 32]);
    let (progress, _) = converse(&mut sim, &mut first, grant);
    sim.mesh(0).set_join_secrets(vec![secret(kind, 1, SecretState::Used)]);
    let mut again = Joiner::with_token(candidate(1, "host1"), &token, [2; 32]);
    let mut standing = None;
    let (repeated, _) = converse(&mut sim, &mut again, |mesh, application, now| {
        standing = Some(application.standing);
        grant(mesh, application, now);
    });
    assert_eq!(standing, Some(Standing::Member));
    assert_eq!(joined(&progress).certificate, joined(&repeated).certificate);
    let mut thief = Joiner::with_token(candidate(2, "host2"), &token, [3; 32]);
    let (progress, _) = converse(&mut sim, &mut thief, grant);
    assert_eq!(progress, vec![Progress::Failed(JoinError::Refused { reason: RefuseReason::UsedToken })]);
}

/// Two sponsors at once: while one of them writes it down, the other's news comes, and its certificate is the one that holds.
#[test]
fn who_was_admitted_elsewhere_meanwhile_is_a_member_here_too() {
    let mut sim = Sim::new(1, &[&[0, 2]]);
    sim.mesh(0).set_join_secrets(vec![secret(SecretKind::Token(ID), 1, SecretState::Live)]);
    let token = token(&mut sim, 1);
    let elsewhere = |member: &Member| {
        let (key, sponsor) = (sim::secret(1, 1, 1), sim::secret(1, 2, 1));
        // A name that is greater than the one here, so that it holds.
        let name = "host2-elsewhere".parse().unwrap();
        let title = wire::Title { name, issuer: sponsor.identity(), ..member.certificate.title.clone() };
        Member { certificate: crate::identity::issue_certificate(title, &key, &sponsor), ..member.clone() }
    };
    let mut joiner = Joiner::with_token(candidate(1, "host1"), &token, [1; 32]);
    let (progress, _) = converse(&mut sim, &mut joiner, |mesh, application, now| {
        let member = mesh.certify_join(application.join).unwrap();
        mesh.admit(vec![elsewhere(&member)], None, now);
        let admitted = mesh.admit_join(member, now);
        mesh.answer_join(application.join, admitted.map(|()| vec![5; 100]));
    });
    assert_eq!(joined(&progress).certificate.title.issuer, sim::secret(1, 2, 1).identity());
    // And of one that was revoked meanwhile it is said that it is.
    let mut joiner = Joiner::with_token(candidate(3, "host3"), &token, [2; 32]);
    let (progress, _) = converse(&mut sim, &mut joiner, |mesh, application, now| {
        let member = mesh.certify_join(application.join).unwrap();
        mesh.admit(vec![member.clone()], None, now);
        mesh.revoke(member.identity(), now);
        let admitted = mesh.admit_join(member, now);
        mesh.answer_join(application.join, admitted.map(|()| vec![5; 100]));
    });
    assert_eq!(progress, vec![Progress::Failed(JoinError::Refused { reason: RefuseReason::Revoked })]);
}

#[test]
fn an_impostor_that_does_not_know_the_secret_is_not_believed() {
    // It runs the protocol faithfully, with another secret and a cluster id it has heard of.
    let mut sim = alone(vec![secret(SecretKind::Token(ID), 2, SecretState::Live)]);
    let token = token(&mut sim, 1);
    let mut joiner = Joiner::with_token(candidate(1, "new"), &token, [1; 32]);
    let now = sim.now;
    let mesh = sim.mesh(0);
    mesh.handle_stream_opened(STREAM, Origin::Accepted("198.51.100.5:5000".parse().unwrap()), now);
    mesh.handle_stream_bytes(STREAM, &joiner.poll_transmit().unwrap(), now);
    joiner.handle_bytes(&mesh.poll_transmit().unwrap().bytes);
    joiner.poll_transmit().unwrap();
    let mut sealed = vec![0; 100];
    crate::aead::Sealer::new(Suite::ChaCha20Poly1305, &[0; 32], Kind::JoinGrant, 0, 0).seal(&mut sealed).unwrap();
    joiner.handle_bytes(&Frames::emit(&sealed).unwrap());
    assert_eq!(joiner.poll_progress(), Some(Progress::Failed(JoinError::Impostor)));
    joiner.handle_closed();
    assert_eq!(joiner.poll_progress(), None, "one outcome is enough");
}

#[test]
fn an_applicant_is_not_waited_for_for_ever() {
    let mut sim = alone(vec![secret(SecretKind::Token(ID), 1, SecretState::Live)]);
    let token = token(&mut sim, 1);
    let mut joiner = Joiner::with_token(candidate(1, "new"), &token, [1; 32]);
    let now = sim.now;
    sim.mesh(0).handle_stream_opened(STREAM, Origin::Accepted("198.51.100.5:5000".parse().unwrap()), now);
    sim.mesh(0).handle_stream_bytes(STREAM, &joiner.poll_transmit().unwrap(), now);
    sim.run(40 * SECOND);
    assert!(sim.nodes[0].events.iter().any(|(_, event)| *event == Event::CloseStream { stream: STREAM }));
    sim.mesh(0).answer_join(JoinId(STREAM.0), Ok(Vec::new()));
    joiner.handle_closed();
    assert_eq!(joiner.poll_progress(), Some(Progress::Failed(JoinError::Closed)));
}

proptest::proptest! {
    #[test]
    fn a_joiner_survives_any_bytes(pieces in proptest::collection::vec((16u8..24, proptest::collection::vec(proptest::prelude::any::<u8>(), 0..150)), 0..8)) {
        let mut sim = alone(Vec::new());
        let token = token(&mut sim, 1);
        let mut joiner = Joiner::with_token(candidate(1, "new"), &token, [1; 32]);
        for (kind, piece) in pieces {
            joiner.handle_bytes(&Frames::emit(&[&[kind, 0, 1, 0][..], &piece].concat()).unwrap());
        }
    }
}

#[test]
fn a_stranger_says_each_thing_once() {
    let mut sim = alone(vec![secret(SecretKind::Token(ID), 1, SecretState::Live)]);
    let (now, from) = (sim.now, "198.51.100.5:5000".parse().unwrap());
    let token = token(&mut sim, 1);
    let hello = Joiner::with_token(candidate(1, "host1"), &token, [1; 32]).poll_transmit().unwrap();
    let tag = crate::contact::cluster_tag(&token.cluster);
    let probe = Frames::emit(&crate::contact::Probe::Member { tag }.emit()).unwrap();
    for (number, said) in [(1, hello), (2, probe)] {
        let (mesh, stream) = (sim.mesh(0), StreamId(8_000 + number));
        mesh.handle_stream_opened(stream, Origin::Accepted(from), now);
        let before = mesh.counters().handshakes;
        mesh.handle_stream_bytes(stream, &said.repeat(100), now);
        assert!(mesh.counters().handshakes - before <= 1, "a hundred answers were computed for one stranger");
        assert!(!mesh.streams.contains_key(&stream));
    }
}

#[test]
fn one_host_cannot_have_much_computed_on_many_streams() {
    let mut sim = alone(vec![secret(SecretKind::Token(ID), 1, SecretState::Live)]);
    let now = sim.now;
    let token = token(&mut sim, 1);
    let hello = Joiner::with_token(candidate(1, "host1"), &token, [1; 32]).poll_transmit().unwrap();
    let before = sim.mesh(0).counters().handshakes;
    for number in 0..100 {
        let (mesh, stream) = (sim.mesh(0), StreamId(8_000 + number));
        mesh.handle_stream_opened(stream, Origin::Accepted("198.51.100.5:5000".parse().unwrap()), now);
        mesh.handle_stream_bytes(stream, &hello, now);
        mesh.handle_stream_closed(stream, now);
    }
    assert_eq!(sim.mesh(0).counters().handshakes - before, 5);
}
