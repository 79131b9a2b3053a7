//! Which line counts.

use wire::{Epoch, NetworkId, RECORD_VERSION, Range, Record, RecordBody};

use super::*;
use crate::seal::{sign, verify};
use crate::stage::{genesis, identity, signing_key};

fn line(author: u8, slot: u32, epoch: u64, version: u64, state: EntryState) -> Entry {
    let body = EntryBody {
        network: NetworkId::DEFAULT,
        workload: "web".to_owned(),
        ifname: "eth0".to_owned(),
        slot: Slot(slot),
        epoch: Epoch(epoch),
        version,
        number: version,
        author: identity(author),
        state,
        container_id: format!("c{version}"),
        mac: None,
        hold_s: Some(600),
        came: None,
    };
    Entry { signature: sign(&signing_key(author), ENTRY_VERSION, &body), body }
}

fn key() -> LeaseKey {
    LeaseKey { network: NetworkId::DEFAULT, workload: "web".to_owned(), ifname: "eth0".to_owned() }
}

/// Block 0 is host 0's, and its slot 5 host 1's.
fn ledger() -> Ledger {
    let mut ledger = Ledger::new(&genesis(28, 16));
    let head = ledger.owner(NetworkId::DEFAULT, Slot(5)).unwrap();
    let range = Range { network: NetworkId::DEFAULT, start: Slot(5), length: 1 };
    let body =
        RecordBody { range, owner: identity(1), epoch: Epoch(1), author: identity(0), previous: head.hash, home: None };
    let signature = sign(&signing_key(0), RECORD_VERSION, &body);
    ledger.apply(&Record { body, signature });
    ledger
}

#[test]
fn only_a_newer_line_of_an_author_is_taken() {
    let mut directory = Directory::default();
    assert!(directory.merge(&line(0, 4, 0, 2, EntryState::Active)));
    assert!(!directory.merge(&line(0, 4, 0, 2, EntryState::Active)));
    assert!(!directory.merge(&line(0, 4, 0, 1, EntryState::Held)));
    assert!(directory.merge(&line(0, 4, 0, 3, EntryState::Held)));
    assert_eq!(directory.hashes().count(), 1);
    assert_eq!(directory.next_version(&key(), identity(0), |_| false), 4);
}

/// Who says such a thing is not outbid, and forgotten once its word does not count any more.
#[test]
fn an_absurd_version_uses_up_no_others() {
    for absurd in [CONTESTED_MAX, VERSION_MAX, u64::MAX] {
        let mut directory = Directory::default();
        let _ = directory.merge(&line(0, 4, 0, 2, EntryState::Active));
        let _ = directory.merge(&line(1, 5, 0, absurd, EntryState::Active));
        assert_eq!(directory.next_version(&key(), identity(0), |_| false), 3);
        assert_eq!(directory.next_version(&key(), identity(2), |_| false), 1);
        assert_eq!(directory.next_version(&key(), identity(2), |author| *author == identity(1)), 3);
    }
    let outbid = line(1, 5, 0, CONTESTED_MAX - 1, EntryState::Active);
    let mut directory = Directory::default();
    let _ = directory.merge(&outbid);
    assert_eq!(directory.next_version(&key(), identity(0), |_| false), CONTESTED_MAX);
}

#[test]
fn the_word_of_an_old_owner_loses_whatever_its_version() {
    let (mut directory, ledger) = (Directory::default(), ledger());
    let _ = directory.merge(&line(0, 5, 0, 9, EntryState::Held));
    assert_eq!(directory.current(&key(), &ledger), None);
    // But it says where to ask.
    let (slot, holding) = directory.last_seen(&key(), &ledger).unwrap();
    assert_eq!((slot, holding.owner), (Slot(5), identity(1)));
    let _ = directory.merge(&line(1, 5, 1, 1, EntryState::Active));
    assert_eq!(directory.current(&key(), &ledger).unwrap().author, identity(1));
}

#[test]
fn what_is_over_is_nowhere() {
    let (mut directory, ledger) = (Directory::default(), ledger());
    let _ = directory.merge(&line(0, 4, 0, 1, EntryState::Ended));
    assert_eq!(directory.current(&key(), &ledger), None);
    assert_eq!(directory.last_seen(&key(), &ledger), None);
}

#[test]
fn the_order_of_lines_does_not_matter() {
    let ledger = ledger();
    let lines = [
        line(0, 4, 0, 1, EntryState::Active),
        line(1, 5, 1, 2, EntryState::Active),
        line(0, 4, 0, 3, EntryState::Held),
    ];
    let seen = |order: [usize; 3]| {
        let mut directory = Directory::default();
        for number in order {
            let _ = directory.merge(&lines[number]);
        }
        directory.current(&key(), &ledger).cloned()
    };
    for order in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        assert_eq!(seen(order), seen([0, 1, 2]));
    }
}

fn with_mac(line: Entry, last: u8) -> Entry {
    let author = (0..2).find(|number| identity(*number) == line.body.author).unwrap();
    let body = EntryBody { mac: Some(wire::Mac([0x0a, 0, 0, 0, 0, last])), ..line.body };
    Entry { signature: sign(&signing_key(author), ENTRY_VERSION, &body), body }
}

#[test]
fn a_mac_stays_with_its_slot_until_the_new_owner_has_spoken() {
    let (mut directory, ledger) = (Directory::default(), ledger());
    let macs = |directory: &Directory| -> Vec<_> {
        directory.with_macs(&ledger).map(|body| (body.slot, body.mac.unwrap().0[5])).collect()
    };
    let _ = directory.merge(&with_mac(line(0, 5, 0, 1, EntryState::Held), 7));
    assert_eq!(macs(&directory), [(Slot(5), 7)], "it is host 1's slot, of whom nothing has been heard");
    assert!(directory.take_macs_changed());
    for (new, expected) in [
        (with_mac(line(1, 5, 1, 2, EntryState::Held), 7), vec![(Slot(5), 7)]),
        (with_mac(line(1, 5, 1, 3, EntryState::Active), 8), vec![(Slot(5), 8)]),
        (line(1, 5, 1, 4, EntryState::Active), vec![]),
        (with_mac(line(1, 5, 1, 5, EntryState::Active), 9), vec![(Slot(5), 9)]),
        (with_mac(line(1, 5, 1, 6, EntryState::Ended), 9), vec![]),
    ] {
        assert!(directory.merge(&new));
        assert_eq!(macs(&directory), expected);
        assert!(directory.take_macs_changed());
    }
    let _ = directory.merge(&line(1, 5, 1, 7, EntryState::Active));
    assert!(!directory.take_macs_changed());
}

#[test]
fn a_forged_line_is_seen() {
    let mut forged = line(0, 4, 0, 1, EntryState::Active);
    assert!(is_authentic(verify, &forged));
    forged.body.author = identity(1);
    assert!(!is_authentic(verify, &forged));
}
