//! Who must promise, and what proves that everybody did.

use wire::message::PromiseBody;

use super::*;
use crate::seal::sign;
use crate::stage::{identity, signing_key};

fn ids(numbers: &[u8]) -> Vec<Identity> {
    let mut all: Vec<_> = numbers.iter().copied().map(identity).collect();
    all.sort_unstable();
    all
}

fn ask(victims: &[u8], members: &[u8]) -> Ask {
    Ask {
        victims: ids(victims),
        members: ids(members),
        earlier: Vec::new(),
        known: vec![Hash([1; 32])],
        asker: identity(0),
    }
}

fn promise(ask: &Ask, promiser: u8, beyond: &[u8], members: &[u8]) -> Promise {
    let beyond = beyond.iter().map(|byte| Hash([*byte; 32])).collect();
    let body = PromiseBody { ask: hash_of_ask(ask), promiser: identity(promiser), beyond, members: ids(members) };
    Promise { signature: sign(&signing_key(promiser), REVOCATION_VERSION, &body), body }
}

#[test]
fn everybody_but_the_victims_must_promise() {
    let ask = ask(&[1], &[0, 1, 2, 3]);
    let some = [promise(&ask, 0, &[], &[]), promise(&ask, 2, &[], &[])];
    assert_eq!(missing(&ask, some.iter(), Rules::default()), [identity(3)].into());
    let all = [0, 2, 3].map(|promiser| promise(&ask, promiser, &[7], &[]));
    assert!(missing(&ask, all.iter(), Rules::default()).is_empty());
    let decision = prove(&Commit { ask, promises: all.to_vec() }, Rules::default()).unwrap();
    assert_eq!(decision.records, [Hash([1; 32]), Hash([7; 32])].into());
    assert_eq!(decision.members, ids(&[0, 2, 3]).into_iter().collect());
}

#[test]
fn a_member_that_only_a_promiser_knows_counts() {
    let ask = ask(&[1], &[0, 1, 2]);
    let promises = [promise(&ask, 0, &[], &[]), promise(&ask, 2, &[], &[4])];
    assert_eq!(missing(&ask, promises.iter(), Rules::default()), [identity(4)].into());
    assert_eq!(prove(&Commit { ask, promises: promises.to_vec() }, Rules::default()), None);
}

#[test]
fn forged_and_foreign_promises_prove_nothing() {
    let asked = ask(&[1], &[0, 1, 2]);
    let mut forged = promise(&asked, 0, &[], &[]);
    forged.body.promiser = identity(2);
    let commit = Commit { promises: vec![promise(&asked, 0, &[], &[]), forged], ask: asked.clone() };
    assert_eq!(prove(&commit, Rules::default()), None);
    let other = ask(&[2], &[0, 1, 2]);
    let commit = Commit { promises: vec![promise(&asked, 0, &[], &[]), promise(&other, 2, &[], &[])], ask: asked };
    assert_eq!(prove(&commit, Rules::default()), None);
}

#[test]
fn a_majority_is_enough_only_for_the_weaker_rule() {
    let ask = ask(&[1], &[0, 1, 2, 3]);
    let promises = [promise(&ask, 0, &[], &[]), promise(&ask, 2, &[], &[])];
    let weaker = Rules { quorum: Quorum::Majority, ..Rules::default() };
    assert!(missing(&ask, promises.iter(), weaker).is_empty());
    assert!(!missing(&ask, promises.iter(), Rules::default()).is_empty());
}
