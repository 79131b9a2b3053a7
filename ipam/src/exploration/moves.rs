//! A workload that is claimed everywhere at once: its address is never in use twice.

use super::{Found, Loss, Plan, explore};
use crate::Rules;

/// Two hosts and one workload, and nobody dies.
fn plan() -> Plan {
    Plan {
        hosts: 2,
        rules: Rules::default(),
        epochs: 1,
        revocations: &[],
        times: 0,
        loss: Loss::Never,
        merges: false,
        forgets: false,
        crashes: 0,
        workload: Some("web"),
        one_name: false,
        silent: &[],
        limit: 30_000,
    }
}

fn assert_none(plan: Plan) {
    let hosts = plan.hosts;
    let found = explore(plan);
    let Found::Nothing { states, depth } = found else { panic!("{found:#?}") };
    println!("{hosts} hosts: {states} states, all of {depth} steps");
    assert!(states > 1000);
}

#[test]
fn a_moving_workload_has_one_host() {
    assert_none(Plan { epochs: 3, crashes: 1, ..plan() });
}

/// Whatever is late, doubled or lost: a name that nobody has is started by one host.
#[test]
fn a_workload_that_is_new_everywhere_starts_once() {
    for hosts in [2, 3] {
        assert_none(Plan { hosts, one_name: true, limit: 20_000, ..plan() });
    }
}

/// A slot that moves to and fro, and is taken back into its block whenever it is home.
#[test]
fn a_slot_that_comes_home_again_and_again_has_one_host() {
    assert_none(Plan { epochs: 7, merges: true, ..plan() });
}

/// The same, and what is superfluous is forgotten wherever that may be; every message of before may still come late.
#[test]
fn what_is_forgotten_gives_no_address_twice() {
    for (hosts, epochs, merges) in [(2, 7, true), (3, 5, false)] {
        assert_none(Plan { hosts, epochs, merges, forgets: true, crashes: 1, ..plan() });
    }
}
