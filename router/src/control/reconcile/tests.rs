use std::time::{Duration, Instant};

use ipam::{Attachment, Hold, Lease, Place, Stickiness};
use wire::{Epoch, NetworkId, Slot};

use super::*;

fn lease(state: LeaseState, netns: &str) -> Lease {
    Lease {
        attachment: Attachment {
            network: NetworkId::DEFAULT,
            container_id: "c1".to_owned(),
            ifname: "eth0".to_owned(),
            owner: "cni:mesh".to_owned(),
        },
        workload: "web".to_owned(),
        stickiness: Stickiness::Sticky,
        slot: Slot(5),
        epoch: Epoch(1),
        mac: None,
        hold: Hold::For(Duration::from_secs(600)),
        state,
        since: Instant::now(),
        place: Place { netns: Some(netns.to_owned()), host_interface: "rd0".to_owned(), masqueraded: false },
    }
}

const HELD: LeaseState = LeaseState::Held { until: None };

#[test]
fn what_is_left_without_interface_and_namespace_is_an_orphan_whatever_became_of_its_address() {
    let (nobody, somebody) = (BTreeSet::new(), BTreeSet::from(["rd0"]));
    for gone in ["/nonexistent/netns", "/proc/cpuinfo", "/proc/self/ns/net"] {
        for state in [LeaseState::Active, LeaseState::Fenced] {
            assert!(is_orphan(&lease(state, gone), &nobody), "{state:?} {gone}");
            assert!(!is_orphan(&lease(state, gone), &somebody), "{state:?} {gone}");
        }
        assert!(!is_orphan(&lease(HELD, gone), &nobody));
    }
}

#[test]
fn a_port_is_made_what_its_lease_says() {
    let asked = |state, port: Option<LinkState>| {
        let ports: BTreeMap<_, _> = port.into_iter().map(|port| ("rd0", port)).collect();
        what_to_do(&lease(state, "/run/netns/c1"), &ports)
    };
    for up in [LinkState::Up, LinkState::NoCarrier] {
        assert_eq!(asked(LeaseState::Active, Some(up)), None);
        assert_eq!(asked(LeaseState::Fenced, Some(up)), Some(Port::Fenced));
    }
    assert_eq!(asked(LeaseState::Active, Some(LinkState::Down)), Some(Port::Open));
    assert_eq!(asked(LeaseState::Fenced, Some(LinkState::Down)), None);
    for port in [None, Some(LinkState::Up), Some(LinkState::Down)] {
        assert_eq!(asked(HELD, port), None);
    }
    assert_eq!((asked(LeaseState::Active, None), asked(LeaseState::Fenced, None)), (None, None));
}
