//! Signatures hold for what they were made for, and for nothing else.

use wire::{NetworkId, PeerName, Pool};

use super::*;

fn title(name: &str, issuer: Identity) -> Title {
    let name: PeerName = name.parse().unwrap();
    let identity = Secret::new([3; 32]).identity();
    Title { identity, noise_key: Secret::new([4; 32]).noise_public(), name, generation: 1, issuer }
}

#[test]
fn a_certificate_holds_as_issued_and_no_other_way() {
    let authority = Secret::new([1; 32]);
    let certificate = issue_certificate(title("one", authority.identity()), &Secret::new([3; 32]), &authority);
    let holds = |changed: Certificate| {
        (is_vouched_for(verify, &changed), is_consented(verify, &changed.title, &changed.consent))
    };
    assert_eq!(holds(certificate.clone()), (true, true));
    let mut renamed = certificate.clone();
    renamed.title.name = "two".parse().unwrap();
    assert_eq!(holds(renamed), (false, false));
    let mut other = certificate.clone();
    other.title.issuer = Secret::new([2; 32]).identity();
    assert_eq!(holds(other), (false, false));
    let mut rekeyed = certificate;
    rekeyed.title.noise_key = [5; 32];
    assert_eq!(holds(rekeyed), (true, false), "the issuer has no say about keys");
}

#[test]
fn a_signature_for_one_purpose_is_none_for_another() {
    let key = Secret::new([1; 32]);
    let signature = sign(&key, Purpose::Voucher, &[b"text"]);
    assert!(is_signed(verify, key.identity(), Purpose::Voucher, &[b"te", b"xt"], &signature));
    assert!(!is_signed(verify, key.identity(), Purpose::Addresses, &[b"text"], &signature));
    assert!(!is_signed(verify, Identity([0; 32]), Purpose::Voucher, &[b"text"], &signature), "a key of small order");
}

#[test]
fn a_cluster_is_its_whole_genesis() {
    let pool = Pool { base: [10, 32, 0, 0].into(), prefix: 12 };
    let network = wire::Network { id: NetworkId::DEFAULT, name: "raddle".to_owned(), pool, pool6: None };
    let first = Secret::new([1; 32]).identity();
    let genesis = Genesis { networks: vec![network], block_slots: 64, first, authority: [2; 32], nonce: [0; 16] };
    let mut twin = genesis.clone();
    twin.nonce[15] = 1;
    assert_ne!(cluster_id(&genesis), cluster_id(&twin));
    assert_eq!(cluster_id(&genesis), cluster_id(&genesis.clone()));
}

#[test]
fn a_secret_is_never_shown() {
    assert_eq!(format!("{:?}", Secret::new([7; 32])), "Secret(..)");
}
