//! Nothing passes without mac1, no source passes often, and under load only those who can hear the answer.

use super::*;

const CLUSTER: ClusterId = ClusterId([9; 32]);
const KEY: [u8; 32] = [3; 32];

fn gate(limits: GateLimits, now: Instant) -> (Gate, Rng) {
    let mut rng = Rng::new(&[1; 32]);
    (Gate::new(&CLUSTER, &KEY, limits, &mut rng, now), rng)
}

fn message(cookie: Option<&[u8; 16]>) -> (Vec<u8>, [u8; 16]) {
    let mut message = vec![1, 0, 1, 0, 0, 0, 0, 7, 42];
    let mac1 = seal_macs(&mut message, &mac1_key(&CLUSTER, &KEY), cookie);
    (message, mac1)
}

fn start() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "an Instant has no other origin; the tests only add to it")]
    Instant::now()
}

#[test]
fn nothing_passes_without_mac1() {
    let now = start();
    let (mut gate, mut rng) = gate(GateLimits::default(), now);
    let from = "192.0.2.1:1".parse().unwrap();
    let (mut good, _) = message(None);
    assert!(gate.recognises(&good));
    assert_eq!(gate.judge(from, Source::Unknown, &good, &mut rng, now), Verdict::Pass);
    good[8] ^= 1;
    assert!(!gate.recognises(&good));
    assert!((0..64).all(|length| !gate.recognises(&vec![0; length])));
}

#[test]
fn a_source_has_its_budget_and_a_block_is_one_source() {
    let now = start();
    let (mut gate, mut rng) = gate(GateLimits::default(), now);
    let (message, _) = message(None);
    let mut passed =
        |from: &str, now| gate.judge(from.parse().unwrap(), Source::Unknown, &message, &mut rng, now) == Verdict::Pass;
    assert_eq!((0..50).filter(|_| passed("192.0.2.1:1", now)).count(), 5);
    assert!(passed("192.0.2.2:1", now));
    assert_eq!((0..50).filter(|number| passed(&format!("[2001:db8::{number}]:1"), now)).count(), 5);
    let later = now + Duration::from_secs(1);
    assert_eq!((0..50).filter(|_| passed("192.0.2.1:1", later)).count(), 5);
}

#[test]
fn members_on_one_lan_do_not_share_a_budget() {
    let now = start();
    let (mut gate, mut rng) = gate(GateLimits::default(), now);
    let (message, _) = message(None);
    let from = |number| format!("[2001:db8::{number}]:1").parse().unwrap();
    assert!((0..50).all(|number| gate.judge(from(number), Source::Known, &message, &mut rng, now) == Verdict::Pass));
}

#[test]
fn under_load_a_cookie_is_asked_for_and_helps() {
    let now = start();
    let (mut gate, mut rng) = gate(GateLimits { total_per_second: 10, ..GateLimits::default() }, now);
    let (plain, mac1) = message(None);
    for number in 0..6 {
        let from = SocketAddr::from(([10, 0, 0, number], 1));
        assert_eq!(gate.judge(from, Source::Unknown, &plain, &mut rng, now), Verdict::Pass);
    }
    let from = "192.0.2.1:1".parse().unwrap();
    let Verdict::Challenge(reply) = gate.judge(from, Source::Unknown, &plain, &mut rng, now) else {
        panic!("no challenge")
    };
    assert!(reply.len() <= 108, "an answer longer than the question amplifies");
    assert_eq!(cookie_reply_index(&reply), Some(7));
    assert_eq!(open_cookie(&reply, &CLUSTER, &KEY, &[0; 16]), None);
    let cookie = open_cookie(&reply, &CLUSTER, &KEY, &mac1).unwrap();
    let (with_cookie, _) = message(Some(&cookie));
    assert_eq!(gate.judge(from, Source::Unknown, &with_cookie, &mut rng, now), Verdict::Pass);
    let elsewhere = "192.0.2.9:1".parse().unwrap();
    assert!(
        matches!(gate.judge(elsewhere, Source::Unknown, &with_cookie, &mut rng, now), Verdict::Challenge(_)),
        "a cookie is for one address"
    );
}

#[test]
fn more_sources_than_fit_must_show_cookies() {
    let now = start();
    let (mut gate, mut rng) = gate(GateLimits { sources: 3, ..GateLimits::default() }, now);
    let (message, _) = message(None);
    let mut judge = |number: u8, now| {
        gate.judge(SocketAddr::from(([10, 0, 0, number], 1)), Source::Unknown, &message, &mut rng, now)
    };
    assert!((0..3).all(|number| judge(number, now) == Verdict::Pass));
    assert!(matches!(judge(3, now), Verdict::Challenge(_)));
    assert_eq!(judge(3, now + Duration::from_secs(1)), Verdict::Pass, "idle sources make room");
}

/// The cookie in the challenge to a message without one.
fn cookie(gate: &mut Gate, from: SocketAddr, rng: &mut Rng, now: Instant) -> [u8; 16] {
    let (plain, mac1) = message(None);
    loop {
        if let Verdict::Challenge(reply) = gate.judge(from, Source::Known, &plain, rng, now) {
            return open_cookie(&reply, &CLUSTER, &KEY, &mac1).unwrap();
        }
    }
}

#[test]
fn who_writes_a_members_address_on_its_calls_does_not_shut_the_member_out() {
    let now = start();
    let (mut gate, mut rng) = gate(GateLimits::default(), now);
    let (member, (plain, _)) = ("192.0.2.1:1".parse().unwrap(), message(None));
    let forged: Vec<Verdict> = (0..50).map(|_| gate.judge(member, Source::Known, &plain, &mut rng, now)).collect();
    assert_eq!(forged.iter().filter(|verdict| **verdict == Verdict::Pass).count(), 5);
    assert!(!forged.contains(&Verdict::Drop), "the member would not hear how to prove itself");
    let cookie = cookie(&mut gate, member, &mut rng, now);
    assert_eq!(gate.judge(member, Source::Known, &message(Some(&cookie)).0, &mut rng, now), Verdict::Pass);
}

#[test]
fn strangers_leave_members_the_last_of_everybodys_budget() {
    let now = start();
    let (mut gate, mut rng) = gate(GateLimits { total_per_second: 40, ..GateLimits::default() }, now);
    let strangers = (0..100)
        .filter(|number| gate.admits_stranger(SocketAddr::from(([10, 0, 0, *number], 1)), Source::Unknown, now));
    assert_eq!(strangers.count(), 30);
    let member = "192.0.2.1:1".parse().unwrap();
    let cookie = cookie(&mut gate, member, &mut rng, now);
    assert_eq!(gate.judge(member, Source::Known, &message(Some(&cookie)).0, &mut rng, now), Verdict::Pass);
}
