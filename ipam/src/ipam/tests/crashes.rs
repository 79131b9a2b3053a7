//! Killed at any moment, with the last batch written or not: nothing is given twice, nothing acknowledged is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use wire::{Identity, Slot};

use crate::stage::{Stage, apply, claim};
use crate::{Alarm, Event, LeaseState};

#[derive(Debug, Clone, Copy)]
enum Deed {
    Claim {
        host: usize,
        workload: u8,
    },
    Release {
        host: usize,
        workload: u8,
    },
    /// Whatever is not kept back goes out, and then the power goes.
    Crash {
        host: usize,
        written: bool,
    },
    Cut {
        a: usize,
        b: usize,
    },
    Heal,
    /// Delivers what may be seen, without writing anything.
    Send {
        host: usize,
    },
    Settle,
    Pass {
        seconds: u64,
    },
}

fn deed() -> impl Strategy<Value = Deed> {
    let host = 0usize..3;
    prop_oneof![
        4 => (host.clone(), 0u8..6).prop_map(|(host, workload)| Deed::Claim { host, workload }),
        3 => (host.clone(), 0u8..6).prop_map(|(host, workload)| Deed::Release { host, workload }),
        2 => (host.clone(), any::<bool>()).prop_map(|(host, written)| Deed::Crash { host, written }),
        1 => (host.clone(), host).prop_map(|(a, b)| Deed::Cut { a, b }),
        1 => Just(Deed::Heal),
        3 => (0usize..3).prop_map(|host| Deed::Send { host }),
        4 => Just(Deed::Settle),
        2 => (1u64..400).prop_map(|seconds| Deed::Pass { seconds }),
    ]
}

fn container(host: usize, workload: u8) -> String {
    format!("{host}-{workload}")
}

fn carry_out(stage: &mut Stage, deed: Deed) {
    match deed {
        Deed::Claim { host, workload } => {
            // Three sticky workloads, and three that are their containers.
            let name = format!("w{workload}");
            stage.begin(host, claim(&container(host, workload), (workload < 3).then_some(&name)));
        }
        Deed::Release { host, workload } => {
            let request = stage.request();
            stage.hosts[host].ipam.release(request, &crate::stage::attachment(&container(host, workload)), stage.now);
        }
        Deed::Crash { host, written } => {
            if let Some(batch) = stage.hosts[host].ipam.poll_store().filter(|_| written) {
                apply(&mut stage.hosts[host].disk, &batch);
            }
            stage.send(host);
            stage.restart(host);
        }
        Deed::Cut { a, b } if a != b => stage.cut(a, b),
        Deed::Cut { .. } => {}
        Deed::Heal => [(0, 1), (0, 2), (1, 2)].into_iter().for_each(|(a, b)| stage.link(a, b)),
        Deed::Send { host } => {
            stage.send(host);
        }
        Deed::Settle => stage.settle(),
        Deed::Pass { seconds } => stage.pass(Duration::from_secs(seconds)),
    }
}

/// What containers were told they have, and have not given back.
fn check(stage: &Stage) -> Result<(), TestCaseError> {
    let mut users: BTreeMap<Slot, Vec<(usize, Identity)>> = BTreeMap::new();
    for (number, host) in stage.hosts.iter().enumerate() {
        for lease in host.ipam.leases().filter(|lease| lease.state == LeaseState::Active) {
            users.entry(lease.slot).or_default().push((number, host.config.identity));
        }
        // Where hosts cannot speak to one another a name may be started twice, with an address for each.
        let wrong = host.events.iter().find(|event| {
            let split = matches!(event, Event::Alarm(Alarm::SplitName { .. }));
            matches!(event, Event::Alarm(_) | Event::Fenced { .. }) && !split
        });
        prop_assert!(wrong.is_none(), "{:?}", wrong);
    }
    prop_assert!(users.values().all(|users| users.len() == 1), "{:?}", users);
    Ok(())
}

/// Leases that were answered and not released since, by host and container.
fn acknowledged(stage: &Stage, host: usize, released: &[String]) -> Vec<(String, Slot)> {
    let granted = stage.hosts[host].events.iter().filter_map(|event| {
        if let Event::Claimed { result: Ok(lease), .. } = event {
            Some((lease.attachment.container_id.clone(), lease.slot))
        } else {
            None
        }
    });
    granted.filter(|(container, _)| !released.contains(container)).collect()
}

/// Gives, holds, moves and gives back, with a gift of space on the way; what is not answered is asked again, as a runtime does.
fn story(fatal: Option<(usize, bool)>) -> Result<usize, TestCaseError> {
    let mut stage = Stage::with(3, 24, 8, |config| config.low_water_percent = 50);
    (stage.fatal, stage.batches) = (fatal, 0);
    let mut released = Vec::new();
    let tell = |stage: &mut Stage, host: usize, container: &str, workload: Option<&str>| {
        for _ in 0..4 {
            let request = stage.begin(host, claim(container, workload));
            stage.settle();
            if stage.answer(host, request).is_none() {
                stage.pass(Duration::from_secs(5));
            }
            if stage.answer(host, request).is_some_and(|answer| answer.is_ok()) {
                return true;
            }
            stage.pass(Duration::from_secs(11));
        }
        false
    };
    for (host, workload) in [(1, "a"), (2, "a"), (0, "a"), (1, "a"), (2, "b"), (1, "b")] {
        let container = format!("{workload}-{host}-{}", released.len());
        prop_assert!(tell(&mut stage, host, &container, Some(workload)), "{:?}: {}", fatal, container);
        for number in 0..3 {
            tell(&mut stage, host, &format!("{container}-{number}"), None);
        }
        check(&stage)?;
        let asked = stage.request();
        stage.hosts[host].ipam.release(asked, &crate::stage::attachment(&container), stage.now);
        stage.settle();
        // A release that died with its router is in the spool.
        let again = stage.request();
        stage.hosts[host].ipam.release(again, &crate::stage::attachment(&container), stage.now);
        stage.settle();
        released.push(container);
    }
    stage.pass(Duration::from_secs(30));
    check(&stage)?;
    for host in 0..3 {
        for (container, slot) in acknowledged(&stage, host, &released) {
            let lease = stage.hosts[host].ipam.lease_of(&crate::stage::attachment(&container));
            prop_assert!(lease.is_some_and(|lease| lease.slot == slot), "{:?}: {} {:?}", fatal, container, slot);
        }
        prop_assert_eq!(stage.hosts[host].ipam.table(), stage.hosts[0].ipam.table());
    }
    Ok(stage.batches)
}

/// Every durable step there is, before it and after it.
#[test]
fn a_router_may_die_at_every_durable_step() {
    let steps = story(None).unwrap();
    assert!(steps > 40, "{steps} steps only");
    for number in 1..=steps {
        for written in [false, true] {
            story(Some((number, written))).unwrap_or_else(|error| panic!("step {number}, written: {written}: {error}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn nothing_is_given_twice_and_nothing_acknowledged_is_lost(deeds in proptest::collection::vec(deed(), 1..60)) {
        let mut stage = Stage::new(3, 26, 16);
        let mut released = Vec::new();
        for deed in deeds {
            if let Deed::Release { host, workload } = deed {
                released.push(container(host, workload));
            }
            carry_out(&mut stage, deed);
            check(&stage)?;
        }
        stage.settle();
        check(&stage)?;
        for host in 0..3 {
            for (container, slot) in acknowledged(&stage, host, &released) {
                let lease = stage.hosts[host].ipam.lease_of(&crate::stage::attachment(&container));
                prop_assert_eq!(lease.map(|lease| lease.slot), Some(slot), "{}", container);
            }
        }
        // And after a heal everybody knows the same.
        [(0, 1), (0, 2), (1, 2)].into_iter().for_each(|(a, b)| stage.link(a, b));
        stage.pass(Duration::from_secs(15));
        for host in 1..3 {
            prop_assert_eq!(stage.hosts[host].ipam.table(), stage.hosts[0].ipam.table());
        }
    }
}
