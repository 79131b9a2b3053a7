//! One well-formed example of everything the mesh writes. The values are arbitrary and fixed.

use std::net::SocketAddr;
use std::time::Duration;

use wire::envelope::Kind;
use wire::{Certificate, ClusterId, Genesis, Identity, NetworkId, PeerName, Pool, Title};

use crate::aead::Suite;
use crate::contact::{CONTACT_VERSION, Grant, Hello, Probe, ProbeReply, Proof, Verdict, message};
use crate::member::{MEMBER_VERSION, Member, SignedAddresses};
use wire::envelope::Course;

use crate::gossip::{Control, GOSSIP_VERSION, Gossip, Leg, Passed, Reach, Topic};
use crate::handshake::{Answer, Callee, Caller, Greeting, Local, call};
use crate::identity::{Secret, issue_certificate};
use crate::join_secret::SecretKind;
use crate::primitives::Primitives;
use crate::refusal::RefuseReason;
use crate::token::{Token, TokenId};

/// Format, name, bytes.
pub type Example = (&'static str, &'static str, Vec<u8>);

/// An example of everything, at least one for each of [`super::DECODERS`].
#[must_use]
pub fn all() -> Vec<Example> {
    [calls(), contact(), membership()].concat()
}

const CLUSTER: ClusterId = ClusterId([9; 32]);
const ANSWER: Answer = Answer { boot: 8, protocol: 1, suite: Suite::Aes256Gcm, queues: 4 };

fn local(number: u8) -> Local {
    let noise_key = Secret::new([number; 32]);
    Local {
        cluster: CLUSTER,
        identity: Secret::new([number; 32]).identity(),
        noise_public: noise_key.noise_public(),
        noise_key,
        primitives: Primitives::default(),
    }
}

/// Whom the example of an initiation is for.
pub(super) fn callee() -> Local {
    local(2)
}

fn greeting() -> Greeting {
    let suites = vec![Suite::Aes256Gcm, Suite::ChaCha20Poly1305];
    Greeting {
        stamp: (3, 1 << 40),
        protocols: (1, 1),
        queues: 2,
        identity: local(1).identity,
        suites,
        certificate: None,
    }
}

fn calls() -> Vec<Example> {
    let (caller, called) = (local(1), callee());
    let whom = Callee {
        identity: called.identity,
        noise_public: &called.noise_public,
        index: 0x1111_1111,
        cookie: Some(&[4; 16]),
    };
    let mut examples = vec![
        ("mesh-greeting", "two-suites", greeting().emit()),
        ("mesh-greeting", "renewed", Greeting { certificate: Some(certificate(1)), ..greeting() }.emit()),
        ("mesh-greeting", "more", [greeting().emit(), vec![1, 2, 3]].concat()),
        ("mesh-answer", "first", ANSWER.emit()),
        ("mesh-cookie", "reply", [&Kind::Cookie.prefix()[..], &[0x11; 60]].concat()),
    ];
    if let Some((_, initiation)) = call(&caller, &whom, &greeting(), [1; 32]) {
        let opened = Caller::open(&called, &initiation, [2; 32]);
        let answered = opened.and_then(|caller| caller.answer(&called, 0x2222_2222, &ANSWER));
        examples.push(("mesh-initiation", "first", initiation));
        examples.extend(answered.map(|(response, _)| ("mesh-response", "first", response)));
    }
    examples
}

fn contact() -> Vec<Example> {
    let hello = |kind| message(Kind::JoinHello, &[&Hello { tag: [3; 8], kind }.emit(), &[0xcc; 32]]);
    let token = Token { cluster: CLUSTER, id: TokenId([7; 8]), secret: Secret::new([8; 32]) };
    let reasons = [
        ("wrong-cluster", RefuseReason::WrongCluster),
        ("name-taken", RefuseReason::NameTaken { name: name(1) }),
        ("sponsor-revoked", RefuseReason::SponsorRevoked),
        ("sponsor-rolled-back", RefuseReason::SponsorRolledBack),
        ("too-many", RefuseReason::TooMany { wait_s: 30 }),
        ("full", RefuseReason::Full),
    ];
    let Certificate { title, consent, .. } = certificate(1);
    let proof = Proof { title, consent, addresses: addresses(1) };
    let grant = Grant {
        genesis: genesis(),
        certificate: certificate(1),
        members: vec![member(0), Member { revoked: true, ..member(1) }],
        ledger: vec![6; 40],
    };
    let verdicts =
        [("granted", Verdict::Granted(Box::new(grant))), ("refused", Verdict::Refused(RefuseReason::UsedToken))];
    let reasons = reasons.map(|(name, reason)| ("mesh-refusal", name, wire::encode(CONTACT_VERSION, &reason)));
    let verdicts = verdicts.map(|(name, verdict)| ("mesh-verdict", name, wire::encode(CONTACT_VERSION, &verdict)));
    let others = [
        ("mesh-probe", "applicant", Probe::Applicant.emit()),
        ("mesh-probe", "member", Probe::Member { tag: [3; 8] }.emit()),
        ("mesh-probe", "reply", ProbeReply { cluster: CLUSTER }.emit()),
        ("mesh-hello", "token", hello(SecretKind::Token(token.id))),
        ("mesh-hello", "password", hello(SecretKind::Password)),
        ("mesh-proof", "first", wire::encode(CONTACT_VERSION, &proof)),
        ("mesh-token", "first", token.to_string().into_bytes()),
    ];
    reasons.into_iter().chain(verdicts).chain(others).collect()
}

fn membership() -> Vec<Example> {
    let seen_at = SocketAddr::from(([192, 0, 2, 7], 6783));
    let reach = |address| Reach {
        round_trip: Duration::from_micros(250),
        datagram_bytes: 1472,
        course: Course::Direct,
        address,
    };
    let by_relay = Reach { course: Course::Relayed, ..reach(None) };
    let seen = vec![(member(1).identity(), seen_at)];
    let gossip = wire::encode(GOSSIP_VERSION, &Gossip::Members { members: vec![member(0), member(1)], seen });
    let control = [
        ("ping", Control::Ping { number: 5, roster: [1; 8] }),
        ("pong", Control::Pong { number: 5, roster: [2; 8] }),
        ("message", Control::Message { topic: Topic::LEDGER, payload: &[3; 20] }),
        ("bind", Control::Bind),
        ("swim", Control::Swim { roster: [7; 8], payload: &[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 9, 0, 0] }),
        ("check", Control::Check { number: 7 }),
        ("checked", Control::Checked { number: 7 }),
        ("relay-there", Control::Relay(Passed { leg: Leg::There, far: Identity([4; 32]), message: &[5; 60] })),
        ("relay-here", Control::Relay(Passed { leg: Leg::Here, far: Identity([4; 32]), message: &[5; 60] })),
        ("relay-on", Control::Relay(Passed { leg: Leg::On, far: Identity([4; 32]), message: &[5; 60] })),
        ("seek", Control::Seek { whom: Identity([4; 32]) }),
        ("far", Control::Far { whom: Identity([4; 32]) }),
        ("reach", Control::Reach { whom: Identity([4; 32]), reach: reach(Some(seen_at)) }),
        ("reach-hidden", Control::Reach { whom: Identity([4; 32]), reach: reach(None) }),
        ("reach-by-relay", Control::Reach { whom: Identity([4; 32]), reach: by_relay }),
        ("sounding", Control::Sounding { number: 5, bytes: 100 }),
        ("sounded", Control::Sounded { number: 5, bytes: 1472 }),
    ];
    let control = control.map(|(name, control)| ("mesh-control", name, control.emit()));
    let others = [
        ("mesh-gossip", "members", gossip),
        (
            "mesh-gossip",
            "buckets",
            wire::encode(GOSSIP_VERSION, &Gossip::Buckets { salt: [6; 16], sums: vec![[1; 8], [0xff; 8]] }),
        ),
        (
            "mesh-gossip",
            "lines",
            wire::encode(
                GOSSIP_VERSION,
                &Gossip::Lines { salt: [6; 16], buckets: 5, lines: [(member(1).identity(), [7; 8])].into() },
            ),
        ),
        ("mesh-gossip", "want", wire::encode(GOSSIP_VERSION, &Gossip::Want(vec![member(1).identity()]))),
        ("mesh-member", "first", wire::encode(MEMBER_VERSION, &member(1))),
        ("mesh-member", "revoked", wire::encode(MEMBER_VERSION, &Member { revoked: true, ..member(0) })),
    ];
    control.into_iter().chain(others).collect()
}

fn genesis() -> Genesis {
    let pool = Pool { base: [10, 32, 0, 0].into(), prefix: 12 };
    let network = wire::Network { id: NetworkId::DEFAULT, name: "raddle".to_owned(), pool, pool6: None };
    let (first, authority) = (Identity([1; 32]), Secret::new([99; 32]).identity().0);
    Genesis { networks: vec![network], block_slots: 64, first, authority, nonce: [6; 16] }
}

fn name(number: u8) -> PeerName {
    format!("host{number}").parse().unwrap_or_else(|_| unreachable!("a host's name"))
}

fn certificate(number: u8) -> Certificate {
    let (key, issuer) = (Secret::new([number; 32]), Secret::new([99; 32]));
    let title = Title {
        identity: key.identity(),
        noise_key: Secret::new([number + 100; 32]).noise_public(),
        name: name(number),
        generation: 1,
        issuer: issuer.identity(),
    };
    issue_certificate(title, &key, &issuer)
}

fn addresses(number: u8) -> SignedAddresses {
    let listed = vec![
        SocketAddr::from(([192, 0, 2, number], 6783)),
        SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(number)], 6783)),
    ];
    SignedAddresses::sign(listed, (1, 2), &Secret::new([number; 32]))
}

fn member(number: u8) -> Member {
    Member { certificate: certificate(number), addresses: addresses(number), revoked: false }
}
