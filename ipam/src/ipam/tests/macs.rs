//! A MAC that somebody insists on goes where its workload goes, and is nobody else's.

use wire::{Mac, NetworkId, Slot};

use crate::stage::{Stage, attachment, claim};
use crate::{Alarm, Claim, ClaimError, Event};

const MAC: Mac = Mac([0x0a, 0, 0x5e, 0, 0x53, 1]);
const OTHER: Mac = Mac([0x0a, 0, 0x5e, 0, 0x53, 2]);

fn wants(container: &str, workload: &str, mac: Mac) -> Claim {
    Claim { mac: Some(mac), ..claim(container, Some(workload)) }
}

fn known(stage: &Stage, host: usize) -> Vec<(Slot, Mac)> {
    stage.hosts[host].ipam.exceptions().map(|(_, slot, mac)| (slot, mac)).collect()
}

#[test]
fn it_goes_along_and_changes_only_on_request() {
    let mut stage = Stage::new(3, 24, 16);
    let slot = stage.claim(0, wants("c1", "web", MAC)).unwrap().slot;
    let own = stage.hosts[0].ipam.network(NetworkId::DEFAULT).unwrap().mac(slot);
    for (turn, (from, to, wish, expected)) in [
        (0, 1, None, Some(MAC)),
        (1, 1, None, Some(MAC)),
        (1, 2, Some(OTHER), Some(OTHER)),
        (2, 0, None, Some(OTHER)),
        (0, 1, Some(own), None),
        (1, 2, None, None),
    ]
    .into_iter()
    .enumerate()
    {
        stage.release(from, &format!("c{}", turn + 1));
        let mut again = claim(&format!("c{}", turn + 2), Some("web"));
        again.mac = wish;
        // Whoever wants a slot's own MAC wants the slot.
        again.address = wish.filter(|mac| *mac == own).map(|_| [10, 32, 0, u8::try_from(slot.0).unwrap()].into());
        for host in &mut stage.hosts {
            host.events.clear();
        }
        let lease = stage.claim(to, again).unwrap();
        assert_eq!((lease.slot, lease.mac), (slot, expected), "turn {turn}");
        for host in 0..3 {
            assert_eq!(known(&stage, host), expected.map(|mac| (slot, mac)).into_iter().collect::<Vec<_>>());
            let told = stage.hosts[host].events.contains(&Event::TableChanged);
            assert!(told || wish.is_none(), "turn {turn}: host {host} was not told");
        }
    }
}

#[test]
fn it_outlives_its_router_and_ends_with_its_hold() {
    let mut stage = Stage::new(2, 24, 16);
    let slot = stage.claim(0, wants("c1", "web", MAC)).unwrap().slot;
    for host in 0..2 {
        stage.restart(host);
    }
    stage.settle();
    assert_eq!(stage.hosts[0].ipam.lease_of(&attachment("c1")).unwrap().mac, Some(MAC));
    assert_eq!(known(&stage, 1), [(slot, MAC)]);
    stage.release(0, "c1");
    assert_eq!(known(&stage, 1), [(slot, MAC)], "it waits for its workload");
    stage.pass(crate::HOLD * 2);
    assert_eq!((known(&stage, 0), known(&stage, 1)), (Vec::new(), Vec::new()));
    assert!(stage.claim(1, wants("c2", "db", MAC)).is_ok());
}

#[test]
fn one_that_cannot_be_had_is_refused_with_the_reason() {
    let mut stage = Stage::new(2, 24, 16);
    stage.claim(0, wants("c1", "web", MAC)).unwrap();
    let network = stage.hosts[0].ipam.network(NetworkId::DEFAULT).unwrap().clone();
    let taken = |host| ClaimError::MacTaken {
        mac: MAC,
        workload: "web".to_owned(),
        container_id: "c1".to_owned(),
        holder: host,
    };
    for host in 0..2 {
        let label = stage.hosts[host].ipam.label(stage.id(0));
        assert_eq!(stage.claim(host, wants("c2", "db", MAC)), Err(taken(label)));
    }
    let another = ClaimError::MacOfAnother { mac: network.mac(Slot(9)), address: network.address(Slot(9)) };
    assert_eq!(stage.claim(1, wants("c2", "db", network.mac(Slot(9)))), Err(another));
    for bytes in [[1, 0, 0x5e, 0, 0, 1], [0; 6], [0xff; 6], [0xfe, 0, 0, 0, 0, 1]] {
        let mac = Mac(bytes);
        assert_eq!(stage.claim(1, wants("c2", "db", mac)), Err(ClaimError::MacUnusable { mac }));
    }
    assert_eq!(stage.hosts[1].ipam.leases().count(), 0);
}

#[test]
fn without_a_workload_the_mac_is_the_name() {
    let mut stage = Stage::new(2, 24, 16);
    let asked = |container: &str| Claim { mac: Some(MAC), ..claim(container, None) };
    let first = stage.claim(0, asked("c1")).unwrap();
    assert_eq!(first.workload, MAC.to_string());
    assert!(matches!(stage.claim(1, asked("c2")), Err(ClaimError::HeldElsewhere { .. })));
    stage.release(0, "c1");
    let second = stage.claim(1, asked("c2")).unwrap();
    assert_eq!((second.slot, second.mac), (first.slot, Some(MAC)));
}

#[test]
fn two_that_could_not_know_of_one_another_are_told_and_all_agree_who_has_it() {
    let mut stage = Stage::new(3, 24, 16);
    stage.isolate(1);
    let first = stage.claim(0, wants("c1", "web", MAC)).unwrap();
    let second = stage.claim(1, wants("c2", "db", MAC)).unwrap();
    stage.link(0, 1);
    stage.link(1, 2);
    stage.settle();
    for host in 0..3 {
        let both: std::collections::BTreeSet<_> = known(&stage, host).into_iter().collect();
        assert_eq!(both, [(first.slot, MAC), (second.slot, MAC)].into());
    }
    for (host, there) in [(0, "db"), (1, "web")] {
        let told = |event: &Event| matches!(event, Event::Alarm(Alarm::SameMac { there: other, .. }) if other == there);
        assert!(stage.hosts[host].events.iter().any(told), "{:?}", stage.hosts[host].events);
    }
}
