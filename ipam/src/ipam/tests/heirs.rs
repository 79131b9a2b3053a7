//! Whose the addresses of a lost router are: what waits for its workloads, and what rests.

use std::time::Duration;

use super::revocations::revoke;
use crate::stage::{Stage, attachment, claim, lease_key};
use crate::{Claim, ClaimError, Hold, LeaseState, REST};

fn at(stage: &Stage, slot: wire::Slot) -> std::net::Ipv4Addr {
    stage.hosts[0].ipam.address(wire::NetworkId::DEFAULT, slot)
}

/// An address, and no hold afterwards.
fn briefly(container: &str, workload: Option<&str>, address: Option<std::net::Ipv4Addr>) -> Claim {
    Claim { address, hold: Some(Hold::For(Duration::ZERO)), ..claim(container, workload) }
}

/// It moved on from there long ago, and its next host has had others at its address since.
#[test]
fn an_address_that_had_left_the_lost_router_waits_for_nobody() {
    let mut stage = Stage::new(3, 24, 16);
    let slot = stage.claim(1, claim("c1", Some("web"))).unwrap().slot;
    stage.release(1, "c1");
    assert_eq!(stage.claim(2, briefly("c2", Some("web"), None)).unwrap().slot, slot);
    stage.release(2, "c2");
    stage.pass(REST);
    let address = at(&stage, slot);
    stage.claim(2, briefly("other", None, Some(address))).unwrap();
    stage.release(2, "other");
    stage.isolate(1);
    assert_eq!(revoke(&mut stage, 0, &[1]), Some(Ok(())));
    assert_ne!(stage.claim(2, claim("c3", Some("web"))).unwrap().slot, slot);
    assert!(matches!(stage.claim(2, briefly("c4", None, Some(address))), Err(ClaimError::Resting { .. })));
}

/// The first has left it, which nobody has heard.
#[test]
fn an_address_that_two_workloads_seem_to_have_rests() {
    let mut stage = Stage::new(3, 24, 16);
    let slot = stage.claim(1, briefly("c1", Some("first"), None)).unwrap().slot;
    let address = at(&stage, slot);
    stage.isolate(1);
    stage.release(1, "c1");
    stage.pass(REST);
    stage.claim(1, Claim { address: Some(address), ..claim("c2", Some("second")) }).unwrap();
    // Its newest line alone gets through.
    let line = stage.hosts[1].ipam.directory.entry_of(&lease_key("second"), stage.id(1)).unwrap().clone();
    for host in [0, 2] {
        let (victim, message) = (stage.id(1), wire::message::Message::Entries(vec![line.clone()]));
        stage.hosts[host].ipam.handle_message(victim, &message.emit(), stage.now);
    }
    assert_eq!(revoke(&mut stage, 0, &[1]), Some(Ok(())));
    for (host, workload) in [(0, "first"), (2, "second")] {
        assert_ne!(stage.claim(host, claim(workload, Some(workload))).unwrap().slot, slot, "{workload}");
    }
}

/// Taken over by the lost router: what still ran there runs on where it was cut off, if that inherits its address. What had
/// ended there stays cut off, for others have had its address since.
#[test]
fn a_container_that_was_cut_off_has_its_address_back_from_a_lost_router_only_if_its_workload_ran_there() {
    let mut stage = Stage::new(3, 24, 16);
    let workloads: Vec<String> = (0..12).map(|number| format!("w{number}")).collect();
    let mut slots = Vec::new();
    for workload in &workloads {
        let slot = stage.claim(0, claim(&format!("old-{workload}"), Some(workload))).unwrap().slot;
        let taken = Claim { handover: wire::message::Handover::TakeOver, ..briefly(workload, Some(workload), None) };
        assert_eq!(stage.claim(1, taken).unwrap().slot, slot);
        slots.push(slot);
    }
    let ended = workloads.len() / 2;
    workloads.iter().take(ended).for_each(|workload| assert!(stage.release(1, workload)));
    stage.pass(REST);
    for slot in slots.iter().take(ended) {
        let address = at(&stage, *slot);
        stage.claim(1, briefly(&address.to_string(), None, Some(address))).unwrap();
    }
    stage.isolate(1);
    assert_eq!(revoke(&mut stage, 2, &[1]), Some(Ok(())));
    let (mut back, mut cut_off) = (0, 0);
    for (number, (slot, workload)) in slots.iter().zip(&workloads).enumerate() {
        if stage.owner(0, slot.0) != stage.id(0) {
            continue;
        }
        let lease = stage.hosts[0].ipam.lease_of(&attachment(&format!("old-{workload}")));
        if number < ended {
            assert_eq!(lease, None, "{workload}");
            cut_off += 1;
        } else {
            assert_eq!(lease.map(|lease| lease.state), Some(LeaseState::Active), "{workload}");
            back += 1;
        }
    }
    assert!(back > 0 && cut_off > 0, "{back} {cut_off}");
}

/// An heir was away while the lost router had others at the addresses; it promises, and inherits, before it hears of that.
#[test]
fn what_an_heir_hears_late_of_a_lost_router_counts() {
    let mut stage = Stage::new(3, 24, 16);
    let workloads: Vec<String> = (0..8).map(|number| format!("w{number}")).collect();
    let mut slots = Vec::new();
    for workload in &workloads {
        // Slots of a block that stays: each has an heir of its own.
        let slot = stage.claim(0, claim(workload, Some(workload))).unwrap().slot;
        stage.release(0, workload);
        assert_eq!(stage.claim(1, briefly(workload, Some(workload), None)).unwrap().slot, slot);
        slots.push(slot);
    }
    stage.isolate(2);
    workloads.iter().for_each(|workload| assert!(stage.release(1, workload)));
    stage.pass(REST);
    for slot in &slots {
        let address = at(&stage, *slot);
        stage.claim(1, Claim { address: Some(address), ..claim(&address.to_string(), None) }).unwrap();
    }
    stage.pass(Duration::from_secs(15));
    stage.isolate(1);
    assert_eq!(revoke(&mut stage, 0, &[1]), None);
    stage.link(0, 2);
    stage.settle();
    assert!(slots.iter().any(|slot| stage.owner(2, slot.0) == stage.id(2)));
    for (slot, workload) in slots.iter().zip(&workloads) {
        let kept = stage.hosts.iter().flat_map(|host| host.ipam.leases().filter(|lease| lease.slot == *slot));
        let kept: Vec<_> = kept.filter(|lease| matches!(lease.state, LeaseState::Held { .. })).collect();
        assert!(
            matches!(&kept[..], [lease] if lease.workload == at(&stage, *slot).to_string()),
            "{workload}: {kept:?}"
        );
        let lease = stage.claim(2, claim(&format!("new-{workload}"), Some(workload))).unwrap();
        assert_ne!(lease.slot, *slot, "{workload}");
    }
}

/// The founder has used more of its pool than anybody has heard.
#[test]
fn what_is_left_of_an_inherited_pool_rests_too() {
    let mut stage = Stage::with(3, 26, 16, |config| config.low_water_percent = 0);
    stage.isolate(0);
    let unheard = stage.claim(0, claim("unheard", None)).unwrap().slot;
    let address = at(&stage, unheard);
    assert_eq!(revoke(&mut stage, 2, &[0]), Some(Ok(())));
    for restarted in [false, true] {
        if restarted {
            [1, 2].into_iter().for_each(|host| stage.restart(host));
        }
        for host in [1, 2] {
            let wanted = stage.claim(host, Claim { address: Some(address), ..claim("wanted", None) });
            assert!(matches!(wanted, Err(ClaimError::Resting { .. })), "host {host}: {wanted:?}");
            let given: Vec<_> = (0..40)
                .map_while(|_| {
                    let container = format!("c{}", stage.request().0);
                    stage.claim(host, claim(&container, None)).ok()
                })
                .collect();
            assert!(given.iter().all(|lease| lease.slot != unheard), "host {host}");
            // Whoever inherited it, the other one hears that it rests.
            let refused = stage.claim(host, claim("one more", None));
            assert!(matches!(refused, Err(ClaimError::NoneYet { resting: 16.., .. })), "host {host}: {refused:?}");
        }
    }
    stage.pass(REST);
    assert!(stage.claim(1, Claim { address: Some(address), ..claim("wanted", None) }).is_ok());
}
