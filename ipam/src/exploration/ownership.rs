//! The rules of ownership, each with the weaker form that gives an address twice.

use super::{Found, Loss, Plan, explore};
use crate::{Counted, PromiseRule, Quorum, Rules};

const EVERYBODY: &[(usize, usize)] = &[(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)];

fn plan() -> Plan {
    Plan {
        hosts: 3,
        rules: Rules::default(),
        epochs: 2,
        revocations: EVERYBODY,
        times: 1,
        loss: Loss::Never,
        merges: false,
        forgets: false,
        crashes: 0,
        workload: None,
        one_name: false,
        silent: &[],
        limit: 30_000,
    }
}

fn assert_duplicate(found: &Found, history_at_least: usize) {
    let Found::Duplicate { history, states } = found else { panic!("{found:?}") };
    println!("{states} states: {history:#?}");
    assert!(history.len() >= history_at_least, "{history:#?}");
}

fn assert_none(found: &Found, steps_at_least: usize) {
    let Found::Nothing { states, depth } = found else { panic!("{found:#?}") };
    println!("{states} states, all of {depth} steps");
    assert!(*depth >= steps_at_least, "{depth} steps are too few to show anything");
}

#[test]
fn a_owner_only_writes_give_no_duplicate() {
    assert_none(&explore(Plan { revocations: &[], ..plan() }), 6);
}

#[test]
fn b_a_lost_database_under_the_old_identity_gives_a_duplicate() {
    assert_duplicate(&explore(Plan { revocations: &[], loss: Loss::KeepsIdentity, ..plan() }), 4);
}

#[test]
fn c_a_lost_database_as_a_new_identity_gives_no_duplicate() {
    assert_none(&explore(Plan { revocations: &[], loss: Loss::NewIdentity(1), ..plan() }), 6);
}

#[test]
fn d_a_majority_of_promises_gives_a_duplicate() {
    let rules = Rules { quorum: Quorum::Majority, ..Rules::default() };
    assert_duplicate(&explore(Plan { hosts: 4, rules, epochs: 1, revocations: &[(1, 0)], ..plan() }), 6);
}

#[test]
fn e_promises_that_refuse_nothing_give_a_duplicate() {
    let rules = Rules { promise: PromiseRule::MerelyAnswers, ..Rules::default() };
    assert_duplicate(&explore(Plan { rules, ..plan() }), 6);
}

#[test]
fn f_everybodys_promise_gives_no_duplicate() {
    assert_none(&explore(plan()), 6);
}

#[test]
fn g_silent_identities_that_do_not_count_give_a_duplicate() {
    let rules = Rules { counted: Counted::Connected, ..Rules::default() };
    assert_duplicate(&explore(Plan { rules, silent: &[(1, 2)], ..plan() }), 4);
}

#[test]
fn h_silent_identities_that_count_give_no_duplicate() {
    assert_none(&explore(Plan { silent: &[(1, 2)], ..plan() }), 6);
}

#[test]
fn h_with_lost_databases_gives_no_duplicate() {
    assert_none(&explore(Plan { loss: Loss::NewIdentity(1), ..plan() }), 6);
}

#[test]
fn h_with_crashes_gives_no_duplicate() {
    assert_none(&explore(Plan { crashes: 1, ..plan() }), 6);
}

#[test]
fn d_everybodys_promise_gives_no_duplicate_where_a_majority_does() {
    assert_none(&explore(Plan { hosts: 4, epochs: 1, revocations: &[(1, 0)], ..plan() }), 8);
}

/// Two operators, on two hosts, about the same router or about two.
#[test]
fn i_two_revocations_at_once_give_no_duplicate() {
    for revocations in [&[(0, 2), (1, 2)], &[(0, 2), (1, 3)], &[(1, 0), (2, 3)], &[(1, 0), (2, 1)]] {
        assert_none(&explore(Plan { hosts: 4, epochs: 1, revocations, times: 2, limit: 15_000, ..plan() }), 5);
    }
}

/// What is superfluous is forgotten whenever all hold the same, before, between and after.
#[test]
fn j_a_revocation_of_what_was_forgotten_gives_no_duplicate() {
    assert_none(&explore(Plan { forgets: true, epochs: 4, revocations: &[(0, 1), (2, 0)], ..plan() }), 6);
}
