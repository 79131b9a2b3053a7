//! A workload that is claimed everywhere at once: its address is never in use twice.

use super::{Found, Loss, Plan, explore};
use crate::Rules;

#[test]
fn a_moving_workload_has_one_host() {
    let found = explore(Plan {
        hosts: 2,
        rules: Rules::default(),
        epochs: 3,
        revocations: &[],
        times: 0,
        loss: Loss::Never,
        merges: false,
        forgets: false,
        crashes: 1,
        workload: Some("web"),
        one_name: false,
        silent: &[],
        limit: 30_000,
    });
    let Found::Nothing { states, depth } = found else { panic!("{found:#?}") };
    println!("{states} states, all of {depth} steps");
    assert!(states > 1000);
}

/// Whatever is late, doubled or lost: a name that nobody has is started by one host.
#[test]
fn a_workload_that_is_new_everywhere_starts_once() {
    for hosts in [2, 3] {
        let found = explore(Plan {
            hosts,
            rules: Rules::default(),
            epochs: 1,
            revocations: &[],
            times: 0,
            loss: Loss::Never,
            merges: false,
            forgets: false,
            crashes: 0,
            workload: Some("web"),
            one_name: true,
            silent: &[],
            limit: 20_000,
        });
        let Found::Nothing { states, depth } = found else { panic!("{found:#?}") };
        println!("{hosts} hosts: {states} states, all of {depth} steps");
        assert!(states > 1000);
    }
}

/// A slot that moves to and fro, and is taken back into its block whenever it is home.
#[test]
fn a_slot_that_comes_home_again_and_again_has_one_host() {
    let found = explore(Plan {
        hosts: 2,
        rules: Rules::default(),
        epochs: 7,
        revocations: &[],
        times: 0,
        loss: Loss::Never,
        merges: true,
        forgets: false,
        crashes: 0,
        workload: Some("web"),
        one_name: false,
        silent: &[],
        limit: 30_000,
    });
    let Found::Nothing { states, depth } = found else { panic!("{found:#?}") };
    println!("{states} states, all of {depth} steps");
    assert!(states > 1000);
}

/// The same, and what is superfluous is forgotten wherever that may be; every message of before may still come late.
#[test]
fn what_is_forgotten_gives_no_address_twice() {
    for (hosts, epochs, merges) in [(2, 7, true), (3, 5, false)] {
        let found = explore(Plan {
            hosts,
            rules: Rules::default(),
            epochs,
            revocations: &[],
            times: 0,
            loss: Loss::Never,
            merges,
            forgets: true,
            crashes: 1,
            workload: Some("web"),
            one_name: false,
            silent: &[],
            limit: 30_000,
        });
        let Found::Nothing { states, depth } = found else { panic!("{found:#?}") };
        println!("{hosts} hosts: {states} states, all of {depth} steps");
        assert!(states > 1000);
    }
}
