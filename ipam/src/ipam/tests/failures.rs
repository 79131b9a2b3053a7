//! Disks that fail, crash at the wrong moment, or are somebody else's.

use crate::stage::{Stage, attachment, claim, genesis, identity, rows, signing_key};
use crate::{ClaimError, Config, Health, Ipam, RestoreError, found};

#[test]
fn a_store_of_another_identity_is_refused() {
    let stage = Stage::new(1, 24, 16);
    let other = Config::new(signing_key(5), genesis(24, 16));
    let refused = Ipam::new(other, &rows(&stage.hosts[0].disk), stage.now).unwrap_err();
    assert_eq!(refused, RestoreError::OtherIdentity { identity: identity(5), stored: identity(0) });
}

#[test]
fn an_identity_without_its_store_is_refused() {
    let stage = Stage::new(1, 24, 16);
    let refused = Ipam::new(stage.hosts[0].config.clone(), &[], stage.now).unwrap_err();
    assert_eq!(refused, RestoreError::Empty { identity: identity(0) });
}

#[test]
fn a_damaged_row_is_named() {
    let stage = Stage::new(1, 24, 16);
    let mut disk = rows(&stage.hosts[0].disk);
    disk.extend(found(&stage.hosts[0].config));
    let last = disk.last_mut().unwrap();
    last.value = Some(vec![1, 2]);
    let refused = Ipam::new(stage.hosts[0].config.clone(), &disk, stage.now).unwrap_err();
    assert_eq!(refused, RestoreError::Corrupt { table: crate::Table::Members });
}

#[test]
fn a_store_that_fails_gives_nothing_and_takes_nothing() {
    let mut stage = Stage::new(2, 24, 16);
    stage.claim(0, claim("running", None)).unwrap();
    let request = stage.begin(0, claim("unlucky", None));
    stage.hosts[0].ipam.poll_store().unwrap();
    stage.hosts[0].ipam.handle_store_failed(stage.now);
    stage.settle();
    assert_eq!(stage.answer(0, request), Some(Err(ClaimError::ReadOnly)));
    assert_eq!(stage.hosts[0].ipam.health(), Health::ReadOnly);
    assert_eq!(stage.claim(0, claim("next", None)), Err(ClaimError::ReadOnly));
    assert!(stage.hosts[0].ipam.lease_of(&attachment("running")).is_some());
    assert!(stage.hosts[0].ipam.lease_of(&attachment("unlucky")).is_none());
    assert!(!stage.release(0, "running"));
    assert!(stage.hosts[0].ipam.lease_of(&attachment("running")).is_some());
    // The other goes on.
    stage.claim(1, claim("there", None)).unwrap();
}

#[test]
fn a_router_that_cannot_write_still_follows_the_others() {
    let mut stage = Stage::new(2, 24, 16);
    stage.begin(0, claim("unlucky", None));
    stage.hosts[0].ipam.poll_store().unwrap();
    stage.hosts[0].ipam.handle_store_failed(stage.now);
    for number in 0..14 {
        stage.claim(1, claim(&number.to_string(), Some(&number.to_string()))).unwrap();
    }
    assert_eq!(stage.hosts[0].ipam.directory().count(), 14);
    assert_eq!(stage.hosts[0].ipam.poll_store(), None);
    let alarms = stage.hosts[0].events.iter().filter(|event| matches!(event, crate::Event::Alarm(_))).count();
    assert_eq!(alarms, 1);
}
