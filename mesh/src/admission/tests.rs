//! A roster grows only along signatures, in whatever order they come.

use wire::{Certificate, Signature, Title};

use super::*;
use crate::identity::{Secret, issue_certificate, verify};
use crate::member::SignedAddresses;

fn key(number: u8) -> Secret {
    Secret::new([number; 32])
}

fn certificate(number: u8, name: &str, issuer: &Secret, generation: u32) -> Certificate {
    let (identity, noise_key) = (key(number).identity(), key(number + 100).noise_public());
    let title = Title { identity, noise_key, name: name.parse().unwrap(), generation, issuer: issuer.identity() };
    issue_certificate(title, &key(number), issuer)
}

fn member(number: u8, issuer: u8) -> Member {
    let certificate = certificate(number, &format!("host{number}"), &key(issuer), 1);
    Member { certificate, addresses: SignedAddresses::sign(Vec::new(), (1, 0), &key(number)), revoked: false }
}

fn roster() -> Roster {
    Roster::new(key(0).identity(), verify)
}

/// A roster that looks at no signature, so that thousands cost little.
fn credulous() -> Roster {
    Roster::new(key(0).identity(), |_, _, _| true)
}

fn numbered(number: u32) -> Identity {
    let mut identity = [200; 32];
    identity[..4].copy_from_slice(&number.to_be_bytes());
    Identity(identity)
}

/// A member for [`credulous`].
fn unsigned(number: u32, issuer: Identity) -> Member {
    let (identity, signature) = (numbered(number), Signature([0; 64]));
    let name = format!("host{number}").parse().unwrap();
    let title = Title { identity, noise_key: identity.0, name, generation: 1, issuer };
    let addresses = SignedAddresses { addresses: Vec::new(), version: (1, 0), signature };
    Member { certificate: Certificate { title, consent: signature, voucher: signature }, addresses, revoked: false }
}

#[test]
fn a_chain_is_admitted_in_any_order() {
    let chain = vec![member(1, 0), member(2, 1), member(3, 2), member(4, 3)];
    let mut reversed = chain.clone();
    reversed.reverse();
    let (mut left, mut right, salt) = (roster(), roster(), [0; 16]);
    assert_eq!(left.admit_all(chain.clone()).0.len(), 4);
    let (new, errors) = right.admit_all(reversed);
    assert_eq!((new.len(), errors), (4, Vec::new()));
    assert_eq!(left.digest(&salt), right.digest(&salt));
    assert_eq!(right.members().cloned().collect::<Vec<_>>(), chain);
    assert_eq!(right.admit_all(chain).0, Vec::new());
}

#[test]
fn a_stranger_vouches_for_nobody() {
    let mut roster = roster();
    assert_eq!(roster.admit(member(2, 1)), Err(AdmitError::UnknownIssuer { issuer: key(1).identity() }));
    let mut forged = member(1, 0);
    forged.certificate.title.name = "other".parse().unwrap();
    assert_eq!(roster.admit(forged), Err(AdmitError::BadCertificate { member: key(1).identity() }));
    let mut elsewhere = member(1, 0);
    elsewhere.addresses.addresses.push("192.0.2.1:6783".parse().unwrap());
    assert_eq!(roster.admit(elsewhere), Err(AdmitError::BadAddresses { member: key(1).identity() }));
    assert_eq!(roster.members().count(), 0);
}

#[test]
fn a_revoked_member_vouches_for_nobody_new() {
    let mut roster = roster();
    roster.admit_all(vec![member(1, 0), member(2, 1)]);
    assert!(roster.revoke(key(1).identity()));
    assert!(!roster.revoke(key(1).identity()));
    assert_eq!(roster.admit(member(3, 1)), Err(AdmitError::RevokedIssuer { issuer: key(1).identity() }));
    assert_eq!(roster.admit(member(3, 2)), Ok(Some(MemberChange::New)));
}

#[test]
fn who_is_distrusted_vouches_for_nobody_more() {
    let mut roster = roster();
    roster.admit_all(vec![member(1, 0), member(2, 1), member(3, 2), member(4, 1)]);
    roster.distrust_only(BTreeSet::from([key(2).identity()]));
    assert_eq!(roster.admit(member(5, 2)), Err(AdmitError::RevokedIssuer { issuer: key(2).identity() }));
    // Until the promise is over for which it is distrusted.
    roster.distrust_only(BTreeSet::from([key(4).identity()]));
    assert_eq!(roster.admit(member(6, 2)), Ok(Some(MemberChange::New)));
    roster.distrust_only(BTreeSet::from([key(2).identity()]));
    assert_eq!(roster.admit(member(7, 2)), Err(AdmitError::RevokedIssuer { issuer: key(2).identity() }));
    // Whom it vouched for before is a member as ever, and so is itself until it is revoked.
    assert_eq!(roster.admit(member(5, 3)), Ok(Some(MemberChange::New)));
    let of = |numbers: &[u8]| numbers.iter().map(|number| key(*number).identity()).collect::<BTreeSet<_>>();
    assert_eq!(roster.followers(&[key(2).identity()]), of(&[3, 5, 6]));
    assert_eq!(roster.followers(&[key(1).identity(), key(2).identity()]), of(&[3, 4, 5, 6]));
    roster.revoke(key(5).identity());
    assert_eq!(roster.followers(&[key(2).identity()]), of(&[3, 6]));
}

#[test]
fn who_is_expected_comes_in_once_whoever_vouched_for_it() {
    let mut roster = roster();
    roster.admit_all(vec![member(1, 0), member(2, 0), member(3, 2)]);
    roster.distrust_only(BTreeSet::from([key(1).identity()]));
    roster.revoke(key(2).identity());
    roster.expect(key(3).identity(), [4, 5, 3].map(|number| key(number).identity()));
    assert_eq!(roster.admit(member(4, 1)), Ok(Some(MemberChange::New)));
    assert_eq!(roster.admit(member(5, 2)), Ok(Some(MemberChange::New)));
    // Nobody else does, not on a certificate that does not hold, and nobody is let in again by what let it in.
    assert_eq!(roster.admit(member(6, 1)), Err(AdmitError::RevokedIssuer { issuer: key(1).identity() }));
    roster.expect(key(3).identity(), [key(7).identity()]);
    let forged = Certificate { voucher: Signature([1; 64]), ..member(7, 1).certificate };
    let refused = AdmitError::BadCertificate { member: key(7).identity() };
    assert_eq!(roster.admit(Member { certificate: forged, ..member(7, 1) }), Err(refused));
    let other = certificate(4, "other", &key(2), 2);
    let refused = AdmitError::RevokedIssuer { issuer: key(2).identity() };
    assert_eq!(roster.admit(Member { certificate: other, ..member(4, 1) }), Err(refused));
    // Who is revoked stays so.
    roster.revoke(key(5).identity());
    roster.expect(key(3).identity(), [key(5).identity()]);
    let renewed = Member { certificate: certificate(5, "host5", &key(2), 2), ..member(5, 2) };
    assert_eq!(roster.admit(renewed), Ok(Some(MemberChange::Renewed)));
    assert!(roster.member(key(5).identity()).unwrap().revoked);
}

/// Who is about to be refused names those whom it would like to let in afterwards: that is worth what its certificates are.
#[test]
fn the_word_of_who_is_distrusted_meanwhile_lets_nobody_in() {
    let mut roster = roster();
    roster.admit_all(vec![member(1, 0), member(2, 0), member(3, 0)]);
    let later = key(4).identity();
    [1, 3, 9].into_iter().for_each(|by| roster.expect(key(by).identity(), [later]));
    roster.distrust_only(BTreeSet::from([key(1).identity()]));
    roster.revoke(key(3).identity());
    assert_eq!(roster.admit(member(4, 1)), Err(AdmitError::RevokedIssuer { issuer: key(1).identity() }));
    roster.expect(key(2).identity(), [later]);
    assert_eq!(roster.admit(member(4, 1)), Ok(Some(MemberChange::New)));
    assert!(roster.expected.is_empty());
}

#[test]
fn those_who_are_made_up_keep_nobody_out_whom_others_name() {
    let mut roster = credulous();
    let authority = key(0).identity();
    roster.admit_all(vec![unsigned(0, authority), unsigned(1, authority), unsigned(2, authority)]);
    roster.distrust_only(BTreeSet::from([numbered(0)]));
    roster.expect(numbered(2), [numbered(3)]);
    let most = u32::try_from(MEMBERS_MOST).unwrap();
    for flood in 1..5 {
        roster.expect(numbered(1), (flood * most..(flood + 2) * most).map(numbered));
        assert!(roster.expected.len() <= MEMBERS_MOST);
    }
    assert_eq!(roster.admit(unsigned(3, numbered(0))), Ok(Some(MemberChange::New)));
}

#[test]
fn whom_a_revoked_follower_let_in_follows_all_the_same() {
    let mut roster = roster();
    roster.admit_all(vec![member(1, 0), member(2, 1), member(3, 2), member(4, 3)]);
    roster.revoke(key(3).identity());
    assert_eq!(roster.followers(&[key(2).identity()]), BTreeSet::from([key(4).identity()]));
}

#[test]
fn the_revoked_take_nobodys_place() {
    let (mut roster, authority) = (credulous(), key(0).identity());
    let most = u32::try_from(MEMBERS_MOST).unwrap();
    // What a member of bad will can do in a night.
    for number in 0..most {
        assert_eq!(roster.admit(unsigned(number, authority)), Ok(Some(MemberChange::New)));
    }
    assert_eq!(roster.admit(unsigned(most, authority)), Err(AdmitError::Full));
    assert!(roster.revoke(numbered(1)) && !roster.revoke(numbered(1)));
    assert_eq!(roster.admit(unsigned(most, authority)), Ok(Some(MemberChange::New)));
    assert_eq!(roster.admit(unsigned(most + 1, authority)), Err(AdmitError::Full));
}

#[test]
fn nor_do_they_after_a_restart() {
    let (mut roster, authority) = (credulous(), key(0).identity());
    let most = u32::try_from(MEMBERS_MOST).unwrap();
    let revoked = (0..most).map(|number| Member { revoked: true, ..unsigned(number, authority) });
    // Those the revoked vouched for, and others.
    let living = [unsigned(most, authority), unsigned(most + 1, numbered(7))];
    assert_eq!(roster.recall(revoked.chain(living.clone()).collect()), Vec::new());
    let known: Vec<Member> = roster.members().filter(|member| !member.revoked).cloned().collect();
    assert_eq!(known, living);
    assert!(!roster.revoke(numbered(1)), "it is counted once");
    for number in most + 2..2 * most {
        assert_eq!(roster.admit(unsigned(number, authority)), Ok(Some(MemberChange::New)));
    }
    assert_eq!(roster.admit(unsigned(2 * most, authority)), Err(AdmitError::Full));
}

#[test]
fn a_list_costs_the_same_in_whatever_order_it_comes() {
    let mut chain = vec![unsigned(0, key(0).identity())];
    chain.extend((1..4000).map(|number| unsigned(number, numbered(number - 1))));
    let mut reversed = chain.clone();
    reversed.reverse();
    // What is tried is copied.
    let cost = |list: Vec<Member>| {
        let mut roster = credulous();
        let cost = allocation_counter::measure(|| assert_eq!(roster.admit_all(list).0.len(), 4000));
        cost.count_total
    };
    let (straight, backwards) = (cost(chain), cost(reversed));
    assert!(backwards < 2 * straight, "{backwards} allocations, in order {straight}");
}

#[test]
fn who_waits_for_somebody_unknown_is_told_of_each() {
    let list = vec![unsigned(3, numbered(2)), unsigned(4, numbered(2)), unsigned(2, numbered(1))];
    let (new, errors) = credulous().admit_all(list);
    let unknown = |number| AdmitError::UnknownIssuer { issuer: numbered(number) };
    assert_eq!((new, errors), (Vec::new(), vec![unknown(1), unknown(2), unknown(2)]));
}

#[test]
fn the_name_of_a_revoked_member_is_free() {
    let mut roster = roster();
    roster.admit_all(vec![member(1, 0), member(2, 1)]);
    roster.revoke(key(2).identity());
    let mut heir = member(3, 1);
    heir.certificate = certificate(3, "host2", &key(1), 1);
    assert_eq!(roster.admit(heir.clone()), Ok(Some(MemberChange::New)));
    let name = "host2".parse().unwrap();
    assert_eq!(roster.of_name(&name), Some(key(3).identity()));
    // News of the old one change nothing about that.
    let mut renewed = member(2, 1);
    renewed.certificate = certificate(2, "host2", &key(1), 2);
    assert_eq!(roster.admit(renewed), Ok(Some(MemberChange::Renewed)));
    assert_eq!(roster.of_name(&name), Some(key(3).identity()));
    // Nor does a restart, in whatever order the store has them, also if the revoked one vouched for others.
    let mut stored: Vec<Member> = roster.members().cloned().chain([member(4, 2)]).collect();
    for _ in 0..2 {
        stored.reverse();
        let mut again = Roster::new(key(0).identity(), verify);
        assert_eq!(again.recall(stored.clone()), Vec::new());
        assert_eq!((again.of_name(&name), again.members().count()), (Some(key(3).identity()), 4));
        assert!(again.member(key(2).identity()).unwrap().revoked && !again.member(key(3).identity()).unwrap().revoked);
    }
}

#[test]
fn nobody_is_refused_over_a_name() {
    let mut roster = roster();
    roster.admit_all(vec![member(1, 0), member(2, 1)]);
    let mut twin = member(3, 1);
    twin.certificate = certificate(3, "host2", &key(1), 1);
    assert_eq!(roster.admit(twin), Ok(Some(MemberChange::New)));
    let name = "host2".parse().unwrap();
    assert_eq!(roster.of_name(&name), Some(key(2).identity()));
    for twin in [3, 2] {
        let renewed = Member { certificate: certificate(twin, "host2", &key(1), 2), ..member(twin, 1) };
        assert_eq!(roster.admit(renewed), Ok(Some(MemberChange::Renewed)));
        assert_eq!(roster.of_name(&name), Some(key(2).identity()), "a renewal takes nobody's name");
    }
    // Another sponsor had admitted it under another name, and that is the one that counts.
    roster.admit(member(4, 1)).unwrap();
    let other = Member { certificate: certificate(2, "other", &key(4), 3), ..member(2, 1) };
    assert_eq!(roster.admit(other), Ok(Some(MemberChange::Renewed)));
    let holders = [name.clone(), "other".parse().unwrap()].map(|name| roster.of_name(&name));
    assert_eq!(holders, [Some(key(3).identity()), Some(key(2).identity())]);
    // When one of two goes, the name is the other's.
    let third = Member { certificate: certificate(5, "host2", &key(1), 1), ..member(5, 1) };
    assert_eq!(roster.admit(third), Ok(Some(MemberChange::New)));
    roster.revoke(key(3).identity());
    assert_eq!(roster.of_name(&name), Some(key(5).identity()));
}

#[test]
fn nobody_is_admitted_without_its_own_word() {
    let mut roster = roster();
    roster.admit(member(1, 0)).unwrap();
    // 1 has an identity's public key, and would like to speak in its name.
    let mut forged = member(2, 1);
    let title = Title { noise_key: key(50).noise_public(), ..forged.certificate.title };
    forged.certificate = issue_certificate(title, &key(1), &key(1));
    assert_eq!(roster.admit(forged), Err(AdmitError::BadCertificate { member: key(2).identity() }));
}

#[test]
fn nobody_but_the_member_renews_its_certificate() {
    let mut roster = roster();
    roster.admit_all(vec![member(1, 0), member(2, 1), member(3, 1)]);
    let before = roster.member(key(2).identity()).unwrap().clone();
    let title =
        |generation| Title { noise_key: key(50).noise_public(), generation, ..before.certificate.title.clone() };
    let renewal = |certificate| Member { certificate, ..before.clone() };
    // Neither another member nor the one that vouched for it, under whichever issuer's name.
    let taken = Title { issuer: key(3).identity(), ..title(u32::MAX) };
    let forged = [
        issue_certificate(taken.clone(), &key(3), &key(3)),
        issue_certificate(title(2), &key(1), &key(1)),
        Certificate { title: title(2), ..before.certificate.clone() },
        // What it may not change by itself either.
        issue_certificate(Title { generation: 2, ..taken }, &key(2), &key(2)),
        issue_certificate(Title { name: "other".parse().unwrap(), ..title(2) }, &key(2), &key(2)),
        issue_certificate(title(2 + GENERATIONS_MOST), &key(2), &key(1)),
    ];
    for certificate in forged {
        let refused = AdmitError::BadCertificate { member: key(2).identity() };
        assert_eq!(roster.admit(renewal(certificate)), Err(refused));
        assert_eq!(roster.member(key(2).identity()), Some(&before));
    }
    // Its own word is enough, also when nobody would vouch for it any more; who once did stays on record.
    roster.revoke(key(1).identity());
    let unvouched = issue_certificate(title(2), &key(2), &key(9));
    assert_eq!(roster.admit(renewal(unvouched)), Ok(Some(MemberChange::Renewed)));
    let known = roster.member(key(2).identity()).unwrap().clone();
    assert_eq!(known.certificate.title, title(2));
    let mut elsewhere = Roster::new(key(0).identity(), verify);
    assert_eq!(elsewhere.admit_all(vec![known, member(1, 0)]).1, Vec::new());
}

/// Two sponsors that did not know of each other: their routers must come to the same, and whoever hears all of it later too.
#[test]
fn who_was_admitted_twice_is_one_member_everywhere() {
    let by = |issuer: u8, generation| {
        let certificate = certificate(2, &format!("by{issuer}"), &key(issuer), generation);
        Member { certificate, ..member(2, 1) }
    };
    let (first, second, others) = (by(1, 1), by(4, 1), [member(1, 0), member(3, 2), member(4, 1), member(5, 3)]);
    let (mut left, mut right) = (roster(), roster());
    assert_eq!(left.admit_all([&[first.clone()][..], &others].concat()).1, Vec::new());
    assert_eq!(right.admit_all([&[second.clone()][..], &others].concat()).1, Vec::new());
    left.admit(second).unwrap();
    right.admit(first).unwrap();
    for generation in 1..4 {
        assert_eq!(left.digest(&[0; 16]), right.digest(&[0; 16]), "generation {generation}");
        for roster in [&left, &right] {
            let known = roster.member(key(2).identity()).unwrap();
            assert_eq!(roster.of_name(known.name()), Some(known.identity()));
            let listed: Vec<Member> = roster.members().cloned().collect();
            let issuer = |member: &Member| member.certificate.title.issuer;
            let stands = |at: usize| listed[..at].iter().any(|other| other.identity() == issuer(&listed[at]));
            assert!((1..listed.len()).all(stands), "an issuer stands behind those it vouched for");
        }
        // It renews whichever it was given, and both believe it.
        let renewed = by(if generation == 1 { 1 } else { 4 }, generation + 1);
        assert_eq!(left.admit(renewed.clone()), Ok(Some(MemberChange::Renewed)));
        assert_eq!(right.admit(renewed), Ok(Some(MemberChange::Renewed)));
    }
    // Nobody comes to rest on itself, nor on somebody who is out.
    let refused = AdmitError::BadCertificate { member: key(2).identity() };
    assert_eq!(left.admit(by(5, 9)), Err(refused.clone()));
    assert_eq!(left.admit(by(2, 9)), Err(refused));
    left.revoke(key(1).identity());
    assert_eq!(left.admit(by(1, 9)), Err(AdmitError::RevokedIssuer { issuer: key(1).identity() }));
    // Where it says that it listens is its own word, whoever vouches for it.
    let addresses = SignedAddresses::sign(vec!["192.0.2.1:6783".parse().unwrap()], (2, 0), &key(2));
    let certificate = left.member(key(2).identity()).unwrap().certificate.clone();
    assert_eq!(left.admit(Member { addresses: addresses.clone(), ..by(1, 9) }), Ok(Some(MemberChange::Renewed)));
    assert_eq!(left.member(key(2).identity()), Some(&Member { certificate, addresses, revoked: false }));
    let (mut forged, known) = (by(4, 9), left.member(key(2).identity()).unwrap().addresses.clone());
    forged.addresses = SignedAddresses { version: (9, 0), ..known.clone() };
    assert_eq!(left.admit(forged), Ok(Some(MemberChange::Renewed)));
    let renewed = left.member(key(2).identity()).unwrap();
    assert_eq!((renewed.certificate.title.generation, &renewed.addresses), (9, &known));
}

#[test]
fn only_what_is_newer_replaces() {
    let mut roster = roster();
    roster.admit(member(1, 0)).unwrap();
    let mut renewed = member(1, 0);
    renewed.certificate = certificate(1, "host1", &key(0), 2);
    assert_eq!(roster.admit(renewed), Ok(Some(MemberChange::Renewed)));
    assert_eq!(roster.admit(member(1, 0)), Ok(None));
    let mut moved = member(1, 0);
    moved.addresses = SignedAddresses::sign(vec!["192.0.2.1:6783".parse().unwrap()], (2, 0), &key(1));
    assert_eq!(roster.admit(moved), Ok(Some(MemberChange::Renewed)));
    let known = roster.member(key(1).identity()).unwrap();
    assert_eq!((known.certificate.title.generation, known.addresses.addresses.len()), (2, 1));
}
